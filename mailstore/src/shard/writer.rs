//! The shard's single writer: takes what waits, plans it, proposes it as one entry, goes on while that is in flight.
//!
//! Each command is answered when its entry and all before it are durable; then the events go out.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use rookery_proto::Status;
use rookery_replication::group::{Leader, Member, ProposeError};
use rookery_replication::{GroupId, Overlay};
use tokio::sync::mpsc;

use super::gather::{Answer, Gathered, Work, gather};
use super::{EventHub, Queued, ShardOptions};
use crate::plan::PlanContext;
use crate::schema::ShardId;

/// An entry of which the outcome is known.
struct Settled {
    /// The entry's number; `None` for answers that only waited for the entries before them.
    number: Option<u64>,
    outcome: Result<(), ProposeError>,
    gathered: Gathered,
}

pub(super) struct Writer {
    shard: ShardId,
    member: Arc<Member>,
    leader: Arc<Leader>,
    options: ShardOptions,
    events: Arc<EventHub>,
    commands: mpsc::UnboundedReceiver<Queued>,
    /// Taken, but not planned yet: the entry before was large enough without. They come first.
    rest: VecDeque<Queued>,
    /// `None` only while it is with the planning thread.
    overlay: Option<Overlay>,
    in_flight: FuturesOrdered<BoxFuture<'static, Settled>>,
    garbage: bool,
}

impl Writer {
    pub(super) fn new(
        shard: ShardId,
        member: Arc<Member>,
        leader: Leader,
        options: ShardOptions,
        events: Arc<EventHub>,
        commands: mpsc::UnboundedReceiver<Queued>,
    ) -> Self {
        Self {
            shard,
            member,
            leader: Arc::new(leader),
            options,
            events,
            commands,
            rest: VecDeque::new(),
            overlay: Some(Overlay::new()),
            in_flight: FuturesOrdered::new(),
            garbage: false,
        }
    }

    pub(super) async fn run(mut self) {
        let mut open = true;
        while open || !self.in_flight.is_empty() || !self.rest.is_empty() {
            let room = self.in_flight.len() < self.options.entries_in_flight_max;
            // Garbage by itself is worked off when nothing else is under way.
            let idle = self.in_flight.is_empty();
            let rest = !self.rest.is_empty();
            tokio::select! {
                biased;
                Some(settled) = self.in_flight.next(), if !idle => self.settle(settled).await,
                () = std::future::ready(()), if rest && room => self.take(None).await,
                first = self.commands.recv(), if open && room && !rest => match first {
                    Some(first) => self.take(Some(first)).await,
                    None => open = false,
                },
                () = std::future::ready(()), if open && idle && self.garbage => self.take(None).await,
            }
        }
    }

    /// Plans and proposes what waits.
    async fn take(&mut self, first: Option<Queued>) {
        let mut commands = std::mem::take(&mut self.rest);
        commands.extend(first);
        let mut bytes: usize = commands.iter().map(|queued| queued.bytes).sum();
        while commands.len() < self.options.entry_commands_max && bytes < self.options.entry_bytes_max {
            let Ok(queued) = self.commands.try_recv() else {
                break;
            };
            bytes += queued.bytes;
            commands.push_back(queued);
        }
        self.leader.ready().await;
        let Some(mut gathered) = self.plan(commands).await else {
            return;
        };
        self.rest = std::mem::take(&mut gathered.rest);
        if gathered.void {
            fail(gathered, ProposeError::Replan);
            return self.start_anew().await;
        }
        self.garbage = gathered.garbage;
        self.propose(gathered);
    }

    /// Plans on a thread that may read the disk.
    async fn plan(&mut self, commands: VecDeque<Queued>) -> Option<Gathered> {
        let mut overlay = self.overlay.take().unwrap_or_default();
        let store = Arc::clone(self.member.store());
        let mut context = PlanContext {
            shard: self.shard,
            now_millis: (self.options.clock)(),
            limits: self.options.limits,
            disk_nearly_full: false,
        };
        let disk = self.options.disk.clone();
        let work = Work {
            number: self.leader.next_number(),
            commands,
            collect: self.garbage,
            bytes_max: self.options.entry_bytes_max,
        };
        let planned = tokio::task::spawn_blocking(move || {
            context.disk_nearly_full = disk.is_some_and(|disk| disk.is_nearly_full());
            let gathered = gather(&mut overlay, store.as_ref(), &context, work);
            (overlay, gathered)
        });
        match planned.await {
            Ok((overlay, gathered)) => {
                self.overlay = Some(overlay);
                Some(gathered)
            }
            Err(error) => {
                // The runtime is going down, or planning panicked outside of a planner: the commands are unanswered,
                // and what is in flight cannot be seen any more.
                tracing::error!(shard = self.shard.0, %error, "planning ended badly");
                self.start_anew().await;
                None
            }
        }
    }

    fn propose(&mut self, mut gathered: Gathered) {
        if gathered.batch.is_empty() {
            // The answers may rest on what is in flight.
            let settled = Settled {
                number: None,
                outcome: Ok(()),
                gathered,
            };
            self.in_flight.push_back(Box::pin(std::future::ready(settled)));
            return;
        }
        let proposal = self.leader.propose(std::mem::take(&mut gathered.batch));
        let number = Some(proposal.number());
        self.in_flight.push_back(Box::pin(async move {
            let outcome = proposal.await;
            Settled {
                number,
                outcome,
                gathered,
            }
        }));
    }

    async fn settle(&mut self, settled: Settled) {
        let Settled {
            number,
            outcome,
            gathered,
        } = settled;
        match outcome {
            Ok(()) => {
                if let (Some(number), Some(overlay)) = (number, &mut self.overlay) {
                    overlay.applied(number);
                }
                self.events.publish(&gathered.events);
                for Answer { to, result } in gathered.answers {
                    // Who has gone does not care.
                    let _ = to.send(result);
                }
            }
            Err(error) => {
                fail(gathered, error);
                self.start_anew().await;
            }
        }
    }

    /// What was planned is void: answers what is in flight, then leads anew on what is stored.
    async fn start_anew(&mut self) {
        while let Some(settled) = self.in_flight.next().await {
            match settled.outcome {
                // Answers that rested on a lost entry are as void as it.
                Ok(()) if settled.number.is_none() => fail(settled.gathered, ProposeError::Replan),
                Ok(()) => {
                    self.events.publish(&settled.gathered.events);
                    for Answer { to, result } in settled.gathered.answers {
                        let _ = to.send(result);
                    }
                }
                Err(error) => fail(settled.gathered, error),
            }
        }
        self.overlay = Some(Overlay::new());
        self.garbage = true;
        let (member, group) = (Arc::clone(&self.member), GroupId(self.shard.0));
        match tokio::task::spawn_blocking(move || member.lead(group)).await {
            Ok(leader) => self.leader = Arc::new(leader),
            Err(error) => tracing::error!(shard = self.shard.0, %error, "cannot lead the shard anew"),
        }
    }
}

fn fail(gathered: Gathered, error: ProposeError) {
    let status = match error {
        ProposeError::Lost => Status::unavailable("the outcome is unknown: retry with the same key"),
        ProposeError::Replan => Status::new(rookery_proto::Reason::Replan, "nothing was done: retry"),
        ProposeError::Closed => Status::unavailable("the store is closing"),
    };
    for Answer { to, .. } in gathered.answers {
        let _ = to.send(Err(status.clone()));
    }
}
