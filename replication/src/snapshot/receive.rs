//! Fetching a state from the leader, into SST files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rookery_proto::replication::v1::{InstallSnapshot, ReadSnapshot, Request, SnapshotRows, reply, request};
use rookery_proto::{Reason, Status};
use tokio::time::Instant;

use super::held::checksum;
use super::pace::Pace;
use crate::applied::Sequence;
use crate::batch::Column;
use crate::catalogue::SNAPSHOT_RECEIVED;
use crate::entry::{GroupId, LeaderId};
use crate::store::Store;
use crate::transport::Transport;

/// Bytes of rows that are in memory until they become a file.
const FILE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Tries in a row that bring nothing, after which the leader has to offer the state anew.
const TRIES_MAX: u32 = 20;

/// Pause before a try.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// A fetched state: files by column, in a folder of their own that goes with this.
pub(crate) struct Received {
    pub(crate) sequence: Sequence,
    pub(crate) files: Vec<(Column, PathBuf)>,
    folder: Folder,
}

impl Received {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// Leaves the files where they are, for the next start.
    pub(crate) fn leave_files(mut self) {
        self.folder.is_left = true;
    }
}

/// Removed with what is in it when it is dropped, unless it is left; what a crash leaves is removed at the next start.
struct Folder {
    store: Arc<Store>,
    path: PathBuf,
    is_left: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_left
            && let Err(error) = self.store.remove_folder(&self.path)
        {
            tracing::warn!(folder = %self.path.display(), %error, "files of a fetched state are left over");
        }
    }
}

/// Counts what has come of the state that a replica is given, from its first byte until it is taken in or given up.
pub(crate) struct Fetching<'a>(&'a AtomicU64);

impl<'a> Fetching<'a> {
    pub(crate) fn begin(bytes: &'a AtomicU64) -> Self {
        bytes.store(0, Ordering::Relaxed);
        Self(bytes)
    }

    fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// How a state is fetched.
pub(crate) struct Fetch<'a> {
    pub(crate) transport: &'a dyn Transport,
    pub(crate) group: GroupId,
    /// Whose files they become.
    pub(crate) store: &'a Arc<Store>,
    /// Where the files go; made anew.
    pub(crate) folder: PathBuf,
    /// How fast it may go.
    pub(crate) pace: &'a Pace,
    /// Told how much has come.
    pub(crate) fetching: &'a Fetching<'a>,
}

/// Fetches the state that a leader offers.
pub(crate) async fn receive(fetch: Fetch<'_>, offer: &InstallSnapshot) -> Result<Received, Status> {
    let unusable = |error: std::io::Error| {
        Status::unavailable(format!(
            "cannot write a fetched state to {}: {error}",
            fetch.folder.display()
        ))
    };
    let folder = Folder {
        store: Arc::clone(fetch.store),
        path: fetch.folder.clone(),
        is_left: false,
    };
    fetch.store.make_folder(&folder.path).map_err(unusable)?;
    let mut received = Received {
        sequence: Sequence {
            leader: LeaderId {
                term: offer.leader_term,
                count: offer.leader_count,
            },
            next: offer.next_number,
        },
        files: Vec::new(),
        folder,
    };
    let began = Instant::now();
    for column in Column::ALL {
        column_files(&fetch, offer, column, &mut received).await?;
    }
    tracing::info!(
        group = fetch.group.0,
        bytes = fetch.fetching.bytes(),
        seconds = began.elapsed().as_secs_f64(),
        "a state was fetched from {}",
        offer.node
    );
    Ok(received)
}

/// Fetches a column: the next piece is on its way while one is taken in.
async fn column_files(
    fetch: &Fetch<'_>,
    offer: &InstallSnapshot,
    column: Column,
    received: &mut Received,
) -> Result<(), Status> {
    let mut after = Bytes::new();
    let mut gathered = Gathered::default();
    let mut next = piece(fetch, offer, column, &after).await?;
    loop {
        let piece_now = next;
        let is_last = piece_now.last;
        if let Some(row) = piece_now.rows.last() {
            after = row.key.clone();
        }
        let taken = take_in(fetch, column, piece_now, &mut gathered, received);
        if is_last {
            return taken.await;
        }
        let (taken, fetched) = tokio::join!(taken, piece(fetch, offer, column, &after));
        taken?;
        next = fetched?;
    }
}

/// Rows that are in no file yet.
#[derive(Default)]
struct Gathered {
    rows: Vec<(Bytes, Bytes)>,
    bytes: usize,
}

/// Takes a piece in, writes a file when there is enough for one, and waits until there may be more.
async fn take_in(
    fetch: &Fetch<'_>,
    column: Column,
    piece: SnapshotRows,
    gathered: &mut Gathered,
    received: &mut Received,
) -> Result<(), Status> {
    let bytes: usize = piece.rows.iter().map(|row| row.key.len() + row.value.len()).sum();
    fetch.fetching.add(bytes as u64);
    SNAPSHOT_RECEIVED.increment(bytes as u64);
    gathered.bytes += bytes;
    gathered
        .rows
        .extend(piece.rows.into_iter().map(|row| (row.key, row.value)));
    fetch.pace.fetched(bytes as u64, piece.strain_percent).await;
    if gathered.rows.is_empty() || !(piece.last || gathered.bytes >= FILE_BYTES_MAX) {
        return Ok(());
    }
    let name = format!("{}-{}.sst", column.name(), received.files.len());
    let path = received.folder().join(name);
    let rows = std::mem::take(gathered).rows;
    let (store, file) = (Arc::clone(fetch.store), path.clone());
    fetch
        .store
        .aside(move || store.write_file(column, &file, rows))
        .await
        .map_err(|error| Status::internal(error.to_string()))?
        .map_err(|error| Status::unavailable(error.to_string()))?;
    received.files.push((column, path));
    Ok(())
}

/// The rows after a key, tried again while the leader cannot be reached.
async fn piece(
    fetch: &Fetch<'_>,
    offer: &InstallSnapshot,
    column: Column,
    after: &Bytes,
) -> Result<SnapshotRows, Status> {
    let mut tries = 0;
    loop {
        let request = Request {
            group: fetch.group.0,
            to: 0,
            call: Some(request::Call::ReadSnapshot(ReadSnapshot {
                snapshot: offer.snapshot,
                column: column as u32,
                after: after.clone(),
            })),
        };
        let failed = match fetch.transport.call(&offer.node, request).await {
            Ok(reply::Call::SnapshotRows(rows)) if rows.checksum == checksum(&rows.rows) => return Ok(rows),
            Ok(reply::Call::SnapshotRows(_)) => {
                Status::unavailable("rows of a state were damaged on their way")
            }
            Ok(_) => {
                return Err(Status::internal(
                    "a read of a state was answered with something else",
                ));
            }
            Err(status) if status.reason == Reason::NotFound => return Err(status),
            Err(status) => status,
        };
        tries += 1;
        if tries >= TRIES_MAX {
            return Err(failed);
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}
