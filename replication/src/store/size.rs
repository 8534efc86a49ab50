//! How much of the disk a group's rows take.

use rocksdb::Range;

use super::rocks::Rocks;
use super::{Engine, Store};
use crate::batch::Column;
use crate::entry::GroupId;
use crate::view::{View, ViewError};

/// Behind all keys of groups.
const END: &[u8] = &[0xff; 8];

/// The most bytes that a row takes beside its value: key, length, what its block adds.
const ROW_BYTES: u64 = 64;

/// What is in the files of a moment.
///
/// Of rows it is what their files say: off by a block of 8 KiB at each end of a group, and without what lies in memory until the next
/// flush, at most `write_buffer_bytes` of all groups together. Values in blob files are not counted by anybody: each group is taken to
/// have as many of their bytes as it has of the references to them, which a test with some thousand bodies finds right within
/// -10 % and +20 % when those of groups are of the same size on average. Garbage in blob files counts for nobody. In memory it is the
/// length of all keys and values.
pub struct Sizes<'a> {
    store: &'a Store,
    blobs: Blobs,
}

/// Values in blob files, and who refers to them.
#[derive(Debug, Default)]
struct Blobs {
    /// Bytes of those that are no garbage.
    bytes: u64,
    /// Bytes of all files that refer to them.
    references: u64,
    /// Files that hold their values themselves, as those of copied states do until they are compacted: first key, last key, bytes.
    whole: Vec<(Vec<u8>, Vec<u8>, u64)>,
}

impl Store {
    /// Looks at what is in files now. Reads indexes of files, and so may wait for the disk.
    pub fn sizes(&self) -> Result<Sizes<'_>, ViewError> {
        let blobs = match &self.engine {
            Engine::Rocks(rocks) => rocks.blobs()?,
            Engine::Memory(_) => Blobs::default(),
        };
        Ok(Sizes { store: self, blobs })
    }
}

impl Sizes<'_> {
    /// Bytes that a group's rows take on disk. May wait for the disk.
    pub fn of(&self, group: GroupId) -> Result<u64, ViewError> {
        let (from, to) = group.key_range();
        let mut bytes = 0;
        match &self.store.engine {
            Engine::Rocks(rocks) => {
                for column in Column::ALL {
                    let of_range = rocks.range_bytes(column, &from, &to)?;
                    bytes += of_range;
                    if column == Column::Bodies {
                        bytes += self.blobs.of(&from, &to, of_range);
                    }
                }
            }
            Engine::Memory(disk) => {
                let rows = disk.rows();
                for column in Column::ALL {
                    rows.columns.scan(column, &from, &to, &mut |key, value| {
                        bytes += (key.len() + value.len()) as u64;
                        true
                    })?;
                }
            }
        }
        Ok(bytes)
    }
}

impl Blobs {
    /// The part of a range whose files have so many bytes.
    fn of(&self, from: &[u8], to: &[u8], of_range: u64) -> u64 {
        let within =
            |(first, last, _): &&(Vec<u8>, Vec<u8>, u64)| first.as_slice() >= from && last.as_slice() < to;
        let whole: u64 = self.whole.iter().filter(within).map(|(_, _, bytes)| bytes).sum();
        share(self.bytes, of_range.saturating_sub(whole), self.references)
    }
}

impl Rocks {
    fn range_bytes(&self, column: Column, from: &[u8], to: &[u8]) -> Result<u64, ViewError> {
        let family = self.column(column)?;
        let sizes = self.db.get_approximate_sizes_cf(family, &[Range::new(from, to)]);
        Ok(sizes.first().copied().unwrap_or(0))
    }

    fn blobs(&self) -> Result<Blobs, ViewError> {
        let family = self.column(Column::Bodies)?;
        let property = |name: &str| self.db.property_int_value_cf(family, name).ok().flatten();
        let total = property("rocksdb.live-blob-file-size").unwrap_or(0);
        let garbage = property("rocksdb.live-blob-file-garbage-size").unwrap_or(0);
        let files = self
            .db
            .live_files()
            .map_err(|error| ViewError::Failed(error.to_string()))?;
        let whole = files
            .into_iter()
            .filter(|file| file.column_family_name == Column::Bodies.name())
            .filter_map(|file| {
                let bytes = file.size as u64;
                // Of one with references no row is longer than a value that is kept beside its key.
                let holds_values = bytes > file.num_entries.max(1) * (self.blob_bytes_min + ROW_BYTES);
                holds_values.then_some((file.start_key?, file.end_key?, bytes))
            });
        let whole: Vec<_> = whole.collect();
        let in_whole: u64 = whole.iter().map(|(_, _, bytes)| bytes).sum();
        Ok(Blobs {
            bytes: total.saturating_sub(garbage),
            references: self
                .range_bytes(Column::Bodies, &[], END)?
                .saturating_sub(in_whole),
            whole,
        })
    }
}

