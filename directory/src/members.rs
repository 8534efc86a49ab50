//! The members of the directory's group as this one's configuration names them, and the ways to the others.
//!
//! A member's place among them, by id, gives it the replica that it holds when the group is formed. Knows nothing of who leads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rookery_proto::directory::v1::{Reply, Request, reply, request};
use rookery_proto::elected::{Candidate, Elected};
use rookery_proto::{Call, CallContext, Caller, DirectoryProtocol, Status};
use rookery_replication::GroupId;
use rookery_replication::group::{GroupMember, ReplicaSpec, Start};
use rookery_replication::log::ReplicaId;

use crate::config::{MemberConfig, check_member};

/// How long another member has to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes channels to other members.
pub trait Directories: Send + Sync + 'static {
    /// A channel to the member at an address. Does not block.
    fn directory(&self, address: &str) -> Arc<dyn Caller<DirectoryProtocol>>;
}

/// For a directory that is alone.
pub struct NoDirectories;

impl Directories for NoDirectories {
    fn directory(&self, _address: &str) -> Arc<dyn Caller<DirectoryProtocol>> {
        Arc::new(Elected::new(Vec::new()))
    }
}

/// The members.
pub(crate) struct Members {
    own: String,
    /// Ascending by id; only this one when it is alone.
    all: Vec<MemberConfig>,
    others: Vec<Arc<dyn Caller<DirectoryProtocol>>>,
    leader: Elected<DirectoryProtocol>,
}

impl Members {
    /// As configured. Errors when this node is not among them.
    pub(crate) fn new(
        own: &str,
        configured: &[MemberConfig],
        ways: &dyn Directories,
    ) -> Result<Self, String> {
        check_member(configured, own)?;
        let mut all = configured.to_vec();
        if all.is_empty() {
            all.push(MemberConfig {
                id: own.to_owned(),
                address: String::new(),
            });
        }
        all.sort_by(|a, b| a.id.cmp(&b.id));
        let named = all.iter().filter(|member| member.id != own);
        let candidates: Vec<_> = named
            .map(|member| Candidate {
                address: member.address.clone(),
                caller: ways.directory(&member.address),
            })
            .collect();
        Ok(Self {
            own: own.to_owned(),
            others: candidates
                .iter()
                .map(|candidate| Arc::clone(&candidate.caller))
                .collect(),
            all,
            leader: Elected::new(candidates),
        })
    }

    /// This node's id.
    pub(crate) fn own(&self) -> &str {
        &self.own
    }

    /// Whether there are no others.
    pub(crate) fn is_alone(&self) -> bool {
        self.others.is_empty()
    }

    /// Whether this one forms the group.
    pub(crate) fn is_first(&self) -> bool {
        self.all.first().is_some_and(|first| first.id == self.own)
    }

    /// Everyone's ids, ascending.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.all.iter().map(|member| member.id.clone()).collect()
    }

    /// The same as a set.
    pub(crate) fn configured(&self) -> BTreeSet<String> {
        self.ids().into_iter().collect()
    }

    /// Where a member is; empty when it is none.
    pub(crate) fn address(&self, id: &str) -> &str {
        let member = self.all.iter().find(|member| member.id == id);
        member.map_or("", |member| member.address.as_str())
    }

    /// Where all of them are, as configured; none for one that is alone.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let addresses = self.all.iter().map(|member| member.address.clone());
        addresses.filter(|address| !address.is_empty()).collect()
    }

    /// This member's replica in a group that is formed by all.
    pub(crate) fn formed_spec(&self) -> ReplicaSpec {
        let members: Vec<GroupMember> = (0..)
            .zip(&self.all)
            .map(|(place, member)| GroupMember {
                replica: ReplicaId(FIRST_REPLICA + place),
                node: member.id.clone(),
                witness: false,
            })
            .collect();
        let own = members.iter().find(|member| member.node == self.own);
        ReplicaSpec {
            group: GroupId::DIRECTORY,
            // `new` has seen it among them.
            replica: own.map_or(ReplicaId(FIRST_REPLICA), |own| own.replica),
            start: Start::Form(members),
        }
    }

    /// Asks the member that leads.
    pub(crate) async fn ask_leader(&self, call: request::Call) -> Result<reply::Call, Status> {
        ask(&self.leader, call).await
    }

    /// Asks all others at once; the answers that came.
    pub(crate) async fn ask_others(&self, call: &request::Call) -> Vec<Result<reply::Call, Status>> {
        let asked = self.others.iter().map(|other| ask(other.as_ref(), call.clone()));
        join_all(asked).await
    }
}

/// Numbers of replicas are a node's own across its groups: those of shards begin at 1, those of the directory above all.
const FIRST_REPLICA: u64 = 1 + GroupId::DIRECTORY.0 as u64;

async fn ask(caller: &dyn Caller<DirectoryProtocol>, call: request::Call) -> Result<reply::Call, Status> {
    let replies = caller.call(Call {
        context: CallContext::with_timeout(CALL_TIMEOUT),
        request: Request {
            call: Some(call),
            ..Request::default()
        },
        body: None,
    });
    let Reply { call } = replies.single().await?;
    call.ok_or_else(|| Status::internal("a member of the directory sent an empty reply"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_give_replicas_whatever_the_order_of_the_configuration() {
        let configured: Vec<MemberConfig> = ["c", "a", "b"]
            .into_iter()
            .map(|id| MemberConfig {
                id: id.to_owned(),
                address: format!("{id}:1"),
            })
            .collect();
        let specs: Vec<ReplicaSpec> = ["a", "b", "c"]
            .into_iter()
            .map(|own| {
                let members = Members::new(own, &configured, &NoDirectories).unwrap();
                assert_eq!(members.is_first(), own == "a");
                members.formed_spec()
            })
            .collect();
        let replicas: Vec<u64> = specs.iter().map(|spec| spec.replica.0).collect();
        assert_eq!(replicas, [FIRST_REPLICA, FIRST_REPLICA + 1, FIRST_REPLICA + 2]);
        assert!(specs.iter().all(|spec| spec.start == specs[0].start));
        assert!(Members::new("d", &configured, &NoDirectories).is_err());
        // One that grows keeps its replica.
        let alone = Members::new("a", &[], &NoDirectories).unwrap();
        assert_eq!(alone.formed_spec(), ReplicaSpec::alone(GroupId::DIRECTORY, "a"));
    }
}
