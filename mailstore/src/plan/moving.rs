//! An account that goes from one shard to another: what the shard that it leaves does, and what the one that gets it does.
//!
//! The account is live in one of the two at most: it is frozen before its last rows are read, has departed before it is
//! settled, and its rows in the shard that it left are removed as those of a purged one are. Each step carries the move's
//! generation, so that one which comes late changes nothing.

use std::collections::BTreeSet;

use rookery_proto::mailstore::v1::{self as proto, MailboxEvent};
use rookery_proto::rows::{Row, RowColumn};
use rookery_proto::{Reason, Status};
use rookery_replication::{Batch, Column, View, Write};

use super::account::{reader, refuse_older};
use super::arriving::{self, Arriving};
use super::bodies::Releaser;
use super::import::Import;
use super::{Plan, PlanContext, TakeRows, done};
use crate::schema::leaving::LEAVING_MAX;
use crate::schema::named::{self, Named};
use crate::schema::{
    AccountId, AccountRecord, AccountState, Garbage, Leaving, LeavingAccount, MessageRecord, ModSeq, Reader,
    ReplyRecord, Touched, TouchedKey, Value, keys, unread,
};

/// Begins to note what changes in the account.
pub(super) fn leave(
    view: &dyn View,
    context: &PlanContext,
    command: &proto::LeaveAccount,
) -> Result<Plan, Status> {
    let reader = reader(view, context, command.account)?;
    let record = reader.readable_account()?;
    refuse_older(&record, command.generation)?;
    let modseq = reader.counters()?.modseq;
    let mut leaving = reader.leaving()?;
    match leaving.of(reader.account) {
        Some(known) if known.generation == command.generation => return Ok(Plan::unchanged(done(modseq))),
        Some(known) => {
            let message = format!("the move {} of the account is not over", known.generation);
            return Err(Status::unavailable(message));
        }
        None if leaving.accounts.len() >= LEAVING_MAX => {
            let message = format!("{LEAVING_MAX} accounts are leaving the shard already");
            return Err(Status::new(Reason::LimitExceeded, message));
        }
        None => {}
    }
    reader.writable_account()?;
    leaving.accounts.push(LeavingAccount {
        account: reader.account,
        generation: command.generation,
        next: 0,
    });
    let mut batch = Batch::new();
    put_leaving(&mut batch, context, &leaving);
    Ok(Plan::new(batch, done(modseq)))
}

/// Lets nothing change the account any more.
pub(super) fn freeze(
    view: &dyn View,
    context: &PlanContext,
    command: &proto::FreezeAccount,
) -> Result<Plan, Status> {
    let reader = reader(view, context, command.account)?;
    let record = reader.readable_account()?;
    refuse_older(&record, command.generation)?;
    let modseq = reader.counters()?.modseq;
    let leaving = reader.leaving()?;
    if leaving.of(reader.account).map(|leaving| leaving.generation) != Some(command.generation) {
        return Err(not_leaving(reader.account));
    }
    if record.state == AccountState::Frozen {
        return Ok(Plan::unchanged(done(modseq)));
    }
    reader.writable_account()?;
    if reader.counter(&keys::uploads_pending(context.shard, reader.account))? > 0 {
        let message = "a message is being uploaded to the account, or was and is not used: retry";
        return Err(Status::unavailable(message));
    }
    if has_garbage(&reader)? {
        let message = "what the account has dropped is being worked off: retry";
        return Err(Status::unavailable(message));
    }
    let frozen = AccountRecord {
        state: AccountState::Frozen,
        ..record
    };
    let mut batch = Batch::new();
    put_record(&mut batch, context, reader.account, frozen);
    Ok(Plan::new(batch, done(modseq)))
}

