//! A plan as it is kept while it is carried out: one row for the whole, one for each transfer and each lead, so that no entry of the
//! log grows with the cluster. Rows carry the format's version, as all rows of the directory do.

use prost::Message;

use super::plan::{Lead, Place, Plan, Transfer, Why, WhyLead};
use crate::schema::ShardId;
use crate::schema::row::{Row, RowError};

/// What is kept of a plan as a whole.
#[derive(Clone, PartialEq, Message)]
pub struct PlanRow {
    /// Version of the directory's state that it was made from: another one's is stale.
    #[prost(uint64, tag = "1")]
    pub state_version: u64,
    /// How many transfers there are.
    #[prost(uint64, tag = "2")]
    pub transfers: u64,
    /// How many changes of leads there are.
    #[prost(uint64, tag = "3")]
    pub leads: u64,
    /// Bytes of all transfers.
    #[prost(uint64, tag = "4")]
    pub bytes: u64,
}

impl Row for PlanRow {
    const WHAT: &'static str = "rebalance plan";
}

/// A transfer of a plan.
#[derive(Clone, PartialEq, Message)]
pub struct TransferRow {
    /// The shard.
    #[prost(uint32, tag = "1")]
    pub shard: u32,
    /// The generation that it changes.
    #[prost(uint64, tag = "2")]
    pub generation: u64,
    /// The replica that goes; with an empty node, none does.
    #[prost(uint64, tag = "3")]
    pub from_replica: u64,
    /// The node that it goes from.
    #[prost(string, tag = "4")]
    pub from_node: String,
    /// The node that gets one.
    #[prost(string, tag = "5")]
    pub to_node: String,
    /// Bytes to be copied.
    #[prost(uint64, tag = "6")]
    pub bytes: u64,
    /// Why.
    #[prost(enumeration = "Reason", tag = "7")]
    pub reason: i32,
    /// What a node had of its share, in percent, for the reasons that tell it.
    #[prost(uint64, tag = "8")]
    pub percent: u64,
    /// The zone, for the reason that tells it.
    #[prost(string, tag = "9")]
    pub zone: String,
}

impl Row for TransferRow {
    const WHAT: &'static str = "transfer";
}

/// A change of who leads.
#[derive(Clone, PartialEq, Message)]
pub struct LeadRow {
    /// The shard.
    #[prost(uint32, tag = "1")]
    pub shard: u32,
    /// The generation for which it holds.
    #[prost(uint64, tag = "2")]
    pub generation: u64,
    /// Who led; empty: nobody.
    #[prost(string, tag = "3")]
    pub from_node: String,
    /// Who is to lead.
    #[prost(string, tag = "4")]
    pub to_node: String,
    /// Why: 1 the leading one leaves, 2 its node is overloaded, 3 the other one is underloaded.
    #[prost(uint32, tag = "5")]
    pub reason: u32,
}

impl Row for LeadRow {
    const WHAT: &'static str = "change of a lead";
}

/// [`Why`], without what it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Reason {
    /// Never stored.
    Unknown = 0,
    /// [`Why::NodeGone`].
    NodeGone = 1,
    /// [`Why::NodeUnknown`].
    NodeUnknown = 2,
    /// [`Why::SameNode`].
    SameNode = 3,
    /// [`Why::Missing`].
    Missing = 4,
    /// [`Why::NodeSick`].
    NodeSick = 5,
    /// [`Why::NodeDraining`].
    NodeDraining = 6,
    /// [`Why::NodeTakesNone`].
    NodeTakesNone = 7,
    /// [`Why::NodeFull`].
    NodeFull = 8,
    /// [`Why::SameZone`].
    SameZone = 9,
    /// [`Why::Overloaded`].
    Overloaded = 10,
    /// [`Why::Underloaded`].
    Underloaded = 11,
}

impl From<&Plan> for PlanRow {
    fn from(plan: &Plan) -> Self {
        Self {
            state_version: plan.state_version,
            transfers: plan.transfers.len() as u64,
            leads: plan.leads.len() as u64,
            bytes: plan.bytes,
        }
    }
}

impl From<&Transfer> for TransferRow {
    fn from(transfer: &Transfer) -> Self {
        let (reason, percent, zone) = match &transfer.why {
            Why::NodeGone => (Reason::NodeGone, 0, ""),
            Why::NodeUnknown => (Reason::NodeUnknown, 0, ""),
            Why::SameNode => (Reason::SameNode, 0, ""),
            Why::Missing => (Reason::Missing, 0, ""),
            Why::NodeSick => (Reason::NodeSick, 0, ""),
            Why::NodeDraining => (Reason::NodeDraining, 0, ""),
            Why::NodeTakesNone => (Reason::NodeTakesNone, 0, ""),
            Why::NodeFull => (Reason::NodeFull, 0, ""),
            Why::SameZone { zone } => (Reason::SameZone, 0, zone.as_str()),
            Why::Overloaded { percent } => (Reason::Overloaded, *percent, ""),
            Why::Underloaded { percent } => (Reason::Underloaded, *percent, ""),
        };
        let (from_replica, from_node) = match &transfer.from {
            Some(from) => (from.replica, from.node.clone()),
            None => (0, String::new()),
        };
        Self {
            shard: transfer.shard.0,
            generation: transfer.generation,
            from_replica,
            from_node,
            to_node: transfer.to.clone(),
            bytes: transfer.bytes,
            reason: reason.into(),
            percent,
            zone: zone.to_owned(),
        }
    }
}

