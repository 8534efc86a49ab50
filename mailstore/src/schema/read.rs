//! Typed reads of a shard through a view: what planners and readers share.

use bytes::Bytes;
use rookery_proto::{Reason, Status};
use rookery_replication::{Column, View, ViewError};

use super::account::{AccountCounters, AccountRecord, AccountState};
use super::body::{BodyLocation, BodyRecord, UploadRecord};
use super::change::Change;
use super::codec::{DecodeError, Value};
use super::flags::{FlagBlock, FlagEntry, block_of};
use super::handoff::HandOffRecord;
use super::ids::{AccountId, BodyHash, MailboxId, MessageNumber, ModSeq, ShardId, Uid, UploadId};
use super::keys;
use super::leaving::Leaving;
use super::mailbox::MailboxRecord;
use super::message::{MessageRecord, MessageRow};
use super::uid_ranges::UidRanges;

/// Why something cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store failed.
    #[error(transparent)]
    View(#[from] ViewError),
    /// What is stored cannot be understood.
    #[error("{what} of account {account} in shard {shard} is unreadable: {source}")]
    Value {
        /// What it is.
        what: &'static str,
        /// Whose.
        account: AccountId,
        /// Where.
        shard: ShardId,
        /// Why.
        source: DecodeError,
    },
}

impl From<ReadError> for Status {
    fn from(error: ReadError) -> Self {
        match &error {
            ReadError::View(view) if view.is_damage() => Status::new(Reason::Damaged, error.to_string()),
            _ => Status::internal(error.to_string()),
        }
    }
}

/// What is told when a view cannot be read.
pub fn unread(error: ViewError) -> Status {
    ReadError::View(error).into()
}

/// UIDs that a scan passes over rather than starting anew.
const SCAN_GAP_MAX: u32 = 64;

/// Reads one account of a shard.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// Where it reads.
    pub view: &'a dyn View,
    /// The shard.
    pub shard: ShardId,
    /// The account; of no matter for what belongs to the shard.
    pub account: AccountId,
}

impl<'a> Reader<'a> {
    /// Reads an account.
    pub fn new(view: &'a dyn View, shard: ShardId, account: AccountId) -> Self {
        Self { view, shard, account }
    }

    fn value<T: Value>(&self, what: &'static str, key: &[u8]) -> Result<Option<T>, ReadError> {
        match self.view.get(Column::Rows, key)? {
            None => Ok(None),
            Some(bytes) => Ok(Some(self.decode(what, &bytes)?)),
        }
    }

    fn decode<T: Value>(&self, what: &'static str, bytes: &[u8]) -> Result<T, ReadError> {
        T::decode(bytes).map_err(|source| self.damaged(what, source))
    }

    fn damaged(&self, what: &'static str, source: DecodeError) -> ReadError {
        ReadError::Value {
            what,
            account: self.account,
            shard: self.shard,
            source,
        }
    }

    /// Visits decoded values of a range until `visit` returns false.
    fn values<K, T: Value>(
        &self,
        what: &'static str,
        range: keys::KeyRange,
        key_of: impl Fn(&[u8]) -> Option<K>,
        mut visit: impl FnMut(K, T) -> bool,
    ) -> Result<(), ReadError> {
        let mut failed = None;
        self.view
            .scan(Column::Rows, &range.0, &range.1, &mut |key, value| {
                let decoded = key_of(key)
                    .ok_or(DecodeError::Damaged("key"))
                    .and_then(|key| Ok((key, T::decode(value)?)));
                match decoded {
                    Ok((key, value)) => visit(key, value),
                    Err(error) => {
                        failed = Some(error);
                        false
                    }
                }
            })?;
        failed.map_or(Ok(()), |source| Err(self.damaged(what, source)))
    }

    /// The account's record, whatever its state.
    pub fn account_record(&self) -> Result<Option<AccountRecord>, ReadError> {
        self.value("record", &keys::account(self.shard, self.account))
    }

    /// The account's record when it may be read here; the fitting status otherwise.
    pub fn readable_account(&self) -> Result<AccountRecord, Status> {
        let Some(record) = self.account_record()? else {
            return Err(Status::new(
                Reason::NoAccount,
                format!("account {} is not in shard {}", self.account, self.shard),
            ));
        };
        match record.state {
            AccountState::Live | AccountState::Frozen => Ok(record),
            AccountState::MovedTo(shard) => Err(Status::new(
                Reason::Moved,
                format!("account {} has moved to shard {shard}", self.account),
            )),
            AccountState::Tombstone => Err(Status::new(
                Reason::NoAccount,
                format!("account {} has been deleted", self.account),
            )),
            AccountState::Incoming(_) => Err(Status::new(
                Reason::Frozen,
                format!("account {} is being moved here: retry", self.account),
            )),
        }
    }

