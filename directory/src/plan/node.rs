//! Nodes, and the first placement of the shards.

use std::collections::BTreeSet;

use rookery_proto::directory::v1 as directory;
use rookery_proto::directory::v1::NodeRole;
use rookery_replication::{Batch, Column};

use super::{PlanError, Planned, shard};
use crate::events::{self, Kind};
use crate::placement::{Candidate, place};
use crate::schema::key;
use crate::schema::read::Rows;
use crate::schema::row::{self, Row};

/// Capacity of a node that names none.
pub const WEIGHT_USUAL: u32 = 100;

/// Nodes of which it is kept in mind that they were removed.
const REMOVED_MAX: usize = 1_024;

/// The largest capacity of a node.
const WEIGHT_MAX: u32 = 100_000;

/// What the configuration says of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The id that every node must name.
    pub id: String,
    /// Shards to place.
    pub shards: u32,
    /// Replicas of each.
    pub replicas: u32,
    /// Mailstores that must be there before the shards are placed.
    pub expected_mailstores: u32,
}

/// A node says that it is there. When with it the expected mailstores are there and alive, and no shard has a place yet,
/// the shards are placed on them.
pub fn register(
    rows: Rows<'_>,
    cluster: &Cluster,
    cluster_id: &str,
    node: &directory::Node,
    alive: &BTreeSet<String>,
) -> Result<Planned<()>, PlanError> {
    if cluster_id != cluster.id {
        return Err(PlanError::Precondition(format!(
            "{} belongs to the cluster {cluster_id:?}, this is {:?}: check its data folder and configuration",
            node.id, cluster.id
        )));
    }
    check(node)?;
    let mut batch = Batch::new();
    let mut planned_node = None;
    let mut sequences = rows.sequences()?;
    let held = rows.node(&node.id)?;
    if let Some(identity) = rows.identity(&node.id)? {
        refuse_removed(&node.id, &identity)?;
        // From now on the node's own row says that the id is taken.
        batch.delete(Column::Rows, key::identity(&node.id));
    }
    let row = row::Node {
        role: node.role,
        address: node.address.clone(),
        http: node.http.clone(),
        weight: if node.weight == 0 {
            WEIGHT_USUAL
        } else {
            node.weight
        },
        zone: node.zone.clone(),
        draining: held.as_ref().is_some_and(|held| held.draining),
        silent: held.as_ref().is_some_and(|held| held.silent),
    };
    if held.as_ref().is_some_and(|held| held.role != row.role) {
        return Err(PlanError::Precondition(format!(
            "{} is the id of a node with another role",
            node.id
        )));
    }
    if held.as_ref() != Some(&row) {
        batch.put(Column::Rows, key::node(&node.id), row.to_stored());
        planned_node = Some(to_proto(&node.id, &row, true));
        if held.as_ref().and_then(planned_with) != planned_with(&row) {
            sequences.placement += 1;
        }
    }
    let shards = place_first(rows, cluster, &node.id, &row, alive, &mut batch, &mut sequences)?;
    if !batch.is_empty() {
        batch.put(Column::Rows, key::sequences(), sequences.to_stored());
    }
    let mut planned = Planned::new(batch, ());
    planned.event.nodes.extend(planned_node);
    if held.is_none() {
        planned
            .events
            .push(events::of_node(Kind::NodeRegistered, &node.id, "is new"));
    }
    if !shards.is_empty() {
        let mailstores: BTreeSet<&String> = shards.iter().flat_map(|shard| &shard.replicas).collect();
        planned
            .events
            .push(events::placed(shards.len(), mailstores.len()));
    }
    planned.event.shards = shards;
    Ok(planned)
}

/// What plans rest on of a node: that a proxy comes, or a mailstore has another port, makes none stale.
fn planned_with(row: &row::Node) -> Option<(u32, &str, bool)> {
    let is_mailstore = row.role == i32::from(NodeRole::Mailstore);
    is_mailstore.then_some((row.weight, &row.zone, row.draining))
}

