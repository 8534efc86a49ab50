//! A snapshot of the store that holds on to the store, so that a long read may keep it over many steps.

// The generated code ties the snapshot's life to that of the store beside it; nothing here is written by hand.
#![allow(unsafe_code, missing_docs)]

use std::sync::Arc;

use bytes::Bytes;
use self_cell::self_cell;

use super::{OwnRows, Snapshot, Store};
use crate::batch::Column;
use crate::view::{View, ViewError, Visitor};

self_cell!(
    struct Cell {
        owner: Arc<Store>,
        #[covariant]
        dependent: Snapshot,
    }
);

/// The store as it was at one moment. Files that it needs live as long as it does: as long as one call.
pub struct OwnedSnapshot(Cell);

impl OwnedSnapshot {
    /// As the store is now.
    pub fn of(store: Arc<Store>) -> Self {
        Self(Cell::new(store, |store| store.snapshot()))
    }
}

impl OwnedSnapshot {
    /// As [`Snapshot::scan_once`].
    pub(crate) fn scan_once(
        &self,
        column: Column,
        from: &[u8],
        to: &[u8],
        visit: Visitor<'_>,
    ) -> Result<(), ViewError> {
        self.0.borrow_dependent().scan_once(column, from, to, visit)
    }
}

impl View for OwnedSnapshot {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        self.0.borrow_dependent().get(column, key)
    }

    fn scan(&self, column: Column, from: &[u8], to: &[u8], visit: Visitor<'_>) -> Result<(), ViewError> {
        self.0.borrow_dependent().scan(column, from, to, visit)
    }
}

impl OwnRows for OwnedSnapshot {
    fn own_row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        self.0.borrow_dependent().own_row(key)
    }
}
