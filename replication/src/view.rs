//! What a planner reads: keys as they will be once all that is in flight has been applied.

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;

use crate::batch::Column;

/// Something that was written is no longer what was written: a checksum says so, or a file has gone. Never served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The damaged file, as far as it could be told.
    pub file: Option<PathBuf>,
    /// What was being read, for people; empty when that is not known.
    pub place: String,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{} is damaged", file.display())?,
            None => f.write_str("a file is damaged that could not be told")?,
        }
        if !self.place.is_empty() {
            write!(f, " where {} was read", self.place)?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// The store could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ViewError {
    /// It failed, and may work another time.
    #[error("cannot read the store: {0}")]
    Failed(String),
    /// What is stored is damaged.
    #[error("{0}")]
    Damaged(Damage),
}

impl ViewError {
    /// Whether what is stored is damaged.
    pub fn is_damage(&self) -> bool {
        matches!(self, ViewError::Damaged(_))
    }
}

/// A visitor of a scan: gets key and value, says whether to go on.
pub type Visitor<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> bool;

/// Reads of one moment.
pub trait View {
    /// The value of a key. For [`Column::Counters`], the sum as 8 bytes little-endian.
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, ViewError>;

    /// Visits keys from `from` (inclusive) to `to` (exclusive), ascending, until the visitor returns false.
    fn scan(&self, column: Column, from: &[u8], to: &[u8], visit: Visitor<'_>) -> Result<(), ViewError>;

    /// Whether the key exists.
    fn contains(&self, column: Column, key: &[u8]) -> Result<bool, ViewError> {
        Ok(self.get(column, key)?.is_some())
    }
}
