//! Draining of hand-off rows: mail that was accepted for accounts whose shard could not take it then.
//!
//! Every proxy runs it. Rows are leased, so two proxies seldom work on the same, and when they do, or one dies half-way,
//! the transaction's id keeps the account from getting the message twice. A row is removed only when its message is
//! stored, or the directory confirms that nobody has the address any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use rookery_mail::smtp::command::Command;
use rookery_mail::smtp::path::ForwardPath;
use rookery_mail::smtp::session::DeliveryOutcome;
use rookery_proto::directory::v1::Destination as Found;
use rookery_proto::mailstore::v1::{self as mailstore, HandOffRow, Reply, reply, request};
use rookery_proto::{Reason, Status};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::delivery::{Destination, Intake, Message, leads, spread};
use super::measure;
use crate::route::account::now_millis;
use crate::route::{Bearer, Cluster, LeaderStream};

/// Rows of one lease: few, since each comes with its message.
const ROWS_PER_LEASE: u32 = 8;

/// After which time a delivery is begun as a new one of the same transaction: shards keep outcomes for a day, and
/// refuse what is older.
const ISSUED_AGE_MAX: Duration = Duration::from_secs(23 * 3600);

/// How long one lease may be worked off: its rows are delivered as they are read, each of them as patiently as any mail.
/// Beyond the lease another proxy may be at the same rows; the transaction's id keeps that harmless.
const VISIT_MAX: Duration = Duration::from_secs(10 * 60);

/// How long a shard's leader is looked for: no client waits, and the sweep comes by again.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(1);

/// How busy the draining may be.
#[derive(Debug, Clone)]
pub struct HandOffOptions {
    /// Time between two shards of the slow sweep over all.
    pub sweep_interval: Duration,
    /// Time after which a shard that had rows is asked again.
    pub busy_interval: Duration,
    /// How long leased rows are left to this proxy.
    pub lease: Duration,
    /// Shards that are drained at once.
    pub shards_at_once: usize,
}

impl Default for HandOffOptions {
    fn default() -> Self {
        Self {
            sweep_interval: Duration::from_millis(40),
            busy_interval: Duration::from_secs(1),
            lease: Duration::from_secs(30),
            shards_at_once: 4,
        }
    }
}

/// Drains until cancelled. What is under way then is dropped: its lease runs out and somebody else delivers it.
pub async fn run(cluster: Arc<Cluster>, options: HandOffOptions, cancel: CancellationToken) {
    let drain = Arc::new(Drain {
        places: Arc::new(Semaphore::new(options.shards_at_once)),
        cluster,
        shards: Mutex::default(),
        options,
    });
    let tasks = TaskTracker::new();
    let mut ticks = tokio::time::interval(drain.options.sweep_interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut swept = 0;
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let mut known = drain.cluster.picture().shards();
        known.sort_unstable();
        if known.is_empty() {
            continue;
        }
        swept = (swept + 1) % known.len();
        for shard in drain.due(known[swept]) {
            let Ok(place) = Arc::clone(&drain.places).try_acquire_owned() else {
                break;
            };
            drain.shards.lock().insert(shard, Visit::UnderWay);
            let (drain, cancel) = (Arc::clone(&drain), cancel.clone());
            tasks.spawn(async move {
                let outcome = tokio::select! {
                    () = cancel.cancelled() => return,
                    outcome = drain.shard(shard) => outcome,
                };
                drain.left(shard, outcome);
                drop(place);
            });
        }
    }
    tasks.close();
    tasks.wait().await;
}

enum Visit {
    /// A task is at it.
    UnderWay,
    /// It had rows: to be visited again then, without waiting for the sweep.
    Again(Instant),
}

struct Drain {
    cluster: Arc<Cluster>,
    options: HandOffOptions,
    places: Arc<Semaphore>,
    /// Shards that are not just waiting for the sweep.
    shards: Mutex<HashMap<u32, Visit>>,
}

