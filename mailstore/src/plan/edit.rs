//! What one plan changes of one account: mailboxes, flags, messages, totals, modseq, change log, kept consistent.
//!
//! A plan takes one modseq of the account, however much it changes. Nothing reaches the batch but through here, except
//! the records and bodies of messages.

use std::collections::BTreeMap;

use rookery_proto::mailstore::v1::{MailboxEvent, SpecialUse};
use rookery_proto::{Reason, Status};
use rookery_replication::{Batch, Column, View};

use super::{PlanContext, limit_exceeded};
use crate::schema::change::{Change, LOG_ENTRIES_KEPT, LOG_ENTRIES_SLACK};
use crate::schema::flags::{KEYWORDS_MAX, block_of};
use crate::schema::garbage::GARBAGE_ITEMS_MAX;
use crate::schema::mailbox::{KEYWORD_BYTES_MAX, MAILBOXES_MAX};
use crate::schema::{
    AccountCounters, AccountId, AccountRecord, FlagBits, FlagBlock, FlagEntry, Garbage, MailboxId,
    MailboxRecord, MessageNumber, MessageRow, ModSeq, Reader, Uid, UidRanges, UidValidity, Value, keys,
};

/// Rows of neighbouring UIDs from this number on are removed as a range.
const RANGE_DELETE_MIN: u32 = 256;

/// UIDs end here: one below the highest, so that the range after the last can be named.
const UID_MAX: u32 = u32::MAX - 1;

/// An account under change.
pub(super) struct AccountEdit<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) batch: Batch,
    pub(super) record: AccountRecord,
    pub(super) counters: AccountCounters,
    modseq: ModSeq,
    mailboxes: BTreeMap<MailboxId, MailboxEdit>,
    hierarchy_changed: bool,
    garbage: Vec<MessageNumber>,
}

/// A mailbox under change.
pub(super) struct MailboxEdit {
    pub(super) record: MailboxRecord,
    blocks: BTreeMap<u32, FlagBlock>,
    changed: Vec<Uid>,
    vanished: Vec<Uid>,
    /// The record changed without a message changing.
    touched: bool,
}

/// A finished edit.
pub(super) struct Edited {
    pub(super) batch: Batch,
    pub(super) events: Vec<MailboxEvent>,
    pub(super) modseq: ModSeq,
    pub(super) garbage: bool,
}

impl<'a> AccountEdit<'a> {
    /// Begins with an account that may be changed here.
    pub(super) fn begin(
        view: &'a dyn View,
        context: &PlanContext,
        account: AccountId,
    ) -> Result<Self, Status> {
        let reader = Reader::new(view, context.shard, account);
        let record = reader.writable_account()?;
        let counters = reader.counters()?;
        Ok(Self::with(reader, record, counters))
    }

    pub(super) fn with(reader: Reader<'a>, record: AccountRecord, counters: AccountCounters) -> Self {
        Self {
            reader,
            batch: Batch::new(),
            record,
            counters,
            modseq: ModSeq(counters.modseq.0 + 1),
            mailboxes: BTreeMap::new(),
            hierarchy_changed: false,
            garbage: Vec::new(),
        }
    }

    /// The modseq of this plan.
    pub(super) fn modseq(&self) -> ModSeq {
        self.modseq
    }

    /// A mailbox, or NO_MAILBOX.
    pub(super) fn mailbox(&mut self, id: MailboxId) -> Result<&mut MailboxEdit, Status> {
        match self.mailboxes.entry(id) {
            std::collections::btree_map::Entry::Occupied(known) => Ok(known.into_mut()),
            std::collections::btree_map::Entry::Vacant(new) => {
                Ok(new.insert(MailboxEdit::new(self.reader.existing_mailbox(id)?)))
            }
        }
    }

