//! Random crashes against a model: what was acknowledged is there, what was not is there whole or not at all.

use std::sync::mpsc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use rookery_replication::log::{Log, MemoryLog, Record, ReplicaId, SegmentLog};

use super::{BLOCK, Picture, at, batches, copy, options, picture, segments};

const REPLICAS: u64 = 5;

/// Records of a replica that may follow what is there.
fn records(random: &mut StdRng, log: &dyn Log, replica: ReplicaId) -> Vec<Record> {
    let state = log.state(replica);
    let mut next = state.last.map_or(0, |last| last.index + 1);
    let mut records = Vec::new();
    match random.random_range(0..10) {
        0 => {
            let mut vote = vec![0; random.random_range(0..40)];
            random.fill_bytes(&mut vote);
            records.push(Record::Vote(vote.into()));
        }
        1 if next > 0 => {
            let to = next.saturating_sub(random.random_range(1..4));
            let kept = state.purged.map_or(0, |purged| purged.index + 1);
            if to > kept {
                records.push(Record::Truncate(Some(to - 1)));
                next = to;
            }
        }
        2 | 3 if next > 0 => records.push(Record::Purge(at(
            3,
            next - 1 - random.random_range(0..next.min(3)),
        ))),
        4 if random.random_bool(0.3) => return vec![Record::Forget],
        5 if random.random_bool(0.3) => {
            next += random.random_range(1..100);
            records.push(Record::Purge(at(4, next - 1)));
        }
        _ => {}
    }
    for index in next..next + random.random_range(0..4) {
        // Now and then one that no segment holds.
        let most = if random.random_bool(0.01) { 200_000 } else { 9000 };
        let mut payload = vec![0; random.random_range(0..most)];
        random.fill_bytes(&mut payload);
        records.push(Record::Entry(
            at(random.random_range(1..9), index),
            payload.into(),
        ));
    }
    records
}

/// Some appends at once, told in order; the model gets the same and holds them back. Whether there was anything to write.
fn appends(random: &mut StdRng, log: &SegmentLog, model: &MemoryLog) -> bool {
    let (told, outcome) = mpsc::channel();
    let mut written = false;
    let count = random.random_range(1..6);
    for number in 0..count {
        let replica = ReplicaId(random.random_range(0..REPLICAS));
        let records = records(random, model, replica);
        written |= !records.is_empty();
        model.append(replica, records.clone(), Box::new(|_| ()));
        let told = told.clone();
        let done = Box::new(move |result: std::io::Result<()>| told.send((number, result.is_ok())).unwrap());
        log.append(replica, records, done);
    }
    drop(told);
    let told: Vec<_> = outcome.iter().collect();
    assert_eq!(told, (0..count).map(|number| (number, true)).collect::<Vec<_>>());
    written
}

/// Tears the last batch: of its sectors some are written and some are not, or it ends at some byte. Whether that has
/// changed anything.
fn tear(random: &mut StdRng, folder: &std::path::Path) -> bool {
    let last = batches(folder).pop().unwrap();
    let mut bytes = std::fs::read(&last.file).unwrap();
    let before = bytes.clone();
    let batch = &mut bytes[last.offset..last.offset + last.len.next_multiple_of(BLOCK)];
    if random.random_bool(0.5) {
        let end = random.random_range(0..last.len);
        batch[end..].fill(0);
    } else {
        for sector in batch.chunks_mut(512) {
            if random.random_bool(0.5) {
                random.fill_bytes(sector);
            }
        }
    }
    let changed = batch[..last.len] != before[last.offset..last.offset + last.len];
    std::fs::write(&last.file, bytes).unwrap();
    changed
}

fn life(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut model = MemoryLog::held_back();
    let mut here = folder.path().join("0");
    for crash in 1..8 {
        let log = SegmentLog::open(&here, options()).unwrap();
        assert_eq!(picture(&*log), picture(&model), "seed {seed}, crash {crash}");
        let before = folder.path().join(format!("{crash}-before"));
        let mut written = false;
        for _ in 0..random.random_range(1..12) {
            model.sync();
            copy(&here, &before);
            written = appends(&mut random, &log, &model);
            assert_eq!(picture(&*log), picture(&model), "seed {seed}, crash {crash}");
        }
        let next = folder.path().join(crash.to_string());
        // Only what the last appends have written may be torn.
        let kept = match random.random_range(0..if written { 3 } else { 2 }) {
            0 => {
                log.close();
                copy(&here, &next);
                model.waiting()
            }
            1 => {
                copy(&here, &next);
                model.waiting()
            }
            _ => {
                copy(&here, &next);
                // What the last batch has freed was there as long as it was not synced.
                for segment in segments(&before) {
                    let there = next.join(segment.file_name().unwrap());
                    if !there.exists() {
                        let _ = std::fs::remove_file(there.with_extension("spare"));
                        std::fs::copy(&segment, there).unwrap();
                    }
                }
                let changed = tear(&mut random, &next);
                let left = picture(&*SegmentLog::open(&next, options()).unwrap());
                let possible: Vec<Picture> = (0..=model.waiting())
                    .map(|kept| picture(&model.after_crash(kept)))
                    .collect();
                let kept = possible.iter().position(|possible| *possible == left);
                let kept =
                    kept.unwrap_or_else(|| panic!("seed {seed}, crash {crash}: no state that ever was"));
                let whole = possible.last().unwrap();
                assert!(changed || left == *whole, "seed {seed}: nothing was torn");
                kept
            }
        };
        model = model.after_crash(kept);
        model.sync();
        here = next;
    }
}

#[test]
fn after_any_crash_what_was_acknowledged_is_there() {
    for seed in 100..112 {
        life(seed);
    }
}

#[test]
fn a_torn_batch_is_cut_at_whatever_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let log = SegmentLog::open(&from, options()).unwrap();
    let entry = |index| Record::Entry(at(1, index), Bytes::from(vec![7; 5000]));
    super::append(&*log, 1, vec![entry(0)]).unwrap();
    let before = picture(&*log);
    super::append(
        &*log,
        1,
        vec![entry(1), Record::Vote(Bytes::from_static(b"vote"))],
    )
    .unwrap();
    copy(&from, &to);
    let last = batches(&to).pop().unwrap();
    let whole = std::fs::read(&last.file).unwrap();
    for end in (0..last.len).step_by(97).chain(last.len - 20..last.len) {
        let mut bytes = whole.clone();
        bytes[last.offset + end..last.offset + last.len].fill(0);
        std::fs::write(&last.file, bytes).unwrap();
        let log = SegmentLog::open(&to, options()).unwrap();
        assert_eq!(picture(&*log), before, "torn at {end}");
        drop(log);
    }
}
