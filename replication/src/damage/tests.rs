//! Bytes flipped at every kind of place of a store's files: what is read is what was written, or an error.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::batch::{Batch, Column};
use crate::store::{OwnRows, Store, StoreError, StoreOptions};
use crate::view::{View, ViewError};

/// Rows of each column: enough for several blocks.
const ROWS: u32 = 400;

const OWN: &[u8] = b"own/row";

fn key(number: u32) -> Vec<u8> {
    [3_u32.to_be_bytes(), number.to_be_bytes()].concat()
}

fn row(number: u32) -> Vec<u8> {
    format!("the value of row {number}, which no other row has").into_bytes()
}

/// Large enough for a blob file.
fn body(number: u32) -> Vec<u8> {
    (0..700).map(|at| (number.wrapping_mul(31) + at) as u8).collect()
}

/// A closed store with all that there can be in files.
fn written(folder: &Path) {
    let store = Store::open(folder, &StoreOptions::default()).expect("opens");
    store.put_own(OWN, "is there").expect("writes");
    let mut batch = Batch::new();
    for number in 0..ROWS {
        batch.put(Column::Rows, key(number), row(number));
        batch.put(Column::Bodies, key(number), body(number));
        batch.add(key(number), 1);
    }
    let mut writes = store.begin();
    store.gather(&mut writes, &batch).expect("gathers");
    store.apply(writes).expect("writes");
    store.flush().expect("flushes");
}

fn copy(from: &Path, to: &Path) {
    // May not be there.
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).expect("makes");
    for entry in std::fs::read_dir(from).expect("reads") {
        let path = entry.expect("reads").path();
        if path.is_file() {
            std::fs::copy(&path, to.join(path.file_name().expect("has a name"))).expect("copies");
        }
    }
}

fn files(folder: &Path, of: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("reads")
        .map(|entry| entry.expect("reads").path())
        .filter(|path| of(&path.file_name().expect("has a name").to_string_lossy()))
        .collect();
    files.sort();
    files
}

fn ends_with(end: &'static str) -> impl Fn(&str) -> bool {
    move |name| name.ends_with(end)
}

/// What damage was met by reading everything; panics when something else is read than was written.
fn damage_met(folder: &Path) -> Vec<crate::view::Damage> {
    let store = match Store::open(folder, &StoreOptions::default()) {
        Ok(store) => store,
        Err(StoreError::Damaged(damage)) => return vec![damage],
        Err(error) => panic!("another error: {error}"),
    };
    let mut met = Vec::new();
    let mut take = |error| match error {
        ViewError::Damaged(damage) => met.push(damage),
        ViewError::Failed(reason) => panic!("another error: {reason}"),
    };
    match store.own_row(OWN) {
        Ok(found) => assert_eq!(found.as_deref(), Some(b"is there".as_slice())),
        Err(error) => take(error),
    }
    for number in 0..ROWS {
        for (column, value) in [
            (Column::Rows, row(number)),
            (Column::Bodies, body(number)),
            (Column::Counters, 1_i64.to_le_bytes().to_vec()),
        ] {
            match store.get(column, &key(number)) {
                Ok(found) => assert_eq!(found.as_deref(), Some(value.as_slice()), "{column:?} {number}"),
                Err(error) => take(error),
            }
        }
    }
    for column in Column::ALL {
        let mut found = 0;
        let scanned = store.scan(column, &key(0), &key(ROWS), &mut |_, _| {
            found += 1;
            true
        });
        match scanned {
            Ok(()) => assert_eq!(
                found, ROWS,
                "a scan of {column:?} that ends well has met everything"
            ),
            Err(error) => take(error),
        }
    }
    met
}

