//! The change log of a mailbox: what each modseq changed.

use super::codec::{DecodeError, Decoder, Encoder, Value};
use super::ids::Uid;
use super::uid_ranges::UidRanges;

/// Entries that a mailbox's log keeps at least, once it has had so many.
pub const LOG_ENTRIES_KEPT: u32 = 4096;

/// How far the log grows beyond that before it is trimmed.
pub const LOG_ENTRIES_SLACK: u32 = 512;

/// Ranges that an entry keeps apart; more are joined into their span.
pub const LOG_RANGES_MAX: usize = 4096;

/// What one modseq changed in one mailbox.
///
/// Both sets may hold more than what changed (see [`LOG_RANGES_MAX`]): a reader takes of `changed` those whose modseq is
/// above what it asks for, and of `vanished` those that do not exist.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Messages that are new or whose flags changed.
    pub changed: UidRanges,
    /// Messages that have gone.
    pub vanished: UidRanges,
}

impl Change {
    /// An entry, with sets of many ranges made coarse.
    pub fn new(changed: UidRanges, vanished: UidRanges) -> Self {
        Self {
            changed: coarse(changed),
            vanished: coarse(vanished),
        }
    }
}

fn coarse(set: UidRanges) -> UidRanges {
    match (set.first(), set.last()) {
        (Some(first), Some(last)) if set.range_count() > LOG_RANGES_MAX => UidRanges::range(first, last),
        _ => set,
    }
}

impl Value for Change {
    const VERSION: u8 = 1;

    fn encode_fields(&self, out: &mut Encoder) {
        self.changed.encode(out);
        self.vanished.encode(out);
    }

    fn decode_fields(_version: u8, fields: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let changed = UidRanges::decode(fields)?;
        let vanished = UidRanges::decode(fields)?;
        if [&changed, &vanished]
            .iter()
            .any(|set| set.first() == Some(Uid(0)))
        {
            return Err(DecodeError::Damaged("UID 0"));
        }
        Ok(Self { changed, vanished })
    }
}
