//! Import: rows of a backup for accounts that are not live yet, then the account's record, which makes it live.
//!
//! Every row can come again, after a restore that broke off: what is there stays, and nothing is counted twice. References
//! to bodies are counted anew, as the shard's accounts need not be those that shared them before.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use rookery_proto::mailstore::v1::{self as proto, MailboxEvent};
use rookery_proto::rows::{Row, RowColumn};
use rookery_proto::{Reason, Status};
use rookery_replication::{Batch, Column, View};

use super::{Plan, PlanContext, done};
use crate::schema::body::chunk_count;
use crate::schema::named::{self, Named};
use crate::schema::{
    AccountId, AccountRecord, AccountState, BodyHash, BodyLocation, BodyRecord, DecodeError, HandOffRecord,
    MessageRecord, ModSeq, Reader, ReplyRecord, Value, keys,
};

/// What one plan has done so far; the view does not show it.
pub(super) struct Import<'a> {
    view: &'a dyn View,
    context: &'a PlanContext,
    pub(super) batch: Batch,
    /// Bodies that this plan gave a record.
    bodies: HashSet<BodyHash>,
    /// Keys that this plan has written and that must not be counted again.
    written: HashSet<Bytes>,
    /// Whether an account has its record already.
    has_record: HashMap<AccountId, bool>,
}

pub(super) fn rows(view: &dyn View, context: &PlanContext, rows: &[Row]) -> Result<Plan, Status> {
    let mut import = Import::new(view, context);
    for row in rows {
        import.take(row)?;
    }
    Ok(Plan::new(import.batch, done(ModSeq(0))))
}

impl<'a> Import<'a> {
    /// Nothing yet.
    pub(super) fn new(view: &'a dyn View, context: &'a PlanContext) -> Self {
        Self {
            view,
            context,
            batch: Batch::new(),
            bodies: HashSet::new(),
            written: HashSet::new(),
            has_record: HashMap::new(),
        }
    }

    fn take(&mut self, row: &Row) -> Result<(), Status> {
        let (shard, named) = named::check(row).map_err(|error| unreadable(row, error))?;
        if shard != self.context.shard {
            return Err(Status::invalid(format!(
                "a row of shard {shard} is not for this one"
            )));
        }
        if let Some(account) = named.account()
            && self.is_complete(account)?
        {
            return Ok(());
        }
        match (row.column, named) {
            (RowColumn::Bodies, Named::BodyChunk(hash, chunk)) => self.chunk(row, &hash, chunk).map(drop),
            (RowColumn::Counters, Named::Message(account, _)) => self.message_references(row, account),
            (RowColumn::Rows, Named::Message(account, _)) => self.message(row, account),
            (RowColumn::Rows, Named::HandOff(id)) => self.hand_off(row, &id),
            (
                RowColumn::Rows,
                Named::Reply {
                    account,
                    session,
                    number,
                },
            ) => {
                let record = ReplyRecord::decode(&row.value).map_err(|error| unreadable(row, error))?;
                let expiry = keys::reply_expiry(
                    self.context.shard,
                    record.expires_millis,
                    account,
                    &session,
                    number,
                );
                self.put(row);
                self.batch.put(Column::Rows, expiry, Bytes::new());
                Ok(())
            }
            (
                RowColumn::Rows,
                Named::AccountCounters(_)
                | Named::Mailbox(..)
                | Named::Subscription(_)
                | Named::FlagBlock(..)
                | Named::MessageRow(..)
                | Named::Change(..),
            ) => {
                self.put(row);
                Ok(())
            }
            _ => Err(Status::invalid(format!("{named:?} is not imported"))),
        }
    }

    /// Sets a row as it is.
    pub(super) fn put(&mut self, row: &Row) {
        self.batch.put(Column::Rows, row.key.clone(), row.value.clone());
    }

