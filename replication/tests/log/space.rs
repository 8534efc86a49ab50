//! Space is freed, and many replicas and threads share the log.

use std::sync::mpsc;

use bytes::Bytes;
use rookery_replication::log::{Log, LogOptions, Record, ReplicaId, SegmentLog};

use super::{append, at, options, picture, segments};

fn entry(index: u64) -> Record {
    Record::Entry(at(1, index), Bytes::from(vec![index as u8; 8000]))
}

#[test]
fn what_is_purged_or_forgotten_is_freed() {
    let folder = tempfile::tempdir().unwrap();
    let log = SegmentLog::open(folder.path(), options()).unwrap();
    append(&*log, 9, vec![Record::Vote(Bytes::from_static(b"kept"))]).unwrap();
    for index in 0..100 {
        append(&*log, 1 + index % 2, vec![entry(index / 2)]).unwrap();
    }
    let held = log.bytes_held();
    assert!(held > 800_000, "{held}");
    append(&*log, 1, vec![Record::Purge(at(1, 49))]).unwrap();
    assert!(log.bytes_held() >= held, "the other replica still needs all");
    append(&*log, 2, vec![Record::Purge(at(1, 39))]).unwrap();
    let less = log.bytes_held();
    assert!(less < held / 3, "{less} of {held}");
    append(&*log, 2, vec![Record::Forget]).unwrap();
    assert_eq!(log.bytes_held(), 0);
    // The segments are used again; what was never purged is still known.
    for index in 50..300 {
        append(&*log, 1, vec![entry(index), Record::Purge(at(1, index - 1))]).unwrap();
    }
    let before = picture(&*log);
    log.close();
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert!(files < 10, "{files} files");
    let again = SegmentLog::open(folder.path(), options()).unwrap();
    assert_eq!(picture(&*again), before);
    assert_eq!(
        again.state(ReplicaId(9)).vote.as_deref(),
        Some(b"kept".as_slice())
    );
    assert!(segments(folder.path()).len() <= 4);
}

#[test]
fn thousands_of_replicas_share_a_log() {
    let folder = tempfile::tempdir().unwrap();
    // A checkpoint of all of them is larger than such a segment.
    let log = SegmentLog::open(folder.path(), options()).unwrap();
    let (told, outcome) = mpsc::channel();
    const REPLICAS: u64 = 3000;
    for index in 0..3 {
        for replica in 0..REPLICAS {
            let told = told.clone();
            let mut records = vec![Record::Entry(at(1, index), Bytes::from(replica.to_string()))];
            if index == 1 {
                records.push(Record::Purge(at(1, 0)));
                records.push(Record::Vote(Bytes::from(replica.to_string())));
            }
            let done = Box::new(move |result: std::io::Result<()>| told.send(result.is_ok()).unwrap());
            log.append(ReplicaId(replica), records, done);
        }
    }
    drop(told);
    assert_eq!(outcome.iter().filter(|ok| *ok).count() as u64, 3 * REPLICAS);
    let before = picture(&*log);
    assert_eq!(before.len() as u64, REPLICAS);
    drop(log);
    let again = SegmentLog::open(folder.path(), options()).unwrap();
    assert_eq!(picture(&*again), before);
}

#[test]
fn many_threads_append_purge_and_read_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions {
        recent_bytes_max: 50_000,
        ..options()
    };
    let log = SegmentLog::open(folder.path(), options.clone()).unwrap();
    std::thread::scope(|scope| {
        for replica in 0..8 {
            let log = &log;
            scope.spawn(move || {
                for index in 0..100 {
                    append(&**log, replica, vec![entry(index)]).unwrap();
                    if index % 10 == 9 {
                        append(&**log, replica, vec![Record::Purge(at(1, index - 5))]).unwrap();
                    }
                }
            });
            scope.spawn(move || {
                let mut seen = 0;
                while seen < 99 {
                    // Where it was may be purged by now.
                    let purged = log.state(ReplicaId(replica)).purged;
                    seen = seen.max(purged.map_or(0, |purged| purged.index + 1));
                    for (position, payload) in log.read(ReplicaId(replica), seen, seen + 20, 100_000).unwrap()
                    {
                        assert_eq!(payload, vec![position.index as u8; 8000]);
                        assert!(position.index >= seen);
                        seen = position.index;
                    }
                }
            });
        }
    });
    let before = picture(&*log);
    drop(log);
    let again = SegmentLog::open(folder.path(), options).unwrap();
    assert_eq!(picture(&*again), before);
    assert!(
        before
            .values()
            .all(|(state, entries)| { state.last == Some(at(1, 99)) && entries.len() == 5 })
    );
}
