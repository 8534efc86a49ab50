//! Whether a shard's replicas are equal, asked by an operator.

use rookery_proto::mailstore::v1::{self as proto, reply};
use rookery_proto::{Incoming, MailstoreProtocol, Reason, Status};
use rookery_replication::GroupId;
use rookery_replication::group::ReplicaDigest;

use super::MailstoreService;

impl MailstoreService {
    pub(super) async fn compare_replicas(
        &self,
        incoming: &Incoming<MailstoreProtocol>,
        compare: proto::CompareReplicas,
    ) -> Result<reply::Call, Status> {
        let shard = self
            .shard(compare.shard, incoming.request.shard_generation)
            .await?;
        shard.confirm().await?;
        let group = GroupId(shard.id().0);
        drop(shard);
        let compared = self.shards.member().compare(group).await;
        let compared = compared.map_err(|error| Status {
            leader: error.leader.clone().unwrap_or_default(),
            ..Status::new(Reason::NotLeader, format!("shard {}: {error}", compare.shard))
        })?;
        let replicas = compared.into_iter().map(to_proto).collect();
        Ok(reply::Call::ComparedReplicas(proto::ComparedReplicas {
            replicas,
        }))
    }
}

fn to_proto(one: ReplicaDigest) -> proto::ReplicaDigest {
    let mut said = proto::ReplicaDigest {
        node: one.node,
        replica: one.replica.0,
        ..proto::ReplicaDigest::default()
    };
    match one.digest {
        Ok(digest) => {
            if let Some(applied) = digest.applied {
                (said.term, said.index) = (applied.term, applied.index);
            }
            (said.rows, said.bytes) = (digest.rows, digest.bytes);
            said.hash = digest.hash.to_vec().into();
        }
        Err(status) => said.error = status.to_string(),
    }
    said
}
