//! Readiness after a start: the replicas that this node has to hold have applied what their leaders had when they were first
//! asked. Nodes that are restarted one after the other, each once the last one is ready, are thus never two behind.
//!
//! Only what can be known is waited for. Of a shard without a majority nobody can say how far it is, and the majority may be
//! waiting for this very node: Kubernetes starts the next one only when this one is ready. So a shard that has had no leader for
//! [`LEADERLESS_MAX`] counts no more, and neither does one that could not be opened for as long. What falls behind later is not told here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rookery_process::health::Health;
use tokio::sync::watch;
use tokio::time::Instant;

use super::CONDITION_CAUGHT_UP;
use crate::catalogue::REPLICAS_BEHIND;
use crate::schema::ShardId;
use crate::service::Shards;

/// How long a shard is waited for of which no leader is known: many times longer than an election takes.
const LEADERLESS_MAX: Duration = Duration::from_secs(15);

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// How long a leader has to say how far it is.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Leaders that are asked at one time.
const ASKED_AT_ONCE: usize = 16;

/// A shard that is waited for.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// The entry that its leader had applied; none before it has said so.
    target: Option<u64>,
    /// When a leader was known last, or else when waiting began.
    led_at: Instant,
}

/// What a look at a shard has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// It is where its leader was.
    There,
    /// It is not, and there is a leader that it can be given the rest by.
    Behind(u64),
    /// Nobody is known who could give it what it lacks, if it lacks anything.
    Leaderless,
}

/// Waits until the replicas are open and have caught up, and says so. Ends then.
pub(super) async fn watch(shards: Arc<Shards>, health: Health, mut opened: watch::Receiver<bool>) {
    if opened.wait_for(|opened| *opened).await.is_err() {
        // The node is stopping.
        return;
    }
    let began = Instant::now();
    let of = |shard| {
        let waiting = Waiting {
            target: None,
            led_at: began,
        };
        (shard, waiting)
    };
    let mut waiting: BTreeMap<ShardId, Waiting> = shards.placed().into_iter().map(of).collect();
    let all = waiting.len();
    loop {
        let placed = shards.placed();
        waiting.retain(|shard, _| placed.contains(shard));
        look_at_all(&shards, &mut waiting).await;
        REPLICAS_BEHIND.set(waiting.len() as f64);
        let Some((first, held)) = waiting.first_key_value() else {
            break;
        };
        health.unmet(CONDITION_CAUGHT_UP, reason(waiting.len(), *first, *held));
        tokio::time::sleep(LOOK).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    tracing::info!(replicas = all, seconds, "the replicas have caught up");
    health.met(CONDITION_CAUGHT_UP);
}

/// Looks at all that are waited for, and drops those that need not be waited for any more.
async fn look_at_all(shards: &Shards, waiting: &mut BTreeMap<ShardId, Waiting>) {
    let looks = waiting
        .iter()
        .map(|(shard, held)| (*shard, held.target))
        .map(|(shard, target)| async move { (shard, look_at(shards, shard, target).await) });
    // Collected, so that the looks borrow the table no longer.
    let looks: Vec<_> = looks.collect();
    let looked: Vec<(ShardId, Look)> = futures_util::stream::iter(looks)
        .buffer_unordered(ASKED_AT_ONCE)
        .collect()
        .await;
    let now = Instant::now();
    for (shard, look) in looked {
        let Some(held) = waiting.get_mut(&shard) else {
            continue;
        };
        if !held.heed(look, now) {
            if look == Look::Leaderless {
                tracing::warn!(
                    shard = shard.0,
                    "the shard has no leader that could say how far it is: it is not waited for any longer"
                );
            }
            waiting.remove(&shard);
        }
    }
}

impl Waiting {
    /// Takes in what was seen; whether it is to be waited for still.
    fn heed(&mut self, look: Look, now: Instant) -> bool {
        match look {
            Look::There => false,
            Look::Behind(target) => {
                (self.target, self.led_at) = (Some(target), now);
                true
            }
            Look::Leaderless => now.saturating_duration_since(self.led_at) < LEADERLESS_MAX,
        }
    }
}

async fn look_at(shards: &Shards, shard: ShardId, target: Option<u64>) -> Look {
    let Ok(hosted) = shards.get(shard) else {
        return Look::Leaderless;
    };
    let group = hosted.shard().group();
    let target = match target {
        Some(target) => target,
        None => {
            let asked = shards.member().leader_position(group);
            match tokio::time::timeout(ANSWER_MAX, asked).await {
                Ok(Ok(target)) => target,
                Ok(Err(_)) | Err(_) => return Look::Leaderless,
            }
        }
    };
    if group.applied().is_some_and(|applied| applied.index >= target) {
        Look::There
    } else if group.leader().is_some() {
        Look::Behind(target)
    } else {
        Look::Leaderless
    }
}

fn reason(count: usize, first: ShardId, held: Waiting) -> String {
    let state = match held.target {
        Some(target) => format!("has not applied entry {target} of its leader yet"),
        None => "has no leader that says how far it is".to_owned(),
    };
    format!("{count} replicas have not caught up; shard {first} {state}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_waited_for_as_long_as_it_has_a_leader() {
        let began = Instant::now();
        let mut held = Waiting {
            target: None,
            led_at: began,
        };
        let almost = LEADERLESS_MAX.saturating_sub(Duration::from_millis(1));
        assert!(held.heed(Look::Leaderless, began + almost));
        // A leader was heard: from then on anew, and for as long as there is one.
        let later = began + almost;
        assert!(held.heed(Look::Behind(7), later));
        assert_eq!(held.target, Some(7));
        assert!(held.heed(Look::Leaderless, later + almost));
        assert!(held.heed(Look::Behind(7), later + LEADERLESS_MAX * 100));
        assert!(!held.heed(Look::There, later));
        let last = later + LEADERLESS_MAX * 100;
        assert!(!held.heed(Look::Leaderless, last + LEADERLESS_MAX));
    }

    #[test]
    fn the_reason_names_a_shard() {
        let now = Instant::now();
        let held = |target| Waiting { target, led_at: now };
        let text = reason(3, ShardId(5), held(Some(9)));
        assert!(
            text.contains("3 replicas") && text.contains("shard 5 has not applied entry 9"),
            "{text}"
        );
        assert!(reason(1, ShardId(5), held(None)).contains("no leader"));
    }
}
