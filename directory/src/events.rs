//! What happens in the cluster that operators care about: one row for each event, the newest [`EVENTS_MAX`] of them.
//!
//! An event is written by the mutation that makes it happen, in the same batch, so that it is told once or, with its cause, not at
//! all. Owns the rows and what they say; decides nothing.

use std::fmt::Write;

use prost::Message;
use rookery_replication::{Batch, Column};

use crate::rebalance::stored::{JobRow, JobState, Stage, TransferRow};
use crate::schema::row::{Row, Sequences};
use crate::schema::split::{SplitRow, SplitState};
use crate::schema::{ShardId, key};

/// Events that are kept; the oldest goes when another comes.
pub const EVENTS_MAX: u64 = 4_096;

/// What kind of thing has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// Of a newer program.
    Unknown = 0,
    /// A node is there for the first time.
    NodeRegistered = 1,
    /// Nothing has been heard of a node for too long.
    NodeSilent = 2,
    /// A silent node was heard again.
    NodeBack = 3,
    /// A node is to be emptied.
    NodeDrained = 4,
    /// It is not to be emptied any more.
    NodeKept = 5,
    /// A node was forgotten.
    NodeRemoved = 6,
    /// The shards have their first places.
    ShardsPlaced = 7,
    /// A shard's placement names another node.
    ShardMoved = 8,
    /// A lost replica is made anew.
    ReplicaReplaced = 9,
    /// The old replica of a transfer is gone.
    TransferDone = 10,
    /// A transfer was not begun, as the placement was another by then.
    TransferSkipped = 11,
    /// A transfer was taken back.
    TransferReverted = 12,
    /// A rebalance has begun.
    RebalanceBegun = 13,
    /// No more of its transfers are begun.
    RebalancePaused = 14,
    /// It goes on, perhaps within other limits.
    RebalanceResumed = 15,
    /// It is being broken off.
    RebalanceAborting = 16,
    /// It has ended as it was to.
    RebalanceDone = 17,
    /// It was broken off.
    RebalanceAborted = 18,
    /// A member has taken the lead of the directory.
    DirectoryLed = 19,
    /// A silent mailstore was given up without an operator's word.
    NodeGivenUp = 20,
    /// A shard is given away by half.
    SplitBegun = 21,
    /// No more of its accounts set out.
    SplitAborting = 22,
    /// The split has ended as it was to.
    SplitDone = 23,
    /// The split was broken off.
    SplitAborted = 24,
    /// A join secret was made for a node.
    NodeInvited = 30,
    /// A node was given its certificate for a join secret.
    NodeIssued = 31,
    /// A join was revoked.
    NodeRevoked = 32,
    /// A node of the id of one that was removed is taken in again.
    NodeReadmitted = 33,
}

impl Kind {
    /// Its name for programs; never given to another.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::NodeRegistered => "node-registered",
            Self::NodeSilent => "node-silent",
            Self::NodeBack => "node-back",
            Self::NodeDrained => "node-drained",
            Self::NodeKept => "node-kept",
            Self::NodeRemoved => "node-removed",
            Self::ShardsPlaced => "shards-placed",
            Self::ShardMoved => "shard-moved",
            Self::ReplicaReplaced => "replica-replaced",
            Self::TransferDone => "transfer-done",
            Self::TransferSkipped => "transfer-skipped",
            Self::TransferReverted => "transfer-reverted",
            Self::RebalanceBegun => "rebalance-begun",
            Self::RebalancePaused => "rebalance-paused",
            Self::RebalanceResumed => "rebalance-resumed",
            Self::RebalanceAborting => "rebalance-aborting",
            Self::RebalanceDone => "rebalance-done",
            Self::RebalanceAborted => "rebalance-aborted",
            Self::DirectoryLed => "directory-led",
            Self::NodeGivenUp => "node-given-up",
            Self::SplitBegun => "split-begun",
            Self::SplitAborting => "split-aborting",
            Self::SplitDone => "split-done",
            Self::SplitAborted => "split-aborted",
            Self::NodeInvited => "node-invited",
            Self::NodeIssued => "node-issued",
            Self::NodeRevoked => "node-revoked",
            Self::NodeReadmitted => "node-readmitted",
        }
    }
}

/// An event as it is kept, under its number.
#[derive(Clone, PartialEq, Message)]
pub struct EventRow {
    /// When it was written, unix milliseconds.
    #[prost(uint64, tag = "1")]
    pub at_millis: u64,
    /// What kind of thing.
    #[prost(enumeration = "Kind", tag = "2")]
    pub kind: i32,
    /// Whom or what it is about: a node's id, a shard's number, a rebalance's.
    #[prost(string, tag = "3")]
    pub subject: String,
    /// One sentence.
    #[prost(string, tag = "4")]
    pub text: String,
}