impl TryFrom<TransferRow> for Transfer {
    type Error = RowError;

    fn try_from(row: TransferRow) -> Result<Self, RowError> {
        let percent = row.percent;
        let why = match row.reason() {
            Reason::Unknown => return Err(RowError::Damaged(TransferRow::WHAT)),
            Reason::NodeGone => Why::NodeGone,
            Reason::NodeUnknown => Why::NodeUnknown,
            Reason::SameNode => Why::SameNode,
            Reason::Missing => Why::Missing,
            Reason::NodeSick => Why::NodeSick,
            Reason::NodeDraining => Why::NodeDraining,
            Reason::NodeTakesNone => Why::NodeTakesNone,
            Reason::NodeFull => Why::NodeFull,
            Reason::SameZone => Why::SameZone {
                zone: row.zone.clone(),
            },
            Reason::Overloaded => Why::Overloaded { percent },
            Reason::Underloaded => Why::Underloaded { percent },
        };
        Ok(Self {
            shard: ShardId(row.shard),
            generation: row.generation,
            from: (!row.from_node.is_empty()).then_some(Place {
                replica: row.from_replica,
                node: row.from_node,
            }),
            to: row.to_node,
            bytes: row.bytes,
            why,
        })
    }
}

impl From<&Lead> for LeadRow {
    fn from(lead: &Lead) -> Self {
        Self {
            shard: lead.shard.0,
            generation: lead.generation,
            from_node: lead.from.clone().unwrap_or_default(),
            to_node: lead.to.clone(),
            reason: match lead.why {
                WhyLead::Leaves => 1,
                WhyLead::Overloaded => 2,
                WhyLead::Underloaded => 3,
            },
        }
    }
}

impl TryFrom<LeadRow> for Lead {
    type Error = RowError;

    fn try_from(row: LeadRow) -> Result<Self, RowError> {
        Ok(Self {
            shard: ShardId(row.shard),
            generation: row.generation,
            from: (!row.from_node.is_empty()).then_some(row.from_node),
            to: row.to_node,
            why: match row.reason {
                1 => WhyLead::Leaves,
                2 => WhyLead::Overloaded,
                3 => WhyLead::Underloaded,
                _ => return Err(RowError::Damaged(LeadRow::WHAT)),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(why: Why, from: Option<Place>) -> Transfer {
        Transfer {
            shard: ShardId(7),
            generation: 3,
            from,
            to: "mailstore-4".to_owned(),
            bytes: 300,
            why,
        }
    }

    #[test]
    fn every_reason_reads_back() {
        let place = Place {
            replica: 9,
            node: "mailstore-1".to_owned(),
        };
        let zone = "a".to_owned();
        for why in [
            Why::NodeGone,
            Why::NodeUnknown,
            Why::SameNode,
            Why::Missing,
            Why::NodeSick,
            Why::NodeDraining,
            Why::NodeTakesNone,
            Why::NodeFull,
            Why::SameZone { zone },
            Why::Overloaded { percent: 120 },
            Why::Underloaded { percent: 0 },
        ] {
            for from in [None, Some(place.clone())] {
                let transfer = transfer(why.clone(), from);
                let stored = TransferRow::from(&transfer).to_stored();
                let row = TransferRow::from_stored(&stored).unwrap();
                assert_eq!(Transfer::try_from(row), Ok(transfer));
            }
        }
        for why in [WhyLead::Leaves, WhyLead::Overloaded, WhyLead::Underloaded] {
            let lead = Lead {
                shard: ShardId(1),
                generation: 2,
                from: None,
                to: "b".to_owned(),
                why,
            };
            assert_eq!(Lead::try_from(LeadRow::from(&lead)), Ok(lead));
        }
        assert!(Transfer::try_from(TransferRow::default()).is_err());
        assert!(Lead::try_from(LeadRow::default()).is_err());
    }

    #[test]
    fn the_stored_form_stays() {
        // Bytes as version 1 wrote them: a change here needs a new version that reads the old one.
        let from = Place {
            replica: 9,
            node: "a".to_owned(),
        };
        let mut transfer = transfer(Why::Overloaded { percent: 120 }, Some(from));
        transfer.to = "b".to_owned();
        assert_eq!(
            TransferRow::from(&transfer).to_stored(),
            b"\x01\x08\x07\x10\x03\x18\x09\x22\x01a\x2a\x01b\x30\xac\x02\x38\x0a\x40\x78"
        );
    }
}
