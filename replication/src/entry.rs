//! What a group agrees on: numbered entries of a leader, and their bytes in the log and on the wire.

use bytes::{BufMut, Bytes, BytesMut};

use crate::batch::{Batch, Column, Write};

/// A consensus group of the cluster: a shard's number, or [`GroupId::DIRECTORY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u32);

impl GroupId {
    /// The directory's group. Shards have lower numbers.
    pub const DIRECTORY: GroupId = GroupId(u32::MAX);

    /// The group's keys: from the first (inclusive) to the second (exclusive).
    pub fn key_range(self) -> (Vec<u8>, Vec<u8>) {
        let end = match self.0.checked_add(1) {
            Some(next) => next.to_be_bytes().to_vec(),
            // The directory's keys go on with a byte below 255.
            None => vec![u8::MAX; 5],
        };
        (self.0.to_be_bytes().to_vec(), end)
    }
}

/// One leadership of a group, never used again, ascending: a new one for each election, and for each time that a leader
/// begins anew within its term.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaderId {
    /// Term of the election.
    pub term: u64,
    /// How often the leader has begun anew in it.
    pub count: u32,
}

/// Gathered plans of one leader.
///
/// Apply accepts only the leader's next `number`, or 0 of a newer leader; anything else is a no-op on every replica and
/// its proposer is told to plan anew. So a plan that was built on a lost plan never applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who planned it.
    pub leader: LeaderId,
    /// Position among the leader's entries, from 0.
    pub number: u64,
    /// What is written.
    pub batch: Batch,
}

/// First byte of an entry's payload: the format that follows.
const FORMAT: u8 = 1;

/// Second byte: a leader's sign that it leads.
const KIND_BLANK: u8 = 0;
/// Second byte: gathered plans.
const KIND_PLANS: u8 = 1;
/// Second byte: a change of the membership.
const KIND_MEMBERSHIP: u8 = 2;

/// Bytes before the writes of plans: format, kind, term, count, number.
const PLANS_HEADER: usize = 2 + 8 + 4 + 8;

const WRITE_PUT: u8 = 0;
const WRITE_ADD: u8 = 1;
const WRITE_DELETE: u8 = 2;
const WRITE_DELETE_RANGE: u8 = 3;

/// An entry's payload cannot be read: it is damaged, or of a newer program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an entry of the log cannot be read: {0}")]
pub struct PayloadError(pub String);

/// What an entry's payload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: a leader's sign that it leads.
    Blank,
    /// An encoded [`Entry`], whole.
    Plans(Bytes),
    /// An encoded membership.
    Membership(Bytes),
}

impl Payload {
    /// As it is kept and sent.
    pub fn encode(&self) -> Bytes {
        match self {
            Payload::Blank => Bytes::from_static(&[FORMAT, KIND_BLANK]),
            Payload::Plans(bytes) => bytes.clone(),
            Payload::Membership(membership) => {
                let mut bytes = BytesMut::with_capacity(2 + membership.len());
                bytes.put_slice(&[FORMAT, KIND_MEMBERSHIP]);
                bytes.put_slice(membership);
                bytes.freeze()
            }
        }
    }

    /// What was kept or sent.
    pub fn decode(bytes: Bytes) -> Result<Self, PayloadError> {
        match bytes.get(..2) {
            Some([FORMAT, KIND_BLANK]) => Ok(Payload::Blank),
            Some([FORMAT, KIND_PLANS]) => Ok(Payload::Plans(bytes)),
            Some([FORMAT, KIND_MEMBERSHIP]) => Ok(Payload::Membership(bytes.slice(2..))),
            Some([format, kind]) => Err(PayloadError(format!(
                "it has format {format} and kind {kind}, which this program does not know: use the newer one"
            ))),
            _ => Err(PayloadError("it is cut short".to_owned())),
        }
    }
}

impl Entry {
    /// As it is kept and sent: format, kind, leader, number, then each write as a tag with its column, and keys and values
    /// with their lengths before them.
    pub fn encode(&self) -> Bytes {
        let size = PLANS_HEADER + self.batch.bytes() + self.batch.writes().len() * 9;
        let mut bytes = BytesMut::with_capacity(size);
        bytes.put_slice(&[FORMAT, KIND_PLANS]);
        bytes.put_u64(self.leader.term);
        bytes.put_u32(self.leader.count);
        bytes.put_u64(self.number);
        for write in self.batch.writes() {
            match write {
                Write::Put(column, key, value) => {
                    bytes.put_u8(tag(WRITE_PUT, *column));
                    put_bytes(&mut bytes, key);
                    put_bytes(&mut bytes, value);
                }
                Write::Add(key, by) => {
                    bytes.put_u8(tag(WRITE_ADD, Column::Counters));
                    put_bytes(&mut bytes, key);
                    bytes.put_i64_le(*by);
                }
                Write::Delete(column, key) => {
                    bytes.put_u8(tag(WRITE_DELETE, *column));
                    put_bytes(&mut bytes, key);
                }
                Write::DeleteRange(column, from, to) => {
                    bytes.put_u8(tag(WRITE_DELETE_RANGE, *column));
                    put_bytes(&mut bytes, from);
                    put_bytes(&mut bytes, to);
                }
            }
        }
        bytes.freeze()
    }

