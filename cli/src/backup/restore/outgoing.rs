//! Rows on their way to the shards of the cluster: gathered for each, in order, within a bound for all.

use std::collections::BTreeMap;

use bytes::BytesMut;
use rookery_proto::admin::v1::account_place::State;
use rookery_proto::admin::v1::{FinishAccountsRequest, PlaceAccountsRequest, RestoreRowsRequest};
use rookery_proto::rows::Row;

use super::{PATIENCE, pieces};
use crate::operate::BackupClient;
use crate::operate::retry::Retry;

/// Bytes for one shard that are sent together.
const SHARD_BYTES: usize = 1024 * 1024;

/// Bytes for all shards that wait.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Accounts that are asked for in one call.
const PLACES: usize = 10_000;

/// Accounts that are finished in one call.
const FINISHED: usize = 500;

/// Where an account is in its restore, and its shard in this cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Unknown,
    Awaited(u32),
    Done(u32),
}

/// The way to the cluster.
pub(super) struct Outgoing {
    client: BackupClient,
    backup_id: String,
    waiting: BTreeMap<u32, BytesMut>,
    waiting_bytes: usize,
}

impl Outgoing {
    pub(super) fn new(client: BackupClient, backup_id: String) -> Self {
        Self {
            client,
            backup_id,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
        }
    }

    /// Adds a row for a shard, and sends what has gathered when that is enough.
    pub(super) async fn add(&mut self, shard: u32, row: &Row) -> anyhow::Result<()> {
        let frames = self.waiting.entry(shard).or_default();
        let before = frames.len();
        row.encode_into(frames)?;
        let bytes = frames.len();
        self.waiting_bytes += bytes - before;
        if bytes >= SHARD_BYTES {
            self.flush(shard).await?;
        }
        while self.waiting_bytes >= WAITING_BYTES_MAX {
            let largest = self.waiting.iter().max_by_key(|(_, frames)| frames.len());
            let Some(largest) = largest.map(|(shard, _)| *shard) else {
                break;
            };
            self.flush(largest).await?;
        }
        Ok(())
    }

    /// Sends all that waits; then all of it is durable.
    pub(super) async fn flush_all(&mut self) -> anyhow::Result<()> {
        while let Some(shard) = self.waiting.keys().next().copied() {
            self.flush(shard).await?;
        }
        Ok(())
    }

    async fn flush(&mut self, shard: u32) -> anyhow::Result<()> {
        let Some(frames) = self.waiting.remove(&shard) else {
            return Ok(());
        };
        self.waiting_bytes -= frames.len();
        let messages: Vec<RestoreRowsRequest> = pieces(frames.freeze())
            .enumerate()
            .map(|(index, frames)| RestoreRowsRequest {
                backup_id: if index == 0 {
                    self.backup_id.clone()
                } else {
                    String::new()
                },
                shard: if index == 0 { shard } else { 0 },
                frames,
            })
            .collect();
        let mut retry = Retry::new(PATIENCE);
        loop {
            match self
                .client
                .restore_rows(tokio_stream::iter(messages.clone()))
                .await
            {
                Ok(_) => return Ok(()),
                Err(status) => {
                    let what = || format!("cannot write to shard {shard} of the cluster");
                    retry.pause_or(status.into(), what).await?;
                }
            }
        }
    }

    /// Where accounts go that were found in a shard of the backup, or anywhere in it.
    pub(super) async fn places(&mut self, shard: Option<u32>, ids: &[u64]) -> anyhow::Result<Vec<Place>> {
        let mut places = Vec::with_capacity(ids.len());
        for page in ids.chunks(PLACES) {
            let request = PlaceAccountsRequest {
                backup_id: self.backup_id.clone(),
                shard,
                accounts: page.to_vec(),
            };
            let mut retry = Retry::new(PATIENCE);
            let answered = loop {
                match self.client.place_accounts(request.clone()).await {
                    Ok(placed) => break placed.into_inner().places,
                    Err(status) => {
                        let what = || "cannot ask where accounts go".to_owned();
                        retry.pause_or(status.into(), what).await?;
                    }
                }
            };
            anyhow::ensure!(
                answered.len() == page.len(),
                "the directory placed another number of accounts than it was asked for"
            );
            places.extend(answered.into_iter().map(|place| match place.state() {
                State::Awaited => Place::Awaited(place.shard),
                State::Done => Place::Done(place.shard),
                State::Unknown | State::Unspecified => Place::Unknown,
            }));
        }
        Ok(places)
    }

    /// Makes accounts live whose rows are all durable.
    pub(super) async fn finish(&mut self, ids: &[u64]) -> anyhow::Result<()> {
        for page in ids.chunks(FINISHED) {
            let request = FinishAccountsRequest {
                backup_id: self.backup_id.clone(),
                accounts: page.to_vec(),
            };
            let mut retry = Retry::new(PATIENCE);
            loop {
                match self.client.finish_accounts(request.clone()).await {
                    Ok(_) => break,
                    Err(status) => {
                        let what = || "cannot make restored accounts live".to_owned();
                        retry.pause_or(status.into(), what).await?;
                    }
                }
            }
        }
        Ok(())
    }
}