/// Flips bytes of a file all over it, each in a store of its own; how many of them were met, and all that was.
fn flips(whole: &Path, file: &Path, count: usize) -> (usize, Vec<crate::view::Damage>) {
    let work = whole.with_extension("work");
    let name = file.file_name().expect("has a name");
    let len = std::fs::metadata(file).expect("reads").len() as usize;
    let mut places: BTreeSet<usize> = (0..len).step_by((len / count).max(1)).collect();
    // Ends are full of what the rest hangs on.
    places.extend((len.saturating_sub(64)..len).step_by(7));
    places.extend([0, 5, 6, 7, 20].into_iter().filter(|at| *at < len));
    let (mut hit, mut all) = (0, Vec::new());
    for at in places {
        copy(whole, &work);
        let mut bytes = std::fs::read(file).expect("reads");
        bytes[at] ^= 0x21;
        std::fs::write(work.join(name), bytes).expect("writes");
        let met = damage_met(&work);
        hit += usize::from(!met.is_empty());
        for damage in &met {
            // Of a file's properties RocksDB does not say whose they are.
            let is_right = damage
                .file
                .as_ref()
                .map_or(damage.reason.contains("propert"), |file| {
                    file.file_name() == Some(name)
                });
            assert!(is_right, "byte {at} of {name:?}: {damage}");
        }
        all.extend(met);
    }
    std::fs::remove_dir_all(&work).expect("removes");
    (hit, all)
}

fn whole() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("tempdir");
    let whole = folder.path().join("whole");
    written(&whole);
    assert!(damage_met(&whole).is_empty());
    (folder, whole)
}

#[test]
fn flipped_bytes_in_files_of_rows_are_never_served() {
    let (_folder, whole) = whole();
    let tables = files(&whole, ends_with(".sst"));
    assert!(tables.len() >= 4, "{tables:?}");
    for table in tables {
        let (hit, met) = flips(&whole, &table, 24);
        assert!(hit > 0, "{table:?}");
        assert!(met.iter().any(|damage| !damage.place.is_empty()), "{met:?}");
    }
}

#[test]
fn flipped_bytes_in_blob_files_are_never_served_and_told_with_their_key() {
    let (_folder, whole) = whole();
    let blobs = files(&whole, ends_with(".blob"));
    assert_eq!(blobs.len(), 1);
    let bytes = std::fs::read(&blobs[0]).expect("reads");
    let at = bytes
        .windows(700)
        .position(|window| window == body(123))
        .expect("is in the file");
    let work = whole.with_extension("work");
    copy(&whole, &work);
    let mut damaged = bytes.clone();
    damaged[at + 300] ^= 1;
    std::fs::write(work.join(blobs[0].file_name().expect("a name")), damaged).expect("writes");
    let met = damage_met(&work);
    let told = met[0].to_string();
    assert!(
        told.contains(".blob is damaged") && told.contains("00000003") && told.contains("group 3"),
        "{told}"
    );
    // One read of it, and one scan that met it.
    assert_eq!(met.len(), 2, "{met:?}");
    let (hit, _) = flips_of_blob(&whole, &blobs[0]);
    assert!(hit > 10, "{hit}");
}

/// As [`flips`]; a scan does not know in which file a value is that it cannot read.
fn flips_of_blob(whole: &Path, file: &Path) -> (usize, usize) {
    let work = whole.with_extension("flips");
    let bytes = std::fs::read(file).expect("reads");
    let (mut hit, mut named) = (0, 0);
    for at in (0..bytes.len()).step_by(bytes.len() / 40) {
        copy(whole, &work);
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x21;
        std::fs::write(work.join(file.file_name().expect("a name")), bytes).expect("writes");
        let met = damage_met(&work);
        let is_named = |damage: &crate::view::Damage| damage.file.is_some();
        hit += usize::from(!met.is_empty());
        named += usize::from(met.iter().any(is_named));
    }
    assert_eq!(hit, named, "each is told with its file");
    (hit, named)
}

#[test]
fn flipped_bytes_in_what_describes_the_files_keep_the_store_shut() {
    let (_folder, whole) = whole();
    let manifest = &files(&whole, |name| name.starts_with("MANIFEST"))[0];
    let (hit, _) = flips(&whole, manifest, 60);
    assert!(hit > 30, "{hit}");
    let (hit, _) = flips(&whole, &whole.join("CURRENT"), 20);
    assert!(hit > 10, "{hit}");
}

