//! Which UIDs a mailbox has, remembered for large ones and brought up to date by their logs of changes: so that opening a mailbox costs what
//! has changed since it was opened last, and not what is in it.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use rookery_proto::Status;

use super::Snapshot;
use super::changes::logged_since;
use crate::catalogue::looked_up;
use crate::schema::{AccountId, FlagBits, MailboxId, MailboxRecord, ModSeq, ShardId, Uid, UidRanges};

/// Large mailboxes whose view is remembered.
const VIEWS_REMEMBERED: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Smaller mailboxes are read anew each time.
const REMEMBERED_MESSAGES_MIN: u32 = 1000;

/// A view of more ranges is not remembered.
const REMEMBERED_RANGES_MAX: usize = 10_000;

type ViewKey = (ShardId, AccountId, MailboxId);

/// Which UIDs there were at a modseq of the mailbox.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MailboxView {
    modseq: ModSeq,
    uids: UidRanges,
    /// The lowest without `\Seen`.
    first_unseen: Option<Uid>,
}

impl MailboxView {
    /// All UIDs.
    pub(super) fn uids(&self) -> &UidRanges {
        &self.uids
    }

    /// The lowest UID without `\Seen`, 0 if there is none.
    pub(super) fn first_unseen(&self) -> u32 {
        self.first_unseen.map_or(0, |uid| uid.0)
    }

    fn read(snapshot: &Snapshot, mailbox: MailboxId, record: &MailboxRecord) -> Result<Self, Status> {
        let mut view = Self {
            modseq: record.highest_modseq,
            uids: UidRanges::new(),
            first_unseen: None,
        };
        let reader = snapshot.reader();
        reader.flag_blocks(mailbox, Uid(0), Uid(u32::MAX), |_, block| {
            for entry in &block.entries {
                view.uids.push(entry.uid);
                if view.first_unseen.is_none() && !entry.flags.contains(FlagBits::SEEN) {
                    view.first_unseen = Some(entry.uid);
                }
            }
            true
        })?;
        Ok(view)
    }

    /// The view as it is now, by what has changed since; `None` when the log does not reach back so far.
    fn brought_up(
        &self,
        snapshot: &Snapshot,
        mailbox: MailboxId,
        record: &MailboxRecord,
    ) -> Result<Option<Self>, Status> {
        if self.modseq < record.log_from || self.modseq > record.highest_modseq {
            return Ok(None);
        }
        let (changed, vanished) = logged_since(snapshot, mailbox, self.modseq)?;
        let mut uids = self.uids.without(&vanished);
        let known_to = self.uids.last().unwrap_or_default();
        let mut first_changed_unseen = None;
        snapshot.reader().flags_of(mailbox, &changed, |entry| {
            if entry.uid > known_to {
                uids.push(entry.uid);
            }
            if first_changed_unseen.is_none() && !entry.flags.contains(FlagBits::SEEN) {
                first_changed_unseen = Some(entry.uid);
            }
        })?;
        // What was the first may have been seen, or be no more: then the next is looked for.
        let first_left = match self.first_unseen {
            Some(first) if changed.contains(first) || vanished.contains(first) => {
                first_unseen_from(snapshot, mailbox, first)?
            }
            same => same,
        };
        Ok(Some(Self {
            modseq: record.highest_modseq,
            uids,
            first_unseen: first_left.into_iter().chain(first_changed_unseen).min(),
        }))
    }
}

fn first_unseen_from(snapshot: &Snapshot, mailbox: MailboxId, from: Uid) -> Result<Option<Uid>, Status> {
    let mut found = None;
    let reader = snapshot.reader();
    reader.flag_blocks(mailbox, from, Uid(u32::MAX), |_, block| {
        let mut entries = block.entries.iter();
        found = entries
            .find(|entry| entry.uid >= from && !entry.flags.contains(FlagBits::SEEN))
            .map(|entry| entry.uid);
        found.is_none()
    })?;
    Ok(found)
}

