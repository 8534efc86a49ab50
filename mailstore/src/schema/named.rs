//! Keys of a shard taken apart, and rows checked: what backup, verify and restore need of the schema.
//!
//! The counterpart of [`super::keys`], which builds them. Pure.

use bytes::{Bytes, BytesMut};
use rookery_proto::rows::{Row, RowColumn};

use super::account::{AccountCounters, AccountRecord};
use super::body::{BodyRecord, UploadRecord};
use super::change::Change;
use super::codec::{DecodeError, Value};
use super::flags::FlagBlock;
use super::garbage::Garbage;
use super::handoff::HandOffRecord;
use super::ids::{AccountId, BodyHash, MailboxId, MessageNumber, ShardId, Uid, UploadId};
use super::keys::Kind;
use super::leaving::{Leaving, Touched};
use super::mailbox::MailboxRecord;
use super::message::{MessageRecord, MessageRow};
use super::reply::ReplyRecord;

/// What a row's key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// An account's record.
    Account(AccountId),
    /// An account's counters.
    AccountCounters(AccountId),
    /// A mailbox.
    Mailbox(AccountId, MailboxId),
    /// A subscription; its name follows in the key.
    Subscription(AccountId),
    /// A block of flags.
    FlagBlock(AccountId, MailboxId),
    /// A message in a mailbox.
    MessageRow(AccountId, MailboxId, Uid),
    /// A message, or (in counters) its references beyond the first.
    Message(AccountId, MessageNumber),
    /// An entry of a change log.
    Change(AccountId, MailboxId),
    /// A kept reply.
    Reply {
        /// Whose.
        account: AccountId,
        /// The session, or the SMTP transaction.
        session: [u8; 16],
        /// The number within the session.
        number: u64,
    },
    /// An upload; without an id (in counters) the chunks of all that wait.
    Upload(AccountId, Option<UploadId>),
    /// A chunk of an upload.
    UploadChunk(AccountId, UploadId, u32),
    /// A body, or (in counters) its references beyond the first.
    Body(BodyHash),
    /// A chunk of a body.
    BodyChunk(BodyHash, u32),
    /// Work left over.
    Garbage(AccountId),
    /// A row of an index by time.
    Index,
    /// A hand-off.
    HandOff([u8; 16]),
    /// The accounts that leave the shard.
    Leaving,
    /// A note of what changed in an account that leaves.
    Touched(AccountId),
    /// A body of which chunks have come with an account, and no message yet.
    Arriving(AccountId, BodyHash),
}

impl Named {
    /// The account that the row belongs to; none for what belongs to the shard.
    pub fn account(&self) -> Option<AccountId> {
        match *self {
            Named::Account(account)
            | Named::AccountCounters(account)
            | Named::Mailbox(account, _)
            | Named::Subscription(account)
            | Named::FlagBlock(account, _)
            | Named::MessageRow(account, ..)
            | Named::Message(account, _)
            | Named::Change(account, _)
            | Named::Reply { account, .. }
            | Named::Upload(account, _)
            | Named::UploadChunk(account, ..)
            | Named::Touched(account)
            | Named::Arriving(account, _)
            | Named::Garbage(account) => Some(account),
            Named::Body(_) | Named::BodyChunk(..) | Named::Index | Named::HandOff(_) | Named::Leaving => None,
        }
    }
}

/// Reads the fields of a key.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn account(&mut self) -> Option<AccountId> {
        self.u64().map(AccountId)
    }

    fn mailbox(&mut self) -> Option<MailboxId> {
        self.u32().map(MailboxId)
    }

    fn hash(&mut self) -> Option<BodyHash> {
        Some(BodyHash {
            blake3: self.take()?,
            size: self.u64()?,
        })
    }

    /// What was read, if it was all.
    fn whole(self, named: Named) -> Option<Named> {
        self.0.is_empty().then_some(named)
    }
}

/// The shard of a key and what it names; `None` when it is no key of this schema.
pub fn named(column: RowColumn, key: &[u8]) -> Option<(ShardId, Named)> {
    let mut fields = Fields(key);
    let shard = ShardId(fields.u32()?);
    let [kind] = fields.take::<1>()?;
    let named = match column {
        RowColumn::Rows => row(kind, fields),
        RowColumn::Bodies => chunk(kind, fields),
        RowColumn::Counters => counter(kind, fields),
    };
    named.map(|named| (shard, named))
}

