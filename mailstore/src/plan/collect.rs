//! Works off what lost a reference: one row of garbage a plan, so that no plan grows with what was deleted.

use rookery_proto::Status;
use rookery_replication::{Batch, Column, View};

use super::bodies::Releaser;
use super::{Plan, PlanContext, done};
use crate::schema::garbage::GARBAGE_ITEMS_MAX;
use crate::schema::keys::Kind;
use crate::schema::{Garbage, MessageNumber, MessageRecord, ModSeq, Reader, Value, keys};

pub(super) fn collect(view: &dyn View, context: &PlanContext) -> Result<Plan, Status> {
    let (from, to) = keys::kind_range(context.shard, Kind::Garbage);
    let mut first = None;
    let mut more = false;
    let scanned = view.scan(Column::Rows, &from, &to, &mut |key, value| {
        more = first.is_some();
        first.get_or_insert_with(|| (bytes::Bytes::copy_from_slice(key), Garbage::decode(value)));
        !more
    });
    scanned.map_err(|error| Status::internal(error.to_string()))?;
    let Some((key, garbage)) = first else {
        return Ok(Plan::unchanged(done(ModSeq(0))));
    };
    let account = keys::garbage_account(&key).unwrap_or_default();
    let reader = Reader::new(view, context.shard, account);
    let mut batch = Batch::new();
    let mut releaser = Releaser::new(reader);
    match garbage {
        Ok(Garbage::Messages(numbers)) => {
            for number in numbers {
                release_message(&reader, &mut releaser, &mut batch, number)?;
            }
            batch.delete(Column::Rows, key);
        }
        Ok(Garbage::Account) => {
            if purge(&reader, &mut releaser, &mut batch)? {
                keys::delete_account_rows(&mut batch, context.shard, account);
                batch.delete(Column::Rows, key);
            } else {
                more = true;
            }
        }
        Err(error) => return Err(Status::internal(format!("garbage of account {account}: {error}"))),
    }
    releaser.finish(&mut batch);
    Ok(Plan {
        garbage: more,
        ..Plan::new(batch, done(ModSeq(0)))
    })
}

/// Drops one reference to a message; with the last, the message and its reference to its body.
fn release_message(
    reader: &Reader<'_>,
    releaser: &mut Releaser<'_>,
    batch: &mut Batch,
    number: MessageNumber,
) -> Result<(), Status> {
    let key = keys::message(reader.shard, reader.account, number);
    if !releaser.release(key.clone())? {
        return Ok(());
    }
    if let Some(record) = reader.message(number)? {
        releaser.release_body(batch, &record.body)?;
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
    scanned.map_err(|error| Status::internal(error.to_string()))?;
    let last = found.len() < GARBAGE_ITEMS_MAX;
    for (key, record) in found {
        // An unreadable message must not keep the account for ever; its body stays.
        match record {
            Ok(record) => releaser.release_body(batch, &record.body)?,
            Err(_) => debug_assert!(false, "an unreadable message"),
        }
        batch.delete(Column::Rows, key);
    }
    Ok(last)
}