/// Views of large mailboxes that were opened lately.
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

impl OpenCache {
    /// The mailbox as its record says that it is.
    pub(super) fn view(
        &self,
        snapshot: &Snapshot,
        mailbox: MailboxId,
        record: &MailboxRecord,
    ) -> Result<Arc<MailboxView>, Status> {
        if record.messages < REMEMBERED_MESSAGES_MIN {
            return MailboxView::read(snapshot, mailbox, record).map(Arc::new);
        }
        let key = (snapshot.shard, snapshot.account, mailbox);
        let remembered = self.views.lock().get(&key).cloned();
        looked_up("mailboxes", remembered.is_some());
        let brought_up = match remembered {
            Some(view) if view.modseq == record.highest_modseq => return Ok(view),
            Some(view) => view.brought_up(snapshot, mailbox, record)?,
            None => None,
        };
        let view = match brought_up {
            Some(view) => view,
            None => MailboxView::read(snapshot, mailbox, record)?,
        };
        let view = Arc::new(view);
        match view.uids.range_count() <= REMEMBERED_RANGES_MAX {
            true => self.remember(key, &view),
            // To bring an old one up again and again would cost more and more.
            false => drop(self.views.lock().pop(&key)),
        }
        Ok(view)
    }

    /// Unless a later one has been remembered meanwhile.
    fn remember(&self, key: ViewKey, view: &Arc<MailboxView>) {
        let mut views = self.views.lock();
        let is_later = |known: &Arc<MailboxView>| known.modseq > view.modseq;
        if !views.peek(&key).is_some_and(is_later) {
            views.put(key, Arc::clone(view));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use rookery_proto::mailstore::v1 as proto;
    use rookery_proto::mailstore::v1::store::Mode;
    use rookery_replication::MemoryStore;

    use super::*;
    use crate::body::ColumnBodies;
    use crate::plan::{
        Append, AppendMessage, BodySource, Command, Mutation, PlanContext, PlanLimits, PreparedBody, plan,
    };
    use crate::schema::BodyHash;
    use crate::schema::body::encode_chunk;

    const SHARD: ShardId = ShardId(1);
    const ANN: AccountId = AccountId(9);
    const INBOX: MailboxId = MailboxId::INBOX;

    struct Rig {
        store: MemoryStore,
    }

    impl Rig {
        fn new() -> Self {
            let mut rig = Self {
                store: MemoryStore::new(),
            };
            rig.run(Command::PutAccount(proto::PutAccount {
                shard: SHARD.0,
                account: ANN.0,
                generation: 1,
                quota_bytes: 0,
            }));
            rig
        }

        fn run(&mut self, command: Command) {
            let context = PlanContext {
                shard: SHARD,
                now_millis: 1,
                limits: PlanLimits::default(),
                disk_nearly_full: false,
            };
            let mutation = Mutation {
                account: ANN,
                key: None,
                command,
            };
            let planned = plan(&self.store, &context, &mutation).expect("plans");
            self.store.apply(&planned.batch);
        }

        fn append(&mut self, count: usize) {
            let message = AppendMessage {
                body: PreparedBody {
                    hash: BodyHash::of(b"a"),
                    source: BodySource::Chunks(vec![encode_chunk(b"a")]),
                    analysis: Bytes::new(),
                    header_len: 0,
                },
                flags: proto::Flags::default(),
                internal_date: None,
            };
            self.run(Command::Append(Append {
                mailbox: INBOX.0,
                messages: vec![message; count],
            }));
        }

        fn store(&mut self, mode: Mode, flags: FlagBits, first: u32, last: u32) {
            self.run(Command::Store(proto::Store {
                mailbox: INBOX.0,
                uids: Some(proto::UidSet {
                    bounds: vec![first, last],
                }),
                mode: mode.into(),
                flags: Some(proto::Flags {
                    system: flags.system(),
                    keywords: Vec::new(),
                }),
                unchanged_since: 0,
            }));
        }

        fn expunge(&mut self, first: u32, last: u32) {
            self.store(Mode::Add, FlagBits::DELETED, first, last);
            self.run(Command::Expunge(proto::Expunge {
                mailbox: INBOX.0,
                only: false,
                uids: None,
            }));
        }

        fn snapshot(&self) -> Snapshot {
            Snapshot {
                view: Arc::new(self.store.clone()),
                shard: SHARD,
                account: ANN,
                bodies: Arc::new(ColumnBodies::default()),
                recent: Arc::default(),
                threads: Arc::default(),
            }
        }

        fn record(&self) -> MailboxRecord {
            let snapshot = self.snapshot();
            snapshot.reader().existing_mailbox(INBOX).expect("is there")
        }
    }

    #[test]
    fn a_view_brought_up_by_the_log_is_what_is_there() {
        for seed in 0..60 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut rig = Rig::new();
            rig.append(300);
            let mut views = vec![MailboxView::read(&rig.snapshot(), INBOX, &rig.record()).expect("reads")];
            for _ in 0..20 {
                let highest = rig.record().uid_next.0;
                let first = rng.random_range(1..highest);
                let last = rng.random_range(first..=highest.min(first + 100));
                match rng.random_range(0..10) {
                    0..3 => rig.append(rng.random_range(1..200)),
                    3 => rig.store(Mode::Add, FlagBits::SEEN, 1, last),
                    4..6 => rig.store(Mode::Add, FlagBits::SEEN, first, last),
                    6..8 => rig.store(Mode::Remove, FlagBits::SEEN, first, last),
                    _ => rig.expunge(first, last),
                }
                let (snapshot, record) = (rig.snapshot(), rig.record());
                let fresh = MailboxView::read(&snapshot, INBOX, &record).expect("reads");
                // From the step before, and from any before that.
                let at = rng.random_range(0..views.len());
                for older in [&views[at], &views[views.len() - 1]] {
                    let brought_up = older.brought_up(&snapshot, INBOX, &record).expect("reads");
                    assert_eq!(brought_up.as_ref(), Some(&fresh), "seed {seed}");
                }
                views.push(fresh);
            }
        }
    }

    #[test]
    fn a_view_that_the_log_does_not_reach_or_that_is_later_is_no_beginning() {
        let mut rig = Rig::new();
        rig.append(2);
        let (snapshot, record) = (rig.snapshot(), rig.record());
        let view = MailboxView::read(&snapshot, INBOX, &record).expect("reads");
        rig.append(1);
        let mut cut = rig.record();
        cut.log_from = cut.highest_modseq;
        assert_eq!(view.brought_up(&rig.snapshot(), INBOX, &cut), Ok(None));
        let later = MailboxView::read(&rig.snapshot(), INBOX, &rig.record()).expect("reads");
        assert_eq!(later.brought_up(&snapshot, INBOX, &record), Ok(None));
    }

    #[test]
    fn a_large_mailbox_is_read_once() {
        let mut rig = Rig::new();
        rig.append(REMEMBERED_MESSAGES_MIN as usize);
        let cache = OpenCache::default();
        let first = cache.view(&rig.snapshot(), INBOX, &rig.record()).expect("reads");
        let again = cache.view(&rig.snapshot(), INBOX, &rig.record()).expect("reads");
        assert!(Arc::ptr_eq(&first, &again));
        let earlier = (rig.snapshot(), rig.record());
        rig.append(1);
        let later = cache.view(&rig.snapshot(), INBOX, &rig.record()).expect("reads");
        assert_eq!(later.uids().count(), first.uids().count() + 1);
        // One who still has an earlier snapshot sees that, and does not undo what is remembered.
        assert_eq!(cache.view(&earlier.0, INBOX, &earlier.1).expect("reads"), first);
        let known = cache.view(&rig.snapshot(), INBOX, &rig.record()).expect("reads");
        assert!(Arc::ptr_eq(&known, &later));
    }
}
