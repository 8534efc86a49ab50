//! The store as it was at one moment.

use std::sync::Arc;

use bytes::Bytes;

use super::rocks::RocksSnapshot;
use super::{OwnRows, memory};
use crate::batch::Column;
use crate::view::{View, ViewError, Visitor};

/// The store as it was at one moment.
pub struct Snapshot<'a>(pub(super) Moment<'a>);

pub(super) enum Moment<'a> {
    Rocks(RocksSnapshot<'a>),
    Memory(Arc<memory::Rows>),
}

impl Snapshot<'_> {
    /// Visits rows that nobody is going to read again soon: they take no room in the cache from those that are.
    pub(crate) fn scan_once(
        &self,
        column: Column,
        from: &[u8],
        to: &[u8],
        visit: Visitor<'_>,
    ) -> Result<(), ViewError> {
        match &self.0 {
            Moment::Rocks(snapshot) if from < to => snapshot.scan(column, (from, to), false, visit),
            _ => self.scan(column, from, to, visit),
        }
    }
}

impl OwnRows for Snapshot<'_> {
    fn own_row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        match &self.0 {
            Moment::Rocks(snapshot) => snapshot.own_row(key),
            Moment::Memory(rows) => Ok(rows.own_row(key)),
        }
    }
}

impl View for Snapshot<'_> {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        match &self.0 {
            Moment::Rocks(snapshot) => snapshot.get(column, key),
            Moment::Memory(rows) => rows.columns.get(column, key),
        }
    }

    fn scan(&self, column: Column, from: &[u8], to: &[u8], visit: Visitor<'_>) -> Result<(), ViewError> {
        match &self.0 {
            _ if from >= to => Ok(()),
            Moment::Rocks(snapshot) => snapshot.scan(column, (from, to), true, visit),
            Moment::Memory(rows) => rows.columns.scan(column, from, to, visit),
        }
    }
}
