//! The log on disk: segments of a fixed size that are written in batches, one sync each, and an index in memory.
//!
//! Whoever appends puts records into the index and a queue; the log's own thread (`writer.rs`) writes all that has
//! gathered. Recovery (`recovery.rs`) reads the segments and makes the index. A segment is freed when it is the oldest and
//! no entry in it is needed; that is why each begins with the small state of all replicas.
//!
//! Never interprets an entry, never decides what may be purged.

mod error;
mod file;
mod format;
mod index;
mod recovery;
mod supply;
mod writer;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

pub use self::error::LogError;
pub use self::file::Writing;
use self::file::{Aligned, Files, SegmentFile};
use self::format::{BLOCK, RECORD_HEADER};
use self::index::{Index, Place, Slot};
use self::supply::Supply;
use self::writer::{Usage, Writer};
use super::replica::ReplicaLog;
use super::{Done, Log, LogState, Position, Record, ReplicaId};
use crate::catalogue::LOG_BYTES;
use crate::recent::RecentTime;

/// Called with the reason when a write or its sync failed, after which nothing is known about the disk.
pub type OnLogFailure = Arc<dyn Fn(&io::Error) + Send + Sync>;

/// How a log works.
#[derive(Clone)]
pub struct LogOptions {
    /// Bytes of a segment, unless one append is larger.
    pub segment_bytes: u64,
    /// How segments are written.
    pub writing: Writing,
    /// Segments that nothing needs and that are kept to be used again.
    pub spares_max: usize,
    /// Bytes of the last payloads that are kept in memory, beside those that are not written yet.
    pub recent_bytes_max: usize,
    /// Bytes that are written and synced together, unless one append is larger. No more than half a segment.
    pub batch_bytes_max: usize,
    /// By default ends the process: a failed sync leaves the disk in an unknown state.
    pub on_failure: OnLogFailure,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 32 * 1024 * 1024,
            writing: Writing::Direct,
            spares_max: 2,
            recent_bytes_max: 32 * 1024 * 1024,
            batch_bytes_max: 16 * 1024 * 1024,
            on_failure: Arc::new(|error| {
                tracing::error!(%error, "the process ends: what is in the log is unknown until it has started again");
                std::process::abort();
            }),
        }
    }
}

/// A log in a folder. Dropping it closes it.
pub struct SegmentLog {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: ThreadId,
}

/// Records that wait to be written.
struct Pending {
    replica: ReplicaId,
    records: Vec<Record>,
    /// Of the first entry among them; those of the others follow.
    first_serial: u64,
    /// Bytes that the records have on disk.
    bytes: usize,
    /// Why they are not written.
    refused: Option<io::Error>,
    done: Done,
}

/// What the log's thread does next.
struct Taken {
    pending: Vec<Pending>,
    close: bool,
}

struct Shared {
    options: LogOptions,
    state: Mutex<State>,
    /// There is something to do for the log's thread.
    work: Condvar,
    /// The log has been closed.
    ended: Condvar,
    sync_time: RecentTime,
}

struct State {
    index: Index,
    queue: VecDeque<Pending>,
    segments: BTreeMap<u64, Arc<SegmentFile>>,
    bytes_held: u64,
    failure: Option<(io::ErrorKind, String)>,
    /// No more is taken.
    closing: bool,
    closed: bool,
    /// The thread is to end.
    dropped: bool,
    /// The thread has ended.
    ended: bool,
    /// Held while the log is open.
    lock: Option<File>,
}

impl SegmentLog {
    /// Opens the log in a folder, which is made when it is not there. Blocks while it reads the segments.
    pub fn open(folder: &Path, options: LogOptions) -> Result<Arc<Self>, LogError> {
        Self::open_as(folder, options, rand::random())
    }

    /// As [`Self::open`]; `log` names a log that begins.
    fn open_as(folder: &Path, options: LogOptions, log: u64) -> Result<Arc<Self>, LogError> {
        std::fs::create_dir_all(folder).map_err(LogError::io("make", folder))?;
        if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            file::sync_folder(parent).map_err(LogError::io("sync", parent))?;
        }
        let lock = lock(folder)?;
        let files = file::list(folder).map_err(LogError::io("read", folder))?;
        let mut recovered = recovery::recover(folder, &files.segments)?;
        let log = recovered.log.unwrap_or(log);
        let spares = tidy(folder, &files, &mut recovered, &options)?;

