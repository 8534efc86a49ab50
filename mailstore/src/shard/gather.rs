//! Plans of waiting commands, one on top of the other, gathered into the batch of one entry.
//!
//! What is in memory is planned at once, by whoever asks; the rest on a thread that may read the disk. A planner that panics costs its
//! own command an error.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rookery_proto::Status;
use rookery_proto::mailstore::v1::{MailboxEvent, Reply};
use rookery_replication::store::Resident;
use rookery_replication::{Batch, Overlay, View};
use tokio::sync::oneshot;

use super::Queued;
use super::trace::Tracked;
use crate::plan::{self, Command, Mutation, Plan, PlanContext};
use crate::schema::AccountId;

/// An answer that waits until what it rests on is durable.
pub(super) struct Answer {
    pub(super) to: oneshot::Sender<Result<Reply, Status>>,
    pub(super) result: Result<Reply, Status>,
    pub(super) tracked: Option<Box<Tracked>>,
}

impl Answer {
    /// The answer to a command that has been planned.
    fn new(
        to: oneshot::Sender<Result<Reply, Status>>,
        tracked: Option<Box<Tracked>>,
        result: Result<Reply, Status>,
    ) -> Self {
        if let Some(tracked) = &tracked {
            tracked.planned();
        }
        Self { to, result, tracked }
    }
}

/// What became one entry.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) batch: Batch,
    pub(super) answers: Vec<Answer>,
    pub(super) events: Vec<MailboxEvent>,
    /// Whether a plan left garbage, or collecting left some.
    pub(super) garbage: bool,
    /// Whether some garbage was worked off as well.
    pub(super) collected: bool,
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

/// Commands up to which an entry may be planned without a thread of its own.
const AT_ONCE_COMMANDS_MAX: usize = 16;

/// Bytes of commands up to which it may.
const AT_ONCE_BYTES_MAX: usize = 256 * 1024;

/// Rows up to which they may read.
pub(super) const AT_ONCE_ROWS_MAX: usize = 4096;

/// Plans as many commands as it can without waiting for the disk and without taking long; what is left of the work is for
/// [`gather`] to go on with.
pub(super) fn gather_at_once(
    gathered: &mut Gathered,
    overlay: &mut Overlay,
    base: &Resident<'_>,
    context: &PlanContext,
    work: &mut Work,
) {
    let bytes: usize = work.commands.iter().map(|queued| queued.bytes).sum();
    if work.commands.len() > AT_ONCE_COMMANDS_MAX || bytes > AT_ONCE_BYTES_MAX {
        return;
    }
    while gathered.bytes < work.bytes_max
        && let Some(queued) = work.commands.pop_front()
    {
        let result = gathered.add(overlay, base, context, work.number, &queued.mutation);
        if base.is_exceeded() {
            work.commands.push_front(queued);
            return;
        }
        let answer = Answer::new(queued.answer, queued.tracked, result);
        gathered.answers.push(answer);
    }
}

/// Plans commands for an entry, the first of them at least.
pub(super) fn gather(
    gathered: &mut Gathered,
    overlay: &mut Overlay,
    base: &dyn View,
    context: &PlanContext,
    work: Work,
) {
    let Work {
        number,
        mut commands,
        collect,
        bytes_max,
    } = work;
    while (gathered.answers.is_empty() || gathered.bytes < bytes_max)
        && let Some(queued) = commands.pop_front()
    {
        let result = gathered.add(overlay, base, context, number, &queued.mutation);
        let answer = Answer::new(queued.answer, queued.tracked, result);
        gathered.answers.push(answer);
    }
    gathered.rest = commands;
    gathered.collected = collect;
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
}

impl Gathered {
    /// Whether nothing of the work is left for this entry.
    pub(super) fn has_all_of(&self, work: &Work) -> bool {
        (work.commands.is_empty() || self.bytes >= work.bytes_max) && !work.collect
    }

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
        overlay
            .push(number, &batch, base)
            .map_err(crate::schema::unread)?;
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
    use rookery_replication::store::Store;
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
            tracked: None,
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

    #[test]
    fn what_may_be_read_is_planned_at_once_and_the_rest_is_left_for_a_thread() {
        let store = Store::in_memory(Arc::default());
        let context = PlanContext {
            shard: ShardId(1),
            now_millis: 1,
            limits: PlanLimits::default(),
            disk_nearly_full: false,
        };
        let at_once = |rows_max: usize, commands: u64| {
            let mut work = Work {
                number: 1,
                commands: (1..=commands).map(put_account).collect(),
                collect: false,
                bytes_max: usize::MAX,
            };
            let (mut gathered, mut overlay) = (Gathered::default(), Overlay::new());
            let base = store.resident(rows_max);
            gather_at_once(&mut gathered, &mut overlay, &base, &context, &mut work);
            (gathered, overlay, work)
        };
        let (gathered, _, left) = at_once(1000, 3);
        assert!(gathered.has_all_of(&left));
        assert_eq!(gathered.answers.len(), 3);

        let (mut gathered, mut overlay, left) = at_once(2, 3);
        assert!(!gathered.has_all_of(&left));
        let planned = gathered.answers.len();
        assert_eq!(planned + left.commands.len(), 3);
        assert!(planned < 3 && gathered.answers.iter().all(|answer| answer.result.is_ok()));
        gather(&mut gathered, &mut overlay, &store, &context, left);
        assert_eq!(gathered.answers.len(), 3);
        assert!(gathered.answers.iter().all(|answer| answer.result.is_ok()));

        let (gathered, overlay, left) = at_once(1000, AT_ONCE_COMMANDS_MAX as u64 + 1);
        assert!(gathered.answers.is_empty() && overlay.is_empty());
        assert_eq!(left.commands.len(), AT_ONCE_COMMANDS_MAX + 1);
    }

    fn gather_up_to(store: &MemoryStore, context: &PlanContext, number: u64, bytes_max: usize) -> Gathered {
        let work = Work {
            number,
            commands: (1..=10).map(put_account).collect(),
            collect: false,
            bytes_max,
        };
        let mut gathered = Gathered::default();
        gather(&mut gathered, &mut Overlay::new(), store, context, work);
        gathered
    }
}
