//! `backup restore`: checks all of a backup, then puts it into an empty cluster of whatever size.
//!
//! The directory comes first, so that every account has its id, its address and a shard; then, shard by shard of the backup,
//! the rows of its accounts go to the shards that they have now, and the accounts become live; hand-offs come last. Every
//! step can be made again, so a restore that broke off is run again and goes on.

mod outgoing;
mod shard;

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use rookery_directory::schema::portable::{self, Portable};
use rookery_directory::schema::row::Life;
use rookery_proto::admin::v1::{BeginRestoreRequest, EndRestoreRequest, RowsPiece};
use rookery_proto::rows::RowColumn;
use serde_json::json;

use super::check::shard::HandOffKey;
use super::files::RowReader;
use super::manifest::{Manifest, PartKind};
use super::progress::Progress;
use super::verify::{Verified, verify};
use crate::operate::output::{self, refused};
use crate::operate::retry::Retry;
use crate::operate::{BackupClient, Clients};
use outgoing::Outgoing;

/// How long the cluster may be away.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of the directory's rows in one call.
const DIRECTORY_BYTES: usize = 1024 * 1024;

/// Bytes of one piece of a stream.
const PIECE_BYTES: usize = 256 * 1024;

/// What is told at the end.
#[derive(Debug, Default)]
struct Summary {
    /// Accounts that are there with their mail and were not deleted, as `create` counts them.
    accounts: u64,
    /// Accounts that were deleted and are kept for a while: restored so, and not counted.
    deleted: HashSet<u64>,
    /// Accounts that the directory's part does not know.
    unknown_accounts: Vec<u64>,
    hand_offs: u64,
    /// Hand-offs whose account is not there any more.
    unknown_hand_offs: u64,
    without_mail: u64,
}

pub(super) async fn run(clients: &mut Clients, from: &Path, as_json: bool) -> anyhow::Result<()> {
    let folder = from.to_owned();
    // On a thread of its own, so that the connection is kept up meanwhile.
    let verified = tokio::task::spawn_blocking(move || verify(&folder)).await??;
    verified.refuse_damage(from)?;
    let Verified {
        manifest, hand_offs, ..
    } = verified;
    let client = &mut clients.backup;
    begin(client, &manifest).await?;
    let mut summary = Summary::default();
    // Each shard's part is read several times; the bytes that are sent are shown.
    let mut progress = Progress::new("restore", manifest.parts.len());
    progress.next_part();
    summary.deleted = restore_directory(client, from, &manifest, &mut progress).await?;
    let mut outgoing = Outgoing::new(client.clone(), manifest.backup_id.clone());
    let mut delivered: HashSet<HandOffKey> = HashSet::new();
    for part in manifest.parts.iter().filter(|part| part.kind == PartKind::Shard) {
        progress.next_part();
        let restore = shard::Restore::new(from, part);
        restore
            .run(
                &mut outgoing,
                &hand_offs,
                &mut delivered,
                &mut summary,
                &mut progress,
            )
            .await
            .with_context(|| format!("cannot restore shard {} of the backup", part.shard.unwrap_or(0)))?;
    }
    let waiting: HashSet<HandOffKey> = hand_offs.difference(&delivered).copied().collect();
    if !waiting.is_empty() {
        for part in manifest
            .parts
            .iter()
            .filter(|part| part.kind != PartKind::Directory)
        {
            let restore = shard::Restore::new(from, part);
            restore
                .hand_offs(&mut outgoing, &waiting, &mut summary)
                .await
                .context("cannot restore the hand-offs of the backup")?;
        }
    }
    summary.without_mail = end(client, &manifest).await?;
    drop(progress);
    report(&manifest, &summary, as_json)
}

async fn begin(client: &mut BackupClient, manifest: &Manifest) -> anyhow::Result<()> {
    let request = BeginRestoreRequest {
        backup_id: manifest.backup_id.clone(),
        last_account: manifest.last_account,
    };
    let mut retry = Retry::new(PATIENCE);
    loop {
        match client.begin_restore(request.clone()).await {
            Ok(_) => return Ok(()),
            Err(status) => {
                let what = || "cannot begin the restore".to_owned();
                // Whether it may begin is the directory's to say, in its own words.
                if status.code() != tonic::Code::Unavailable {
                    return Err(refused(status));
                }
                retry.pause_or(status.into(), what).await?;
            }
        }
    }
}