fn check(node: &directory::Node) -> Result<(), PlanError> {
    let named = !node.id.is_empty()
        && node.id.len() <= 100
        && node
            .id
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || char == '-' || char == '.' || char == '_');
    if !named {
        return Err(PlanError::Invalid(format!("{:?} is not a node id", node.id)));
    }
    if node.role() == NodeRole::Unspecified {
        return Err(PlanError::Invalid(format!("{} names no role", node.id)));
    }
    if node.weight > WEIGHT_MAX {
        return Err(PlanError::Invalid(format!(
            "{} has a weight above {WEIGHT_MAX}",
            node.id
        )));
    }
    Ok(())
}

fn place_first(
    rows: Rows<'_>,
    cluster: &Cluster,
    id: &str,
    row: &row::Node,
    alive: &BTreeSet<String>,
    batch: &mut Batch,
    sequences: &mut row::Sequences,
) -> Result<Vec<directory::Shard>, PlanError> {
    if row.role != i32::from(NodeRole::Mailstore) || rows.any(&key::shards())? {
        return Ok(Vec::new());
    }
    let mut candidates = vec![Candidate {
        id: id.to_owned(),
        weight: row.weight,
    }];
    for (other, row) in rows.nodes()? {
        if other != id && row.role == i32::from(NodeRole::Mailstore) && alive.contains(&other) {
            candidates.push(Candidate {
                id: other,
                weight: row.weight,
            });
        }
    }
    if candidates.len() < cluster.expected_mailstores.max(cluster.replicas) as usize {
        return Ok(Vec::new());
    }
    let mut shards = Vec::new();
    for (id, nodes) in place(cluster.shards, cluster.replicas, &candidates) {
        let mut replicas = Vec::new();
        for node in nodes {
            sequences.replicas += 1;
            replicas.push(row::Replica {
                id: sequences.replicas,
                node,
                taken: false,
            });
        }
        let row = row::Shard {
            generation: 1,
            replicas,
            formed: false,
            added: false,
        };
        batch.put(Column::Rows, key::shard(id), row.to_stored());
        shards.push(shard::to_proto(id, row));
    }
    sequences.placement += 1;
    Ok(shards)
}

/// A mailstore is to be emptied, or no longer.
pub fn set_draining(
    rows: Rows<'_>,
    id: &str,
    draining: bool,
    is_alive: bool,
) -> Result<Planned<()>, PlanError> {
    let mut row = known(rows, id)?;
    if row.role != i32::from(NodeRole::Mailstore) {
        return Err(PlanError::Precondition(format!(
            "{id} is no mailstore: it has no shards to give away"
        )));
    }
    let mut planned = Planned::new(Batch::new(), ());
    if row.draining != draining {
        row.draining = draining;
        planned.batch.put(Column::Rows, key::node(id), row.to_stored());
        placement_changed(rows, &mut planned.batch)?;
        planned.event.nodes.push(to_proto(id, &row, is_alive));
        planned.events.push(match draining {
            true => events::of_node(Kind::NodeDrained, id, "is to be emptied by the next rebalance"),
            false => events::of_node(Kind::NodeKept, id, "is not to be emptied any more"),
        });
    }
    Ok(planned)
}

/// Operators are told that nothing is heard of a node, or that it was heard again; once, whoever leads.
pub fn note_silence(rows: Rows<'_>, id: &str, silent: bool) -> Result<Planned<()>, PlanError> {
    let mut planned = Planned::new(Batch::new(), ());
    let Some(mut row) = rows.node(id)?.filter(|row| row.silent != silent) else {
        return Ok(planned);
    };
    row.silent = silent;
    planned.batch.put(Column::Rows, key::node(id), row.to_stored());
    Ok(planned.telling([match silent {
        true => events::of_node(Kind::NodeSilent, id, "is silent"),
        false => events::of_node(Kind::NodeBack, id, "is back"),
    }]))
}

/// A process of a node that was removed is told so, whatever it still has: its place is with others.
fn refuse_removed(id: &str, identity: &row::Identity) -> Result<(), PlanError> {
    if identity.removed_at_millis == 0 {
        return Ok(());
    }
    Err(PlanError::Precondition(format!(
        "{id} was removed from the cluster, which goes on without it: stop it, and set this machine up anew with what \
         `rookery node add` prints; or, to have it back without shards, `rookery node remove {id} --undo`"
    )))
}

