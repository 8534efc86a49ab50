//! Works off what lost a reference: one row of garbage a plan, so that no plan grows with what was deleted.

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
    let (from, to) = keys::kind_range(context.shard, Kind::Garbage);
    let mut first = None;
    let mut damaged = None;
    let mut more = false;
    let scanned = view.scan(Column::Rows, &from, &to, &mut |key, value| {
        more = first.is_some();
        if !more {
            // A row that cannot be read stays for whoever repairs it; it must not hold up the others.
            match Garbage::decode(value) {
                Ok(garbage) => first = Some((bytes::Bytes::copy_from_slice(key), garbage)),
                Err(error) => damaged = damaged.take().or(Some((keys::garbage_account(key), error))),
            }
        }
        !more
    });
    scanned.map_err(crate::schema::unread)?;
    if let Some((account, error)) = damaged {
        tell_damage("garbage", account.unwrap_or_default(), &error);
    }
    let Some((key, garbage)) = first else {
        return Ok(Plan::unchanged(done(ModSeq(0))));
    };
    let account = keys::garbage_account(&key).unwrap_or_default();
    let reader = Reader::new(view, context.shard, account);
    let mut batch = Batch::new();
    let mut releaser = Releaser::new(reader);
    match garbage {
        Garbage::Messages(numbers) => {
            for number in numbers {
                release_message(&reader, &mut releaser, &mut batch, number)?;
            }
            batch.delete(Column::Rows, key);
        }
        Garbage::Account => {
            if purge(&reader, &mut releaser, &mut batch)? {
                arriving::drop_all(&reader, &mut batch)?;
                keys::delete_account_rows(&mut batch, context.shard, account);
                batch.delete(Column::Rows, key);
            } else {
                more = true;
            }
        }
    }
    releaser.finish(&mut batch);
    Ok(Plan {
        garbage: more,
        ..Plan::new(batch, done(ModSeq(0)))
    })
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
    let mut found: Vec<(bytes::Bytes, Result<MessageRecord, _>)> = Vec::new();
    let scanned = reader.view.scan(Column::Rows, &from, &to, &mut |key, value| {
        found.push((bytes::Bytes::copy_from_slice(key), MessageRecord::decode(value)));
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
