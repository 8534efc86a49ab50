//! Keeps a led shard's members as the directory names them, and leadership where it is wanted.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rookery_replication::group::{GroupMember, MembersError};
use rookery_replication::log::ReplicaId;

use super::{HostedShard, Shards};

/// How long a node leads a shard that another one is to lead: short leads cost sessions more than uneven ones.
const HOME_WAIT: Duration = Duration::from_secs(10);

impl Shards {
    /// Has others take over all shards that this node leads and that another can lead. Waits until they do and have told what became
    /// of the last commands, or the caller no longer does.
    pub async fn hand_over(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let all = self.all();
        let handing = all.iter().map(|hosted| hosted.shard().hand_over());
        futures_util::future::join_all(handing).await;
    }

    /// Takes in new replicas and lets go of old ones, one change at a time, when this node leads the shard and every new one is held
    /// by its node. Waits until it is done; what breaks it off is made up for the next time.
    pub async fn keep_members(&self, hosted: &HostedShard) {
        let group = hosted.shard().group();
        if !group.leads() || self.stopping.load(Ordering::Relaxed) {
            return;
        }
        let standing = group.standing();
        let Some(placement) = self.placement(hosted.id()) else {
            return;
        };
        if !placement.formed || placement.members.iter().any(|member| !member.taken) {
            return;
        }
        let wanted: Vec<GroupMember> = placement
            .members
            .iter()
            .map(|member| GroupMember {
                replica: ReplicaId(member.id),
                node: member.node.clone(),
                witness: false,
            })
            .collect();
        let is_wanted = |replica: ReplicaId| wanted.iter().any(|member| member.replica == replica);
        let is_so = standing.members.len() == wanted.len()
            && standing
                .members
                .iter()
                .all(|(replica, _, votes)| *votes && is_wanted(*replica));
        if is_so && !standing.changing {
            // Each node leads its part: who is named first gets the lead back once it is there again.
            let first = wanted.first();
            if let Some(first) = first.filter(|first| first.replica != group.replica())
                && group.led_for() >= HOME_WAIT
                && group.is_there(&first.node)
                && group.has_caught_up(first.replica)
            {
                tracing::info!(shard = hosted.id().0, "handing the lead back to {}", first.node);
                group.hand_over(first.replica).await;
            }
            return;
        }
        if !is_wanted(group.replica()) {
            // Who leads cannot let go of itself: one of those that stay takes over and goes on.
            let heir = standing
                .members
                .iter()
                .find(|(replica, _, votes)| *votes && is_wanted(*replica));
            if let Some((heir, _, _)) = heir {
                return group.hand_over(*heir).await;
            }
        }
        match group.set_members(&wanted).await {
            Ok(()) => {
                tracing::info!(
                    shard = hosted.id().0,
                    "the shard's replicas are those that the directory names"
                );
                self.tell();
            }
            Err(MembersError::NotLeading(_)) => {}
            Err(error) => tracing::warn!(shard = hosted.id().0, %error, "trying again"),
        }
    }
}
