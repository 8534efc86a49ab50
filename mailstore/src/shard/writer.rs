//! The shard's single writer: takes what waits, plans it, proposes it as one entry, goes on while that is in flight.
//!
//! Each command is answered when its entry and all before it are durable; then the events go out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use rookery_proto::{Reason, Status};
use rookery_replication::Overlay;
use rookery_replication::group::{Group, Leader, Member, ProposeError};
use tokio::sync::{mpsc, watch};

use super::collecting::Collecting;
use super::gather::{AT_ONCE_ROWS_MAX, Answer, Gathered, Work, gather, gather_at_once};
use super::{EventHub, Planning, Queued, ShardOptions, trace};
use crate::catalogue::LEADERSHIPS;
use crate::plan::PlanContext;
use crate::schema::ShardId;

/// Pause before a leadership is begun again that could not be: a quorum has to be heard first.
const BEGIN_PAUSE: Duration = Duration::from_millis(50);

/// An entry of which the outcome is known.
struct Settled {
    /// The entry's number; `None` for answers that only waited for the entries before them.
    number: Option<u64>,
    outcome: Result<(), ProposeError>,
    gathered: Gathered,
}

/// What a writer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It takes commands.
    Serving,
    /// It waits to hear what became of its last entries: who leads now tells.
    Settling,
    /// It has nothing to do here.
    Resting,
}

/// The replica whose leadership the writer uses.
pub(super) struct Seat {
    pub(super) member: Arc<Member>,
    pub(super) group: Arc<Group>,
    /// Told what the writer does.
    pub(super) stage: watch::Sender<Stage>,
    /// Whether the group is formed.
    pub(super) may_serve: watch::Receiver<bool>,
}

pub(super) struct Writer {
    shard: ShardId,
    seat: Seat,
    options: ShardOptions,
    events: Arc<EventHub>,
    commands: mpsc::UnboundedReceiver<Queued>,
    /// Taken, but not planned yet: the entry before was large enough without. They come first.
    rest: VecDeque<Queued>,
    /// `None` only while it is with the planning thread.
    overlay: Option<Overlay>,
    in_flight: FuturesOrdered<BoxFuture<'static, Settled>>,
    collecting: Collecting,
    planning: Arc<Planning>,
    /// Commands may still come.
    open: bool,
}

/// How a leadership ended.
enum Ended {
    /// What was planned is void; this node may still lead.
    Void,
    /// Another leads, or nobody.
    Lost,
    /// No more commands come, and all are answered.
    Closed,
}

impl Writer {
    pub(super) fn new(
        shard: ShardId,
        seat: Seat,
        options: ShardOptions,
        events: Arc<EventHub>,
        planning: Arc<Planning>,
        commands: mpsc::UnboundedReceiver<Queued>,
    ) -> Self {
        Self {
            shard,
            seat,
            options,
            events,
            commands,
            rest: VecDeque::new(),
            overlay: Some(Overlay::new()),
            in_flight: FuturesOrdered::new(),
            collecting: Collecting::default(),
            planning,
            open: true,
        }
    }

    pub(super) async fn run(mut self) {
        while self.until_leading().await {
            let leader = match self.seat.group.lead().await {
                Ok(leader) => Arc::new(leader),
                Err(error) => {
                    tracing::debug!(shard = self.shard.0, %error, "the leadership was lost as it began");
                    tokio::time::sleep(BEGIN_PAUSE).await;
                    continue;
                }
            };
            tracing::debug!(
                shard = self.shard.0,
                term = leader.id().term,
                "the shard is served here"
            );
            self.seat.stage.send_replace(Stage::Serving);
            if let Some(on_leading) = &self.options.on_leading {
                on_leading();
            }
            LEADERSHIPS.increment(1);
            // What an earlier leader left.
            self.collecting = Collecting::default();
            self.collecting.found();
            match self.lead(&leader).await {
                Ended::Void => self.settle_all().await,
                Ended::Lost => {
                    // Who waits hears at once where to go.
                    self.seat.stage.send_replace(Stage::Settling);
                    self.refuse_all();
                    self.settle_all().await;
                    self.seat.stage.send_replace(Stage::Resting);
                    self.events.close();
                    self.refuse_all();
                }
                Ended::Closed => {
                    self.settle_all().await;
                    break;
                }
            }
        }
        self.seat.stage.send_replace(Stage::Resting);
        self.events.close();
        self.refuse_all();
    }

