//! The store and its one writer, for one leadership.
//!
//! Every mutation goes through one thread (or task, over a store that is in memory): it plans on what is stored plus what is in flight, proposes the batch, and goes
//! on to the next without waiting. When an entry is durable on a quorum and applied, its event is published and its caller
//! answered, in the order of the plans. Reads see what is applied, once it is sure that this member still leads. Once a
//! change is queued it is done or refused as a whole, whether or not its caller still waits. When an entry is lost, or the
//! lead, so is all that is in flight: nothing is planned any more, and a new leadership begins with what is stored.

use std::sync::Arc;

use parking_lot::Mutex;
use rookery_proto::directory::v1::WatchEvent;
use rookery_proto::{Reason, Status};
use rookery_replication::group::{Group, Leader, Member, Proposal, ProposeError};
use rookery_replication::{Batch, Column, Overlay, View, Write};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock::now_millis;
use crate::events::{self, Event};
use crate::plan::{PlanError, Planned};
use crate::schema::key;
use crate::schema::read::Rows;
use crate::schema::row::Row;
use crate::watch::Picture;

/// Changes that may be queued or in flight.
const CHANGES_MAX: usize = 256;

/// Reads that may be under way.
const READS_MAX: usize = 64;

/// What the writer is told.
enum Message {
    /// Plan this.
    Plan(Box<dyn Job>),
    /// The entries up to this number are applied.
    Applied(u64),
    /// Nothing more will come.
    Stop,
}

