//! Lookups of random names, so many in flight at a time, each of which must be answered rightly.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rookery_proto::Reason;
use tokio::task::JoinSet;

use super::{Client, Target, quantile};

/// A name, and the account that it leads to; `None`: nobody's.
pub type Asked = (String, Option<u64>);

/// Draws names.
pub type Draw = Arc<dyn Fn(&mut StdRng) -> Asked + Send + Sync>;

/// What was measured.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Calls in flight at a time.
    pub in_flight: usize,
    /// Lookups that were answered.
    pub answered: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// How long half of the lookups took at most.
    pub median: Duration,
    /// How long 99 of 100 took at most.
    pub p99: Duration,
}

impl Measured {
    /// Lookups a second.
    pub fn rate(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }
}

/// Asks over one connection for so long. An answer that is not what it should be is an error.
pub async fn measure(target: &Target, in_flight: usize, time: Duration, draw: &Draw) -> Result<Measured> {
    let client = Arc::new(target.connect()?);
    // The connection is made before the clock runs.
    check(&client, &draw(&mut StdRng::from_os_rng())).await?;
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..in_flight {
        let (client, draw) = (Arc::clone(&client), Arc::clone(draw));
        callers.spawn(async move {
            let mut rng = StdRng::from_os_rng();
            let mut took = Vec::new();
            while began.elapsed() < time {
                let asked = draw(&mut rng);
                let sent = Instant::now();
                check(&client, &asked).await?;
                took.push(sent.elapsed());
            }
            anyhow::Ok(took)
        });
    }
    let mut took = Vec::new();
    while let Some(ended) = callers.join_next().await {
        took.extend(ended??);
    }
    let elapsed = began.elapsed();
    took.sort_unstable();
    Ok(Measured {
        in_flight,
        answered: took.len() as u64,
        elapsed,
        median: quantile(&took, 0.5),
        p99: quantile(&took, 0.99),
    })
}

/// Asks for so many random names, one after the other.
pub async fn check_some(client: &Client, count: usize, draw: &Draw) -> Result<()> {
    let mut rng = StdRng::from_os_rng();
    for _ in 0..count {
        check(client, &draw(&mut rng)).await?;
    }
    Ok(())
}

/// Draws ids from 1 up to a last one, and gives the name of each.
pub fn any_of(last: u64, name: fn(u64) -> String) -> Draw {
    Arc::new(move |rng: &mut StdRng| {
        let id = rng.random_range(1..=last);
        (name(id), Some(id))
    })
}

async fn check(client: &Client, (name, account): &Asked) -> Result<()> {
    match (client.resolve(name).await, account) {
        (Ok(found), Some(account)) if found == [*account] => Ok(()),
        (Err(status), None) if status.reason == Reason::NotFound => Ok(()),
        (said, account) => bail!("{name} is {account:?}, and the directory says {said:?}"),
    }
}
