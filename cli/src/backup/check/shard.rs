//! A shard's part, or its hand-offs: every message has its body, and every body hashes to its name.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rookery_mailstore::schema::body::{BODY_CHUNK_BYTES, chunk_count, decode_chunk};
use rookery_mailstore::schema::named::{self, Named};
use rookery_mailstore::schema::{
    AccountId, AccountRecord, AccountState, BodyHash, BodyLocation, BodyRecord, HandOffRecord, MessageNumber,
    MessageRecord, ShardId, UploadId, Value,
};
use rookery_proto::rows::{Row, RowColumn};

use super::{Damages, each_row};
use crate::backup::files::{Damage, RowReader};
use crate::backup::manifest::{Part, PartKind};
use crate::backup::progress::Progress;

/// A hand-off by what its delivery is known by: the account and the SMTP transaction.
pub(in crate::backup) type HandOffKey = (AccountId, [u8; 16]);

/// What other parts need to know of this one.
#[derive(Debug, Default)]
pub(in crate::backup) struct Found {
    /// Hand-offs that wait.
    pub(in crate::backup) hand_offs: HashSet<HandOffKey>,
    /// Messages of accounts that are served here.
    pub(in crate::backup) messages: u64,
}

/// References of a part, to be followed when all is read.
#[derive(Default)]
struct References {
    /// Accounts that are served here, ascending.
    accounts: Vec<AccountId>,
    /// What the mailboxes list.
    listed: Vec<(AccountId, MessageNumber)>,
    /// The messages, ascending.
    messages: Vec<(AccountId, MessageNumber, BodyHash)>,
    /// Bodies that have a record, ascending, and whether their chunks are their own.
    bodies: Vec<(BodyHash, bool)>,
    /// Bodies whose chunks are an upload's.
    uploads: HashMap<(AccountId, UploadId), BodyHash>,
    /// Bodies that hand-offs name.
    handed: Vec<BodyHash>,
    /// Bodies that are whole.
    whole: Vec<BodyHash>,
    found: Found,
}

/// Checks a part.
pub(in crate::backup) fn check(folder: &Path, part: &Part, progress: &mut Progress) -> (Found, Damages) {
    let mut damages = Damages::default();
    let mut references = References::default();
    let shard = ShardId(part.shard.unwrap_or_default());
    for column in RowColumn::ALL {
        let mut bodies = BodyCheck {
            are_loose: part.kind == PartKind::HandOffs,
            ..BodyCheck::default()
        };
        let mut reader = RowReader::new(folder, &part.files, column);
        each_row(&mut reader, &mut damages, |reader, damages, row| {
            progress.add(row.frame_bytes());
            if row.column != column {
                return damages.row(reader, &row, "it is of another column");
            }
            match named::check(&row) {
                Err(error) => damages.row(reader, &row, error),
                Ok((found, _)) if found != shard => {
                    damages.row(reader, &row, format!("it is of shard {found}"))
                }
                Ok((_, named)) if column == RowColumn::Bodies => {
                    bodies.add(&mut references, reader, damages, &row, named);
                }
                Ok((_, named)) if column == RowColumn::Rows => {
                    if let Err(what) = references.add(&row, named) {
                        damages.row(reader, &row, what);
                    }
                }
                Ok(_) => {}
            }
        });
        if column == RowColumn::Bodies {
            bodies.end(&mut references, &reader, &mut damages);
        }
    }
    // What is missing may be in what is damaged.
    if damages.is_empty() {
        references.follow(part, &mut damages);
    }
    (references.found, damages)
}

impl References {
    fn add(&mut self, row: &Row, named: Named) -> Result<(), String> {
        let unreadable = |error: rookery_mailstore::schema::DecodeError| error.to_string();
        match named {
            Named::Account(account) => {
                let record = AccountRecord::decode(&row.value).map_err(unreadable)?;
                if matches!(record.state, AccountState::Live | AccountState::Frozen) {
                    self.accounts.push(account);
                }
            }
            Named::MessageRow(account, ..) if self.serves(account) => {
                let record = rookery_mailstore::schema::MessageRow::decode(&row.value).map_err(unreadable)?;
                self.listed.push((account, record.number));
            }
            Named::Message(account, number) if self.serves(account) => {
                let record = MessageRecord::decode(&row.value).map_err(unreadable)?;
                self.messages.push((account, number, record.body));
                self.found.messages += 1;
            }
            Named::Body(hash) => {
                let record = BodyRecord::decode(&row.value).map_err(unreadable)?;
                self.bodies.push((hash, record.location == BodyLocation::Own));
                if hash.size == 0 {
                    self.whole.push(hash);
                }
                if let BodyLocation::Upload(account, upload) = record.location {
                    self.uploads.insert((account, upload), hash);
                }
            }
            Named::HandOff(id) => {
                let record = HandOffRecord::decode(&row.value).map_err(unreadable)?;
                if record.id() != id {
                    return Err("its id is not that of its key".to_owned());
                }
                self.found.hand_offs.insert((record.account, record.transaction));
                self.handed.push(record.body);
            }
            _ => {}
        }
        Ok(())
    }

