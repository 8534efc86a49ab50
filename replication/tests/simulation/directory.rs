//! The directory's part in a simulated run: which node is to hold which replica, under numbers that are never used again.
//!
//! It never fails and is asked without a message; what it says and when is as the real one does.

use std::collections::BTreeMap;

use rookery_replication::GroupId;
use rookery_replication::group::{GroupMember, ReplicaSpec, Start};
use rookery_replication::log::ReplicaId;

/// A replica that a node is to hold.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) replica: ReplicaId,
    pub(crate) node: String,
    /// Its node has it.
    pub(crate) taken: bool,
    /// Its node's disk was lost, and the directory has not been told yet.
    disk_lost: bool,
}

/// Where a group is.
#[derive(Debug, Clone)]
pub(crate) struct Placement {
    first: Vec<GroupMember>,
    pub(crate) places: Vec<Place>,
    /// All of the first replicas have been taken: it may be served.
    pub(crate) formed: bool,
    /// The group's members are those that are named here.
    pub(crate) agreed: bool,
    /// Replicas that are to be members no longer.
    retired: Vec<(ReplicaId, String)>,
    /// Those that no longer are, and are to be removed.
    removable: Vec<(ReplicaId, String)>,
}

impl Placement {
    /// The members that the group is to have.
    pub(crate) fn wanted(&self) -> Vec<GroupMember> {
        let places = self.places.iter();
        places.map(|place| member(place.replica, &place.node)).collect()
    }

    /// Whether nothing is being changed.
    pub(crate) fn is_settled(&self) -> bool {
        let is_there = |place: &Place| place.taken && !place.disk_lost;
        self.formed && self.agreed && self.places.iter().all(is_there)
    }
}

fn member(replica: ReplicaId, node: &str) -> GroupMember {
    GroupMember {
        replica,
        node: node.to_owned(),
        witness: false,
    }
}

/// All placements.
pub(crate) struct Directory {
    groups: BTreeMap<GroupId, Placement>,
    numbers: u64,
    /// A replica that was lost is opened anew under its number: a rule that is broken on purpose.
    reuses_numbers: bool,
}

impl Directory {
    pub(crate) fn new(reuses_numbers: bool) -> Self {
        Self {
            groups: BTreeMap::new(),
            numbers: 0,
            reuses_numbers,
        }
    }

    /// Places a new group on nodes, the first of which leads first.
    pub(crate) fn place(&mut self, group: GroupId, nodes: &[String]) {
        let first: Vec<GroupMember> = nodes.iter().map(|node| member(self.number(), node)).collect();
        let places = first.iter().map(|member| Place {
            replica: member.replica,
            node: member.node.clone(),
            taken: false,
            disk_lost: false,
        });
        let placement = Placement {
            places: places.collect(),
            first,
            formed: false,
            agreed: true,
            retired: Vec::new(),
            removable: Vec::new(),
        };
        self.groups.insert(group, placement);
    }

    fn number(&mut self) -> ReplicaId {
        self.numbers += 1;
        ReplicaId(self.numbers)
    }

    pub(crate) fn groups(&self) -> Vec<GroupId> {
        self.groups.keys().copied().collect()
    }

    pub(crate) fn placement(&self, group: GroupId) -> &Placement {
        &self.groups[&group]
    }

    /// The replica of a group that a node is to hold.
    pub(crate) fn spec(&self, group: GroupId, node: &str) -> Option<ReplicaSpec> {
        let placement = &self.groups[&group];
        let place = placement.places.iter().find(|place| place.node == node)?;
        let is_first = placement.first.iter().any(|first| first.replica == place.replica);
        let start = if place.taken {
            Start::Resume
        } else if is_first {
            Start::Form(placement.first.clone())
        } else {
            Start::Join
        };
        Some(ReplicaSpec {
            group,
            replica: place.replica,
            start,
        })
    }

    /// A node has opened a replica.
    pub(crate) fn taken(&mut self, group: GroupId, replica: ReplicaId) {
        let Some(placement) = self.groups.get_mut(&group) else {
            return;
        };
        for place in &mut placement.places {
            place.taken |= place.replica == replica;
        }
        placement.formed |= placement.places.iter().all(|place| place.taken);
    }

    /// A node's disk has gone, which nobody knows yet.
    pub(crate) fn disk_lost(&mut self, node: &str) {
        let places = self
            .groups
            .values_mut()
            .flat_map(|placement| &mut placement.places);
        for place in places.filter(|place| place.node == node && place.taken) {
            place.disk_lost = true;
        }
    }

    /// A node does not find a replica that it had taken.
    pub(crate) fn lost(&mut self, group: GroupId, replica: ReplicaId) {
        let next = self.number();
        let reused = self.reuses_numbers;
        let Some(placement) = self.groups.get_mut(&group) else {
            return;
        };
        if let Some(place) = placement.places.iter_mut().find(|place| place.replica == replica) {
            (place.taken, place.disk_lost) = (false, false);
            if !reused {
                place.replica = next;
                placement.agreed = false;
            }
        }
    }

    /// Moves a replica to another node.
    pub(crate) fn move_replica(&mut self, group: GroupId, from: &str, to: &str) {
        let next = self.number();
        let Some(placement) = self.groups.get_mut(&group) else {
            return;
        };
        if let Some(place) = placement.places.iter_mut().find(|place| place.node == from) {
            placement.retired.push((place.replica, from.to_owned()));
            *place = Place {
                replica: next,
                node: to.to_owned(),
                taken: false,
                disk_lost: false,
            };
            placement.agreed = false;
        }
    }

    /// A group's leader says that these are its members.
    pub(crate) fn agreed(&mut self, group: GroupId, members: &[GroupMember]) {
        if let Some(placement) = self.groups.get_mut(&group)
            && placement.wanted() == members
        {
            placement.agreed = true;
            placement.removable.append(&mut placement.retired);
        }
    }

    /// Whether a node is to remove a replica that it holds.
    pub(crate) fn is_retired(&self, group: GroupId, replica: ReplicaId, node: &str) -> bool {
        let placement = &self.groups[&group];
        placement
            .removable
            .iter()
            .any(|(retired, at)| *retired == replica && at == node)
    }
}
