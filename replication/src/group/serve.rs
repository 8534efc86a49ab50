//! What other nodes ask of this one's replicas.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use rookery_proto::replication::v1 as proto;
use rookery_proto::replication::v1::{Request, reply, request};
use rookery_proto::status::outcome;
use rookery_proto::{Reason, Status};

use super::follow::serve_position;
use super::member::Member;
use super::replica::Group;
use crate::batch::Column;
use crate::catalogue::{CALL_SECONDS, CALLS_TOTAL, OnItsWay, SNAPSHOT_SENT};
use crate::entry::{GroupId, Payload};
use crate::raft::types::{Snapshot, SnapshotMeta, Vote};
use crate::raft::{Types, convert};
use crate::snapshot::{Fetch, Fetching, SnapshotData, receive};

impl Member {
    /// Answers another node. Errors as `rookery.replication.v1` says.
    pub async fn serve(self: &Arc<Self>, request: Request) -> Result<reply::Call, Status> {
        let name = request.call.as_ref().map_or("other", name);
        let began = Instant::now();
        let answer = self.answer(request).await;
        CALLS_TOTAL.with(&[name, outcome(&answer)]).increment(1);
        CALL_SECONDS.since(&[name], began);
        answer
    }

    async fn answer(self: &Arc<Self>, request: Request) -> Result<reply::Call, Status> {
        let group = GroupId(request.group);
        let call = request
            .call
            .ok_or_else(|| Status::invalid("the request names no call"))?;
        match call {
            request::Call::Beat(beat) => Ok(reply::Call::BeatAnswer(self.beat(beat))),
            request::Call::ReadSnapshot(read) => self.read_snapshot(group, read).await,
            call => {
                let open = self
                    .group(group)
                    .filter(|open| open.replica().0 == request.to)
                    .ok_or_else(|| {
                        let message =
                            format!("replica {} of group {} is not here", request.to, request.group);
                        Status::new(Reason::NotFound, message)
                    })?;
                self.serve_replica(&open, call).await
            }
        }
    }

    async fn serve_replica(
        self: &Arc<Self>,
        group: &Group,
        call: request::Call,
    ) -> Result<reply::Call, Status> {
        match call {
            request::Call::Append(append) => {
                let answer = group
                    .raft
                    .append_entries(append_request(append)?)
                    .await
                    .map_err(stopping)?;
                Ok(reply::Call::Appended(appended(answer)))
            }
            request::Call::RequestVote(asked) if !asked.leadership_transfer && !group.may_vote() => Err(
                Status::unavailable("the replica has just been opened and does not vote yet"),
            ),
            request::Call::RequestVote(asked) => {
                let answer = group.raft.vote(vote_request(asked)?).await.map_err(stopping)?;
                Ok(reply::Call::Voted(voted(&answer)))
            }
            request::Call::RequestPreVote(asked) => {
                let answer = group
                    .raft
                    .pre_vote(vote_request(asked)?)
                    .await
                    .map_err(stopping)?;
                Ok(reply::Call::Voted(voted(&answer)))
            }
            request::Call::TransferLeader(transfer) => {
                let from = needed_vote(transfer.from)?;
                group.note_handover(from.leader_id.term);
                let request = TransferLeaderRequest::<Types>::new(
                    from,
                    transfer.to,
                    transfer.last.map(convert::from_proto_position),
                );
                let answer = group
                    .raft
                    .handle_transfer_leader(request)
                    .await
                    .map_err(stopping)?;
                let refused = answer.err().map(|error| error.to_string()).unwrap_or_default();
                Ok(reply::Call::TransferAnswer(proto::TransferAnswer { refused }))
            }
            request::Call::InstallSnapshot(offer) => self.install_snapshot(group, offer).await,
            request::Call::ReadDigest(asked) => self.serve_digest(group, asked).await,
            request::Call::AskPosition(_) => serve_position(group).await,
            _ => Err(Status::invalid("the call is not one on a replica")),
        }
    }

    fn beat(&self, beat: proto::Beat) -> proto::BeatAnswer {
        self.detector.heard(&beat);
        let not_led = beat
            .followed
            .iter()
            .filter(|followed| {
                !self.group(GroupId(followed.group)).is_some_and(|group| {
                    group
                        .led_term()
                        .is_some_and(|term| term >= followed.term && !group.handover.is_in_vain(term))
                })
            })
            .map(|followed| followed.group)
            .collect();
        proto::BeatAnswer {
            incarnation: self.detector.incarnation,
            not_led,
        }
    }

