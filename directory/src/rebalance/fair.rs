//! Each node's fair share: by weight, but no more than the shards can give it.
//!
//! A node holds one replica of a shard at most, a zone as few as the zones allow, and a disk what fits on it. So a big node or zone
//! may be unable to take its part by weight; what it leaves goes to the others by theirs.

/// A node that shares.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sharer {
    /// Its zone, as an index.
    pub(super) zone: usize,
    /// Its weight.
    pub(super) weight: u32,
    /// The most that it can hold.
    pub(super) hold_max: u64,
}

/// The level is a number with so many binary places.
const LEVEL_BITS: u32 = 20;

/// The share of each of `sharers`, when `total` is shared out and no zone holds more than `zone_max`. When all together cannot
/// hold it, what is too much is shared out in proportion.
pub(super) fn shares(sharers: &[Sharer], zones: usize, zone_max: u64, total: u64) -> Vec<u64> {
    let zone_sums = |level: u128| {
        let mut sums = vec![0u128; zones];
        for sharer in sharers {
            sums[sharer.zone] += held(sharer, level);
        }
        sums
    };
    let zone_max = u128::from(zone_max);
    let level = least_level(|level| {
        let sum: u128 = zone_sums(level).into_iter().map(|sum| sum.min(zone_max)).sum();
        sum >= u128::from(total)
    });
    // A zone that is at its most has a lower level of its own.
    let mut levels = vec![level; zones];
    for (zone, sum) in zone_sums(level).into_iter().enumerate() {
        if sum > zone_max {
            let of_zone: Vec<&Sharer> = sharers.iter().filter(|sharer| sharer.zone == zone).collect();
            levels[zone] = least_level(|level| {
                of_zone.iter().map(|sharer| held(sharer, level)).sum::<u128>() >= zone_max
            });
        }
    }
    let shares: Vec<u128> = sharers
        .iter()
        .map(|sharer| held(sharer, levels[sharer.zone]))
        .collect();
    let sum: u128 = shares.iter().sum();
    let total = u128::from(total);
    shares
        .into_iter()
        .map(|share| {
            if sum < total {
                share * total / sum.max(1)
            } else {
                share
            }
        })
        .map(|share| u64::try_from(share).unwrap_or(u64::MAX))
        .collect()
}

/// What a node holds at a level: so much for each of its weight.
fn held(sharer: &Sharer, level: u128) -> u128 {
    ((level * u128::from(sharer.weight)) >> LEVEL_BITS).min(u128::from(sharer.hold_max))
}

/// The least level that suffices; the greatest when none does.
fn least_level(suffices: impl Fn(u128) -> bool) -> u128 {
    let (mut below, mut above) = (0u128, 1 << (64 + LEVEL_BITS));
    while above - below > 1 {
        let middle = below.midpoint(above);
        if suffices(middle) {
            above = middle;
        } else {
            below = middle;
        }
    }
    above
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sharer(zone: usize, weight: u32, hold_max: u64) -> Sharer {
        Sharer {
            zone,
            weight,
            hold_max,
        }
    }

    fn near(shares: &[u64], expected: &[u64]) {
        let near = shares
            .iter()
            .zip(expected)
            .all(|(share, expected)| share.abs_diff(*expected) <= 2);
        assert!(
            near && shares.len() == expected.len(),
            "{shares:?}, expected {expected:?}"
        );
    }

    #[test]
    fn by_weight_unless_a_node_or_a_zone_is_at_its_most() {
        let even = [sharer(0, 100, 900), sharer(1, 200, 900), sharer(2, 300, 900)];
        near(&shares(&even, 3, 900, 600), &[100, 200, 300]);
        let capped = [sharer(0, 100, 900), sharer(1, 200, 900), sharer(2, 300, 150)];
        near(&shares(&capped, 3, 900, 600), &[150, 300, 150]);
        // Three zones of very different size, of which each must hold every shard once.
        let zones = [
            sharer(0, 100, 300),
            sharer(1, 50, 300),
            sharer(1, 50, 300),
            sharer(2, 900, 300),
        ];
        near(&shares(&zones, 3, 300, 900), &[300, 150, 150, 300]);
    }

    #[test]
    fn what_does_not_fit_is_shared_out_all_the_same() {
        near(
            &shares(&[sharer(0, 100, 100), sharer(0, 100, 300)], 1, 1_000, 800),
            &[200, 600],
        );
        assert!(shares(&[], 0, 10, 100).is_empty());
        near(&shares(&[sharer(0, 100, 0)], 1, 10, 100), &[0]);
    }
}
