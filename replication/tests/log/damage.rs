//! Every kind of damage is cut or told, exactly as it should be.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use rookery_replication::log::{Log, LogError, LogOptions, Record, ReplicaId, SegmentLog};

use super::{BLOCK, OnDisk, append, at, batches, copy, options, picture, segments};

/// A log of three segments: one batch for each of 20 entries.
struct Fixture {
    _folder: tempfile::TempDir,
    crashed: PathBuf,
    closed: PathBuf,
    work: PathBuf,
}

const ENTRIES: u64 = 20;

fn entry(index: u64) -> Record {
    Record::Entry(at(1, index), Bytes::from(vec![index as u8; 4500]))
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let crashed = folder.path().join("crashed");
    let closed = folder.path().join("closed");
    let log = SegmentLog::open(&closed, options()).unwrap();
    for index in 0..ENTRIES {
        append(&*log, 1, vec![entry(index)]).unwrap();
    }
    copy(&closed, &crashed);
    log.close();
    Fixture {
        work: folder.path().join("work"),
        _folder: folder,
        crashed,
        closed,
    }
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(file, bytes).unwrap();
}

fn damage(folder: &Path) -> (PathBuf, u64, String) {
    match SegmentLog::open(folder, options()).map(|_| ()) {
        Err(error @ LogError::Damaged { .. }) => {
            let text = error.to_string();
            let LogError::Damaged { file, offset, .. } = error else {
                unreachable!();
            };
            assert!(text.contains("Keep a copy") && text.contains("restore a single node from a backup"));
            (file, offset, text)
        }
        other => panic!("{other:?}"),
    }
}

fn entries(folder: &Path) -> u64 {
    let log = SegmentLog::open(folder, options()).unwrap();
    let picture = picture(&*log);
    picture[&ReplicaId(1)].1.len() as u64
}

/// Places in a batch: in each field of its header, in a record, in payloads, at the end.
fn places(batch: &OnDisk) -> Vec<usize> {
    let mut places = vec![0, 9, 13, 17, 25, 33, 41, 48, 60];
    places.extend(
        [64, 70, 75, 90, 97, 100, 2000, batch.len - 1]
            .into_iter()
            .filter(|at| *at < batch.len),
    );
    places.into_iter().map(|at| batch.offset + at).collect()
}

#[test]
fn a_flipped_byte_is_told_in_the_middle_and_cut_at_the_end() {
    let fixture = fixture();
    let all = batches(&fixture.crashed);
    assert_eq!(
        all.iter().filter(|batch| batch.kind == 1).count(),
        3,
        "three segments"
    );
    for (number, batch) in all.iter().enumerate() {
        let last = number + 1 == all.len();
        for place in places(batch) {
            copy(&fixture.crashed, &fixture.work);
            let file = fixture.work.join(batch.file.file_name().unwrap());
            flip(&file, place);
            if last {
                assert_eq!(entries(&fixture.work), ENTRIES - 1, "{batch:?} at {place}");
                continue;
            }
            let (told, offset, text) = damage(&fixture.work);
            assert_eq!((&told, offset), (&file, batch.offset as u64), "{text}");
        }
    }
}

#[test]
fn after_a_clean_close_even_the_last_batch_is_told() {
    let fixture = fixture();
    let all = batches(&fixture.closed);
    let [.., last, closing] = &all[..] else { panic!() };
    assert_eq!((last.kind, closing.kind), (0, 2));
    for place in places(last) {
        copy(&fixture.closed, &fixture.work);
        let file = fixture.work.join(last.file.file_name().unwrap());
        flip(&file, place);
        let (told, offset, _) = damage(&fixture.work);
        assert_eq!((told, offset), (file, last.offset as u64));
    }
    for place in places(closing) {
        copy(&fixture.closed, &fixture.work);
        flip(&fixture.work.join(closing.file.file_name().unwrap()), place);
        assert_eq!(entries(&fixture.work), ENTRIES);
    }
}

