//! A message in a mailbox (a row each), and the message itself, which its copies share (a record each).

use bytes::Bytes;
use rookery_mail::mime::Stored;
use rookery_proto::mailstore::v1 as proto;

use super::codec::{DecodeError, Decoder, Encoder, Value};
use super::ids::{BodyHash, MessageNumber};

/// When a message arrived, with the zone in which that was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InternalDate {
    /// Unix seconds.
    pub unix_seconds: i64,
    /// Minutes east of UTC.
    pub zone_minutes: i16,
}

impl InternalDate {
    /// Now, in UTC.
    pub fn from_millis(millis: u64) -> Self {
        Self {
            unix_seconds: (millis / 1000) as i64,
            zone_minutes: 0,
        }
    }

    /// From the wire; `None` when the zone cannot be.
    pub fn from_proto(date: &proto::InternalDate) -> Option<Self> {
        let zone_minutes = i16::try_from(date.zone_minutes)
            .ok()
            .filter(|zone| zone.abs() < 24 * 60)?;
        Some(Self {
            unix_seconds: date.unix_seconds,
            zone_minutes,
        })
    }

    /// For the wire.
    pub fn to_proto(self) -> proto::InternalDate {
        proto::InternalDate {
            unix_seconds: self.unix_seconds,
            zone_minutes: i32::from(self.zone_minutes),
        }
    }
}

/// The day of a message's Date field, as far as its row tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentDay {
    /// The message has to be asked.
    Unknown,
    /// It has no Date that can be understood.
    Absent,
    /// Days since 1970-01-01, as the field has it, without regard to its zone.
    Day(i32),
}

impl SentDay {
    /// What an analysis says, as `rookery_mail::mime` writes it.
    pub fn of_analysis(analysis: &Bytes) -> Self {
        match Stored::new(analysis.clone()).and_then(|stored| stored.sent_day()) {
            Ok(Some(day)) => Self::Day(day),
            Ok(None) => Self::Absent,
            Err(_) => Self::Unknown,
        }
    }

    fn encode(self, out: &mut Encoder) {
        match self {
            Self::Unknown => out.byte(0),
            Self::Absent => out.byte(1),
            Self::Day(day) => {
                out.byte(2);
                out.signed(i64::from(day));
            }
        }
    }

    fn decode(fields: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        match fields.byte()? {
            0 => Ok(Self::Unknown),
            1 => Ok(Self::Absent),
            2 => match i32::try_from(fields.signed()?) {
                Ok(day) => Ok(Self::Day(day)),
                Err(_) => Err(DecodeError::Damaged("day of a date")),
            },
            _ => Err(DecodeError::Damaged("kind of a day")),
        }
    }
}

/// A message in a mailbox: what differs between its copies, and what lists of messages and searches ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRow {
    /// The message.
    pub number: MessageNumber,
    /// Size in bytes as clients see it: prefix and body.
    pub size: u64,
    /// INTERNALDATE.
    pub internal_date: InternalDate,
    /// When it came into this mailbox, unix seconds (RFC 8514).
    pub saved_seconds: i64,
    /// When it says to have been sent (RFC 9051 §6.4.4, SENTSINCE).
    pub sent_day: SentDay,
}

impl Value for MessageRow {
    /// Version 1 has no day.
    const VERSION: u8 = 2;

    fn encode_fields(&self, out: &mut Encoder) {
        out.number(self.number.0);
        out.number(self.size);
        out.signed(self.internal_date.unix_seconds);
        out.signed(i64::from(self.internal_date.zone_minutes));
        // Most messages are saved when they arrive: the distance is small.
        out.signed(self.saved_seconds.wrapping_sub(self.internal_date.unix_seconds));
        self.sent_day.encode(out);
    }

    fn decode_fields(version: u8, fields: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let number = MessageNumber(fields.number()?);
        let size = fields.number()?;
        let unix_seconds = fields.signed()?;
        let zone = fields.signed()?;
        let zone_minutes = i16::try_from(zone).map_err(|_| DecodeError::Damaged("zone of a date"))?;
        let saved_seconds = unix_seconds.wrapping_add(fields.signed()?);
        let sent_day = match version {
            1 => SentDay::Unknown,
            _ => SentDay::decode(fields)?,
        };
        Ok(Self {
            number,
            size,
            internal_date: InternalDate {
                unix_seconds,
                zone_minutes,
            },
            saved_seconds,
            sent_day,
        })
    }
}

/// A message: never changes, lives as long as a row refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRecord {
    /// Its body.
    pub body: BodyHash,
    /// Header lines before the body's own (Return-Path, Received), CRLF-ended.
    pub prefix: Bytes,
    /// Length of the body's header with the empty line.
    pub header_len: u64,
    /// ENVELOPE, BODY, BODYSTRUCTURE and the offsets of parts, as `rookery_mail::mime` writes them; empty when the body
    /// could not be understood and is served as opaque text.
    pub analysis: Bytes,
}

impl MessageRecord {
    /// Size in bytes as clients see it.
    pub fn size(&self) -> u64 {
        self.body.size + self.prefix.len() as u64
    }
}

impl Value for MessageRecord {
    const VERSION: u8 = 1;

    fn encode_fields(&self, out: &mut Encoder) {
        out.raw(&self.body.blake3);
        out.number(self.body.size);
        out.bytes(&self.prefix);
        out.number(self.header_len);
        out.bytes(&self.analysis);
    }

    fn decode_fields(_version: u8, fields: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            body: BodyHash {
                blake3: fields.array()?,
                size: fields.number()?,
            },
            prefix: Bytes::copy_from_slice(fields.bytes()?),
            header_len: fields.number()?,
            analysis: Bytes::copy_from_slice(fields.bytes()?),
        })
    }
}
