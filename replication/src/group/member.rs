//! A node's store, log and replicas.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};
use parking_lot::{Mutex, RwLock};
use prost::Message;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::detector::Detector;
use super::leader::Budget;
use super::lease::{Lease, VOTER_LEASE};
use super::replica::Group;
use super::{MemberOptions, ReplicaSpec, Start, keeper, reclaim, store_failure, supervise};
use crate::applied::Applied;
use crate::applier::Applier;
use crate::entry::GroupId;
use crate::log::segment::{LogOptions, SegmentLog};
use crate::log::{Log, Record, ReplicaId};
use crate::raft::log_store::LogStore;
use crate::raft::machine::Machine;
use crate::raft::network::Network;
use crate::raft::{Host, Raft};
use crate::scrub;
use crate::snapshot::{HeldSnapshots, Pace, finish_installs, remove_range};
use crate::store::{MemoryDisk, OwnRows, OwnedSnapshot, Snapshot, Store, StoreError};
use crate::strain::Strain;
use crate::transport::{NoTransport, Transport};
use crate::view::Damage;

/// The store's folder within a node's.
const STORE_FOLDER: &str = "rows";
/// The log's.
const LOG_FOLDER: &str = "log";
/// Where states are that are being fetched.
const INCOMING_FOLDER: &str = "incoming";

/// How long a replica that is closed has to end what it is writing.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// Replicas that are opened or closed at one time.
const CHANGES_MAX: usize = 32;

/// Own rows: the replicas that this node holds, by group.
const REPLICA: &[u8] = b"replica/";

/// A replica cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The node is to go on with a replica of which it knows nothing: its disk was lost or replaced.
    #[error("this node has lost its replica {replica} of group {group}: it has to be replaced by a new one")]
    Lost {
        /// The group.
        group: u32,
        /// The replica.
        replica: u64,
    },
    /// Another replica of the group is here.
    #[error(
        "this node holds replica {held} of group {group}, which has to be removed before replica {wanted} can be opened"
    )]
    Other {
        /// The group.
        group: u32,
        /// Which is here.
        held: u64,
        /// Which was wanted.
        wanted: u64,
    },
    /// The store or the log failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The consensus of the group does not start.
    #[error("group {group} does not start: {reason}")]
    Consensus {
        /// The group.
        group: u32,
        /// Why.
        reason: String,
    },
    /// The node is closing.
    #[error("the node's store is closing")]
    Closing,
}

/// What the node knows of a replica that it holds; format 1.
#[derive(Clone, PartialEq, Message)]
struct ReplicaRow {
    #[prost(uint64, tag = "1")]
    replica: u64,
    /// Its removal has begun: nothing of it may serve again.
    #[prost(bool, tag = "2")]
    removing: bool,
}

/// A node's store, log and replicas.
pub struct Member {
    pub(super) options: MemberOptions,
    pub(super) node: Arc<str>,
    pub(super) store: Arc<Store>,
    pub(super) log: Arc<dyn Log>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) snapshots: Arc<HeldSnapshots>,
    pub(super) detector: Arc<Detector>,
    pub(super) incoming: PathBuf,
    /// States that were fetched so far: each has a folder of its own, for one may be taken in while another comes.
    pub(super) fetches: AtomicU64,
    /// Of all states that are being fetched.
    pub(super) pace: Pace,
    /// When all of the store had been read last, unix seconds; 0: not known.
    scrubbed_at: AtomicU64,
    applier: Arc<Applier>,
    budget: Arc<Budget>,
    groups: RwLock<HashMap<GroupId, Arc<Group>>>,
    /// A replica was removed: there may be space to free.
    removed: Arc<Notify>,
    /// How often a replica was opened or closed.
    group_changes: AtomicU64,
    /// Opening and closing of replicas, one of a group at a time.
    changing: [tokio::sync::Mutex<()>; CHANGES_MAX],
    cancel: CancellationToken,
    tasks: TaskTracker,
    background: Mutex<bool>,
    pub(super) keeper: tokio::sync::Mutex<keeper::Keeper>,
}

impl Member {
    /// Opens the store and the log in a folder, for groups without other members.
    pub fn open(path: impl AsRef<Path>, options: MemberOptions) -> Result<Arc<Self>, StoreError> {
        Self::open_with(path, options, Arc::new(NoTransport))
    }