/// A change on its way from the caller to the writer.
trait Job: Send {
    /// Plans. `None` when it is refused: then the caller has its answer already.
    fn plan(self: Box<Self>, rows: Rows<'_>) -> Option<Decided>;

    /// Tells the caller that it is not planned.
    fn refuse(self: Box<Self>, status: Status);
}

/// A change that was decided, and the way to its caller.
struct Decided {
    batch: Batch,
    event: WatchEvent,
    events: Vec<Event>,
    answer: Answer,
}

/// Tells the caller how it went.
type Answer = Box<dyn FnOnce(Result<(), Status>) + Send>;

struct Change<T, F> {
    plan: F,
    reply: oneshot::Sender<Result<T, Status>>,
    permit: OwnedSemaphorePermit,
}

impl<T, F> Job for Change<T, F>
where
    T: Send + 'static,
    F: FnOnce(Rows<'_>) -> Result<Planned<T>, PlanError> + Send,
{
    fn plan(self: Box<Self>, rows: Rows<'_>) -> Option<Decided> {
        let Change { plan, reply, permit } = *self;
        match plan(rows) {
            // A caller that has gone is not an error.
            Err(error) => {
                let _ = reply.send(Err(error.into()));
                None
            }
            Ok(Planned {
                batch,
                event,
                events,
                reply: value,
            }) => {
                let answer = move |result: Result<(), Status>| {
                    drop(permit);
                    let _ = reply.send(result.map(|()| value));
                };
                Some(Decided {
                    batch,
                    event,
                    events,
                    answer: Box::new(answer),
                })
            }
        }
    }

    fn refuse(self: Box<Self>, status: Status) {
        // A caller that has gone is not an error.
        let _ = self.reply.send(Err(status));
    }
}

/// The directory's state.
pub struct State {
    member: Arc<Member>,
    group: Arc<Group>,
    /// The leadership has ended.
    lost: CancellationToken,
    messages: mpsc::UnboundedSender<Message>,
    changes: Arc<Semaphore>,
    reads: Semaphore,
    writer: Mutex<Option<Working>>,
}

/// Where the writer works.
enum Working {
    /// It may wait for the disk.
    Thread(std::thread::JoinHandle<()>),
    Task(tokio::task::JoinHandle<()>),
}

impl Working {
    /// Waits for its end; false when it panicked.
    async fn ended(self) -> bool {
        match self {
            Working::Thread(thread) => {
                let joined = tokio::task::spawn_blocking(move || thread.join()).await;
                matches!(joined, Ok(Ok(())))
            }
            Working::Task(task) => task.await.is_ok(),
        }
    }
}

impl State {
    /// Starts the writer. Must be called within a tokio runtime.
    pub fn start(
        member: Arc<Member>,
        group: Arc<Group>,
        leader: Leader,
        picture: Arc<Picture>,
    ) -> Result<Self, Status> {
        let lost = CancellationToken::new();
        let (messages, receiver) = mpsc::unbounded_channel();
        let (proposals, proposed) = mpsc::unbounded_channel();
        let finisher = Finisher {
            group: Arc::clone(&group),
            messages: messages.clone(),
            picture,
            lost: lost.clone(),
        };
        tokio::spawn(finisher.run(proposed));
        let writer = Writer {
            member: Arc::clone(&member),
            leader,
            lost: lost.clone(),
            overlay: Overlay::new(),
            number: 0,
            proposals,
        };
        let working = match member.store().may_wait() {
            false => Working::Task(tokio::spawn(writer.run(receiver))),
            true => {
                let runtime = tokio::runtime::Handle::current();
                let thread = std::thread::Builder::new().name("directory-writer".to_owned());
                let started = thread.spawn(move || runtime.block_on(writer.run(receiver)));
                Working::Thread(started.map_err(|error| {
                    Status::internal(format!("cannot start the directory's writer: {error}"))
                })?)
            }
        };
        Ok(Self {
            member,
            group,
            lost,
            messages,
            changes: Arc::new(Semaphore::new(CHANGES_MAX)),
            reads: Semaphore::new(READS_MAX),
            writer: Mutex::new(Some(working)),
        })
    }

    /// Makes a change: plans it, and answers when it is durable and published.
    pub async fn change<T, F>(&self, plan: F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: FnOnce(Rows<'_>) -> Result<Planned<T>, PlanError> + Send + 'static,
    {
        let permit = Arc::clone(&self.changes)
            .acquire_owned()
            .await
            .map_err(|_| self.ended())?;
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Change { plan, reply, permit });
        self.messages.send(Message::Plan(job)).map_err(|_| self.ended())?;
        answer.await.map_err(|_| self.ended())?
    }

    /// Reads what is applied, on a thread that may wait for the disk: all that was acknowledged before this was asked.
    pub async fn read<T, F>(&self, read: F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: FnOnce(Rows<'_>) -> T + Send + 'static,
    {
        let _permit = self.reads.acquire().await.map_err(|_| stopping())?;
        tokio::select! {
            biased;
            () = self.lost.cancelled() => return Err(not_leader()),
            confirmed = self.group.confirm() => confirmed.map_err(|_| not_leader())?,
        }
        let store = Arc::clone(self.member.store());
        let reading = self.member.store();
        reading
            .blocking(move || read(Rows(&store.snapshot())))
            .await
            .map_err(|_| Status::internal("a read of the directory failed"))
    }

    /// Waits until this member cannot know any more that it leads with what it has planned.
    pub async fn until_lost(&self) {
        self.lost.cancelled().await;
    }

    /// Ends the leadership: what is in flight is answered with "unknown".
    pub fn lose(&self) {
        self.lost.cancel();
    }

    /// Takes no more changes, and waits until those that were taken are done, or answered because the lead was lost.
    pub async fn stop(&self) {
        // All permits together: nothing is under way.
        let _all = self.changes.acquire_many(CHANGES_MAX as u32).await;
        self.changes.close();
        // A writer that has gone needs no word.
        let _ = self.messages.send(Message::Stop);
        let working = self.writer.lock().take();
        if let Some(working) = working
            && !working.ended().await
        {
            tracing::error!("the directory's writer has panicked");
        }
    }

    fn ended(&self) -> Status {
        if self.lost.is_cancelled() {
            not_leader()
        } else {
            stopping()
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // One that was not stopped: its writer would wait for ever.
        let _ = self.messages.send(Message::Stop);
    }
}

fn stopping() -> Status {
    Status::unavailable("the directory is stopping")
}

/// Nothing was done.
fn not_leader() -> Status {
    Status::new(Reason::NotLeader, "this member no longer leads the directory")
}

/// An entry on its way to the disk.
struct InFlight {
    /// The entry with its number. `None`: nothing is written, but the answer rests on the entries before.
    proposal: Option<(u64, Proposal)>,
    event: WatchEvent,
    answer: Answer,
}

struct Writer {
    member: Arc<Member>,
    leader: Leader,
    lost: CancellationToken,
    overlay: Overlay,
    number: u64,
    proposals: mpsc::UnboundedSender<InFlight>,
}

impl Writer {
    async fn run(mut self, mut messages: mpsc::UnboundedReceiver<Message>) {
        while let Some(message) = messages.recv().await {
            match message {
                Message::Plan(job) => self.plan(job).await,
                Message::Applied(number) => self.overlay.applied(number),
                Message::Stop => return,
            }
        }
    }

    async fn plan(&mut self, job: Box<dyn Job>) {
        // What was planned before may never be.
        if self.lost.is_cancelled() {
            return job.refuse(not_leader());
        }
        let Some((batch, event, answer)) = self.planned(job) else {
            return;
        };
        if batch.is_empty() {
            return self.send(None, event, answer);
        }
        let proposed = tokio::select! {
            biased;
            proposal = self.leader.propose(batch) => Some(proposal),
            () = self.lost.cancelled() => None,
        };
        let Some(proposal) = proposed else {
            return answer(Err(status(ProposeError::Lost)));
        };
        self.send(Some((self.number, proposal)), event, answer);
    }

    /// What a change writes on top of what is in flight, noted there under its number; nothing when it was refused.
    fn planned(&mut self, job: Box<dyn Job>) -> Option<(Batch, WatchEvent, Answer)> {
        let base = Arc::clone(self.member.store());
        let view = self.overlay.over(base.as_ref());
        let Decided {
            mut batch,
            mut event,
            events,
            answer,
        } = job.plan(Rows(&view))?;
        if batch.is_empty() && events.is_empty() {
            return Some((batch, event, answer));
        }
        match number_change(&view, &mut batch, events) {
            Ok(version) => event.version = version,
            Err(error) => {
                answer(Err(Status::internal(error.to_string())));
                return None;
            }
        }
        self.number += 1;
        if let Err(error) = self.overlay.push(self.number, &batch, base.as_ref()) {
            answer(Err(Status::internal(error.to_string())));
            return None;
        }
        Some((batch, event, answer))
    }

    fn send(&self, proposal: Option<(u64, Proposal)>, event: WatchEvent, answer: Answer) {
        let in_flight = InFlight {
            proposal,
            event,
            answer,
        };
        if let Err(unsent) = self.proposals.send(in_flight) {
            (unsent.0.answer)(Err(stopping()));
        }
    }
}

/// Puts the next version into the batch, and the events under their numbers.
fn number_change(view: &dyn View, batch: &mut Batch, events: Vec<Event>) -> Result<u64, PlanError> {
    let sequences_key = key::sequences();
    let planned = batch.writes().iter().rev().find_map(|write| match write {
        Write::Put(Column::Rows, key, value) if *key == sequences_key => Some(value.clone()),
        _ => None,
    });
    let mut sequences = match planned {
        Some(value) => Row::from_stored(&value).map_err(|error| PlanError::Read(error.into()))?,
        None => Rows(view).sequences()?,
    };
    sequences.version += 1;
    events::append(batch, &mut sequences, events, now_millis());
    batch.put(Column::Rows, sequences_key, sequences.to_stored());
    Ok(sequences.version)
}

/// Awaits entries in their order, publishes and answers.
struct Finisher {
    group: Arc<Group>,
    messages: mpsc::UnboundedSender<Message>,
    picture: Arc<Picture>,
    lost: CancellationToken,
}

impl Finisher {
    async fn run(self, mut proposed: mpsc::UnboundedReceiver<InFlight>) {
        while let Some(in_flight) = proposed.recv().await {
            let lost = self.lost.clone();
            let InFlight {
                proposal,
                event,
                answer,
            } = in_flight;
            let outcome = tokio::select! {
                biased;
                outcome = self.settled(proposal) => outcome,
                () = lost.cancelled() => Err(ProposeError::Lost),
            };
            match outcome {
                Ok(Some(number)) => {
                    // A writer that has gone needs no word.
                    let _ = self.messages.send(Message::Applied(number));
                    self.picture.publish(event);
                    answer(Ok(()));
                }
                Ok(None) => answer(Ok(())),
                Err(error) => {
                    self.lost.cancel();
                    answer(Err(status(error)));
                }
            }
        }
    }

    async fn settled(&self, proposal: Option<(u64, Proposal)>) -> Result<Option<u64>, ProposeError> {
        match proposal {
            Some((number, proposal)) => proposal.await.map(|()| Some(number)),
            None => match self.group.confirm().await {
                Ok(()) => Ok(None),
                Err(_) => Err(ProposeError::NotLeader),
            },
        }
    }
}

fn status(error: ProposeError) -> Status {
    match error {
        ProposeError::Lost => Status::unavailable(
            "the directory's lead was lost while the change was made: it may have been made or not",
        ),
        ProposeError::NotLeader => not_leader(),
        ProposeError::Replan => Status::unavailable("nothing was done: try again"),
        ProposeError::Closed => stopping(),
    }
}
