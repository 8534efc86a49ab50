//! Shards of several nodes in one process, over stores in memory and a clock that leaps: members and leads as the directory names them,
//! and what is told of replicas.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rookery_proto::Status;
use rookery_proto::directory::v1::{Shard, ShardReplica, WatchEvent};
use rookery_proto::mailstore::v1 as proto;
use rookery_proto::replication::v1::{Request, reply};
use rookery_replication::GroupId;
use rookery_replication::group::{Group, Member, MemberOptions};
use rookery_replication::log::{MemoryLog, ReplicaId};
use rookery_replication::store::MemoryDisk;
use rookery_replication::transport::{Transport, answer_timeout};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{HostedShard, Shards};
use crate::plan::{Command, Mutation};
use crate::schema::{AccountId, ShardId};
use crate::shard::ShardOptions;

/// How long anything may take, by the clock that leaps.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Default)]
struct Hub {
    members: Mutex<HashMap<String, Arc<Member>>>,
}

struct Way(Arc<Hub>);

impl Transport for Way {
    fn call(&self, node: &str, request: Request) -> BoxFuture<'static, Result<reply::Call, Status>> {
        let member = self.0.members.lock().get(node).cloned();
        Box::pin(async move {
            let unreachable = || Status::unavailable("the node is not there");
            let member = member.ok_or_else(unreachable)?;
            let patience = answer_timeout(&request);
            let answer = tokio::time::timeout(patience, member.serve(request)).await;
            answer.unwrap_or_else(|_| Err(unreachable()))
        })
    }
}

struct Node {
    shards: Arc<Shards>,
    keeping: JoinHandle<()>,
}

/// Nodes, and what the directory has told them.
struct World {
    hub: Arc<Hub>,
    nodes: HashMap<String, Node>,
}

/// A shard's row: its replicas as number and node, and whether all are taken.
fn row(id: u32, generation: u64, members: &[(u64, &str)], taken: bool, formed: bool) -> Shard {
    Shard {
        id,
        generation,
        formed,
        members: members
            .iter()
            .map(|(id, node)| ShardReplica {
                id: *id,
                node: (*node).to_owned(),
                taken,
            })
            .collect(),
        ..Shard::default()
    }
}

impl World {
    fn of(names: &[&str]) -> Self {
        let hub = Arc::new(Hub::default());
        let mut nodes = HashMap::new();
        for name in names {
            let options = MemberOptions {
                node: (*name).to_owned(),
                ..MemberOptions::default()
            };
            let way = Arc::new(Way(Arc::clone(&hub)));
            let log = Arc::new(MemoryLog::new());
            let member = Member::open_in_memory(MemoryDisk::new(), log, options, way).expect("opens");
            hub.members.lock().insert((*name).to_owned(), Arc::clone(&member));
            let shards = Arc::new(Shards::new((*name).to_owned(), member, ShardOptions::default()));
            let kept = Arc::clone(&shards);
            let keeping = tokio::spawn(async move { kept.keep_members().await });
            nodes.insert((*name).to_owned(), Node { shards, keeping });
        }
        Self { hub, nodes }
    }

    /// Tells all nodes of a shard.
    async fn place(&self, shard: Shard) {
        let event = WatchEvent {
            shards: vec![shard],
            ..WatchEvent::default()
        };
        for node in self.nodes.values() {
            node.shards.reconcile(|map| map.apply(&event)).await;
        }
    }

    /// A new shard, led by the first of its replicas.
    async fn form(&self, id: u32, members: &[(u64, &str)]) {
        self.place(row(id, 1, members, false, false)).await;
        self.place(row(id, 1, members, true, true)).await;
        let first = self.hosted(members[0].1, id);
        until("it is led by its first replica", || {
            let leads = first.shard().group().leads();
            if !leads {
                // Who was there first may have been elected.
                for (_, node) in &members[1..] {
                    let group = Arc::clone(self.hosted(node, id).shard().group());
                    let to = first.shard().group().replica();
                    if group.leads() && !group.hands_over() {
                        tokio::spawn(async move { group.hand_over(to).await });
                    }
                }
            }
            leads
        })
        .await;
    }

    fn shards(&self, node: &str) -> &Arc<Shards> {
        &self.nodes[node].shards
    }

    fn hosted(&self, node: &str, id: u32) -> Arc<HostedShard> {
        self.shards(node).get(ShardId(id)).expect("is open")
    }

    fn group(&self, node: &str, id: u32) -> Arc<Group> {
        Arc::clone(self.hosted(node, id).shard().group())
    }

    async fn close(self) {
        for node in self.nodes.values() {
            node.keeping.abort();
            node.shards.close().await;
        }
        let members: Vec<_> = self.hub.members.lock().drain().collect();
        for (_, member) in members {
            member.close().await;
        }
    }
}

/// Waits until something is so, and says after how long it was.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never so: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

fn members_of(group: &Group) -> Vec<(u64, bool)> {
    let members = group.standing().members;
    members
        .iter()
        .map(|(replica, _, votes)| (replica.0, *votes))
        .collect()
}

