//! A made-up cluster: nodes of four sizes in five zones, shards, and accounts whose sizes and use are heavy-tailed. All of it is drawn
//! from a seed, and the same every time.

use rookery_directory::rebalance::{Condition, Node, Rates, Replica, Shard, Shares, State};
use rookery_directory::schema::ShardId;

/// Weights of nodes.
const WEIGHTS: [u32; 4] = [50, 100, 200, 400];

/// How even nodes are filled at first, in parts of their disks.
const FILL_AT_FIRST: f64 = 0.55;

/// Pareto's exponent of an account's bytes, its least and its most bytes: 100 MB in the mean, half of them below 43 MB.
const BYTES_EXPONENT: f64 = 1.3;
const BYTES_LEAST: f64 = 25e6;
const BYTES_MOST: f64 = 200e9;

/// The same of an account's operations a second.
const OPERATIONS_EXPONENT: f64 = 1.5;
const OPERATIONS_LEAST: f64 = 0.005;
const OPERATIONS_MOST: f64 = 50.0;

/// Numbers that look random (SplitMix64).
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Above 0, up to 1.
    pub(crate) fn part(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn heavy(&mut self, exponent: f64, least: f64, most: f64) -> f64 {
        (least * self.part().powf(-1.0 / exponent)).min(most)
    }
}

/// How large the cluster is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) nodes: usize,
    pub(crate) shards: usize,
    pub(crate) accounts: u64,
}

pub(crate) struct SimNode {
    pub(crate) id: String,
    pub(crate) zone: usize,
    pub(crate) weight: u32,
    pub(crate) condition: Condition,
    pub(crate) bytes_max: u64,
}

#[derive(Clone, Default)]
pub(crate) struct SimShard {
    pub(crate) generation: u64,
    /// Number and node.
    pub(crate) replicas: Vec<(u64, usize)>,
    pub(crate) leader: Option<usize>,
    pub(crate) accounts: u64,
    pub(crate) bytes: f64,
    pub(crate) operations: f64,
    /// How busy its accounts are this week.
    pub(crate) mood: f64,
}

pub(crate) struct World {
    pub(crate) draw: Draw,
    pub(crate) version: u64,
    pub(crate) replicas: u32,
    pub(crate) zones: usize,
    pub(crate) nodes: Vec<SimNode>,
    pub(crate) shards: Vec<SimShard>,
    pub(crate) next_replica: u64,
    next_node: usize,
    next_shard: usize,
    bytes_per_weight: f64,
}

impl World {
    /// A cluster without replicas: its first plan places them.
    pub(crate) fn new(size: Size, seed: u64) -> Self {
        let mut world = Self {
            draw: Draw::new(seed),
            version: 1,
            replicas: 3,
            zones: 5,
            nodes: Vec::new(),
            shards: vec![
                SimShard {
                    generation: 1,
                    mood: 1.0,
                    ..SimShard::default()
                };
                size.shards
            ],
            next_replica: 0,
            next_node: 0,
            next_shard: 0,
            bytes_per_weight: 0.0,
        };
        world.add_accounts(size.accounts);
        let bytes: f64 = world.shards.iter().map(|shard| shard.bytes).sum();
        let weight: u32 = (0..size.nodes).map(|node| WEIGHTS[node / 5 % 4]).sum();
        world.bytes_per_weight = bytes * f64::from(world.replicas) / f64::from(weight) / FILL_AT_FIRST;
        world.add_nodes(size.nodes);
        world
    }

    /// Accounts come to the shard with the fewest, which for equal ones is one after the other.
    pub(crate) fn add_accounts(&mut self, count: u64) {
        for _ in 0..count {
            let bytes = self.draw.heavy(BYTES_EXPONENT, BYTES_LEAST, BYTES_MOST);
            let operations = self
                .draw
                .heavy(OPERATIONS_EXPONENT, OPERATIONS_LEAST, OPERATIONS_MOST);
            self.next_shard = (self.next_shard + 1) % self.shards.len();
            let shard = &mut self.shards[self.next_shard];
            shard.accounts += 1;
            shard.bytes += bytes;
            shard.operations += operations;
        }
    }

    /// A week: mailboxes grow, most of them by little; accounts come and go; use changes.
    pub(crate) fn grow(&mut self) {
        let accounts: u64 = self.shards.iter().map(|shard| shard.accounts).sum();
        self.add_accounts(accounts / 400);
        for shard in &mut self.shards {
            let growth = 1.0 + 0.006 * self.draw.part() * self.draw.part() * 4.0;
            let leaving = shard.accounts / 1000 + u64::from(self.draw.part() < 0.3);
            let left = 1.0 - leaving.min(shard.accounts) as f64 / shard.accounts.max(1) as f64;
            shard.accounts -= leaving.min(shard.accounts);
            shard.bytes *= growth * left;
            shard.operations *= left;
            shard.mood = 0.8 * shard.mood + 0.2 * (0.4 + 1.2 * self.draw.part());
        }
    }