/// The account is elsewhere from now on, and its rows here are to go.
pub(super) fn depart(
    view: &dyn View,
    context: &PlanContext,
    command: &proto::DepartAccount,
) -> Result<Plan, Status> {
    let reader = reader(view, context, command.account)?;
    let modseq = reader.counters()?.modseq;
    let before = reader.account_record()?;
    if let Some(before) = &before {
        refuse_older(before, command.generation)?;
        match before.state {
            AccountState::Tombstone | AccountState::MovedTo(_) => return Ok(Plan::unchanged(done(modseq))),
            AccountState::Live => {
                let message = "the account is live here: freeze it first";
                return Err(Status::new(Reason::FailedPrecondition, message));
            }
            AccountState::Frozen | AccountState::Incoming(_) => {}
        }
    }
    let record = AccountRecord {
        generation: command.generation,
        state: AccountState::MovedTo(crate::schema::ShardId(command.to_shard)),
        quota_bytes: 0,
    };
    let mut batch = Batch::new();
    put_record(&mut batch, context, reader.account, record);
    if before.is_some() {
        // After all that the account's own plans have left.
        let garbage = keys::garbage(context.shard, reader.account, ModSeq(u64::MAX), 0);
        batch.put(Column::Rows, garbage, Garbage::Account.encode());
    }
    forget_leaving(&reader, &mut batch, context, command.generation)?;
    let event = MailboxEvent {
        account: command.account,
        mailbox: 0,
        modseq: modseq.0,
    };
    Ok(Plan {
        events: vec![event],
        garbage: before.is_some(),
        ..Plan::new(batch, done(modseq))
    })
}

/// The account's rows will come here.
pub(super) fn receive(
    view: &dyn View,
    context: &PlanContext,
    command: &proto::ReceiveAccount,
) -> Result<Plan, Status> {
    let reader = reader(view, context, command.account)?;
    if let Some(before) = reader.account_record()? {
        refuse_older(&before, command.generation)?;
        match before.state {
            AccountState::Incoming(attempt) if before.generation == command.generation => {
                if command.attempt < attempt {
                    return Err(attempt_is_over(reader.account));
                }
            }
            AccountState::MovedTo(_) if before.generation < command.generation => {
                if has_garbage(&reader)? {
                    let message = "rows of the account from before are being removed: retry";
                    return Err(Status::unavailable(message));
                }
            }
            _ => {
                let message = format!("account {} is in shard {} already", reader.account, context.shard);
                return Err(Status::new(Reason::FailedPrecondition, message));
            }
        }
    }
    let record = AccountRecord {
        generation: command.generation,
        state: AccountState::Incoming(command.attempt),
        quota_bytes: 0,
    };
    let mut batch = Batch::new();
    put_record(&mut batch, context, reader.account, record);
    Ok(Plan::new(batch, done(ModSeq(0))))
}

/// Takes in rows of an account that comes.
pub(super) fn take(view: &dyn View, context: &PlanContext, command: &TakeRows) -> Result<Plan, Status> {
    let reader = reader(view, context, command.account.0)?;
    let record = reader.account_record()?;
    let is_now = record.is_some_and(|record| {
        record.state == AccountState::Incoming(command.attempt) && record.generation == command.generation
    });
    if !is_now {
        return Err(attempt_is_over(reader.account));
    }
    // What was there before: asked without rows it tells what has come.
    let modseq = reader.counters()?.modseq;
    let is_gone = |row: &proto::MovedRow| row.value.is_none() && is_message_row(context, row);
    let gone = command.rows.iter().filter(|row| is_gone(row)).count();
    if gone > 0 && gone < command.rows.len() {
        return Err(Status::invalid(
            "messages that have gone come together with other rows",
        ));
    }
    let mut import = Import::new(view, context);
    let mut releaser = Releaser::new(reader);
    let mut arriving = Arriving::new(reader);
    for row in &command.rows {
        match &row.value {
            Some(value) => {
                let row = Row {
                    column: column(row.column)?,
                    key: keys::with_shard(context.shard, &row.key),
                    value: value.clone(),
                };
                take_one(&mut import, &mut arriving, reader.account, &row)?;
            }
            None => remove(&mut import.batch, &mut releaser, &reader, row)?,
        }
    }
    arriving.finish(&mut import)?;
    let mut batch = import.batch;
    releaser.finish(&mut batch);
    Ok(Plan::new(batch, done(modseq)))
}

