//! Accounts that leave the shard, and notes of which of their rows have changed since they began to.

use bytes::Bytes;

use super::codec::{DecodeError, Decoder, Encoder, Value};
use super::ids::AccountId;

/// Accounts that may leave a shard at one time.
pub const LEAVING_MAX: usize = 16;

/// An account that leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeavingAccount {
    /// Which.
    pub account: AccountId,
    /// The generation of the move.
    pub generation: u64,
    /// The number of its next note.
    pub next: u64,
}

/// The accounts that leave the shard. At most [`LEAVING_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leaving {
    /// In the order in which they began to.
    pub accounts: Vec<LeavingAccount>,
}

impl Leaving {
    /// The entry of an account.
    pub fn of(&self, account: AccountId) -> Option<&LeavingAccount> {
        self.accounts.iter().find(|leaving| leaving.account == account)
    }
}

impl Value for Leaving {
    const VERSION: u8 = 1;

    fn encode_fields(&self, out: &mut Encoder) {
        out.number(self.accounts.len() as u64);
        for leaving in &self.accounts {
            out.number(leaving.account.0);
            out.number(leaving.generation);
            out.number(leaving.next);
        }
    }

    fn decode_fields(_version: u8, fields: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let count = fields.count(3)?;
        let mut accounts = Vec::with_capacity(count);
        for _ in 0..count {
            accounts.push(LeavingAccount {
                account: AccountId(fields.number()?),
                generation: fields.number()?,
                next: fields.number()?,
            });
        }
        Ok(Self { accounts })
    }
}

/// What a plan changed, by keys without the shard's number. Ranges sort first: what is in them comes anew behind them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TouchedKey {
    /// All rows from the first key to the second, which is not among them, were removed.
    Range(Bytes, Bytes),
    /// A row.
    Row(Bytes),
    /// A counter.
    Counter(Bytes),
}

/// A note of what one plan changed in an account that leaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched(pub Vec<TouchedKey>);

impl Value for Touched {
    const VERSION: u8 = 1;

    fn encode_fields(&self, out: &mut Encoder) {
        out.number(self.0.len() as u64);
        for key in &self.0 {
            match key {
                TouchedKey::Range(from, to) => {
                    out.byte(0);
                    out.bytes(from);
                    out.bytes(to);
                }
                TouchedKey::Row(key) => {
                    out.byte(1);
                    out.bytes(key);
                }
                TouchedKey::Counter(key) => {
                    out.byte(2);
                    out.bytes(key);
                }
            }
        }
    }

    fn decode_fields(_version: u8, fields: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let count = fields.count(2)?;
        let mut keys = Vec::with_capacity(count);
        for _ in 0..count {
            let kind = fields.byte()?;
            let key = Bytes::copy_from_slice(fields.bytes()?);
            keys.push(match kind {
                0 => TouchedKey::Range(key, Bytes::copy_from_slice(fields.bytes()?)),
                1 => TouchedKey::Row(key),
                2 => TouchedKey::Counter(key),
                _ => return Err(DecodeError::Damaged("kind of a touched key")),
            });
        }
        Ok(Self(keys))
    }
}