fn row(kind: u8, mut fields: Fields<'_>) -> Option<Named> {
    let is = |other: Kind| kind == other as u8;
    let named = if is(Kind::Account) {
        Named::Account(fields.account()?)
    } else if is(Kind::AccountCounters) {
        Named::AccountCounters(fields.account()?)
    } else if is(Kind::Mailbox) {
        Named::Mailbox(fields.account()?, fields.mailbox()?)
    } else if is(Kind::Subscription) {
        // The name is the rest.
        return Some(Named::Subscription(fields.account()?));
    } else if is(Kind::FlagBlock) {
        let named = Named::FlagBlock(fields.account()?, fields.mailbox()?);
        fields.u32()?;
        named
    } else if is(Kind::MessageRow) {
        Named::MessageRow(fields.account()?, fields.mailbox()?, Uid(fields.u32()?))
    } else if is(Kind::Message) {
        Named::Message(fields.account()?, MessageNumber(fields.u64()?))
    } else if is(Kind::Change) {
        let named = Named::Change(fields.account()?, fields.mailbox()?);
        fields.u64()?;
        named
    } else if is(Kind::Reply) {
        Named::Reply {
            account: fields.account()?,
            session: fields.take()?,
            number: fields.u64()?,
        }
    } else if is(Kind::Upload) {
        Named::Upload(fields.account()?, Some(UploadId(fields.take()?)))
    } else if is(Kind::Body) {
        Named::Body(fields.hash()?)
    } else if is(Kind::Garbage) {
        let named = Named::Garbage(fields.account()?);
        fields.u64()?;
        fields.u32()?;
        named
    } else if is(Kind::HandOff) {
        Named::HandOff(fields.take()?)
    } else if is(Kind::Leaving) {
        Named::Leaving
    } else if is(Kind::Touched) {
        let named = Named::Touched(fields.account()?);
        fields.u64()?;
        named
    } else if is(Kind::Arriving) {
        Named::Arriving(fields.account()?, fields.hash()?)
    } else if is(Kind::ReplyExpiry) || is(Kind::UploadExpiry) || is(Kind::HandOffDue) {
        return Some(Named::Index);
    } else {
        return None;
    };
    fields.whole(named)
}

fn chunk(kind: u8, mut fields: Fields<'_>) -> Option<Named> {
    let named = if kind == Kind::Body as u8 {
        Named::BodyChunk(fields.hash()?, fields.u32()?)
    } else if kind == Kind::Upload as u8 {
        Named::UploadChunk(fields.account()?, UploadId(fields.take()?), fields.u32()?)
    } else {
        return None;
    };
    fields.whole(named)
}

fn counter(kind: u8, mut fields: Fields<'_>) -> Option<Named> {
    let named = if kind == Kind::Body as u8 {
        Named::Body(fields.hash()?)
    } else if kind == Kind::Message as u8 {
        Named::Message(fields.account()?, MessageNumber(fields.u64()?))
    } else if kind == Kind::Upload as u8 {
        Named::Upload(fields.account()?, None)
    } else {
        return None;
    };
    fields.whole(named)
}

/// The same key in another shard.
pub fn in_shard(shard: ShardId, key: &[u8]) -> Bytes {
    let mut moved = BytesMut::from(key);
    if let Some(number) = moved.get_mut(..4) {
        number.copy_from_slice(&shard.0.to_be_bytes());
    }
    moved.freeze()
}

/// Checks that a row is one of this schema: its key, and its value as far as it can be told without other rows. Chunks are
/// checked with their body.
pub fn check(row: &Row) -> Result<(ShardId, Named), DecodeError> {
    let (shard, named) = named(row.column, &row.key).ok_or(DecodeError::Damaged("key"))?;
    let value = row.value.as_ref();
    match (row.column, named) {
        (RowColumn::Bodies, _) => Ok(()),
        (RowColumn::Counters, _) => counter_value(value).map(drop),
        (_, Named::Account(_)) => AccountRecord::decode(value).map(drop),
        (_, Named::AccountCounters(_)) => AccountCounters::decode(value).map(drop),
        (_, Named::Mailbox(..)) => MailboxRecord::decode(value).map(drop),
        (_, Named::FlagBlock(..)) => FlagBlock::decode(value).map(drop),
        (_, Named::MessageRow(..)) => MessageRow::decode(value).map(drop),
        (_, Named::Message(..)) => MessageRecord::decode(value).map(drop),
        (_, Named::Change(..)) => Change::decode(value).map(drop),
        (_, Named::Reply { .. }) => ReplyRecord::decode(value).map(drop),
        (_, Named::Upload(..)) => UploadRecord::decode(value).map(drop),
        (_, Named::Body(_)) => BodyRecord::decode(value).map(drop),
        (_, Named::Garbage(_)) => Garbage::decode(value).map(drop),
        (_, Named::HandOff(_)) => HandOffRecord::decode(value).map(drop),
        (_, Named::Leaving) => Leaving::decode(value).map(drop),
        (_, Named::Touched(_)) => Touched::decode(value).map(drop),
        (_, Named::Subscription(_)) => {
            let name = row.key.get(13..).map(std::str::from_utf8);
            name.filter(Result::is_ok)
                .map(drop)
                .ok_or(DecodeError::Damaged("name of a subscription"))
        }
        (_, Named::Index | Named::Arriving(..)) => Ok(()),
        (_, Named::UploadChunk(..) | Named::BodyChunk(..)) => Err(DecodeError::Damaged("key")),
    }?;
    Ok((shard, named))
}

