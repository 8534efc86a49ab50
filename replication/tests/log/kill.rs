//! A process that is killed while it appends: every acknowledged record is there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rookery_replication::log::{Log, Record, ReplicaId, SegmentLog};

use super::{append, at, options};

/// Set in the process that appends: the log's folder.
const FOLDER: &str = "ROOKERY_TEST_LOG_FOLDER";
const REPLICAS: u64 = 4;

fn payload(replica: u64, index: u64) -> Bytes {
    Bytes::from(vec![
        (replica * 31 + index) as u8;
        100 + (index * 577 % 9000) as usize
    ])
}

/// Appends until it is killed, and prints what was acknowledged.
fn child(folder: &Path) {
    let log = SegmentLog::open(folder, options()).unwrap();
    let out = Arc::new(Mutex::new(std::io::stdout()));
    std::thread::scope(|scope| {
        for replica in 0..REPLICAS {
            let (log, out) = (&log, &out);
            scope.spawn(move || {
                let first = log
                    .state(ReplicaId(replica))
                    .last
                    .map_or(0, |last| last.index + 1);
                for index in first.. {
                    let mut records = vec![Record::Entry(at(1, index), payload(replica, index))];
                    if index >= 20 {
                        records.push(Record::Purge(at(1, index - 20)));
                    }
                    append(&**log, replica, records).unwrap();
                    let line = format!("ack {replica} {index}\n");
                    out.lock().unwrap().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
}

#[test]
fn what_a_killed_process_acknowledged_is_there() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return child(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    for round in 1..=5 {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "kill::what_a_killed_process_acknowledged_is_there",
                "--nocapture",
            ])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut acknowledged = BTreeMap::new();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut count = 0;
        for line in lines {
            let line = line.unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            if let ["ack", replica, index] = words[..] {
                let (replica, index): (u64, u64) = (replica.parse().unwrap(), index.parse().unwrap());
                acknowledged.insert(replica, index);
                count += 1;
            }
            // Then what was printed until it died is read to its end.
            if count == 60 * round {
                process.kill().unwrap();
            }
        }
        assert!(!process.wait().unwrap().success());
        assert!(count >= 60 * round);
        let log = SegmentLog::open(folder.path(), options()).unwrap();
        for (replica, index) in acknowledged {
            let last = log.state(ReplicaId(replica)).last.unwrap().index;
            assert!(last == index || last == index + 1, "{last} after {index}");
            let from = (index + 1).saturating_sub(20);
            let entries = log.read(ReplicaId(replica), from, index + 1, usize::MAX).unwrap();
            let found: Vec<u64> = entries.iter().map(|(position, _)| position.index).collect();
            let first = if last > index && last >= 20 {
                last - 19
            } else {
                from
            };
            assert_eq!(found, (first..=index).collect::<Vec<_>>());
            for (position, found) in entries {
                assert_eq!(found, payload(replica, position.index));
            }
        }
    }
}
