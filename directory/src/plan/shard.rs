//! Replicas of shards: what their nodes say of them.

use rookery_proto::directory::v1 as directory;
use rookery_proto::directory::v1::HeldReplica;
use rookery_replication::{Batch, Column};

use super::{PlanError, Planned};
use crate::events;
use crate::schema::read::Rows;
use crate::schema::row::{self, Row};
use crate::schema::{ShardId, key};

/// A node names the replicas that it holds, and those that it should hold and has lost. Those that it holds are noted, and a
/// shard whose first replicas are all held is formed. Each lost one is replaced by a new one on the same node when a
/// majority of the shard's replicas is held by others, which bring it up to date; otherwise it waits for them. The only one
/// stays, for its mail can come from a backup alone.
pub fn note(
    rows: Rows<'_>,
    node: &str,
    held: &[HeldReplica],
    lost: &[HeldReplica],
) -> Result<Planned<()>, PlanError> {
    let mut planned = Planned::new(Batch::new(), ());
    let mut sequences = rows.sequences()?;
    let before = sequences.clone();
    let mut named: Vec<u32> = held.iter().chain(lost).map(|replica| replica.shard).collect();
    named.sort_unstable();
    named.dedup();
    for id in named {
        let id = ShardId(id);
        let Some(stored) = rows.shard(id)? else { continue };
        let mut shard = stored.clone();
        let is_named = |named: &[HeldReplica], replica: &row::Replica| {
            replica.node == node
                && named
                    .iter()
                    .any(|named| named.shard == id.0 && named.replica == replica.id)
        };
        for replica in &mut shard.replicas {
            replica.taken |= is_named(held, replica);
        }
        let taken_elsewhere = shard
            .replicas
            .iter()
            .filter(|replica| replica.taken && replica.node != node)
            .count();
        let others_suffice = taken_elsewhere > shard.replicas.len() / 2;
        for replica in &mut shard.replicas {
            if replica.taken && others_suffice && !is_named(held, replica) && is_named(lost, replica) {
                sequences.replicas += 1;
                replica.id = sequences.replicas;
                replica.taken = false;
                planned.events.push(events::replaced(id, node));
            }
        }
        shard.formed |= shard.replicas.iter().all(|replica| replica.taken);
        if shard == stored {
            continue;
        }
        let ids = |shard: &row::Shard| {
            shard
                .replicas
                .iter()
                .map(|replica| replica.id)
                .collect::<Vec<_>>()
        };
        if ids(&shard) != ids(&stored) {
            shard.generation += 1;
            sequences.placement += 1;
        }
        planned.batch.put(Column::Rows, key::shard(id), shard.to_stored());
        planned.event.shards.push(to_proto(id, shard));
    }
    if sequences != before {
        planned
            .batch
            .put(Column::Rows, key::sequences(), sequences.to_stored());
    }
    Ok(planned)
}

/// A shard's row as it is told to others; who leads it is not in the row.
pub fn to_proto(id: ShardId, row: row::Shard) -> directory::Shard {
    directory::Shard {
        id: id.0,
        generation: row.generation,
        replicas: row.replicas.iter().map(|replica| replica.node.clone()).collect(),
        members: row
            .replicas
            .into_iter()
            .map(|replica| directory::ShardReplica {
                id: replica.id,
                node: replica.node,
                taken: replica.taken,
            })
            .collect(),
        formed: row.formed,
        leader: String::new(),
        voters: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use rookery_replication::MemoryStore;

    use super::*;

    const SHARD: ShardId = ShardId(1);

    fn named(replica: u64) -> Vec<HeldReplica> {
        vec![HeldReplica {
            shard: SHARD.0,
            replica,
        }]
    }

    /// Shard 1 on nodes named by their letters, with replicas from 1 on.
    fn stored(nodes: &[&str]) -> MemoryStore {
        let replicas = nodes.iter().zip(1..).map(|(node, id)| row::Replica {
            id,
            node: (*node).to_owned(),
            taken: true,
        });
        let shard = row::Shard {
            generation: 1,
            replicas: replicas.collect(),
            formed: true,
            added: false,
        };
        let mut batch = Batch::new();
        batch.put(Column::Rows, key::shard(SHARD), shard.to_stored());
        let sequences = row::Sequences {
            replicas: 10,
            ..row::Sequences::default()
        };
        batch.put(Column::Rows, key::sequences(), sequences.to_stored());
        let mut store = MemoryStore::new();
        store.apply(&batch);
        store
    }

    fn noted(store: &mut MemoryStore, node: &str, held: &[HeldReplica], lost: &[HeldReplica]) -> Vec<u64> {
        let planned = note(Rows(&*store), node, held, lost).expect("plans");
        store.apply(&planned.batch);
        let shard = Rows(&*store).shard(SHARD).expect("reads").expect("is there");
        shard.replicas.iter().map(|replica| replica.id).collect()
    }

    #[test]
    fn a_lost_replica_is_replaced_only_while_a_majority_is_held_by_others() {
        let mut store = stored(&["a", "b", "c"]);
        assert_eq!(noted(&mut store, "a", &[], &named(1)), [11, 2, 3]);
        // The next waits until the first is held again.
        assert_eq!(noted(&mut store, "b", &[], &named(2)), [11, 2, 3]);
        assert_eq!(noted(&mut store, "a", &named(11), &[]), [11, 2, 3]);
        assert_eq!(noted(&mut store, "b", &[], &named(2)), [11, 12, 3]);
        let mut only = stored(&["a"]);
        assert_eq!(noted(&mut only, "a", &[], &named(1)), [1]);
    }
}
