//! Measures what a node's log may be made of: segments written directly, files that grow, or a RocksDB column family.
//!
//! `cargo run --release -p rookery-replication --example log_choice [folder]`. Each kind gets a folder of its own within
//! the given one, which must be on the disk that is to be judged, and the kinds take turns, so that none has the disk for
//! itself while it is quick.
#![allow(clippy::print_stdout, reason = "it prints what it measures")]

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use rocksdb::{DB, Options, WriteBatch, WriteOptions};
use rookery_replication::log::segment::Writing;
use rookery_replication::log::{Done, Log, LogOptions, Position, Record, ReplicaId, SegmentLog};

/// How long a turn lasts: short, so that what else the disk does falls on all kinds alike.
const LASTS: Duration = Duration::from_millis(250);
/// Turns of each kind.
const TURNS: usize = 10;
const CALLERS: [u64; 3] = [1, 8, 64];
const SIZES: [usize; 2] = [12 * 1024, 1024];
/// Entries that a caller keeps before it purges those before.
const KEPT: u64 = 64;

/// What a kind of log has to do here: make an entry durable, then say so, and purge.
trait Appends: Send + Sync {
    fn append(&self, caller: u64, index: u64, payload: Bytes, purge: Option<u64>, done: Done);
    /// Syncs so far, as far as they are counted.
    fn syncs(&self) -> u64;
}

struct Segments(Arc<SegmentLog>);

impl Appends for Segments {
    fn append(&self, caller: u64, index: u64, payload: Bytes, purge: Option<u64>, done: Done) {
        let at = |index| Position { term: 1, index };
        let mut records = vec![Record::Entry(at(index), payload)];
        records.extend(purge.map(|index| Record::Purge(at(index))));
        self.0.append(ReplicaId(caller), records, done);
    }

    fn syncs(&self) -> u64 {
        SYNCS.load(Ordering::Relaxed)
    }
}

/// Syncs of the logs of segments: a metrics recorder that counts the samples of one histogram.
static SYNCS: AtomicU64 = AtomicU64::new(0);

struct CountSyncs;

impl metrics::HistogramFn for CountSyncs {
    fn record(&self, _: f64) {
        SYNCS.fetch_add(1, Ordering::Relaxed);
    }
}

impl metrics::Recorder for CountSyncs {
    fn describe_counter(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_gauge(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_histogram(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn register_counter(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        metrics::Counter::noop()
    }
    fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::noop()
    }
    fn register_histogram(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
        if key.name() == "rookery_log_sync_seconds" {
            return metrics::Histogram::from_arc(Arc::new(CountSyncs));
        }
        metrics::Histogram::noop()
    }
}

/// A column family with a committer of its own that gathers as the log does.
struct Rocks {
    shared: Arc<RocksShared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct RocksShared {
    queue: Mutex<(VecDeque<RocksAppend>, bool)>,
    work: Condvar,
    syncs: AtomicU64,
}

struct RocksAppend {
    caller: u64,
    index: u64,
    payload: Bytes,
    purge: Option<u64>,
    done: Done,
}

fn key(caller: u64, index: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&caller.to_be_bytes());
    key[8..].copy_from_slice(&index.to_be_bytes());
    key
}

impl Rocks {
    fn open(folder: &Path) -> Result<Self, rocksdb::Error> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_recycle_log_file_num(2);
        let db = DB::open_cf(&options, folder, ["log"])?;
        let shared = Arc::new(RocksShared::default());
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || of_thread.run(&db));
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }
}

impl RocksShared {
    fn run(&self, db: &DB) {
        let Some(family) = db.cf_handle("log") else { return };
        let mut write = WriteOptions::default();
        write.set_sync(true);
        loop {
            let mut queue = self.queue.lock();
            while queue.0.is_empty() && !queue.1 {
                self.work.wait(&mut queue);
            }
            let taken = std::mem::take(&mut queue.0);
            drop(queue);
            if taken.is_empty() {
                return;
            }
            let mut batch = WriteBatch::default();
            for append in &taken {
                batch.put_cf(&family, key(append.caller, append.index), &append.payload);
                if let Some(purge) = append.purge {
                    let from = key(append.caller, purge.saturating_sub(KEPT));
                    batch.delete_range_cf(&family, from, key(append.caller, purge + 1));
                }
            }
            let written = db.write_opt(batch, &write);
            self.syncs.fetch_add(1, Ordering::Relaxed);
            for append in taken {
                (append.done)(written.clone().map_err(io::Error::other));
            }
        }
    }
}

impl Appends for Rocks {
    fn append(&self, caller: u64, index: u64, payload: Bytes, purge: Option<u64>, done: Done) {
        self.shared.queue.lock().0.push_back(RocksAppend {
            caller,
            index,
            payload,
            purge,
            done,
        });
        self.shared.work.notify_one();
    }

    fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::Relaxed)
    }
}