    /// The account's record when it may be changed here; the fitting status otherwise.
    pub fn writable_account(&self) -> Result<AccountRecord, Status> {
        let record = self.readable_account()?;
        if record.state == AccountState::Frozen {
            return Err(Status::new(
                Reason::Frozen,
                format!("account {} is being moved: retry", self.account),
            ));
        }
        Ok(record)
    }

    /// The account's counters; those of an empty account when there are none.
    pub fn counters(&self) -> Result<AccountCounters, ReadError> {
        Ok(self
            .value("counters", &keys::account_counters(self.shard, self.account))?
            .unwrap_or_default())
    }

    /// A mailbox.
    pub fn mailbox(&self, mailbox: MailboxId) -> Result<Option<MailboxRecord>, ReadError> {
        self.value("mailbox", &keys::mailbox(self.shard, self.account, mailbox))
    }

    /// A mailbox, or NO_MAILBOX.
    pub fn existing_mailbox(&self, mailbox: MailboxId) -> Result<MailboxRecord, Status> {
        self.mailbox(mailbox)?
            .ok_or_else(|| Status::new(Reason::NoMailbox, format!("mailbox {mailbox} does not exist")))
    }

    /// All mailboxes, ascending by id.
    pub fn mailboxes(&self) -> Result<Vec<(MailboxId, MailboxRecord)>, ReadError> {
        let mut mailboxes = Vec::new();
        let range = keys::mailboxes(self.shard, self.account);
        self.values("mailbox", range, keys::mailbox_of, |id, mailbox| {
            mailboxes.push((id, mailbox));
            true
        })?;
        Ok(mailboxes)
    }

    /// Names subscribed to, ascending.
    pub fn subscriptions(&self) -> Result<Vec<String>, ReadError> {
        let mut names = Vec::new();
        let (from, to) = keys::subscriptions(self.shard, self.account);
        self.view.scan(Column::Rows, &from, &to, &mut |key, _| {
            names.extend(keys::subscription_of(key).map(str::to_owned));
            true
        })?;
        Ok(names)
    }

    /// One block of flags; an empty one when there is none.
    pub fn flag_block(&self, mailbox: MailboxId, block: u32) -> Result<FlagBlock, ReadError> {
        let key = keys::flag_block(self.shard, self.account, mailbox, block);
        Ok(self.value("flag block", &key)?.unwrap_or_default())
    }

    /// Visits the blocks of flags that may hold UIDs from `first` to `last`, ascending, until `visit` returns false.
    pub fn flag_blocks(
        &self,
        mailbox: MailboxId,
        first: Uid,
        last: Uid,
        visit: impl FnMut(u32, FlagBlock) -> bool,
    ) -> Result<(), ReadError> {
        let range = keys::flag_blocks(self.shard, self.account, mailbox, block_of(first), block_of(last));
        self.values("flag block", range, keys::flag_block_of, visit)
    }

    /// Visits the entries of messages that exist among `uids`, ascending.
    pub fn flags_of(
        &self,
        mailbox: MailboxId,
        uids: &UidRanges,
        mut visit: impl FnMut(&FlagEntry),
    ) -> Result<(), ReadError> {
        let (Some(first), Some(last)) = (uids.first(), uids.last()) else {
            return Ok(());
        };
        // A set of few UIDs far apart does not read what lies between: each block is read once.
        let mut next_block = block_of(first);
        for (from, to) in uids.ranges() {
            let (from_block, to_block) = (block_of(from).max(next_block), block_of(to));
            if from_block > to_block {
                continue;
            }
            let range = keys::flag_blocks(self.shard, self.account, mailbox, from_block, to_block);
            self.values("flag block", range, keys::flag_block_of, |_, block: FlagBlock| {
                block
                    .entries
                    .iter()
                    .filter(|entry| uids.contains(entry.uid))
                    .for_each(&mut visit);
                true
            })?;
            next_block = to_block.saturating_add(1);
            if to_block == block_of(last) {
                break;
            }
        }
        Ok(())
    }

    /// All UIDs of a mailbox.
    pub fn uids(&self, mailbox: MailboxId) -> Result<UidRanges, ReadError> {
        let mut uids = UidRanges::new();
        self.flag_blocks(mailbox, Uid(0), Uid(u32::MAX), |_, block| {
            block.entries.iter().for_each(|entry| uids.push(entry.uid));
            true
        })?;
        Ok(uids)
    }