impl Drain {
    /// The shards to visit now: those that had rows, and the one whose turn it is.
    fn due(&self, swept: u32) -> Vec<u32> {
        let shards = self.shards.lock();
        let now = Instant::now();
        let again = |(shard, visit): (&u32, &Visit)| match visit {
            Visit::Again(at) if *at <= now => Some(*shard),
            _ => None,
        };
        let mut due: Vec<u32> = shards.iter().filter_map(again).collect();
        if !shards.contains_key(&swept) {
            due.push(swept);
        }
        due
    }

    /// Takes note of a visit's end.
    fn left(&self, shard: u32, outcome: Result<usize, Status>) {
        let mut shards = self.shards.lock();
        match outcome {
            Ok(0) => {
                shards.remove(&shard);
            }
            Ok(_) => {
                shards.insert(shard, Visit::Again(Instant::now() + self.options.busy_interval));
            }
            Err(status) => {
                // Its leader is away, for instance. The sweep comes by again.
                tracing::debug!(shard, %status, "hand-offs could not be drained");
                shards.remove(&shard);
            }
        }
    }

    /// Works off one lease; gives the number of rows.
    async fn shard(&self, shard: u32) -> Result<usize, Status> {
        let call = request::Call::LeaseHandOffs(mailstore::LeaseHandOffs {
            shard,
            limit: ROWS_PER_LEASE,
            lease_millis: u32::try_from(self.options.lease.as_millis()).unwrap_or(u32::MAX),
        });
        let deadline = Instant::now() + VISIT_MAX;
        let token = Bytes::new();
        let mut replies = self.cluster.stream(shard, Bearer::Token(&token));
        let until = Instant::now() + LEADER_WAIT_MAX.min(self.cluster.options().patience);
        replies.open(call, until, deadline).await?;
        let mut done = Vec::new();
        let outcome = self.deliver(&mut replies, &mut done).await;
        // Whatever became of the others.
        if !done.is_empty() {
            measure::hand_offs("done", done.len());
            let call = request::Call::CompleteHandOff(mailstore::CompleteHandOff { shard, ids: done });
            let deadline = Instant::now() + self.cluster.options().patience;
            self.cluster
                .call_shard(shard, Bytes::new(), call, deadline)
                .await?;
        }
        outcome
    }

    /// Delivers leased rows and adds those that may go to `done`; gives the number of rows. A row whose body did not come
    /// whole is not delivered.
    async fn deliver(&self, replies: &mut LeaderStream<'_>, done: &mut Vec<Bytes>) -> Result<usize, Status> {
        let mut rows = 0;
        let mut current: Option<Box<Row>> = None;
        // The stream is read as rows are delivered, so that no more than a few bodies are ever held.
        while let Some(reply) = replies.next().await {
            let Reply {
                call: Some(reply::Call::HandOffs(hand_offs)),
            } = reply?
            else {
                return Err(Status::internal(
                    "the mailstore answered a lease with something else",
                ));
            };
            for row in hand_offs.rows {
                // Rows of one id that follow each other are pieces of one body.
                match &mut current {
                    Some(row_so_far) if row_so_far.id == row.id => row_so_far.take(&row.body).await,
                    _ => {
                        self.finish(current.take(), done).await;
                        rows += 1;
                        current = Some(Box::new(self.begin(row).await));
                    }
                }
            }
        }
        self.finish(current.take(), done).await;
        Ok(rows)
    }

