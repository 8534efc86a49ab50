//! How few bytes any plan to the same ends has to move: a bound from below.
//!
//! What has to go goes. From a node above its band, the replicas that weigh the most for their bytes must bring it down: the last of them
//! in part, or whole ones, each as often as one likes. Nodes below their bands must be brought up likewise, by what has to go and by other
//! replicas, each by one at least. Zones and disks are not thought of, nor whether what goes from one node is what another may take, so the
//! true least may be more.

use super::layout::Layout;
use super::level::density;
use super::plan::Why;

/// The bound, for a layout whose moves are planned. `holds_before` is what each node's replicas weighed before.
pub(super) fn bytes(layout: &Layout<'_>, holds_before: &[u64]) -> u64 {
    let due = Due::of(layout, holds_before);
    let mut relieved = due.excess(layout);
    let mut supplied = due.lack_in_all(layout, holds_before);
    let mut apart = due.lack_apart(layout, holds_before);
    let mut order: Vec<usize> = (0..layout.shards.len())
        .filter(|shard| !layout.shards[*shard].frozen)
        .collect();
    order.sort_by_cached_key(|shard| {
        let shard = &layout.shards[*shard];
        std::cmp::Reverse(density(shard.hold, shard.given.bytes))
    });
    for index in order {
        let (hold, bytes) = (layout.shards[index].hold, layout.shards[index].given.bytes);
        for slot in 0..layout.shards[index].slots.len() {
            let Some(node) = due.stays(layout, index, slot) else {
                continue;
            };
            if layout.nodes[node].usable {
                relieved[node].offer(hold, bytes);
                supplied.offer(hold, bytes);
            }
        }
        for cover in &mut apart {
            cover.offer(hold, bytes);
        }
    }
    let mut relieved: Vec<u128> = relieved.iter().map(Cover::bytes).collect();
    // A full disk must lose what is too much for it.
    for (index, node) in layout.nodes.iter().enumerate() {
        let before = layout.bytes_before[index];
        if let Some(bytes_max) = node.bytes_max.filter(|_| node.usable) {
            relieved[index] = relieved[index].max(u128::from(before.saturating_sub(bytes_max)));
        }
    }
    let apart: u128 = apart.iter().map(Cover::bytes).sum();
    let supplied = supplied
        .bytes()
        .max(apart)
        .max(due.one_each(layout, holds_before));
    let bytes = due.bytes + relieved.iter().sum::<u128>().max(supplied);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// What has to go wherever nodes stand.
struct Due {
    /// Shard and slot, ascending.
    slots: Vec<(usize, usize)>,
    bytes: u128,
    /// What is left on each node.
    rest: Vec<u64>,
}

impl Due {
    fn of(layout: &Layout<'_>, holds_before: &[u64]) -> Self {
        let mut due = Self {
            slots: Vec::new(),
            bytes: 0,
            rest: holds_before.to_vec(),
        };
        for planned in &layout.moves {
            let shard = &layout.shards[planned.shard];
            let befores = || {
                shard
                    .slots
                    .iter()
                    .filter_map(|slot| slot.before.map(|(_, node)| node))
            };
            let gone: Vec<usize> = match &planned.why {
                Why::Overloaded { .. } | Why::Underloaded { .. } | Why::NodeFull => continue,
                // Any other of the shard's replicas in the zone might have gone instead.
                Why::SameZone { zone } => befores()
                    .filter(|node| layout.zones[layout.nodes[*node].zone] == *zone)
                    .collect(),
                _ => shard.slots[planned.slot]
                    .before
                    .into_iter()
                    .map(|(_, node)| node)
                    .collect(),
            };
            for node in gone {
                due.rest[node] = due.rest[node].saturating_sub(shard.hold);
            }
            due.slots.push((planned.shard, planned.slot));
            due.bytes += u128::from(shard.given.bytes);
        }
        due.slots.sort_unstable();
        due
    }

    /// The node where a replica is, unless it has to go.
    fn stays(&self, layout: &Layout<'_>, shard: usize, slot: usize) -> Option<usize> {
        let (_, node) = layout.shards[shard].slots[slot].before?;
        self.slots.binary_search(&(shard, slot)).is_err().then_some(node)
    }

    fn excess(&self, layout: &Layout<'_>) -> Vec<Cover> {
        let excess = layout
            .nodes
            .iter()
            .zip(&self.rest)
            .map(|(node, rest)| match node.usable {
                true => rest.saturating_sub(node.ceiling),
                false => 0,
            });
        excess.map(|excess| Cover::new(excess, true)).collect()
    }

    /// What all nodes lack together, and cannot get of what has to go.
    fn lack_in_all(&self, layout: &Layout<'_>, holds_before: &[u64]) -> Cover {
        let lack: u64 = lacks(layout, holds_before).map(|(_, lack)| lack).sum();
        let due: u64 = self
            .slots
            .iter()
            .map(|(shard, _)| layout.shards[*shard].hold)
            .sum();
        Cover::new(lack.saturating_sub(due), false)
    }

    /// The bytes of one replica for each node that lacks any and gets none of what has to go: the smallest that there are.
    fn one_each(&self, layout: &Layout<'_>, holds_before: &[u64]) -> u128 {
        let count = lacks(layout, holds_before)
            .count()
            .saturating_sub(self.slots.len());
        let movable = layout.shards.iter().filter(|shard| !shard.frozen);
        let mut smallest: Vec<u64> = movable
            .flat_map(|shard| std::iter::repeat_n(shard.given.bytes, shard.slots.len()))
            .collect();
        if count == 0 || smallest.is_empty() {
            return 0;
        }
        let count = count.min(smallest.len());
        smallest.select_nth_unstable(count - 1);
        smallest[..count].iter().map(|bytes| u128::from(*bytes)).sum()
    }

    /// What each node lacks that lacks few replicas, when nothing has to go anyway: each gets whole ones.
    fn lack_apart(&self, layout: &Layout<'_>, holds_before: &[u64]) -> Vec<Cover> {
        let holds: u64 = layout.shards.iter().map(|shard| shard.hold).sum();
        let few = (holds / layout.shards.len().max(1) as u64).saturating_mul(REPLICAS_COUNTED_MAX);
        let lacks = lacks(layout, holds_before).filter(|(_, lack)| *lack <= few && self.slots.is_empty());
        lacks.map(|(_, lack)| Cover::new(lack, true)).collect()
    }
}

/// The nodes below their bands, and what they lack.
fn lacks(layout: &Layout<'_>, holds_before: &[u64]) -> impl Iterator<Item = (usize, u64)> {
    let nodes = layout.nodes.iter().zip(holds_before).enumerate();
    let lacking = nodes.filter(|(_, (node, _))| node.usable);
    lacking
        .map(|(index, (node, held))| (index, node.floor.saturating_sub(*held)))
        .filter(|(_, lack)| *lack > 0)
}

/// A node that lacks more replicas than this is not reckoned in whole ones.
const REPLICAS_COUNTED_MAX: u64 = 16;

/// Whole replicas are weighed in so many parts of what is needed, rounded in favour of fewer bytes.
const PARTS: usize = 256;

/// The fewest bytes of replicas that weigh enough together. They are offered in the order of what they weigh for their bytes.
struct Cover {
    needed: u64,
    /// What is still needed, and the bytes so far, when the last replica may be taken in part.
    left: u64,
    bytes: u128,
    /// The fewest bytes of a replica by the parts that it makes up; the last also of all that are enough alone. Empty when whole replicas
    /// are not thought of.
    whole: Vec<u64>,
}

impl Cover {
    fn new(needed: u64, by_whole: bool) -> Self {
        Self {
            needed,
            left: needed,
            bytes: 0,
            whole: if by_whole && needed > 0 {
                vec![u64::MAX; PARTS + 1]
            } else {
                Vec::new()
            },
        }
    }

    fn offer(&mut self, hold: u64, bytes: u64) {
        self.bytes += take(&mut self.left, hold, bytes);
        let parts = (u128::from(hold) * PARTS as u128).div_ceil(u128::from(self.needed.max(1)));
        if let Some(fewest) = self.whole.get_mut(parts.min(PARTS as u128) as usize) {
            *fewest = bytes.min(*fewest);
        }
    }

    /// The bound. What there is must go when it is not enough.
    fn bytes(&self) -> u128 {
        if self.whole.is_empty() || self.left > 0 {
            return self.bytes;
        }
        // By parts that are covered: the fewest bytes, each replica as often as one likes.
        let mut fewest = vec![0u128; PARTS + 1];
        for covered in 1..=PARTS {
            let with =
                |(parts, bytes): (usize, &u64)| fewest[covered.saturating_sub(parts)] + u128::from(*bytes);
            let offered = self
                .whole
                .iter()
                .enumerate()
                .skip(1)
                .filter(|(_, bytes)| **bytes < u64::MAX);
            fewest[covered] = offered.map(with).min().unwrap_or(0);
        }
        fewest[PARTS].max(self.bytes)
    }
}

/// The bytes of that part of a replica which is needed.
fn take(needed: &mut u64, hold: u64, bytes: u64) -> u128 {
    let taken = hold.min(*needed);
    *needed -= taken;
    u128::from(bytes) * u128::from(taken) / u128::from(hold.max(1))
}
