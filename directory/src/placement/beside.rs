//! Where the replicas of a shard lie that is made beside another: on the same nodes, so that accounts have a short way, but where one
//! of these may have no more. Pure.

use std::collections::BTreeSet;

use super::ring::{Entry, Ring};
use super::{POINTS_PER_100_WEIGHT, load_max};
use crate::schema::ShardId;

/// A mailstore as seen by this choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its id.
    pub id: String,
    /// What fails as one with it; empty: nothing but itself.
    pub zone: String,
    /// Its relative capacity; 0 takes no shards.
    pub weight: u32,
    /// Replicas that are placed on it.
    pub replicas: u32,
    /// It is there, has room, and is not to be emptied.
    pub is_open: bool,
}

/// The nodes of a new shard beside one on the nodes `old`: each of these that is open, in its place, and in the place of another the first
/// open one after the shard on the ring. Those in zones of their own come first, then those with room, which is 1.05 times the share by
/// weight. `None` when there are too few.
pub fn beside(shard: ShardId, old: &[String], sites: &[Site]) -> Option<Vec<String>> {
    let open: Vec<&Site> = sites
        .iter()
        .filter(|site| site.is_open && site.weight > 0)
        .collect();
    let total: u64 = open.iter().map(|site| u64::from(site.weight)).sum();
    let placed: u32 = open.iter().map(|site| site.replicas).sum();
    let all = placed.saturating_add(u32::try_from(old.len()).unwrap_or(u32::MAX));
    let entries = open.iter().map(|site| Entry {
        id: &site.id,
        weight: site.weight,
        value: *site,
    });
    let ring: Vec<&Site> = Ring::new(entries, POINTS_PER_100_WEIGHT)
        .candidates(shard.0)
        .collect();
    let mut chosen: Vec<Option<&Site>> = old
        .iter()
        .map(|id| open.iter().copied().find(|site| site.id == *id))
        .collect();
    for slot in 0..chosen.len() {
        if chosen[slot].is_some() {
            continue;
        }
        let others: Vec<&Site> = chosen.iter().flatten().copied().collect();
        let ids: BTreeSet<&str> = others.iter().map(|site| site.id.as_str()).collect();
        let zones: BTreeSet<&str> = others.iter().map(|site| site.zone.as_str()).collect();
        // The first of those that are equal, which is the ring's order.
        let next = ring
            .iter()
            .filter(|site| !ids.contains(site.id.as_str()))
            .min_by_key(|site| {
                let shares_zone = !site.zone.is_empty() && zones.contains(site.zone.as_str());
                let has_room = u64::from(site.replicas) < load_max(all, site.weight, total);
                (shares_zone, !has_room)
            });
        chosen[slot] = Some(*next?);
    }
    Some(chosen.into_iter().flatten().map(|site| site.id.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites(zones: &[&str]) -> Vec<Site> {
        zones
            .iter()
            .zip('a'..)
            .map(|(zone, id)| Site {
                id: id.to_string(),
                zone: (*zone).to_owned(),
                weight: 100,
                replicas: 4,
                is_open: true,
            })
            .collect()
    }

    fn names(text: &str) -> Vec<String> {
        text.chars().map(String::from).collect()
    }

    fn closed(mut sites: Vec<Site>, ids: &str) -> Vec<Site> {
        for site in &mut sites {
            site.is_open = !ids.contains(&site.id);
        }
        sites
    }

    #[test]
    fn it_lies_where_the_other_does() {
        let sites = sites(&["", "", "", "", ""]);
        for shard in 0..20 {
            assert_eq!(beside(ShardId(shard), &names("cab"), &sites), Some(names("cab")));
        }
    }

    #[test]
    fn in_the_place_of_a_node_that_may_not_have_it_comes_another() {
        let mut firsts = BTreeSet::new();
        for shard in 0..50 {
            let chosen = beside(
                ShardId(shard),
                &names("abc"),
                &closed(sites(&["", "", "", "", ""]), "a"),
            );
            let chosen = chosen.unwrap();
            assert_eq!(chosen[1..], names("bc"), "the others stay where they were");
            assert!(["d", "e"].contains(&chosen[0].as_str()), "{chosen:?}");
            firsts.insert(chosen[0].clone());
        }
        assert_eq!(firsts.len(), 2, "the ring spreads them");
        assert_eq!(
            beside(ShardId(7), &names("abc"), &closed(sites(&["", "", ""]), "b")),
            None
        );
        assert_eq!(
            beside(ShardId(7), &names("a"), &closed(sites(&["", ""]), "ab")),
            None
        );
    }

    #[test]
    fn zones_of_their_own_come_before_room_and_room_before_the_ring() {
        let zoned = || closed(sites(&["x", "y", "x", "y", "z"]), "b");
        for shard in 0..50 {
            let chosen = beside(ShardId(shard), &names("ab"), &zoned()).unwrap();
            assert!(["d", "e"].contains(&chosen[1].as_str()), "{chosen:?}");
            let mut crowded = zoned();
            crowded[3].replicas = 40;
            let chosen = beside(ShardId(shard), &names("ab"), &crowded).unwrap();
            assert_eq!(chosen, names("ae"));
        }
        let mut weightless = closed(sites(&["", "", ""]), "a");
        weightless[1].weight = 0;
        assert_eq!(beside(ShardId(1), &names("a"), &weightless), Some(names("c")));
    }
}
