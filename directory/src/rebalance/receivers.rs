//! Which node gets a replica: the first after the shard on the ring that has room, in steps. Nodes below their band come first, then
//! those below their share, then those within their band: a ring with bounded loads. Zones have a ring each, and are on one
//! themselves, so that zones which may not take a replica cost nothing.

use super::layout::Layout;
use crate::placement::ring::{Entry, Ring};

/// Points on the ring for a node of the usual weight. Evenness comes from the bounds, so few suffice.
const POINTS_PER_100_WEIGHT: u32 = 32;

/// With more zones than this, all nodes are on one ring.
const FIELDS_MAX: usize = 64;

/// How far nodes are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Nodes below their band; one replica may take them above its lower end.
    Floor,
    /// Nodes below their share, up to it.
    Fair,
    /// Nodes within their band, up to its upper end.
    Ceiling,
}

impl Level {
    /// All, in the order in which they are filled.
    pub(super) const ALL: [Level; 3] = [Level::Floor, Level::Fair, Level::Ceiling];

    /// What a node that is filled at this level may have at most.
    fn most(self, layout: &Layout<'_>, node: usize) -> u64 {
        let node = &layout.nodes[node];
        match self {
            Level::Floor | Level::Ceiling => node.ceiling,
            Level::Fair => node.fair,
        }
    }

    /// Nodes that have less than this are filled.
    fn of(self, layout: &Layout<'_>, node: usize) -> u64 {
        let node = &layout.nodes[node];
        match self {
            Level::Floor => node.floor,
            Level::Fair => node.fair,
            Level::Ceiling => node.ceiling,
        }
    }
}

/// The nodes of a zone, or of all zones, with room at a level.
struct Field {
    ring: Ring<'static, u32>,
    /// Nodes on the ring.
    size: usize,
    open_count: usize,
    /// What weighs more than this fits nowhere.
    fits_max: u64,
    /// What has more bytes than this fits nowhere.
    room_max: u128,
}

/// The nodes with room at a level.
struct Tier {
    level: Level,
    /// In which order a shard asks the fields.
    fields_ring: Ring<'static, u32>,
    /// One for each zone; when these are many, one for all.
    fields: Vec<Field>,
    /// By node: it is on the ring, and has room as far as is known.
    open: Vec<bool>,
    /// A node with no more room than this counts as filled.
    crumb: u64,
    /// Bytes of the smallest shard, 1 at least: a node with less room on its disk counts as filled.
    bytes_min: u64,
}

impl Tier {
    fn new(layout: &Layout<'_>, level: Level, crumb: u64) -> Self {
        let fields = if layout.zones.len() <= FIELDS_MAX {
            layout.zones.len()
        } else {
            1
        };
        let mut weights = vec![0u32; fields];
        for node in layout.nodes.iter().filter(|node| node.usable) {
            let weight = &mut weights[field_of(node.zone, fields)];
            *weight = weight.saturating_add(node.weight);
        }
        // Their order matters, not their number of points: heavy ones would be at the most that a node may have.
        let heaviest = weights.iter().copied().max().unwrap_or(0).max(1);
        let entries = weights.iter().enumerate().map(|(field, weight)| Entry {
            id: layout.zones[field].as_str(),
            weight: (u64::from(*weight) * 100).div_ceil(u64::from(heaviest)) as u32,
            value: field as u32,
        });
        let mut tier = Self {
            level,
            fields_ring: Ring::new(entries.collect::<Vec<_>>(), POINTS_PER_100_WEIGHT),
            fields: Vec::new(),
            open: vec![false; layout.nodes.len()],
            crumb: if level == Level::Floor { 0 } else { crumb },
            bytes_min: layout
                .shards
                .iter()
                .map(|shard| shard.given.bytes)
                .min()
                .unwrap_or(0)
                .max(1),
        };
        tier.fields.resize_with(fields, || Field {
            ring: Ring::new([], 1),
            size: 0,
            open_count: 0,
            fits_max: u64::MAX,
            room_max: u128::MAX,
        });
        tier.fill(layout);
        tier
    }

    /// Puts on the rings what has room now.
    fn fill(&mut self, layout: &Layout<'_>) {
        for field in 0..self.fields.len() {
            self.fill_field(layout, field);
        }
    }

    fn fill_field(&mut self, layout: &Layout<'_>, field: usize) {
        let mut entries = Vec::new();
        for (index, node) in layout.nodes.iter().enumerate() {
            if field_of(node.zone, self.fields.len()) != field {
                continue;
            }
            self.open[index] = node.usable && !self.is_filled(layout, index);
            if self.open[index] {
                entries.push(Entry {
                    id: node.id,
                    weight: node.weight,
                    value: index as u32,
                });
            }
        }
        let field = &mut self.fields[field];
        field.size = entries.len();
        field.open_count = entries.len();
        field.fits_max = u64::MAX;
        field.room_max = u128::MAX;
        field.ring = Ring::new(entries, POINTS_PER_100_WEIGHT);
    }