    /// A new mailbox of a name that is free and canonical.
    pub(super) fn create_mailbox(
        &mut self,
        name: String,
        special_use: SpecialUse,
    ) -> Result<MailboxId, Status> {
        if self.counters.mailboxes >= MAILBOXES_MAX {
            return Err(limit_exceeded(format!(
                "an account has at most {MAILBOXES_MAX} mailboxes"
            )));
        }
        let id = self.counters.next_mailbox;
        let uid_validity = self.counters.next_uid_validity;
        if id.0 == u32::MAX || uid_validity.0 == u32::MAX {
            return Err(limit_exceeded("the account has used up its mailbox ids"));
        }
        self.counters.next_mailbox = MailboxId(id.0 + 1);
        self.counters.next_uid_validity = UidValidity(uid_validity.0 + 1);
        self.counters.mailboxes += 1;
        let mut mailbox = MailboxEdit::new(MailboxRecord::new(name, uid_validity, special_use, self.modseq));
        mailbox.touched = true;
        self.mailboxes.insert(id, mailbox);
        self.hierarchy_changed = true;
        Ok(id)
    }

    /// Sets a mailbox's name.
    pub(super) fn rename_mailbox(&mut self, id: MailboxId, name: String) -> Result<(), Status> {
        let mailbox = self.mailbox(id)?;
        mailbox.record.name = name;
        mailbox.touched = true;
        self.hierarchy_changed = true;
        Ok(())
    }

    /// Removes a mailbox with its messages.
    pub(super) fn delete_mailbox(&mut self, id: MailboxId) -> Result<(), Status> {
        let record = self.mailbox(id)?.record.clone();
        self.mailboxes.remove(&id);
        let all = UidRanges::range(Uid(1), Uid(UID_MAX));
        let numbers = &mut self.garbage;
        self.reader.message_rows(id, &all, |_, row| {
            numbers.push(row.number);
            true
        })?;
        let (shard, account) = (self.reader.shard, self.reader.account);
        for (from, to) in keys::mailbox_ranges(shard, account, id) {
            self.batch.delete_range(Column::Rows, from, to);
        }
        self.batch.delete(Column::Rows, keys::mailbox(shard, account, id));
        self.counters.mailboxes = self.counters.mailboxes.saturating_sub(1);
        self.counters.used_bytes = self.counters.used_bytes.saturating_sub(record.size);
        self.counters.used_messages = self
            .counters
            .used_messages
            .saturating_sub(u64::from(record.messages));
        self.hierarchy_changed = true;
        Ok(())
    }

    /// Notes a change of subscriptions, which is in the batch already.
    pub(super) fn change_hierarchy(&mut self) {
        self.hierarchy_changed = true;
    }

    /// Refuses when so many bytes more would not fit.
    pub(super) fn check_quota(&self, bytes: u64) -> Result<(), Status> {
        let quota = self.record.quota_bytes;
        if quota != 0 && self.counters.used_bytes.saturating_add(bytes) > quota {
            return Err(Status::new(
                Reason::OverQuota,
                format!("the account may hold {quota} bytes"),
            ));
        }
        Ok(())
    }

    /// The next message's number.
    pub(super) fn take_message_number(&mut self) -> MessageNumber {
        let number = self.counters.next_message;
        self.counters.next_message = MessageNumber(number.0 + 1);
        number
    }

    /// Puts a message at the end of a mailbox.
    pub(super) fn append(&mut self, id: MailboxId, row: &MessageRow, flags: FlagBits) -> Result<Uid, Status> {
        let (modseq, reader) = (self.modseq, self.reader);
        let mailbox = self.mailbox(id)?;
        let uid = mailbox.record.uid_next;
        if uid.0 > UID_MAX {
            return Err(limit_exceeded("the mailbox has used up its UIDs"));
        }
        mailbox
            .block(&reader, id, block_of(uid))?
            .push(FlagEntry { uid, flags, modseq });
        let record = &mut mailbox.record;
        record.uid_next = Uid(uid.0 + 1);
        record.messages += 1;
        record.unseen += u32::from(!flags.contains(FlagBits::SEEN));
        record.deleted += u32::from(flags.contains(FlagBits::DELETED));
        record.recent = record.recent.map(|recent| recent + 1);
        record.size += row.size;
        mailbox.changed.push(uid);
        self.counters.used_bytes += row.size;
        self.counters.used_messages += 1;
        self.batch.put(
            Column::Rows,
            keys::message_row(reader.shard, reader.account, id, uid),
            row.encode(),
        );
        Ok(uid)
    }

