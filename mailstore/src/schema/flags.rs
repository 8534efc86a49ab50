//! Flags and modseqs of messages, in blocks of neighbouring UIDs.
//!
//! The UID set of a mailbox is the union of its blocks: a UID exists if and only if its block has an entry for it. A
//! block is written column by column, each run-length coded, so that a `STORE 1:*` rewrites 800 small values for 100,000
//! messages, and reading all flags reads as many.

use super::codec::{DecodeError, Decoder, Encoder, Value};
use super::ids::{ModSeq, Uid};

/// Number of UIDs of a block.
pub const FLAG_BLOCK_UIDS: u32 = 128;

/// Keywords that a mailbox may have.
pub const KEYWORDS_MAX: usize = 59;

/// Bits of the system flags, as in the protocol's `Flags.system`.
const SYSTEM_BITS: u32 = 5;

/// Flags of a message: five system flags, then the mailbox's keywords by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct FlagBits(pub u64);

impl FlagBits {
    /// `\Seen`
    pub const SEEN: FlagBits = FlagBits(1);
    /// `\Answered`
    pub const ANSWERED: FlagBits = FlagBits(2);
    /// `\Flagged`
    pub const FLAGGED: FlagBits = FlagBits(4);
    /// `\Deleted`
    pub const DELETED: FlagBits = FlagBits(8);
    /// `\Draft`
    pub const DRAFT: FlagBits = FlagBits(16);

    /// From the protocol's system bits; unknown bits are dropped.
    pub fn from_system(bits: u32) -> Self {
        Self(u64::from(bits) & ((1 << SYSTEM_BITS) - 1))
    }

    /// The protocol's system bits.
    pub fn system(self) -> u32 {
        (self.0 & ((1 << SYSTEM_BITS) - 1)) as u32
    }

    /// The bit of the keyword with this index, below [`KEYWORDS_MAX`].
    pub fn keyword(index: usize) -> Self {
        debug_assert!(index < KEYWORDS_MAX);
        Self(1 << (SYSTEM_BITS as usize + index))
    }

    /// Indexes of the keywords that are set.
    pub fn keywords(self) -> impl Iterator<Item = usize> {
        (0..KEYWORDS_MAX).filter(move |index| self.contains(Self::keyword(*index)))
    }

    /// Whether all bits of the other are set.
    pub fn contains(self, other: FlagBits) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the other's bits.
    pub fn with(self, other: FlagBits) -> Self {
        Self(self.0 | other.0)
    }

    /// Without the other's bits.
    pub fn without(self, other: FlagBits) -> Self {
        Self(self.0 & !other.0)
    }
}

/// One message of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlagEntry {
    /// Its UID.
    pub uid: Uid,
    /// Its flags.
    pub flags: FlagBits,
    /// When they, or the message, last changed.
    pub modseq: ModSeq,
}

/// The messages whose UIDs lie in one block, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlagBlock {
    /// Ascending by UID.
    pub entries: Vec<FlagEntry>,
}

/// The block that a UID lies in.
pub fn block_of(uid: Uid) -> u32 {
    uid.0 / FLAG_BLOCK_UIDS
}

/// The first UID of a block.
pub fn first_of(block: u32) -> Uid {
    Uid(block.saturating_mul(FLAG_BLOCK_UIDS))
}

impl FlagBlock {
    /// The entry of a UID.
    pub fn get(&self, uid: Uid) -> Option<&FlagEntry> {
        let index = self.entries.binary_search_by_key(&uid, |entry| entry.uid).ok()?;
        Some(&self.entries[index])
    }

    /// Adds a message with a UID above all others.
    pub fn push(&mut self, entry: FlagEntry) {
        debug_assert!(self.entries.last().is_none_or(|last| last.uid < entry.uid));
        self.entries.push(entry);
    }
}

impl Value for FlagBlock {
    const VERSION: u8 = 1;

    fn encode_fields(&self, out: &mut Encoder) {
        out.number(self.entries.len() as u64);
        let Some(first) = self.entries.first() else { return };
        out.number(first.uid.0);
        out.number(first.modseq.0);
        runs(
            out,
            self.entries
                .windows(2)
                .map(|pair| u64::from(pair[1].uid.0 - pair[0].uid.0)),
        );
        runs(out, self.entries.iter().map(|entry| entry.flags.0));
        runs(
            out,
            self.entries
                .windows(2)
                .map(|pair| pair[1].modseq.0.wrapping_sub(pair[0].modseq.0))
                .map(zigzag),
        );
    }

    fn decode_fields(_version: u8, fields: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let count = fields.number()?;
        if count > BLOCK_ENTRIES_MAX {
            return Err(DecodeError::Damaged("entries of a flag block"));
        }
        if count == 0 {
            return Ok(Self::default());
        }
        let count = count as usize;
        let mut uid = fields.number32()?;
        let mut modseq = fields.number()?;
        let mut entries = Vec::with_capacity(count);
        let mut damaged = false;
        entries.push(FlagEntry {
            uid: Uid(uid),
            flags: FlagBits(0),
            modseq: ModSeq(modseq),
        });
        read_runs(fields, count - 1, |step| {
            let next = u32::try_from(step)
                .ok()
                .filter(|step| *step > 0)
                .and_then(|step| uid.checked_add(step));
            damaged |= next.is_none();
            uid = next.unwrap_or(uid);
            entries.push(FlagEntry {
                uid: Uid(uid),
                flags: FlagBits(0),
                modseq: ModSeq(modseq),
            });
        })?;
        if damaged {
            return Err(DecodeError::Damaged("UIDs of a flag block"));
        }
        let mut at = 0;
        read_runs(fields, count, |flags| {
            entries[at].flags = FlagBits(flags);
            at += 1;
        })?;
        at = 1;
        read_runs(fields, count - 1, |step| {
            modseq = modseq.wrapping_add(unzigzag(step));
            entries[at].modseq = ModSeq(modseq);
            at += 1;
        })?;
        Ok(Self { entries })
    }
}

/// More than any block size that was measured.
const BLOCK_ENTRIES_MAX: u64 = 4096;

fn zigzag(step: u64) -> u64 {
    let step = step as i64;
    ((step << 1) ^ (step >> 63)) as u64
}

fn unzigzag(coded: u64) -> u64 {
    (coded >> 1) ^ (coded & 1).wrapping_neg()
}

/// Writes values as (length of run, value).
fn runs(out: &mut Encoder, values: impl Iterator<Item = u64>) {
    let mut run: Option<(u64, u64)> = None;
    for value in values {
        match &mut run {
            Some((length, same)) if *same == value => *length += 1,
            _ => {
                if let Some((length, done)) = run.replace((1, value)) {
                    out.number(length);
                    out.number(done);
                }
            }
        }
    }
    if let Some((length, last)) = run {
        out.number(length);
        out.number(last);
    }
}

/// Reads `count` values that were written by [`runs`].
fn read_runs(fields: &mut Decoder<'_>, count: usize, mut take: impl FnMut(u64)) -> Result<(), DecodeError> {
    let mut left = count as u64;
    while left > 0 {
        let length = fields.number()?;
        let value = fields.number()?;
        if length == 0 || length > left {
            return Err(DecodeError::Damaged("run of a flag block"));
        }
        for _ in 0..length {
            take(value);
        }
        left -= length;
    }
    Ok(())
}
