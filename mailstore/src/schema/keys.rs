//! Every key of a shard. No other file builds a key; beside this one, only [`super::named`] takes keys apart.
//!
//! A key is the shard (u32), a kind (one byte), mostly the account (u64), then what the kind needs; numbers are
//! big-endian, so that keys sort as numbers. So a shard is one range of keys, and an account one range for each kind.

use bytes::Bytes;
use rookery_replication::{Batch, Column};

use super::ids::{AccountId, BodyHash, MailboxId, MessageNumber, ModSeq, ShardId, Uid, UploadId};

/// What a key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The shard's own record.
    Shard = 0x01,
    /// The accounts that leave the shard.
    Leaving = 0x02,
    /// Account: record.
    Account = 0x10,
    /// Account: counters.
    AccountCounters = 0x11,
    /// Account, mailbox.
    Mailbox = 0x12,
    /// Account, name.
    Subscription = 0x13,
    /// Account, mailbox, block of UIDs.
    FlagBlock = 0x14,
    /// Account, mailbox, UID.
    MessageRow = 0x15,
    /// Account, message number. In counters: references to it beyond the first.
    Message = 0x16,
    /// Account, mailbox, modseq.
    Change = 0x17,
    /// Account, session, number.
    Reply = 0x18,
    /// Account, upload. In bodies: then the chunk. In counters, without the upload: chunks of all that wait to be used.
    Upload = 0x19,
    /// Account, number of the note: keys that a plan changed while the account leaves the shard.
    Touched = 0x1a,
    /// Account, body hash, size: a body of which chunks have come with an account, and no message yet.
    Arriving = 0x1b,
    /// Body hash, size. In bodies: then the chunk. In counters: references to it beyond the first.
    Body = 0x30,
    /// Account, modseq, part.
    Garbage = 0x31,
    /// Time, then the reply's account, session, number.
    ReplyExpiry = 0x32,
    /// Time, then the upload's account, id.
    UploadExpiry = 0x33,
    /// Hand-off id.
    HandOff = 0x34,
    /// Time, then the hand-off's id.
    HandOffDue = 0x35,
}

/// Kinds whose keys go on with an account, but the account's record.
const ACCOUNT_KINDS: [Kind; 11] = [
    Kind::AccountCounters,
    Kind::Mailbox,
    Kind::Subscription,
    Kind::FlagBlock,
    Kind::MessageRow,
    Kind::Message,
    Kind::Change,
    Kind::Reply,
    Kind::Upload,
    Kind::Touched,
    Kind::Arriving,
];

/// Kinds of rows that an account takes along to another shard, but its messages.
const CARRIED_KINDS: [Kind; 7] = [
    Kind::AccountCounters,
    Kind::Mailbox,
    Kind::Subscription,
    Kind::FlagBlock,
    Kind::MessageRow,
    Kind::Change,
    Kind::Reply,
];

/// First key, and the first key after the last.
pub type KeyRange = (Bytes, Bytes);

struct Key(Vec<u8>);

impl Key {
    fn new(shard: ShardId, kind: Kind) -> Self {
        let mut bytes = Vec::with_capacity(48);
        bytes.extend_from_slice(&shard.0.to_be_bytes());
        bytes.push(kind as u8);
        Self(bytes)
    }

    fn account(shard: ShardId, kind: Kind, account: AccountId) -> Self {
        Self::new(shard, kind).u64(account.0)
    }

