//! A shard's group on a made-up cluster: it goes after its placement one step of its membership at a time, as long as a majority
//! answers; and what its nodes say of that.

use std::collections::{BTreeSet, HashMap};

use rookery_directory::rebalance::Condition;
use rookery_directory::rebalance::steps::{Membership, Step};
use rookery_directory::schema::row;

use super::world::{Draw, SimShard, World};

/// A replica: its number, its node.
pub(crate) type Member = (u64, usize);

/// The longest copy, in milliseconds.
const COPY_MAX: usize = 6_000;

/// The nodes: who answers, and what their disks hold.
pub(crate) struct Cluster {
    names: Vec<String>,
    indices: HashMap<String, usize>,
    /// Since when a node does not answer.
    silent: Vec<Option<u64>>,
    bytes: Vec<u64>,
    bytes_max: Vec<u64>,
}

impl Cluster {
    pub(crate) fn new(world: &World) -> Self {
        let names: Vec<String> = world.nodes.iter().map(|node| node.id.clone()).collect();
        let gone = |condition| (condition == Condition::Gone).then_some(0);
        let mut cluster = Self {
            indices: names.iter().cloned().zip(0..).collect(),
            names,
            silent: world.nodes.iter().map(|node| gone(node.condition)).collect(),
            bytes: vec![0; world.nodes.len()],
            bytes_max: world.nodes.iter().map(|node| node.bytes_max).collect(),
        };
        for shard in &world.shards {
            for (_, node) in &shard.replicas {
                cluster.bytes[*node] += shard.bytes as u64;
            }
        }
        cluster
    }

    pub(crate) fn name(&self, node: usize) -> &str {
        &self.names[node]
    }

    pub(crate) fn members(&self, placement: &row::Shard) -> Vec<Member> {
        let replicas = placement.replicas.iter();
        replicas
            .map(|replica| (replica.id, self.indices[&replica.node]))
            .collect()
    }

    pub(crate) fn lose(&mut self, node: usize, now: u64) {
        self.silent[node] = Some(now);
    }

    fn answers(&self, (_, node): &Member) -> bool {
        self.silent[*node].is_none()
    }

    pub(crate) fn answering(&self) -> impl Iterator<Item = &str> {
        let nodes = self.names.iter().zip(&self.silent);
        nodes
            .filter(|(_, silent)| silent.is_none())
            .map(|(name, _)| name.as_str())
    }

    /// For how long the others have been silent.
    pub(crate) fn silent(&self, now: u64) -> HashMap<String, u64> {
        let nodes = self.names.iter().zip(&self.silent);
        nodes
            .filter_map(|(name, since)| Some((name.clone(), now - (*since)?)))
            .collect()
    }

    /// A disk gets a replica. Panics when there is no room for it.
    fn fill(&mut self, node: usize, bytes: u64) {
        self.bytes[node] += bytes;
        assert!(
            self.bytes[node] <= self.bytes_max[node],
            "{} is overfilled",
            self.names[node]
        );
    }
}

/// A shard's group.
#[derive(Debug)]
pub(crate) struct Group {
    membership: Membership<Member>,
    /// When the learner has all.
    copied_at: u64,
    /// Replicas whose files are on a disk still, of none that the placement names.
    leftovers: BTreeSet<Member>,
}

impl Group {
    /// At rest, as the shard is.
    pub(crate) fn of(shard: &SimShard) -> Self {
        let leader = shard.leader;
        let leads = |(_, node): &&Member| Some(*node) == leader;
        Self {
            membership: Membership::new(shard.replicas.clone(), shard.replicas.iter().find(leads).copied()),
            copied_at: 0,
            leftovers: BTreeSet::new(),
        }
    }

    pub(crate) fn has_majority(&self, cluster: &Cluster) -> bool {
        self.membership.has_majority(|member| cluster.answers(member))
    }

    /// The replicas that vote, as the leader says; none while that changes.
    pub(crate) fn voters(&self) -> Vec<u64> {
        match self.membership.joining {
            None => self
                .membership
                .voters
                .iter()
                .map(|(replica, _)| *replica)
                .collect(),
            Some(_) => Vec::new(),
        }
    }

