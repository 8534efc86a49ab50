//! A year of a cluster, a week at a time: accounts grow, nodes are added, drained, fall sick and are lost, a zone goes and
//! comes back empty, and each time there is a plan, which is carried out.

use std::time::{Duration, Instant};

use rookery_directory::rebalance::{Condition, Plan, Why, plan};

use super::executor::{assert_safe, carry_out, carry_out_until_lost};
use super::world::{Size, World};

/// Weeks of the year.
const WEEKS: usize = 52;

/// The week in which a zone goes, and the one in which its nodes come back empty.
const ZONE_GOES: usize = 20;
const ZONE_RETURNS: usize = 24;

/// What a plan came to.
pub(crate) struct Record {
    pub(crate) week: usize,
    pub(crate) event: String,
    /// Active ones.
    pub(crate) nodes: usize,
    pub(crate) transfers: usize,
    pub(crate) leads: usize,
    pub(crate) bytes: u64,
    pub(crate) bytes_least: u64,
    /// By the clock, and of the processor.
    pub(crate) took: Duration,
    pub(crate) cpu: Duration,
    /// Most and least loaded node.
    pub(crate) before: (f64, f64),
    pub(crate) after: (f64, f64),
    /// Bytes in all replicas.
    pub(crate) bytes_stored: u64,
}

impl Record {
    /// Bytes moved for each that had to be; 1 when none were.
    pub(crate) fn ratio(&self) -> f64 {
        if self.bytes == 0 {
            1.0
        } else {
            self.bytes as f64 / self.bytes_least.max(1) as f64
        }
    }
}

/// Lives through the year.
pub(crate) fn live(size: Size, seed: u64) -> Vec<Record> {
    let mut world = World::new(size, seed);
    let mut records = Vec::new();
    plan_and_carry_out(&mut world, 0, "first placement".to_owned(), &mut records);
    let some = |count: usize| (size.nodes * count / 1000).max(1);
    for week in 1..=WEEKS {
        world.grow();
        let mut events = vec!["growth".to_owned()];
        if week == ZONE_GOES {
            // Nothing else is lost before its replicas are replaced, for two losses at once can take a majority.
            set_zone(&mut world, 2, Condition::Gone);
            plan_and_carry_out(&mut world, week, "a zone lost".to_owned(), &mut records);
        }
        if week % 4 == 0 {
            // In a small cluster, what is lost and drained is a larger part.
            let added = some(20).max(5);
            world.add_nodes(added);
            events.push(format!("{added} nodes added"));
        }
        if week % 3 == 0 {
            change(&mut world, some(5), Condition::Draining);
            events.push(format!("{} drained", some(5)));
        }
        if week % 5 == 0 {
            change(&mut world, 1, Condition::Sick);
            events.push("1 sick".to_owned());
        }
        if week % 2 == 0 {
            change(&mut world, 1, Condition::Gone);
            events.push("1 lost".to_owned());
        }
        if week == ZONE_RETURNS {
            set_zone(&mut world, 2, Condition::Active);
            events.push("the zone back, empty".to_owned());
        }
        if week % 7 == 0 {
            // A node is lost while a plan is half carried out: the next one goes on from there.
            let (half, _) = planned(&world, week, events.join(", "));
            let urgent = half
                .transfers
                .iter()
                .filter(|transfer| transfer.why == Why::NodeGone)
                .count();
            let broken_off = carry_out_until_lost(&mut world, &half, urgent.max(half.transfers.len() / 2));
            println!(
                "week {week:>2}, a node lost half-way: {} of {} transfers taken back",
                broken_off.reverted,
                half.transfers.len()
            );
            world.version += 1;
            events = vec!["1 lost half-way".to_owned()];
        }
        plan_and_carry_out(&mut world, week, events.join(", "), &mut records);
        if !(ZONE_GOES..ZONE_RETURNS).contains(&week) {
            world.remove_empty();
        }
    }
    records
}

fn change(world: &mut World, count: usize, condition: Condition) {
    for _ in 0..count {
        let node = world.any_active();
        world.nodes[node].condition = condition;
    }
}

fn set_zone(world: &mut World, zone: usize, condition: Condition) {
    for node in world.nodes.iter_mut().filter(|node| node.zone == zone) {
        node.condition = condition;
    }
}

/// Processor time of this thread.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("schedstat");
    let nanos = stat.split_whitespace().next().expect("a number");
    Duration::from_nanos(nanos.parse().expect("a number"))
}

fn planned(world: &World, week: usize, event: String) -> (Plan, Record) {
    let state = world.state();
    let (started, cpu_started) = (Instant::now(), cpu());
    let plan = plan(&state);
    let (took, cpu) = (started.elapsed(), cpu() - cpu_started);
    let record = Record {
        week,
        event,
        nodes: world
            .nodes
            .iter()
            .filter(|node| node.condition == Condition::Active)
            .count(),
        transfers: plan.transfers.len(),
        leads: plan.leads.len(),
        bytes: plan.bytes,
        bytes_least: plan.bytes_least,
        took,
        cpu,
        before: world.balance(),
        after: (0.0, 0.0),
        bytes_stored: plan.after.nodes.iter().map(|row| row.bytes).sum(),
    };
    (plan, record)
}

fn plan_and_carry_out(world: &mut World, week: usize, event: String, records: &mut Vec<Record>) {
    let (plan, mut record) = planned(world, week, event);
    let outcome = carry_out(world, &plan);
    world.version += 1;
    assert_safe(world);
    record.after = world.balance();
    // What has been carried out leaves nothing to be done.
    let next = rookery_directory::rebalance::plan(&world.state());
    assert!(
        next.is_empty(),
        "week {week}: {:?} {:?}",
        next.transfers.first(),
        next.leads.first()
    );
    // What the plan foretold is what came.
    let foretold = plan.after.balance.load_most_ppm as f64 / 1e6;
    assert!(
        (foretold - record.after.0).abs() < 0.002,
        "week {week}: {foretold} foretold, {} came",
        record.after.0
    );
    assert!(plan.bytes_least <= plan.bytes);
    assert!(plan.problems.is_empty(), "week {week}: {:?}", plan.problems);
    println!(
        "week {week:>2}, {:<60} {:>6} transfers, {:>9.1} TB moved, {:.3} times the least, balance {:.3} to {:.3}, {:>4} ms, {} looks of {} ms at most, {} taken back",
        record.event,
        record.transfers,
        record.bytes as f64 / 1e12,
        record.ratio(),
        record.before.0,
        record.after.0,
        record.cpu.as_millis(),
        outcome.looks,
        outcome.slowest.as_millis(),
        outcome.reverted,
    );
    records.push(record);
}
