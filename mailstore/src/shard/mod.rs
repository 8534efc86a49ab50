//! One shard at work: mutations through its single writer, reads of what is durable, events.
//!
//! An idle shard is one sleeping task. Never plans itself ([`crate::plan`]), never interprets what it stores.

mod collecting;
mod cpu;
mod disk;
mod events;
mod gather;
mod recent;
#[cfg(test)]
mod tests;
mod trace;
mod writer;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rookery_process::traces::Traced;
use rookery_proto::mailstore::v1::Reply;
use rookery_proto::{Reason, Status};
use rookery_replication::group::{Group, Member};
use rookery_replication::store::{Snapshot, Store};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::cpu::Planning;
pub(crate) use self::cpu::{count_as_own, thread_time};
pub use self::disk::{Disk, DiskSpace, FreeSpace, disk_of};
pub use self::events::{EVENTS_WAITING_MAX, EventHub, Events, Subscription};
pub use self::recent::RecentClaims;
use self::trace::Tracked;
use self::writer::Stage;
use crate::plan::{Command, Mutation, PlanLimits};
use crate::schema::{AccountId, ShardId};

/// Tells the time that plans write down, in unix milliseconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How a shard works.
#[derive(Clone)]
pub struct ShardOptions {
    /// What its plans may keep.
    pub limits: PlanLimits,
    /// Bytes of commands that may wait; beyond that they are refused with UNAVAILABLE.
    pub queue_bytes_max: usize,
    /// Commands that are gathered into one entry.
    pub entry_commands_max: usize,
    /// Bytes of commands that are gathered into one entry, and of what they write, unless one alone has more.
    pub entry_bytes_max: usize,
    /// Entries that may be in flight.
    pub entries_in_flight_max: usize,
    /// The time.
    pub clock: Clock,
    /// Called when the shard begins to be served here.
    pub on_leading: Option<Arc<dyn Fn() + Send + Sync>>,
    /// The store's disk, which is not to be filled; `None`: it has room without end.
    pub disk: Option<Arc<DiskSpace>>,
}

impl Default for ShardOptions {
    fn default() -> Self {
        Self {
            limits: PlanLimits::default(),
            queue_bytes_max: 64 * 1024 * 1024,
            entry_commands_max: 256,
            entry_bytes_max: 4 * 1024 * 1024,
            entries_in_flight_max: 4,
            clock: Arc::new(unix_millis),
            on_leading: None,
            disk: None,
        }
    }
}

fn unix_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// A command on its way to the writer.
struct Queued {
    mutation: Mutation,
    bytes: usize,
    answer: oneshot::Sender<Result<Reply, Status>>,
    tracked: Option<Box<Tracked>>,
    /// Room in the queue, given back when the command has been planned.
    _room: OwnedSemaphorePermit,
}

/// Mailboxes that are written at one time: each may have a name and keywords of 9 KiB.
const CLAIMS_WRITTEN_MAX: usize = 256;

/// How long writing them may take, most of it waiting for what is before it.
const WRITE_RECENT_MAX: Duration = Duration::from_secs(1);

/// How long a call waits for a shard to have a leader.
const LEADER_WAIT: Duration = Duration::from_secs(2);

