//! Replies kept by idempotency key, so that a retry changes nothing and is answered alike.

use bytes::Bytes;

use super::codec::{DecodeError, Decoder, Encoder, Value};

/// Replies from this size on are compressed.
const COMPRESS_BYTES_MIN: usize = 4 * 1024;

/// The largest reply that is kept.
pub const REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A kept reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyRecord {
    /// When it may be forgotten, unix milliseconds.
    pub expires_millis: u64,
    /// The encoded `Reply` (of a session's key) or `DeliveryOutcome` (of a delivery's).
    pub reply: Bytes,
}

impl Value for ReplyRecord {
    const VERSION: u8 = 1;

    fn encode_fields(&self, out: &mut Encoder) {
        out.number(self.expires_millis);
        let compressed = (self.reply.len() >= COMPRESS_BYTES_MIN)
            .then(|| zstd::bulk::compress(&self.reply, 1).ok())
            .flatten();
        match compressed {
            Some(compressed) => {
                out.byte(1);
                out.number(self.reply.len() as u64);
                out.bytes(&compressed);
            }
            None => {
                out.byte(0);
                out.bytes(&self.reply);
            }
        }
    }

    fn decode_fields(_version: u8, fields: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let expires_millis = fields.number()?;
        let reply = match fields.byte()? {
            0 => Bytes::copy_from_slice(fields.bytes()?),
            1 => {
                let size = fields.number()?;
                if size > REPLY_BYTES_MAX as u64 {
                    return Err(DecodeError::Damaged("size of a reply"));
                }
                let compressed = fields.bytes()?;
                // The decoder writes into a vector that grows, so a false size costs nothing.
                let mut raw = Vec::new();
                let mut reader = zstd::stream::read::Decoder::new(compressed)
                    .map_err(|_| DecodeError::Damaged("zstd of a reply"))?;
                std::io::Read::read_to_end(&mut std::io::Read::take(&mut reader, size + 1), &mut raw)
                    .map_err(|_| DecodeError::Damaged("zstd of a reply"))?;
                if raw.len() as u64 != size {
                    return Err(DecodeError::Damaged("size of a reply"));
                }
                raw.into()
            }
            _ => return Err(DecodeError::Damaged("codec of a reply")),
        };
        Ok(Self {
            expires_millis,
            reply,
        })
    }
}
