//! OpenMailbox: the session's view of a mailbox.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use rookery_proto::Status;
use rookery_proto::mailstore::v1 as proto;

use super::{Snapshot, requested_mailbox};
use crate::schema::{AccountId, FlagBits, MailboxId, ModSeq, ShardId, Uid, UidRanges};

/// Large mailboxes whose view is remembered.
const VIEWS_REMEMBERED: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Smaller mailboxes are read anew each time.
const REMEMBERED_MESSAGES_MIN: u32 = 1000;

/// A view of more ranges is not remembered.
const REMEMBERED_RANGES_MAX: usize = 10_000;

type ViewKey = (ShardId, AccountId, MailboxId, ModSeq);

/// Which UIDs there are, and what is counted on the way.
struct MailboxView {
    uids: UidRanges,
    first_unseen: u32,
    /// Messages from this UID on were counted as recent, and how many they are.
    recent_from: Uid,
    recent: u32,
}

/// Views of large mailboxes that were opened lately. Each is of one modseq, so none is ever out of date.
pub struct OpenCache {
    views: Mutex<LruCache<ViewKey, Arc<MailboxView>>>,
}

impl Default for OpenCache {
    fn default() -> Self {
        Self {
            views: Mutex::new(LruCache::new(VIEWS_REMEMBERED)),
        }
    }
}

/// The mailbox as a session shows it; `recent_from` is that of the mailbox's record.
pub fn open_mailbox(
    snapshot: &Snapshot,
    cache: &OpenCache,
    mailbox: u32,
) -> Result<proto::OpenedMailbox, Status> {
    let reader = snapshot.reader();
    let id = requested_mailbox(mailbox);
    let record = reader.existing_mailbox(id)?;
    let key = (snapshot.shard, snapshot.account, id, record.highest_modseq);
    let remembered = cache.views.lock().get(&key).cloned();
    // Claiming recent messages is no change that takes a modseq.
    let remembered = remembered.filter(|view| view.recent_from == record.recent_from);
    let view = match remembered {
        Some(view) => view,
        None => {
            let view = Arc::new(read_view(snapshot, id, record.recent_from)?);
            if record.messages >= REMEMBERED_MESSAGES_MIN && view.uids.range_count() <= REMEMBERED_RANGES_MAX
            {
                cache.views.lock().put(key, Arc::clone(&view));
            }
            view
        }
    };
    Ok(proto::OpenedMailbox {
        mailbox: Some(record.to_proto(id, view.recent)),
        uids: Some(view.uids.to_proto()),
        keywords_free: record.keywords_free(),
        keywords: record.keywords,
        first_unseen: view.first_unseen,
        recent_from: record.recent_from.0,
    })
}

fn read_view(snapshot: &Snapshot, mailbox: MailboxId, recent_from: Uid) -> Result<MailboxView, Status> {
    let mut view = MailboxView {
        uids: UidRanges::new(),
        first_unseen: 0,
        recent_from,
        recent: 0,
    };
    snapshot
        .reader()
        .flag_blocks(mailbox, Uid(0), Uid(u32::MAX), |_, block| {
            for entry in &block.entries {
                view.uids.push(entry.uid);
                view.recent += u32::from(entry.uid >= recent_from);
                if view.first_unseen == 0 && !entry.flags.contains(FlagBits::SEEN) {
                    view.first_unseen = entry.uid.0;
                }
            }
            true
        })?;
    Ok(view)
}
