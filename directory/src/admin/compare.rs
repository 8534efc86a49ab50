//! `shard verify`: a shard's leader compares its replicas.

use std::time::Duration;

use rookery_proto::admin::v1::{CompareReplicasRequest, CompareReplicasResponse, ReplicaDigest};
use rookery_proto::mailstore::v1::{CompareReplicas, reply, request};
use rookery_proto::{Reason, Status};

use super::of_shard;
use crate::core::Core;

/// How long replicas may take to read all that they have.
const COMPARE_MAX: Duration = Duration::from_secs(3600);

pub(super) async fn compare(
    core: &Core,
    request: CompareReplicasRequest,
) -> Result<CompareReplicasResponse, Status> {
    let shard = request.shard;
    if !core.picture.shards().iter().any(|held| held.id == shard) {
        let message = format!("there is no shard {shard}: `rookery shard list` names them");
        return Err(Status::new(Reason::NotFound, message));
    }
    let call = request::Call::CompareReplicas(CompareReplicas { shard });
    let reply = core
        .provisioner
        .ask_leader(shard, call, COMPARE_MAX)
        .await
        .map_err(|status| of_shard(shard, status))?;
    let Some(reply::Call::ComparedReplicas(compared)) = reply.call else {
        return Err(Status::internal(
            "a shard answered a comparison with something else",
        ));
    };
    let replicas = compared.replicas.into_iter().map(|replica| ReplicaDigest {
        node: replica.node,
        replica: replica.replica,
        error: replica.error,
        term: replica.term,
        index: replica.index,
        rows: replica.rows,
        bytes: replica.bytes,
        hash: replica.hash,
    });
    Ok(CompareReplicasResponse {
        replicas: replicas.collect(),
    })
}
