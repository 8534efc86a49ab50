//! How values are written: a version byte, then varints (LEB128) and byte strings with their length before them.
//!
//! Decoding checks every length against what is left, so that hostile bytes cost an error and no more memory than
//! they themselves take.

use bytes::Bytes;

/// A stored value that cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Ends within a field.
    #[error("the value ends early")]
    Truncated,
    /// A version that this program does not know.
    #[error("version {0} of the value is unknown")]
    Version(u8),
    /// A field holds what can never be.
    #[error("the value is damaged: {0}")]
    Damaged(&'static str),
    /// Bytes after the last field.
    #[error("the value goes on after its end")]
    Trailing,
}

/// A stored value.
pub trait Value: Sized {
    /// The version that is written.
    const VERSION: u8;

    /// Writes the fields, without the version.
    fn encode_fields(&self, out: &mut Encoder);

    /// Reads the fields of this version or an older one.
    fn decode_fields(version: u8, fields: &mut Decoder<'_>) -> Result<Self, DecodeError>;

    /// The stored form.
    fn encode(&self) -> Bytes {
        let mut out = Encoder::default();
        out.byte(Self::VERSION);
        self.encode_fields(&mut out);
        out.finish()
    }

    /// From the stored form.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Decoder::new(bytes);
        let version = fields.byte()?;
        if version == 0 || version > Self::VERSION {
            return Err(DecodeError::Version(version));
        }
        let value = Self::decode_fields(version, &mut fields)?;
        fields.end()?;
        Ok(value)
    }
}

/// Writes fields.
#[derive(Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// One byte.
    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// An unsigned number.
    pub fn number(&mut self, number: impl Into<u64>) {
        let mut rest: u64 = number.into();
        while rest >= 0x80 {
            self.bytes.push((rest as u8) | 0x80);
            rest >>= 7;
        }
        self.bytes.push(rest as u8);
    }

    /// A signed number, small for small magnitudes.
    pub fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)) as u64);
    }

    /// A byte string with its length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes whose length the reader knows.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What was written.
    pub fn finish(self) -> Bytes {
        self.bytes.into()
    }
}

/// Reads fields.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Reads from the start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    /// An unsigned number.
    pub fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Damaged("number above 64 bits"));
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(DecodeError::Damaged("number above 64 bits"))
    }

    /// An unsigned number of 32 bits.
    pub fn number32(&mut self) -> Result<u32, DecodeError> {
        self.number()?
            .try_into()
            .map_err(|_| DecodeError::Damaged("number above 32 bits"))
    }

    /// A signed number.
    pub fn signed(&mut self) -> Result<i64, DecodeError> {
        let coded = self.number()?;
        Ok(((coded >> 1) as i64) ^ -((coded & 1) as i64))
    }

    /// A count of items of at least `bytes_each` bytes each, checked against what is left.
    pub fn count(&mut self, bytes_each: usize) -> Result<usize, DecodeError> {
        let count = self.number()?;
        let fits = (self.rest.len() / bytes_each.max(1)) as u64;
        if count > fits {
            return Err(DecodeError::Truncated);
        }
        Ok(count as usize)
    }

    /// A byte string.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.count(1)?;
        self.raw(length)
    }

    /// So many bytes.
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        if length > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(bytes)
    }

    /// An array of bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.raw(N)?);
        Ok(array)
    }

    /// A byte string that is UTF-8.
    pub fn string(&mut self) -> Result<String, DecodeError> {
        let bytes = self.bytes()?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Damaged("text is not UTF-8"))?;
        Ok(text.to_owned())
    }

    /// Whether all has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Errors unless all has been read.
    pub fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing)
        }
    }
}
