//! Keys of a shard in words, for people who are told of damage.

use std::fmt::{self, Write};

use rookery_proto::rows::RowColumn;
use rookery_replication::Column;

use super::ids::BodyHash;
use super::named::{Named, named};

/// What a key names: the shard, and what it is in it, and the key itself.
pub fn describe(column: Column, key: &[u8]) -> String {
    let of_rows = match column {
        Column::Rows => RowColumn::Rows,
        Column::Bodies => RowColumn::Bodies,
        Column::Counters => RowColumn::Counters,
    };
    let mut text = match named(of_rows, key) {
        Some((shard, named)) => format!("{named} in shard {shard} (key "),
        None => "key (".to_owned(),
    };
    for byte in key {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push_str(" of ");
    text.push_str(column.name());
    text.push(')');
    text
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Named::Account(account) => write!(f, "account {account}"),
            Named::AccountCounters(account) => write!(f, "counters of account {account}"),
            Named::Mailbox(account, mailbox) => write!(f, "mailbox {mailbox} of account {account}"),
            Named::Subscription(account) => write!(f, "a subscription of account {account}"),
            Named::FlagBlock(account, mailbox) => {
                write!(f, "flags in mailbox {mailbox} of account {account}")
            }
            Named::MessageRow(account, mailbox, uid) => {
                write!(f, "UID {uid} in mailbox {mailbox} of account {account}")
            }
            Named::Message(account, number) => write!(f, "message {number} of account {account}"),
            Named::Change(account, mailbox) => {
                write!(f, "a change in mailbox {mailbox} of account {account}")
            }
            Named::Reply { account, .. } => write!(f, "a kept reply of account {account}"),
            Named::Upload(account, _) => write!(f, "an upload of account {account}"),
            Named::UploadChunk(account, _, chunk) => {
                write!(f, "chunk {chunk} of an upload of account {account}")
            }
            Named::Body(hash) => write!(f, "body {}", Short(hash)),
            Named::BodyChunk(hash, chunk) => write!(f, "chunk {chunk} of body {}", Short(hash)),
            Named::Garbage(account) => write!(f, "work left over for account {account}"),
            Named::Index => f.write_str("a row of an index by time"),
            Named::HandOff(_) => f.write_str("a hand-off"),
            Named::Leaving => f.write_str("the accounts that leave the shard"),
            Named::Touched(account) => write!(f, "a note of what changed in account {account}, which leaves"),
            Named::Arriving(account, hash) => {
                write!(
                    f,
                    "body {}, of which chunks came with account {account}",
                    Short(hash)
                )
            }
        }
    }
}

/// Enough of a hash to find it.
struct Short<'a>(&'a BodyHash);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.blake3.iter().take(8) {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "… of {} bytes", self.0.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{AccountId, MailboxId, MessageNumber, ShardId, Uid, keys};

    #[test]
    fn keys_are_told_in_words() {
        let (shard, account) = (ShardId(3), AccountId(7));
        let hash = BodyHash::of(b"text");
        for (column, key, told) in [
            (
                Column::Rows,
                keys::message(shard, account, MessageNumber(12)),
                "message 12 of account 7 in shard 3 (key 00000003",
            ),
            (
                Column::Rows,
                keys::message_row(shard, account, MailboxId(1), Uid(5)),
                "UID 5 in mailbox 1 of account 7 in shard 3 (key 00000003",
            ),
            (
                Column::Bodies,
                keys::body_chunk(shard, &hash, 1),
                "chunk 1 of body ",
            ),
            (
                Column::Rows,
                b"\0\0\0\x01\xff".as_slice().to_vec().into(),
                "key (00000001ff of rows)",
            ),
        ] {
            let text = describe(column, &key);
            assert!(text.starts_with(told), "{text}");
        }
    }
}
