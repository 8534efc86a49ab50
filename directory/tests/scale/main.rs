//! The planner through a year of a made-up cluster: a small one in every run of the tests, and by `make scale` one of 1,000 nodes, 65,536
//! shards and 100 million accounts, which writes its figures into `docs/scale.md` and draws `docs/scale.svg`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test program, helpers included"
)]

mod draw;
mod executor;
mod figures;
mod group;
mod world;
mod year;

use std::time::Duration;

use world::Size;
use year::Record;

/// A plan that moves less than this part of all bytes is of so few replicas that whole ones are far from the bound.
const SMALL_PLAN: f64 = 0.001;

#[test]
fn a_year_of_a_cluster() {
    let is_full = std::env::var("SCALE").is_ok_and(|scale| scale == "full");
    let size = if is_full {
        Size {
            nodes: 1_000,
            shards: 65_536,
            accounts: 100_000_000,
        }
    } else {
        Size {
            nodes: 60,
            shards: 4_096,
            accounts: 2_000_000,
        }
    };
    let records = year::live(size, 1);
    for record in &records {
        let what = format!("week {}, {}", record.week, record.event);
        assert!(record.after.0 <= 1.0505, "{what}: {}", record.after.0);
        assert!(record.after.1 >= 0.9495, "{what}: {}", record.after.1);
        let is_small = (record.bytes as f64) < record.bytes_stored as f64 * SMALL_PLAN;
        assert!(is_small || record.ratio() <= 1.1, "{what}: {}", record.ratio());
        assert!(
            !is_full || record.cpu < Duration::from_secs(1),
            "{what}: {:?}",
            record.cpu
        );
    }
    let sum = |bytes: fn(&Record) -> u64| records.iter().map(|record| bytes(record) as f64).sum::<f64>();
    let ratio = sum(|record| record.bytes) / sum(|record| record.bytes_least);
    assert!(ratio <= 1.1, "{ratio}");
    if is_full {
        figures::write(&size, &records);
    }
}
