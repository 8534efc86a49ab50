//! What the planner gives: transfers in the order in which they are safe, who is to lead, what could not be done, and how the
//! nodes stand before and after. Every part says why, for the operator who has to agree to it.

use std::fmt;

use serde::Serialize;

use super::state::Condition;
use super::table::Table;
use crate::schema::ShardId;

/// What is to move. The same state gives the same plan, whatever order it was given in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Version of the directory's state that it was made from.
    pub state_version: u64,
    /// Transfers. Those of one shard follow each other in this order, one at a time; those of different shards need no order.
    pub transfers: Vec<Transfer>,
    /// Shards that are to be led by another node than now, once their transfers are done.
    pub leads: Vec<Lead>,
    /// What could not be done, and what was wrong with the state.
    pub problems: Vec<Problem>,
    /// Bytes of all transfers.
    pub bytes: u64,
    /// Bytes that any plan to the same ends has to move; a bound from below, so the true least may be more.
    pub bytes_least: u64,
    /// How long the transfers take at the measured rates, in seconds. `None`: no rate has been measured.
    pub eta_seconds: Option<u64>,
    /// The nodes as they are.
    pub before: Table,
    /// The nodes as they will be.
    pub after: Table,
}

impl Plan {
    /// Whether there is nothing to be done.
    pub fn is_empty(&self) -> bool {
        self.transfers.is_empty() && self.leads.is_empty()
    }
}

/// A replica goes from one node to another: one change of the shard's placement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// The shard.
    pub shard: ShardId,
    /// The generation of its placement that this changes; the next transfer of the same shard names the one after it.
    pub generation: u64,
    /// The replica that goes, and its node. `None`: the shard lacks one.
    pub from: Option<Place>,
    /// The node that gets a new replica.
    pub to: String,
    /// Bytes to be copied.
    pub bytes: u64,
    /// Why.
    pub why: Why,
}

/// A replica and its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The replica's number.
    pub replica: u64,
    /// The node that has it.
    pub node: String,
}

/// Why a replica is moved. Parts of a share are in percent, as they were before the plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Its node does not answer.
    NodeGone,
    /// The directory knows no such node.
    NodeUnknown,
    /// Another replica of the shard is on the same node.
    SameNode,
    /// The shard has fewer replicas than it is to have.
    Missing,
    /// Its node is sick.
    NodeSick,
    /// Its node is being drained.
    NodeDraining,
    /// Its node takes no shards: its weight or its room is 0.
    NodeTakesNone,
    /// Its node's disk is full.
    NodeFull,
    /// Another replica of the shard is in the same zone, and another zone has none.
    SameZone {
        /// The zone.
        zone: String,
    },
    /// Its node has more than its share.
    Overloaded {
        /// What it has of its share.
        percent: u64,
    },
    /// The node that it goes to has less than its share.
    Underloaded {
        /// What it has of its share.
        percent: u64,
    },
    /// The operator wishes it.
    Asked,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::NodeGone => f.write_str("its node does not answer"),
            Why::NodeUnknown => f.write_str("its node is not known"),
            Why::SameNode => f.write_str("its node has the shard twice"),
            Why::Missing => f.write_str("the shard lacks a replica"),
            Why::NodeSick => f.write_str("its node is sick"),
            Why::NodeDraining => f.write_str("its node is being drained"),
            Why::NodeTakesNone => f.write_str("its node takes no shards"),
            Why::NodeFull => f.write_str("its node is full"),
            Why::SameZone { zone } => write!(f, "zone {zone} has the shard twice"),
            Why::Overloaded { percent } => write!(f, "its node has {percent} % of its share"),
            Why::Underloaded { percent } => write!(f, "the target has {percent} % of its share"),
            Why::Asked => f.write_str("the operator wishes it"),
        }
    }
}

/// A shard is to be led by another of its replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lead {
    /// The shard.
    pub shard: ShardId,
    /// The generation of its placement for which this holds: that after its transfers.
    pub generation: u64,
    /// The node that leads, or counts as leading, now. `None`: nobody does.
    pub from: Option<String>,
    /// The node that is to lead.
    pub to: String,
    /// Why.
    pub why: WhyLead,
}

/// Why another replica is to lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyLead {
    /// The one that leads goes, or its node may not lead.
    Leaves,
    /// Its node has more than its share.
    Overloaded,
    /// The other one's node has less than its share.
    Underloaded,
    /// It leads and is to go on, though another comes first once the shard's transfers are done.
    Stays,
}

impl fmt::Display for WhyLead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WhyLead::Leaves => "the leading replica goes or its node may not lead",
            WhyLead::Overloaded => "its node has more than its share",
            WhyLead::Underloaded => "the other node has less than its share",
            WhyLead::Stays => "it is to go on though another replica comes first now",
        })
    }
}

