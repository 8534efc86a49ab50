//! Keys that sign tokens: one at first, then a new one from time to time; ids are never used again.

use rookery_proto::directory::v1::VerifyingKey;
use rookery_replication::{Batch, Column};

use super::{PlanError, Planned};
use crate::schema::read::Rows;
use crate::schema::row::{self, Row};
use crate::schema::{KeyId, key};

/// A fresh key pair.
#[derive(Clone)]
pub struct Pair {
    /// PKCS#8.
    pub private: Vec<u8>,
    /// 32 bytes.
    pub public: Vec<u8>,
}

/// Keys' ages.
#[derive(Debug, Clone, Copy)]
pub struct Ages {
    /// A newest key older than this is followed by a new one.
    pub rotate_after_millis: u64,
    /// An older key of more than this is removed. Longer than any token lives after the rotation.
    pub remove_after_millis: u64,
}

/// Adds the pair if there is no key or the newest is old, and removes those that are too old. Answers all keys.
pub fn rotate(
    rows: Rows<'_>,
    pair: Pair,
    ages: Ages,
    now_millis: u64,
) -> Result<Planned<Vec<(KeyId, row::SigningKey)>>, PlanError> {
    let mut keys = rows.signing_keys()?;
    let mut batch = Batch::new();
    let age = |key: &row::SigningKey| now_millis.saturating_sub(key.created_at_millis);
    if keys
        .last()
        .is_none_or(|(_, newest)| age(newest) > ages.rotate_after_millis)
    {
        let mut sequences = rows.sequences()?;
        sequences.keys += 1;
        let id = KeyId(sequences.keys);
        let row = row::SigningKey {
            private: pair.private,
            public: pair.public,
            created_at_millis: now_millis,
        };
        batch.put(Column::Rows, key::sequences(), sequences.to_stored());
        batch.put(Column::Rows, key::signing_key(id), row.to_stored());
        keys.push((id, row));
    }
    let newest = keys.last().map(|(id, _)| *id);
    keys.retain(|(id, held)| {
        let keep = Some(*id) == newest || age(held) <= ages.remove_after_millis;
        if !keep {
            batch.delete(Column::Rows, key::signing_key(*id));
        }
        keep
    });
    let event_keys = if batch.is_empty() {
        Vec::new()
    } else {
        to_proto(&keys)
    };
    let mut planned = Planned::new(batch, keys);
    planned.event.keys = event_keys;
    Ok(planned)
}

/// The public halves, newest first.
pub fn to_proto(keys: &[(KeyId, row::SigningKey)]) -> Vec<VerifyingKey> {
    keys.iter()
        .rev()
        .map(|(id, row)| VerifyingKey {
            id: id.0,
            public_key: row.public.clone().into(),
        })
        .collect()
}
