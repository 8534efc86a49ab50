//! Files of sorted rows that are taken into the store whole.

use std::io;
use std::path::Path;

use bytes::Bytes;
use rocksdb::{Cache, SstFileWriter};

use super::columns::column_options;
use super::rocks::BYTES_PER_SYNC;
use super::{Engine, Store, StoreError, StoreOptions};
use crate::batch::Column;

impl Store {
    /// Makes a folder for files, empty.
    pub(crate) fn make_folder(&self, folder: &Path) -> io::Result<()> {
        self.remove_folder(folder)?;
        match &self.engine {
            Engine::Rocks(_) => std::fs::create_dir_all(folder),
            Engine::Memory(_) => Ok(()),
        }
    }

    /// Removes a folder of files, whether it is there or not.
    pub(crate) fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        match &self.engine {
            Engine::Rocks(_) => match std::fs::remove_dir_all(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            Engine::Memory(disk) => {
                disk.remove_files(folder);
                Ok(())
            }
        }
    }

    /// Writes a file of a column, durably. Keys must ascend.
    pub(crate) fn write_file(
        &self,
        column: Column,
        path: &Path,
        rows: Vec<(Bytes, Bytes)>,
    ) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Rocks(_) => write_sst(column, path, &rows),
            Engine::Memory(disk) => {
                disk.write_file(path, rows);
                Ok(())
            }
        }
    }

    /// Takes files of sorted rows into a column. Durable when it answers. The files stay where they are, and are not to be written to:
    /// the store has them under names of its own.
    pub(crate) fn ingest(&self, column: Column, files: &[&str]) -> Result<(), StoreError> {
        #[cfg(test)]
        self.failing.step()?;
        match &self.engine {
            _ if files.is_empty() => Ok(()),
            Engine::Rocks(rocks) => {
                let links = files.iter().map(|file| linked(file));
                rocks.ingest(column, &links.collect::<Result<Vec<_>, _>>()?)
            }
            Engine::Memory(disk) => match files.iter().find(|path| !disk.ingest(column, Path::new(path))) {
                Some(missing) => Err(StoreError::Write(format!("there is no file {missing}"))),
                None => Ok(()),
            },
        }
    }
}

/// Another name of a file, which goes when the store has taken it in.
fn linked(file: &str) -> Result<String, StoreError> {
    let link = format!("{file}.taken");
    // Left there by a crash.
    let removed = match std::fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    removed
        .and_then(|()| std::fs::hard_link(file, &link))
        .map_err(|error| StoreError::Write(format!("cannot link {file}: {error}")))?;
    Ok(link)
}

fn write_sst(column: Column, path: &Path, rows: &[(Bytes, Bytes)]) -> Result<(), StoreError> {
    // The file's blocks are read once, when it is compacted: a cache of its own would be of no use.
    let mut options = column_options(
        column,
        &StoreOptions::default(),
        &Cache::new_lru_cache(1024 * 1024),
    );
    // Else all of it would go to the disk at once, and what is served would wait for that.
    options.set_bytes_per_sync(BYTES_PER_SYNC);
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