    /// Waits for the leadership, and refuses commands that come late; false when no more can come.
    async fn until_leading(&mut self) -> bool {
        loop {
            let leading = async {
                self.seat.may_serve.wait_for(|may| *may).await.is_ok()
                    && self.seat.group.until_leading().await
            };
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(queued) => self.rest.push_back(queued),
                    None => return false,
                },
                leading = leading => return leading,
            }
            if *self.seat.stage.borrow() != Stage::Serving {
                self.refuse_all();
            }
        }
    }

    /// Plans and proposes what comes, as long as this node leads.
    async fn lead(&mut self, leader: &Arc<Leader>) -> Ended {
        let following = {
            let group = Arc::clone(&self.seat.group);
            async move { group.until_following().await }
        };
        tokio::pin!(following);
        while self.open || !self.in_flight.is_empty() || !self.rest.is_empty() {
            let room = self.in_flight.len() < self.options.entries_in_flight_max;
            // Garbage by itself is worked off when nothing else is under way.
            let idle = self.in_flight.is_empty();
            let rest = !self.rest.is_empty();
            let ended = tokio::select! {
                biased;
                Some(settled) = self.in_flight.next(), if !idle => self.settle(settled),
                _ = &mut following => Some(Ended::Lost),
                () = std::future::ready(()), if rest && room => self.take(leader, None).await,
                first = self.commands.recv(), if self.open && room && !rest => match first {
                    Some(first) => self.take(leader, Some(first)).await,
                    None => {
                        self.open = false;
                        None
                    }
                },
                () = self.collecting.is_due(), if self.open && idle && self.collecting.waits() => {
                    self.take(leader, None).await
                }
            };
            if let Some(ended) = ended {
                return ended;
            }
        }
        Ended::Closed
    }

    /// Plans and proposes what waits.
    async fn take(&mut self, leader: &Arc<Leader>, first: Option<Queued>) -> Option<Ended> {
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
        leader.ready().await;
        let Some(mut gathered) = self.plan(leader, commands).await else {
            return Some(Ended::Void);
        };
        self.collecting.planned();
        self.rest = std::mem::take(&mut gathered.rest);
        if gathered.garbage {
            self.collecting.found();
        }
        self.propose(leader, gathered).await;
        None
    }

    /// Plans at once what is in memory, and the rest on a thread that may read the disk.
    async fn plan(&mut self, leader: &Arc<Leader>, commands: VecDeque<Queued>) -> Option<Gathered> {
        let mut overlay = self.overlay.take().unwrap_or_default();
        let store = Arc::clone(self.seat.member.store());
        let mut context = PlanContext {
            shard: self.shard,
            now_millis: (self.options.clock)(),
            limits: self.options.limits,
            disk_nearly_full: false,
        };
        let disk = self.options.disk.clone();
        let mut work = Work {
            number: leader.next_number(),
            commands,
            collect: self.collecting.begin(),
            bytes_max: self.options.entry_bytes_max,
        };
        let mut gathered = Gathered::default();
        let seen = disk.as_ref().map_or(Some(false), |disk| disk.was_nearly_full());
        if let Some(nearly_full) = seen {
            context.disk_nearly_full = nearly_full;
            let base = store.resident(AT_ONCE_ROWS_MAX);
            self.planning.measure(|| {
                gather_at_once(&mut gathered, &mut overlay, &base, &context, &mut work);
            });
            if gathered.has_all_of(&work) {
                gathered.rest = work.commands;
                self.overlay = Some(overlay);
                return Some(gathered);
            }
        }
        let base = Arc::clone(&store);
        let planning = Arc::clone(&self.planning);
        let planned = store.blocking(move || {
            context.disk_nearly_full = disk.is_some_and(|disk| disk.is_nearly_full());
            planning.measure(|| gather(&mut gathered, &mut overlay, base.as_ref(), &context, work));
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
                None
            }
        }
    }

    async fn propose(&mut self, leader: &Arc<Leader>, mut gathered: Gathered) {
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
        let batch = std::mem::take(&mut gathered.batch);
        let entry = trace::entry(&gathered.answers, leader.next_number(), batch.bytes());
        let proposal = entry.step("propose").run(leader.propose(batch)).await;
        let number = Some(proposal.number());
        self.in_flight.push_back(Box::pin(async move {
            // Written and synced by a majority, then applied here.
            let outcome = entry.step("agree").run(proposal).await;
            entry.outcome(if outcome.is_ok() { "ok" } else { "lost" });
            Settled {
                number,
                outcome,
                gathered,
            }
        }));
    }

    /// Answers those whose entry's outcome is known; says when what was planned after it is void.
    fn settle(&mut self, settled: Settled) -> Option<Ended> {
        let Settled {
            number,
            outcome,
            gathered,
        } = settled;
        if gathered.collected {
            self.collecting.ended();
        }
        match outcome {
            Ok(()) => {
                if let (Some(number), Some(overlay)) = (number, &mut self.overlay) {
                    overlay.applied(number);
                }
                self.answer(gathered);
                None
            }
            Err(error) => {
                fail(gathered, error);
                Some(match error {
                    ProposeError::Replan => Ended::Void,
                    ProposeError::Lost | ProposeError::NotLeader | ProposeError::Closed => Ended::Lost,
                })
            }
        }
    }

    fn answer(&self, gathered: Gathered) {
        self.events.publish(&gathered.events);
        for Answer { to, result, tracked } in gathered.answers {
            // Over before whoever waits for it goes on.
            drop(tracked);
            // Who has gone does not care.
            let _ = to.send(result);
        }
    }

    /// What was planned is void: answers what is in flight, and forgets it.
    async fn settle_all(&mut self) {
        while let Some(settled) = self.in_flight.next().await {
            match settled.outcome {
                // Answers that rested on a lost entry are as void as it.
                Ok(()) if settled.number.is_none() => fail(settled.gathered, ProposeError::Replan),
                Ok(()) => self.answer(settled.gathered),
                Err(error) => fail(settled.gathered, error),
            }
        }
        self.overlay = Some(Overlay::new());
    }

    /// Answers commands that were not planned.
    fn refuse_all(&mut self) {
        while let Ok(queued) = self.commands.try_recv() {
            self.rest.push_back(queued);
        }
        for queued in self.rest.drain(..) {
            // Who has gone does not care.
            let _ = queued.answer.send(Err(status(ProposeError::NotLeader)));
        }
    }
}

fn fail(gathered: Gathered, error: ProposeError) {
    let status = status(error);
    for Answer { to, .. } in gathered.answers {
        let _ = to.send(Err(status.clone()));
    }
}

fn status(error: ProposeError) -> Status {
    match error {
        ProposeError::Lost => Status::unavailable("the outcome is unknown: retry with the same key"),
        ProposeError::Replan => Status::new(Reason::Replan, "nothing was done: retry"),
        ProposeError::NotLeader => Status::new(Reason::NotLeader, "this node no longer leads the shard"),
        ProposeError::Closed => Status::unavailable("the shard is closing: retry"),
    }
}
