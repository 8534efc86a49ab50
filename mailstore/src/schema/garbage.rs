//! What has lost a reference: worked off by the shard's writer in plans of its own, some at a time.

use super::codec::{DecodeError, Decoder, Encoder, Value};
use super::ids::MessageNumber;

/// References that one row may drop.
pub const GARBAGE_ITEMS_MAX: usize = 250;

/// Work left over by a plan. The account is in the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Garbage {
    /// A reference to each of these messages was dropped. At most [`GARBAGE_ITEMS_MAX`].
    Messages(Vec<MessageNumber>),
    /// All messages of the account are to be removed, then all its rows but its record.
    Account,
}

impl Value for Garbage {
    const VERSION: u8 = 1;

    fn encode_fields(&self, out: &mut Encoder) {
        match self {
            Garbage::Messages(numbers) => {
                out.byte(0);
                out.number(numbers.len() as u64);
                let mut before = 0u64;
                for number in numbers {
                    out.signed(number.0.wrapping_sub(before) as i64);
                    before = number.0;
                }
            }
            Garbage::Account => out.byte(1),
        }
    }

    fn decode_fields(_version: u8, fields: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        match fields.byte()? {
            0 => {
                let count = fields.count(1)?;
                let mut before = 0u64;
                let mut numbers = Vec::with_capacity(count);
                for _ in 0..count {
                    before = before.wrapping_add(fields.signed()? as u64);
                    numbers.push(MessageNumber(before));
                }
                Ok(Garbage::Messages(numbers))
            }
            1 => Ok(Garbage::Account),
            _ => Err(DecodeError::Damaged("kind of garbage")),
        }
    }
}
