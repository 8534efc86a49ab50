//! openraft's types as messages of `rookery.replication.v1`, and back.

use std::collections::{BTreeMap, BTreeSet};

use openraft::EntryPayload;
use openraft::vote::RaftLeaderId;
use prost::Message;
use rookery_proto::replication::v1 as proto;

use super::types::{CommittedLeader, Host, LogId, Membership, Plans, RaftEntry, StoredMembership, Vote};
use crate::entry::{Payload, PayloadError};
use crate::log::Position;

type LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>;

pub(crate) fn committed_leader(term: u64) -> CommittedLeader {
    LeaderId::new(term, 0).to_committed()
}

pub(crate) fn log_id(position: Position) -> LogId {
    LogId::new(committed_leader(position.term), position.index)
}

pub(crate) fn position(log_id: &LogId) -> Position {
    Position {
        term: **log_id.committed_leader_id(),
        index: log_id.index,
    }
}

pub(crate) fn proto_position(log_id: &LogId) -> proto::Position {
    let Position { term, index } = position(log_id);
    proto::Position { term, index }
}

pub(crate) fn from_proto_position(position: proto::Position) -> LogId {
    log_id(Position {
        term: position.term,
        index: position.index,
    })
}

pub(crate) fn proto_vote(vote: &Vote) -> proto::Vote {
    proto::Vote {
        term: vote.leader_id.term,
        replica: vote.leader_id.voted_for,
        committed: vote.committed,
    }
}

pub(crate) fn vote(vote: &proto::Vote) -> Vote {
    Vote {
        leader_id: LeaderId::new(vote.term, vote.replica),
        committed: vote.committed,
    }
}

pub(crate) fn proto_membership(membership: &Membership) -> proto::Membership {
    proto::Membership {
        configs: membership
            .get_joint_config()
            .iter()
            .map(|voters| proto::Voters {
                replicas: voters.iter().copied().collect(),
            })
            .collect(),
        members: membership
            .nodes()
            .map(|(replica, host)| proto::Member {
                replica: *replica,
                node: host.node.clone(),
                witness: host.witness,
            })
            .collect(),
    }
}

pub(crate) fn membership(membership: &proto::Membership) -> Result<Membership, PayloadError> {
    let configs: Vec<BTreeSet<u64>> = membership
        .configs
        .iter()
        .map(|voters| voters.replicas.iter().copied().collect())
        .collect();
    let members: BTreeMap<u64, Host> = membership
        .members
        .iter()
        .map(|member| {
            let host = Host {
                node: member.node.clone(),
                witness: member.witness,
            };
            (member.replica, host)
        })
        .collect();
    if configs.is_empty() && members.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, members)
        .map_err(|error| PayloadError(format!("its membership is impossible: {error}")))
}

pub(crate) fn proto_stored_membership(stored: &StoredMembership) -> proto::StoredMembership {
    proto::StoredMembership {
        at: stored.log_id().as_ref().map(proto_position),
        membership: Some(proto_membership(stored.membership())),
    }
}

pub(crate) fn stored_membership(stored: &proto::StoredMembership) -> Result<StoredMembership, PayloadError> {
    let members = stored.membership.clone().unwrap_or_default();
    Ok(StoredMembership::new(
        stored.at.map(from_proto_position),
        membership(&members)?,
    ))
}

pub(crate) fn payload(entry: &RaftEntry) -> Payload {
    match &entry.payload {
        EntryPayload::Blank => Payload::Blank,
        EntryPayload::Normal(Plans(bytes)) => Payload::Plans(bytes.clone()),
        EntryPayload::Membership(membership) => {
            Payload::Membership(proto_membership(membership).encode_to_vec().into())
        }
    }
}

pub(crate) fn entry(at: LogId, payload: Payload) -> Result<RaftEntry, PayloadError> {
    let payload = match payload {
        Payload::Blank => EntryPayload::Blank,
        Payload::Plans(bytes) => EntryPayload::Normal(Plans(bytes)),
        Payload::Membership(bytes) => {
            let decoded = proto::Membership::decode(bytes)
                .map_err(|error| PayloadError(format!("its membership is damaged: {error}")))?;
            EntryPayload::Membership(membership(&decoded)?)
        }
    };
    Ok(RaftEntry { log_id: at, payload })
}
