//! Clients in a cluster that grows by a mailstore and shrinks again: none of them notices. `make torture SCENARIO=scale-out` is the long
//! form, with times.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use rookery_tests::faults::scale_out::{self, ScaleOutOptions};

#[test]
fn nobody_notices_that_mailstores_come_and_go() {
    let report = scale_out::run(&ScaleOutOptions::small(1)).unwrap();
    assert!(report.is_unnoticed(), "{report}");
    assert_eq!(report.moves.len(), 3, "{report}");
    for made in &report.moves {
        assert!(made.transfers > 0, "{report}");
    }
    for phase in &report.figures {
        assert!(phase.commands.count > 0 && phase.deliveries.count > 0, "{report}");
    }
}