fn take_one(
    import: &mut Import<'_>,
    arriving: &mut Arriving<'_>,
    account: AccountId,
    row: &Row,
) -> Result<(), Status> {
    let unreadable = |error| Status::invalid(format!("a row of account {account} is unreadable: {error}"));
    let (shard, named) = named::check(row).map_err(unreadable)?;
    match (row.column, named) {
        (RowColumn::Bodies, Named::BodyChunk(hash, chunk)) => {
            if import.chunk(row, &hash, chunk)? {
                arriving.chunk_came(hash);
            }
            return Ok(());
        }
        _ if named.account() != Some(account) => {}
        (RowColumn::Counters, Named::Message(..)) => return import.message_references(row, account),
        (RowColumn::Rows, Named::Message(..)) => {
            arriving.message_came(&MessageRecord::decode(&row.value).map_err(unreadable)?.body);
            return import.message(row, account);
        }
        (RowColumn::Rows, Named::Reply { session, number, .. }) => {
            let reply = ReplyRecord::decode(&row.value).map_err(unreadable)?;
            import.put(row);
            let expiry = keys::reply_expiry(shard, reply.expires_millis, account, &session, number);
            import.batch.put(Column::Rows, expiry, bytes::Bytes::new());
            return Ok(());
        }
        (RowColumn::Rows, _) if keys::carried_account(&row.key) == Some(account) => {
            import.put(row);
            return Ok(());
        }
        _ => {}
    }
    Err(Status::invalid(format!(
        "{named:?} does not come with account {account}"
    )))
}

/// What has gone from the shard that the account leaves goes here.
fn remove(
    batch: &mut Batch,
    releaser: &mut Releaser<'_>,
    reader: &Reader<'_>,
    row: &proto::MovedRow,
) -> Result<(), Status> {
    let key = keys::with_shard(reader.shard, &row.key);
    if keys::carried_account(&key) != Some(reader.account) {
        return Err(Status::invalid("a row that has gone is of no account that comes"));
    }
    match (column(row.column)?, named::named(RowColumn::Rows, &key)) {
        (RowColumn::Rows, Some((_, Named::Message(_, number)))) => {
            if let Some(record) = reader.message(number)? {
                releaser.release_body(batch, &record.body)?;
                batch.delete(Column::Rows, key);
            }
        }
        (RowColumn::Rows, _) if !row.until.is_empty() => {
            let until = keys::with_shard(reader.shard, &row.until);
            if keys::is_message(&key)
                || key > until
                || key.get(..13) != until.get(..13) && !ends(&key, &until)
            {
                return Err(Status::invalid("a range that has gone is none of the account"));
            }
            batch.delete_range(Column::Rows, key, until);
        }
        (RowColumn::Rows, _) => batch.delete(Column::Rows, key),
        (RowColumn::Counters, _) => {
            if reader.counter(&key)? != 0 {
                batch.delete(Column::Counters, key);
            }
        }
        (RowColumn::Bodies, _) => return Err(Status::invalid("bodies go with their messages")),
    }
    Ok(())
}

/// Whether `until` is the first key after all keys of the account and kind of `key`.
fn ends(key: &[u8], until: &[u8]) -> bool {
    key.get(..13)
        .is_some_and(|prefix| until > prefix && until.len() <= prefix.len())
}

