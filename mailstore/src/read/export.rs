//! The rows of a shard at one moment, as frames for a backup.
//!
//! A cursor that gives a bounded piece at each step, so that a slow caller costs a snapshot and no memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rookery_proto::Status;
use rookery_proto::rows::{FrameError, RowColumn, encode_frame};
use rookery_replication::Column;

use super::SharedView;
use crate::schema::body::chunk_count;
use crate::schema::keys::{self, Kind};
use crate::schema::named::{self, Named};
use crate::schema::read::ReadError;
use crate::schema::{AccountId, BodyHash, BodyLocation, HandOffRecord, Reader, ShardId, Value};

/// Bytes of one piece.
const PIECE_BYTES: usize = 64 * 1024;

/// Bytes that one step reads, unless one row alone has more.
const STEP_BYTES: usize = 512 * 1024;

/// What is still to be given.
enum Rest {
    /// A column from a key on, then the columns after it.
    Columns {
        column: usize,
        from: Bytes,
    },
    /// Hand-offs from a key on; the bodies that they name.
    HandOffs {
        from: Bytes,
        bodies: BTreeSet<BodyHash>,
    },
    /// Chunks of bodies, of the first from this one on.
    Bodies {
        bodies: BTreeSet<BodyHash>,
        chunk: u32,
    },
    Nothing,
}

/// Gives the rows of a shard.
pub struct ExportCursor {
    view: SharedView,
    shard: ShardId,
    rest: Rest,
    /// The body whose chunks are being read, and whether they are its own.
    body: Option<(BodyHash, bool)>,
    pending: BytesMut,
}

impl ExportCursor {
    /// All rows of the shard, but chunks of bodies that have come without a message.
    pub fn all(view: SharedView, shard: ShardId) -> Self {
        let (from, _) = keys::shard_range(shard);
        Self::new(view, shard, Rest::Columns { column: 0, from })
    }

    /// The shard's hand-offs, then the chunks of their bodies under the bodies' own keys.
    pub fn hand_offs(view: SharedView, shard: ShardId) -> Self {
        let (from, _) = keys::kind_range(shard, Kind::HandOff);
        let bodies = BTreeSet::new();
        Self::new(view, shard, Rest::HandOffs { from, bodies })
    }

    fn new(view: SharedView, shard: ShardId, rest: Rest) -> Self {
        Self {
            view,
            shard,
            rest,
            body: None,
            pending: BytesMut::new(),
        }
    }

    /// The next piece, at most [`PIECE_BYTES`]; `None` at the end.
    pub fn next_piece(&mut self) -> Result<Option<Bytes>, Status> {
        while self.pending.is_empty() {
            match std::mem::replace(&mut self.rest, Rest::Nothing) {
                Rest::Columns { column, from } => self.step_columns(column, from)?,
                Rest::HandOffs { from, bodies } => self.step_hand_offs(&from, bodies)?,
                Rest::Bodies { bodies, chunk } => self.step_bodies(bodies, chunk)?,
                Rest::Nothing => return Ok(None),
            }
        }
        let bytes = self.pending.len().min(PIECE_BYTES);
        Ok(Some(self.pending.split_to(bytes).freeze()))
    }

    fn step_columns(&mut self, index: usize, from: Bytes) -> Result<(), Status> {
        let Some(column) = RowColumn::ALL.get(index).copied() else {
            return Ok(());
        };
        let (start, to) = keys::shard_range(self.shard);
        let view = Arc::clone(&self.view);
        let reader = Reader::new(&*view, self.shard, AccountId(0));
        let mut body = self.body.take();
        let next = self.scan(column, &from, &to, |key, _| {
            let Some((_, Named::BodyChunk(hash, _))) = named::named(column, key) else {
                return Ok(true);
            };
            let (_, is_owned) = match body.filter(|(known, _)| *known == hash) {
                Some(known) => known,
                None => *body.insert((hash, owns_chunks(&reader, &hash)?)),
            };
            Ok(is_owned)
        })?;
        self.body = body;
        self.rest = match next {
            Some(from) => Rest::Columns { column: index, from },
            None => Rest::Columns {
                column: index + 1,
                from: start,
            },
        };
        Ok(())
    }