/// The part of some bytes that is to all of them as `part` is to `all`.
fn share(bytes: u64, part: u64, all: u64) -> u64 {
    if all == 0 {
        return 0;
    }
    let share = u128::from(bytes) * u128::from(part.min(all)) / u128::from(all);
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use rand::RngCore;

    use super::*;
    use crate::batch::Batch;
    use crate::store::{MemoryDisk, StoreOptions};

    const BODY_BYTES: usize = 1000;

    fn fill(store: &Store, group: GroupId, bodies: u32) {
        let mut batch = Batch::new();
        for number in 0..bodies {
            let key = [group.0.to_be_bytes(), number.to_be_bytes()].concat();
            // Nothing that could be compressed.
            let mut body = vec![0; BODY_BYTES];
            rand::rng().fill_bytes(&mut body);
            batch.put(Column::Rows, key.clone(), body[..200].to_vec());
            batch.put(Column::Bodies, key, body);
        }
        let mut writes = store.begin();
        store.gather(&mut writes, &batch).expect("gathers");
        store.apply(writes).expect("writes");
    }

    fn of(store: &Store, group: u32) -> u64 {
        store
            .sizes()
            .expect("looks")
            .of(GroupId(group))
            .expect("measures")
    }

    #[test]
    fn a_group_has_its_part_of_rows_and_blobs() {
        let folder = tempfile::tempdir().expect("tempdir");
        let store = Store::open(folder.path(), &StoreOptions::default()).expect("opens");
        assert_eq!(of(&store, 1), 0);
        fill(&store, GroupId(1), 5_000);
        fill(&store, GroupId(2), 15_000);
        store.flush().expect("flushes");
        for (group, bodies) in [(1, 5_000), (2, 15_000)] {
            let wanted = bodies * (BODY_BYTES as u64 + 200);
            let measured = of(&store, group);
            assert!(
                measured > wanted * 9 / 10 && measured < wanted * 12 / 10,
                "group {group}: {measured} of {wanted}"
            );
        }
        assert_eq!(of(&store, 3), 0);
    }

    #[test]
    fn what_was_copied_counts_as_before() {
        let folder = tempfile::tempdir().expect("tempdir");
        let options = StoreOptions {
            // Copied files are not compacted, and so hold what they came with.
            is_damaged: true,
            ..StoreOptions::default()
        };
        let store = Store::open(&folder.path().join("store"), &options).expect("opens");
        fill(&store, GroupId(1), 5_000);
        fill(&store, GroupId(2), 5_000);
        store.flush().expect("flushes");
        let rows = (0..5_000u32).map(|number| {
            let key = [3u32.to_be_bytes(), number.to_be_bytes()].concat();
            let mut body = vec![0; BODY_BYTES];
            rand::rng().fill_bytes(&mut body);
            (key.into(), body.into())
        });
        let file = folder.path().join("bodies.sst");
        store
            .write_file(Column::Bodies, &file, rows.collect())
            .expect("writes");
        store
            .ingest(Column::Bodies, &[file.to_str().expect("UTF-8")])
            .expect("takes it in");
        for (group, each) in [(1, 1200), (2, 1200), (3, 1000)] {
            let (wanted, measured) = (5_000 * each, of(&store, group));
            assert!(
                measured > wanted * 9 / 10 && measured < wanted * 12 / 10,
                "group {group}: {measured} of {wanted}"
            );
        }
    }

    #[test]
    fn in_memory_all_bytes_are_counted() {
        let store = Store::in_memory(MemoryDisk::new());
        fill(&store, GroupId(1), 10);
        assert_eq!(of(&store, 1), 10 * (BODY_BYTES as u64 + 200 + 16));
        assert_eq!(of(&store, 2), 0);
    }

    #[test]
    fn a_share_is_never_more_than_all() {
        assert_eq!(share(1000, 1, 4), 250);
        assert_eq!(share(1000, 5, 4), 1000);
        assert_eq!(share(1000, 0, 0), 0);
        assert_eq!(share(u64::MAX, u64::MAX, u64::MAX), u64::MAX);
    }
}
