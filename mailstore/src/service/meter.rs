//! Processor time that calls take, for the shard and the account that they are for.
//!
//! What blocks is measured each time. Of all else a part of the calls is, and counts for all: reading a thread's clock is dear beside a
//! short call. What consensus and the store do with a change later belongs to nobody here.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::HostedShard;
use crate::schema::AccountId;
use crate::shard::thread_time;

/// One of so many calls is measured, and counts so many times.
const SAMPLED: u64 = 16;

tokio::task_local! {
    static METER: Arc<Meter>;
}

/// What one call takes.
pub(super) struct Meter {
    nanos: AtomicU64,
    /// What is measured outside of what blocks counts so many times; 0: nothing is.
    weight: u64,
    whose: OnceLock<(Arc<HostedShard>, Option<AccountId>)>,
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some((shard, account)) = self.whose.get() {
            shard.count_cpu(*account, *self.nanos.get_mut());
        }
    }
}

/// Measures a call, one of many.
pub(super) fn metered<F: Future>(number: u64, call: F) -> impl Future<Output = F::Output> {
    let meter = Arc::new(Meter {
        nanos: AtomicU64::new(0),
        weight: if number.is_multiple_of(SAMPLED) {
            SAMPLED
        } else {
            0
        },
        whose: OnceLock::new(),
    });
    METER.scope(Arc::clone(&meter), measured(call, meter))
}

/// The call that is measured here goes on in a task of its own.
pub(super) fn metered_on<F: Future>(call: F) -> impl Future<Output = F::Output> {
    let meter = METER.try_with(Arc::clone).ok();
    async move {
        match meter {
            Some(meter) => METER.scope(Arc::clone(&meter), measured(call, meter)).await,
            None => call.await,
        }
    }
}

/// Says for whom the call is that is measured here.
pub(super) fn is_for(shard: &Arc<HostedShard>, account: Option<AccountId>) {
    // It is for the first shard that it names.
    let _ = METER.try_with(|meter| meter.whose.set((Arc::clone(shard), account)).ok());
}

/// Does work that blocks, of the call that is measured here, on whatever thread.
pub(super) fn measured_block<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let meter = METER.try_with(Arc::clone).ok();
    move || {
        let Some(meter) = meter else { return work() };
        let before = thread_time();
        let done = work();
        meter.add(before, 1);
        done
    }
}

impl Meter {
    fn add(&self, before: Duration, weight: u64) {
        let spent = thread_time().saturating_sub(before);
        let nanos = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        self.nanos
            .fetch_add(nanos.saturating_mul(weight), Ordering::Relaxed);
    }
}

async fn measured<F: Future>(call: F, meter: Arc<Meter>) -> F::Output {
    let mut call = pin!(call);
    if meter.weight == 0 {
        return call.await;
    }
    poll_fn(|context| {
        let before = thread_time();
        let polled = call.as_mut().poll(context);
        meter.add(before, meter.weight);
        polled
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps a processor busy for so long.
    fn work(time: Duration) {
        let began = thread_time();
        while thread_time() - began < time {
            std::hint::spin_loop();
        }
    }

    fn nanos_of(weight: u64, call: impl Future<Output = ()>) -> u64 {
        let meter = Arc::new(Meter {
            nanos: AtomicU64::new(0),
            weight,
            whose: OnceLock::new(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(METER.scope(Arc::clone(&meter), measured(call, Arc::clone(&meter))));
        meter.nanos.load(Ordering::Relaxed)
    }

    #[test]
    fn what_a_call_does_counts_and_what_others_do_meanwhile_does_not() {
        const MILLIS: Duration = Duration::from_millis(1);
        let call = async || {
            work(MILLIS);
            tokio::task::yield_now().await;
            let blocks = tokio::task::spawn_blocking(measured_block(|| work(4 * MILLIS)));
            blocks.await.unwrap();
            tokio::spawn(metered_on(async { work(2 * MILLIS) }))
                .await
                .unwrap();
            tokio::spawn(async { work(8 * MILLIS) }).await.unwrap();
        };
        let all = nanos_of(1, call());
        assert!((7_000_000..9_000_000).contains(&all), "{all}");
        let blocking_alone = nanos_of(0, call());
        assert!(
            (4_000_000..5_000_000).contains(&blocking_alone),
            "{blocking_alone}"
        );
    }
}