    pub(crate) fn leader(&self) -> Option<usize> {
        self.membership.leader.map(|(_, node)| node)
    }

    pub(crate) fn leftovers(&self) -> impl Iterator<Item = Member> {
        self.leftovers.iter().copied()
    }

    /// Whether nothing is left to be done; what is on nodes that do not answer is removed when they are back.
    pub(crate) fn is_at_rest(&self, placement: &[Member], cluster: &Cluster) -> bool {
        let membership = &self.membership;
        let votes = |member| membership.voters.contains(member);
        membership.joining.is_none()
            && membership.learner.is_none()
            && membership.voters.len() == placement.len()
            && placement.iter().all(votes)
            && !self.leftovers.iter().any(|member| cluster.answers(member))
    }

    /// Takes the next step to where the placement says, if there is one.
    pub(crate) fn go_on(
        &mut self,
        placement: &[Member],
        bytes: u64,
        cluster: &mut Cluster,
        draw: &mut Draw,
        now: u64,
    ) {
        // Each node removes what no placement names, once it is no member any more.
        let membership = &mut self.membership;
        self.leftovers.retain(|member| !cluster.answers(member));
        membership.leaving = None;
        if membership.joining.is_some() {
            self.settle(placement, cluster);
            return;
        }
        self.elect(placement, cluster);
        let membership = &mut self.membership;
        let new = placement
            .iter()
            .copied()
            .find(|member| !membership.voters.contains(member));
        let answers = |member: &Member| cluster.answers(member);
        if membership.learner.is_some() && membership.learner != new {
            // The placement names another by now.
            self.leftovers.extend(membership.learner.take());
            return;
        }
        let Some(new) = new else { return };
        let old = membership
            .voters
            .iter()
            .copied()
            .find(|member| !placement.contains(member));
        if membership.learner.is_none() {
            if answers(&new) && membership.take(Step::Learn, old, new, answers).is_ok() {
                self.copied_at = now + draw.below(COPY_MAX) as u64;
                self.leftovers.remove(&new);
                cluster.fill(new.1, bytes);
            }
        } else if now >= self.copied_at && answers(&new) {
            membership
                .take(Step::Join, old, new, answers)
                .expect("a majority joins it");
        }
    }

    /// From old and new voters to the new ones alone: the lead is handed on first.
    fn settle(&mut self, placement: &[Member], cluster: &Cluster) {
        let membership = &mut self.membership;
        let answers = |member: &Member| cluster.answers(member);
        let joining = membership.joining.clone().unwrap_or_default();
        let old = membership
            .voters
            .iter()
            .copied()
            .find(|member| !joining.contains(member));
        let new = joining
            .iter()
            .copied()
            .find(|member| !membership.voters.contains(member));
        let Some(new) = new else { return };
        let stays = membership
            .leader
            .is_some_and(|leader| Some(leader) != old && answers(&leader) && joining.contains(&leader));
        if !stays {
            // Whom the placement names first, if it can.
            let first = placement
                .iter()
                .find(|member| joining.contains(member) && answers(member));
            membership.leader = first.copied();
            if membership.leader.is_none() {
                membership
                    .take(Step::HandOn, old, new, answers)
                    .expect("one that stays leads");
            }
            return;
        }
        // Waits while too few of the new ones answer.
        if membership.take(Step::Settle, old, new, answers).is_ok() {
            self.leftovers.extend(old);
        }
    }

    /// Who is named first leads, or else the first that can.
    fn elect(&mut self, placement: &[Member], cluster: &Cluster) {
        let membership = &mut self.membership;
        let can = |member: &&Member| membership.voters.contains(member) && cluster.answers(member);
        let first = placement.first().filter(can);
        let leads = membership.leader.filter(|leader| cluster.answers(leader));
        let wished = first.or_else(|| placement.iter().find(can)).copied();
        let is_first_named = first.is_some() || leads.is_none();
        if is_first_named && wished.is_some() {
            membership.leader = wished;
        }
    }
}
