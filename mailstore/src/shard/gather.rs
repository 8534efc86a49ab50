//! Plans of waiting commands, one on top of the other, gathered into the batch of one entry.
//!
//! Runs on a thread where it may read the disk. A planner that panics costs its own command an error.

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
}

/// Plans all commands for the entry `number`; with `collect` works off some garbage as well.
pub(super) fn gather(
    overlay: &mut Overlay,
    base: &dyn View,
    context: &PlanContext,
    number: u64,
    commands: Vec<Queued>,
    collect: bool,
) -> Gathered {
    let mut gathered = Gathered::default();
    for Queued { mutation, answer, .. } in commands {
        let result = gathered.add(overlay, base, context, number, &mutation);
        gathered.answers.push(Answer { to: answer, result });
    }
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
            return Err(Status::internal(error.to_string()));
        }
        self.batch.append(batch);
        self.events.extend(events);
        self.garbage |= garbage;
        Ok(reply)
    }
}
