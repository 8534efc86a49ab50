//! Reads on a replica that follows: of what it has applied, once it is known that this is not too old.
//!
//! The leader is asked how far it is, and makes sure that it leads before it answers; whoever has applied as much has
//! applied all that was acknowledged before the question. The age of that knowledge counts from before the question, on
//! this node's own clock, which goes on while the machine sleeps or the process stands still. So neither a leader that is
//! cut off or stands still nor one whose clock is wrong makes it look younger than it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rookery_proto::replication::v1 as proto;
use rookery_proto::replication::v1::{reply, request};
use rookery_proto::{Reason, Status};

use super::lease::Moment;
use super::member::Member;
use super::replica::{Group, NotLeading};
use crate::raft::convert;
use crate::store::Snapshot;

/// How long a replica may take to get as far as the leader has said. Whoever waits for it can ask the leader itself instead.
const CATCH_UP_MAX: Duration = Duration::from_millis(500);

/// What a replica knows of its leader while it follows.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// All that was acknowledged before this moment is applied here.
    applied_until: Mutex<Option<Moment>>,
    /// Questions that were to be put to the leader.
    asked: AtomicU64,
    last: tokio::sync::Mutex<Round>,
}

/// A question that has an answer, or will have none: good for all who wanted it before it was put.
#[derive(Debug, Default)]
struct Round {
    covers: u64,
    error: Option<NotLeading>,
}

impl Following {
    fn is_within(&self, age_max: Duration, now: Moment) -> bool {
        let until = *self.applied_until.lock();
        until.is_some_and(|until| now.since(until) <= age_max)
    }

    fn learnt(&self, asked: Moment) {
        let mut until = self.applied_until.lock();
        *until = (*until).max(Some(asked));
    }
}

impl Member {
    /// Makes sure that what is applied here holds all that was acknowledged `age_max` before this was asked, whether the
    /// replica leads or follows; with zero, all that was acknowledged before. A follower asks its leader once for all who ask
    /// meanwhile, and not at all while it knows enough.
    pub async fn confirm_within(&self, group: &Group, age_max: Duration) -> Result<(), NotLeading> {
        if group.leads() {
            return group.confirm().await;
        }
        let following = &group.following;
        if !age_max.is_zero() && following.is_within(age_max, Moment::now()) {
            return Ok(());
        }
        let asked = following.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut last = following.last.lock().await;
        if last.covers < asked {
            let covers = following.asked.load(Ordering::SeqCst);
            let began = Moment::now();
            let error = self.catch_up(group).await.err();
            if let Some(status) = &error {
                tracing::debug!(group = group.id().0, %status, "how far the leader is, is not known");
            } else {
                following.learnt(began);
            }
            *last = Round {
                covers,
                error: error.map(|_| NotLeading {
                    leader: group.leader(),
                }),
            };
        }
        last.error.clone().map_or(Ok(()), Err)
    }

    /// The last entry that the group's leader has applied; it makes sure first that it leads, so all that was acknowledged before this
    /// was asked lies up to there. UNAVAILABLE when nobody is known to lead, or who leads cannot make sure or has applied nothing.
    pub async fn leader_position(&self, group: &Group) -> Result<u64, Status> {
        if group.leads() {
            let confirmed = group.confirm().await;
            confirmed.map_err(|error| Status::unavailable(error.to_string()))?;
            let applied = group.applied();
            return applied.map(|applied| applied.index).ok_or_else(nothing_applied);
        }
        let (leader, node) = group
            .followed()
            .ok_or_else(|| Status::unavailable("nobody is known to lead the group"))?;
        let request = proto::Request {
            group: group.id().0,
            to: leader.0,
            call: Some(request::Call::AskPosition(proto::AskPosition {})),
        };
        let reply::Call::LeaderPosition(position) = self.transport.call(&node, request).await? else {
            return Err(Status::internal("the leader answered with something else"));
        };
        position
            .applied
            .map(|applied| applied.index)
            .ok_or_else(nothing_applied)
    }

    /// Asks the leader how far it is, and waits until this replica is there.
    async fn catch_up(&self, group: &Group) -> Result<(), Status> {
        let there = self.leader_position(group).await?;
        let is_there = || group.applied().is_some_and(|here| here.index >= there);
        if !is_there() {
            let what = format!("entry {there}");
            let waited = group
                .raft
                .wait(Some(CATCH_UP_MAX))
                .applied_index_at_least(Some(there), what)
                .await;
            waited.map_err(|error| Status::unavailable(format!("the replica is behind: {error}")))?;
        }
        // Of what a state that is being taken in will hold, nothing can be read yet.
        if is_there() {
            Ok(())
        } else {
            Err(Status::unavailable("the replica is behind"))
        }
    }

    /// What is applied, at one moment; nothing while a state is being taken in, or once the replica is being removed.
    pub fn snapshot_of(&self, group: &Group) -> Option<Snapshot<'_>> {
        group.progress.undisturbed(|| self.snapshot())
    }
}

fn nothing_applied() -> Status {
    Status::unavailable("the leader has applied nothing yet")
}

/// Answers a follower.
pub(super) async fn serve_position(group: &Group) -> Result<reply::Call, Status> {
    group.confirm().await.map_err(|error| Status {
        leader: error.leader.clone().unwrap_or_default(),
        ..Status::new(Reason::NotLeader, error.to_string())
    })?;
    let applied = group.progress.applied().last;
    Ok(reply::Call::LeaderPosition(proto::LeaderPosition {
        applied: applied.as_ref().map(convert::proto_position),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_ages_from_before_the_question() {
        let following = Following::default();
        let second = Duration::from_secs(1);
        let asked = Moment::now();
        assert!(!following.is_within(second, asked), "nothing is known");
        following.learnt(asked);
        assert!(following.is_within(second, asked.after(second)));
        assert!(!following.is_within(second, asked.after(second + Duration::from_nanos(1))));
        // A question that was put before and is answered later takes nothing back.
        let later = asked.after(second);
        following.learnt(later);
        following.learnt(asked);
        assert!(following.is_within(second, later.after(second)));
    }
}