    fn u32(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn u64(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn done(self) -> Bytes {
        self.0.into()
    }

    /// The range of all keys that begin with this one.
    fn range(self) -> KeyRange {
        let mut after = self.0.clone();
        while let Some(last) = after.pop() {
            if last < 0xff {
                after.push(last + 1);
                break;
            }
        }
        (self.done(), after.into())
    }
}

/// All keys of a shard, in every column.
pub fn shard_range(shard: ShardId) -> KeyRange {
    let from = Bytes::copy_from_slice(&shard.0.to_be_bytes());
    // The highest shard number is not a shard's but the directory's.
    let to = Bytes::copy_from_slice(&shard.0.saturating_add(1).to_be_bytes());
    (from, to)
}

/// All keys of a kind.
pub fn kind_range(shard: ShardId, kind: Kind) -> KeyRange {
    Key::new(shard, kind).range()
}

/// The shard's record.
pub fn shard_record(shard: ShardId) -> Bytes {
    Key::new(shard, Kind::Shard).done()
}

/// An account's record.
pub fn account(shard: ShardId, account: AccountId) -> Bytes {
    Key::account(shard, Kind::Account, account).done()
}

/// The account whose record the key names.
pub fn account_of(key: &[u8]) -> Option<AccountId> {
    Some(AccountId(u64_at(key, 5)?))
}

/// An account's counters.
pub fn account_counters(shard: ShardId, account: AccountId) -> Bytes {
    Key::account(shard, Kind::AccountCounters, account).done()
}

/// A mailbox.
pub fn mailbox(shard: ShardId, account: AccountId, mailbox: MailboxId) -> Bytes {
    Key::account(shard, Kind::Mailbox, account).u32(mailbox.0).done()
}

/// All mailboxes of an account, ascending by id.
pub fn mailboxes(shard: ShardId, account: AccountId) -> KeyRange {
    Key::account(shard, Kind::Mailbox, account).range()
}

/// The mailbox that a key of [`mailboxes`] names.
pub fn mailbox_of(key: &[u8]) -> Option<MailboxId> {
    Some(MailboxId(u32_at(key, 13)?))
}

/// A subscription.
pub fn subscription(shard: ShardId, account: AccountId, name: &str) -> Bytes {
    Key::account(shard, Kind::Subscription, account)
        .bytes(name.as_bytes())
        .done()
}

/// All subscriptions of an account, ascending by name.
pub fn subscriptions(shard: ShardId, account: AccountId) -> KeyRange {
    Key::account(shard, Kind::Subscription, account).range()
}

/// The name that a key of [`subscriptions`] holds.
pub fn subscription_of(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(13..)?).ok()
}

/// A block of flags.
pub fn flag_block(shard: ShardId, account: AccountId, mailbox: MailboxId, block: u32) -> Bytes {
    Key::account(shard, Kind::FlagBlock, account)
        .u32(mailbox.0)
        .u32(block)
        .done()
}

/// The blocks from `first` to `last`, both included.
pub fn flag_blocks(
    shard: ShardId,
    account: AccountId,
    mailbox: MailboxId,
    first: u32,
    last: u32,
) -> KeyRange {
    (
        flag_block(shard, account, mailbox, first),
        flag_block(shard, account, mailbox, last.saturating_add(1)),
    )
}

/// The block that a key of [`flag_blocks`] names.
pub fn flag_block_of(key: &[u8]) -> Option<u32> {
    u32_at(key, 17)
}

/// A message in a mailbox.
pub fn message_row(shard: ShardId, account: AccountId, mailbox: MailboxId, uid: Uid) -> Bytes {
    Key::account(shard, Kind::MessageRow, account)
        .u32(mailbox.0)
        .u32(uid.0)
        .done()
}

/// The messages from `first` to `last`, both included. 2^32-1 is never a UID that is given out.
pub fn message_rows(
    shard: ShardId,
    account: AccountId,
    mailbox: MailboxId,
    first: Uid,
    last: Uid,
) -> KeyRange {
    let after = Uid(last.0.saturating_add(1));
    (
        message_row(shard, account, mailbox, first),
        message_row(shard, account, mailbox, after),
    )
}

/// The UID that a key of [`message_rows`] names.
pub fn message_row_uid(key: &[u8]) -> Option<Uid> {
    Some(Uid(u32_at(key, 17)?))
}

/// A message's record; the same key counts its references beyond the first.
pub fn message(shard: ShardId, account: AccountId, number: MessageNumber) -> Bytes {
    Key::account(shard, Kind::Message, account).u64(number.0).done()
}

/// All messages of an account, in order of arrival.
pub fn messages(shard: ShardId, account: AccountId) -> KeyRange {
    Key::account(shard, Kind::Message, account).range()
}

/// The message that a key of [`messages`] names.
pub fn message_of(key: &[u8]) -> Option<MessageNumber> {
    Some(MessageNumber(u64_at(key, 13)?))
}

/// An entry of a mailbox's change log.
pub fn change(shard: ShardId, account: AccountId, mailbox: MailboxId, modseq: ModSeq) -> Bytes {
    Key::account(shard, Kind::Change, account)
        .u32(mailbox.0)
        .u64(modseq.0)
        .done()
}

/// The change log after `since`.
pub fn changes(shard: ShardId, account: AccountId, mailbox: MailboxId, since: ModSeq) -> KeyRange {
    let from = change(shard, account, mailbox, ModSeq(since.0.saturating_add(1)));
    (
        from,
        Key::account(shard, Kind::Change, account)
            .u32(mailbox.0)
            .range()
            .1,
    )
}

/// The modseq that a key of [`changes`] names.
pub fn change_of(key: &[u8]) -> Option<ModSeq> {
    Some(ModSeq(u64_at(key, 17)?))
}

/// Rows of a mailbox besides its record: flag blocks, message rows, change log.
pub fn mailbox_ranges(shard: ShardId, account: AccountId, mailbox: MailboxId) -> [KeyRange; 3] {
    [Kind::FlagBlock, Kind::MessageRow, Kind::Change]
        .map(|kind| Key::account(shard, kind, account).u32(mailbox.0).range())
}

/// A kept reply.
pub fn reply(shard: ShardId, account: AccountId, session: &[u8; 16], number: u64) -> Bytes {
    Key::account(shard, Kind::Reply, account)
        .bytes(session)
        .u64(number)
        .done()
}

/// The index row by which a reply expires.
pub fn reply_expiry(
    shard: ShardId,
    millis: u64,
    account: AccountId,
    session: &[u8; 16],
    number: u64,
) -> Bytes {
    Key::new(shard, Kind::ReplyExpiry)
        .u64(millis)
        .u64(account.0)
        .bytes(session)
        .u64(number)
        .done()
}

/// The reply that a key of [`reply_expiry`] names.
pub fn reply_of_expiry(shard: ShardId, key: &[u8]) -> Option<Bytes> {
    Some(Key::new(shard, Kind::Reply).bytes(key.get(13..45)?).done())
}

/// An upload's record.
pub fn upload(shard: ShardId, account: AccountId, upload: UploadId) -> Bytes {
    Key::account(shard, Kind::Upload, account).bytes(&upload.0).done()
}

/// Counts the chunks of an account's uploads that no plan has used yet, in the counters column.
pub fn uploads_pending(shard: ShardId, account: AccountId) -> Bytes {
    Key::account(shard, Kind::Upload, account).done()
}

/// A chunk of an upload, in the bodies column.
pub fn upload_chunk(shard: ShardId, account: AccountId, upload: UploadId, chunk: u32) -> Bytes {
    Key::account(shard, Kind::Upload, account)
        .bytes(&upload.0)
        .u32(chunk)
        .done()
}

/// All chunks of an upload, in the bodies column.
pub fn upload_chunks(shard: ShardId, account: AccountId, upload: UploadId) -> KeyRange {
    Key::account(shard, Kind::Upload, account)
        .bytes(&upload.0)
        .range()
}

/// The index row by which an upload expires.
pub fn upload_expiry(shard: ShardId, millis: u64, account: AccountId, upload: UploadId) -> Bytes {
    Key::new(shard, Kind::UploadExpiry)
        .u64(millis)
        .u64(account.0)
        .bytes(&upload.0)
        .done()
}

/// The upload that a key of [`upload_expiry`] names.
pub fn upload_of_expiry(key: &[u8]) -> Option<(AccountId, UploadId)> {
    Some((
        AccountId(u64_at(key, 13)?),
        UploadId::from_slice(key.get(21..37)?)?,
    ))
}

/// A body's record; the same key counts its references beyond the first.
pub fn body(shard: ShardId, hash: &BodyHash) -> Bytes {
    Key::new(shard, Kind::Body)
        .bytes(&hash.blake3)
        .u64(hash.size)
        .done()
}

/// A chunk of a body that owns its chunks, in the bodies column.
pub fn body_chunk(shard: ShardId, hash: &BodyHash, chunk: u32) -> Bytes {
    Key::new(shard, Kind::Body)
        .bytes(&hash.blake3)
        .u64(hash.size)
        .u32(chunk)
        .done()
}

/// All chunks of a body that owns its chunks, in the bodies column.
pub fn body_chunks(shard: ShardId, hash: &BodyHash) -> KeyRange {
    Key::new(shard, Kind::Body)
        .bytes(&hash.blake3)
        .u64(hash.size)
        .range()
}

/// The accounts that leave the shard.
pub fn leaving(shard: ShardId) -> Bytes {
    Key::new(shard, Kind::Leaving).done()
}

/// A note of what changed in an account that leaves.
pub fn touched(shard: ShardId, account: AccountId, note: u64) -> Bytes {
    Key::account(shard, Kind::Touched, account).u64(note).done()
}

/// The notes of an account from this one on.
pub fn touched_from(shard: ShardId, account: AccountId, note: u64) -> KeyRange {
    let (_, after) = Key::account(shard, Kind::Touched, account).range();
    (touched(shard, account, note), after)
}

/// The number in a key of [`touched`].
pub fn touched_of(key: &[u8]) -> Option<u64> {
    u64_at(key, 13)
}

/// A body of which chunks have come with an account, and no message yet.
pub fn arriving(shard: ShardId, account: AccountId, hash: &BodyHash) -> Bytes {
    Key::account(shard, Kind::Arriving, account)
        .bytes(&hash.blake3)
        .u64(hash.size)
        .done()
}

/// All such bodies of an account.
pub fn all_arriving(shard: ShardId, account: AccountId) -> KeyRange {
    Key::account(shard, Kind::Arriving, account).range()
}

/// The body that a key of [`arriving`] names.
pub fn arriving_of(key: &[u8]) -> Option<BodyHash> {
    Some(BodyHash {
        blake3: key.get(13..29)?.try_into().ok()?,
        size: u64_at(key, 29)?,
    })
}

/// Rows that an account takes along to another shard, but its messages.
pub fn carried_ranges(shard: ShardId, account: AccountId) -> [KeyRange; 7] {
    CARRIED_KINDS.map(|kind| Key::account(shard, kind, account).range())
}

/// The account that takes the row of this key along to another shard.
pub fn carried_account(key: &[u8]) -> Option<AccountId> {
    let kind = *key.get(4)?;
    let is_carried =
        kind == Kind::Message as u8 || CARRIED_KINDS.iter().any(|carried| *carried as u8 == kind);
    is_carried.then(|| u64_at(key, 5).map(AccountId)).flatten()
}

/// Whether the key is of a message, or of its references.
pub fn is_message(key: &[u8]) -> bool {
    key.get(4) == Some(&(Kind::Message as u8))
}

/// What follows the shard's number in a key.
pub fn without_shard(key: &Bytes) -> Bytes {
    key.slice(key.len().min(4)..)
}

/// The key of a shard of which [`without_shard`] is known.
pub fn with_shard(shard: ShardId, rest: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(4 + rest.len());
    key.extend_from_slice(&shard.0.to_be_bytes());
    key.extend_from_slice(rest);
    key.into()
}

/// All work left over of an account.
pub fn garbage_rows(shard: ShardId, account: AccountId) -> KeyRange {
    Key::account(shard, Kind::Garbage, account).range()
}

/// Work left over by the plan of a modseq; `part` tells rows of one plan apart.
pub fn garbage(shard: ShardId, account: AccountId, modseq: ModSeq, part: u32) -> Bytes {
    Key::account(shard, Kind::Garbage, account)
        .u64(modseq.0)
        .u32(part)
        .done()
}

/// The account in a key of [`garbage`].
pub fn garbage_account(key: &[u8]) -> Option<AccountId> {
    Some(AccountId(u64_at(key, 5)?))
}

/// A hand-off.
pub fn hand_off(shard: ShardId, id: &[u8; 16]) -> Bytes {
    Key::new(shard, Kind::HandOff).bytes(id).done()
}

/// The index row by which a hand-off becomes due.
pub fn hand_off_due(shard: ShardId, millis: u64, id: &[u8; 16]) -> Bytes {
    Key::new(shard, Kind::HandOffDue).u64(millis).bytes(id).done()
}

/// The hand-off that a key of [`hand_off_due`] names.
pub fn hand_off_of_due(key: &[u8]) -> Option<[u8; 16]> {
    key.get(13..29)?.try_into().ok()
}

/// Rows of an index by time ([`Kind::ReplyExpiry`], [`Kind::UploadExpiry`], [`Kind::HandOffDue`]) up to `millis`.
pub fn due(shard: ShardId, index: Kind, millis: u64) -> KeyRange {
    (
        Key::new(shard, index).done(),
        Key::new(shard, index).u64(millis.saturating_add(1)).done(),
    )
}

/// The time in a key of an index by time.
pub fn due_millis(key: &[u8]) -> Option<u64> {
    u64_at(key, 5)
}

/// Removes everything of an account but its record.
pub fn delete_account_rows(batch: &mut Batch, shard: ShardId, account: AccountId) {
    for kind in ACCOUNT_KINDS {
        let (from, to) = Key::account(shard, kind, account).range();
        batch.delete_range(Column::Rows, from, to);
    }
    let (from, to) = messages(shard, account);
    batch.delete_range(Column::Counters, from, to);
}

fn u32_at(key: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(key: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(at..at + 8)?.try_into().ok()?))
}
