//! The rows of an account that leaves a shard, at one moment: all of them, or those that were touched since a note.
//!
//! A message comes behind the chunks of its body, under the body's own key whatever holds them here. What has gone comes as
//! a key without a value; messages that have gone come in pieces of their own. Memory is bounded by a piece.

use std::collections::{BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use rookery_proto::mailstore::v1::{MovedRow, MovedRows};
use rookery_proto::{Reason, Status};
use rookery_replication::Column;

use super::SharedView;
use crate::schema::body::chunk_count;
use crate::schema::{
    AccountId, BodyHash, MessageRecord, Reader, ShardId, Touched, TouchedKey, Value, keys, unread,
};

/// Bytes of one piece, unless one row alone has more.
const PIECE_BYTES: usize = 512 * 1024;

/// Messages that one step reads.
const STEP_MESSAGES: usize = 64;

/// Keys that one step takes from the notes, unless one note alone has more.
const STEP_KEYS: usize = 1_000;

/// What each row costs of a piece beside its bytes.
const ROW_BYTES: usize = 32;

/// Where to read on.
enum Rest {
    /// Messages from a key on.
    Messages(Bytes),
    /// Rows of a carried range from a key on.
    Rows(usize, Bytes),
    /// Notes from this one on.
    Notes(u64),
    End,
}

/// What comes next.
enum Next {
    Row(MovedRow),
    /// Chunks of a body from this one on.
    Body(BodyHash, u32),
}

/// Gives the rows of an account that leaves.
pub struct MovedCursor {
    view: SharedView,
    shard: ShardId,
    account: AccountId,
    rest: Rest,
    /// Notes from this one on are not in it.
    notes: u64,
    queue: VecDeque<Next>,
}

impl MovedCursor {
    /// All rows, or those that have changed since a note. FAILED_PRECONDITION when the account does not leave by the move.
    pub fn new(
        view: SharedView,
        shard: ShardId,
        account: AccountId,
        generation: u64,
        since: Option<u64>,
    ) -> Result<Self, Status> {
        let leaving = Reader::new(&*view, shard, account).leaving()?;
        let leaving = leaving.of(account).filter(|one| one.generation == generation);
        let Some(notes) = leaving.map(|one| one.next) else {
            let message = format!("account {account} is not leaving shard {shard} by this move");
            return Err(Status::new(Reason::FailedPrecondition, message));
        };
        let rest = match since {
            Some(since) => Rest::Notes(since),
            None => Rest::Messages(keys::messages(shard, account).0),
        };
        Ok(Self {
            view,
            shard,
            account,
            rest,
            notes,
            queue: VecDeque::new(),
        })
    }

    /// The next piece; `next` is set in the last.
    pub fn next_piece(&mut self) -> Result<MovedRows, Status> {
        let mut piece = MovedRows::default();
        let mut bytes = 0;
        let mut is_of_gone_messages = None;
        loop {
            let Some(next) = self.queue.pop_front() else {
                if matches!(self.rest, Rest::End) {
                    piece.next = Some(self.notes);
                    return Ok(piece);
                }
                self.step()?;
                continue;
            };
            match next {
                Next::Body(hash, chunk) if u64::from(chunk) < chunk_count(hash.size) => {
                    if is_of_gone_messages == Some(true) || bytes >= PIECE_BYTES {
                        self.queue.push_front(Next::Body(hash, chunk));
                        return Ok(piece);
                    }
                    is_of_gone_messages = Some(false);
                    let row = self.chunk(&hash, chunk)?;
                    bytes += size(&row);
                    piece.rows.push(row);
                    self.queue.push_front(Next::Body(hash, chunk + 1));
                }
                Next::Body(..) => {}
                Next::Row(row) => {
                    let is_gone = row.value.is_none() && row.column == 0 && self.is_message(&row.key);
                    let fits = bytes == 0 || bytes + size(&row) <= PIECE_BYTES;
                    if is_of_gone_messages.is_some_and(|before| before != is_gone) || !fits {
                        self.queue.push_front(Next::Row(row));
                        return Ok(piece);
                    }
                    is_of_gone_messages = Some(is_gone);
                    bytes += size(&row);
                    piece.rows.push(row);
                }
            }
        }
    }

    fn reader(&self) -> Reader<'_> {
        Reader::new(&*self.view, self.shard, self.account)
    }

    fn is_message(&self, rest: &[u8]) -> bool {
        keys::is_message(&keys::with_shard(self.shard, rest))
    }

    fn step(&mut self) -> Result<(), Status> {
        self.rest = match std::mem::replace(&mut self.rest, Rest::End) {
            Rest::Messages(from) => self.step_messages(&from)?,
            Rest::Rows(index, from) => self.step_rows(index, &from)?,
            Rest::Notes(from) => self.step_notes(from)?,
            Rest::End => Rest::End,
        };
        Ok(())
    }

    fn step_messages(&mut self, from: &[u8]) -> Result<Rest, Status> {
        let (_, to) = keys::messages(self.shard, self.account);
        let mut found = Vec::new();
        let scanned = self.view.scan(Column::Rows, from, &to, &mut |key, value| {
            found.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            found.len() < STEP_MESSAGES
        });
        scanned.map_err(unread)?;
        let is_last = found.len() < STEP_MESSAGES;
        let next = found.last().map(|(key, _)| after(key));
        for (key, value) in found {
            self.push_message(&key, value)?;
            self.push_counter(&key, false)?;
        }
        Ok(match next.filter(|_| !is_last) {
            Some(next) => Rest::Messages(next),
            None => self.first_of(0),
        })
    }

    fn first_of(&self, index: usize) -> Rest {
        match keys::carried_ranges(self.shard, self.account)
            .into_iter()
            .nth(index)
        {
            Some((from, _)) => Rest::Rows(index, from),
            None => Rest::End,
        }
    }

    fn step_rows(&mut self, index: usize, from: &[u8]) -> Result<Rest, Status> {
        let Some((_, to)) = keys::carried_ranges(self.shard, self.account)
            .into_iter()
            .nth(index)
        else {
            return Ok(Rest::End);
        };
        let mut bytes = 0;
        let mut next = None;
        let queue = &mut self.queue;
        let scanned = self.view.scan(Column::Rows, from, &to, &mut |key, value| {
            let row = put(0, &Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            bytes += size(&row);
            queue.push_back(Next::Row(row));
            if bytes >= PIECE_BYTES {
                next = Some(after(key));
            }
            next.is_none()
        });
        scanned.map_err(unread)?;
        Ok(match next {
            Some(next) => Rest::Rows(index, next),
            None => self.first_of(index + 1),
        })
    }

    fn step_notes(&mut self, from: u64) -> Result<Rest, Status> {
        let (first, to) = keys::touched_from(self.shard, self.account, from);
        let mut touched = BTreeSet::new();
        let mut next = None;
        let mut damaged = None;
        let scanned = self.view.scan(Column::Rows, &first, &to, &mut |key, value| {
            match Touched::decode(value) {
                Ok(note) => touched.extend(note.0),
                Err(error) => damaged = Some(error),
            }
            if touched.len() >= STEP_KEYS {
                next = keys::touched_of(key).map(|note| note + 1);
            }
            next.is_none() && damaged.is_none()
        });
        scanned.map_err(unread)?;
        if let Some(error) = damaged {
            let message = format!("a note of account {} is unreadable: {error}", self.account);
            return Err(Status::internal(message));
        }
        // What has gone comes last: a body that goes from one message to another is not stored anew.
        let mut gone = Vec::new();
        for key in touched {
            match key {
                TouchedKey::Range(from, to) => self.push_range(from, to)?,
                TouchedKey::Counter(rest) => self.push_counter(&keys::with_shard(self.shard, &rest), true)?,
                TouchedKey::Row(rest) => {
                    let key = keys::with_shard(self.shard, &rest);
                    match self.view.get(Column::Rows, &key).map_err(unread)? {
                        Some(value) if keys::is_message(&key) => self.push_message(&key, value)?,
                        Some(value) => self.queue.push_back(Next::Row(put(0, &key, value))),
                        None => gone.push(Next::Row(MovedRow {
                            key: rest,
                            ..MovedRow::default()
                        })),
                    }
                }
            }
        }
        // Messages after the others: the two are not in one piece.
        gone.sort_by_key(|next| matches!(next, Next::Row(row) if self.is_message(&row.key)));
        self.queue.extend(gone);
        Ok(next.map_or(Rest::End, Rest::Notes))
    }

    fn push_range(&mut self, from: Bytes, until: Bytes) -> Result<(), Status> {
        let first = keys::with_shard(self.shard, &from);
        let last = keys::with_shard(self.shard, &until);
        self.queue.push_back(Next::Row(MovedRow {
            key: from,
            until,
            ..MovedRow::default()
        }));
        // What has come into it again.
        let queue = &mut self.queue;
        let scanned = self.view.scan(Column::Rows, &first, &last, &mut |key, value| {
            let key = Bytes::copy_from_slice(key);
            queue.push_back(Next::Row(put(0, &key, Bytes::copy_from_slice(value))));
            true
        });
        scanned.map_err(unread)
    }

    fn push_message(&mut self, key: &Bytes, value: Bytes) -> Result<(), Status> {
        let record = MessageRecord::decode(&value).map_err(|error| {
            Status::internal(format!(
                "a message of account {} is unreadable: {error}",
                self.account
            ))
        })?;
        self.queue.push_back(Next::Body(record.body, 0));
        self.queue.push_back(Next::Row(put(0, key, value)));
        Ok(())
    }

    /// A message's references beyond the first. That there are none is told when they may have gone.
    fn push_counter(&mut self, key: &Bytes, is_touched: bool) -> Result<(), Status> {
        let count = self.reader().counter(key)?;
        let value = (count != 0).then(|| Bytes::copy_from_slice(&count.to_le_bytes()));
        if value.is_some() || is_touched {
            self.queue.push_back(Next::Row(MovedRow {
                column: 2,
                key: keys::without_shard(key),
                value,
                ..MovedRow::default()
            }));
        }
        Ok(())
    }

    fn chunk(&self, hash: &BodyHash, chunk: u32) -> Result<MovedRow, Status> {
        let missing = || {
            Status::new(
                Reason::Damaged,
                format!("the body {hash:?} of account {} is missing", self.account),
            )
        };
        let reader = self.reader();
        let body = reader.body(hash)?.ok_or_else(missing)?;
        let stored = reader
            .body_chunk(hash, body.location, chunk)?
            .ok_or_else(missing)?;
        Ok(put(1, &keys::body_chunk(self.shard, hash, chunk), stored))
    }
}

fn put(column: u32, key: &Bytes, value: Bytes) -> MovedRow {
    MovedRow {
        column,
        key: keys::without_shard(key),
        value: Some(value),
        until: Bytes::new(),
    }
}

fn size(row: &MovedRow) -> usize {
    ROW_BYTES + row.key.len() + row.until.len() + row.value.as_ref().map_or(0, Bytes::len)
}

/// The first key after this one.
fn after(key: &[u8]) -> Bytes {
    let mut after = BytesMut::from(key);
    after.extend_from_slice(&[0]);
    after.freeze()
}