    /// Number of messages with a UID at or above `from`.
    pub fn count_from(&self, mailbox: MailboxId, from: Uid) -> Result<u32, ReadError> {
        let mut count = 0;
        self.flag_blocks(mailbox, from, Uid(u32::MAX), |_, block| {
            count += block.entries.iter().filter(|entry| entry.uid >= from).count() as u32;
            true
        })?;
        Ok(count)
    }

    /// Number of messages of a mailbox that are recent when all below `from` have been taken.
    pub fn recent(&self, mailbox: MailboxId, record: &MailboxRecord, from: Uid) -> Result<u32, ReadError> {
        if from >= record.uid_next {
            return Ok(0);
        }
        match record.recent {
            Some(recent) if from <= record.recent_from => Ok(recent),
            _ => self.count_from(mailbox, from.max(record.recent_from)),
        }
    }

    /// A message in a mailbox.
    pub fn message_row(&self, mailbox: MailboxId, uid: Uid) -> Result<Option<MessageRow>, ReadError> {
        self.value(
            "message row",
            &keys::message_row(self.shard, self.account, mailbox, uid),
        )
    }

    /// Visits the messages of a mailbox among `uids`, ascending, until `visit` returns false.
    pub fn message_rows(
        &self,
        mailbox: MailboxId,
        uids: &UidRanges,
        mut visit: impl FnMut(Uid, MessageRow) -> bool,
    ) -> Result<(), ReadError> {
        let mut ranges = uids.ranges().peekable();
        while let Some((first, mut last)) = ranges.next() {
            // One scan over small gaps costs less than a scan for each range.
            while let Some((_, end)) = ranges.next_if(|(start, _)| start.0 - last.0 <= SCAN_GAP_MAX) {
                last = end;
            }
            let range = keys::message_rows(self.shard, self.account, mailbox, first, last);
            let mut go_on = true;
            self.values("message row", range, keys::message_row_uid, |uid, row| {
                go_on = !uids.contains(uid) || visit(uid, row);
                go_on
            })?;
            if !go_on {
                break;
            }
        }
        Ok(())
    }

    /// A message.
    pub fn message(&self, number: MessageNumber) -> Result<Option<MessageRecord>, ReadError> {
        self.value("message", &keys::message(self.shard, self.account, number))
    }

    /// Visits the change log after `since`, ascending, until `visit` returns false.
    pub fn changes(
        &self,
        mailbox: MailboxId,
        since: ModSeq,
        visit: impl FnMut(ModSeq, Change) -> bool,
    ) -> Result<(), ReadError> {
        let range = keys::changes(self.shard, self.account, mailbox, since);
        self.values("change log", range, keys::change_of, visit)
    }

    /// A body's record.
    pub fn body(&self, hash: &BodyHash) -> Result<Option<BodyRecord>, ReadError> {
        self.value("body", &keys::body(self.shard, hash))
    }

    /// The stored form of a chunk of a body, as [`super::body::decode_chunk`] takes it.
    pub fn body_chunk(
        &self,
        hash: &BodyHash,
        location: BodyLocation,
        chunk: u32,
    ) -> Result<Option<Bytes>, ReadError> {
        let key = match location {
            BodyLocation::Own => keys::body_chunk(self.shard, hash, chunk),
            BodyLocation::Upload(account, upload) => keys::upload_chunk(self.shard, account, upload, chunk),
        };
        Ok(self.view.get(Column::Bodies, &key)?)
    }

    /// An upload of the account.
    pub fn upload(&self, upload: UploadId) -> Result<Option<UploadRecord>, ReadError> {
        self.value("upload", &keys::upload(self.shard, self.account, upload))
    }

    /// The accounts that leave the shard.
    pub fn leaving(&self) -> Result<Leaving, ReadError> {
        Ok(self
            .value("accounts that leave", &keys::leaving(self.shard))?
            .unwrap_or_default())
    }

    /// A hand-off of the shard.
    pub fn hand_off(&self, id: &[u8; 16]) -> Result<Option<HandOffRecord>, ReadError> {
        self.value("hand-off", &keys::hand_off(self.shard, id))
    }

    /// A counter; 0 when there is none.
    pub fn counter(&self, key: &[u8]) -> Result<i64, ReadError> {
        match self.view.get(Column::Counters, key)? {
            None => Ok(0),
            Some(value) => {
                let value: [u8; 8] = value
                    .as_ref()
                    .try_into()
                    .map_err(|_| self.damaged("counter", DecodeError::Damaged("length")))?;
                Ok(i64::from_le_bytes(value))
            }
        }
    }
}
