//! Removes what is kept for a time only: replies and unused uploads. Some a plan.

use rookery_proto::Status;
use rookery_replication::{Batch, Column, View};

use super::collect::tell_damage;
use super::{Plan, PlanContext, done};
use crate::schema::keys::Kind;
use crate::schema::read::ReadError;
use crate::schema::{ModSeq, Reader, keys};

/// Replies that one plan removes.
const REPLIES_MAX: usize = 1000;

/// Uploads that one plan removes.
const UPLOADS_MAX: usize = 100;

pub(super) fn expire(view: &dyn View, context: &PlanContext) -> Result<Plan, Status> {
    let mut batch = Batch::new();
    let (replies, more_replies) = due_keys(view, context, Kind::ReplyExpiry, REPLIES_MAX)?;
    for key in replies {
        if let Some(reply) = keys::reply_of_expiry(context.shard, &key) {
            batch.delete(Column::Rows, reply);
        }
        batch.delete(Column::Rows, key);
    }
    let (uploads, more_uploads) = due_keys(view, context, Kind::UploadExpiry, UPLOADS_MAX)?;
    for key in uploads {
        if let Some((account, upload)) = keys::upload_of_expiry(&key) {
            let unused = match Reader::new(view, context.shard, account).upload(upload) {
                Ok(record) => record.filter(|record| record.finished.is_none_or(|finished| !finished.used)),
                // A body may refer to it: it stays, and the others expire nevertheless.
                Err(error @ ReadError::Value { .. }) => {
                    tell_damage("an upload", account, &error);
                    None
                }
                Err(error) => return Err(error.into()),
            };
            if let Some(record) = unused {
                batch.add(
                    keys::uploads_pending(context.shard, account),
                    -i64::from(record.chunks),
                );
                let (from, to) = keys::upload_chunks(context.shard, account, upload);
                batch.delete_range(Column::Bodies, from, to);
                batch.delete(Column::Rows, keys::upload(context.shard, account, upload));
            }
        }
        batch.delete(Column::Rows, key);
    }
    Ok(Plan {
        garbage: more_replies || more_uploads,
        ..Plan::new(batch, done(ModSeq(0)))
    })
}

fn due_keys(
    view: &dyn View,
    context: &PlanContext,
    index: Kind,
    limit: usize,
) -> Result<(Vec<bytes::Bytes>, bool), Status> {
    let mut found = Vec::new();
    let mut more = false;
    // Strictly before now: what expires now may still be asked for.
    let (from, to) = keys::due(context.shard, index, context.now_millis.saturating_sub(1));
    let scanned = view.scan(Column::Rows, &from, &to, &mut |key, _| {
        more = found.len() == limit;
        if !more {
            found.push(bytes::Bytes::copy_from_slice(key));
        }
        !more
    });
    scanned.map_err(crate::schema::unread)?;
    Ok((found, more))
}