        let mut segments = BTreeMap::new();
        for (number, _) in &recovered.used {
            let segment = open_segment(folder, *number, options.writing)?;
            segments.insert(*number, Arc::new(segment));
        }
        let ready = match recovered.empty.first() {
            Some(number) => Some(open_segment(folder, *number, options.writing)?),
            None => None,
        };
        let newest = recovered
            .empty
            .first()
            .or(files.segments.last())
            .copied()
            .unwrap_or(0);
        let supply = Supply::start(folder, log, (ready, newest + 1), spares, &options)
            .map_err(LogError::io("start the thread that makes segments of", folder))?;

        let (durable, usage) = durable(&recovered);
        LOG_BYTES.set(usage.bytes_held() as f64);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                index: Index::new(
                    recovered.replicas,
                    recovered.next_serial,
                    options.recent_bytes_max,
                ),
                queue: VecDeque::new(),
                bytes_held: usage.bytes_held(),
                failure: None,
                closing: false,
                closed: false,
                dropped: false,
                ended: false,
                lock: Some(lock),
                segments,
            }),
            options,
            work: Condvar::new(),
            ended: Condvar::new(),
            sync_time: RecentTime::default(),
        });
        let started = Self::start(
            &shared,
            &supply,
            log,
            &recovered.used,
            recovered.sequence,
            durable,
            usage,
        );
        if started.is_err() {
            supply.stop();
        }
        started.map_err(LogError::io("write", folder))
    }

    fn start(
        shared: &Arc<Shared>,
        supply: &Arc<Supply>,
        log: u64,
        used: &[(u64, u64)],
        sequence: u64,
        durable: HashMap<ReplicaId, ReplicaLog<u64>>,
        usage: Usage,
    ) -> io::Result<Arc<Self>> {
        let newest = used.last().and_then(|(number, offset)| {
            let segment = shared.state.lock().segments.get(number).cloned()?;
            Some((segment, *offset))
        });
        let (active, offset, begun) = match newest {
            Some((active, offset)) => (active, offset, true),
            None => {
                let active = Arc::new(supply.take()?);
                shared.opened(&active);
                (active, BLOCK as u64, false)
            }
        };
        let mut writer = Writer {
            shared: Arc::clone(shared),
            supply: Arc::clone(supply),
            log,
            active,
            offset,
            fresh: false,
            sequence,
            durable,
            usage,
            buffer: Aligned::default(),
        };
        if !begun {
            writer.write_checkpoint()?;
        }
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.run())?;
        Ok(Arc::new(Self {
            shared: Arc::clone(shared),
            thread_id: thread.thread().id(),
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// What `read` gives for one entry, or `None` when it has gone meanwhile.
    fn payload(&self, replica: ReplicaId, position: Position, slot: Slot) -> io::Result<Option<Bytes>> {
        let place = match (slot.payload, slot.place) {
            (Some(payload), _) => return Ok(Some(payload)),
            (None, Some(place)) => place,
            (None, None) => return Err(io::Error::other("an entry is neither in memory nor on disk")),
        };
        let segment = self.shared.state.lock().segments.get(&place.segment).cloned();
        let read = segment
            .as_ref()
            .map(|segment| segment.read(place.offset, slot.len as usize));
        if let Some(Ok(bytes)) = read
            && crc32c::crc32c(&bytes) == place.crc
        {
            return Ok(Some(bytes.into()));
        }
        // A segment may be used again as soon as what was in it is not needed.
        if !self
            .shared
            .state
            .lock()
            .index
            .holds(replica, position.index, slot.serial)
        {
            return Ok(None);
        }
        let damaged = LogError::Damaged {
            file: segment.map_or_else(PathBuf::new, |segment| segment.path.clone()),
            offset: place.offset,
            reason: format!(
                "the bytes of entry {} of replica {} are not what was written",
                position.index, replica.0
            ),
        };
        Err(io::Error::new(io::ErrorKind::InvalidData, damaged))
    }
}

impl Log for SegmentLog {
    fn append(&self, replica: ReplicaId, records: Vec<Record>, done: Done) {
        self.shared.append(replica, records, done);
    }

    fn state(&self, replica: ReplicaId) -> LogState {
        let state = self.shared.state.lock();
        let log = state.index.replicas.get(&replica);
        log.map(ReplicaLog::state).unwrap_or_default()
    }

    fn read(
        &self,
        replica: ReplicaId,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> io::Result<Vec<(Position, Bytes)>> {
        'again: loop {
            let found = self.shared.state.lock().index.read(replica, from, to, bytes_max);
            let mut entries = Vec::with_capacity(found.len());
            for (position, slot) in found {
                match self.payload(replica, position, slot)? {
                    Some(payload) => entries.push((position, payload)),
                    None => continue 'again,
                }
            }
            return Ok(entries);
        }
    }

    fn read_recent(
        &self,
        replica: ReplicaId,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> Option<Vec<(Position, Bytes)>> {
        let found = self.shared.state.lock().index.read(replica, from, to, bytes_max);
        found
            .into_iter()
            .map(|(position, slot)| Some((position, slot.payload?)))
            .collect()
    }

    fn replicas(&self) -> Vec<ReplicaId> {
        self.shared.state.lock().index.replicas.keys().copied().collect()
    }

    fn bytes_held(&self) -> u64 {
        self.shared.state.lock().bytes_held
    }

    fn sync_time(&self) -> Duration {
        self.shared.sync_time.at(Instant::now())
    }

    /// From within a [`Done`] it cannot wait, and returns before it is closed.
    fn close(&self) {
        let mut state = self.shared.state.lock();
        state.closing = true;
        self.shared.work.notify_all();
        while !state.closed && !state.ended && std::thread::current().id() != self.thread_id {
            self.shared.ended.wait(&mut state);
        }
    }
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        self.close();
        self.shared.state.lock().dropped = true;
        self.shared.work.notify_all();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && std::thread::current().id() != self.thread_id
            && thread.join().is_err()
        {
            tracing::error!("the log's thread has panicked");
        }
    }
}

impl Shared {
    fn append(&self, replica: ReplicaId, records: Vec<Record>, done: Done) {
        let mut state = self.state.lock();
        if state.ended {
            drop(state);
            // The thread that would tell has gone.
            return done(Err(closed()));
        }
        let appended = if state.closing {
            Err(closed())
        } else if let Some((kind, text)) = &state.failure {
            Err(io::Error::new(*kind, text.clone()))
        } else {
            let refused = |refused| io::Error::new(io::ErrorKind::InvalidInput, refused);
            state.index.append(replica, &records).map_err(refused)
        };
        let pending = match appended {
            Ok(first_serial) => Pending {
                replica,
                bytes: records.iter().map(record_bytes).sum(),
                records,
                first_serial,
                refused: None,
                done,
            },
            Err(refused) => Pending {
                replica,
                bytes: 0,
                records: Vec::new(),
                first_serial: 0,
                refused: Some(refused),
                done,
            },
        };
        state.queue.push_back(pending);
        // Told while the lock is held, the thread would be queued for it, and be given it now and then before it runs: all others would
        // wait for a thread to be scheduled.
        drop(state);
        self.work.notify_one();
    }

    /// Waits for something to do; `None`: the thread is to end.
    fn take(&self) -> Option<Taken> {
        let mut state = self.state.lock();
        loop {
            if !state.queue.is_empty() {
                break;
            }
            if state.closing && !state.closed {
                return Some(Taken {
                    pending: Vec::new(),
                    close: true,
                });
            }
            if state.dropped {
                return None;
            }
            self.work.wait(&mut state);
        }
        let half = usize::try_from(self.options.segment_bytes / 2).unwrap_or(usize::MAX);
        let bytes_max = self.options.batch_bytes_max.min(half);
        let mut bytes = 0;
        let mut pending = Vec::new();
        while let Some(next) = state.queue.front() {
            bytes += next.bytes;
            if bytes > bytes_max && !pending.is_empty() {
                break;
            }
            pending.extend(state.queue.pop_front());
        }
        Some(Taken {
            pending,
            close: false,
        })
    }

    /// Notes a segment that is now written.
    fn opened(&self, segment: &Arc<SegmentFile>) {
        self.state
            .lock()
            .segments
            .insert(segment.number, Arc::clone(segment));
    }

    /// Notes what has been written, and gives the segments that are free.
    fn written(
        &self,
        placed: &[(ReplicaId, u64, u64, Place)],
        held: u64,
        freed: &[u64],
    ) -> Vec<Arc<SegmentFile>> {
        let mut state = self.state.lock();
        for (replica, index, serial, place) in placed {
            state.index.placed(*replica, *index, *serial, *place);
        }
        state.index.trim();
        state.bytes_held = held;
        freed
            .iter()
            .filter_map(|number| state.segments.remove(number))
            .collect()
    }

    fn failure(&self) -> Option<io::Error> {
        let state = self.state.lock();
        let (kind, text) = state.failure.as_ref()?;
        Some(io::Error::new(*kind, text.clone()))
    }

    fn fail(&self, error: &io::Error) {
        self.state.lock().failure = Some((error.kind(), error.to_string()));
    }

    fn closed(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.lock = None;
        self.ended.notify_all();
    }

    fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.lock = None;
        let waiting = std::mem::take(&mut state.queue);
        self.ended.notify_all();
        drop(state);
        for pending in waiting {
            (pending.done)(Err(closed()));
        }
    }
}

fn closed() -> io::Error {
    io::Error::other("the log has been closed")
}

fn record_bytes(record: &Record) -> usize {
    RECORD_HEADER
        + match record {
            Record::Entry(_, payload) => payload.len(),
            Record::Vote(vote) => vote.len(),
            Record::Truncate(_) | Record::Purge(_) | Record::Forget => 0,
        }
}

/// Takes the folder for this log; the lock goes with the process.
fn lock(folder: &Path) -> Result<File, LogError> {
    let path = folder.join("lock");
    let file = File::create(&path).map_err(LogError::io("make", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(LogError::Locked {
            folder: folder.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(error)) => Err(LogError::io("lock", &path)(error)),
    }
}

fn open_segment(folder: &Path, number: u64, writing: Writing) -> Result<SegmentFile, LogError> {
    SegmentFile::open(folder, number, writing)
        .map_err(LogError::io("open", file::segment_path(folder, number)))
}

/// Removes what a crash left behind; gives the spares.
fn tidy(
    folder: &Path,
    files: &Files,
    recovered: &mut recovery::Recovered,
    options: &LogOptions,
) -> Result<Vec<PathBuf>, LogError> {
    let mut spares = Vec::new();
    let mut remove = files.unfinished.clone();
    for path in &files.spares {
        let len = std::fs::metadata(path).map_err(LogError::io("read", path))?.len();
        if len == options.segment_bytes && spares.len() < options.spares_max {
            spares.push(path.clone());
        } else {
            remove.push(path.clone());
        }
    }
    // One is the next segment; of more, the last ones go first, so that no crash leaves a hole.
    while recovered.empty.len() > 1 {
        remove.extend(
            recovered
                .empty
                .pop()
                .map(|number| file::segment_path(folder, number)),
        );
    }
    for path in &remove {
        std::fs::remove_file(path).map_err(LogError::io("remove", path))?;
        file::sync_folder(folder).map_err(LogError::io("sync", folder))?;
    }
    Ok(spares)
}

/// What the log's thread has to know of what is there.
fn durable(recovered: &recovery::Recovered) -> (HashMap<ReplicaId, ReplicaLog<u64>>, Usage) {
    let mut usage = Usage::default();
    for (number, bytes) in &recovered.used {
        usage.written(*number, *bytes);
    }
    let mut durable = HashMap::new();
    for (replica, log) in &recovered.replicas {
        let mut copy = ReplicaLog::<u64>::default();
        copy.vote.clone_from(&log.vote);
        copy.purged = log.purged;
        for (position, slot) in log.entries() {
            let segment = slot.place.map_or(0, |place| place.segment);
            usage.add(segment);
            copy.apply(Record::Entry(*position, Bytes::new()), |_| segment, drop);
        }
        durable.insert(*replica, copy);
    }
    (durable, usage)
}
