//! The hash ring, with points that depend on nothing but the bytes given here.
//!
//! `consistent_hash` hashes whatever `std::hash::Hash` feeds it, which may differ from one compiler to the next. So its
//! items and nodes are types here whose `Hash` feeds known bytes, and the hasher is SHA-256.

use std::hash::{Hash, Hasher};

use consistent_hash::{Node, RingHash, StaticHashRing};
use ring::digest;

/// The most points of one node.
const POINTS_MAX: u32 = 4_000;

/// Bytes that are hashed as they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Fixed(Vec<u8>);

impl Hash for Fixed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// SHA-256 of what was written; its first 8 bytes are the hash.
struct Sha256(digest::Context);

impl Sha256 {
    fn new(kind: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"rookery placement 1 ");
        context.update(kind);
        Self(context)
    }
}

impl Hasher for Sha256 {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finish();
        digest
            .as_ref()
            .iter()
            .take(8)
            .fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }
}

#[derive(Debug, Clone, Copy)]
struct Points;

impl RingHash for Points {
    fn hash_item<T: Hash>(&self, item: &T) -> u64 {
        let mut hasher = Sha256::new(b"shard ");
        item.hash(&mut hasher);
        hasher.finish()
    }

    fn hash_vnode<K: Hash>(&self, node_key: &K, vnode_seq: usize) -> u64 {
        let mut hasher = Sha256::new(b"node ");
        node_key.hash(&mut hasher);
        hasher.write(&[0]);
        hasher.write(&(vnode_seq as u64).to_be_bytes());
        hasher.finish()
    }
}

/// A node on the ring, with what is told of it.
pub(crate) struct Entry<'a, V> {
    /// Its id, which alone places it.
    pub(crate) id: &'a str,
    /// Its relative capacity.
    pub(crate) weight: u32,
    /// What [`Ring::candidates`] gives for it.
    pub(crate) value: V,
}

/// The ring of some nodes.
pub(crate) struct Ring<'a, V> {
    ring: StaticHashRing<'a, Fixed, V, Points>,
}

impl<'a, V: Copy> Ring<'a, V> {
    /// Puts the nodes on a ring, each at `points_per_100_weight` points for each 100 of its weight, 4,000 at most.
    pub(crate) fn new<'n>(nodes: impl IntoIterator<Item = Entry<'n, V>>, points_per_100_weight: u32) -> Self {
        let nodes = nodes.into_iter().map(|node| {
            let points = (u64::from(node.weight) * u64::from(points_per_100_weight))
                .div_ceil(100)
                .min(u64::from(POINTS_MAX));
            Node::new(Fixed(node.id.as_bytes().to_vec()))
                .value(node.value)
                .quantity(points as usize)
        });
        Self {
            ring: StaticHashRing::new(Points, nodes.collect::<Vec<_>>().into_iter()),
        }
    }

    /// All nodes, in the order in which they come after the shard on the ring.
    pub(crate) fn candidates(&self, shard: u32) -> impl Iterator<Item = V> {
        self.ring
            .calc_candidates(&Fixed(shard.to_be_bytes().to_vec()))
            .map(|node| node.value)
    }
}
