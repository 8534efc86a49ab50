//! Measures what groups at rest cost: CPU and memory for each node of three that share many groups.
//!
//! `cargo run --release -p rookery-replication --example idle_groups [groups] [seconds]`. The three nodes are members of one
//! process that call each other directly, so that what a network costs is left out: beats, a few a second for each pair of
//! nodes whatever the number of groups.
#![allow(clippy::print_stdout, reason = "it prints what it measures")]

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use parking_lot::RwLock;
use rookery_proto::Status;
use rookery_proto::replication::v1::{Request, reply};
use rookery_replication::GroupId;
use rookery_replication::group::{Group, GroupMember, Member, MemberOptions, ReplicaSpec, Start};
use rookery_replication::log::ReplicaId;
use rookery_replication::transport::Transport;

const NODES: [&str; 3] = ["a", "b", "c"];

/// Groups that are opened at one time.
const OPENED_AT_ONCE: u32 = 50;

#[derive(Default)]
struct Hub(RwLock<HashMap<String, Arc<Member>>>);

struct Way(Arc<Hub>);

impl Transport for Way {
    fn call(&self, node: &str, request: Request) -> BoxFuture<'static, Result<reply::Call, Status>> {
        let member = self.0.0.read().get(node).cloned();
        Box::pin(async move {
            let member = member.ok_or_else(|| Status::unavailable("is not there yet"))?;
            member.serve(request).await
        })
    }
}

/// CPU seconds of the process so far.
fn cpu() -> f64 {
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    // SAFETY: the call fills the structure that it is given.
    #[allow(unsafe_code)]
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Bytes of memory that the process has to itself.
fn memory() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes: u64 = line
        .and_then(|line| line.split_whitespace().next())
        .ok_or("no RssAnon")?
        .parse()?;
    Ok(kibibytes * 1024)
}

async fn open(members: &[Arc<Member>], group: u32) -> Result<Vec<Arc<Group>>, Box<dyn Error>> {
    let number = |node: usize| ReplicaId(1 + u64::from(group) * 3 + node as u64);
    // Each node leads its part.
    let order = (0..3).map(|offset| (group as usize + offset) % 3);
    let all: Vec<GroupMember> = order
        .map(|node| GroupMember {
            replica: number(node),
            node: NODES[node].to_owned(),
            witness: false,
        })
        .collect();
    let mut opened = Vec::new();
    for (node, member) in members.iter().enumerate() {
        let spec = ReplicaSpec {
            group: GroupId(group),
            replica: number(node),
            start: Start::Form(all.clone()),
        };
        opened.push(member.open_group(spec).await?);
    }
    Ok(opened)
}

async fn measure(groups: u32, seconds: f64) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let hub = Arc::new(Hub::default());
    let mut members = Vec::new();
    for node in NODES {
        let options = MemberOptions {
            node: node.to_owned(),
            ..MemberOptions::default()
        };
        let member = Member::open_with(folder.path().join(node), options, Arc::new(Way(Arc::clone(&hub))))?;
        hub.0.write().insert(node.to_owned(), Arc::clone(&member));
        members.push(member);
    }
    // What the first groups need (threads, buffers of the log and of the store) is not theirs alone.
    let mut opened = Vec::new();
    for group in 0..OPENED_AT_ONCE {
        opened.push(open(&members, group).await?);
    }
    settle(&opened).await;
    let (memory_before, began) = (memory()?, Instant::now());
    for first in (OPENED_AT_ONCE..OPENED_AT_ONCE + groups).step_by(OPENED_AT_ONCE as usize) {
        let end = (first + OPENED_AT_ONCE).min(OPENED_AT_ONCE + groups);
        for group in first..end {
            opened.push(open(&members, group).await?);
        }
        settle(&opened).await;
    }
    println!(
        "{groups} groups of three opened and led in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    // The elections are over when nothing but beats is left to do.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let grown = memory()?.saturating_sub(memory_before) as f64 / f64::from(groups) / 3.0 / 1024.0;
    let (cpu_before, began) = (cpu(), Instant::now());
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let share = (cpu() - cpu_before) / began.elapsed().as_secs_f64() / 3.0 * 100.0;
    let replicas = groups + OPENED_AT_ONCE;
    println!("{replicas} replicas at rest on each of 3 nodes for {seconds} s: {share:.2} % of a core a node");
    println!("memory: {grown:.1} KiB a replica (growth of RssAnon over {groups} groups)");
    for member in &members {
        member.close().await;
    }
    Ok(())
}

async fn settle(groups: &[Vec<Arc<Group>>]) {
    for group in groups.iter().flatten() {
        group.until_led().await;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let groups = arguments.next().map_or(Ok(1_000), |text| text.parse())?;
    let seconds = arguments.next().map_or(Ok(30.0), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(groups, seconds))
}
