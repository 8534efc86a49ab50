//! The members of the directory's own group: which replica each node holds, and the number of the next one.

use std::collections::BTreeSet;

use rookery_replication::{Batch, Column};

use super::{PlanError, Planned};
use crate::events::{self, Kind};
use crate::schema::key;
use crate::schema::read::Rows;
use crate::schema::row::{self, Row};

/// Notes the members as the group was formed with them, unless there is a note.
pub fn note(rows: Rows<'_>, mut formed: Vec<row::Member>) -> Result<Planned<()>, PlanError> {
    let mut batch = Batch::new();
    if rows.members()?.is_none() {
        formed.sort_by(|a, b| a.node.cmp(&b.node));
        let last = formed.iter().map(|member| member.replica).max().unwrap_or(0);
        put(
            &mut batch,
            &row::Members {
                members: formed,
                next_replica: last + 1,
            },
        );
    }
    Ok(Planned::new(batch, ()))
}

/// A node that holds no replica is to be a member: under a number that no replica ever had, in place of the replica that it
/// held. Members that the configuration no longer names go with that. Answers the number.
pub fn join(rows: Rows<'_>, node: &str, configured: &BTreeSet<String>) -> Result<Planned<u64>, PlanError> {
    if !configured.contains(node) {
        return Err(PlanError::Precondition(format!(
            "{node} is not among directory.members of the member that leads"
        )));
    }
    let mut members = rows
        .members()?
        .ok_or_else(|| PlanError::Precondition("the members are not known yet".to_owned()))?;
    let replica = members.next_replica;
    members.next_replica += 1;
    members
        .members
        .retain(|member| member.node != node && configured.contains(&member.node));
    members.members.push(row::Member {
        node: node.to_owned(),
        replica,
    });
    members.members.sort_by(|a, b| a.node.cmp(&b.node));
    let mut batch = Batch::new();
    put(&mut batch, &members);
    Ok(Planned::new(batch, replica))
}

/// A node holds a replica that votes, but another is noted: it has not taken that, and is to stay what it is.
pub fn keep(rows: Rows<'_>, node: &str, held: u64) -> Result<Planned<()>, PlanError> {
    let mut batch = Batch::new();
    if let Some(mut members) = rows.members()? {
        for member in &mut members.members {
            if member.node == node {
                member.replica = held;
            }
        }
        put(&mut batch, &members);
    }
    Ok(Planned::new(batch, ()))
}

/// A member has taken the lead.
pub fn leads(node: &str, term: u64) -> Planned<()> {
    let text = format!("leads the directory (term {term})");
    Planned::new(Batch::new(), ()).telling([events::of_node(Kind::DirectoryLed, node, &text)])
}

fn put(batch: &mut Batch, members: &row::Members) {
    batch.put(Column::Rows, key::members(), members.to_stored());
}

#[cfg(test)]
mod tests {
    use rookery_replication::MemoryStore;

    use super::*;

    fn member(node: &str, replica: u64) -> row::Member {
        row::Member {
            node: node.to_owned(),
            replica,
        }
    }

    fn configured(nodes: &[&str]) -> BTreeSet<String> {
        nodes.iter().map(|node| (*node).to_owned()).collect()
    }

    fn apply<T>(store: &mut MemoryStore, planned: Result<Planned<T>, PlanError>) -> T {
        let planned = planned.unwrap();
        store.apply(&planned.batch);
        planned.reply
    }

    #[test]
    fn a_node_without_a_replica_gets_a_number_that_was_never_used() {
        let mut store = MemoryStore::new();
        let all = configured(&["a", "b", "c"]);
        assert!(matches!(
            join(Rows(&store), "b", &all),
            Err(PlanError::Precondition(_))
        ));
        let formed = vec![member("b", 8), member("a", 7), member("c", 9)];
        let noted = note(Rows(&store), formed.clone());
        apply(&mut store, noted);
        for wanted in [10, 11] {
            let joined = join(Rows(&store), "b", &all);
            assert_eq!(apply(&mut store, joined), wanted);
        }
        // What was noted stays.
        let noted = note(Rows(&store), formed);
        apply(&mut store, noted);
        let members = Rows(&store).members().unwrap().unwrap();
        assert_eq!(members.members, [member("a", 7), member("b", 11), member("c", 9)]);
    }

    #[test]
    fn who_is_not_configured_does_not_get_in_and_goes_when_another_comes() {
        let mut store = MemoryStore::new();
        let formed = vec![member("a", 1), member("b", 2), member("c", 3)];
        let noted = note(Rows(&store), formed);
        apply(&mut store, noted);
        let now = configured(&["a", "b", "d"]);
        assert!(matches!(
            join(Rows(&store), "c", &now),
            Err(PlanError::Precondition(_))
        ));
        let joined = join(Rows(&store), "d", &now);
        assert_eq!(apply(&mut store, joined), 4);
        let members = Rows(&store).members().unwrap().unwrap();
        assert_eq!(members.members, [member("a", 1), member("b", 2), member("d", 4)]);
    }
}
