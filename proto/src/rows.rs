//! Rows of a store on their way into a backup and out of one: the same frames on the wire and in files.
//!
//! A frame is the column (one byte), the lengths of key (u16) and value (u32), little-endian, then key and value, then the
//! first 8 bytes of the BLAKE3 hash of all that. So damage is found in the row that has it, wherever the row travels.
//! Never interprets a key or a value.

use bytes::{Buf, Bytes, BytesMut};

/// The longest key in bytes.
pub const KEY_BYTES_MAX: usize = 4 * 1024;

/// The longest value in bytes: above the largest reply that a shard keeps.
pub const VALUE_BYTES_MAX: usize = 80 * 1024 * 1024;

/// Bytes of a frame before the key.
const HEADER_BYTES: usize = 7;

/// Bytes of a frame after the value.
const CHECK_BYTES: usize = 8;

/// Which column of the store a row is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum RowColumn {
    /// Small values.
    Rows = 1,
    /// Chunks of bodies.
    Bodies = 2,
    /// Sums, 8 bytes little-endian.
    Counters = 3,
}

impl RowColumn {
    /// All, in the order in which they are exported.
    pub const ALL: [RowColumn; 3] = [RowColumn::Rows, RowColumn::Bodies, RowColumn::Counters];

    /// The column's name in file names.
    pub fn name(self) -> &'static str {
        match self {
            RowColumn::Rows => "rows",
            RowColumn::Bodies => "bodies",
            RowColumn::Counters => "counters",
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|column| *column as u8 == byte)
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its column.
    pub column: RowColumn,
    /// At most [`KEY_BYTES_MAX`].
    pub key: Bytes,
    /// At most [`VALUE_BYTES_MAX`].
    pub value: Bytes,
}

impl Row {
    /// Bytes of the row's frame.
    pub fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.key.len() + self.value.len() + CHECK_BYTES
    }

    /// Appends the row's frame.
    pub fn encode_into(&self, out: &mut BytesMut) -> Result<(), FrameError> {
        encode_frame(self.column, &self.key, &self.value, out)
    }
}

/// Appends the frame of a row.
pub fn encode_frame(
    column: RowColumn,
    key: &[u8],
    value: &[u8],
    out: &mut BytesMut,
) -> Result<(), FrameError> {
    if key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
        return Err(FrameError::TooLarge);
    }
    let start = out.len();
    out.reserve(HEADER_BYTES + key.len() + value.len() + CHECK_BYTES);
    out.extend_from_slice(&[column as u8]);
    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value);
    let check = check_of(&out[start..]);
    out.extend_from_slice(&check);
    Ok(())
}

fn check_of(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECK_BYTES]);
    check
}

/// Bytes that are no frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header cannot be.
    #[error("the header of a row is damaged")]
    Header,
    /// The row is not what was written.
    #[error("a row is damaged; its key may be {}", hex(.key))]
    Check {
        /// The key as it is now.
        key: Bytes,
    },
    /// Ends within a row.
    #[error("the rows end within a row")]
    Truncated,
    /// A row that no frame can hold.
    #[error("a row is too large for a frame")]
    TooLarge,
}

/// Bytes as people compare them.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Takes rows out of bytes that come in pieces. Holds one row and one piece.
#[derive(Debug, Default)]
pub struct RowDecoder {
    buffer: BytesMut,
    taken: u64,
}

impl RowDecoder {
    /// Adds the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// Bytes of the rows taken out so far: where the next one begins.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The next row that is whole.
    pub fn next_row(&mut self) -> Result<Option<Row>, FrameError> {
        let Some((header, _)) = self.buffer.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [column, key_low, key_high, value @ ..] = *header;
        let column = RowColumn::from_byte(column).ok_or(FrameError::Header)?;
        let key_len = usize::from(u16::from_le_bytes([key_low, key_high]));
        let value_len = u32::from_le_bytes(value) as usize;
        if key_len > KEY_BYTES_MAX || value_len > VALUE_BYTES_MAX {
            return Err(FrameError::Header);
        }
        let checked = HEADER_BYTES + key_len + value_len;
        if self.buffer.len() < checked + CHECK_BYTES {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(checked + CHECK_BYTES).freeze();
        let is_whole = check_of(&frame[..checked])[..] == frame[checked..];
        frame.advance(HEADER_BYTES);
        let key = frame.split_to(key_len);
        if !is_whole {
            return Err(FrameError::Check { key });
        }
        self.taken += (checked + CHECK_BYTES) as u64;
        Ok(Some(Row {
            column,
            key,
            value: frame.split_to(value_len),
        }))
    }

    /// Whether nothing is left: an error in the middle of a row.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.buffer.is_empty() {
            Ok(())
        } else {
            Err(FrameError::Truncated)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        (0..20u8)
            .map(|number| Row {
                column: RowColumn::ALL[usize::from(number % 3)],
                key: vec![number; usize::from(number)].into(),
                value: vec![number; usize::from(number) * 37].into(),
            })
            .collect()
    }

    fn encoded(rows: &[Row]) -> BytesMut {
        let mut out = BytesMut::new();
        rows.iter().for_each(|row| row.encode_into(&mut out).unwrap());
        out
    }

    #[test]
    fn rows_come_out_of_pieces_of_any_size() {
        let bytes = encoded(&rows());
        for size in [1, 2, 7, 8, 100, bytes.len()] {
            let mut decoder = RowDecoder::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                decoder.push(piece);
                while let Some(row) = decoder.next_row().unwrap() {
                    found.push(row);
                }
            }
            decoder.finish().unwrap();
            assert_eq!(decoder.taken(), bytes.len() as u64);
            assert_eq!(found, rows(), "pieces of {size}");
        }
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let bytes = encoded(&rows()[2..5]);
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[position] ^= 1 << bit;
                let mut decoder = RowDecoder::default();
                decoder.push(&damaged);
                let end = loop {
                    match decoder.next_row() {
                        Ok(Some(_)) => {}
                        Ok(None) => break decoder.finish(),
                        Err(error) => break Err(error),
                    }
                };
                assert!(end.is_err(), "bit {bit} of byte {position}");
            }
        }
    }

    #[test]
    fn what_no_frame_holds_is_refused() {
        let long = vec![0; KEY_BYTES_MAX + 1];
        let error = encode_frame(RowColumn::Rows, &long, b"", &mut BytesMut::new());
        assert_eq!(error, Err(FrameError::TooLarge));
        let mut decoder = RowDecoder::default();
        decoder.push(&encoded(&rows()[3..4])[..10]);
        assert_eq!(decoder.next_row(), Ok(None));
        assert_eq!(decoder.finish(), Err(FrameError::Truncated));
    }
}