    fn serves(&self, account: AccountId) -> bool {
        self.accounts.binary_search(&account).is_ok()
    }

    /// Whether the chunks of a body that has a record are its own.
    fn record(&self, hash: &BodyHash) -> Option<bool> {
        let found = self.bodies.binary_search_by_key(hash, |(hash, _)| *hash);
        Some(self.bodies.get(found.ok()?)?.1)
    }

    fn follow(&mut self, part: &Part, damages: &mut Damages) {
        let file = part.files.first().map_or_else(String::new, |file| {
            let (name, _) = file.name.split_once('.').unwrap_or((&file.name, ""));
            name.to_owned()
        });
        let mut tell = |what: String| {
            damages.add(Damage {
                file: file.clone(),
                what,
            });
        };
        self.whole.sort_unstable();
        let has_body = |hash: &BodyHash| {
            let is_known = part.kind == PartKind::HandOffs || self.record(hash).is_some();
            is_known && (hash.size == 0 || self.whole.binary_search(hash).is_ok())
        };
        for (account, number, body) in &self.messages {
            if !has_body(body) {
                tell(format!(
                    "the body {body:?} of message {number} of account {account} is missing"
                ));
            }
        }
        for body in &self.handed {
            if !has_body(body) {
                tell(format!("the body {body:?} of a hand-off is missing"));
            }
        }
        self.listed.sort_unstable();
        self.listed.dedup();
        for (account, number) in &self.listed {
            let wanted = (*account, *number);
            let found = self
                .messages
                .binary_search_by_key(&wanted, |(account, number, _)| (*account, *number));
            if found.is_err() {
                tell(format!("message {number} of account {account} is missing"));
            }
        }
    }
}

/// Chunks of one body after the other.
#[derive(Default)]
struct BodyCheck {
    /// Bodies have no records, as in a part of hand-offs.
    are_loose: bool,
    current: Option<Current>,
}

struct Current {
    hash: BodyHash,
    next: u32,
    hasher: blake3::Hasher,
    size: u64,
    is_damaged: bool,
    last_row: Row,
}

impl BodyCheck {
    fn add(
        &mut self,
        references: &mut References,
        reader: &RowReader,
        damages: &mut Damages,
        row: &Row,
        named: Named,
    ) {
        let (hash, chunk) = match named {
            // They came with an account whose move was taken back before their message came: nothing refers to them.
            Named::BodyChunk(hash, _) if !self.are_loose && references.record(&hash) != Some(true) => return,
            Named::BodyChunk(hash, chunk) => (hash, chunk),
            Named::UploadChunk(account, upload, chunk) => match references.uploads.get(&(account, upload)) {
                Some(hash) => (*hash, chunk),
                // Of an upload that no message uses yet.
                None => return,
            },
            _ => return,
        };
        if self.current.as_ref().is_none_or(|current| current.hash != hash) {
            self.end(references, reader, damages);
            self.current = Some(Current {
                hash,
                next: 0,
                hasher: blake3::Hasher::new(),
                size: 0,
                is_damaged: false,
                last_row: row.clone(),
            });
        }
        let Some(current) = &mut self.current else { return };
        current.last_row = row.clone();
        let rest = hash
            .size
            .saturating_sub(u64::from(chunk) * BODY_CHUNK_BYTES as u64);
        let size = rest.min(BODY_CHUNK_BYTES as u64) as usize;
        if chunk != current.next {
            damages.row(
                reader,
                row,
                format!("chunk {} of the body {hash:?} is missing", current.next),
            );
            current.is_damaged = true;
        }
        current.next = chunk.saturating_add(1);
        match decode_chunk(&row.value, size) {
            Ok(raw) => {
                current.hasher.update(&raw);
                current.size += raw.len() as u64;
            }
            Err(error) => {
                damages.row(
                    reader,
                    row,
                    format!("chunk {chunk} of the body {hash:?}: {error}"),
                );
                current.is_damaged = true;
            }
        }
    }

    fn end(&mut self, references: &mut References, reader: &RowReader, damages: &mut Damages) {
        let Some(current) = self.current.take() else {
            return;
        };
        if current.is_damaged {
            return;
        }
        let (hash, row) = (current.hash, &current.last_row);
        if u64::from(current.next) != chunk_count(hash.size) {
            damages.row(reader, row, format!("the body {hash:?} ends early"));
        } else if BodyHash::new(&current.hasher.finalize(), current.size) != hash {
            damages.row(
                reader,
                row,
                format!("the body {hash:?} does not hash to its name"),
            );
        } else {
            references.whole.push(hash);
        }
    }
}
