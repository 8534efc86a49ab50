//! Files of sorted rows that are taken into the store whole.

use std::path::Path;

use rocksdb::{Cache, SstFileWriter};

use super::{StoreError, StoreOptions, column_options};
use crate::batch::Column;

/// Writes a file of a column, durably. Keys must ascend.
pub(crate) fn write_sst<'a>(
    column: Column,
    path: &Path,
    rows: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<(), StoreError> {
    // The file's blocks are read once, when it is compacted: a cache of its own would be of no use.
    let options = column_options(
        column,
        &StoreOptions::default(),
        &Cache::new_lru_cache(1024 * 1024),
    );
    let mut writer = SstFileWriter::create(&options);
    writer.open(path).map_err(write_error)?;
    for (key, value) in rows {
        writer.put(key, value).map_err(write_error)?;
    }
    writer.finish().map_err(write_error)?;
    let synced = std::fs::File::open(path)
        .and_then(|file| file.sync_all())
        .and_then(|()| match path.parent() {
            Some(folder) => std::fs::File::open(folder)?.sync_all(),
            None => Ok(()),
        });
    synced.map_err(|error| StoreError::Write(format!("cannot sync {}: {error}", path.display())))
}

fn write_error(error: rocksdb::Error) -> StoreError {
    StoreError::Write(error.to_string())
}
