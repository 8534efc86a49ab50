//! How nodes stand, before and after: what each has, and how near that is to its share.

use serde::Serialize;

use super::layout::{Layout, part};
use super::lead::{Led, fair_totals};
use super::state::Condition;

/// Parts are given in millionths.
pub const PPM: u64 = 1_000_000;

/// All nodes, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Each node that was given, and each unknown one that has replicas.
    pub nodes: Vec<Row>,
    /// How even they are.
    pub balance: Balance,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its id.
    pub node: String,
    /// Its zone; its own id when it has none.
    pub zone: String,
    /// Its relative capacity.
    pub weight: u32,
    /// Whether it may have replicas.
    pub condition: Condition,
    /// Replicas that it has.
    pub replicas: u64,
    /// Shards that it leads.
    pub leads: u64,
    /// Bytes of its replicas.
    pub bytes: u64,
    /// Accounts in its replicas.
    pub accounts: u64,
    /// Operations a second in the shards that it leads, in thousandths.
    pub operations_milli: u64,
    /// Its load as a part of its share, in millionths. `None`: it has no share, since it may not have replicas.
    pub load_ppm: Option<u64>,
}

/// What the nodes that have a share have of it, in millionths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// The most loaded node, all kinds of load together.
    pub load_most_ppm: u64,
    /// The least loaded one.
    pub load_least_ppm: u64,
    /// The node with the most bytes for its share.
    pub bytes_most_ppm: u64,
    /// With the most accounts.
    pub accounts_most_ppm: u64,
    /// With the most operations.
    pub operations_most_ppm: u64,
    /// With the most leads.
    pub leads_most_ppm: u64,
}

/// Both tables, before and after.
pub(super) fn tables(layout: &Layout<'_>, led: &[Led]) -> (Table, Table) {
    let before = table(layout, led, false);
    let after = table(layout, led, true);
    (before, after)
}

fn table(layout: &Layout<'_>, led: &[Led], after: bool) -> Table {
    let mut rows: Vec<Row> = layout
        .nodes
        .iter()
        .map(|node| Row {
            node: node.id.to_owned(),
            zone: layout.zones[node.zone].clone(),
            weight: node.weight,
            condition: node.condition,
            replicas: 0,
            leads: 0,
            bytes: 0,
            accounts: 0,
            operations_milli: 0,
            load_ppm: None,
        })
        .collect();
    let mut loads = vec![0u64; rows.len()];
    for (shard, led) in layout.shards.iter().zip(led) {
        for slot in &shard.slots {
            let node = if after {
                slot.node
            } else {
                slot.before.map(|(_, node)| node)
            };
            let Some(node) = node else { continue };
            let row = &mut rows[node];
            row.replicas += 1;
            row.bytes = row.bytes.saturating_add(shard.given.bytes);
            row.accounts = row.accounts.saturating_add(shard.given.accounts);
            loads[node] += shard.hold;
        }
        if let Some(node) = if after { led.after } else { led.before } {
            let row = &mut rows[node];
            row.leads += 1;
            row.operations_milli = row.operations_milli.saturating_add(shard.given.operations_milli);
            loads[node] += shard.lead;
        }
    }
    for (((row, load), fair), node) in rows
        .iter_mut()
        .zip(loads)
        .zip(fair_totals(layout))
        .zip(&layout.nodes)
    {
        row.load_ppm = node.usable.then(|| part(load, fair));
    }
    let balance = balance(layout, &rows);
    Table { nodes: rows, balance }
}

fn balance(layout: &Layout<'_>, rows: &[Row]) -> Balance {
    let sharing = || layout.nodes.iter().zip(rows).filter(|(node, _)| node.usable);
    let shares: u128 = sharing().map(|(node, _)| u128::from(node.fair)).sum();
    let most = |amount: fn(&Row) -> u64| {
        let all: u128 = sharing().map(|(_, row)| u128::from(amount(row))).sum();
        let parts = sharing().map(|(node, row)| {
            let even = all * u128::from(node.fair) / shares.max(1);
            part(amount(row), u64::try_from(even).unwrap_or(u64::MAX))
        });
        if all == 0 { PPM } else { parts.max().unwrap_or(0) }
    };
    let loads = || sharing().filter_map(|(_, row)| row.load_ppm);
    Balance {
        load_most_ppm: loads().max().unwrap_or(0),
        load_least_ppm: loads().min().unwrap_or(0),
        bytes_most_ppm: most(|row| row.bytes),
        accounts_most_ppm: most(|row| row.accounts),
        operations_most_ppm: most(|row| row.operations_milli),
        leads_most_ppm: most(|row| row.leads),
    }
}