impl Row for EventRow {
    const WHAT: &'static str = "event";
}

/// An event that a mutation tells of; when, and under which number, is decided as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What kind of thing.
    pub kind: Kind,
    /// Whom or what it is about.
    pub subject: String,
    /// One sentence.
    pub text: String,
}

/// Puts events into a batch under the numbers that follow, and has the oldest go.
pub fn append(batch: &mut Batch, sequences: &mut Sequences, events: Vec<Event>, now: u64) {
    for event in events {
        sequences.events += 1;
        let row = EventRow {
            at_millis: now,
            kind: event.kind.into(),
            subject: event.subject,
            text: event.text,
        };
        batch.put(Column::Rows, key::event(sequences.events), row.to_stored());
        if let Some(oldest) = sequences
            .events
            .checked_sub(EVENTS_MAX)
            .filter(|oldest| *oldest > 0)
        {
            batch.delete(Column::Rows, key::event(oldest));
        }
    }
}

/// Of a node, by a sentence that begins with its id.
pub(crate) fn of_node(kind: Kind, node: &str, rest: &str) -> Event {
    Event {
        kind,
        subject: node.to_owned(),
        text: format!("{node} {rest}"),
    }
}

/// The shards have their first places.
pub(crate) fn placed(shards: usize, mailstores: usize) -> Event {
    Event {
        kind: Kind::ShardsPlaced,
        subject: "shards".to_owned(),
        text: format!("{shards} shards have their places on {mailstores} mailstores"),
    }
}

/// A lost replica is made anew.
pub(crate) fn replaced(shard: ShardId, node: &str) -> Event {
    Event {
        kind: Kind::ReplicaReplaced,
        subject: shard.to_string(),
        text: format!("the replica of shard {shard} on {node} was lost: a new one is filled from the others"),
    }
}

/// A transfer has changed its shard's placement, or changed it back.
pub(crate) fn moved(transfer: &TransferRow, job: u64) -> Event {
    let TransferRow {
        shard,
        from_node,
        to_node,
        ..
    } = transfer;
    let text = match (transfer.stage(), from_node.as_str()) {
        (Stage::Reverting, "") => format!("shard {shard} is to have no replica on {to_node} after all"),
        (Stage::Reverting, _) => {
            format!("shard {shard} is to stay on {from_node} and not to go to {to_node}")
        }
        (_, "") => format!("shard {shard} gets one more replica, on {to_node} (rebalance {job})"),
        _ => format!("shard {shard} goes from {from_node} to {to_node} (rebalance {job})"),
    };
    Event {
        kind: Kind::ShardMoved,
        subject: shard.to_string(),
        text: with_reason(text, &transfer.why_not),
    }
}

/// A transfer is over; nothing is told of one that is not.
pub(crate) fn over(transfer: &TransferRow, job: u64) -> Option<Event> {
    let (kind, outcome) = match transfer.stage() {
        Stage::Done => (Kind::TransferDone, "is done"),
        Stage::Skipped => (Kind::TransferSkipped, "was skipped"),
        Stage::Reverted => (Kind::TransferReverted, "was taken back"),
        _ => return None,
    };
    let text = format!(
        "the transfer of shard {} to {} {outcome} (rebalance {job})",
        transfer.shard, transfer.to_node
    );
    Some(Event {
        kind,
        subject: transfer.shard.to_string(),
        text: with_reason(text, &transfer.why_not),
    })
}

fn with_reason(mut text: String, why_not: &str) -> String {
    if !why_not.is_empty() {
        // Writing to a string does not fail.
        let _ = write!(text, ": {why_not}");
    }
    text
}

/// A rebalance has begun, with these transfers.
pub(crate) fn begun(job: &JobRow, transfers: &[TransferRow]) -> Event {
    let bytes: u64 = transfers.iter().map(|transfer| transfer.bytes).sum();
    let by_itself = match job.own_reason.as_str() {
        "" => String::new(),
        why => format!(" without an operator's word, for {why}"),
    };
    of_job(
        Kind::RebalanceBegun,
        job.id,
        &format!(
            "has begun{by_itself}: {} transfers of {bytes} bytes, {} changes of leads",
            job.transfers, job.leads
        ),
    )
}