    /// What was kept or sent. Keys and values share its memory.
    pub fn decode(bytes: &Bytes) -> Result<Self, PayloadError> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.take(2)?.as_ref() != [FORMAT, KIND_PLANS] {
            return Err(PayloadError("it is not of gathered plans".to_owned()));
        }
        let leader = LeaderId {
            term: reader.u64()?,
            count: u32::try_from(reader.number(4)?).unwrap_or(u32::MAX),
        };
        let number = reader.u64()?;
        let mut batch = Batch::new();
        while reader.at < bytes.len() {
            let tag = reader.take(1)?[0];
            let column = Column::ALL
                .get(usize::from(tag & 0x0f))
                .copied()
                .ok_or_else(|| PayloadError(format!("a write has the unknown tag {tag:#x}")))?;
            match tag >> 4 {
                WRITE_PUT => batch.put(column, reader.bytes()?, reader.bytes()?),
                WRITE_ADD => {
                    let key = reader.bytes()?;
                    batch.add(key, crate::memory::counter(&reader.take(8)?));
                }
                WRITE_DELETE => batch.delete(column, reader.bytes()?),
                WRITE_DELETE_RANGE => batch.delete_range(column, reader.bytes()?, reader.bytes()?),
                _ => return Err(PayloadError(format!("a write has the unknown tag {tag:#x}"))),
            }
        }
        Ok(Self {
            leader,
            number,
            batch,
        })
    }
}

fn tag(kind: u8, column: Column) -> u8 {
    kind << 4 | column as u8
}

fn put_bytes(to: &mut BytesMut, bytes: &[u8]) {
    // A batch is far below 4 GiB: its writer bounds it.
    to.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    to.put_slice(bytes);
}

struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, len: usize) -> Result<Bytes, PayloadError> {
        let end = self
            .at
            .checked_add(len)
            .filter(|end| *end <= self.bytes.len())
            .ok_or_else(|| PayloadError("it is cut short".to_owned()))?;
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self, len: usize) -> Result<u64, PayloadError> {
        Ok(self
            .take(len)?
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn u64(&mut self) -> Result<u64, PayloadError> {
        self.number(8)
    }

    fn bytes(&mut self) -> Result<Bytes, PayloadError> {
        let len = self.take(4)?;
        let len = len
            .iter()
            .rev()
            .fold(0, |len, byte| len << 8 | usize::from(*byte));
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Entry {
        let mut batch = Batch::new();
        batch.put(Column::Rows, "key", "value");
        batch.put(Column::Bodies, "b", vec![7; 300]);
        batch.add("counter", -5);
        batch.delete(Column::Bodies, "gone");
        batch.delete_range(Column::Rows, "a", "c");
        Entry {
            leader: LeaderId { term: 3, count: 2 },
            number: 9,
            batch,
        }
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let entry = example();
        let bytes = entry.encode();
        assert_eq!(Entry::decode(&bytes), Ok(entry));
        let payload = Payload::decode(bytes.clone()).expect("decodes");
        assert_eq!(
            (payload.encode(), payload),
            (bytes.clone(), Payload::Plans(bytes))
        );
        for payload in [Payload::Blank, Payload::Membership(Bytes::from_static(b"m"))] {
            assert_eq!(Payload::decode(payload.encode()), Ok(payload));
        }
    }

    #[test]
    fn what_is_cut_or_unknown_is_refused() {
        let bytes = example().encode();
        // A cut between two writes is what the log's checksums are for.
        let whole = (0..bytes.len())
            .filter(|end| Entry::decode(&bytes.slice(..*end)).is_ok())
            .count();
        assert_eq!(whole, 5);
        let mut unknown = bytes.to_vec();
        unknown[PLANS_HEADER] = 0x4f;
        assert!(Entry::decode(&Bytes::from(unknown)).is_err());
        assert!(Payload::decode(Bytes::from_static(&[9, 1])).is_err());
        assert!(Payload::decode(Bytes::new()).is_err());
    }

    /// The oldest format that must stay readable. Never edited: a newer format gets an example of its own beside it.
    #[test]
    fn the_first_format_stays_readable() {
        let kept: &[u8] = b"\x01\x01\0\0\0\0\0\0\0\x03\0\0\0\x02\0\0\0\0\0\0\0\x09\
            \x00\x03\0\0\0key\x05\0\0\0value\
            \x12\x07\0\0\0counter\xfb\xff\xff\xff\xff\xff\xff\xff\
            \x21\x04\0\0\0gone\
            \x30\x01\0\0\0a\x01\0\0\0c";
        let entry = Entry::decode(&Bytes::from_static(kept)).expect("decodes");
        let mut batch = Batch::new();
        batch.put(Column::Rows, "key", "value");
        batch.add("counter", -5);
        batch.delete(Column::Bodies, "gone");
        batch.delete_range(Column::Rows, "a", "c");
        assert_eq!(entry, Entry { batch, ..example() });
        assert_eq!(entry.encode().as_ref(), kept);
    }
}