/// A shard of which this node holds a replica, and which it serves while that leads.
pub struct Shard {
    id: ShardId,
    member: Arc<Member>,
    group: Arc<Group>,
    options: ShardOptions,
    commands: Mutex<Option<mpsc::UnboundedSender<Queued>>>,
    room: Arc<Semaphore>,
    events: Arc<EventHub>,
    recent: Arc<RecentClaims>,
    planning: Arc<Planning>,
    /// What its writer does.
    stage: watch::Receiver<Stage>,
    /// Whether it may be.
    formed: watch::Sender<bool>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Shard {
    /// Serves a shard whenever this node's replica leads it, once [`Shard::set_formed`] has been called. Must be called
    /// within a tokio runtime.
    pub fn open(member: Arc<Member>, group: Arc<Group>, options: ShardOptions) -> Arc<Self> {
        let id = ShardId(group.id().0);
        let (sender, commands) = mpsc::unbounded_channel();
        let events = Arc::new(EventHub::new());
        let (stage_sender, stage) = watch::channel(Stage::Resting);
        let (formed, may_serve) = watch::channel(false);
        let seat = writer::Seat {
            member: Arc::clone(&member),
            group: Arc::clone(&group),
            stage: stage_sender,
            may_serve,
        };
        // In a simulation no two runs would be alike.
        let planning = Arc::new(Planning::new(member.store().may_wait()));
        let writer = writer::Writer::new(
            id,
            seat,
            options.clone(),
            Arc::clone(&events),
            Arc::clone(&planning),
            commands,
        );
        let writer = tokio::spawn(writer.run());
        Arc::new(Self {
            id,
            member,
            group,
            room: Arc::new(Semaphore::new(
                options.queue_bytes_max.min(Semaphore::MAX_PERMITS),
            )),
            options,
            commands: Mutex::new(Some(sender)),
            events,
            recent: Arc::default(),
            planning,
            stage,
            formed,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// The shard's group is formed: what is acknowledged from now on is on record, whatever becomes of this node.
    pub fn set_formed(&self) {
        self.formed.send_replace(true);
    }

    /// Its replica on this node.
    pub fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// Waits until the shard is served here, for a short while. NOT_LEADER with who leads as soon as that is another node,
    /// UNAVAILABLE when nobody does.
    pub async fn ready(&self) -> Result<(), Status> {
        let is_served = |stage: &Stage| *stage == Stage::Serving;
        if is_served(&self.stage.borrow()) {
            return Ok(());
        }
        let mut stage = self.stage.clone();
        let led = tokio::time::timeout(LEADER_WAIT, async {
            tokio::select! {
                biased;
                served = stage.wait_for(is_served) => served.is_ok(),
                _ = self.group.until_led_elsewhere() => false,
            }
        });
        match led.await {
            Ok(true) => Ok(()),
            Ok(false) if self.commands.lock().is_none() => Err(Status::unavailable("the shard is closing")),
            Ok(false) => Err(self.not_leader()),
            Err(_) => Err(Status::unavailable(format!(
                "shard {} has no leader just now: retry",
                self.id
            ))),
        }
    }

    /// Has another replica take the lead over. Waits until it is known who did, so that callers can be told, and what became of all
    /// commands. Gives up when no other is able to.
    pub async fn hand_over(&self) {
        if !self.group.leads() && *self.stage.borrow() == Stage::Resting {
            return;
        }
        self.write_recent(None).await;
        self.group.give_up_lead().await;
        if self.group.leads() {
            return;
        }
        let mut stage = self.stage.clone();
        // The writer has gone: nothing is under way.
        let _ = stage.wait_for(|stage| *stage == Stage::Resting).await;
    }

    /// Makes sure that this node leads the shard now, so that what is read next holds all that was acknowledged before.
    pub async fn confirm(&self) -> Result<(), Status> {
        self.group.confirm().await.map_err(|_| self.not_leader())
    }

    fn not_leader(&self) -> Status {
        let leader = self.group.leader().unwrap_or_default();
        let message = match leader.as_str() {
            "" => format!("shard {} has another leader, which is not known here", self.id),
            leader => format!("shard {} is led by {leader}", self.id),
        };
        Status {
            leader,
            ..Status::new(Reason::NotLeader, message)
        }
    }

    /// Processor time that planning its changes has taken, in nanoseconds.
    pub fn planning_nanos(&self) -> u64 {
        self.planning.nanos()
    }

    /// The shard's number.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Plans a command and answers when it is durable. Dropping the future does not withdraw the command.
    pub async fn mutate(&self, mutation: Mutation) -> Result<Reply, Status> {
        let bytes = mutation.command.bytes();
        let commit = trace::commit(self.id, bytes);
        let answer = self.submit(mutation, bytes, &commit).await;
        commit.ended(answer.as_ref().err().map(Status::for_traces));
        answer
    }

    async fn submit(&self, mutation: Mutation, bytes: usize, commit: &Traced) -> Result<Reply, Status> {
        self.ready().await?;
        // One command that is larger than the queue gets in when it is alone.
        let permits = bytes.min(self.options.queue_bytes_max);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(permits);
        let room =
            room.map_err(|_| Status::unavailable("the shard has more to do than it may queue: retry"))?;
        let (answer, answered) = oneshot::channel();
        let queued = Queued {
            mutation,
            bytes,
            answer,
            tracked: Tracked::begin(commit),
            _room: room,
        };
        let sent = match &*self.commands.lock() {
            Some(commands) => commands.send(queued).is_ok(),
            None => false,
        };
        if !sent {
            return Err(Status::unavailable("the shard is closing"));
        }
        answered.await.unwrap_or_else(|_| {
            Err(Status::unavailable(
                "the shard has closed; the outcome is unknown",
            ))
        })
    }

    /// Removes what has expired and works off garbage that an earlier run left; to be called every minute or so.
    pub async fn maintain(&self) -> Result<(), Status> {
        self.mutate(Mutation {
            account: AccountId(0),
            key: None,
            command: Command::Collect,
        })
        .await
        .map(|_| ())
    }

    /// The recent messages that sessions have taken.
    pub fn recent(&self) -> &Arc<RecentClaims> {
        &self.recent
    }

    /// Writes down which recent messages sessions have taken until now, of all accounts or of one; to be called every few seconds, and
    /// before others go on with what is stored. Does not take long: what could not be written by then stays, if this node still leads.
    pub async fn write_recent(&self, of: Option<AccountId>) {
        if !self.group.leads() {
            return self.recent.clear();
        }
        self.recent.forget_written(Instant::now());
        let claims = self.recent.unwritten(of);
        let writing = async {
            for some in claims.chunks(CLAIMS_WRITTEN_MAX) {
                let mutation = Mutation {
                    account: AccountId(0),
                    key: None,
                    command: Command::ClaimRecent(some.to_vec()),
                };
                if let Err(status) = self.mutate(mutation).await {
                    return tracing::debug!(shard = self.id.0, %status, "messages may be recent once more");
                }
                self.recent.written(some, Instant::now());
            }
        };
        if tokio::time::timeout(WRITE_RECENT_MAX, writing).await.is_err() {
            tracing::debug!(
                shard = self.id.0,
                "nothing is agreed on: messages may be recent once more"
            );
        }
    }

    /// What is durable, at one moment. Drop it soon.
    pub fn snapshot(&self) -> Snapshot<'_> {
        self.member.snapshot()
    }

    /// The node's store, whose view moves on while it is read.
    pub fn store(&self) -> &Arc<Store> {
        self.member.store()
    }

    /// Subscribes to what changes from now on.
    pub fn events(&self) -> Subscription {
        self.events.subscribe()
    }

    /// The time that the shard's plans write down.
    pub fn now_millis(&self) -> u64 {
        (self.options.clock)()
    }

    /// What the shard's plans may keep.
    pub fn limits(&self) -> &PlanLimits {
        &self.options.limits
    }

    /// Takes no more commands, answers those that wait, and ends the writer. The replica stays open.
    pub async fn close(&self) {
        self.write_recent(None).await;
        self.commands.lock().take();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer
            && let Err(error) = writer.await
        {
            tracing::error!(shard = self.id.0, %error, "the shard's writer ended badly");
        }
        self.events.close();
    }
}
