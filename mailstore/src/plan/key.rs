//! Idempotency keys: the same key again is answered alike and changes nothing.

use prost::Message;
use rookery_proto::mailstore::v1::{DeliveryOutcome, Reply};
use rookery_proto::{Reason, Status};
use rookery_replication::{Batch, Column, View};

use super::{MutationKey, Plan, PlanContext, limit_exceeded};
use crate::schema::{AccountId, ReplyRecord, Value, keys};

/// The reply that a session's key already has. An expired key is refused: it may have been run and forgotten.
pub(super) fn kept_reply(
    view: &dyn View,
    context: &PlanContext,
    account: AccountId,
    key: &MutationKey,
) -> Result<Option<Plan>, Status> {
    if let Some(bytes) = lookup(view, context, account, key)? {
        let reply =
            Reply::decode(bytes).map_err(|error| Status::internal(format!("a kept reply: {error}")))?;
        return Ok(Some(Plan {
            batch: Batch::new(),
            reply,
            events: Vec::new(),
            garbage: false,
        }));
    }
    refuse_expired(key.issued_at_millis, context.limits.reply_kept_millis, context)?;
    Ok(None)
}

/// Keeps the plan's reply in its own batch.
///
/// A reply that is too large to be kept refuses the whole plan: unkept, a retry would do it again.
pub(super) fn keep_reply(
    plan: &mut Plan,
    context: &PlanContext,
    account: AccountId,
    key: &MutationKey,
) -> Result<(), Status> {
    let reply_bytes = plan.reply.encoded_len();
    if reply_bytes > context.limits.reply_bytes_max {
        return Err(limit_exceeded(format!(
            "the answer would have {reply_bytes} bytes, more than can be kept: change fewer messages at once"
        )));
    }
    let reply = plan.reply.encode_to_vec();
    keep(
        &mut plan.batch,
        context,
        account,
        key,
        reply,
        context.limits.reply_kept_millis,
    );
    Ok(())
}

/// The outcome that a delivery to this account already has.
pub(super) fn kept_outcome(
    view: &dyn View,
    context: &PlanContext,
    account: AccountId,
    key: &MutationKey,
) -> Result<Option<DeliveryOutcome>, Status> {
    if let Some(bytes) = lookup(view, context, account, key)? {
        let outcome = DeliveryOutcome::decode(bytes);
        return outcome
            .map(Some)
            .map_err(|error| Status::internal(format!("a kept outcome: {error}")));
    }
    refuse_expired(key.issued_at_millis, context.limits.delivery_kept_millis, context)?;
    Ok(None)
}

/// Keeps the outcome of a delivery.
pub(super) fn keep_outcome(
    batch: &mut Batch,
    context: &PlanContext,
    account: AccountId,
    key: &MutationKey,
    outcome: &DeliveryOutcome,
) {
    keep(
        batch,
        context,
        account,
        key,
        outcome.encode_to_vec(),
        context.limits.delivery_kept_millis,
    );
}

fn lookup(
    view: &dyn View,
    context: &PlanContext,
    account: AccountId,
    key: &MutationKey,
) -> Result<Option<bytes::Bytes>, Status> {
    let row = keys::reply(context.shard, account, &key.session, key.number);
    let Some(value) = view.get(Column::Rows, &row).map_err(crate::schema::unread)? else {
        return Ok(None);
    };
    let record =
        ReplyRecord::decode(&value).map_err(|error| Status::internal(format!("a kept reply: {error}")))?;
    Ok(Some(record.reply))
}

fn refuse_expired(issued_at_millis: u64, kept_millis: u64, context: &PlanContext) -> Result<(), Status> {
    if issued_at_millis.saturating_add(kept_millis) < context.now_millis {
        return Err(Status::new(
            Reason::ExpiredKey,
            "the idempotency key is too old to tell whether it was run",
        ));
    }
    Ok(())
}

fn keep(
    batch: &mut Batch,
    context: &PlanContext,
    account: AccountId,
    key: &MutationKey,
    reply: Vec<u8>,
    kept_millis: u64,
) {
    // A key issued in the future, by a clock that is ahead, stays acceptable for longer, and so does its reply.
    let expires_millis = context
        .now_millis
        .max(key.issued_at_millis)
        .saturating_add(kept_millis);
    let record = ReplyRecord {
        expires_millis,
        reply: reply.into(),
    };
    batch.put(
        Column::Rows,
        keys::reply(context.shard, account, &key.session, key.number),
        record.encode(),
    );
    let expiry = keys::reply_expiry(context.shard, expires_millis, account, &key.session, key.number);
    batch.put(Column::Rows, expiry, bytes::Bytes::new());
}
