//! One shard of a backup: its accounts' rows under the numbers of the shards that they have now, bodies before the messages
//! that refer to them.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rookery_mailstore::schema::named::{self, Named};
use rookery_mailstore::schema::{
    AccountId, AccountRecord, AccountState, BodyHash, BodyLocation, BodyRecord, DecodeError, Garbage,
    HandOffRecord, MessageNumber, MessageRecord, ShardId, UploadId, Value, keys,
};
use rookery_proto::rows::{Row, RowColumn};

use super::Summary;
use super::outgoing::{Outgoing, Place};
use crate::backup::check::shard::HandOffKey;
use crate::backup::files::RowReader;
use crate::backup::manifest::{FileEntry, Part, PartKind};
use crate::backup::progress::Progress;

/// One part of the backup.
pub(super) struct Restore {
    folder: PathBuf,
    files: Vec<FileEntry>,
    kind: PartKind,
    shard: u32,
}

/// What is to be known of a part before its rows go anywhere.
#[derive(Default)]
struct Overview {
    /// Accounts that are served here, ascending.
    accounts: Vec<u64>,
    /// References that messages have lost without its being counted yet.
    dropped: HashMap<(AccountId, MessageNumber), i64>,
    /// Bodies whose chunks are an upload's.
    uploads: HashMap<(AccountId, UploadId), BodyHash>,
    /// Hand-offs that were delivered to accounts of this shard.
    delivered: Vec<HandOffKey>,
}

/// Which shards of the cluster need a body: ascending, each pair once.
type BodyTargets = Vec<(BodyHash, u32)>;

impl Restore {
    pub(super) fn new(folder: &Path, part: &Part) -> Self {
        Self {
            folder: folder.to_owned(),
            files: part.files.clone(),
            kind: part.kind,
            shard: part.shard.unwrap_or(0),
        }
    }

    fn reader(&self, column: RowColumn) -> RowReader {
        RowReader::new(&self.folder, &self.files, column)
    }

    /// Restores the accounts of a shard.
    pub(super) async fn run(
        &self,
        outgoing: &mut Outgoing,
        waiting: &HashSet<HandOffKey>,
        delivered: &mut HashSet<HandOffKey>,
        summary: &mut Summary,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        let mut overview = self.overview(waiting)?;
        delivered.extend(overview.delivered.drain(..));
        let places = outgoing.places(Some(self.shard), &overview.accounts).await?;
        let mut targets: HashMap<AccountId, u32> = HashMap::new();
        for (id, place) in overview.accounts.iter().zip(places) {
            match place {
                Place::Unknown => summary.unknown_accounts.push(*id),
                Place::Awaited(shard) => drop(targets.insert(AccountId(*id), shard)),
                Place::Done(_) => summary.restored(*id),
            }
        }
        let gone = self.gone_messages(&overview)?;
        let bodies = self.body_targets(&targets, &gone)?;
        self.send_bodies(&bodies, &overview.uploads, outgoing, progress)
            .await?;
        self.send_rows(&targets, &gone, outgoing, progress).await?;
        self.send_references(&targets, &overview, &gone, outgoing).await?;
        outgoing.flush_all().await?;
        let mut finished: Vec<u64> = targets.into_keys().map(|account| account.0).collect();
        finished.sort_unstable();
        for account in &finished {
            summary.restored(*account);
        }
        outgoing.finish(&finished).await
    }

