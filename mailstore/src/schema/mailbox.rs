//! A mailbox: name, counters, totals, keywords.

use rookery_proto::mailstore::v1::{self as proto, SpecialUse};

use super::codec::{DecodeError, Decoder, Encoder, Value};
use super::flags::{FlagBits, KEYWORDS_MAX};
use super::ids::{MailboxId, ModSeq, Uid, UidValidity};

/// The longest name in bytes.
pub const MAILBOX_NAME_BYTES_MAX: usize = 1000;

/// Levels that a name may have.
pub const MAILBOX_LEVELS_MAX: usize = 20;

/// Mailboxes that an account may have.
pub const MAILBOXES_MAX: u32 = 10_000;

/// The longest keyword in bytes; the IMAP grammar takes none that is longer.
pub const KEYWORD_BYTES_MAX: usize = 128;

/// A mailbox of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxRecord {
    /// UTF-8, `/` between levels, `INBOX` in capitals.
    pub name: String,
    /// Stamps its UIDs.
    pub uid_validity: UidValidity,
    /// The next message's UID.
    pub uid_next: Uid,
    /// The modseq of its last change.
    pub highest_modseq: ModSeq,
    /// What clients use it for.
    pub special_use: SpecialUse,
    /// Number of messages.
    pub messages: u32,
    /// Messages without `\Seen`.
    pub unseen: u32,
    /// Messages with `\Deleted`.
    pub deleted: u32,
    /// Sum of the messages' sizes.
    pub size: u64,
    /// Messages from this UID on are `\Recent` to the next session.
    pub recent_from: Uid,
    /// Number of those messages; `None` in a record of version 1, which did not count them.
    pub recent: Option<u32>,
    /// The change log is whole for any `since` at or above this.
    pub log_from: ModSeq,
    /// Number of entries of the change log.
    pub log_entries: u32,
    /// Keywords by index, in the case in which they were first set.
    pub keywords: Vec<String>,
}

impl MailboxRecord {
    /// A new, empty mailbox.
    pub fn new(name: String, uid_validity: UidValidity, special_use: SpecialUse, modseq: ModSeq) -> Self {
        Self {
            name,
            uid_validity,
            uid_next: Uid(1),
            highest_modseq: modseq,
            special_use,
            messages: 0,
            unseen: 0,
            deleted: 0,
            size: 0,
            recent_from: Uid(1),
            recent: Some(0),
            log_from: modseq,
            log_entries: 0,
            keywords: Vec::new(),
        }
    }

    /// The protocol's flags.
    pub fn flags_to_proto(&self, flags: FlagBits) -> proto::Flags {
        let keywords = flags
            .keywords()
            .filter_map(|index| self.keywords.get(index).cloned())
            .collect();
        proto::Flags {
            system: flags.system(),
            keywords,
        }
    }

    /// The bit of a keyword that the mailbox has; keywords are compared without regard to ASCII case.
    pub fn keyword_bit(&self, keyword: &str) -> Option<FlagBits> {
        let index = self
            .keywords
            .iter()
            .position(|known| known.eq_ignore_ascii_case(keyword))?;
        Some(FlagBits::keyword(index))
    }

    /// How many keywords may still be added.
    pub fn keywords_free(&self) -> u32 {
        u32::try_from(KEYWORDS_MAX.saturating_sub(self.keywords.len())).unwrap_or(0)
    }

    /// The protocol's mailbox, in which `recent` messages from `recent_from` on have not been taken by a session.
    pub fn to_proto(&self, id: MailboxId, recent_from: Uid, recent: u32) -> proto::Mailbox {
        proto::Mailbox {
            id: id.0,
            name: self.name.clone(),
            uid_validity: self.uid_validity.0,
            uid_next: self.uid_next.0,
            highest_modseq: self.highest_modseq.0,
            special_use: self.special_use.into(),
            messages: self.messages,
            unseen: self.unseen,
            deleted: self.deleted,
            size: self.size,
            recent_from: recent_from.0,
            recent,
        }
    }
}

impl Value for MailboxRecord {
    const VERSION: u8 = 2;

    fn encode_fields(&self, out: &mut Encoder) {
        out.bytes(self.name.as_bytes());
        out.number(self.uid_validity.0);
        out.number(self.uid_next.0);
        out.number(self.highest_modseq.0);
        out.byte(self.special_use as i32 as u8);
        out.number(self.messages);
        out.number(self.unseen);
        out.number(self.deleted);
        out.number(self.size);
        out.number(self.recent_from.0);
        out.number(self.log_from.0);
        out.number(self.log_entries);
        out.number(self.keywords.len() as u64);
        for keyword in &self.keywords {
            out.bytes(keyword.as_bytes());
        }
        // One more than the number; 0 for none.
        out.number(self.recent.map_or(0, |recent| u64::from(recent) + 1));
    }

    fn decode_fields(version: u8, fields: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            name: fields.string()?,
            uid_validity: UidValidity(fields.number32()?),
            uid_next: Uid(fields.number32()?),
            highest_modseq: ModSeq(fields.number()?),
            special_use: SpecialUse::try_from(i32::from(fields.byte()?))
                .map_err(|_| DecodeError::Damaged("special use"))?,
            messages: fields.number32()?,
            unseen: fields.number32()?,
            deleted: fields.number32()?,
            size: fields.number()?,
            recent_from: Uid(fields.number32()?),
            log_from: ModSeq(fields.number()?),
            log_entries: fields.number32()?,
            keywords: {
                let count = fields.count(1)?;
                if count > KEYWORDS_MAX {
                    return Err(DecodeError::Damaged("number of keywords"));
                }
                (0..count).map(|_| fields.string()).collect::<Result<_, _>>()?
            },
            recent: match version {
                1 => None,
                _ => match fields.number()? {
                    0 => None,
                    more => {
                        Some(u32::try_from(more - 1).map_err(|_| DecodeError::Damaged("recent messages"))?)
                    }
                },
            },
        })
    }
}
