//! What every log must do, whatever it is made of. Each case gets a log that is empty and makes durable what is appended.

use std::io;
use std::sync::mpsc;

use bytes::Bytes;

use rookery_replication::log::segment::Writing;
use rookery_replication::log::{Log, LogOptions, LogState, MemoryLog, Record, ReplicaId, SegmentLog};

use super::{append, at, options, picture};

const ALL: usize = usize::MAX;

fn entry(term: u64, index: u64) -> Record {
    Record::Entry(at(term, index), Bytes::from(format!("{term}/{index}")))
}

fn read(log: &dyn Log, replica: u64, from: u64, to: u64) -> Vec<(u64, u64)> {
    let entries = log.read(ReplicaId(replica), from, to, ALL).unwrap();
    for (position, payload) in &entries {
        assert_eq!(payload, &format!("{}/{}", position.term, position.index));
    }
    entries.iter().map(|(at, _)| (at.term, at.index)).collect()
}

fn state(log: &dyn Log, replica: u64) -> LogState {
    log.state(ReplicaId(replica))
}

fn entries_are_read_as_they_were_appended(log: &dyn Log) {
    assert_eq!(state(log, 1), LogState::default());
    assert_eq!(log.replicas(), []);
    append(log, 1, vec![entry(1, 5), entry(1, 6), entry(2, 7)]).unwrap();
    append(log, 2, vec![entry(9, 0)]).unwrap();
    assert_eq!(read(log, 1, 0, 100), [(1, 5), (1, 6), (2, 7)]);
    assert_eq!(read(log, 1, 6, 7), [(1, 6)]);
    assert_eq!(read(log, 1, 8, 9), []);
    assert_eq!(read(log, 1, 7, 6), []);
    assert_eq!(read(log, 2, 0, 100), [(9, 0)]);
    assert_eq!(read(log, 3, 0, 100), []);
    assert_eq!(state(log, 1).last, Some(at(2, 7)));
    assert_eq!(state(log, 1).purged, None);
    let mut replicas = log.replicas();
    replicas.sort();
    assert_eq!(replicas, [ReplicaId(1), ReplicaId(2)]);
    assert!(log.bytes_held() >= 12);
}

fn a_read_stops_at_its_bytes_but_gives_one(log: &dyn Log) {
    append(log, 1, (0..10).map(|index| entry(1, index)).collect()).unwrap();
    let len = |bytes_max| log.read(ReplicaId(1), 2, 9, bytes_max).unwrap().len();
    assert_eq!(
        [len(0), len(3), len(5), len(6), len(20), len(21), len(ALL)],
        [1, 1, 1, 2, 6, 7, 7]
    );
}

fn truncated_entries_are_void(log: &dyn Log) {
    append(log, 1, (0..5).map(|index| entry(1, index)).collect()).unwrap();
    append(log, 1, vec![Record::Truncate(Some(2)), entry(3, 3)]).unwrap();
    assert_eq!(read(log, 1, 0, 100), [(1, 0), (1, 1), (1, 2), (3, 3)]);
    append(log, 1, vec![Record::Truncate(Some(7))]).unwrap();
    assert_eq!(state(log, 1).last, Some(at(3, 3)));
    append(log, 1, vec![Record::Truncate(None)]).unwrap();
    assert_eq!(read(log, 1, 0, 100), []);
    assert_eq!(state(log, 1), LogState::default());
    append(log, 1, vec![entry(4, 9)]).unwrap();
    assert_eq!(read(log, 1, 0, 100), [(4, 9)]);
}

fn purged_entries_are_left_out(log: &dyn Log) {
    append(log, 1, (0..5).map(|index| entry(1, index)).collect()).unwrap();
    append(log, 1, vec![Record::Purge(at(1, 2))]).unwrap();
    assert_eq!(read(log, 1, 0, 100), [(1, 3), (1, 4)]);
    assert_eq!(state(log, 1).purged, Some(at(1, 2)));
    // An older one changes nothing.
    append(log, 1, vec![Record::Purge(at(1, 0))]).unwrap();
    assert_eq!(state(log, 1).purged, Some(at(1, 2)));
    append(log, 1, vec![Record::Truncate(None)]).unwrap();
    assert_eq!(state(log, 1).last, Some(at(1, 2)));
    append(log, 1, vec![entry(2, 3), Record::Purge(at(7, 70))]).unwrap();
    assert_eq!(read(log, 1, 0, 100), []);
    assert_eq!(state(log, 1).last, Some(at(7, 70)));
    append(log, 1, vec![entry(8, 71)]).unwrap();
    assert_eq!(read(log, 1, 0, 100), [(8, 71)]);
    assert_eq!(state(log, 1).last, Some(at(8, 71)));
}

fn the_last_vote_counts(log: &dyn Log) {
    let vote = |text: &'static str| Record::Vote(Bytes::from_static(text.as_bytes()));
    append(log, 1, vec![vote("a"), entry(1, 0), vote("b")]).unwrap();
    append(log, 2, vec![vote("")]).unwrap();
    assert_eq!(state(log, 1).vote.as_deref(), Some(b"b".as_slice()));
    assert_eq!(state(log, 2).vote.as_deref(), Some(b"".as_slice()));
    assert_eq!(state(log, 2).last, None);
    assert_eq!(log.replicas().len(), 2);
}