    fn overview(&self, waiting: &HashSet<HandOffKey>) -> anyhow::Result<Overview> {
        let mut overview = Overview::default();
        let mut reader = self.reader(RowColumn::Rows);
        while let Some(row) = reader.next_row()? {
            match name(&row)? {
                Named::Account(account) => {
                    let record = AccountRecord::decode(&row.value)?;
                    if matches!(record.state, AccountState::Live | AccountState::Frozen) {
                        overview.accounts.push(account.0);
                    }
                }
                Named::Garbage(account) => {
                    // An account that is gone as a whole is not restored.
                    if let Garbage::Messages(numbers) = Garbage::decode(&row.value)? {
                        for number in numbers {
                            *overview.dropped.entry((account, number)).or_default() += 1;
                        }
                    }
                }
                Named::Body(hash) => {
                    if let BodyLocation::Upload(account, upload) = BodyRecord::decode(&row.value)?.location {
                        overview.uploads.insert((account, upload), hash);
                    }
                }
                Named::Reply {
                    account,
                    session,
                    number: 0,
                } if waiting.contains(&(account, session)) => overview.delivered.push((account, session)),
                _ => {}
            }
        }
        Ok(overview)
    }

    /// Messages that no mailbox has any more.
    fn gone_messages(&self, overview: &Overview) -> anyhow::Result<HashSet<(AccountId, MessageNumber)>> {
        if overview.dropped.is_empty() {
            return Ok(HashSet::new());
        }
        let mut left: HashMap<_, i64> = overview
            .dropped
            .iter()
            .map(|(message, dropped)| (*message, 1 - dropped))
            .collect();
        let mut reader = self.reader(RowColumn::Counters);
        while let Some(row) = reader.next_row()? {
            if let Named::Message(account, number) = name(&row)?
                && let Some(left) = left.get_mut(&(account, number))
            {
                *left += named::counter_value(&row.value)?;
            }
        }
        Ok(left
            .into_iter()
            .filter(|(_, left)| *left <= 0)
            .map(|(message, _)| message)
            .collect())
    }

    fn body_targets(
        &self,
        targets: &HashMap<AccountId, u32>,
        gone: &HashSet<(AccountId, MessageNumber)>,
    ) -> anyhow::Result<BodyTargets> {
        let mut bodies = BodyTargets::new();
        let mut reader = self.reader(RowColumn::Rows);
        while let Some(row) = reader.next_row()? {
            if let Named::Message(account, number) = name(&row)?
                && let Some(shard) = targets.get(&account)
                && !gone.contains(&(account, number))
            {
                bodies.push((MessageRecord::decode(&row.value)?.body, *shard));
            }
        }
        bodies.sort_unstable();
        bodies.dedup();
        Ok(bodies)
    }

    /// Sends the chunks of bodies, all under the bodies' own keys.
    async fn send_bodies(
        &self,
        bodies: &BodyTargets,
        uploads: &HashMap<(AccountId, UploadId), BodyHash>,
        outgoing: &mut Outgoing,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        if bodies.is_empty() {
            return Ok(());
        }
        let mut reader = self.reader(RowColumn::Bodies);
        while let Some(row) = reader.next_row()? {
            let (hash, chunk) = match name(&row)? {
                Named::BodyChunk(hash, chunk) => (hash, chunk),
                Named::UploadChunk(account, upload, chunk) => match uploads.get(&(account, upload)) {
                    Some(hash) => (*hash, chunk),
                    None => continue,
                },
                _ => continue,
            };
            let first = bodies.partition_point(|(other, _)| *other < hash);
            for (_, shard) in bodies.iter().skip(first).take_while(|(other, _)| *other == hash) {
                progress.add(row.value.len());
                let moved = Row {
                    key: keys::body_chunk(ShardId(*shard), &hash, chunk),
                    ..row.clone()
                };
                outgoing.add(*shard, &moved).await?;
            }
        }
        Ok(())
    }

