//! Bodies of which chunks have come with an account and no message yet.
//!
//! A large body comes in several pieces, and only the message behind it gives it a record. A move that breaks off in between would leave
//! chunks that belong to nothing for ever. So such bodies are noted, one row each, in the plan that stores their chunks.

use std::collections::BTreeSet;

use bytes::Bytes;
use rookery_proto::Status;
use rookery_replication::{Batch, Column};

use super::import::Import;
use crate::schema::body::chunk_count;
use crate::schema::{BodyHash, BodyLocation, Reader, keys, unread};

/// The bodies of one plan.
pub(super) struct Arriving<'a> {
    reader: Reader<'a>,
    /// Chunks of them were stored.
    came: BTreeSet<BodyHash>,
    /// Messages with them came.
    referred: BTreeSet<BodyHash>,
}

impl<'a> Arriving<'a> {
    /// None yet.
    pub(super) fn new(reader: Reader<'a>) -> Self {
        Self {
            reader,
            came: BTreeSet::new(),
            referred: BTreeSet::new(),
        }
    }

    /// A chunk of it was stored.
    pub(super) fn chunk_came(&mut self, hash: BodyHash) {
        self.came.insert(hash);
    }

    /// A message with it came.
    pub(super) fn message_came(&mut self, hash: &BodyHash) {
        self.referred.insert(*hash);
    }

    /// Notes the bodies whose messages are still to come, and forgets those whose message came.
    pub(super) fn finish(self, import: &mut Import<'_>) -> Result<(), Status> {
        let key = |hash| keys::arriving(self.reader.shard, self.reader.account, hash);
        for hash in &self.came {
            if !import.has_recorded(hash) {
                import.batch.put(Column::Rows, key(hash), Bytes::new());
            }
        }
        // By an earlier piece, of this try or another.
        for hash in &self.referred {
            if self
                .reader
                .view
                .contains(Column::Rows, &key(hash))
                .map_err(unread)?
            {
                if !import.has_recorded(hash) {
                    drop_loose(&self.reader, &mut import.batch, hash)?;
                }
                import.batch.delete(Column::Rows, key(hash));
            }
        }
        Ok(())
    }
}

/// Removes the chunks that have come of a body, unless its record says that they are its own.
fn drop_loose(reader: &Reader<'_>, batch: &mut Batch, hash: &BodyHash) -> Result<(), Status> {
    let location = reader.body(hash)?.map(|record| record.location);
    if location == Some(BodyLocation::Own) {
        return Ok(());
    }
    for chunk in 0..chunk_count(hash.size) {
        let chunk = keys::body_chunk(reader.shard, hash, chunk as u32);
        batch.delete(Column::Bodies, chunk);
    }
    Ok(())
}

/// Removes the chunks of all noted bodies of an account that nothing has come to refer to, and the notes. What is not whole for another
/// account that comes with the same body is found out when its message comes.
pub(super) fn drop_all(reader: &Reader<'_>, batch: &mut Batch) -> Result<(), Status> {
    let (from, to) = keys::all_arriving(reader.shard, reader.account);
    let mut noted = Vec::new();
    let scanned = reader.view.scan(Column::Rows, &from, &to, &mut |key, _| {
        noted.extend(keys::arriving_of(key));
        true
    });
    scanned.map_err(unread)?;
    for hash in noted {
        drop_loose(reader, batch, &hash)?;
        batch.delete(Column::Rows, keys::arriving(reader.shard, reader.account, &hash));
    }
    Ok(())
}
