//! What `make accounts` measures at full size holds at a small one: each name is answered rightly, each watcher is told of each
//! change, and all is there when the directory is started again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use rookery_tests::directory_scale::{Options, run};

#[test]
fn a_directory_is_filled_asked_watched_and_started_again() {
    let options = Options {
        accounts: 20_000,
        streams: 4,
        in_flight: vec![1, 16],
        time: Duration::from_millis(200),
        rounds: 1,
        watchers: 50,
        connections: 5,
        changes: 4,
        starts: 1,
        cold: false,
        before_measuring: Vec::new(),
        progress: |_| {},
    };
    let figures = run(&options).unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(figures.lookups.len(), 4);
    assert!(figures.lookups.iter().all(|lookups| lookups.seen.answered > 0));
    assert_eq!(figures.fanout.changes.len(), 4);
    assert!(
        figures
            .fanout
            .changes
            .iter()
            .all(|change| change.median <= change.last)
    );
    assert_eq!(figures.starts.len(), 2);
    assert!(figures.to_string().contains("| random accounts | 16 |"));
}