/// Has the shard do something that it writes down.
async fn write(hosted: &HostedShard, account: u64) -> Result<(), Status> {
    let put = proto::PutAccount {
        shard: hosted.id().0,
        account,
        ..proto::PutAccount::default()
    };
    let mutation = Mutation {
        account: AccountId(account),
        key: None,
        command: Command::PutAccount(put),
    };
    hosted.mutate(mutation).await.map(|_| ())
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_learns_holds_up_no_other_shard_and_is_given_up_at_once() {
    let world = World::of(&["a"]);
    for shard in [1, 2] {
        world.form(shard, &[(u64::from(shard), "a")]).await;
    }
    let groups = [world.group("a", 1), world.group("a", 2)];
    // The nodes of the new ones never answer.
    world.place(row(1, 2, &[(1, "a"), (11, "x")], true, true)).await;
    until("the first learns", || {
        members_of(&groups[0]) == [(1, true), (11, false)]
    })
    .await;
    world.place(row(2, 2, &[(2, "a"), (12, "y")], true, true)).await;
    let second = until("the second learns", || {
        members_of(&groups[1]) == [(2, true), (12, false)]
    });
    assert!(second.await <= Duration::from_secs(1));
    // The second is to have another one, which its node does not hold yet.
    world.place(row(1, 3, &[(1, "a")], true, true)).await;
    world.place(row(2, 3, &[(2, "a"), (13, "z")], false, true)).await;
    let back = until("nobody learns", || {
        members_of(&groups[0]) == [(1, true)] && members_of(&groups[1]) == [(2, true)]
    });
    assert!(back.await <= Duration::from_secs(1));
    assert!(write(&world.hosted("a", 1), 1).await.is_ok());
    world.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_lead_goes_at_once_when_the_placement_changes_and_late_when_its_node_came_back() {
    let world = World::of(&["a", "b", "c"]);
    world.form(1, &[(1, "a"), (2, "b"), (3, "c")]).await;
    let (a, b) = (world.group("a", 1), world.group("b", 1));
    // Seen to lead with this placement.
    tokio::time::sleep(Duration::from_secs(1)).await;
    world
        .place(row(1, 2, &[(2, "b"), (1, "a"), (3, "c")], true, true))
        .await;
    let planned = until("the new first leads", || b.leads()).await;
    assert!(planned <= Duration::from_secs(2), "{planned:?}");
    assert_eq!(members_of(&b), [(1, true), (2, true), (3, true)]);
    // Whatever took the lead from it.
    b.hand_over(a.replica()).await;
    until("another leads", || a.leads()).await;
    let home = until("the first leads again", || b.leads()).await;
    assert!(home >= Duration::from_secs(8), "{home:?}");
    world.close().await;
}

#[tokio::test(start_paused = true)]
async fn an_only_replica_moves_to_another_node_with_all_that_it_has() {
    let world = World::of(&["a", "d"]);
    world.form(1, &[(1, "a")]).await;
    let old = world.hosted("a", 1);
    write(&old, 7).await.expect("writes");
    let wanted = [(4, "d")];
    world.place(row(1, 2, &wanted, false, true)).await;
    // Before it is noted that the new one is held nothing changes.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(members_of(old.shard().group()), [(1, true)]);
    world.place(row(1, 2, &wanted, true, true)).await;
    let new = world.hosted("d", 1);
    let group = Arc::clone(new.shard().group());
    until("the new one votes alone", || {
        group.leads() && members_of(&group) == [(4, true)] && !group.standing().changing
    })
    .await;
    write(&new, 8).await.expect("writes");
    assert!(write(&old, 9).await.is_err());
    let (held, lost, led) = world.shards("d").report();
    assert_eq!((held.len(), lost.len()), (1, 0));
    assert_eq!(led[0].voters, [4]);
    // The directory has been told, and tells.
    drop(old);
    let told = Shard {
        voters: vec![4],
        ..row(1, 2, &wanted, true, true)
    };
    world.place(told).await;
    let member = Arc::clone(world.shards("a").member());
    assert_eq!(member.held(GroupId(1)).expect("reads"), None);
    drop((member, new, group));
    world.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_replicas_cost_is_told() {
    let world = World::of(&["a", "b", "c"]);
    world.form(1, &[(1, "a"), (2, "b"), (3, "c")]).await;
    let hosted = world.hosted("a", 1);
    assert_eq!(world.shards("a").loads()[0].operations_milli, 0);
    for account in 1..=60 {
        write(&hosted, account).await.expect("writes");
        hosted.count_operation();
        world.hosted("b", 1).count_operation();
    }
    for node in ["a", "b"] {
        let _ = world.shards(node).loads();
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    let loads = world.shards("a").loads();
    assert_eq!((loads.len(), loads[0].shard, loads[0].fetched), (1, 1, 0));
    assert_eq!(loads[0].bytes, 0, "not measured yet");
    world.shards("a").measure_once().await;
    assert!(world.shards("a").loads()[0].bytes > 0);
    assert!(loads[0].operations_milli > 0, "{loads:?}");
    assert_eq!(
        world.shards("b").loads()[0].operations_milli,
        0,
        "a follower serves nothing"
    );
    assert_eq!(hosted.shard().group().replica(), ReplicaId(1));
    world.close().await;
}