async fn end(client: &mut BackupClient, manifest: &Manifest) -> anyhow::Result<u64> {
    let mut retry = Retry::new(PATIENCE);
    loop {
        let request = EndRestoreRequest {
            backup_id: manifest.backup_id.clone(),
        };
        match client.end_restore(request).await {
            Ok(ended) => return Ok(ended.into_inner().without_mail),
            Err(status) => {
                let what = || "cannot end the restore".to_owned();
                retry.pause_or(status.into(), what).await?;
            }
        }
    }
}

impl Summary {
    fn restored(&mut self, account: u64) {
        if !self.deleted.contains(&account) {
            self.accounts += 1;
        }
    }
}

/// Accounts first, then the names that lead to them, then the domains: a name never leads nowhere.
/// Says which accounts were deleted.
async fn restore_directory(
    client: &mut BackupClient,
    from: &Path,
    manifest: &Manifest,
    progress: &mut Progress,
) -> anyhow::Result<HashSet<u64>> {
    let mut deleted = HashSet::new();
    let wanted: [fn(&Portable) -> bool; 3] = [
        |row| matches!(row, Portable::Account(..)),
        |row| matches!(row, Portable::Address(..) | Portable::Alias(..)),
        |row| matches!(row, Portable::Domain(..)),
    ];
    let files: Vec<_> = manifest
        .parts
        .iter()
        .filter(|part| part.kind == PartKind::Directory)
        .flat_map(|part| part.files.clone())
        .collect();
    for is_wanted in wanted {
        let mut reader = RowReader::new(from, &files, RowColumn::Rows);
        let mut frames = BytesMut::new();
        while let Some(row) = reader.next_row()? {
            let read = portable::read(&row.key, &row.value)?;
            if is_wanted(&read) {
                if let Portable::Account(id, account) = &read
                    && account.life() == Life::Deleted
                {
                    deleted.insert(id.0);
                }
                row.encode_into(&mut frames)?;
                if frames.len() >= DIRECTORY_BYTES {
                    send_directory(client, frames.split().freeze(), progress).await?;
                }
            }
        }
        send_directory(client, frames.freeze(), progress).await?;
    }
    Ok(deleted)
}

async fn send_directory(
    client: &mut BackupClient,
    frames: Bytes,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    progress.add(frames.len());
    let pieces: Vec<RowsPiece> = pieces(frames).map(|frames| RowsPiece { frames }).collect();
    if pieces.is_empty() {
        return Ok(());
    }
    let mut retry = Retry::new(PATIENCE);
    loop {
        match client.restore_directory(tokio_stream::iter(pieces.clone())).await {
            Ok(_) => return Ok(()),
            Err(status) => {
                let what = || "cannot restore the directory of the backup".to_owned();
                retry.pause_or(status.into(), what).await?;
            }
        }
    }
}

/// Frames cut into what one message of a stream holds.
fn pieces(mut frames: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let bytes = frames.len().min(PIECE_BYTES);
        (bytes > 0).then(|| frames.split_to(bytes))
    })
}

fn report(manifest: &Manifest, summary: &Summary, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return output::json(&json!({
            "backup_id": manifest.backup_id, "accounts": summary.accounts, "hand_offs": summary.hand_offs,
            "without_mail": summary.without_mail, "unknown_accounts": summary.unknown_accounts,
            "unknown_hand_offs": summary.unknown_hand_offs,
        }));
    }
    let mut said = format!("{} accounts restored", summary.accounts);
    if summary.without_mail > 0 {
        said += &format!(
            ", and {} that were made while the backup ran, without mail",
            summary.without_mail
        );
    }
    if !summary.unknown_accounts.is_empty() {
        said += &format!(
            "; left out, since they were deleted for ever while the backup ran: {:?}",
            summary.unknown_accounts
        );
    }
    if summary.hand_offs + summary.unknown_hand_offs > 0 {
        said += &format!(
            "; {} messages that wait for delivery restored, {} to deleted accounts left out",
            summary.hand_offs, summary.unknown_hand_offs
        );
    }
    output::done(false, &said)
}
