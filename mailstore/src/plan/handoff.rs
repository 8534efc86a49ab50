//! Hand-offs: kept for recipients of other shards, leased by proxies, completed when delivered.

use bytes::Bytes;
use rookery_proto::Status;
use rookery_proto::mailstore::v1::{self as proto, HandOffRow, reply};
use rookery_replication::{Batch, Column, View};

use super::bodies::{BodyAdder, Releaser};
use super::{HandOff, Plan, PlanContext, done, limit_exceeded};
use crate::schema::keys::Kind;
use crate::schema::{AccountId, HandOffRecord, ModSeq, Reader, Value, keys};

/// Recipients of one hand-off.
const RECIPIENTS_MAX: usize = 1000;

/// Rows of one lease.
const LEASE_ROWS_MAX: u32 = 100;

pub(super) fn keep(
    view: &dyn View,
    context: &PlanContext,
    account: AccountId,
    command: &HandOff,
) -> Result<Plan, Status> {
    let reader = Reader::new(view, context.shard, account);
    if command.recipients.len() > RECIPIENTS_MAX {
        return Err(limit_exceeded(format!(
            "a hand-off has at most {RECIPIENTS_MAX} recipients"
        )));
    }
    let mut batch = Batch::new();
    let mut bodies = BodyAdder::default();
    let mut ids: Vec<[u8; 16]> = Vec::new();
    for recipient in &command.recipients {
        let record = HandOffRecord {
            transaction: command.transaction,
            sender: command.sender.clone(),
            address: recipient.address.clone(),
            prefix: recipient.prefix.clone(),
            account: AccountId(recipient.account),
            body: command.body.hash,
            issued_at_millis: command.issued_at_millis,
            due_millis: context.now_millis,
            attempts: 0,
        };
        let id = record.id();
        if ids.contains(&id) || reader.hand_off(&id)?.is_some() {
            continue;
        }
        ids.push(id);
        bodies.add(&reader, &mut batch, &command.body)?;
        put(&mut batch, context, &id, &record);
    }
    Ok(Plan::new(batch, done(ModSeq(0))))
}

pub(super) fn lease(
    view: &dyn View,
    context: &PlanContext,
    command: &proto::LeaseHandOffs,
) -> Result<Plan, Status> {
    let reader = Reader::new(view, context.shard, AccountId(0));
    let limit = command.limit.min(LEASE_ROWS_MAX) as usize;
    let mut due: Vec<(u64, [u8; 16])> = Vec::new();
    let (from, to) = keys::due(context.shard, Kind::HandOffDue, context.now_millis);
    let scanned = view.scan(Column::Rows, &from, &to, &mut |key, _| {
        due.extend(keys::due_millis(key).zip(keys::hand_off_of_due(key)));
        due.len() < limit
    });
    scanned.map_err(|error| Status::internal(error.to_string()))?;
    due.truncate(limit);
    let mut batch = Batch::new();
    let mut rows = Vec::with_capacity(due.len());
    for (due_millis, id) in due {
        batch.delete(Column::Rows, keys::hand_off_due(context.shard, due_millis, &id));
        let Some(mut record) = reader.hand_off(&id)? else {
            continue;
        };
        record.attempts += 1;
        record.due_millis = context.now_millis + u64::from(command.lease_millis.max(1));
        put(&mut batch, context, &id, &record);
        rows.push(HandOffRow {
            id: Bytes::copy_from_slice(&id),
            transaction: Bytes::copy_from_slice(&record.transaction),
            sender: record.sender,
            recipient: Some(proto::HandOffRecipient {
                address: record.address,
                prefix: record.prefix,
                account: record.account.0,
            }),
            body: Bytes::new(),
            issued_at_millis: record.issued_at_millis,
            attempts: record.attempts,
        });
    }
    Ok(Plan::new(batch, reply::Call::HandOffs(proto::HandOffs { rows })))
}

pub(super) fn complete(
    view: &dyn View,
    context: &PlanContext,
    command: &proto::CompleteHandOff,
) -> Result<Plan, Status> {
    let reader = Reader::new(view, context.shard, AccountId(0));
    if command.ids.len() > RECIPIENTS_MAX {
        return Err(limit_exceeded(format!(
            "at most {RECIPIENTS_MAX} hand-offs are completed together"
        )));
    }
    let mut ids = Vec::with_capacity(command.ids.len());
    for id in &command.ids {
        let id: [u8; 16] = id
            .as_ref()
            .try_into()
            .map_err(|_| Status::invalid("a hand-off's id is 16 bytes"))?;
        ids.push(id);
    }
    ids.sort_unstable();
    ids.dedup();
    let mut batch = Batch::new();
    let mut releaser = Releaser::new(reader);
    for id in ids {
        let Some(record) = reader.hand_off(&id)? else {
            continue;
        };
        batch.delete(
            Column::Rows,
            keys::hand_off_due(context.shard, record.due_millis, &id),
        );
        batch.delete(Column::Rows, keys::hand_off(context.shard, &id));
        releaser.release_body(&mut batch, &record.body)?;
    }
    releaser.finish(&mut batch);
    Ok(Plan::new(batch, done(ModSeq(0))))
}

fn put(batch: &mut Batch, context: &PlanContext, id: &[u8; 16], record: &HandOffRecord) {
    batch.put(Column::Rows, keys::hand_off(context.shard, id), record.encode());
    batch.put(
        Column::Rows,
        keys::hand_off_due(context.shard, record.due_millis, id),
        Bytes::new(),
    );
}