/// All rows of the account are here: it is live.
pub(super) fn settle(
    view: &dyn View,
    context: &PlanContext,
    command: &proto::SettleAccount,
) -> Result<Plan, Status> {
    let reader = reader(view, context, command.account)?;
    let missing = || {
        let message = format!(
            "account {} does not come to shard {}",
            reader.account, context.shard
        );
        Status::new(Reason::NoAccount, message)
    };
    let before = reader.account_record()?.ok_or_else(missing)?;
    refuse_older(&before, command.generation)?;
    let modseq = reader.counters()?.modseq;
    match before.state {
        AccountState::Incoming(_) if before.generation == command.generation => {}
        AccountState::Live | AccountState::Frozen => return Ok(Plan::unchanged(done(modseq))),
        _ => return Err(missing()),
    }
    if command.modseq != 0 && modseq.0 != command.modseq {
        let message = format!("the account is at {modseq} and not at {}", command.modseq);
        return Err(Status::new(Reason::FailedPrecondition, message));
    }
    let live = AccountRecord {
        generation: command.generation,
        state: AccountState::Live,
        quota_bytes: command.quota_bytes,
    };
    let mut batch = Batch::new();
    arriving::drop_all(&reader, &mut batch)?;
    put_record(&mut batch, context, reader.account, live);
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

/// Notes what a plan changes in accounts that leave the shard, in the plan's own batch.
pub(super) fn note(view: &dyn View, context: &PlanContext, plan: &mut Plan) -> Result<(), Status> {
    if plan.batch.is_empty() {
        return Ok(());
    }
    let mut leaving = Reader::new(view, context.shard, AccountId(0)).leaving()?;
    let mut is_changed = false;
    for one in &mut leaving.accounts {
        let touched = touched(&plan.batch, one.account);
        if touched.is_empty() {
            continue;
        }
        let key = keys::touched(context.shard, one.account, one.next);
        let note = Touched(touched.into_iter().collect());
        plan.batch.put(Column::Rows, key, note.encode());
        one.next += 1;
        is_changed = true;
    }
    if is_changed {
        put_leaving(&mut plan.batch, context, &leaving);
    }
    Ok(())
}

fn touched(batch: &Batch, account: AccountId) -> BTreeSet<TouchedKey> {
    let is_of = |key: &[u8]| keys::carried_account(key) == Some(account);
    let mut touched = BTreeSet::new();
    for write in batch.writes() {
        match write {
            Write::Put(Column::Rows, key, _) | Write::Delete(Column::Rows, key) if is_of(key) => {
                touched.insert(TouchedKey::Row(keys::without_shard(key)));
            }
            Write::Add(key, _)
            | Write::Put(Column::Counters, key, _)
            | Write::Delete(Column::Counters, key)
                if is_of(key) =>
            {
                touched.insert(TouchedKey::Counter(keys::without_shard(key)));
            }
            Write::DeleteRange(Column::Rows, from, to) if is_of(from) => {
                touched.insert(TouchedKey::Range(
                    keys::without_shard(from),
                    keys::without_shard(to),
                ));
            }
            _ => {}
        }
    }
    touched
}

/// The account does not leave the shard any more, by this or an older move. What was noted goes.
pub(super) fn forget_leaving(
    reader: &Reader<'_>,
    batch: &mut Batch,
    context: &PlanContext,
    generation: u64,
) -> Result<(), Status> {
    let mut leaving = reader.leaving()?;
    let before = leaving.accounts.len();
    leaving
        .accounts
        .retain(|one| one.account != reader.account || one.generation > generation);
    if leaving.accounts.len() < before {
        put_leaving(batch, context, &leaving);
        let (from, to) = keys::touched_from(context.shard, reader.account, 0);
        batch.delete_range(Column::Rows, from, to);
    }
    Ok(())
}

fn put_leaving(batch: &mut Batch, context: &PlanContext, leaving: &Leaving) {
    let key = keys::leaving(context.shard);
    if leaving.accounts.is_empty() {
        batch.delete(Column::Rows, key);
    } else {
        batch.put(Column::Rows, key, leaving.encode());
    }
}

fn put_record(batch: &mut Batch, context: &PlanContext, account: AccountId, record: AccountRecord) {
    batch.put(
        Column::Rows,
        keys::account(context.shard, account),
        record.encode(),
    );
}

fn has_garbage(reader: &Reader<'_>) -> Result<bool, Status> {
    let (from, to) = keys::garbage_rows(reader.shard, reader.account);
    let mut found = false;
    let scanned = reader.view.scan(Column::Rows, &from, &to, &mut |_, _| {
        found = true;
        false
    });
    scanned.map_err(unread)?;
    Ok(found)
}

fn is_message_row(context: &PlanContext, row: &proto::MovedRow) -> bool {
    row.column == 0 && keys::is_message(&keys::with_shard(context.shard, &row.key))
}

fn column(column: u32) -> Result<RowColumn, Status> {
    let known = RowColumn::ALL.get(column as usize).copied();
    known.ok_or_else(|| Status::invalid(format!("there is no column {column}")))
}

fn not_leaving(account: AccountId) -> Status {
    let message = format!("account {account} is not leaving by this move");
    Status::new(Reason::FailedPrecondition, message)
}

fn attempt_is_over(account: AccountId) -> Status {
    let message = format!("account {account} does not come here by this attempt");
    Status::new(Reason::WrongGeneration, message)
}