/// The sum in a counter's value.
pub fn counter_value(value: &[u8]) -> Result<i64, DecodeError> {
    let bytes = value
        .try_into()
        .map_err(|_| DecodeError::Damaged("length of a counter"))?;
    Ok(i64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::super::ids::ModSeq;
    use super::super::keys;
    use super::*;

    const SHARD: ShardId = ShardId(7);
    const ACCOUNT: AccountId = AccountId(0x0102_0304_0506_0708);
    const MAILBOX: MailboxId = MailboxId(9);

    #[test]
    fn what_keys_build_is_taken_apart() {
        let hash = BodyHash::of(b"text");
        let upload = UploadId([3; 16]);
        let session = [5; 16];
        let number = MessageNumber(11);
        let rows = [
            (keys::account(SHARD, ACCOUNT), Named::Account(ACCOUNT)),
            (
                keys::account_counters(SHARD, ACCOUNT),
                Named::AccountCounters(ACCOUNT),
            ),
            (
                keys::mailbox(SHARD, ACCOUNT, MAILBOX),
                Named::Mailbox(ACCOUNT, MAILBOX),
            ),
            (
                keys::subscription(SHARD, ACCOUNT, "a/b"),
                Named::Subscription(ACCOUNT),
            ),
            (
                keys::flag_block(SHARD, ACCOUNT, MAILBOX, 4),
                Named::FlagBlock(ACCOUNT, MAILBOX),
            ),
            (
                keys::message_row(SHARD, ACCOUNT, MAILBOX, Uid(8)),
                Named::MessageRow(ACCOUNT, MAILBOX, Uid(8)),
            ),
            (
                keys::message(SHARD, ACCOUNT, number),
                Named::Message(ACCOUNT, number),
            ),
            (
                keys::change(SHARD, ACCOUNT, MAILBOX, ModSeq(3)),
                Named::Change(ACCOUNT, MAILBOX),
            ),
            (
                keys::reply(SHARD, ACCOUNT, &session, 2),
                Named::Reply {
                    account: ACCOUNT,
                    session,
                    number: 2,
                },
            ),
            (
                keys::upload(SHARD, ACCOUNT, upload),
                Named::Upload(ACCOUNT, Some(upload)),
            ),
            (keys::body(SHARD, &hash), Named::Body(hash)),
            (
                keys::garbage(SHARD, ACCOUNT, ModSeq(1), 0),
                Named::Garbage(ACCOUNT),
            ),
            (keys::hand_off(SHARD, &session), Named::HandOff(session)),
            (keys::leaving(SHARD), Named::Leaving),
            (keys::touched(SHARD, ACCOUNT, 5), Named::Touched(ACCOUNT)),
            (
                keys::arriving(SHARD, ACCOUNT, &hash),
                Named::Arriving(ACCOUNT, hash),
            ),
            (keys::hand_off_due(SHARD, 1, &session), Named::Index),
            (keys::reply_expiry(SHARD, 1, ACCOUNT, &session, 2), Named::Index),
            (keys::upload_expiry(SHARD, 1, ACCOUNT, upload), Named::Index),
        ];
        for (key, expected) in rows {
            assert_eq!(named(RowColumn::Rows, &key), Some((SHARD, expected)));
            let moved = in_shard(ShardId(8), &key);
            assert_eq!(named(RowColumn::Rows, &moved), Some((ShardId(8), expected)));
            if !matches!(expected, Named::Subscription(_) | Named::Index) {
                assert_eq!(
                    named(RowColumn::Rows, &key[..key.len() - 1]),
                    None,
                    "{expected:?}"
                );
            }
        }
        let chunks = [
            (
                keys::upload_chunk(SHARD, ACCOUNT, upload, 6),
                Named::UploadChunk(ACCOUNT, upload, 6),
            ),
            (keys::body_chunk(SHARD, &hash, 6), Named::BodyChunk(hash, 6)),
        ];
        for (key, expected) in chunks {
            assert_eq!(named(RowColumn::Bodies, &key), Some((SHARD, expected)));
        }
        let pending = keys::uploads_pending(SHARD, ACCOUNT);
        assert_eq!(
            named(RowColumn::Counters, &pending),
            Some((SHARD, Named::Upload(ACCOUNT, None)))
        );
        assert_eq!(named(RowColumn::Rows, b""), None);
        assert_eq!(named(RowColumn::Rows, b"\0\0\0\x07\xf0"), None);
    }

    #[test]
    fn a_value_that_cannot_be_is_told() {
        let row = |value: &'static [u8]| Row {
            column: RowColumn::Rows,
            key: keys::account(SHARD, ACCOUNT),
            value: Bytes::from_static(value),
        };
        assert!(check(&row(b"\x01\x01\x00\x00\x00")).is_ok());
        assert_eq!(
            check(&row(b"\x01\x01\x09\x00\x00")),
            Err(DecodeError::Damaged("account state"))
        );
    }
}