impl Drop for Rocks {
    fn drop(&mut self) {
        self.shared.queue.lock().1 = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open(kind: &str, folder: &Path) -> Result<Box<dyn Appends>, Box<dyn std::error::Error>> {
    let segments = |writing| {
        let options = LogOptions {
            writing,
            ..LogOptions::default()
        };
        SegmentLog::open(folder, options)
    };
    Ok(match kind {
        "direct" => Box::new(Segments(segments(Writing::Direct)?)),
        "growing" => Box::new(Segments(segments(Writing::Growing)?)),
        _ => Box::new(Rocks::open(folder)?),
    })
}

/// CPU seconds of this process in user and system, and bytes that it has given to the disk.
fn used() -> Result<(f64, u64), Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks =
        fields.get(11).ok_or("stat")?.parse::<f64>()? + fields.get(12).ok_or("stat")?.parse::<f64>()?;
    let io = std::fs::read_to_string("/proc/self/io")?;
    let written = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "))
        .ok_or("io")?;
    Ok((
        ticks / rustix::param::clock_ticks_per_second() as f64,
        written.parse()?,
    ))
}

struct Figures {
    appends: u64,
    syncs: u64,
    cpu: f64,
    written: u64,
    seconds: f64,
}

fn measure(
    log: &dyn Appends,
    next: &[AtomicU64],
    size: usize,
) -> Result<Figures, Box<dyn std::error::Error>> {
    let payload = Bytes::from((0..size).map(|at| (at * 131 % 251) as u8).collect::<Vec<_>>());
    let (cpu, written) = used()?;
    let syncs = log.syncs();
    let started = Instant::now();
    let appends = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for (caller, next) in (0..).zip(next) {
            let (appends, payload) = (&appends, &payload);
            scope.spawn(move || {
                let (told, outcome) = mpsc::channel();
                let first = next.load(Ordering::Relaxed);
                let mut index = first;
                while started.elapsed() < LASTS {
                    let purge = (index % KEPT == KEPT - 1).then(|| index - KEPT / 2);
                    let told = told.clone();
                    let done: Done = Box::new(move |result| {
                        let _ = told.send(result.is_ok());
                    });
                    log.append(caller, index, payload.clone(), purge, done);
                    assert_eq!(outcome.recv(), Ok(true), "an append failed");
                    index += 1;
                }
                next.store(index, Ordering::Relaxed);
                appends.fetch_add(index - first, Ordering::Relaxed);
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    let after = used()?;
    Ok(Figures {
        appends: appends.into_inner(),
        syncs: log.syncs() - syncs,
        cpu: after.0 - cpu,
        written: after.1 - written,
        seconds,
    })
}

/// A kind that is measured.
struct Measured {
    kind: &'static str,
    folder: PathBuf,
    log: Box<dyn Appends>,
    /// The next index of each caller.
    next: Vec<AtomicU64>,
    turns: Vec<Figures>,
}

fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

fn rate(figures: &Figures) -> f64 {
    figures.appends as f64 / figures.seconds
}

fn compare(folder: &Path, size: usize, callers: u64) -> Result<(), Box<dyn std::error::Error>> {
    let mut all = Vec::new();
    for kind in ["direct", "growing", "rocksdb"] {
        let folder = folder.join(format!("log-choice-{}-{kind}", std::process::id()));
        let log = open(kind, &folder)?;
        let next: Vec<AtomicU64> = (0..callers).map(|_| AtomicU64::new(0)).collect();
        // Files are made and buffers grow before it counts.
        measure(&*log, &next, size)?;
        all.push(Measured {
            kind,
            folder,
            log,
            next,
            turns: Vec::new(),
        });
    }
    for turn in 0..TURNS {
        for at in 0..all.len() {
            let count = all.len();
            let measured = &mut all[(at + turn) % count];
            let figures = measure(&*measured.log, &measured.next, size)?;
            measured.turns.push(figures);
        }
    }
    let best = |turn: usize| all.iter().map(|each| rate(&each.turns[turn])).fold(0.0, f64::max);
    for measured in &all {
        let of = |figure: fn(&Figures) -> f64| median(measured.turns.iter().map(figure).collect());
        let (appends, least, most) = of(rate);
        let first = (0..TURNS)
            .filter(|turn| rate(&measured.turns[*turn]) >= best(*turn))
            .count();
        let sum = |figure: fn(&Figures) -> f64| measured.turns.iter().map(figure).sum::<f64>();
        let total = sum(|figures| figures.appends as f64);
        println!(
            "| {size}, {callers} | {} | {appends:.0} ({least:.0}–{most:.0}) | {first} | {:.0} | {:.0} | {:.2} |",
            measured.kind,
            of(|figures| figures.syncs as f64 / figures.seconds).0,
            sum(|figures| figures.cpu) * 1e6 / total,
            sum(|figures| figures.written as f64) / (total * size as f64),
        );
    }
    for measured in all {
        drop(measured.log);
        std::fs::remove_dir_all(&measured.folder)?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _ = metrics::set_global_recorder(CountSyncs);
    let folder = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    println!(
        "| bytes, callers | kind | appends/s: median (least–most) | turns won of {TURNS} | syncs/s | CPU µs/append | \
         written/payload |"
    );
    println!("|---|---|---|---|---|---|---|");
    for size in SIZES {
        for callers in CALLERS {
            compare(&folder, size, callers)?;
        }
    }
    Ok(())
}