    /// Finds out where a row goes and takes the first piece of its body.
    async fn begin(&self, row: HandOffRow) -> Row {
        let HandOffRow {
            id,
            transaction,
            sender,
            recipient,
            body,
            issued_at_millis,
            attempts,
        } = row;
        let recipient = recipient.unwrap_or_default();
        let Ok(transaction) = <[u8; 16]>::try_from(&transaction[..]) else {
            tracing::error!(
                recipient = recipient.address,
                "a hand-off row without a transaction stays where it is"
            );
            return Row {
                id,
                fate: Fate::Later,
            };
        };
        let too_old = issued_at_millis.saturating_add(ISSUED_AGE_MAX.as_millis() as u64) < now_millis();
        let message = Message {
            transaction,
            sender,
            issued_at_millis: if too_old { now_millis() } else { issued_at_millis },
            protocol: "handoff",
            submitter: None,
        };
        let found = match self.cluster.resolve(&recipient.address).await {
            Ok(resolved) => resolved.destinations,
            // Confirmed by the directory: there is nobody to deliver to.
            Err(status) if matches!(status.reason, Reason::NotFound | Reason::NotLocal) => {
                let (account, id_text) = (recipient.account, message.id());
                tracing::warn!(id = id_text, account, recipient = recipient.address, %status,
                    "a hand-off is dropped: its recipient is gone");
                measure::hand_offs("dropped", 1);
                return Row { id, fate: Fate::Drop };
            }
            Err(status) => {
                tracing::info!(id = message.id(), recipient = recipient.address, attempts, %status,
                    "a hand-off waits for the directory");
                return Row {
                    id,
                    fate: Fate::Later,
                };
            }
        };
        let Some(path) = path(&recipient.address) else {
            tracing::error!(
                id = message.id(),
                recipient = recipient.address,
                "a hand-off row has no address"
            );
            return Row {
                id,
                fate: Fate::Later,
            };
        };
        let destinations = destinations(&path, found, recipient.account, &recipient.prefix);
        let intake = Intake::new(
            Arc::clone(&self.cluster),
            transaction,
            leads(&destinations),
            VISIT_MAX,
        );
        let mut row = Row {
            id,
            fate: Fate::Deliver(Box::new(Work {
                message,
                destinations,
                intake,
            })),
        };
        row.take(&body).await;
        row
    }

    async fn finish(&self, row: Option<Box<Row>>, done: &mut Vec<Bytes>) {
        let Some(Row { id, fate }) = row.map(|row| *row) else {
            return;
        };
        match fate {
            Fate::Later => {}
            Fate::Drop => done.push(id),
            Fate::Deliver(work) => {
                let Work {
                    message,
                    destinations,
                    intake,
                } = *work;
                let outcomes = spread(&self.cluster, &message, &destinations, intake, None).await;
                if outcomes.iter().all(|outcome| *outcome == DeliveryOutcome::Stored) {
                    done.push(id);
                } else {
                    measure::hand_offs("later", 1);
                }
            }
        }
    }
}

/// A row on its way.
struct Row {
    id: Bytes,
    fate: Fate,
}

enum Fate {
    Deliver(Box<Work>),
    /// It becomes due again when its lease ends.
    Later,
    /// It is removed undelivered.
    Drop,
}

/// What is delivered, and to whom.
struct Work {
    message: Message,
    destinations: Vec<Destination>,
    intake: Intake,
}

impl Row {
    async fn take(&mut self, piece: &[u8]) {
        let Fate::Deliver(work) = &mut self.fate else {
            return;
        };
        for part in piece.chunks(rookery_proto::call::CHUNK_BYTES_MAX) {
            work.intake.stage(part);
            work.intake.advance().await;
        }
    }
}

/// The account that the row was meant for; if the address leads elsewhere by now, whoever is there. Those among them
/// who had the message by the transaction already do not get it again.
fn destinations(path: &ForwardPath, found: Vec<Found>, account: u64, prefix: &Bytes) -> Vec<Destination> {
    let still_there = found.iter().any(|one| one.account == account);
    found
        .into_iter()
        .filter(|one| !still_there || one.account == account)
        .map(|one| Destination::with_prefix(path.clone(), one, prefix.clone()))
        .collect()
}

/// The path of an address as it was written into the row.
fn path(address: &str) -> Option<ForwardPath> {
    match Command::parse(format!("RCPT TO:<{address}>").as_bytes()) {
        Ok(Command::Rcpt { recipient, .. }) => Some(recipient),
        _ => None,
    }
}