    /// Sends the accounts' rows but their records, which the cluster makes when all is there.
    async fn send_rows(
        &self,
        targets: &HashMap<AccountId, u32>,
        gone: &HashSet<(AccountId, MessageNumber)>,
        outgoing: &mut Outgoing,
        progress: &mut Progress,
    ) -> anyhow::Result<()> {
        let mut reader = self.reader(RowColumn::Rows);
        while let Some(row) = reader.next_row()? {
            let named = name(&row)?;
            let shard = match named.account().and_then(|account| targets.get(&account)) {
                Some(shard) => *shard,
                None => continue,
            };
            let is_sent = match named {
                Named::Message(account, number) => !gone.contains(&(account, number)),
                // Uploads that are used are their bodies now; others are sent again by whoever sent them.
                Named::Account(_)
                | Named::Garbage(_)
                | Named::Upload(..)
                | Named::Touched(_)
                | Named::Arriving(..) => false,
                _ => true,
            };
            if is_sent {
                progress.add(row.value.len());
                let moved = Row {
                    key: named::in_shard(ShardId(shard), &row.key),
                    ..row
                };
                outgoing.add(shard, &moved).await?;
            }
        }
        Ok(())
    }

    /// Sends the references of messages beyond the first, without those that were dropped.
    async fn send_references(
        &self,
        targets: &HashMap<AccountId, u32>,
        overview: &Overview,
        gone: &HashSet<(AccountId, MessageNumber)>,
        outgoing: &mut Outgoing,
    ) -> anyhow::Result<()> {
        let mut reader = self.reader(RowColumn::Counters);
        while let Some(row) = reader.next_row()? {
            let Named::Message(account, number) = name(&row)? else {
                continue;
            };
            let Some(shard) = targets
                .get(&account)
                .filter(|_| !gone.contains(&(account, number)))
            else {
                continue;
            };
            let dropped = overview.dropped.get(&(account, number)).copied().unwrap_or(0);
            let references = named::counter_value(&row.value)? - dropped;
            if references > 0 {
                let moved = Row {
                    column: RowColumn::Counters,
                    key: named::in_shard(ShardId(*shard), &row.key),
                    value: Bytes::copy_from_slice(&references.to_le_bytes()),
                };
                outgoing.add(*shard, &moved).await?;
            }
        }
        Ok(())
    }

    /// Restores the hand-offs of a part that still wait, to the shards of the accounts that they are for.
    pub(super) async fn hand_offs(
        &self,
        outgoing: &mut Outgoing,
        waiting: &HashSet<HandOffKey>,
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        let mut rows = Vec::new();
        let mut reader = self.reader(RowColumn::Rows);
        while let Some(row) = reader.next_row()? {
            if let Named::HandOff(_) = name(&row)? {
                let record = HandOffRecord::decode(&row.value)?;
                if waiting.contains(&(record.account, record.transaction)) {
                    rows.push((row, record));
                }
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let uploads = match self.kind {
            PartKind::Shard => self.overview(&HashSet::new())?.uploads,
            _ => HashMap::new(),
        };
        let ids: Vec<u64> = rows.iter().map(|(_, record)| record.account.0).collect();
        let places = outgoing.places(None, &ids).await?;
        let mut bodies = BodyTargets::new();
        let mut placed = Vec::with_capacity(rows.len());
        for ((row, record), place) in rows.into_iter().zip(places) {
            match place {
                Place::Awaited(shard) | Place::Done(shard) => {
                    bodies.push((record.body, shard));
                    placed.push((row, shard));
                }
                Place::Unknown => summary.unknown_hand_offs += 1,
            }
        }
        bodies.sort_unstable();
        bodies.dedup();
        let mut progress = Progress::new("restore", 0);
        self.send_bodies(&bodies, &uploads, outgoing, &mut progress)
            .await?;
        for (row, shard) in placed {
            // In the hand-offs and in their shard alike: the second changes nothing.
            if self.kind == PartKind::HandOffs {
                summary.hand_offs += 1;
            }
            let moved = Row {
                key: named::in_shard(ShardId(shard), &row.key),
                ..row
            };
            outgoing.add(shard, &moved).await?;
        }
        outgoing.flush_all().await
    }
}

fn name(row: &Row) -> Result<Named, DecodeError> {
    named::named(row.column, &row.key)
        .map(|(_, named)| named)
        .ok_or(DecodeError::Damaged("key"))
}