    /// Takes messages that exist out of a mailbox and returns their rows, ascending. Their references stay.
    pub(super) fn take(&mut self, id: MailboxId, uids: &UidRanges) -> Result<Vec<(Uid, MessageRow)>, Status> {
        let reader = self.reader;
        let mut rows = Vec::new();
        reader.message_rows(id, uids, |uid, row| {
            rows.push((uid, row));
            true
        })?;
        let mailbox = self.mailbox(id)?;
        let mut gone = UidRanges::new();
        let mut bytes = 0;
        for (uid, row) in &rows {
            let block = mailbox.block(&reader, id, block_of(*uid))?;
            if let Ok(at) = block.entries.binary_search_by_key(uid, |entry| entry.uid) {
                let flags = block.entries.remove(at).flags;
                mailbox.record.unseen -= u32::from(!flags.contains(FlagBits::SEEN));
                mailbox.record.deleted -= u32::from(flags.contains(FlagBits::DELETED));
                if *uid >= mailbox.record.recent_from {
                    mailbox.record.recent = mailbox.record.recent.map(|recent| recent - 1);
                }
            }
            gone.push(*uid);
            bytes += row.size;
            mailbox.vanished.push(*uid);
        }
        mailbox.record.messages -= rows.len() as u32;
        mailbox.record.size -= bytes;
        self.counters.used_bytes = self.counters.used_bytes.saturating_sub(bytes);
        self.counters.used_messages = self.counters.used_messages.saturating_sub(rows.len() as u64);
        for (first, last) in gone.ranges() {
            let (shard, account) = (reader.shard, reader.account);
            if last.0 - first.0 >= RANGE_DELETE_MIN {
                let (from, to) = keys::message_rows(shard, account, id, first, last);
                self.batch.delete_range(Column::Rows, from, to);
            } else {
                for uid in first.0..=last.0 {
                    self.batch
                        .delete(Column::Rows, keys::message_row(shard, account, id, Uid(uid)));
                }
            }
        }
        Ok(rows)
    }

    /// Drops a reference to each message, later.
    pub(super) fn drop_references(&mut self, numbers: impl IntoIterator<Item = MessageNumber>) {
        self.garbage.extend(numbers);
    }

    /// Writes what has changed. When nothing has, the batch stays as it is and no modseq is taken.
    pub(super) fn finish(mut self) -> Result<Edited, Status> {
        let mut events = Vec::new();
        let (shard, account, modseq) = (self.reader.shard, self.reader.account, self.modseq);
        for (id, mailbox) in std::mem::take(&mut self.mailboxes) {
            let changed = mailbox.write(&self.reader, &mut self.batch, id, modseq)?;
            if changed {
                events.push(MailboxEvent {
                    account: account.0,
                    mailbox: id.0,
                    modseq: modseq.0,
                });
            }
        }
        if self.hierarchy_changed {
            self.counters.hierarchy_modseq = modseq;
            events.push(MailboxEvent {
                account: account.0,
                mailbox: 0,
                modseq: modseq.0,
            });
        }
        for (part, numbers) in (0u32..).zip(self.garbage.chunks(GARBAGE_ITEMS_MAX)) {
            let row = Garbage::Messages(numbers.to_vec()).encode();
            self.batch
                .put(Column::Rows, keys::garbage(shard, account, modseq, part), row);
        }
        if self.batch.is_empty() {
            let modseq = self.counters.modseq;
            return Ok(Edited {
                batch: self.batch,
                events,
                modseq,
                garbage: false,
            });
        }
        self.counters.modseq = modseq;
        self.batch.put(
            Column::Rows,
            keys::account_counters(shard, account),
            self.counters.encode(),
        );
        Ok(Edited {
            batch: self.batch,
            events,
            modseq,
            garbage: !self.garbage.is_empty(),
        })
    }
}

impl MailboxEdit {
    fn new(record: MailboxRecord) -> Self {
        Self {
            record,
            blocks: BTreeMap::new(),
            changed: Vec::new(),
            vanished: Vec::new(),
            touched: false,
        }
    }

    fn block(&mut self, reader: &Reader<'_>, id: MailboxId, block: u32) -> Result<&mut FlagBlock, Status> {
        match self.blocks.entry(block) {
            std::collections::btree_map::Entry::Occupied(known) => Ok(known.into_mut()),
            std::collections::btree_map::Entry::Vacant(new) => Ok(new.insert(reader.flag_block(id, block)?)),
        }
    }