/// Forgets a node that is not there and has no replicas, and takes in none of its id from then on.
pub fn remove(rows: Rows<'_>, id: &str, is_alive: bool, now_millis: u64) -> Result<Planned<()>, PlanError> {
    let row = known(rows, id)?;
    if is_alive {
        return Err(PlanError::Precondition(format!(
            "{id} is running: stop it first, for it would register again"
        )));
    }
    if row.role == i32::from(NodeRole::Mailstore) {
        let replicas = rows
            .shards()?
            .iter()
            .flat_map(|(_, shard)| &shard.replicas)
            .filter(|replica| replica.node == id)
            .count();
        if replicas > 0 {
            return Err(PlanError::Precondition(format!(
                "{id} has {replicas} replicas: `rookery node drain {id}`, then `rookery rebalance`, then remove it"
            )));
        }
    }
    let mut planned = Planned::new(Batch::new(), ());
    planned.batch.delete(Column::Rows, key::node(id));
    note_removed(rows, id, row.role, now_millis, &mut planned.batch)?;
    if planned_with(&row).is_some() {
        placement_changed(rows, &mut planned.batch)?;
    }
    planned.event.removed_nodes.push(id.to_owned());
    Ok(planned.telling([events::of_node(Kind::NodeRemoved, id, "was removed")]))
}

/// Notes that an id's node was removed. Of more such notes than are kept the oldest goes.
fn note_removed(
    rows: Rows<'_>,
    id: &str,
    role: i32,
    now_millis: u64,
    batch: &mut Batch,
) -> Result<(), PlanError> {
    // Who is a member of the directory is for its configuration to say, and one that leads must be able to.
    if role == i32::from(NodeRole::Directory) {
        return Ok(());
    }
    let mut removed = rows.identities()?;
    removed.retain(|(_, identity)| identity.removed_at_millis != 0);
    let oldest = removed
        .iter()
        .min_by_key(|(_, identity)| identity.removed_at_millis);
    if let Some((oldest, _)) = oldest.filter(|_| removed.len() >= REMOVED_MAX) {
        batch.delete(Column::Rows, key::identity(oldest));
    }
    let identity = row::Identity {
        role,
        issued_at_millis: 0,
        removed_at_millis: now_millis.max(1),
    };
    batch.put(Column::Rows, key::identity(id), identity.to_stored());
    Ok(())
}

/// A node of an id that was removed may register again; it begins without shards.
pub fn readmit(rows: Rows<'_>, id: &str) -> Result<Planned<()>, PlanError> {
    let is_removed = rows
        .identity(id)?
        .is_some_and(|identity| identity.removed_at_millis != 0);
    if !is_removed {
        return Err(PlanError::NotFound(format!("{id:?} was not removed")));
    }
    let mut planned = Planned::new(Batch::new(), ());
    planned.batch.delete(Column::Rows, key::identity(id));
    Ok(planned.telling([events::of_node(Kind::NodeReadmitted, id, "may register again")]))
}

fn known(rows: Rows<'_>, id: &str) -> Result<row::Node, PlanError> {
    rows.node(id)?
        .ok_or_else(|| PlanError::NotFound(format!("there is no node {id:?}")))
}

fn placement_changed(rows: Rows<'_>, batch: &mut Batch) -> Result<(), PlanError> {
    let mut sequences = rows.sequences()?;
    sequences.placement += 1;
    batch.put(Column::Rows, key::sequences(), sequences.to_stored());
    Ok(())
}

/// A node's row as it is told to others.
pub fn to_proto(id: &str, row: &row::Node, alive: bool) -> directory::Node {
    directory::Node {
        id: id.to_owned(),
        role: row.role,
        address: row.address.clone(),
        http: row.http.clone(),
        weight: row.weight,
        alive,
        zone: row.zone.clone(),
        draining: row.draining,
        instance: 0,
    }
}
