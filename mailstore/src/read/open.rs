//! OpenMailbox and ClaimRecent: what a session needs to show a mailbox, and the recent messages taken by it, then and when it leaves.

use rookery_proto::Status;
use rookery_proto::mailstore::v1 as proto;

use super::{OpenCache, Snapshot, requested_mailbox};
use crate::schema::Uid;

/// The mailbox as a session shows it; its recent messages are this session's alone when they are claimed.
pub fn open_mailbox(
    snapshot: &Snapshot,
    cache: &OpenCache,
    request: &proto::OpenMailbox,
) -> Result<proto::OpenedMailbox, Status> {
    let reader = snapshot.reader();
    let id = requested_mailbox(request.mailbox);
    let record = reader.existing_mailbox(id)?;
    let view = cache.view(snapshot, id, &record)?;
    let (account, stored) = (snapshot.account, record.recent_from);
    // RFC 3501 §2.3.2: recent to one session alone.
    let recent_from = match request.claim_recent {
        true => snapshot.recent.take(account, id, stored, record.uid_next),
        false => snapshot.recent.recent_from(account, id, stored),
    };
    let recent = reader.recent(id, &record, recent_from)?;
    Ok(proto::OpenedMailbox {
        mailbox: Some(record.to_proto(id, recent_from, recent)),
        uids: Some(view.uids().to_proto()),
        keywords_free: record.keywords_free(),
        keywords: record.keywords,
        first_unseen: view.first_unseen(),
        recent_from: recent_from.0,
    })
}

/// RFC 3501 §2.3.2: what a session was told of while it lasted is recent to no later one.
pub fn claim_recent(snapshot: &Snapshot, request: &proto::ClaimRecent) -> Result<proto::Done, Status> {
    let reader = snapshot.reader();
    let id = requested_mailbox(request.mailbox);
    let record = reader.existing_mailbox(id)?;
    // Never above what exists: the next message is recent to somebody.
    let below = Uid(request.below).min(record.uid_next);
    snapshot
        .recent
        .take(snapshot.account, id, record.recent_from, below);
    Ok(proto::Done {
        modseq: reader.counters()?.modseq.0,
    })
}
