//! Any bytes as a stored value: refused or read, never a panic; what was read is written so that it reads the same again.

use rookery_mailstore::schema::body::UploadRecord;
use rookery_mailstore::schema::change::Change;
use rookery_mailstore::schema::flags::FlagBlock;
use rookery_mailstore::schema::garbage::Garbage;
use rookery_mailstore::schema::handoff::HandOffRecord;
use rookery_mailstore::schema::reply::ReplyRecord;
use rookery_mailstore::schema::{
    AccountCounters, AccountRecord, BodyRecord, MailboxRecord, MessageRecord, MessageRow, Value,
};

/// Checks one input: its first byte says as which kind of value the rest is read.
pub fn check(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else {
        return;
    };
    match kind % 12 {
        0 => reads_again::<AccountRecord>(bytes),
        1 => reads_again::<AccountCounters>(bytes),
        2 => reads_again::<MailboxRecord>(bytes),
        3 => reads_again::<FlagBlock>(bytes),
        4 => reads_again::<MessageRow>(bytes),
        5 => reads_again::<MessageRecord>(bytes),
        6 => reads_again::<BodyRecord>(bytes),
        7 => reads_again::<UploadRecord>(bytes),
        8 => reads_again::<Change>(bytes),
        9 => reads_again::<HandOffRecord>(bytes),
        10 => reads_again::<ReplyRecord>(bytes),
        _ => reads_again::<Garbage>(bytes),
    }
}

fn reads_again<T: Value>(bytes: &[u8]) {
    let Ok(value) = T::decode(bytes) else { return };
    let written = value.encode();
    let again = T::decode(&written).unwrap_or_else(|error| panic!("what was written is refused: {error:?}"));
    assert_eq!(again.encode(), written);
}