fn a_forgotten_replica_is_gone(log: &dyn Log) {
    append(log, 1, vec![entry(1, 0), Record::Vote(Bytes::from_static(b"v"))]).unwrap();
    append(log, 2, vec![entry(1, 0)]).unwrap();
    append(log, 1, vec![Record::Forget]).unwrap();
    assert_eq!(state(log, 1), LogState::default());
    assert_eq!(read(log, 1, 0, 100), []);
    assert_eq!(log.replicas(), [ReplicaId(2)]);
    append(log, 3, vec![Record::Forget]).unwrap();
    assert_eq!(log.replicas(), [ReplicaId(2)]);
}

fn what_cannot_follow_is_refused_whole(log: &dyn Log) {
    append(log, 1, vec![entry(1, 0), entry(1, 1)]).unwrap();
    for records in [
        vec![entry(1, 3)],
        vec![entry(1, 1)],
        vec![entry(1, 2), entry(1, 2)],
        vec![Record::Truncate(Some(0)), entry(1, 2)],
        vec![Record::Purge(at(1, 5)), entry(1, 5)],
        vec![Record::Purge(at(1, 0)), entry(1, 1)],
    ] {
        let error = append(log, 1, records.clone()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{records:?}");
        assert_eq!(read(log, 1, 0, 100), [(1, 0), (1, 1)], "{records:?}");
    }
    append(log, 1, vec![Record::Truncate(Some(0)), entry(2, 1)]).unwrap();
    append(log, 1, vec![Record::Purge(at(1, 5)), entry(3, 9)]).unwrap();
    assert_eq!(read(log, 1, 0, 100), [(3, 9)]);
}

fn nothing_is_told_when_all_before_is_durable(log: &dyn Log) {
    append(log, 1, Vec::new()).unwrap();
    assert_eq!(log.replicas(), []);
}

fn each_is_told_in_order(log: &dyn Log) {
    let (told, order) = mpsc::channel();
    for index in 0..100 {
        let told = told.clone();
        log.append(
            ReplicaId(index % 3),
            vec![entry(1, index / 3)],
            Box::new(move |result| told.send((index, result.is_ok())).unwrap()),
        );
        // Read at once, durable or not.
        assert_eq!(read(log, index % 3, index / 3, ALL as u64), [(1, index / 3)]);
    }
    log.close();
    let order: Vec<_> = order.try_iter().collect();
    assert_eq!(order, (0..100).map(|index| (index, true)).collect::<Vec<_>>());
    assert!(append(log, 1, vec![entry(1, 34)]).is_err());
    log.close();
}

type Case = (&'static str, fn(&dyn Log));

const CASES: &[Case] = &[
    (
        "entries are read as they were appended",
        entries_are_read_as_they_were_appended,
    ),
    (
        "a read stops at its bytes but gives one",
        a_read_stops_at_its_bytes_but_gives_one,
    ),
    ("truncated entries are void", truncated_entries_are_void),
    ("purged entries are left out", purged_entries_are_left_out),
    ("the last vote counts", the_last_vote_counts),
    ("a forgotten replica is gone", a_forgotten_replica_is_gone),
    (
        "what cannot follow is refused whole",
        what_cannot_follow_is_refused_whole,
    ),
    (
        "nothing is told when all before is durable",
        nothing_is_told_when_all_before_is_durable,
    ),
    ("each is told in order", each_is_told_in_order),
];

#[test]
fn the_log_in_memory_conforms() {
    for (name, case) in CASES {
        println!("{name}");
        case(&MemoryLog::new());
    }
}

#[test]
fn the_log_on_disk_conforms_and_holds_the_same_when_opened_again() {
    for writing in [Writing::Direct, Writing::Buffered, Writing::Growing] {
        for (name, case) in CASES {
            println!("{name}, {writing:?}");
            let folder = tempfile::tempdir().unwrap();
            let options = LogOptions { writing, ..options() };
            let log = SegmentLog::open(folder.path(), options.clone()).unwrap();
            case(&*log);
            log.close();
            let again = SegmentLog::open(folder.path(), options).unwrap();
            assert_eq!(picture(&*log), picture(&*again));
        }
    }
}

#[test]
fn a_crash_loses_what_memory_held_back() {
    let log = MemoryLog::held_back();
    let (told, outcome) = mpsc::channel();
    for index in 0..4 {
        let told = told.clone();
        let done = move |result: io::Result<()>| told.send((index, result.is_ok())).unwrap();
        log.append(ReplicaId(1), vec![entry(1, index)], Box::new(done));
    }
    assert_eq!(outcome.try_iter().collect::<Vec<_>>(), []);
    log.sync_first(1);
    assert_eq!(outcome.try_iter().collect::<Vec<_>>(), [(0, true)]);
    assert_eq!(read(&log, 1, 0, 100), [(1, 0), (1, 1), (1, 2), (1, 3)]);
    assert_eq!(read(&log.after_crash(0), 1, 0, 100), [(1, 0)]);
    assert_eq!(read(&log.after_crash(2), 1, 0, 100), [(1, 0), (1, 1), (1, 2)]);
    log.fail();
    let told: Vec<_> = outcome.try_iter().collect();
    assert_eq!(told, [(1, false), (2, false), (3, false)]);
    assert!(append(&log, 1, vec![entry(1, 4)]).is_err());
    assert_eq!(read(&log.after_crash(9), 1, 0, 100), [(1, 0)]);
}
