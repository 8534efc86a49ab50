//! How much of the disk a group's rows take.

use rocksdb::{ColumnFamily, Range};

use super::rocks::Rocks;
use super::{Engine, Store};
use crate::batch::Column;
use crate::entry::GroupId;
use crate::view::{View, ViewError};

/// Behind all keys of groups.
const END: &[u8] = &[0xff; 8];

impl Store {
    /// Bytes that a group's rows take on disk. Reads indexes of files, and so may wait for the disk.
    ///
    /// Of rows it is what their files say: off by a block of 8 KiB at each end of a group, and without what lies in memory until the next
    /// flush, at most `write_buffer_bytes` of all groups together. Values in blob files are not counted by anybody: each group is taken to
    /// have as many of their bytes as it has of the references to them, which a test with some thousand bodies finds right within
    /// -10 % and +20 % when those of groups are of the same size on average. Garbage in blob files counts for nobody. In memory it is the length of
    /// all keys and values.
    pub fn group_bytes(&self, group: GroupId) -> Result<u64, ViewError> {
        let (from, to) = group.key_range();
        let mut bytes = 0;
        match &self.engine {
            Engine::Rocks(rocks) => {
                for column in Column::ALL {
                    bytes += rocks.range_bytes(column, &from, &to)?;
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

impl Rocks {
    fn range_bytes(&self, column: Column, from: &[u8], to: &[u8]) -> Result<u64, ViewError> {
        let family = self.column(column)?;
        let sizes = self
            .db
            .get_approximate_sizes_cf(family, &[Range::new(from, to), Range::new(&[], END)]);
        let (of_range, of_all) = match sizes.as_slice() {
            [of_range, of_all, ..] => (*of_range, *of_all),
            _ => (0, 0),
        };
        Ok(of_range + share(self.blob_bytes(family), of_range, of_all))
    }

    /// Bytes in blob files that are no garbage.
    fn blob_bytes(&self, family: &ColumnFamily) -> u64 {
        let property = |name: &str| self.db.property_int_value_cf(family, name).ok().flatten();
        let total = property("rocksdb.live-blob-file-size").unwrap_or(0);
        total.saturating_sub(property("rocksdb.live-blob-file-garbage-size").unwrap_or(0))
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
        store.group_bytes(GroupId(group)).expect("measures")
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