    fn step_hand_offs(&mut self, from: &[u8], mut bodies: BTreeSet<BodyHash>) -> Result<(), Status> {
        let (_, to) = keys::kind_range(self.shard, Kind::HandOff);
        let next = self.scan(RowColumn::Rows, from, &to, |_, value| {
            let record = HandOffRecord::decode(value)
                .map_err(|error| Status::internal(format!("a hand-off is unreadable: {error}")))?;
            bodies.insert(record.body);
            Ok(true)
        })?;
        self.rest = match next {
            Some(from) => Rest::HandOffs { from, bodies },
            None => Rest::Bodies { bodies, chunk: 0 },
        };
        Ok(())
    }

    fn step_bodies(&mut self, mut bodies: BTreeSet<BodyHash>, mut chunk: u32) -> Result<(), Status> {
        let Some(hash) = bodies.first().copied() else {
            return Ok(());
        };
        let reader = Reader::new(&*self.view, self.shard, AccountId(0));
        let missing = || {
            Status::internal(format!(
                "the body {hash:?} of a hand-off in shard {} is missing",
                self.shard
            ))
        };
        let record = reader.body(&hash)?.ok_or_else(missing)?;
        while u64::from(chunk) < chunk_count(hash.size) && self.pending.len() < STEP_BYTES {
            let stored = reader
                .body_chunk(&hash, record.location, chunk)?
                .ok_or_else(missing)?;
            let key = keys::body_chunk(self.shard, &hash, chunk);
            encode_frame(RowColumn::Bodies, &key, &stored, &mut self.pending).map_err(too_large)?;
            chunk += 1;
        }
        if u64::from(chunk) == chunk_count(hash.size) {
            bodies.pop_first();
            chunk = 0;
        }
        self.rest = Rest::Bodies { bodies, chunk };
        Ok(())
    }

    /// Adds the rows from a key on that are wanted. Where to go on, or `None` when these were the last.
    fn scan(
        &mut self,
        column: RowColumn,
        from: &[u8],
        to: &[u8],
        mut is_wanted: impl FnMut(&[u8], &[u8]) -> Result<bool, Status>,
    ) -> Result<Option<Bytes>, Status> {
        let pending = &mut self.pending;
        let (mut failed, mut next, mut read) = (None, None, 0);
        let scanned = self.view.scan(store_column(column), from, to, &mut |key, value| {
            read += key.len() + value.len();
            let added = is_wanted(key, value).and_then(|is_wanted| match is_wanted {
                true => encode_frame(column, key, value, pending).map_err(too_large),
                false => Ok(()),
            });
            if let Err(status) = added {
                failed = Some(status);
                return false;
            }
            if read < STEP_BYTES {
                return true;
            }
            // The key right after this one.
            let mut after = BytesMut::from(key);
            after.extend_from_slice(&[0]);
            next = Some(after.freeze());
            false
        });
        scanned.map_err(crate::schema::unread)?;
        failed.map_or(Ok(next), Err)
    }
}

