//! The node's log: what every log does, and what the one on disk does in crashes, with damage and with space.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stderr, reason = "what ends the process has to be seen")]

mod conformance;
mod crash;
mod damage;
mod format;
mod kill;
mod space;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use bytes::Bytes;
use rookery_replication::log::{Log, LogOptions, LogState, Position, Record, ReplicaId};

const SEGMENT_BYTES: u64 = 64 * 1024;
const BLOCK: usize = 4096;

/// Small segments, and no payload stays in memory.
fn options() -> LogOptions {
    LogOptions {
        segment_bytes: SEGMENT_BYTES,
        recent_bytes_max: 0,
        on_failure: std::sync::Arc::new(|error| {
            eprintln!("the log failed: {error}");
            std::process::abort();
        }),
        ..LogOptions::default()
    }
}

fn at(term: u64, index: u64) -> Position {
    Position { term, index }
}

fn append(log: &dyn Log, replica: u64, records: Vec<Record>) -> io::Result<()> {
    let (told, outcome) = mpsc::channel();
    log.append(
        ReplicaId(replica),
        records,
        Box::new(move |result| told.send(result).unwrap()),
    );
    outcome.recv().unwrap()
}

type Picture = BTreeMap<ReplicaId, (LogState, Vec<(Position, Bytes)>)>;

/// All that can be read of a log.
fn picture(log: &dyn Log) -> Picture {
    let replicas = log.replicas().into_iter();
    replicas
        .map(|replica| {
            let entries = log.read(replica, 0, u64::MAX, usize::MAX).unwrap();
            (replica, (log.state(replica), entries))
        })
        .collect()
}

/// Copies a log at which nothing is being appended. Its segments may be made and freed meanwhile.
fn copy(from: &Path, to: &Path) {
    'again: loop {
        let _ = std::fs::remove_dir_all(to);
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            match std::fs::copy(entry.path(), to.join(entry.file_name())) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue 'again,
                Err(error) => panic!("{error}"),
            }
        }
        return;
    }
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    segments.sort();
    segments
}

/// A batch as it lies in a segment.
#[derive(Debug, Clone)]
struct OnDisk {
    file: PathBuf,
    offset: usize,
    /// With its header.
    len: usize,
    kind: u8,
}

/// The batches of a log that is whole, in order.
fn batches(folder: &Path) -> Vec<OnDisk> {
    let mut batches = Vec::new();
    for file in segments(folder) {
        let bytes = std::fs::read(&file).unwrap();
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let mut offset = BLOCK;
        while offset < bytes.len()
            && bytes[offset..].starts_with(b"RKRYBTCH")
            && number(offset + 24) == number(24)
        {
            let len = 64 + number(offset + 40) as usize;
            batches.push(OnDisk {
                file: file.clone(),
                offset,
                len,
                kind: bytes[offset + 48],
            });
            offset += len.next_multiple_of(BLOCK);
        }
    }
    batches
}