/// A rebalance has ended, and its transfers stand so.
pub(crate) fn ended(job: &JobRow, transfers: &[TransferRow]) -> Event {
    let of = |stage: Stage| transfers.iter().filter(move |transfer| transfer.stage() == stage);
    let bytes: u64 = of(Stage::Done).map(|transfer| transfer.bytes).sum();
    let (kind, outcome) = match job.state() {
        JobState::Done => (Kind::RebalanceDone, "is done"),
        _ => (Kind::RebalanceAborted, "was aborted"),
    };
    let seconds = job.ended_at_millis.saturating_sub(job.began_at_millis) / 1_000;
    let mut rest = format!(
        "{outcome} after {seconds} s: {} of {} transfers, {bytes} bytes",
        of(Stage::Done).count(),
        job.transfers
    );
    for (stage, word) in [(Stage::Skipped, "skipped"), (Stage::Reverted, "taken back")] {
        let count = of(stage).count();
        if count > 0 {
            // Writing to a string does not fail.
            let _ = write!(rest, ", {count} {word}");
        }
    }
    of_job(kind, job.id, &rest)
}

/// Of a rebalance, by a sentence that goes on so.
pub(crate) fn of_job(kind: Kind, job: u64, rest: &str) -> Event {
    Event {
        kind,
        subject: job.to_string(),
        text: format!("rebalance {job} {rest}"),
    }
}

/// A split has begun, with the new shard on these nodes.
pub(crate) fn split_begun(split: &SplitRow, nodes: &[String]) -> Event {
    of_split(
        Kind::SplitBegun,
        split,
        &format!(
            "has begun: {} accounts go to the new shard {} on {}",
            split.expected,
            split.to,
            nodes.join(", ")
        ),
    )
}

/// A split has ended.
pub(crate) fn split_ended(split: &SplitRow) -> Event {
    let (kind, outcome) = match split.state() {
        SplitState::Done => (Kind::SplitDone, "is done"),
        _ => (Kind::SplitAborted, "was aborted"),
    };
    let seconds = split.ended_at_millis.saturating_sub(split.began_at_millis) / 1_000;
    let mut rest = format!(
        "{outcome} after {seconds} s: {} accounts went to shard {}",
        split.moved, split.to
    );
    if split.left > 0 {
        // Writing to a string does not fail.
        let _ = write!(rest, ", {} were left behind", split.left);
    }
    of_split(kind, split, &rest)
}

/// Of a split, by a sentence that goes on so.
pub(crate) fn of_split(kind: Kind, split: &SplitRow, rest: &str) -> Event {
    Event {
        kind,
        subject: split.from.to_string(),
        text: format!("split {} of shard {} {rest}", split.id, split.from),
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use rookery_replication::MemoryStore;

    use super::*;
    use crate::schema::read::Rows;

    #[test]
    fn the_oldest_events_go_and_numbers_ascend() {
        let mut store = MemoryStore::new();
        let mut sequences = Sequences::default();
        let event = of_node(Kind::NodeSilent, "mailstore-1", "is silent");
        for now in 1..=EVENTS_MAX + 3 {
            let mut batch = Batch::new();
            append(&mut batch, &mut sequences, vec![event.clone()], now);
            store.apply(&batch);
        }
        let mut held = Vec::new();
        Rows(&store)
            .scan(&key::events_after(0), |key, row: EventRow| {
                held.push((key::read_event(key).unwrap(), row.at_millis));
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(held.len() as u64, EVENTS_MAX);
        assert_eq!(held.first(), Some(&(4, 4)));
        assert_eq!(held.last(), Some(&(EVENTS_MAX + 3, EVENTS_MAX + 3)));
    }

    #[test]
    fn sentences_give_the_figures() {
        let transfer = |stage: Stage, why_not: &str| TransferRow {
            shard: 7,
            from_node: "a".to_owned(),
            to_node: "d".to_owned(),
            bytes: 100,
            stage: stage.into(),
            why_not: why_not.to_owned(),
            ..TransferRow::default()
        };
        let transfers = [transfer(Stage::Done, ""), transfer(Stage::Reverted, "d is full")];
        let job = JobRow {
            id: 3,
            state: JobState::Aborted.into(),
            transfers: 2,
            leads: 1,
            began_at_millis: 1_000,
            ended_at_millis: 27_000,
            ..JobRow::default()
        };
        assert_eq!(
            begun(&job, &transfers).text,
            "rebalance 3 has begun: 2 transfers of 200 bytes, 1 changes of leads"
        );
        assert_eq!(
            ended(&job, &transfers).text,
            "rebalance 3 was aborted after 26 s: 1 of 2 transfers, 100 bytes, 1 taken back"
        );
        let moved = moved(&transfer(Stage::Changing, ""), 3);
        assert_eq!(moved.text, "shard 7 goes from a to d (rebalance 3)");
        assert_eq!(
            over(&transfers[1], 3).unwrap().text,
            "the transfer of shard 7 to d was taken back (rebalance 3): d is full"
        );
        assert_eq!(over(&transfer(Stage::Changing, ""), 3), None);
    }
}
