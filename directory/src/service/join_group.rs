//! A member that has no replica asks for one, or asks whether the one that it has is still of the group.

use std::collections::BTreeSet;

use rookery_proto::directory::v1::{JoinGroup, JoinedGroup};
use rookery_proto::{Peer, Status};

use super::denied;
use crate::core::Core;
use crate::plan::member;

pub(super) async fn run(
    core: &Core,
    peer: &Peer,
    configured: BTreeSet<String>,
    request: JoinGroup,
) -> Result<JoinedGroup, Status> {
    let node = peer.node.clone();
    if !configured.contains(&node) || node == core.own {
        return Err(denied(format!(
            "{node} is not another member of the directory: see directory.members of {}",
            core.own
        )));
    }
    if request.held != 0 {
        let held = request.held;
        let members = core.state.read(|rows| rows.members()).await??;
        let noted =
            members.and_then(|members| members.members.into_iter().find(|member| member.node == node));
        // One that is not noted is as good as replaced.
        let noted = noted.map_or(0, |noted| noted.replica);
        let votes = core.group.standing().members.into_iter();
        let votes = votes
            .filter(|(_, _, votes)| *votes)
            .any(|(replica, voter, _)| replica.0 == held && voter == node);
        if noted == held || !votes {
            return Ok(JoinedGroup { replica: noted });
        }
        // It was given another number, of which it does not know, or too late.
        core.state
            .change(move |rows| member::keep(rows, &node, held))
            .await?;
        return Ok(JoinedGroup { replica: held });
    }
    let replica = core
        .state
        .change(move |rows| member::join(rows, &node, &configured))
        .await?;
    tracing::info!(node = peer.node, replica, "a member of the directory is taken in");
    core.members_changed.notify_one();
    Ok(JoinedGroup { replica })
}