    fn reader(&self, account: AccountId) -> Reader<'_> {
        Reader::new(self.view, self.context.shard, account)
    }

    /// Whether the account was made live before: then its rows are its own.
    fn is_complete(&mut self, account: AccountId) -> Result<bool, Status> {
        if let Some(known) = self.has_record.get(&account) {
            return Ok(*known);
        }
        let record = self.reader(account).account_record()?;
        refuse_used(account, record.as_ref())?;
        self.has_record.insert(account, record.is_some());
        Ok(record.is_some())
    }

    /// Takes a chunk of a body, unless the shard has the body. Whether it was taken.
    pub(super) fn chunk(&mut self, row: &Row, hash: &BodyHash, chunk: u32) -> Result<bool, Status> {
        if u64::from(chunk) >= chunk_count(hash.size) {
            return Err(Status::invalid(format!("the body {hash:?} has no chunk {chunk}")));
        }
        // With a record the body is whole, and perhaps in an upload's chunks.
        let is_taken = self.reader(AccountId(0)).body(hash)?.is_none();
        if is_taken {
            self.batch.put(Column::Bodies, row.key.clone(), row.value.clone());
            self.written.insert(row.key.clone());
        }
        Ok(is_taken)
    }

    /// Whether this plan gave the body its record.
    pub(super) fn has_recorded(&self, hash: &BodyHash) -> bool {
        self.bodies.contains(hash)
    }

    /// Sets the references of a message beyond the first. Nothing else changes them before the account is live.
    pub(super) fn message_references(&mut self, row: &Row, account: AccountId) -> Result<(), Status> {
        let wanted = named::counter_value(&row.value).map_err(|error| unreadable(row, error))?;
        let counted = Bytes::from([&b"counter"[..], &row.key].concat());
        if !self.written.insert(counted) {
            return Ok(());
        }
        let stored = self.reader(account).counter(&row.key)?;
        if wanted != stored {
            self.batch.add(row.key.clone(), wanted.wrapping_sub(stored));
        }
        Ok(())
    }

    /// Takes a message, which refers to its body.
    pub(super) fn message(&mut self, row: &Row, account: AccountId) -> Result<(), Status> {
        let record = MessageRecord::decode(&row.value).map_err(|error| unreadable(row, error))?;
        if !self.written.insert(row.key.clone()) || self.contains(Column::Rows, &row.key)? {
            return Ok(());
        }
        self.refer(account, &record.body)?;
        self.put(row);
        Ok(())
    }

    fn hand_off(&mut self, row: &Row, id: &[u8; 16]) -> Result<(), Status> {
        let mut record = HandOffRecord::decode(&row.value).map_err(|error| unreadable(row, error))?;
        if record.id() != *id {
            return Err(Status::invalid("a hand-off has another id than its key"));
        }
        if !self.written.insert(row.key.clone()) || self.contains(Column::Rows, &row.key)? {
            return Ok(());
        }
        self.refer(record.account, &record.body)?;
        // Nobody holds a lease of before.
        record.due_millis = self.context.now_millis;
        let due = keys::hand_off_due(self.context.shard, record.due_millis, id);
        self.batch.put(Column::Rows, row.key.clone(), record.encode());
        self.batch.put(Column::Rows, due, Bytes::new());
        Ok(())
    }

    /// Adds a reference to a body, which gets its record with the first.
    fn refer(&mut self, account: AccountId, hash: &BodyHash) -> Result<(), Status> {
        let key = keys::body(self.context.shard, hash);
        if self.bodies.contains(hash) || self.reader(account).body(hash)?.is_some() {
            self.batch.add(key, 1);
            return Ok(());
        }
        // The first ones may have been passed over or have gone: the body had a record when they came, and lost its last message since.
        for chunk in 0..chunk_count(hash.size) {
            let chunk = keys::body_chunk(self.context.shard, hash, chunk as u32);
            if !self.written.contains(&chunk) && !self.contains(Column::Bodies, &chunk)? {
                return Err(Status::new(
                    Reason::FailedPrecondition,
                    format!("chunks of the body {hash:?} are missing: send them again"),
                ));
            }
        }
        let location = BodyLocation::Own;
        self.batch
            .put(Column::Rows, key, BodyRecord { location }.encode());
        self.bodies.insert(*hash);
        Ok(())
    }

    fn contains(&self, column: Column, key: &[u8]) -> Result<bool, Status> {
        self.view.contains(column, key).map_err(crate::schema::unread)
    }
}

/// The account's rows are all there.
pub(super) fn account(
    view: &dyn View,
    context: &PlanContext,
    command: &proto::ImportAccount,
) -> Result<Plan, Status> {
    let account = AccountId(command.account);
    let reader = Reader::new(view, context.shard, account);
    let before = reader.account_record()?;
    refuse_used(account, before.as_ref())?;
    let modseq = reader.counters()?.modseq;
    if before.is_some() {
        return Ok(Plan::unchanged(done(modseq)));
    }
    let counters = keys::account_counters(context.shard, account);
    let has_rows = view
        .contains(Column::Rows, &counters)
        .map_err(crate::schema::unread)?;
    if !has_rows {
        let message = format!("account {account} has no rows in shard {}", context.shard);
        return Err(Status::new(Reason::NoAccount, message));
    }
    let record = AccountRecord {
        generation: command.generation,
        state: AccountState::Live,
        quota_bytes: command.quota_bytes,
    };
    let mut batch = Batch::new();
    batch.put(
        Column::Rows,
        keys::account(context.shard, account),
        record.encode(),
    );
    let event = MailboxEvent {
        account: command.account,
        mailbox: 0,
        modseq: modseq.0,
    };
    Ok(Plan {
        events: vec![event],
        ..Plan::new(batch, done(modseq))
    })
}

fn refuse_used(account: AccountId, record: Option<&AccountRecord>) -> Result<(), Status> {
    if record.is_some_and(|record| record.state == AccountState::Tombstone) {
        return Err(Status::new(
            Reason::NoAccount,
            format!("the id {account} was used and deleted in this cluster: restore into a new one"),
        ));
    }
    Ok(())
}

fn unreadable(row: &Row, error: DecodeError) -> Status {
    let key = rookery_proto::rows::hex(&row.key);
    Status::invalid(format!("the row {key} of the backup is unreadable: {error}"))
}