    /// Takes a whole block that was read and changed; its entries with the plan's modseq have changed.
    pub(super) fn replace_block(
        &mut self,
        block: u32,
        flags: FlagBlock,
        changed: impl IntoIterator<Item = Uid>,
    ) {
        self.changed.extend(changed);
        self.blocks.insert(block, flags);
    }

    /// Keeps the totals right when a message's flags change.
    pub(super) fn count_flags(&mut self, before: FlagBits, after: FlagBits) {
        let record = &mut self.record;
        record.unseen += u32::from(!after.contains(FlagBits::SEEN));
        record.unseen -= u32::from(!before.contains(FlagBits::SEEN));
        record.deleted += u32::from(after.contains(FlagBits::DELETED));
        record.deleted -= u32::from(before.contains(FlagBits::DELETED));
    }

    /// The bits of flags, with keywords that the mailbox does not have yet added to it.
    pub(super) fn intern(&mut self, system: u32, keywords: &[String]) -> Result<FlagBits, Status> {
        let mut bits = FlagBits::from_system(system);
        for keyword in keywords {
            bits = bits.with(self.intern_keyword(keyword)?);
        }
        Ok(bits)
    }

    fn intern_keyword(&mut self, keyword: &str) -> Result<FlagBits, Status> {
        if let Some(bit) = self.record.keyword_bit(keyword) {
            return Ok(bit);
        }
        if keyword.is_empty()
            || keyword.len() > KEYWORD_BYTES_MAX
            || !keyword.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(Status::invalid(
                "a keyword is 1 to 128 printable ASCII characters",
            ));
        }
        if self.record.keywords.len() >= KEYWORDS_MAX {
            return Err(limit_exceeded(format!(
                "a mailbox has at most {KEYWORDS_MAX} keywords"
            )));
        }
        self.record.keywords.push(keyword.to_owned());
        self.touched = true;
        Ok(FlagBits::keyword(self.record.keywords.len() - 1))
    }

    /// Writes the mailbox if need be; says whether its messages have changed.
    fn write(
        mut self,
        reader: &Reader<'_>,
        batch: &mut Batch,
        id: MailboxId,
        modseq: ModSeq,
    ) -> Result<bool, Status> {
        let (shard, account) = (reader.shard, reader.account);
        let messages_changed = !self.changed.is_empty() || !self.vanished.is_empty();
        if !messages_changed && !self.touched {
            return Ok(false);
        }
        if messages_changed {
            for (block, flags) in &self.blocks {
                let key = keys::flag_block(shard, account, id, *block);
                if flags.entries.is_empty() {
                    batch.delete(Column::Rows, key);
                } else {
                    batch.put(Column::Rows, key, flags.encode());
                }
            }
            let change = Change::new(
                self.changed.into_iter().collect(),
                self.vanished.into_iter().collect(),
            );
            batch.put(
                Column::Rows,
                keys::change(shard, account, id, modseq),
                change.encode(),
            );
            self.record.log_entries += 1;
            if self.record.log_entries > LOG_ENTRIES_KEPT + LOG_ENTRIES_SLACK {
                trim_log(reader, batch, id, &mut self.record)?;
            }
            self.record.highest_modseq = modseq;
        }
        batch.put(
            Column::Rows,
            keys::mailbox(shard, account, id),
            self.record.encode(),
        );
        Ok(messages_changed)
    }
}

/// Removes the oldest entries of the change log: a reader that asks for changes since before them starts anew.
fn trim_log(
    reader: &Reader<'_>,
    batch: &mut Batch,
    id: MailboxId,
    record: &mut MailboxRecord,
) -> Result<(), Status> {
    let (shard, account) = (reader.shard, reader.account);
    let mut count = 0;
    let mut last = None;
    let (from, to) = keys::changes(shard, account, id, ModSeq(0));
    let scanned = reader.view.scan(Column::Rows, &from, &to, &mut |key, _| {
        count += 1;
        last = keys::change_of(key);
        count < LOG_ENTRIES_SLACK
    });
    scanned.map_err(crate::schema::unread)?;
    let Some(last) = last else { return Ok(()) };
    batch.delete_range(Column::Rows, from, keys::changes(shard, account, id, last).0);
    record.log_entries -= count;
    record.log_from = last;
    Ok(())
}