    pub(crate) fn add_nodes(&mut self, count: usize) {
        for _ in 0..count {
            let number = self.next_node;
            self.next_node += 1;
            let weight = WEIGHTS[number / self.zones % WEIGHTS.len()];
            // To the zone that has the least.
            let in_zone = |zone: usize| {
                let of_zone = self.nodes.iter().filter(|node| node.zone == zone);
                of_zone.map(|node| node.weight).sum::<u32>()
            };
            let zone = (0..self.zones).min_by_key(|zone| in_zone(*zone)).unwrap_or(0);
            self.nodes.push(SimNode {
                id: format!("mailstore-{number}"),
                zone,
                weight,
                condition: Condition::Active,
                bytes_max: (self.bytes_per_weight * f64::from(weight)) as u64,
            });
        }
    }

    /// A node that is active, drawn.
    pub(crate) fn any_active(&mut self) -> usize {
        loop {
            let node = self.draw.below(self.nodes.len());
            if self.nodes[node].condition == Condition::Active {
                return node;
            }
        }
    }

    /// Takes away the nodes that are gone, drained or sick, and hold nothing.
    pub(crate) fn remove_empty(&mut self) {
        let mut held = vec![false; self.nodes.len()];
        for (_, node) in self.shards.iter().flat_map(|shard| &shard.replicas) {
            held[*node] = true;
        }
        let stays: Vec<bool> = self
            .nodes
            .iter()
            .zip(held)
            .map(|(node, held)| held || node.condition == Condition::Active)
            .collect();
        let mut new_index = vec![0; self.nodes.len()];
        let mut next = 0;
        for (index, stays) in stays.iter().enumerate() {
            new_index[index] = next;
            next += usize::from(*stays);
        }
        let mut index = 0;
        self.nodes.retain(|_| {
            index += 1;
            stays[index - 1]
        });
        for shard in &mut self.shards {
            for (_, node) in &mut shard.replicas {
                *node = new_index[*node];
            }
            shard.leader = shard.leader.map(|node| new_index[node]);
        }
    }

    /// What the planner is told.
    pub(crate) fn state(&self) -> State {
        let nodes = self.nodes.iter().map(|node| Node {
            id: node.id.clone(),
            zone: format!("zone-{}", node.zone),
            weight: node.weight,
            condition: node.condition,
            bytes_max: Some(node.bytes_max),
        });
        let shards = self.shards.iter().enumerate().map(|(id, shard)| Shard {
            id: ShardId(id as u32),
            generation: shard.generation,
            replicas: shard
                .replicas
                .iter()
                .map(|(id, node)| Replica {
                    id: *id,
                    node: self.nodes[*node].id.clone(),
                })
                .collect(),
            leader: shard.leader.map(|node| self.nodes[node].id.clone()),
            bytes: shard.bytes as u64,
            accounts: shard.accounts,
            operations_milli: (shard.operations * shard.mood * 1000.0) as u64,
        });
        State {
            version: self.version,
            replicas: self.replicas,
            nodes: nodes.collect(),
            shards: shards.collect(),
            shares: Shares::default(),
            rates: Rates {
                node_bytes_per_second: 400_000_000,
                all_bytes_per_second: 0,
            },
        }
    }

    /// The most loaded active node and the least loaded one, each relative to the mean by weight; reckoned here, from nothing but what lies
    /// where, and what each kind counts.
    pub(crate) fn balance(&self) -> (f64, f64) {
        let shares = Shares::default();
        let sum = |amount: fn(&SimShard) -> f64| self.shards.iter().map(amount).sum::<f64>();
        let copies = f64::from(self.replicas);
        let (bytes, accounts) = (
            sum(|shard| shard.bytes) * copies,
            sum(|shard| shard.accounts as f64) * copies,
        );
        let operations = sum(|shard| shard.operations * shard.mood);
        let count = self.shards.len() as f64;
        let mut loads = vec![0.0; self.nodes.len()];
        for shard in &self.shards {
            for (_, node) in &shard.replicas {
                loads[*node] += f64::from(shares.bytes) * shard.bytes / bytes
                    + f64::from(shares.accounts) * shard.accounts as f64 / accounts
                    + f64::from(shares.replicas) / count / copies;
            }
            if let Some(leader) = shard.leader {
                loads[leader] += f64::from(shares.operations) * shard.operations * shard.mood / operations
                    + f64::from(shares.leaders) / count;
            }
        }
        let active = || {
            self.nodes
                .iter()
                .zip(&loads)
                .filter(|(node, _)| node.condition == Condition::Active)
        };
        let weight: f64 = active().map(|(node, _)| f64::from(node.weight)).sum();
        let load: f64 = active().map(|(_, load)| load).sum();
        let parts = || active().map(|(node, part)| part / f64::from(node.weight) / (load / weight));
        (parts().fold(0.0, f64::max), parts().fold(f64::MAX, f64::min))
    }
}
