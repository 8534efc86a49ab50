//! Plans of waiting commands, one on top of the other, gathered into the batch of one entry.
//!
//! Runs on a thread where it may read the disk. A planner that panics costs its own command an error.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rookery_proto::Status;
use rookery_proto::mailstore::v1::{MailboxEvent, Reply};
use rookery_replication::{Batch, Overlay, View};
use tokio::sync::oneshot;

use super::Queued;
use crate::plan::{self, Command, Mutation, Plan, PlanContext};
use crate::schema::AccountId;

/// An answer that waits until what it rests on is durable.
pub(super) struct Answer {
    pub(super) to: oneshot::Sender<Result<Reply, Status>>,
    pub(super) result: Result<Reply, Status>,
}

/// What became one entry.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) batch: Batch,
    pub(super) answers: Vec<Answer>,
    pub(super) events: Vec<MailboxEvent>,
    /// Whether a plan left garbage, or collecting left some.
    pub(super) garbage: bool,
    /// Whether the overlay shows what is not in the batch: all of it must be given up.
    pub(super) void: bool,
    /// Commands that are left for the next entry, as this one is large enough.
    pub(super) rest: VecDeque<Queued>,
    /// Of the batch.
    bytes: usize,
}

/// What an entry is made of.
pub(super) struct Work {
    /// The entry's number.
    pub(super) number: u64,
    pub(super) commands: VecDeque<Queued>,
    /// Whether some garbage is worked off as well.
    pub(super) collect: bool,
    /// Bytes of the entry from which on no further command is planned: a small command may write much.
    pub(super) bytes_max: usize,
}

/// Plans commands for an entry, the first of them at least.
pub(super) fn gather(overlay: &mut Overlay, base: &dyn View, context: &PlanContext, work: Work) -> Gathered {
    let Work {
        number,
        mut commands,
        collect,
        bytes_max,
    } = work;
    let mut gathered = Gathered::default();
    while let Some(Queued { mutation, answer, .. }) = commands.pop_front() {
        let result = gathered.add(overlay, base, context, number, &mutation);
        gathered.answers.push(Answer { to: answer, result });
        if gathered.bytes >= bytes_max {
            break;
        }
    }
    gathered.rest = commands;
    if collect {
        let mutation = Mutation {
            account: AccountId(0),
            key: None,
            command: Command::Collect,
        };
        if let Err(status) = gathered.add(overlay, base, context, number, &mutation) {
            tracing::error!(shard = context.shard.0, %status, "cannot work off garbage");
        }
    }
    gathered
}

impl Gathered {
    fn add(
        &mut self,
        overlay: &mut Overlay,
        base: &dyn View,
        context: &PlanContext,
        number: u64,
        mutation: &Mutation,
    ) -> Result<Reply, Status> {
        let view = overlay.over(base);
        // The plan is a value and the view is read only: a panic leaves nothing half done.
        let planned = catch_unwind(AssertUnwindSafe(|| plan::plan(&view, context, mutation)));
        let Plan {
            batch,
            reply,
            events,
            garbage,
        } = planned.unwrap_or_else(|_| {
            tracing::error!(
                shard = context.shard.0,
                account = mutation.account.0,
                "a planner has panicked"
            );
            Err(Status::internal("the command could not be planned"))
        })?;
        if let Err(error) = overlay.push(number, &batch, base) {
            self.void = true;
            return Err(crate::schema::unread(error));
        }
        self.bytes += batch.bytes();
        self.batch.append(batch);
        self.events.extend(events);
        self.garbage |= garbage;
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rookery_proto::mailstore::v1::PutAccount;
    use rookery_replication::MemoryStore;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::plan::PlanLimits;
    use crate::schema::ShardId;

    /// A new account has many rows, which its command is not to be seen from.
    fn put_account(account: u64) -> Queued {
        let put = PutAccount {
            shard: 1,
            account,
            generation: 1,
            quota_bytes: 0,
        };
        let room = Arc::new(Semaphore::new(1)).try_acquire_many_owned(1);
        Queued {
            mutation: Mutation {
                account: AccountId(account),
                key: None,
                command: Command::PutAccount(put),
            },
            bytes: 1,
            answer: oneshot::channel().0,
            _room: room.expect("there is room"),
        }
    }

    #[test]
    fn an_entry_ends_with_the_command_that_makes_it_large_enough() {
        let context = PlanContext {
            shard: ShardId(1),
            now_millis: 1,
            limits: PlanLimits::default(),
            disk_nearly_full: false,
        };
        let store = MemoryStore::new();
        let one = gather_up_to(&store, &context, 1, 1);
        assert_eq!((one.answers.len(), one.rest.len()), (1, 9));
        let bytes = one.batch.bytes();
        let three = gather_up_to(&store, &context, 1, bytes * 2 + 1);
        assert_eq!((three.answers.len(), three.rest.len()), (3, 7));
        assert!(three.answers.iter().all(|answer| answer.result.is_ok()));
        let next = three.rest.front().map(|queued| queued.mutation.account);
        assert_eq!(next, Some(AccountId(4)));
        let all = gather_up_to(&store, &context, 1, usize::MAX);
        assert_eq!((all.answers.len(), all.rest.len()), (10, 0));
    }

    fn gather_up_to(store: &MemoryStore, context: &PlanContext, number: u64, bytes_max: usize) -> Gathered {
        let work = Work {
            number,
            commands: (1..=10).map(put_account).collect(),
            collect: false,
            bytes_max,
        };
        gather(&mut Overlay::new(), store, context, work)
    }
}
