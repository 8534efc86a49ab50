//! Uploads: chunks of a large message as they come, durable before the message is.

use bytes::Bytes;
use rookery_proto::mailstore::v1::{self as proto, reply};
use rookery_proto::{Reason, Status};
use rookery_replication::{Batch, Column, View};

use super::{FinishUpload, Plan, PlanContext, UploadChunk, limit_exceeded};
use crate::schema::body::{BODY_CHUNK_BYTES, FinishedUpload, UploadRecord, chunk_count};
use crate::schema::{AccountId, Reader, UploadId, Value, keys};

pub(super) fn chunk(
    view: &dyn View,
    context: &PlanContext,
    account: AccountId,
    command: &UploadChunk,
) -> Result<Plan, Status> {
    let reader = Reader::new(view, context.shard, account);
    reader.writable_account()?;
    let before = reader.upload(command.upload)?;
    let new = before.is_none();
    let mut record = before.unwrap_or(UploadRecord {
        chunks: 0,
        size: 0,
        expires_millis: context
            .now_millis
            .saturating_add(context.limits.upload_kept_millis),
        finished: None,
    });
    if command.index < record.chunks {
        return Ok(Plan::unchanged(uploaded(record.size, Bytes::new())));
    }
    let last_is_whole = record.size == u64::from(record.chunks) * BODY_CHUNK_BYTES as u64;
    if command.index != record.chunks || record.finished.is_some() || !last_is_whole {
        return Err(Status::new(
            Reason::FailedPrecondition,
            "the chunk is not the upload's next: send it anew",
        ));
    }
    if command.raw_len == 0 || command.raw_len > BODY_CHUNK_BYTES {
        return Err(Status::invalid(
            "a chunk is not empty and not above the size of a chunk",
        ));
    }
    record.size += command.raw_len as u64;
    if record.size > context.limits.message_bytes_max {
        return Err(limit_exceeded(format!(
            "a message has at most {} bytes",
            context.limits.message_bytes_max
        )));
    }
    record.chunks += 1;
    let mut batch = Batch::new();
    let key = keys::upload_chunk(context.shard, account, command.upload, command.index);
    batch.put(Column::Bodies, key, command.stored.clone());
    put(&mut batch, context, account, command.upload, &record);
    if new {
        let expiry = keys::upload_expiry(context.shard, record.expires_millis, account, command.upload);
        batch.put(Column::Rows, expiry, Bytes::new());
    }
    Ok(Plan::new(batch, uploaded(record.size, Bytes::new())))
}

pub(super) fn finish(
    view: &dyn View,
    context: &PlanContext,
    account: AccountId,
    command: &FinishUpload,
) -> Result<Plan, Status> {
    let reader = Reader::new(view, context.shard, account);
    reader.writable_account()?;
    let gone = || {
        Status::new(
            Reason::FailedPrecondition,
            "there is no such upload: send it anew",
        )
    };
    let mut record = reader.upload(command.upload)?.ok_or_else(gone)?;
    let reply = uploaded(record.size, Bytes::copy_from_slice(&command.blake3));
    if let Some(finished) = record.finished {
        return if finished.hash == command.hash {
            Ok(Plan::unchanged(reply))
        } else {
            Err(gone())
        };
    }
    if record.size != command.hash.size || u64::from(record.chunks) != chunk_count(record.size) {
        return Err(Status::new(
            Reason::FailedPrecondition,
            "the upload is not whole: send it anew",
        ));
    }
    record.finished = Some(FinishedUpload {
        hash: command.hash,
        used: false,
    });
    let mut batch = Batch::new();
    put(&mut batch, context, account, command.upload, &record);
    Ok(Plan::new(batch, reply))
}

fn put(
    batch: &mut Batch,
    context: &PlanContext,
    account: AccountId,
    upload: UploadId,
    record: &UploadRecord,
) {
    batch.put(
        Column::Rows,
        keys::upload(context.shard, account, upload),
        record.encode(),
    );
}

fn uploaded(size: u64, hash: Bytes) -> reply::Call {
    reply::Call::Uploaded(proto::Uploaded { size, hash })
}
