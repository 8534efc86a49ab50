//! Every process of a cluster under load is replaced by another build, one after the other. `make upgrade FROM=…` is the same from an
//! earlier commit's build to this one; here the other build is this one under another name.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use rookery_tests::cluster::program;
use rookery_tests::faults::upgrade::{UpgradeOptions, run};

#[test]
fn nobody_notices_a_rolling_upgrade_but_by_a_proxys_goodbye() {
    let older = program().unwrap();
    let newer = tempfile::Builder::new()
        .prefix("rookery-newer-")
        .tempdir_in(older.parent().unwrap())
        .unwrap();
    let path = newer.path().join("rookery");
    std::fs::hard_link(&older, &path).unwrap();
    let report = run(&UpgradeOptions::small(1, older, path)).unwrap_or_else(|error| panic!("{error:?}"));
    assert!(report.is_good(), "{report}");
    assert_eq!(report.replaced.len(), 8, "{report}");
    assert!(report.acknowledged > 0, "{report}");
}
