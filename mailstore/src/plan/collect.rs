//! Works off what lost a reference: so many messages a plan, so that none grows with what was deleted.

use bytes::Bytes;
use rookery_proto::Status;
use rookery_replication::{Batch, Column, View};

use super::arriving;
use super::bodies::Releaser;
use super::{Plan, PlanContext, done};
use crate::schema::garbage::GARBAGE_ITEMS_MAX;
use crate::schema::keys::Kind;
use crate::schema::read::ReadError;
use crate::schema::{AccountId, Garbage, MessageNumber, MessageRecord, ModSeq, Reader, Value, keys};

pub(super) fn collect(view: &dyn View, context: &PlanContext) -> Result<Plan, Status> {
    let (rows, mut more) = next_rows(view, context)?;
    let Some((first, _)) = rows.first() else {
        return Ok(Plan::unchanged(done(ModSeq(0))));
    };
    let reader_of = |key: &[u8]| {
        let account = keys::garbage_account(key).unwrap_or_default();
        Reader::new(view, context.shard, account)
    };
    let mut batch = Batch::new();
    let mut releaser = Releaser::new(reader_of(first));
    for (key, garbage) in rows {
        let reader = reader_of(&key);
        match garbage {
            Garbage::Messages(numbers) => {
                for number in numbers {
                    release_message(&reader, &mut releaser, &mut batch, number)?;
                }
            }
            Garbage::Account => {
                if !purge(&reader, &mut releaser, &mut batch)? {
                    more = true;
                    continue;
                }
                arriving::drop_all(&reader, &mut batch)?;
                keys::delete_account_rows(&mut batch, context.shard, reader.account);
            }
        }
        batch.delete(Column::Rows, key);
    }
    releaser.finish(&mut batch);
    Ok(Plan {
        garbage: more,
        ..Plan::new(batch, done(ModSeq(0)))
    })
}

/// The first rows of garbage, as much as one plan works off, and whether there are more.
fn next_rows(view: &dyn View, context: &PlanContext) -> Result<(Vec<(Bytes, Garbage)>, bool), Status> {
    let (from, to) = keys::kind_range(context.shard, Kind::Garbage);
    let mut rows: Vec<(Bytes, Garbage)> = Vec::new();
    let mut items = 0;
    let mut more = false;
    let mut damaged = None;
    let scanned = view.scan(Column::Rows, &from, &to, &mut |key, value| {
        match Garbage::decode(value) {
            Ok(garbage) => {
                items += match &garbage {
                    Garbage::Messages(numbers) => numbers.len(),
                    Garbage::Account => GARBAGE_ITEMS_MAX,
                };
                more = !rows.is_empty() && items > GARBAGE_ITEMS_MAX;
                if !more {
                    rows.push((Bytes::copy_from_slice(key), garbage));
                }
            }
            // A row that cannot be read stays for whoever repairs it; it must not hold up the others.
            Err(error) => damaged = damaged.take().or(Some((keys::garbage_account(key), error))),
        }
        !more
    });
    scanned.map_err(crate::schema::unread)?;
    if let Some((account, error)) = damaged {
        tell_damage("garbage", account.unwrap_or_default(), &error);
    }
    Ok((rows, more))
}

/// Says that something stored cannot be read, and goes on.
pub(super) fn tell_damage(what: &str, account: AccountId, error: &dyn std::fmt::Display) {
    #[cfg(feature = "store")]
    tracing::error!(account = account.0, %error, "passing over what is damaged: {what}");
    #[cfg(not(feature = "store"))]
    let _ = (what, account, error);
}

/// What was read, or `None` when it is there but damaged; only a store that fails is an error.
fn readable<T>(what: &str, account: AccountId, read: Result<T, ReadError>) -> Result<Option<T>, Status> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error @ ReadError::Value { .. }) => {
            tell_damage(what, account, &error);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Drops one reference to a message; with the last, the message and its reference to its body.
fn release_message(
    reader: &Reader<'_>,
    releaser: &mut Releaser<'_>,
    batch: &mut Batch,
    number: MessageNumber,
) -> Result<(), Status> {
    let key = keys::message(reader.shard, reader.account, number);
    let account = reader.account;
    let released = readable("a message's references", account, releaser.release(key.clone()))?;
    if released != Some(true) {
        return Ok(());
    }
    // What is damaged must not keep everything else for ever; what it referred to stays.
    let Some(record) = readable("a message", account, reader.message(number))? else {
        batch.delete(Column::Rows, key);
        return Ok(());
    };
    if let Some(record) = record {
        let released = releaser.release_body(batch, &record.body);
        readable("a message's body", account, released)?;
        batch.delete(Column::Rows, key);
    }
    Ok(())
}

/// Removes some messages of an account that is gone, whoever refers to them; true when these were the last.
fn purge(reader: &Reader<'_>, releaser: &mut Releaser<'_>, batch: &mut Batch) -> Result<bool, Status> {
    let (from, to) = keys::messages(reader.shard, reader.account);
    let mut found: Vec<(Bytes, Result<MessageRecord, _>)> = Vec::new();
    let scanned = reader.view.scan(Column::Rows, &from, &to, &mut |key, value| {
        found.push((Bytes::copy_from_slice(key), MessageRecord::decode(value)));
        found.len() < GARBAGE_ITEMS_MAX
    });
    scanned.map_err(crate::schema::unread)?;
    let last = found.len() < GARBAGE_ITEMS_MAX;
    for (key, record) in found {
        // An unreadable message must not keep the account for ever; its body stays.
        match record {
            Ok(record) => {
                let released = releaser.release_body(batch, &record.body);
                readable("a message's body", reader.account, released)?;
            }
            Err(error) => tell_damage("a message", reader.account, &error),
        }
        batch.delete(Column::Rows, key);
    }
    Ok(last)
}
