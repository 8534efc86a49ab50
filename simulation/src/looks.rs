//! What has to hold of all replicas as they are, at every look: a term has one leader, and those that have applied the same
//! entries store the same bytes.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use rookery_replication::group::Member;
use rookery_replication::log::Position;
use rookery_replication::view::View;
use rookery_replication::{Column, GroupId};

use crate::machine::Machine;
use crate::run::Run;

/// What was found at earlier looks.
#[derive(Default)]
pub struct Looks {
    /// The replica that was found to lead a term.
    leaders: BTreeMap<(GroupId, u64), u64>,
    /// What was found stored after which entry first, and by whom.
    stored: BTreeMap<(GroupId, u64), (Position, u64, String)>,
}

impl Looks {
    /// Judges all replicas of a moment, on machines that give their nodes.
    pub fn look<T>(&mut self, run: &Run, machines: &[Machine<T>], node: impl Fn(&T) -> Option<&Arc<Member>>) {
        for machine in machines {
            let Some(member) = machine.what_runs().and_then(&node) else {
                continue;
            };
            for group in member.groups() {
                let (id, replica) = (group.id(), group.replica().0);
                let standing = group.standing();
                if standing.leads {
                    self.leads(run, id, standing.term, replica);
                }
                if let Some(applied) = group.applied() {
                    let digest = digest(member.store().as_ref(), id);
                    self.stores(run, id, applied, digest, &machine.name);
                }
            }
        }
    }

    fn leads(&mut self, run: &Run, group: GroupId, term: u64, replica: u64) {
        let first = *self.leaders.entry((group, term)).or_insert_with(|| {
            run.count("leaders seen");
            replica
        });
        if first != replica {
            run.violated(format!(
                "a term has one leader: {group:?} has replicas {first} and {replica} in term {term}"
            ));
        }
    }

    fn stores(&mut self, run: &Run, group: GroupId, applied: Position, digest: u64, node: &str) {
        let (at, stored, first) = self
            .stored
            .entry((group, applied.index))
            .or_insert_with(|| (applied, digest, node.to_owned()));
        if (*at, *stored) != (applied, digest) {
            run.violated(format!(
                "replicas are equal: {group:?} differs on {first} and {node} after {at:?} and {applied:?}"
            ));
        }
    }
}

/// All that a group stores, as a number.
fn digest(view: &dyn View, group: GroupId) -> u64 {
    let (from, to) = group.key_range();
    let mut hasher = DefaultHasher::new();
    for column in Column::ALL {
        hasher.write_u8(column as u8);
        view.scan(column, &from, &to, &mut |key, value| {
            hasher.write_usize(key.len());
            hasher.write(key);
            hasher.write_usize(value.len());
            hasher.write(value);
            true
        })
        .expect("reads");
    }
    hasher.finish()
}
