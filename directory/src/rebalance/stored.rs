//! A rebalance as it is kept while it is carried out: one row for the whole, one for each transfer and each lead, so that no entry of
//! the log grows with the cluster. Rows carry the format's version, as all rows of the directory do.

use prost::Message;

use super::plan::{Lead, Place, Transfer, Why, WhyLead};
use crate::schema::ShardId;
use crate::schema::row::{Row, RowError};

/// A rebalance: a plan that is being carried out, or was.
#[derive(Clone, PartialEq, Message)]
pub struct JobRow {
    /// Its number; above that of every one before.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// How it stands.
    #[prost(enumeration = "JobState", tag = "2")]
    pub state: i32,
    /// How many transfers there are.
    #[prost(uint32, tag = "3")]
    pub transfers: u32,
    /// How many changes of leads there are.
    #[prost(uint32, tag = "4")]
    pub leads: u32,
    /// When it was begun, unix milliseconds.
    #[prost(uint64, tag = "5")]
    pub began_at_millis: u64,
    /// When it ended, unix milliseconds; 0 while it is under way.
    #[prost(uint64, tag = "6")]
    pub ended_at_millis: u64,
    /// Transfers that a node may have a part in at one time; at least 1.
    #[prost(uint32, tag = "7")]
    pub transfers_max: u32,
    /// Bytes a second that a node fetches at most; 0: as its configuration says.
    #[prost(uint64, tag = "8")]
    pub bytes_per_second: u64,
    /// Why it was begun without an operator's word; empty when it was theirs.
    #[prost(string, tag = "9")]
    pub own_reason: String,
}

impl Row for JobRow {
    const WHAT: &'static str = "rebalance";
}

/// How a rebalance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum JobState {
    /// Its rows are being written: none of it has been begun. One that is found so by a new leader is given up.
    Storing = 0,
    /// It goes on.
    Running = 1,
    /// No transfer is begun.
    Paused = 2,
    /// What has been begun is taken back, or ended where it cannot be.
    Aborting = 3,
    /// All that could be done is done.
    Done = 4,
    /// It was broken off.
    Aborted = 5,
}

impl JobState {
    /// Whether something is to be done still.
    pub fn is_under_way(self) -> bool {
        !matches!(self, Self::Done | Self::Aborted)
    }
}

/// How a transfer or a change of a lead stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Stage {
    /// Not begun.
    Waiting = 0,
    /// The placement names the new replica, which is filled and then votes. Or: it names who is to lead.
    Changing = 1,
    /// The new replica votes; the old one's files are being removed.
    Removing = 2,
    /// Done.
    Done = 3,
    /// Not begun, and not to be.
    Skipped = 4,
    /// The placement names the old replica again.
    Reverting = 5,
    /// As it was before.
    Reverted = 6,
}

impl Stage {
    /// Whether it has been begun and not ended.
    pub fn is_under_way(self) -> bool {
        matches!(self, Self::Changing | Self::Removing | Self::Reverting)
    }

    /// Whether nothing more comes of it.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Skipped | Self::Reverted)
    }
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
    /// How it stands.
    #[prost(enumeration = "Stage", tag = "10")]
    pub stage: i32,
    /// Where the replica that goes was among the shard's.
    #[prost(uint32, tag = "11")]
    pub slot: u32,
    /// When it was begun, unix milliseconds.
    #[prost(uint64, tag = "12")]
    pub began_at_millis: u64,
    /// When it ended, unix milliseconds.
    #[prost(uint64, tag = "13")]
    pub ended_at_millis: u64,
    /// Why it was skipped or taken back.
    #[prost(string, tag = "14")]
    pub why_not: String,
    /// The replica that goes was not open yet.
    #[prost(bool, tag = "15")]
    pub from_unopened: bool,
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
    /// How it stands.
    #[prost(enumeration = "Stage", tag = "6")]
    pub stage: i32,
    /// When it was begun, unix milliseconds.
    #[prost(uint64, tag = "7")]
    pub began_at_millis: u64,
    /// Why it was skipped.
    #[prost(string, tag = "8")]
    pub why_not: String,
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
    /// [`Why::Asked`].
    Asked = 12,
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
            Why::Asked => (Reason::Asked, 0, ""),
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
            ..Self::default()
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
            Reason::Asked => Why::Asked,
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
                WhyLead::Stays => 4,
            },
            ..Self::default()
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
                4 => WhyLead::Stays,
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
            Why::Asked,
        ] {
            for from in [None, Some(place.clone())] {
                let transfer = transfer(why.clone(), from);
                let stored = TransferRow::from(&transfer).to_stored();
                let row = TransferRow::from_stored(&stored).unwrap();
                assert_eq!(Transfer::try_from(row), Ok(transfer));
            }
        }
        for why in [
            WhyLead::Leaves,
            WhyLead::Overloaded,
            WhyLead::Underloaded,
            WhyLead::Stays,
        ] {
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
