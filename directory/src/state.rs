//! The store and its one writer.
//!
//! Every mutation goes through one thread: it plans on what is stored plus what is in flight, proposes the batch, and goes
//! on to the next without waiting. When an entry is durable and applied, its event is published and its caller
//! answered, in the order of the plans. Reads see what is applied. Once a change is queued it is done or refused as a
//! whole, whether or not its caller still waits.

use std::sync::Arc;

use parking_lot::Mutex;
use rookery_proto::Status;
use rookery_proto::directory::v1::WatchEvent;
use rookery_replication::group::{Group, Leader, Member, Proposal, ReplicaSpec};
use rookery_replication::{Batch, Column, GroupId, Overlay, View, Write};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

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
    Applied { epoch: u64, number: u64 },
    /// An entry was lost, and with it all that was planned on it.
    Lost { epoch: u64 },
    /// Nothing more will come.
    Stop,
}

/// A change on its way from the caller to the writer.
trait Job: Send {
    /// Plans. `None` when there is nothing to write: then the caller has its answer already.
    fn plan(self: Box<Self>, rows: Rows<'_>) -> Option<(Batch, WatchEvent, Answer)>;
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
    fn plan(self: Box<Self>, rows: Rows<'_>) -> Option<(Batch, WatchEvent, Answer)> {
        let Change { plan, reply, permit } = *self;
        match plan(rows) {
            // A caller that has gone is not an error.
            Err(error) => {
                let _ = reply.send(Err(error.into()));
                None
            }
            Ok(planned) if planned.batch.is_empty() => {
                let _ = reply.send(Ok(planned.reply));
                None
            }
            Ok(Planned {
                batch,
                event,
                reply: value,
            }) => {
                let answer = move |result: Result<(), Status>| {
                    drop(permit);
                    let _ = reply.send(result.map(|()| value));
                };
                Some((batch, event, Box::new(answer)))
            }
        }
    }
}

/// The lead of the directory's group.
pub struct Seat {
    group: Arc<Group>,
    leader: Leader,
}

impl Seat {
    /// Opens the node's replica of the directory and takes the lead. What is applied then is all there is.
    pub async fn take(member: &Arc<Member>) -> Result<Self, Status> {
        let spec = ReplicaSpec::alone(GroupId::DIRECTORY, member.node());
        let group = member
            .open_group(spec)
            .await
            .map_err(|error| Status::internal(error.to_string()))?;
        let leader = lead(&group).await.ok_or_else(stopping)?;
        Ok(Self { group, leader })
    }
}

/// Waits for the lead and begins a leadership; `None` when the replica has been closed.
async fn lead(group: &Arc<Group>) -> Option<Leader> {
    while group.until_leading().await {
        match group.lead().await {
            Ok(leader) => return Some(leader),
            Err(error) => tracing::warn!(%error, "the directory's lead was lost as it began"),
        }
    }
    None
}

/// The directory's state.
pub struct State {
    member: Arc<Member>,
    messages: std::sync::mpsc::Sender<Message>,
    changes: Arc<Semaphore>,
    reads: Semaphore,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl State {
    /// Starts the writer. Must be called within a tokio runtime.
    pub fn start(member: Arc<Member>, seat: Seat, picture: Arc<Picture>) -> Result<Self, Status> {
        let (messages, receiver) = std::sync::mpsc::channel();
        let (proposals, proposed) = mpsc::unbounded_channel();
        tokio::spawn(finish(proposed, messages.clone(), picture));
        let writer = Writer {
            member: Arc::clone(&member),
            runtime: tokio::runtime::Handle::current(),
            seat,
            overlay: Overlay::new(),
            epoch: 0,
            number: 0,
            proposals,
        };
        let thread = std::thread::Builder::new()
            .name("directory-writer".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(|error| Status::internal(format!("cannot start the directory's writer: {error}")))?;
        Ok(Self {
            member,
            messages,
            changes: Arc::new(Semaphore::new(CHANGES_MAX)),
            reads: Semaphore::new(READS_MAX),
            writer: Mutex::new(Some(thread)),
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
            .map_err(|_| stopping())?;
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Change { plan, reply, permit });
        self.messages.send(Message::Plan(job)).map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Reads what is applied, on a thread that may wait for the disk.
    pub async fn read<T, F>(&self, read: F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: FnOnce(Rows<'_>) -> T + Send + 'static,
    {
        let _permit = self.reads.acquire().await.map_err(|_| stopping())?;
        let member = Arc::clone(&self.member);
        tokio::task::spawn_blocking(move || read(Rows(&member.store().snapshot())))
            .await
            .map_err(|_| Status::internal("a read of the directory failed"))
    }

    /// Takes no more changes, and waits until those that were taken are done.
    pub async fn stop(&self) {
        // All permits together: nothing is under way.
        let _all = self.changes.acquire_many(CHANGES_MAX as u32).await;
        self.changes.close();
        // A writer that has gone needs no word.
        let _ = self.messages.send(Message::Stop);
        let thread = self.writer.lock().take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the directory's writer has panicked");
            }
        }
        self.member.close_group(GroupId::DIRECTORY).await;
    }
}

fn stopping() -> Status {
    Status::unavailable("the directory is stopping")
}

/// An entry on its way to the disk.
struct InFlight {
    epoch: u64,
    number: u64,
    proposal: Proposal,
    event: WatchEvent,
    answer: Answer,
}

struct Writer {
    member: Arc<Member>,
    runtime: tokio::runtime::Handle,
    seat: Seat,
    overlay: Overlay,
    /// Grows when what was in flight is lost.
    epoch: u64,
    number: u64,
    proposals: mpsc::UnboundedSender<InFlight>,
}

impl Writer {
    fn run(mut self, messages: &std::sync::mpsc::Receiver<Message>) {
        while let Ok(message) = messages.recv() {
            match message {
                Message::Plan(job) => self.plan(job),
                Message::Applied { epoch, number } if epoch == self.epoch => self.overlay.applied(number),
                Message::Lost { epoch } if epoch == self.epoch => self.lose(),
                Message::Stop => return,
                // Of what was lost before.
                Message::Applied { .. } | Message::Lost { .. } => {}
            }
        }
    }

    fn plan(&mut self, job: Box<dyn Job>) {
        let base = self.member.store();
        let view = self.overlay.over(base.as_ref());
        let Some((mut batch, mut event, answer)) = job.plan(Rows(&view)) else {
            return;
        };
        match number_change(&view, &mut batch) {
            Ok(version) => event.version = version,
            Err(error) => return answer(Err(Status::internal(error.to_string()))),
        }
        self.number += 1;
        if let Err(error) = self.overlay.push(self.number, &batch, base.as_ref()) {
            return answer(Err(Status::internal(error.to_string())));
        }
        let proposal = self.seat.leader.propose_blocking(batch);
        let in_flight = InFlight {
            epoch: self.epoch,
            number: self.number,
            proposal,
            event,
            answer,
        };
        if let Err(unsent) = self.proposals.send(in_flight) {
            (unsent.0.answer)(Err(stopping()));
        }
    }

    fn lose(&mut self) {
        self.overlay.clear();
        self.epoch += 1;
        match self.runtime.block_on(lead(&self.seat.group)) {
            Some(leader) => self.seat.leader = leader,
            None => tracing::info!("the directory's replica has been closed"),
        }
    }
}

/// Puts the next version into the batch.
fn number_change(view: &dyn View, batch: &mut Batch) -> Result<u64, PlanError> {
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
    batch.put(Column::Rows, sequences_key, sequences.to_stored());
    Ok(sequences.version)
}

/// Awaits entries in their order, publishes and answers.
async fn finish(
    mut proposed: mpsc::UnboundedReceiver<InFlight>,
    messages: std::sync::mpsc::Sender<Message>,
    picture: Arc<Picture>,
) {
    while let Some(InFlight {
        epoch,
        number,
        proposal,
        event,
        answer,
    }) = proposed.recv().await
    {
        // A writer that has gone needs no word.
        match proposal.await {
            Ok(()) => {
                let _ = messages.send(Message::Applied { epoch, number });
                picture.publish(event);
                answer(Ok(()));
            }
            Err(error) => {
                let _ = messages.send(Message::Lost { epoch });
                answer(Err(Status::unavailable(format!(
                    "the change may not have been made: {error}"
                ))));
            }
        }
    }
}