/// Whether a body's record says that it owns its chunks. What cannot be read of one is for who reads the backup to say.
fn owns_chunks(reader: &Reader<'_>, hash: &BodyHash) -> Result<bool, Status> {
    match reader.body(hash) {
        Ok(record) => Ok(record.is_some_and(|record| record.location == BodyLocation::Own)),
        Err(ReadError::Value { .. }) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn too_large(error: FrameError) -> Status {
    Status::internal(format!("a row cannot be exported: {error}"))
}

fn store_column(column: RowColumn) -> Column {
    match column {
        RowColumn::Rows => Column::Rows,
        RowColumn::Bodies => Column::Bodies,
        RowColumn::Counters => Column::Counters,
    }
}

#[cfg(test)]
mod tests {
    use rookery_proto::rows::{Row, RowDecoder};
    use rookery_replication::{Batch, MemoryStore};

    use super::*;
    use crate::schema::body::{BODY_CHUNK_BYTES, encode_chunk};
    use crate::schema::{BodyRecord, MessageNumber, UploadId};

    const SHARD: ShardId = ShardId(3);

    fn all_of(mut cursor: ExportCursor) -> Vec<Row> {
        let mut decoder = RowDecoder::default();
        let mut rows = Vec::new();
        while let Some(piece) = cursor.next_piece().unwrap() {
            assert!(!piece.is_empty() && piece.len() <= PIECE_BYTES);
            decoder.push(&piece);
            while let Some(row) = decoder.next_row().unwrap() {
                rows.push(row);
            }
        }
        decoder.finish().unwrap();
        rows
    }

    #[test]
    fn every_row_of_the_shard_and_no_other_comes_in_order() {
        let mut store = MemoryStore::new();
        let mut batch = Batch::new();
        let mut expected = Vec::new();
        for account in 0..500u64 {
            let key = keys::account(SHARD, AccountId(account));
            let value = Bytes::from(vec![7u8; account as usize * 20]);
            batch.put(Column::Rows, key.clone(), value.clone());
            expected.push(Row {
                column: RowColumn::Rows,
                key,
                value,
            });
        }
        for shard in [2, 4] {
            batch.put(Column::Rows, keys::account(ShardId(shard), AccountId(1)), "no");
        }
        // Chunks came, and no message did.
        batch.put(
            Column::Bodies,
            keys::body_chunk(SHARD, &BodyHash::of(b"y"), 0),
            "no",
        );
        let hash = BodyHash::of(b"x");
        let location = BodyLocation::Own;
        let record = Row {
            column: RowColumn::Rows,
            key: keys::body(SHARD, &hash),
            value: BodyRecord { location }.encode(),
        };
        batch.put(Column::Rows, record.key.clone(), record.value.clone());
        expected.push(record);
        let key = keys::body_chunk(SHARD, &hash, 0);
        // Larger than a step.
        let value = Bytes::from(vec![1u8; 2 * STEP_BYTES]);
        batch.put(Column::Bodies, key.clone(), value.clone());
        expected.push(Row {
            column: RowColumn::Bodies,
            key,
            value,
        });
        let key = keys::message(SHARD, AccountId(1), MessageNumber(1));
        batch.add(key.clone(), 5);
        expected.push(Row {
            column: RowColumn::Counters,
            key,
            value: Bytes::copy_from_slice(&5i64.to_le_bytes()),
        });
        store.apply(&batch);
        assert_eq!(all_of(ExportCursor::all(Arc::new(store), SHARD)), expected);
    }

    #[test]
    fn hand_offs_bring_their_bodies_once_under_their_own_keys() {
        let mut store = MemoryStore::new();
        let mut batch = Batch::new();
        let text = vec![b'x'; BODY_CHUNK_BYTES + 1];
        let hash = BodyHash::of(&text);
        let (account, upload) = (AccountId(5), UploadId([1; 16]));
        let location = BodyLocation::Upload(account, upload);
        batch.put(
            Column::Rows,
            keys::body(SHARD, &hash),
            BodyRecord { location }.encode(),
        );
        let chunks: Vec<Bytes> = text.chunks(BODY_CHUNK_BYTES).map(encode_chunk).collect();
        for (index, chunk) in (0..).zip(&chunks) {
            batch.put(
                Column::Bodies,
                keys::upload_chunk(SHARD, account, upload, index),
                chunk.clone(),
            );
        }
        batch.put(Column::Rows, keys::account(SHARD, account), "not a hand-off");
        for number in 1..=2u64 {
            let record = HandOffRecord {
                transaction: [9; 16],
                sender: String::new(),
                address: format!("user{number}@example.test"),
                prefix: Bytes::new(),
                account: AccountId(number),
                body: hash,
                issued_at_millis: 1,
                due_millis: 1,
                attempts: 0,
            };
            batch.put(Column::Rows, keys::hand_off(SHARD, &record.id()), record.encode());
        }
        store.apply(&batch);
        let rows = all_of(ExportCursor::hand_offs(Arc::new(store), SHARD));
        let columns: Vec<_> = rows.iter().map(|row| row.column).collect();
        assert_eq!(
            columns,
            [
                RowColumn::Rows,
                RowColumn::Rows,
                RowColumn::Bodies,
                RowColumn::Bodies
            ]
        );
        for (index, row) in (0..).zip(&rows[2..]) {
            assert_eq!(row.key, keys::body_chunk(SHARD, &hash, index));
            assert_eq!(row.value, chunks[index as usize]);
        }
    }
}
