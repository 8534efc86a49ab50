//! Whether a group's replicas are equal: its leader asks each of them for its digest at one position.

use std::sync::Arc;
use std::time::Duration;

use rookery_proto::Status;
use rookery_proto::replication::v1 as proto;
use rookery_proto::replication::v1::{reply, request};

use super::member::Member;
use super::replica::{Group, NotLeading};
use crate::digest::Digest;
use crate::entry::GroupId;
use crate::log::{Position, ReplicaId};
use crate::raft::convert;

/// How long a replica may be behind.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);

/// How often digests are taken anew while entries come in between them.
const TRIES_MAX: u32 = 5;

/// What one replica said.
#[derive(Debug, Clone)]
pub struct ReplicaDigest {
    /// The replica.
    pub replica: ReplicaId,
    /// Its node.
    pub node: String,
    /// Its digest, or why there is none.
    pub digest: Result<Digest, Status>,
}

impl Member {
    /// The digests of all of a group's replicas, when this node leads it. They are of one position, and can be compared, unless the
    /// group is written to all the while. Reads all rows on every replica.
    pub async fn compare(self: &Arc<Self>, group: GroupId) -> Result<Vec<ReplicaDigest>, NotLeading> {
        let mut tried = 0;
        loop {
            let digests = self.compare_once(group).await?;
            tried += 1;
            let mut positions = digests
                .iter()
                .flat_map(|one| &one.digest)
                .map(|digest| digest.applied);
            let first = positions.next();
            if tried == TRIES_MAX || positions.all(|position| Some(position) == first) {
                return Ok(digests);
            }
        }
    }

    async fn compare_once(self: &Arc<Self>, id: GroupId) -> Result<Vec<ReplicaDigest>, NotLeading> {
        let group = self.group(id).ok_or(NotLeading { leader: None })?;
        group.confirm().await?;
        let from = group.applied();
        let asked = group
            .standing()
            .members
            .into_iter()
            .map(|(replica, node, _)| self.ask(&group, replica, node, from));
        Ok(futures_util::future::join_all(asked).await)
    }

    async fn ask(
        self: &Arc<Self>,
        group: &Group,
        replica: ReplicaId,
        node: String,
        from: Option<Position>,
    ) -> ReplicaDigest {
        let digest = if replica == group.replica() {
            self.digest(group, from).await
        } else {
            let request = proto::Request {
                group: group.id().0,
                to: replica.0,
                call: Some(request::Call::ReadDigest(proto::ReadDigest {
                    from: from.map(to_proto),
                })),
            };
            self.transport.call(&node, request).await.and_then(from_reply)
        };
        ReplicaDigest {
            replica,
            node,
            digest,
        }
    }

    /// The digest of a replica here, once it has applied all up to a position.
    async fn digest(&self, group: &Group, from: Option<Position>) -> Result<Digest, Status> {
        if let Some(from) = from {
            let what = format!("a digest from entry {}", from.index);
            group
                .raft
                .wait(Some(CATCH_UP_MAX))
                .applied_index_at_least(Some(from.index), what)
                .await
                .map_err(|error| Status::unavailable(format!("the replica is behind: {error}")))?;
        }
        let (view, id, replica) = (self.owned_snapshot(), group.id(), group.replica());
        self.store
            .blocking(move || Digest::of(&view, id, replica))
            .await
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| Status::internal(error.to_string()))
    }

    /// Answers another node.
    pub(super) async fn serve_digest(
        &self,
        group: &Group,
        asked: proto::ReadDigest,
    ) -> Result<reply::Call, Status> {
        let digest = self.digest(group, asked.from.map(from_proto)).await?;
        Ok(reply::Call::Digest(proto::Digest {
            applied: digest.applied.map(to_proto),
            rows: digest.rows,
            bytes: digest.bytes,
            hash: digest.hash.to_vec().into(),
        }))
    }
}

fn to_proto(position: Position) -> proto::Position {
    proto::Position {
        term: position.term,
        index: position.index,
    }
}

fn from_proto(position: proto::Position) -> Position {
    convert::position(&convert::from_proto_position(position))
}

fn from_reply(reply: reply::Call) -> Result<Digest, Status> {
    let reply::Call::Digest(digest) = reply else {
        return Err(Status::internal("a replica answered with something else"));
    };
    Ok(Digest {
        applied: digest.applied.map(from_proto),
        rows: digest.rows,
        bytes: digest.bytes,
        hash: digest
            .hash
            .as_ref()
            .try_into()
            .map_err(|_| Status::internal("a replica answered with a hash of another length"))?,
    })
}
