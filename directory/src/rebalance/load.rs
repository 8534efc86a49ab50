//! What each shard weighs: bytes, accounts, operations and leads made into one whole number for a replica, and one for the lead.

use super::state::{Shard, Shares};

/// What all replicas and leads of the cluster weigh together, rounding aside.
const TOTAL: u128 = 1 << 44;

/// Weights of the shards, in the order in which they were given.
#[derive(Debug)]
pub(super) struct Loads {
    /// Of each replica; never 0.
    pub(super) holds: Vec<u64>,
    /// Of the lead.
    pub(super) leads: Vec<u64>,
}

/// Weighs the shards. A kind of load of which there is nothing gives its share to replicas, or to leads.
pub(super) fn weigh(shards: &[&Shard], replicas: u32, shares: &Shares) -> Loads {
    let sum = |amount: fn(&Shard) -> u64| shards.iter().map(|shard| u128::from(amount(shard))).sum::<u128>();
    let (bytes, accounts) = (sum(|shard| shard.bytes), sum(|shard| shard.accounts));
    let operations = sum(|shard| shard.operations_milli);
    let present = |share: u32, total: u128| if total == 0 { 0 } else { u128::from(share) };
    let absent = |share: u32, total: u128| u128::from(share) - present(share, total);
    let of_replicas =
        u128::from(shares.replicas.max(1)) + absent(shares.bytes, bytes) + absent(shares.accounts, accounts);
    let of_leads = u128::from(shares.leaders) + absent(shares.operations, operations);
    let shares_in_all = of_replicas
        + of_leads
        + present(shares.bytes, bytes)
        + present(shares.accounts, accounts)
        + present(shares.operations, operations);
    let count = shards.len().max(1) as u128;
    let replicas = u128::from(replicas.max(1));
    // What one unit of an amount weighs is too little for a whole number, so the amount is multiplied first. No overflow: the
    // total has 45 bits, an amount 64.
    let part = |share: u128, amount: u64, total: u128| match total {
        0 => 0,
        total => TOTAL * share / shares_in_all * u128::from(amount) / total,
    };
    let narrow = |load: u128| u64::try_from(load).unwrap_or(u64::MAX);
    let hold = |shard: &&Shard| {
        let load = part(u128::from(shares.bytes), shard.bytes, bytes)
            + part(u128::from(shares.accounts), shard.accounts, accounts)
            + part(of_replicas, 1, count);
        narrow(load / replicas).max(1)
    };
    let lead = |shard: &&Shard| {
        let load = part(u128::from(shares.operations), shard.operations_milli, operations)
            + part(of_leads, 1, count);
        narrow(load)
    };
    let (mut holds, mut leads): (Vec<u64>, Vec<u64>) = (
        shards.iter().map(hold).collect(),
        shards.iter().map(lead).collect(),
    );
    if replicas == 1 {
        // The only replica leads: what the lead weighs goes where it goes.
        for (hold, lead) in holds.iter_mut().zip(&mut leads) {
            *hold += std::mem::take(lead);
        }
    }
    Loads { holds, leads }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ShardId;

    fn shard(bytes: u64, accounts: u64, operations_milli: u64) -> Shard {
        Shard {
            id: ShardId(0),
            generation: 1,
            replicas: Vec::new(),
            leader: None,
            bytes,
            accounts,
            operations_milli,
        }
    }

    #[test]
    fn shares_are_kept_and_absent_kinds_are_even() {
        let shards = [shard(300, 10, 0), shard(100, 10, 0)];
        let shards: Vec<&Shard> = shards.iter().collect();
        let loads = weigh(&shards, 3, &Shares::default());
        let all: u64 = loads
            .holds
            .iter()
            .map(|hold| hold * 3)
            .chain(loads.leads.iter().copied())
            .sum();
        assert!(u128::from(all).abs_diff(TOTAL) < 100, "{all}");
        assert_eq!(loads.leads[0], loads.leads[1]);
        // Bytes count 40, accounts and replicas 15 together: 30 + 7.5 against 10 + 7.5.
        let ratio = loads.holds[0] as f64 / loads.holds[1] as f64;
        assert!((ratio - 37.5 / 17.5).abs() < 1e-6, "{ratio}");
    }

    #[test]
    fn the_only_replica_carries_the_lead() {
        let shards = [shard(100, 10, 0), shard(100, 10, 4_000)];
        let loads = weigh(&shards.iter().collect::<Vec<_>>(), 1, &Shares::default());
        assert!(
            loads.holds[1] > loads.holds[0] && loads.leads == [0, 0],
            "{loads:?}"
        );
    }

    #[test]
    fn nothing_and_everything_can_be_weighed() {
        assert!(weigh(&[], 0, &Shares::default()).holds.is_empty());
        let shares = Shares {
            bytes: 0,
            accounts: 0,
            replicas: 0,
            operations: 0,
            leaders: 0,
        };
        let empty = shard(0, 0, 0);
        assert!(weigh(&[&empty, &empty], 1, &shares).holds[0] > 0);
        let shares = Shares {
            bytes: u32::MAX,
            accounts: u32::MAX,
            replicas: u32::MAX,
            operations: u32::MAX,
            leaders: u32::MAX,
        };
        let full = shard(u64::MAX, u64::MAX, u64::MAX);
        let loads = weigh(&[&full; 3], 3, &shares);
        assert_eq!(loads.holds[0], loads.holds[2]);
    }
}