/// What could not be done, or was wrong with the state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// The number of replicas is none that a shard can have: nothing is planned.
    ReplicasInvalid {
        /// The number.
        replicas: u32,
    },
    /// No node may take replicas: nothing is planned.
    NoNodes,
    /// Several nodes have the same id: they keep what they have, and get nothing.
    DuplicateNode {
        /// The id.
        node: String,
    },
    /// Replicas are on a node that is not among the nodes; it counts as gone.
    UnknownNode {
        /// Its id.
        node: String,
        /// How many replicas.
        replicas: u64,
    },
    /// An active node takes nothing, since its weight or its room is 0.
    NoCapacity {
        /// Its id.
        node: String,
    },
    /// Fewer zones can take replicas than a shard has: some share one.
    FewZones {
        /// Zones that can.
        zones: u64,
        /// Replicas of a shard.
        replicas: u32,
    },
    /// Fewer nodes can take replicas than a shard has.
    FewNodes {
        /// Nodes that can.
        nodes: u64,
        /// Replicas of a shard.
        replicas: u32,
    },
    /// Several shards have the same id: they are left alone.
    DuplicateShard {
        /// The id.
        shard: ShardId,
    },
    /// A shard has more replicas than it is to have: the surplus stays.
    Surplus {
        /// The shard.
        shard: ShardId,
        /// Replicas that it has.
        replicas: u64,
    },
    /// Most replicas of a shard are on nodes that are gone, so its members cannot be changed: a node has to come back, or the shard
    /// to be restored from a backup.
    MajorityGone {
        /// The shard.
        shard: ShardId,
        /// Replicas on nodes that answer.
        answering: u64,
        /// All its replicas.
        replicas: u64,
    },
    /// A replica should go, or is lacking, and no node can take it.
    NoPlace {
        /// The shard.
        shard: ShardId,
        /// The node where it stays, if it is anywhere.
        node: Option<String>,
        /// Why it should go.
        why: Why,
    },
    /// A node's disk stays full.
    StaysFull {
        /// Its id.
        node: String,
    },
    /// Replicas of a shard stay in one zone, or get there, since no node elsewhere can take one.
    SharedZone {
        /// The shard.
        shard: ShardId,
        /// The zone.
        zone: String,
    },
    /// A node stays above its share.
    StaysOverloaded {
        /// Its id.
        node: String,
        /// What it will have of its share.
        percent: u64,
    },
    /// A node stays below its share.
    StaysUnderloaded {
        /// Its id.
        node: String,
        /// What it will have of its share.
        percent: u64,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::ReplicasInvalid { replicas } => {
                write!(f, "a shard cannot have {replicas} replicas: nothing is planned")
            }
            Problem::NoNodes => f.write_str("no node can take replicas: add one, or end a drain"),
            Problem::DuplicateNode { node } => {
                write!(
                    f,
                    "{node} is the id of several nodes: they keep what they have and get nothing"
                )
            }
            Problem::UnknownNode { node, replicas } => {
                write!(
                    f,
                    "{node} has {replicas} replicas and is not known: it counts as gone"
                )
            }
            Problem::NoCapacity { node } => write!(f, "{node} has no weight or no room: it gets nothing"),
            Problem::FewZones { zones, replicas } => write!(
                f,
                "{zones} zones can take replicas, and each shard has {replicas}: some share a zone"
            ),
            Problem::FewNodes { nodes, replicas } => write!(
                f,
                "{nodes} nodes can take replicas, and each shard is to have {replicas}: add nodes"
            ),
            Problem::DuplicateShard { shard } => {
                write!(f, "{shard} is the id of several shards: they are left alone")
            }
            Problem::Surplus { shard, replicas } => {
                write!(
                    f,
                    "shard {shard} has {replicas} replicas, more than it is to have: they stay"
                )
            }
            Problem::MajorityGone {
                shard,
                answering,
                replicas,
            } => write!(
                f,
                "shard {shard}: {answering} of {replicas} replicas answer, so its members cannot be changed: bring a node \
                 back, or restore it from a backup"
            ),
            Problem::NoPlace { shard, node, why } => match node {
                Some(node) => write!(f, "shard {shard} stays on {node}, for no node can take it: {why}"),
                None => write!(
                    f,
                    "shard {shard} gets no further replica, for no node can take one"
                ),
            },
            Problem::StaysFull { node } => {
                write!(
                    f,
                    "{node} stays full, for no node can take enough of it: add nodes or disks"
                )
            }
            Problem::SharedZone { shard, zone } => write!(
                f,
                "shard {shard} has several replicas in zone {zone}, for no node elsewhere can take one"
            ),
            Problem::StaysOverloaded { node, percent } => write!(
                f,
                "{node} stays at {percent} % of its share: nothing that it has fits elsewhere"
            ),
            Problem::StaysUnderloaded { node, percent } => write!(
                f,
                "{node} stays at {percent} % of its share: nothing fits that others can give"
            ),
        }
    }
}

/// Whether a node of this condition may lead and get replicas.
pub(super) fn may_have(condition: Condition) -> bool {
    condition == Condition::Active
}