#[test]
fn a_segments_damaged_header_is_told() {
    let fixture = fixture();
    for segment in segments(&fixture.closed) {
        for place in [0, 9, 17, 25, 1000, BLOCK - 1] {
            copy(&fixture.closed, &fixture.work);
            let file = fixture.work.join(segment.file_name().unwrap());
            flip(&file, place);
            let (told, offset, _) = damage(&fixture.work);
            assert_eq!((told, offset), (file, 0));
        }
    }
}

#[test]
fn a_file_that_is_cut_short_is_told_in_the_middle_and_cut_at_the_end() {
    let fixture = fixture();
    let all = batches(&fixture.crashed);
    for (number, batch) in all.iter().enumerate() {
        copy(&fixture.crashed, &fixture.work);
        let path = fixture.work.join(batch.file.file_name().unwrap());
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len((batch.offset + batch.len / 2) as u64).unwrap();
        let ends_in_this = all[number + 1..].iter().all(|later| later.file == batch.file);
        if !ends_in_this {
            let (told, offset, _) = damage(&fixture.work);
            assert_eq!((told, offset), (path, batch.offset as u64));
        } else if number + 1 == all.len() {
            assert_eq!(entries(&fixture.work), ENTRIES - 1);
        }
    }
}

#[test]
fn a_segment_that_is_not_there_is_told() {
    let fixture = fixture();
    for (number, segment) in segments(&fixture.crashed).into_iter().take(2).enumerate() {
        copy(&fixture.crashed, &fixture.work);
        let file = fixture.work.join(segment.file_name().unwrap());
        std::fs::remove_file(&file).unwrap();
        let (told, _, text) = damage(&fixture.work);
        if number > 0 {
            assert_eq!(told, file);
        }
        assert!(text.contains("not there"), "{text}");
    }
}

#[test]
fn an_entry_that_is_damaged_while_the_log_is_open_is_told_when_read() {
    let folder = tempfile::tempdir().unwrap();
    let log = SegmentLog::open(folder.path(), options()).unwrap();
    append(&*log, 77, vec![entry(0), entry(1)]).unwrap();
    let batch = batches(folder.path()).pop().unwrap();
    let offset = batch.offset + 64 + 36 + 4500 + 36;
    let file = std::fs::OpenOptions::new().write(true).open(&batch.file).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"x", offset as u64 + 9).unwrap();
    assert_eq!(log.read(ReplicaId(77), 0, 1, 0).unwrap().len(), 1);
    let text = log.read(ReplicaId(77), 0, 2, usize::MAX).unwrap_err().to_string();
    for part in [
        "entry 1 ",
        "replica 77 ",
        &format!("offset {offset}:"),
        batch.file.to_str().unwrap(),
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_folder_is_open_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = SegmentLog::open(folder.path(), options()).unwrap();
    let second = SegmentLog::open(folder.path(), options()).map(|_| ());
    assert!(matches!(second, Err(LogError::Locked { .. })), "{second:?}");
    log.close();
    SegmentLog::open(folder.path(), options()).unwrap();
}

#[test]
fn a_write_that_fails_is_told_to_all() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("log");
    let failures = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&failures);
    let options = LogOptions {
        on_failure: Arc::new(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        }),
        ..options()
    };
    let log = SegmentLog::open(&inner, options).unwrap();
    // At once: files may be made in it meanwhile.
    std::fs::rename(&inner, folder.path().join("away")).unwrap();
    // Sooner or later a segment is needed that cannot be made.
    let failed = (0..100).find_map(|index| append(&*log, 1, vec![entry(index)]).err());
    assert!(failed.is_some());
    assert!(append(&*log, 1, Vec::new()).is_err());
    assert!(append(&*log, 2, vec![entry(0)]).is_err());
    assert_eq!(failures.load(Ordering::Relaxed), 1);
    log.close();
}
