//! Recipients of other shards that could not be reached when their message was accepted.

use bytes::Bytes;

use super::codec::{DecodeError, Decoder, Encoder, Value};
use super::ids::{AccountId, BodyHash};

/// One recipient to deliver to later. Refers to its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOffRecord {
    /// The SMTP transaction, 16 bytes.
    pub transaction: [u8; 16],
    /// Reverse path, empty for bounces.
    pub sender: String,
    /// As in RCPT TO.
    pub address: String,
    /// Header lines before the body's own.
    pub prefix: Bytes,
    /// Whom it was meant for.
    pub account: AccountId,
    /// What to deliver.
    pub body: BodyHash,
    /// When the transaction began, unix milliseconds.
    pub issued_at_millis: u64,
    /// When the row may be leased, unix milliseconds; also in the index of due rows.
    pub due_millis: u64,
    /// Leases so far.
    pub attempts: u32,
}

impl HandOffRecord {
    /// The row's id: the same for the same transaction, account and address.
    pub fn id(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.transaction);
        hasher.update(&self.account.0.to_be_bytes());
        hasher.update(self.address.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        id
    }
}

impl Value for HandOffRecord {
    const VERSION: u8 = 1;

    fn encode_fields(&self, out: &mut Encoder) {
        out.raw(&self.transaction);
        out.bytes(self.sender.as_bytes());
        out.bytes(self.address.as_bytes());
        out.bytes(&self.prefix);
        out.number(self.account.0);
        out.raw(&self.body.blake3);
        out.number(self.body.size);
        out.number(self.issued_at_millis);
        out.number(self.due_millis);
        out.number(self.attempts);
    }

    fn decode_fields(_version: u8, fields: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            transaction: fields.array()?,
            sender: fields.string()?,
            address: fields.string()?,
            prefix: Bytes::copy_from_slice(fields.bytes()?),
            account: AccountId(fields.number()?),
            body: BodyHash {
                blake3: fields.array()?,
                size: fields.number()?,
            },
            issued_at_millis: fields.number()?,
            due_millis: fields.number()?,
            attempts: fields.number32()?,
        })
    }
}