#[test]
fn files_that_are_missing_keep_the_store_shut() {
    let (_folder, whole) = whole();
    let work = whole.with_extension("work");
    let missing = files(&whole, |name| {
        name.ends_with(".sst") || name.starts_with("MANIFEST") || name == "CURRENT"
    });
    assert!(missing.len() >= 6, "{missing:?}");
    for file in missing {
        copy(&whole, &work);
        let name = file.file_name().expect("a name");
        std::fs::remove_file(work.join(name)).expect("removes");
        let error = Store::open(&work, &StoreOptions::default()).map(|_| ());
        let Err(StoreError::Damaged(damage)) = error else {
            panic!("{name:?}: {error:?}");
        };
        assert_eq!(
            damage.file.as_ref().and_then(|file| file.file_name()),
            Some(name),
            "{damage}"
        );
    }
}

#[test]
fn a_blob_file_that_is_missing_is_told_when_it_is_read() {
    let (_folder, whole) = whole();
    let blob = files(&whole, ends_with(".blob")).remove(0);
    std::fs::remove_file(&blob).expect("removes");
    let met = damage_met(&whole);
    assert!(!met.is_empty());
    assert!(
        met.iter().all(|damage| damage.file.as_ref() == Some(&blob)),
        "{met:?}"
    );
}

#[test]
fn a_cut_file_is_never_served() {
    let (_folder, whole) = whole();
    let work = whole.with_extension("work");
    for file in files(&whole, |name| name.ends_with(".sst") || name.ends_with(".blob")) {
        let bytes = std::fs::read(&file).expect("reads");
        for len in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            copy(&whole, &work);
            let name = file.file_name().expect("a name");
            std::fs::write(work.join(name), &bytes[..len]).expect("writes");
            let met = damage_met(&work);
            assert!(
                met.iter().any(|damage| damage.file.is_some()),
                "{name:?} with {len} bytes: {met:?}"
            );
        }
    }
}

#[test]
fn damage_that_is_met_while_compacting_stops_writes_until_the_store_is_opened_as_damaged() {
    let (_folder, whole) = whole();
    let is_of_rows = |path: &PathBuf| {
        let text = String::from_utf8_lossy(&std::fs::read(path).expect("reads")).into_owned();
        text.contains("the value of row")
    };
    let table = files(&whole, ends_with(".sst"))
        .into_iter()
        .find(is_of_rows)
        .expect("has rows");
    let mut bytes = std::fs::read(&table).expect("reads");
    bytes[100] ^= 1;
    std::fs::write(&table, bytes).expect("writes");
    let write = |store: &Store, number: u32| {
        let mut batch = Batch::new();
        batch.put(Column::Rows, key(number), row(number));
        let mut writes = store.begin();
        store.gather(&mut writes, &batch).expect("gathers");
        store.apply(writes)
    };
    {
        let store = Store::open(&whole, &StoreOptions::default()).expect("opens");
        store.reclaim_group(crate::entry::GroupId(3));
        let mut error = store.check();
        if error.is_ok() {
            // What was compacted by hand is told to who asked for it alone.
            write(&store, ROWS).expect("writes");
            store.flush().expect("flushes");
            store.reclaim_group(crate::entry::GroupId(3));
            error = store.check();
        }
        let error = error.expect_err("is damaged");
        assert!(error.damage().is_some(), "{error}");
        assert!(store.damages().watch().borrow().stopped.is_some());
    }
    let options = StoreOptions {
        is_damaged: true,
        ..StoreOptions::default()
    };
    let store = Store::open(&whole, &options).expect("opens");
    for number in ROWS..ROWS + 20 {
        write(&store, number).expect("writes");
        store.flush().expect("flushes");
        assert_eq!(
            store.get(Column::Rows, &key(number)).expect("reads").as_deref(),
            Some(row(number).as_slice())
        );
    }
    assert!(
        store
            .get(Column::Rows, &key(0))
            .expect_err("is damaged")
            .is_damage()
    );
    store.check().expect("still takes writes");
}
