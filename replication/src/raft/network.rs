//! A replica's way to another, as openraft wants it: all go through the node's one [`Transport`].

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkV2};
use rookery_proto::Status;
use rookery_proto::replication::v1 as proto;
use rookery_proto::replication::v1::{reply, request};

use super::convert;
use super::types::{Host, Snapshot, Types, Vote};
use crate::catalogue::OnItsWay;
use crate::entry::GroupId;
use crate::group::Detector;
use crate::snapshot::{HeldSnapshots, SnapshotData};
use crate::transport::Transport;

/// Pause after a call that found nobody, and the longest one.
const BACKOFF: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
];

/// The ways from a node's replica to others of its group.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) group: GroupId,
    /// This node.
    pub(crate) node: Arc<str>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) snapshots: Arc<HeldSnapshots>,
    pub(crate) detector: Arc<Detector>,
}

/// The way to one replica.
pub(crate) struct Peer {
    network: Network,
    replica: u64,
    node: String,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &Host) -> Peer {
        Peer {
            network: self.clone(),
            replica: target,
            node: node.node.clone(),
        }
    }
}

impl Peer {
    async fn call(&self, call: request::Call) -> Result<reply::Call, RPCError<Types>> {
        self.call_status(call)
            .await
            .map_err(|status| RPCError::Unreachable(Unreachable::new(&io::Error::other(status.to_string()))))
    }

    async fn call_status(&self, call: request::Call) -> Result<reply::Call, Status> {
        let request = proto::Request {
            group: self.network.group.0,
            to: self.replica,
            call: Some(call),
        };
        self.network.transport.call(&self.node, request).await
    }

    async fn ask_vote(
        &self,
        rpc: VoteRequest<Types>,
        ask: impl FnOnce(proto::RequestVote) -> request::Call,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let asked = proto::RequestVote {
            vote: Some(convert::proto_vote(&rpc.vote)),
            last: rpc.last_log_id.as_ref().map(convert::proto_position),
            leadership_transfer: rpc.leadership_transfer,
        };
        match self.call(ask(asked)).await? {
            reply::Call::Voted(voted) => Ok(VoteResponse {
                vote: convert::vote(&voted.vote.unwrap_or_default()),
                vote_granted: voted.granted,
                last_log_id: voted.last.map(convert::from_proto_position),
            }),
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::new(&io::Error::other(
        "a replica answered with something else than was asked",
    )))
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        // Entries of a leader that does not hear the answer would keep its followers from electing one that does.
        if !self.network.detector.is_heard(&self.node) {
            let reason = format!("{} has not been heard of lately", self.node);
            return Err(RPCError::Unreachable(Unreachable::new(&io::Error::other(reason))));
        }
        let entries = rpc
            .entries
            .iter()
            .map(|entry| proto::Entry {
                at: Some(convert::proto_position(&entry.log_id)),
                payload: convert::payload(entry).encode(),
            })
            .collect();
        let append = proto::Append {
            vote: Some(convert::proto_vote(&rpc.vote)),
            previous: rpc.prev_log_id.as_ref().map(convert::proto_position),
            entries,
            committed: rpc.leader_commit.as_ref().map(convert::proto_position),
        };
        let reply::Call::Appended(appended) = self.call(request::Call::Append(append)).await? else {
            return Err(unexpected());
        };
        Ok(if let Some(higher) = appended.higher {
            AppendEntriesResponse::HigherVote(convert::vote(&higher))
        } else if appended.conflict {
            AppendEntriesResponse::Conflict
        } else if appended.partial {
            AppendEntriesResponse::PartialSuccess(appended.up_to.map(convert::from_proto_position))
        } else {
            AppendEntriesResponse::Success
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(rpc, request::Call::RequestVote).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_vote(rpc, request::Call::RequestPreVote).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let unreachable =
            |reason: String| StreamingError::Unreachable(Unreachable::new(&io::Error::other(reason)));
        let SnapshotData::Held(held) = snapshot.snapshot else {
            return Err(unreachable("the state is not one that can be sent".to_owned()));
        };
        if !self.network.detector.is_heard(&self.node) {
            return Err(unreachable(format!("{} has not been heard of lately", self.node)));
        }
        let sequence = held.sequence;
        let kept = self.network.snapshots.keep(self.network.group, held);
        let install = request::Call::InstallSnapshot(proto::InstallSnapshot {
            vote: Some(convert::proto_vote(&vote)),
            last: snapshot.meta.last_log_id.as_ref().map(convert::proto_position),
            membership: Some(convert::proto_stored_membership(&snapshot.meta.last_membership)),
            snapshot: kept.name,
            node: self.network.node.to_string(),
            leader_term: sequence.leader.term,
            leader_count: sequence.leader.count,
            next_number: sequence.next,
        });
        tracing::info!(
            group = self.network.group.0,
            replica = self.replica,
            "{} is too far behind for the log: it is given the state",
            self.node
        );
        let going = OnItsWay::sent();
        let installed = Box::pin(self.call_status(install));
        match select(installed, Box::pin(cancel)).await {
            Either::Left((Ok(reply::Call::SnapshotInstalled(installed)), _)) => {
                going.done();
                let vote = convert::vote(&installed.vote.unwrap_or_default());
                Ok(SnapshotResponse::new(vote))
            }
            Either::Left((Ok(_), _)) => Err(unreachable("a replica answered with something else".to_owned())),
            Either::Left((Err(status), _)) => Err(unreachable(status.to_string())),
            Either::Right((closed, _)) => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let transfer = proto::TransferLeader {
            from: Some(convert::proto_vote(req.from_leader())),
            to: *req.to_node_id(),
            last: req.last_log_id().map(convert::proto_position),
        };
        match self.call(request::Call::TransferLeader(transfer)).await? {
            reply::Call::TransferAnswer(answer) if answer.refused.is_empty() => Ok(Ok(())),
            reply::Call::TransferAnswer(answer) => Err(RPCError::Unreachable(Unreachable::new(
                &io::Error::other(answer.refused),
            ))),
            _ => Err(unexpected()),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        let longest = BACKOFF[BACKOFF.len() - 1];
        Some(Backoff::new(
            BACKOFF.into_iter().chain(std::iter::repeat(longest)),
        ))
    }
}
