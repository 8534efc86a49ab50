//! `backup create`: hand-offs of every shard, then every shard, then the directory, into a folder that gets its name last.
//!
//! The order is what makes the parts fit. A hand-off that is delivered while the backup runs is either in its shard's
//! hand-offs or in the account's shard, which is read later. An account that a shard has is in the directory, which is
//! read last, unless it was deleted for ever meanwhile. No account moves from shard to shard between the first part and the last.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, bail};
use rand::RngCore;
use rookery_directory::schema::portable::{self, Portable};
use rookery_directory::schema::row::Life;
use rookery_proto::admin::v1::export_rows_request::{Directory, Part as ExportPart};
use rookery_proto::admin::v1::{ExportRowsRequest, GetStatusRequest, ListShardsRequest};
use rookery_proto::rows::{Row, RowColumn, RowDecoder, hex};
use rustix::fs::FlockOperation;
use serde_json::json;

use super::files::{FILE_BYTES_MAX, PartWriter};
use super::hold::Hold;
use super::manifest::{self, FORMAT, FileEntry, Manifest, Part, PartKind};
use super::progress::Progress;
use crate::operate::output::{self, refused};
use crate::operate::retry::{self, Retry};
use crate::operate::{BackupClient, Clients};

/// What the folder is called until it is whole.
const PARTIAL: &str = ".partial";

/// The directory's numbers, as its part has them.
#[derive(Default)]
struct Seen {
    last_account: u64,
    accounts: u64,
}

/// A folder that is being filled.
struct Folder {
    target: PathBuf,
    partial: PathBuf,
    /// Held, so that no other command writes there.
    lock: File,
}

pub(super) async fn run(clients: &mut Clients, to: &Path, as_json: bool) -> anyhow::Result<()> {
    let folder = Folder::prepare(to)?;
    match fill(clients, &folder.partial).await {
        Ok(manifest) => {
            folder.finish(&manifest)?;
            report(&manifest, to, as_json)
        }
        Err(error) => {
            folder.give_up();
            Err(error)
        }
    }
}

/// Reads everything while no account moves from one shard to another.
async fn fill(clients: &mut Clients, folder: &Path) -> anyhow::Result<Manifest> {
    let mut id = [0u8; 16];
    rand::rng().fill_bytes(&mut id);
    let id = hex(&id);
    let mut hold = Hold::take(&clients.backup, &id).await?;
    let filled = tokio::select! {
        filled = fill_parts(clients, folder, id) => filled,
        lost = hold.keep() => Err(lost),
    };
    let filled = match filled {
        Ok(manifest) => hold.check().await.map(|()| manifest),
        failed => failed,
    };
    hold.release().await;
    filled
}

async fn fill_parts(clients: &mut Clients, folder: &Path, backup_id: String) -> anyhow::Result<Manifest> {
    let began = unix_seconds();
    let status = clients.admin.get_status(GetStatusRequest {}).await;
    let status = status.map_err(refused)?.into_inner();
    let listed = clients.admin.list_shards(ListShardsRequest {}).await;
    let mut shards: Vec<u32> = listed
        .map_err(refused)?
        .into_inner()
        .shards
        .into_iter()
        // Nobody answers for one that a split has added and that is not open yet.
        .filter(|shard| !shard.forming)
        .map(|shard| shard.id)
        .collect();
    shards.sort_unstable();
    if shards.is_empty() {
        bail!("the cluster has no shards yet: there is nothing to back up");
    }
    let mut progress = Progress::new("backup", shards.len() * 2 + 1);
    let mut parts = Vec::new();
    let mut seen = Seen::default();
    let plan = shards
        .iter()
        .map(|shard| (PartKind::HandOffs, Some(*shard)))
        .chain(shards.iter().map(|shard| (PartKind::Shard, Some(*shard))))
        .chain([(PartKind::Directory, None)]);
    for (kind, shard) in plan {
        progress.next_part();
        let at = unix_seconds();
        let files = write_part(
            &mut clients.backup,
            folder,
            (kind, shard),
            &mut seen,
            &mut progress,
        )
        .await?;
        // Most shards have no hand-offs.
        if kind != PartKind::HandOffs || !files.is_empty() {
            parts.push(Part {
                kind,
                shard,
                at,
                files,
            });
        }
    }
    Ok(Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        backup_id,
        cluster_id: status.cluster_id,
        began,
        ended: unix_seconds(),
        last_account: seen.last_account,
        accounts: seen.accounts,
        shards,
        parts,
    })
}

/// Writes a part, from its start again when its node went away meanwhile.
async fn write_part(
    client: &mut BackupClient,
    folder: &Path,
    (kind, shard): (PartKind, Option<u32>),
    seen: &mut Seen,
    progress: &mut Progress,
) -> anyhow::Result<Vec<FileEntry>> {
    let (name, part) = match (kind, shard) {
        (PartKind::HandOffs, Some(shard)) => (format!("handoffs-{shard:05}"), ExportPart::HandOffs(shard)),
        (PartKind::Shard, Some(shard)) => (format!("shard-{shard:05}"), ExportPart::Shard(shard)),
        _ => ("directory".to_owned(), ExportPart::Directory(Directory {})),
    };
    let mut retry = Retry::new(Duration::from_secs(30));
    loop {
        let mut writer = PartWriter::new(folder, name.clone(), FILE_BYTES_MAX);
        *seen = Seen::default();
        let request = ExportRowsRequest { part: Some(part) };
        match stream_part(client, request, &mut writer, seen, progress).await {
            // Syncing may take long, and the connection is to be kept up meanwhile.
            Ok(()) => return tokio::task::spawn_blocking(move || writer.finish()).await?,
            Err(error) => {
                writer.discard()?;
                let what = format!("cannot read the {name} of the cluster");
                retry.pause_or(error, || what).await?;
            }
        }
    }
}