    /// Opens the store and the log in a folder.
    pub fn open_with(
        path: impl AsRef<Path>,
        options: MemberOptions,
        transport: Arc<dyn Transport>,
    ) -> Result<Arc<Self>, StoreError> {
        let path = path.as_ref();
        let log_options = LogOptions {
            on_failure: {
                let on_failure = Arc::clone(&options.on_failure);
                Arc::new(move |error| on_failure(error))
            },
            ..LogOptions::default()
        };
        let open = |error: &dyn std::fmt::Display| StoreError::Open {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        if path.join("CURRENT").exists() {
            return Err(open(
                &"it was written by a version without a log of its own, which this one does not read",
            ));
        }
        std::fs::create_dir_all(path).map_err(|error| open(&error))?;
        let log = SegmentLog::open(&path.join(LOG_FOLDER), log_options)
            .map_err(|error| error.damage().map_or_else(|| open(&error), StoreError::Damaged))?;
        let store = Store::open(&path.join(STORE_FOLDER), &options.store)?;
        Self::over(store, log, path, options, transport)
    }

    /// The same over rows and a log in memory. All that it does, it does within the runtime that opens it and the threads that
    /// call it: with one thread and a paused clock it runs alike each time.
    pub fn open_in_memory(
        disk: Arc<MemoryDisk>,
        log: Arc<dyn Log>,
        options: MemberOptions,
        transport: Arc<dyn Transport>,
    ) -> Result<Arc<Self>, StoreError> {
        let store = Store::in_memory(disk);
        Self::over(store, log, Path::new(""), options, transport)
    }

    /// The same over a store and a log that are in a folder, or of which it is said that they were.
    fn over(
        store: Store,
        log: Arc<dyn Log>,
        folder: &Path,
        options: MemberOptions,
        transport: Arc<dyn Transport>,
    ) -> Result<Arc<Self>, StoreError> {
        let store = Arc::new(store);
        finish_installs(&store)?;
        log_is_there(&store, log.as_ref(), &folder.join(LOG_FOLDER))?;
        let incoming = folder.join(INCOMING_FOLDER);
        store
            .remove_folder(&incoming)
            .map_err(|error| store_failure(error.to_string()))?;
        let applier = Applier::start(Arc::clone(&store), Arc::clone(&options.on_failure))
            .map_err(|error| store_failure(format!("cannot start the applier: {error}")))?;
        let strain = Arc::new(Strain::default());
        let member = Self {
            node: options.node.as_str().into(),
            budget: Budget::new(options.queue_bytes_max, Arc::clone(&strain)),
            pace: Pace::new(
                options.snapshot_bytes_per_second_max,
                Arc::clone(&log),
                Arc::clone(&strain),
            ),
            options,
            store,
            log,
            transport,
            snapshots: Arc::new(HeldSnapshots::new(strain)),
            detector: Arc::new(Detector::new()),
            incoming,
            fetches: AtomicU64::new(0),
            scrubbed_at: AtomicU64::new(0),
            applier,
            groups: RwLock::default(),
            removed: Arc::default(),
            group_changes: AtomicU64::new(0),
            changing: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
            background: Mutex::new(false),
            keeper: tokio::sync::Mutex::new(keeper::Keeper::new()),
        };
        member.finish_removals()?;
        Ok(Arc::new(member))
    }

    /// This node's id.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// How long a write takes that makes the log durable, averaged over the last ones; zero when there was none lately.
    pub fn sync_time(&self) -> Duration {
        self.log.sync_time()
    }

    /// What is applied.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// When all of the store had been read last, unix seconds, as far as is known.
    pub(crate) fn scrubbed_at(&self) -> Option<u64> {
        Some(self.scrubbed_at.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// All of the store has been read.
    pub(crate) fn note_scrubbed(&self, unix_seconds: u64) {
        self.scrubbed_at.store(unix_seconds, Ordering::Relaxed);
    }

    /// Sets the most that this node fetches of states in a second, all of them together, those under way among them; 0: as the
    /// options say.
    pub fn set_fetch_rate(&self, bytes_per_second_max: u64) {
        self.pace.set(bytes_per_second_max);
    }

    /// What is applied, at one moment.
    pub fn snapshot(&self) -> Snapshot<'_> {
        self.store.snapshot()
    }

    /// An open replica.
    pub fn group(&self, group: GroupId) -> Option<Arc<Group>> {
        self.groups.read().get(&group).cloned()
    }

    /// All open replicas.
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.groups.read().values().cloned().collect()
    }

    /// Changes each time that a replica is opened or closed.
    pub(super) fn group_changes(&self) -> u64 {
        self.group_changes.load(Ordering::Relaxed)
    }

    /// The replica that this node holds of a group, open or not.
    pub fn held(&self, group: GroupId) -> Result<Option<ReplicaId>, StoreError> {
        Ok(self
            .replica_row(group)?
            .filter(|row| !row.removing)
            .map(|row| ReplicaId(row.replica)))
    }

    /// Groups of which this node holds replicas, open or not.
    pub fn held_groups(&self) -> Result<Vec<(GroupId, ReplicaId)>, StoreError> {
        let rows = self.store.own_rows(REPLICA)?;
        rows.iter()
            .map(|(key, value)| {
                let group = key[REPLICA.len()..]
                    .try_into()
                    .map_err(|_| store_failure("a replica's row has a damaged key".to_owned()))?;
                Ok((GroupId(u32::from_be_bytes(group)), decode(value)?))
            })
            .filter(|held| !matches!(held, Ok((_, row)) if row.removing))
            .map(|held| held.map(|(group, row)| (group, ReplicaId(row.replica))))
            .collect()
    }

    /// Opens a replica, or gives the one that is open.
    pub async fn open_group(self: &Arc<Self>, spec: ReplicaSpec) -> Result<Arc<Group>, OpenError> {
        let _changing = self.changing(spec.group).lock().await;
        if self.cancel.is_cancelled() {
            return Err(OpenError::Closing);
        }
        if let Some(group) = self.group(spec.group) {
            return match group.replica() == spec.replica {
                true => Ok(group),
                false => Err(other(&spec, group.replica().0)),
            };
        }
        if let Some(row) = self.replica_row(spec.group)?.filter(|row| row.removing) {
            // It could not be removed before, for lack of room.
            self.remove(spec.group, row).await?;
        }
        match self.replica_row(spec.group)? {
            Some(row) if row.replica != spec.replica.0 || row.removing => {
                return Err(other(&spec, row.replica));
            }
            Some(_) => {}
            None if spec.start == Start::Resume => {
                return Err(OpenError::Lost {
                    group: spec.group.0,
                    replica: spec.replica.0,
                });
            }
            None => self.put_replica_row(&spec, false)?,
        }
        let group = self.start(&spec).await?;
        self.groups.write().insert(spec.group, Arc::clone(&group));
        self.group_changes.fetch_add(1, Ordering::Relaxed);
        self.start_background();
        Ok(group)
    }

    fn changing(&self, group: GroupId) -> &tokio::sync::Mutex<()> {
        &self.changing[group.0 as usize % CHANGES_MAX]
    }

    async fn start(self: &Arc<Self>, spec: &ReplicaSpec) -> Result<Arc<Group>, OpenError> {
        let refused = |reason: String| OpenError::Consensus {
            group: spec.group.0,
            reason,
        };
        let witness = match &spec.start {
            Start::Form(members) => members
                .iter()
                .any(|member| member.replica == spec.replica && member.witness),
            _ => false,
        };
        let machine = Machine::open(
            spec.group,
            spec.replica,
            witness,
            Arc::clone(&self.store),
            Arc::clone(&self.applier),
        )
        .map_err(|error| refused(error.to_string()))?;
        let progress = Arc::clone(machine.progress());
        let network = Network {
            group: spec.group,
            node: Arc::clone(&self.node),
            transport: Arc::clone(&self.transport),
            snapshots: Arc::clone(&self.snapshots),
            detector: Arc::clone(&self.detector),
        };
        let log = LogStore::new(
            Arc::clone(&self.log),
            spec.replica,
            Arc::clone(self.store.damages()),
        );
        let has_voted = log.has_vote();
        let raft = Raft::new(spec.replica.0, Arc::new(config(spec)?), network, log, machine)
            .await
            .map_err(|error| refused(error.to_string()))?;
        if let Start::Form(members) = &spec.start {
            self.form(spec, &raft, members).await?;
        }
        let group = Group::new(
            spec.group,
            spec.replica,
            raft,
            progress,
            Arc::clone(&self.budget),
            Arc::clone(&self.detector),
            Lease::new(
                self.options.read_leases,
                has_voted.then(|| Instant::now() + VOTER_LEASE),
            ),
        );
        Ok(Arc::new(group))
    }

    /// Gives a new group its first membership, and has the first member stand for election; alone, it always does at once.
    async fn form(
        &self,
        spec: &ReplicaSpec,
        raft: &Raft,
        members: &[super::GroupMember],
    ) -> Result<(), OpenError> {
        let refused = |reason: String| OpenError::Consensus {
            group: spec.group.0,
            reason,
        };
        let is_formed = raft
            .is_initialized()
            .await
            .map_err(|error| refused(error.to_string()))?;
        if !is_formed {
            let hosts: BTreeMap<u64, Host> = members
                .iter()
                .map(|member| {
                    let host = Host {
                        node: member.node.clone(),
                        witness: member.witness,
                    };
                    (member.replica.0, host)
                })
                .collect();
            raft.initialize(hosts)
                .await
                .map_err(|error| refused(error.to_string()))?;
        }
        let first = members.first().is_some_and(|first| first.replica == spec.replica);
        if first && !is_formed {
            // What does not come of it is made up for by supervision.
            let _ = raft.trigger().elect(false).await;
        }
        Ok(())
    }

    /// Closes a replica; what it has stays. Proposals under way end as lost.
    pub async fn close_group(&self, group: GroupId) {
        let _changing = self.changing(group).lock().await;
        self.close_written(group).await;
    }

    /// Closes a replica of which nothing is written any more afterwards: its end does not wait for what is being applied.
    async fn close_written(&self, group: GroupId) {
        if let Some(open) = self.close_open(group).await
            && !open.progress.close(CLOSE_MAX).await
        {
            tracing::warn!(
                group = group.0,
                "the replica is closed while it is written to: is its disk slow, or full?"
            );
        }
    }

    async fn close_open(&self, group: GroupId) -> Option<Arc<Group>> {
        let open = self.groups.write().remove(&group);
        self.group_changes.fetch_add(1, Ordering::Relaxed);
        if let Some(open) = &open
            && let Err(error) = open.raft.shutdown().await
        {
            tracing::error!(group = group.0, %error, "the group's consensus ended badly");
        }
        open
    }

    /// Removes a replica for good, with all that it has. A crash in the middle is finished at the next start.
    pub async fn remove_group(self: &Arc<Self>, group: GroupId) -> Result<(), StoreError> {
        let _changing = self.changing(group).lock().await;
        let open = self.group(group);
        self.close_written(group).await;
        let Some(row) = self.replica_row(group)? else {
            return Ok(());
        };
        if let Some(open) = open {
            open.progress.begin_upheaval();
        }
        self.remove(group, row).await?;
        self.removed.notify_one();
        Ok(())
    }

    /// Tries once more to remove what could not be removed, for lack of room.
    pub async fn remove_leftovers(self: &Arc<Self>) -> Result<(), StoreError> {
        for (key, value) in self.store.own_rows(REPLICA)? {
            let group = key[REPLICA.len()..].try_into().map(u32::from_be_bytes);
            let (row, Ok(group)) = (decode(&value)?, group) else {
                continue;
            };
            let group = GroupId(group);
            let _changing = self.changing(group).lock().await;
            // Whoever was removing it may have ended.
            let is_left = self.replica_row(group)?.is_some_and(|row| row.removing);
            if row.removing && is_left {
                self.remove(group, row).await?;
                self.removed.notify_one();
            }
        }
        Ok(())
    }

    /// Removes a replica that is not open.
    async fn remove(self: &Arc<Self>, group: GroupId, row: ReplicaRow) -> Result<(), StoreError> {
        let removing = ReplicaRow {
            removing: true,
            ..row
        };
        let member = Arc::clone(self);
        let removal = move || {
            member
                .store
                .put_own(&replica_key(group), removing.encode_to_vec())?;
            member.finish_removal(group, ReplicaId(removing.replica))
        };
        self.store
            .blocking(removal)
            .await
            .map_err(|error| store_failure(error.to_string()))?
    }

    fn finish_removals(&self) -> Result<(), StoreError> {
        for (key, value) in self.store.own_rows(REPLICA)? {
            let row = decode(&value)?;
            let group = key[REPLICA.len()..].try_into().map(u32::from_be_bytes);
            if let (true, Ok(group)) = (row.removing, group) {
                tracing::info!(group, "finishing a removal that was broken off");
                self.finish_removal(GroupId(group), ReplicaId(row.replica))?;
            }
        }
        Ok(())
    }

    fn finish_removal(&self, group: GroupId, replica: ReplicaId) -> Result<(), StoreError> {
        remove_range(&self.store, group)?;
        let (sender, forgotten) = std::sync::mpsc::channel();
        let done = Box::new(move |result| {
            // Whoever waits below has not gone.
            let _ = sender.send(result);
        });
        self.log.append(replica, vec![Record::Forget], done);
        forgotten
            .recv()
            .map_err(|_| store_failure("the log has been closed".to_owned()))?
            .map_err(|error| store_failure(error.to_string()))?;
        self.store.delete_own(&replica_key(group))
    }

    fn replica_row(&self, group: GroupId) -> Result<Option<ReplicaRow>, StoreError> {
        let row = self.store.own_row(&replica_key(group))?;
        row.map(|row| decode(&row)).transpose()
    }

    fn put_replica_row(&self, spec: &ReplicaSpec, removing: bool) -> Result<(), StoreError> {
        let row = ReplicaRow {
            replica: spec.replica.0,
            removing,
        };
        self.store.put_own(&replica_key(spec.group), row.encode_to_vec())
    }

    fn start_background(self: &Arc<Self>) {
        let mut started = self.background.lock();
        if !std::mem::replace(&mut *started, true) {
            let cancel = self.cancel.clone();
            self.tasks
                .spawn(until(cancel, supervise::run(Arc::downgrade(self))));
            let cancel = self.cancel.clone();
            self.tasks.spawn(until(cancel, keeper::run(Arc::downgrade(self))));
            // Memory is not damaged, and has no files.
            if self.store.may_wait() {
                let cancel = self.cancel.clone();
                let reclaiming = reclaim::run(Arc::downgrade(self), Arc::clone(&self.removed));
                self.tasks.spawn(until(cancel, reclaiming));
                // What was broken off.
                self.removed.notify_one();
                let cancel = self.cancel.clone();
                let scrubbing = scrub::run(Arc::downgrade(self), self.options.scrub);
                self.tasks.spawn(until(cancel, scrubbing));
            }
        }
    }

    /// A view of what is applied that may be kept for a while.
    pub fn owned_snapshot(&self) -> OwnedSnapshot {
        OwnedSnapshot::of(Arc::clone(&self.store))
    }

    /// Closes all replicas, then the log, and flushes the store, so that the next start is quick.
    pub async fn close(&self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        for changing in &self.changing {
            // Whoever is at it ends; who comes later finds the member closing.
            drop(changing.lock().await);
        }
        let open: Vec<GroupId> = self.groups.read().keys().copied().collect();
        for group in open {
            self.close_open(group).await;
        }
        let (applier, store, log) = (
            Arc::clone(&self.applier),
            Arc::clone(&self.store),
            Arc::clone(&self.log),
        );
        let closing = move || {
            applier.close();
            log.close();
            let flushed = store.flush();
            store.stop_background();
            flushed
        };
        match self.store.blocking(closing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "the store could not be flushed; the log has what it lacks")
            }
            Err(error) => tracing::error!(%error, "closing the store failed"),
        }
    }
}