    async fn read_snapshot(&self, group: GroupId, read: proto::ReadSnapshot) -> Result<reply::Call, Status> {
        let held = self.snapshots.get(group, read.snapshot).ok_or_else(|| {
            Status::new(
                Reason::NotFound,
                "the state is no longer kept: it will be offered anew",
            )
        })?;
        let column = Column::ALL
            .get(read.column as usize)
            .copied()
            .ok_or_else(|| Status::invalid("there is no such column"))?;
        let mut rows = self
            .store
            .aside(move || held.piece(group, column, &read.after))
            .await
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| Status::internal(error.to_string()))?;
        let bytes: usize = rows.rows.iter().map(|row| row.key.len() + row.value.len()).sum();
        SNAPSHOT_SENT.increment(bytes as u64);
        rows.strain_percent = self.snapshots.strain_percent();
        Ok(reply::Call::SnapshotRows(rows))
    }

    async fn install_snapshot(
        &self,
        group: &Group,
        offer: proto::InstallSnapshot,
    ) -> Result<reply::Call, Status> {
        let vote = needed_vote(offer.vote)?;
        let _one = group.installing.lock().await;
        let coming = OnItsWay::received();
        let fetching = Fetching::begin(&group.progress.fetched);
        let _copying = self.pace.begin_copying();
        let last = offer.last.map(convert::from_proto_position);
        let is_known = last <= group.progress.applied().last;
        let received = if is_known {
            None
        } else {
            let fetch = Fetch {
                pace: &self.pace,
                fetching: &fetching,
                transport: self.transport.as_ref(),
                group: group.id(),
                store: &self.store,
                folder: self
                    .incoming
                    .join(self.fetches.fetch_add(1, Ordering::Relaxed).to_string()),
            };
            Some(receive(fetch, &offer).await?)
        };
        let membership = offer.membership.clone().unwrap_or_default();
        let snapshot = Snapshot {
            meta: SnapshotMeta {
                last_log_id: last,
                last_membership: convert::stored_membership(&membership)
                    .map_err(|error| Status::invalid(error.to_string()))?,
            },
            snapshot: received.map_or(SnapshotData::Marker, SnapshotData::Received),
        };
        let answer = group
            .raft
            .install_full_snapshot(vote, snapshot)
            .await
            .map_err(stopping)?;
        coming.done();
        Ok(reply::Call::SnapshotInstalled(proto::SnapshotInstalled {
            vote: Some(convert::proto_vote(&answer.vote)),
        }))
    }
}

fn name(call: &request::Call) -> &'static str {
    match call {
        request::Call::Append(_) => "append",
        request::Call::RequestVote(_) => "request_vote",
        request::Call::RequestPreVote(_) => "request_pre_vote",
        request::Call::TransferLeader(_) => "transfer_leader",
        request::Call::InstallSnapshot(_) => "install_snapshot",
        request::Call::ReadSnapshot(_) => "read_snapshot",
        request::Call::Beat(_) => "beat",
        request::Call::ReadDigest(_) => "read_digest",
        request::Call::AskPosition(_) => "ask_position",
    }
}

fn stopping(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("the replica is stopping: {error}"))
}

fn needed_vote(vote: Option<proto::Vote>) -> Result<Vote, Status> {
    vote.map(|vote| convert::vote(&vote))
        .ok_or_else(|| Status::invalid("the request has no vote"))
}

fn append_request(append: proto::Append) -> Result<AppendEntriesRequest<Types>, Status> {
    let entries = append
        .entries
        .into_iter()
        .map(|entry| {
            let at = entry
                .at
                .ok_or_else(|| io::Error::other("an entry has no position"))?;
            let payload = Payload::decode(entry.payload).map_err(io::Error::other)?;
            convert::entry(convert::from_proto_position(at), payload).map_err(io::Error::other)
        })
        .collect::<Result<_, io::Error>>()
        .map_err(|error| Status::invalid(error.to_string()))?;
    Ok(AppendEntriesRequest {
        vote: needed_vote(append.vote)?,
        prev_log_id: append.previous.map(convert::from_proto_position),
        entries,
        leader_commit: append.committed.map(convert::from_proto_position),
    })
}

fn appended(answer: AppendEntriesResponse<Types>) -> proto::Appended {
    let mut appended = proto::Appended::default();
    match answer {
        AppendEntriesResponse::Success => {}
        AppendEntriesResponse::PartialSuccess(up_to) => {
            appended.partial = true;
            appended.up_to = up_to.as_ref().map(convert::proto_position);
        }
        AppendEntriesResponse::Conflict => appended.conflict = true,
        AppendEntriesResponse::HigherVote(vote) => appended.higher = Some(convert::proto_vote(&vote)),
    }
    appended
}

fn vote_request(asked: proto::RequestVote) -> Result<VoteRequest<Types>, Status> {
    Ok(VoteRequest {
        vote: needed_vote(asked.vote)?,
        last_log_id: asked.last.map(convert::from_proto_position),
        leadership_transfer: asked.leadership_transfer,
    })
}

fn voted(answer: &VoteResponse<Types>) -> proto::Voted {
    proto::Voted {
        vote: Some(convert::proto_vote(&answer.vote)),
        granted: answer.vote_granted,
        last: answer.last_log_id.as_ref().map(convert::proto_position),
    }
}