async fn stream_part(
    client: &mut BackupClient,
    request: ExportRowsRequest,
    writer: &mut PartWriter,
    seen: &mut Seen,
    progress: &mut Progress,
) -> Result<(), retry::Failure> {
    let mut pieces = client.export_rows(request).await?.into_inner();
    let mut decoder = RowDecoder::default();
    let mut last: Option<(RowColumn, bytes::Bytes)> = None;
    while let Some(piece) = pieces.message().await? {
        progress.add(piece.frames.len());
        decoder.push(&piece.frames);
        while let Some(row) = decoder.next_row().map_err(|error| anyhow!(error))? {
            if last
                .as_ref()
                .is_some_and(|(column, key)| (*column, key) >= (row.column, &row.key))
            {
                return Err(anyhow!("the cluster gave rows out of order; nothing was kept").into());
            }
            writer.add(&row)?;
            seen.note(&row)?;
            last = Some((row.column, row.key));
        }
    }
    decoder.finish().map_err(|error| anyhow!(error))?;
    Ok(())
}

impl Seen {
    fn note(&mut self, row: &Row) -> anyhow::Result<()> {
        // Shards have lower numbers than the directory, whose rows alone are counted here.
        if !row.key.starts_with(&u32::MAX.to_be_bytes()) {
            return Ok(());
        }
        match portable::read(&row.key, &row.value)? {
            Portable::Sequences(sequences) => self.last_account = sequences.accounts,
            Portable::Account(_, account) if account.life() != Life::Deleted => self.accounts += 1,
            _ => {}
        }
        Ok(())
    }
}

impl Folder {
    fn prepare(target: &Path) -> anyhow::Result<Self> {
        let name = target.file_name().ok_or_else(|| {
            anyhow!(
                "{} is no folder to make: give a path with a name",
                target.display()
            )
        })?;
        match std::fs::read_dir(target) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    bail!(
                        "{} is there and not empty: give a folder that is not there yet",
                        target.display()
                    );
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot use {}", target.display())),
        }
        let mut partial_name = name.to_owned();
        partial_name.push(PARTIAL);
        let partial = target.with_file_name(partial_name);
        let cannot = || format!("cannot make {}", partial.display());
        make_private(&partial).with_context(cannot)?;
        let lock = File::open(&partial).with_context(cannot)?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!(
                "{} is being written by another command: wait for it",
                partial.display()
            );
        }
        // What a command that was killed has left.
        for entry in std::fs::read_dir(&partial).with_context(cannot)? {
            std::fs::remove_file(entry?.path()).with_context(cannot)?;
        }
        Ok(Self {
            target: target.to_owned(),
            partial,
            lock,
        })
    }

    /// Writes the manifest and gives the folder its name. Until then it is no backup.
    fn finish(self, manifest: &Manifest) -> anyhow::Result<()> {
        let path = self.partial.join(manifest::NAME);
        let cannot = || {
            format!(
                "cannot write {}: make room there, or give another folder",
                path.display()
            )
        };
        let written = (|| {
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all(manifest.to_text()?.as_bytes())?;
            file.sync_all()?;
            self.lock.sync_all()?;
            anyhow::Ok(())
        })();
        if let Err(error) = written {
            let error = error.context(cannot());
            self.give_up();
            return Err(error);
        }
        std::fs::rename(&self.partial, &self.target)
            .with_context(|| format!("cannot name the backup {}", self.target.display()))?;
        let parent = match self.target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .with_context(|| format!("cannot sync {}", parent.display()))
    }

    /// Gives the room back. What cannot be removed has no manifest, and is no backup.
    fn give_up(self) {
        let _ = std::fs::remove_dir_all(&self.partial);
    }
}

/// The backup holds mail and the hashes of passwords: it is its owner's alone.
fn make_private(folder: &Path) -> std::io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn report(manifest: &Manifest, to: &Path, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return output::json(&json!({
            "backup": to.display().to_string(), "backup_id": manifest.backup_id, "cluster_id": manifest.cluster_id,
            "accounts": manifest.accounts, "shards": manifest.shards.len(), "bytes": manifest.bytes(),
        }));
    }
    output::done(
        false,
        &format!(
            "backup of {} accounts in {} shards written to {}: {} bytes",
            manifest.accounts,
            manifest.shards.len(),
            to.display(),
            manifest.bytes()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_used_is_refused_and_a_killed_commands_is_taken_over() {
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("backup");
        let folder = Folder::prepare(&target).unwrap();
        std::fs::write(folder.partial.join("left"), "x").unwrap();
        let error = Folder::prepare(&target).err().unwrap().to_string();
        assert!(error.contains("another command"), "{error}");
        drop(folder);
        let folder = Folder::prepare(&target).unwrap();
        assert_eq!(std::fs::read_dir(&folder.partial).unwrap().count(), 0);
        assert!(manifest::read(&folder.partial).is_err());
        folder.give_up();
        std::fs::create_dir(&target).unwrap();
        Folder::prepare(&target).unwrap().give_up();
        std::fs::write(target.join("mine"), "x").unwrap();
        let error = Folder::prepare(&target).err().unwrap().to_string();
        assert!(error.contains("not empty"), "{error}");
    }
}
