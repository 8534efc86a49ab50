//! What a planner reads: keys as they will be once all that is in flight has been applied.

use bytes::Bytes;

use crate::batch::Column;

/// The store could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the store: {0}")]
pub struct ViewError(pub String);

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
