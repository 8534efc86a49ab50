//! No node ends by itself, whatever the clocks and the network do; on a full disk it may, rather than say what is not true.

use anyhow::Result;

use super::super::nemesis::MAY_END_NODES;
use super::super::stage::{Ended, Stage};
use super::Closing;

/// See the file.
pub(super) struct NoneEnded;

impl Closing for NoneEnded {
    fn name(&self) -> &'static str {
        "no node ends by itself but on a full disk"
    }

    fn check(&self, stage: &Stage) -> Result<Vec<String>> {
        Ok(unexcused(&stage.ended))
    }
}

fn unexcused(ended: &[Ended]) -> Vec<String> {
    let unexcused = ended
        .iter()
        .filter(|ended| !MAY_END_NODES.contains(&ended.nemesis));
    unexcused
        .map(|ended| format!("{} ended by itself: {}", ended.node, ended.during))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_may_end_by_itself_on_a_full_disk_alone() {
        let ended = |nemesis| Ended {
            node: "mailstore-1".to_owned(),
            nemesis,
            during: "disk of mailstore-1 with 0 bytes left".to_owned(),
        };
        assert!(unexcused(&[ended("full_disk")]).is_empty());
        assert_eq!(unexcused(&[ended("kill"), ended("")]).len(), 2);
    }
}
