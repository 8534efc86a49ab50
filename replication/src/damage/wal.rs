//! Which write-ahead log keeps a store from opening, as far as RocksDB's own log tells. Only reads.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// RocksDB's own log, begun anew with each opening.
const INFO_LOG: &str = "LOG";

/// Bytes at the end of RocksDB's own log that are looked through: what fails an opening is said last.
const INFO_LOG_BYTES_MAX: u64 = 256 * 1024;

/// What RocksDB writes after the name of a write-ahead log of which it could not read a record.
const DROPPING: &str = ".log: dropping ";

/// The write-ahead log that the last opening of the store in this folder found damaged. RocksDB's error does not name
/// it, its own log does.
pub(super) fn damaged_log(folder: &Path) -> Option<PathBuf> {
    let mut file = File::open(folder.join(INFO_LOG)).ok()?;
    let len = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(INFO_LOG_BYTES_MAX)))
        .ok()?;
    let mut text = Vec::new();
    file.take(INFO_LOG_BYTES_MAX).read_to_end(&mut text).ok()?;
    named_log(&String::from_utf8_lossy(&text)).map(|name| folder.join(name))
}

/// The first file of which RocksDB's log says that it drops something.
fn named_log(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let stem = &line[..line.find(DROPPING)?];
        let start = stem.rfind('/').map_or(0, |slash| slash + 1);
        let end = stem.len() + ".log".len();
        line.get(start..end)
    })
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;
    use crate::store::{OwnRows, Store, StoreError, StoreOptions};

    const ENTRIES: [&str; 3] = ["the first entry", "the second entry", "the third entry"];

    /// A store with own rows that are in its write-ahead log alone, and that log.
    fn written(folder: &Path) -> PathBuf {
        let store = Store::open(folder, &StoreOptions::default()).expect("opens");
        for entry in ENTRIES {
            store.put_own(entry.as_bytes(), "is there").expect("writes");
        }
        drop(store);
        let logs = std::fs::read_dir(folder).expect("is a folder");
        let log = logs
            .map(|file| file.expect("a file").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .find(|path| std::fs::metadata(path).is_ok_and(|file| file.len() > 0));
        log.expect("has a log")
    }

    fn found(store: &Store) -> Vec<&'static str> {
        let entries = ENTRIES.into_iter();
        entries
            .filter(|entry| store.own_row(entry.as_bytes()).expect("reads").is_some())
            .collect()
    }

    #[test]
    fn a_damaged_entry_before_others_keeps_the_store_shut_and_is_named() {
        let folder = tempfile::tempdir().expect("tempdir");
        let log = written(folder.path());
        let whole = std::fs::read(&log).expect("reads");
        let at = whole
            .windows(ENTRIES[1].len())
            .position(|window| window == ENTRIES[1].as_bytes())
            .expect("the second entry is in the log");
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&log, &damaged).expect("writes");
        let error = Store::open(folder.path(), &StoreOptions::default()).expect_err("is damaged");
        assert!(
            matches!(&error, StoreError::Damaged(damage) if damage.file.as_ref() == Some(&log)),
            "{error:?}"
        );
        let told = error.to_string();
        let name = log.file_name().and_then(|name| name.to_str()).expect("a name");
        assert!(told.contains(name) && told.contains("backup"), "{told}");
        // Nothing was thrown away by the attempt.
        assert_eq!(std::fs::read(&log).expect("reads"), damaged);
        std::fs::write(&log, &whole).expect("writes");
        let store = Store::open(folder.path(), &StoreOptions::default()).expect("opens repaired");
        assert_eq!(found(&store), ENTRIES);
    }

    #[test]
    fn a_torn_last_entry_costs_only_itself() {
        let folder = tempfile::tempdir().expect("tempdir");
        let log = written(folder.path());
        let file = OpenOptions::new().write(true).open(&log).expect("opens");
        let len = file.metadata().expect("reads").len();
        file.set_len(len - 5).expect("tears");
        let store = Store::open(folder.path(), &StoreOptions::default()).expect("opens");
        assert_eq!(found(&store), ENTRIES[..2]);
    }

    #[test]
    fn the_file_is_found_in_what_rocksdb_says() {
        let said = "2026 1 [db/x.cc:1] Recovering log #9 mode 0\n\
                    2026 1 [WARN] [db/x.cc:2] /srv/store/000009.log: dropping 61 bytes; Corruption: checksum mismatch\n";
        assert_eq!(named_log(said), Some("000009.log"));
        assert_eq!(named_log("2026 1 Recovering log #9 mode 0"), None);
    }
}