    fn is_filled(&self, layout: &Layout<'_>, node: usize) -> bool {
        let level = self.level.of(layout, node);
        let node = &layout.nodes[node];
        node.hold + self.crumb >= level || node.room < u128::from(self.bytes_min)
    }

    fn find(
        &mut self,
        layout: &Layout<'_>,
        shard: usize,
        may: &impl Fn(usize) -> bool,
        zone_may: &impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let fields: Vec<usize> = match self.fields.len() {
            1 => vec![0],
            _ => self
                .fields_ring
                .candidates(layout.shards[shard].id.0)
                .map(|field| field as usize)
                .filter(|field| self.fields[*field].open_count > 0 && zone_may(*field))
                .collect(),
        };
        fields
            .into_iter()
            .find_map(|field| self.find_in(layout, field, shard, may, zone_may))
    }

    fn find_in(
        &mut self,
        layout: &Layout<'_>,
        field: usize,
        shard: usize,
        may: &impl Fn(usize) -> bool,
        zone_may: &impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let hold = layout.shards[shard].hold;
        // Skipping nodes costs more than a new ring once most are filled.
        if self.fields[field].open_count * 2 < self.fields[field].size {
            self.fill_field(layout, field);
        }
        let bytes = u128::from(layout.shards[shard].given.bytes);
        let asked = &self.fields[field];
        if asked.open_count == 0 || hold > asked.fits_max || bytes > asked.room_max {
            return None;
        }
        let (mut filled, mut found, mut fits_max, mut room_max) = (Vec::new(), None, 0, 0);
        for node in self.fields[field].ring.candidates(layout.shards[shard].id.0) {
            let node = node as usize;
            if !self.open[node] {
                continue;
            }
            if self.is_filled(layout, node) {
                filled.push(node);
                continue;
            }
            let candidate = &layout.nodes[node];
            let fits = self.level.most(layout, node) - candidate.hold;
            fits_max = fits_max.max(fits);
            room_max = room_max.max(candidate.room);
            if hold <= fits && zone_may(candidate.zone) && layout.can_take(shard, node) && may(node) {
                found = Some(node);
                break;
            }
        }
        for node in filled {
            self.open[node] = false;
            self.fields[field].open_count -= 1;
        }
        if found.is_none() {
            // All have been looked at, and room only shrinks until the next filling.
            self.fields[field].fits_max = fits_max;
            self.fields[field].room_max = room_max;
        }
        found
    }
}

/// The field of a zone's nodes.
fn field_of(zone: usize, fields: usize) -> usize {
    if fields == 1 { 0 } else { zone }
}

/// The nodes with room, by level.
pub(super) struct Receivers {
    tiers: [Tier; 3],
    /// What a replica weighs in the mean.
    mean: u64,
}

impl Receivers {
    pub(super) fn new(layout: &Layout<'_>) -> Self {
        let shards = layout.shards.len().max(1) as u64;
        let mean = layout.shards.iter().map(|shard| shard.hold / shards).sum::<u64>();
        Self {
            tiers: Level::ALL.map(|level| Tier::new(layout, level, mean / 4)),
            mean,
        }
    }

    /// The node that a replica of the shard is to go to, among those that `may` and whose zones may.
    pub(super) fn find(
        &mut self,
        layout: &Layout<'_>,
        level: Level,
        shard: usize,
        may: impl Fn(usize) -> bool,
        zone_may: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let tier = self.tiers.iter_mut().find(|tier| tier.level == level)?;
        tier.find(layout, shard, &may, &zone_may)
    }

    /// Whether any node has room at a level.
    pub(super) fn is_open(&self, level: Level) -> bool {
        self.tiers
            .iter()
            .any(|tier| tier.level == level && tier.fields.iter().any(|field| field.open_count > 0))
    }

    /// Nodes that lack less than a replica of the mean weight count as filled up to the floor, or no longer do. Few replicas would fit
    /// there, and each would be held against all such nodes.
    pub(super) fn narrow_floor(&mut self, layout: &Layout<'_>, narrow: bool) {
        for tier in self.tiers.iter_mut().filter(|tier| tier.level == Level::Floor) {
            tier.crumb = if narrow { self.mean } else { 0 };
            tier.fill(layout);
        }
    }

    /// Looks again which nodes have room.
    pub(super) fn refill(&mut self, layout: &Layout<'_>) {
        for tier in &mut self.tiers {
            tier.fill(layout);
        }
    }
}