/// Whether the log knows the replicas that have applied something: each has voted before.
fn log_is_there(store: &Store, log: &dyn Log, folder: &Path) -> Result<(), StoreError> {
    let known = log.replicas();
    for (key, value) in store.own_rows(REPLICA)? {
        let row = decode(&value)?;
        let group = key[REPLICA.len()..].try_into().map(u32::from_be_bytes);
        let (Ok(group), false) = (group.map(GroupId), row.removing) else {
            continue;
        };
        let replica = ReplicaId(row.replica);
        let has_applied = Applied::read(store, group, replica)?.last.is_some();
        if has_applied && !known.contains(&replica) {
            return Err(StoreError::Damaged(Damage {
                file: Some(folder.to_owned()),
                place: String::new(),
                reason: format!("it knows nothing of replica {} of group {}", replica.0, group.0),
            }));
        }
    }
    Ok(())
}

async fn until(cancel: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = cancel.cancelled() => {}
        () = work => {}
    }
}

fn other(spec: &ReplicaSpec, held: u64) -> OpenError {
    OpenError::Other {
        group: spec.group.0,
        held,
        wanted: spec.replica.0,
    }
}

fn replica_key(group: GroupId) -> Vec<u8> {
    [REPLICA, &group.0.to_be_bytes()].concat()
}

fn decode(row: &[u8]) -> Result<ReplicaRow, StoreError> {
    ReplicaRow::decode(row).map_err(|error| store_failure(format!("a replica's row is damaged: {error}")))
}

/// openraft sends no heartbeats and holds no elections by itself: [`supervise`] does, for all groups of two nodes together.
fn config(spec: &ReplicaSpec) -> Result<Config, OpenError> {
    Config {
        cluster_name: format!("group-{}", spec.group.0),
        enable_tick: false,
        enable_heartbeat: false,
        enable_elect: false,
        enable_leader_restore: Some(false),
        heartbeat_interval: 300,
        election_timeout_min: 600,
        election_timeout_max: u64::try_from(VOTER_LEASE.as_millis()).unwrap_or(u64::MAX),
        enable_pre_vote: Some(true),
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        replication_lag_threshold: u64::MAX,
        max_payload_entries: 64,
        // For figures that are not taken here; it is allocated all the same.
        log_stage_capacity: Some(1),
        api_channel_size: Some(1024),
        ..Config::default()
    }
    .validate()
    .map_err(|error| OpenError::Consensus {
        group: spec.group.0,
        reason: error.to_string(),
    })
}
