//! Reads of an account at one moment: mailboxes, the session's view, changes, fetch, search.
//!
//! Everything here blocks on the disk and belongs on threads where that is allowed. Long reads are cursors that give a
//! bounded piece at each step, so that no thread is held while a caller is slow. Never writes, never waits.

mod ahead;
mod batch;
mod changes;
mod export;
mod fetch;
mod list;
mod message;
mod moved;
mod open;
mod search;
mod section;
mod threads;
mod view;

use std::sync::Arc;

use rookery_proto::Status;
use rookery_proto::mailstore::v1::{self as proto, UidSet};
use rookery_replication::View;

use crate::body::BodyStore;
use crate::schema::{AccountId, MailboxId, MailboxRecord, Reader, ShardId, UidRanges};
use crate::shard::RecentClaims;

pub use changes::changes;
pub use export::ExportCursor;
pub use fetch::{FetchCursor, REPLY_BYTES_TARGET, REPLY_ROWS_MAX};
pub use list::list_mailboxes;
pub use moved::MovedCursor;
pub use open::{claim_recent, open_mailbox};
pub use rookery_replication::store::OwnedSnapshot;
pub use search::{SEARCH_DEPTH_MAX, SEARCH_KEYS_MAX, SearchCursor};
pub use threads::ReadThreads;
pub use view::OpenCache;

/// A view that threads may share.
pub type SharedView = Arc<dyn View + Send + Sync>;

/// One account of a shard as it is at one moment.
#[derive(Clone)]
pub struct Snapshot {
    /// What is stored.
    pub view: SharedView,
    /// The shard.
    pub shard: ShardId,
    /// The account.
    pub account: AccountId,
    /// Where bodies are.
    pub bodies: Arc<dyn BodyStore>,
    /// What sessions have taken of the shard's recent messages, beside what is stored.
    pub recent: Arc<RecentClaims>,
    /// Who helps with reads of many messages.
    pub threads: Arc<ReadThreads>,
}

impl Snapshot {
    /// Typed reads.
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(&*self.view, self.shard, self.account)
    }

    /// A mailbox as others see it.
    fn describe(&self, id: MailboxId, record: &MailboxRecord) -> Result<proto::Mailbox, Status> {
        let from = self.recent.recent_from(self.account, id, record.recent_from);
        let recent = self.reader().recent(id, record, from)?;
        Ok(record.to_proto(id, from, recent))
    }
}

/// The UIDs of a request.
fn requested_uids(set: Option<&UidSet>) -> Result<UidRanges, Status> {
    set.map_or(Some(UidRanges::new()), UidRanges::from_proto)
        .ok_or_else(|| {
            Status::invalid("a set of UIDs is not in order: send ascending, disjoint ranges from 1")
        })
}

/// The mailbox of a request.
fn requested_mailbox(mailbox: u32) -> MailboxId {
    MailboxId(mailbox)
}

#[cfg(test)]
mod tests;
