//! What a member does whether it leads or not: tells the leader that it is there, and says how it stands.

use std::sync::Arc;
use std::time::Duration;

use rookery_process::health::Health;
use rookery_proto::directory::v1::{Node, RegisterNode, request};

use crate::catalogue::{REPLICA, VOTES};
use crate::post::Post;

/// How often a member tells the leader that it is there.
const REGISTER_INTERVAL: Duration = Duration::from_secs(2);

/// How often it is looked whether somebody leads.
const LOOK: Duration = Duration::from_millis(100);

/// Readiness: somebody leads the directory.
pub(crate) const CONDITION: &str = "leader";

/// Registers with the leader again and again, while that is another.
pub(crate) async fn register(post: Arc<Post>, node: Node, cluster_id: String) {
    loop {
        tokio::time::sleep(REGISTER_INTERVAL).await;
        if post.core().is_ok() {
            continue;
        }
        let call = request::Call::RegisterNode(RegisterNode {
            node: Some(node.clone()),
            cluster_id: cluster_id.clone(),
            ..RegisterNode::default()
        });
        if let Err(status) = post.members.ask_leader(call).await {
            tracing::debug!(%status, "this member could not register with the one that leads");
        }
    }
}

/// Says whether somebody leads, this member or another that it hears; and which replica this one has, and whether it is
/// agreed that it votes. One that leads and does not take this member in yet will do: a directory grows by restarting its old members with a
/// configuration that names the new ones, and Kubernetes restarts them only once the new ones are ready.
pub(crate) async fn watch_health(post: Arc<Post>, health: Health) {
    loop {
        let own = post.members.own();
        let (replica, votes) = post.group().map_or((0, false), |group| {
            let replica = group.replica();
            let standing = group.standing();
            let votes = standing.members.contains(&(replica, own.to_owned(), true));
            // While a change is under way, those of before still decide as well.
            (replica.0, votes && !standing.changing)
        });
        REPLICA.set(replica as f64);
        VOTES.set(if votes { 1.0 } else { 0.0 });
        let is_led = match post.leader() {
            // Only once it serves.
            Some(leader) if leader == own => post.core().is_ok(),
            leader => leader.is_some() || post.is_awaited(),
        };
        if is_led {
            health.met(CONDITION);
        } else {
            health.unmet(CONDITION, "nobody is known to lead the directory");
        }
        tokio::time::sleep(LOOK).await;
    }
}
