//! Taking a fetched state into the store, and removing one: each a durable state of its own, which the next start
//! finishes, so that a half-installed replica never serves and a removed one never comes back.

use prost::Message;

use super::Received;
use crate::applied::Applied;
use crate::batch::Column;
use crate::entry::GroupId;
use crate::log::ReplicaId;
use crate::store::{OwnRows, Store, StoreError};
use crate::view::View;

/// Own rows, synced: states that are being taken in, by group and replica.
const INSTALLING: &[u8] = b"installing/";

/// Own rows, synced: groups that were removed, and whose space is still to be given back; with the number of the write that removed
/// them.
const RECLAIM: &[u8] = b"reclaim/";

/// What is being taken in.
#[derive(Clone, PartialEq, Message)]
struct Installing {
    /// Its applied row.
    #[prost(bytes = "vec", tag = "1")]
    applied: Vec<u8>,
    /// Its files: column and path.
    #[prost(message, repeated, tag = "2")]
    files: Vec<InstallingFile>,
    /// The files' folder.
    #[prost(string, tag = "3")]
    folder: String,
}

#[derive(Clone, PartialEq, Message)]
struct InstallingFile {
    #[prost(uint32, tag = "1")]
    column: u32,
    #[prost(string, tag = "2")]
    path: String,
}

/// Replaces a group's keys by a fetched state. When this answers it is durable. After an error it may be called again, or is finished by
/// the next start, for which the files have to stay.
pub(crate) fn install(
    store: &Store,
    group: GroupId,
    replica: ReplicaId,
    applied: &Applied,
    received: &Received,
) -> Result<(), StoreError> {
    let installing = Installing {
        applied: applied.row(replica),
        files: received
            .files
            .iter()
            .map(|(column, path)| InstallingFile {
                column: *column as u32,
                path: path.to_string_lossy().into_owned(),
            })
            .collect(),
        folder: received.folder().to_string_lossy().into_owned(),
    };
    let key = key(group, replica);
    store.put_own(&key, installing.encode_to_vec())?;
    finish(store, group, &key, &installing)
}

/// Finishes what a crash broke off. To be called before any group is opened.
pub(crate) fn finish_installs(store: &Store) -> Result<(), StoreError> {
    for (key, value) in store.own_rows(INSTALLING)? {
        let group = key
            .get(INSTALLING.len()..)
            .and_then(|rest| rest.first_chunk())
            .map(|group| GroupId(u32::from_be_bytes(*group)));
        let (Some(group), Ok(installing)) = (group, Installing::decode(value.as_slice())) else {
            return Err(StoreError::Write(
                "the row of a state that was being installed is damaged: remove this node's data folder and let its \
                 replicas be rebuilt"
                    .to_owned(),
            ));
        };
        tracing::info!(group = group.0, "finishing an installation that was broken off");
        finish(store, group, &key, &installing)?;
        // Already gone when the crash came late.
        let _ = store.remove_folder(installing.folder.as_ref());
    }
    Ok(())
}

fn finish(store: &Store, group: GroupId, key: &[u8], installing: &Installing) -> Result<(), StoreError> {
    // Of a new replica there is nothing yet, on disk either: what was here before was removed with a flush. Then nothing in memory is of
    // these keys, and no flush is waited for. One that has applied anything may look empty for deletions that are in memory alone.
    let is_new = store.own_row(&Applied::key(group))?.is_none();
    let was_empty = is_new && is_empty(store, group)?;
    if !was_empty {
        store.delete_group(group)?;
    }
    for column in Column::ALL {
        let files: Vec<&str> = installing
            .files
            .iter()
            .filter(|file| file.column == column as u32)
            .map(|file| file.path.as_str())
            .collect();
        store.ingest(column, &files)?;
    }
    if was_empty {
        // Durable like the files.
        store.put_own(&Applied::key(group), installing.applied.clone())?;
    } else {
        let mut writes = store.begin();
        writes.put_own(Applied::key(group), installing.applied.clone());
        store.apply(writes)?;
        store.flush()?;
    }
    store.delete_own(key)
}

fn is_empty(store: &Store, group: GroupId) -> Result<bool, StoreError> {
    let (from, to) = group.key_range();
    let mut is_empty = true;
    for column in Column::ALL {
        store.scan(column, &from, &to, &mut |_, _| {
            is_empty = false;
            false
        })?;
    }
    Ok(is_empty)
}

fn key(group: GroupId, replica: ReplicaId) -> Vec<u8> {
    [INSTALLING, &group.0.to_be_bytes(), &replica.0.to_be_bytes()].concat()
}

/// Removes all of a group's keys, and notes that their space is to be given back. When this answers it is durable.
pub(crate) fn remove_range(store: &Store, group: GroupId) -> Result<(), StoreError> {
    store.delete_group(group)?;
    let mut writes = store.begin();
    writes.delete_own(Applied::key(group));
    store.apply(writes)?;
    store.flush()?;
    // Of states that could not be taken in: they must not come back in place of another replica's.
    for (key, _) in store.own_rows(&[INSTALLING, &group.0.to_be_bytes()].concat())? {
        store.delete_own(&key)?;
    }
    if store.may_wait() {
        // A crash before does all of it again.
        let removed_by = store.last_write();
        store.put_own(
            &[RECLAIM, &group.0.to_be_bytes()].concat(),
            removed_by.to_be_bytes(),
        )?;
    }
    Ok(())
}

/// Gives back the space of groups that were removed, as it was noted. Blocks as long as it takes. Whether that is all: what somebody reads
/// still, as it was before, stays.
pub(crate) fn reclaim_ranges(store: &Store) -> Result<bool, StoreError> {
    let mut is_all = true;
    for (key, value) in store.own_rows(RECLAIM)? {
        let group = key.get(RECLAIM.len()..).and_then(|group| group.try_into().ok());
        let removed_by = value.as_slice().try_into().map_or(0, u64::from_be_bytes);
        if !store.frees(removed_by) {
            is_all = false;
            continue;
        }
        if let Some(group) = group.map(u32::from_be_bytes) {
            store.reclaim_group(GroupId(group));
        }
        // Not when the end has come meanwhile, or the group was removed once more.
        let is_same = store.own_row(&key)? == Some(value);
        if store.frees(removed_by) && is_same {
            store.delete_own(&key)?;
        }
    }
    Ok(is_all)
}
