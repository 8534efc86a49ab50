//! Groups of three on three nodes of one process: elections, handovers, followers that are behind, members that change.

use std::collections::HashMap;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rookery_proto::Status;
use rookery_proto::replication::v1::{Request, reply};
use tempfile::TempDir;

use super::*;
use crate::transport::{Transport, answer_timeout};

/// The nodes of one process, and which of them cannot be reached.
#[derive(Default)]
pub(super) struct Hub {
    members: Mutex<HashMap<String, Arc<Member>>>,
    /// From whom to whom nothing gets through.
    cut: Mutex<Vec<(String, String)>>,
    calls: std::sync::atomic::AtomicUsize,
}

impl Hub {
    pub(super) fn cut_off(&self, node: &str) {
        for other in ["a", "b", "c", "d"] {
            self.cut.lock().push((node.to_owned(), other.to_owned()));
            self.cut.lock().push((other.to_owned(), node.to_owned()));
        }
    }

    /// Calls so far.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(super) fn heal(&self) {
        self.cut.lock().clear();
    }

    fn is_cut(&self, from: &str, to: &str) -> bool {
        self.cut
            .lock()
            .iter()
            .any(|(cut_from, cut_to)| cut_from == from && cut_to == to)
    }
}

struct Way {
    hub: Arc<Hub>,
    from: String,
}

impl Transport for Way {
    fn call(&self, node: &str, request: Request) -> BoxFuture<'static, Result<reply::Call, Status>> {
        let (hub, from, to) = (Arc::clone(&self.hub), self.from.clone(), node.to_owned());
        hub.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Box::pin(async move {
            let unreachable = || Status::unavailable("cut off");
            if hub.is_cut(&from, &to) {
                return Err(unreachable());
            }
            let member = hub.members.lock().get(&to).cloned().ok_or_else(unreachable)?;
            // Nobody waits for ever, as on a network.
            let patience = answer_timeout(&request);
            let answer = tokio::time::timeout(patience, member.serve(request)).await;
            let answer = answer.unwrap_or_else(|_| Err(unreachable()));
            if hub.is_cut(&to, &from) {
                return Err(unreachable());
            }
            answer
        })
    }
}

pub(super) struct Nodes {
    pub(super) hub: Arc<Hub>,
    folders: HashMap<String, TempDir>,
    read_leases: bool,
}

pub(super) fn members(of: &[(u64, &str)]) -> Vec<GroupMember> {
    of.iter()
        .map(|(replica, node)| GroupMember {
            replica: ReplicaId(*replica),
            node: (*node).to_owned(),
            witness: false,
        })
        .collect()
}

impl Nodes {
    pub(super) async fn three() -> (Self, Vec<Arc<Group>>) {
        Self::three_with(false).await
    }

    async fn three_with(read_leases: bool) -> (Self, Vec<Arc<Group>>) {
        Self::of(&[(1, "a"), (2, "b"), (3, "c")], read_leases).await
    }

    /// A group of these, the first of which leads.
    pub(super) async fn of(all: &[(u64, &str)], read_leases: bool) -> (Self, Vec<Arc<Group>>) {
        let mut nodes = Self {
            hub: Arc::default(),
            folders: HashMap::new(),
            read_leases,
        };
        let all = members(all);
        let mut groups = Vec::new();
        for member in &all {
            nodes.start(&member.node);
        }
        for member in &all {
            let spec = ReplicaSpec {
                group: GROUP,
                replica: member.replica,
                start: Start::Form(all.clone()),
            };
            groups.push(nodes.member(&member.node).open_group(spec).await.expect("opens"));
        }
        (nodes, groups)
    }

    pub(super) fn start(&mut self, node: &str) {
        let folder = self
            .folders
            .entry(node.to_owned())
            .or_insert_with(|| tempfile::tempdir().expect("tempdir"));
        let options = MemberOptions {
            node: node.to_owned(),
            read_leases: self.read_leases,
            ..MemberOptions::default()
        };
        let way = Way {
            hub: Arc::clone(&self.hub),
            from: node.to_owned(),
        };
        let member = Member::open_with(folder.path(), options, Arc::new(way)).expect("opens");
        self.hub.members.lock().insert(node.to_owned(), member);
    }

    pub(super) fn member(&self, node: &str) -> Arc<Member> {
        Arc::clone(&self.hub.members.lock()[node])
    }

    pub(super) async fn resume(&self, node: &str, replica: u64) -> Arc<Group> {
        let spec = ReplicaSpec {
            group: GROUP,
            replica: ReplicaId(replica),
            start: Start::Resume,
        };
        self.member(node).open_group(spec).await.expect("opens")
    }

    pub(super) async fn join(&self, node: &str, replica: u64) -> Arc<Group> {
        let spec = ReplicaSpec {
            group: GROUP,
            replica: ReplicaId(replica),
            start: Start::Join,
        };
        self.member(node).open_group(spec).await.expect("opens")
    }

    /// Takes a node away, as it is.
    pub(super) async fn stop(&self, node: &str) {
        let member = self.hub.members.lock().remove(node).expect("runs");
        member.close().await;
        // What it was asked meanwhile still holds it for a moment.
        while Arc::strong_count(&member) > 1 {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn close(self) {
        let members: Vec<_> = self
            .hub
            .members
            .lock()
            .drain()
            .map(|(_, member)| member)
            .collect();
        for member in members {
            member.close().await;
        }
    }
}

/// Has the first of the replicas lead. Another may have been elected, and may be again as long as the nodes are not sure of each other.
pub(super) async fn first_leads(groups: &[Arc<Group>]) -> Leader {
    let led = async {
        loop {
            for group in &groups[1..] {
                if group.leads() {
                    group.hand_over(ReplicaId(1)).await;
                }
            }
            if groups[0].leads()
                && let Ok(leader) = groups[0].lead().await
            {
                return leader;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(std::time::Duration::from_secs(60), led).await {
        Ok(leader) => leader,
        Err(_) => {
            let said: Vec<_> = groups.iter().map(|group| group.describe()).collect();
            panic!("the first does not lead: {said:#?}");
        }
    }
}

/// The first of the replicas that leads; fails with what they are when none does for long.
pub(super) async fn any_leader(groups: &[Arc<Group>]) -> (usize, Leader) {
    let found = async {
        loop {
            for (index, group) in groups.iter().enumerate() {
                if group.leads()
                    && let Ok(leader) = group.lead().await
                {
                    return (index, leader);
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(std::time::Duration::from_secs(60), found).await {
        Ok(found) => found,
        Err(_) => {
            let said: Vec<_> = groups.iter().map(|group| group.describe()).collect();
            panic!("nobody leads: {said:#?}");
        }
    }
}

pub(super) async fn until_value(member: &Member, key: &str, wanted: &str) {
    while value(member, key).as_deref() != Some(wanted) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_has_all_that_was_acknowledged() {
    let (mut nodes, groups) = Nodes::three().await;
    let leader = first_leads(&groups).await;
    for n in 0..50 {
        assert_eq!(commit(&leader, put(&n.to_string(), "v")).await, Ok(()));
    }
    assert_eq!(groups[0].confirm().await, Ok(()));
    assert!(groups[1].confirm().await.is_err());
    drop(leader);
    let rest = groups[1..].to_vec();
    drop(groups);
    nodes.stop("a").await;

    let (index, leader) = any_leader(&rest).await;
    let member = nodes.member(["b", "c"][index]);
    for n in 0..50 {
        assert_eq!(value(&member, &n.to_string()).as_deref(), Some("v"), "{n}");
    }
    assert_eq!(commit(&leader, put("later", "w")).await, Ok(()));
    nodes.start("a");
    nodes.resume("a", 1).await;
    until_value(&nodes.member("a"), "later", "w").await;
    drop((leader, rest, member));
    nodes.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_neither_reads_nor_writes() {
    cut_off_leader(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_it_read_by_its_lease_once_another_can_lead() {
    cut_off_leader(true).await;
}

async fn cut_off_leader(read_leases: bool) {
    let (nodes, groups) = Nodes::three_with(read_leases).await;
    let leader = first_leads(&groups).await;
    assert_eq!(commit(&leader, put("k", "1")).await, Ok(()));
    assert_eq!(groups[0].confirm().await, Ok(()));
    nodes.hub.cut_off("a");
    // Sent, perhaps, but never agreed on.
    let pending = leader.propose(put("k", "never")).await;
    let (_, new) = any_leader(&groups[1..]).await;
    assert_eq!(commit(&new, put("k", "2")).await, Ok(()));
    assert!(groups[0].confirm().await.is_err());
    assert_eq!(value(&nodes.member("a"), "k").as_deref(), Some("1"));
    nodes.hub.heal();
    assert!(pending.await.is_err());
    until_value(&nodes.member("a"), "k", "2").await;
    drop((leader, new, groups));
    nodes.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handover_to_one_that_does_not_take_over_leaves_no_group_without_a_leader() {
    let (nodes, groups) = Nodes::three().await;
    let leader = first_leads(&groups).await;
    assert_eq!(commit(&leader, put("k", "1")).await, Ok(()));
    nodes.hub.cut_off("b");
    groups[0].hand_over(ReplicaId(2)).await;
    assert!(commit(&leader, put("k", "refused")).await.is_err());
    let committed = async {
        loop {
            let (_, new) = any_leader(&groups).await;
            if commit(&new, put("k", "2")).await.is_ok() {
                return;
            }
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(60), committed).await;
    assert!(waited.is_ok(), "nobody leads");
    drop((leader, groups));
    nodes.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hands_over_is_named_no_more() {
    let (nodes, groups) = Nodes::three().await;
    let leader = first_leads(&groups).await;
    assert_eq!(commit(&leader, put("k", "1")).await, Ok(()));
    assert_eq!(groups[0].leader().as_deref(), Some("a"));
    // Who is to take over does not hear of it.
    nodes.hub.cut_off("b");
    groups[0].hand_over(ReplicaId(2)).await;
    assert_ne!(groups[0].leader().as_deref(), Some("a"));
    let told = async {
        while groups[2].leader().as_deref() == Some("a") {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(60), told).await;
    assert!(waited.is_ok(), "a follower names who hands over");
    nodes.hub.heal();
    drop((leader, groups));
    nodes.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_the_lead_knows_who_has_it() {
    let (nodes, groups) = Nodes::three().await;
    let leader = first_leads(&groups).await;
    assert_eq!(commit(&leader, put("k", "1")).await, Ok(()));
    groups[0].give_up_lead().await;
    let new = groups[0].leader().expect("somebody leads");
    assert_ne!(new, "a");
    assert!(!groups[0].leads());
    drop((leader, groups));
    nodes.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_compared_at_one_position() {
    let (nodes, groups) = Nodes::three().await;
    let leader = first_leads(&groups).await;
    for n in 0..20 {
        assert_eq!(commit(&leader, put(&n.to_string(), "v")).await, Ok(()));
    }
    let compared = nodes.member("a").compare(GROUP).await.expect("leads");
    let digests: Vec<_> = compared
        .iter()
        .map(|one| one.digest.clone().expect("is there"))
        .collect();
    assert_eq!(digests.len(), 3);
    assert_eq!(digests[0].rows, 20);
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    assert!(
        nodes.member("b").compare(GROUP).await.is_err(),
        "who follows does not compare"
    );

    // A row that came by no entry is seen.
    let store = Arc::clone(nodes.member("b").store());
    let mut astray = store.begin();
    store.gather(&mut astray, &put("7", "w")).expect("gathers");
    store.apply(astray).expect("writes");
    drop(store);
    let compared = nodes.member("a").compare(GROUP).await.expect("leads");
    for one in compared {
        let digest = one.digest.expect("is there");
        assert_eq!(digest.hash == digests[0].hash, one.node != "b", "{}", one.node);
    }
    drop((leader, groups));
    nodes.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_does_not_hear_is_replaced() {
    let (nodes, groups) = Nodes::three().await;
    let leader = first_leads(&groups).await;
    assert_eq!(commit(&leader, put("k", "1")).await, Ok(()));
    // What it sends arrives, what is sent to it does not.
    for other in ["b", "c"] {
        nodes.hub.cut.lock().push((other.to_owned(), "a".to_owned()));
    }
    let (_, new) = any_leader(&groups[1..]).await;
    assert_eq!(commit(&new, put("k", "2")).await, Ok(()));
    drop((leader, new, groups));
    nodes.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_without_a_gap_in_what_is_known() {
    let (nodes, groups) = Nodes::three().await;
    let leader = first_leads(&groups).await;
    assert_eq!(commit(&leader, put("k", "1")).await, Ok(()));
    groups[0].hand_over(ReplicaId(3)).await;
    // Mostly the one that was asked; another, when that is late.
    let (index, new) = any_leader(&groups[1..]).await;
    let member = nodes.member(["b", "c"][index]);
    assert_eq!(value(&member, "k").as_deref(), Some("1"));
    assert_eq!(commit(&new, put("k", "2")).await, Ok(()));
    assert!(commit(&leader, put("k", "late")).await.is_err());
    assert_eq!(value(&member, "k").as_deref(), Some("2"));
    drop((leader, new, groups, member));
    nodes.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_far_behind_is_given_the_state() {
    let (mut nodes, groups) = Nodes::three().await;
    let leader = first_leads(&groups).await;
    assert_eq!(commit(&leader, put("stale", "s")).await, Ok(()));
    until_value(&nodes.member("c"), "stale", "s").await;
    let first = groups[..2].to_vec();
    drop(groups);
    nodes.stop("c").await;
    let mut batch = put("k", "1");
    batch.delete(Column::Rows, key_of(GROUP, "stale"));
    batch.put(Column::Bodies, key_of(GROUP, "body"), vec![7; 3_000_000]);
    batch.add(key_of(GROUP, "n"), 5);
    assert_eq!(commit(&leader, batch).await, Ok(()));
    let member = nodes.member("a");
    let applied = first[0].applied().expect("has applied");
    for _ in 0..2 {
        member.cut_log().await;
        assert_eq!(commit(&leader, put("more", "m")).await, Ok(()));
    }
    while member.log.state(ReplicaId(1)).purged.is_none() {
        tokio::task::yield_now().await;
    }
    // Who is a little behind finds what was applied since the flush before the last.
    assert_eq!(member.log.state(ReplicaId(1)).purged, Some(applied));
    nodes.start("c");
    let replica = nodes.resume("c", 3).await;
    let behind = nodes.member("c");
    // The columns of a state are taken in one after the other.
    while replica.applied() < first[0].applied() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    drop(replica);
    assert_eq!(value(&behind, "more").as_deref(), Some("m"));
    assert_eq!(value(&behind, "stale"), None);
    let body = behind
        .store()
        .get(Column::Bodies, &key_of(GROUP, "body"))
        .expect("reads");
    assert_eq!(body.map(|body| body.len()), Some(3_000_000));
    assert_eq!(commit(&leader, put("k", "2")).await, Ok(()));
    until_value(&behind, "k", "2").await;
    // The state is there after a crash, too.
    drop(behind);
    nodes.stop("c").await;
    nodes.start("c");
    assert_eq!(value(&nodes.member("c"), "more").as_deref(), Some("m"));
    drop((leader, first, member));
    nodes.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_and_go_under_new_numbers() {
    let (mut nodes, groups) = Nodes::three().await;
    let leader = first_leads(&groups).await;
    assert_eq!(commit(&leader, put("k", "1")).await, Ok(()));
    // Another node takes the place of one.
    nodes.start("d");
    nodes.join("d", 4).await;
    groups[0]
        .set_members(&members(&[(1, "a"), (2, "b"), (4, "d")]))
        .await
        .expect("changes");
    until_value(&nodes.member("d"), "k", "1").await;
    nodes.member("c").remove_group(GROUP).await.expect("removes");
    assert_eq!(value(&nodes.member("c"), "k"), None);
    assert_eq!(commit(&leader, put("k", "2")).await, Ok(()));
    // The same node again, as somebody else.
    nodes.join("c", 5).await;
    groups[0]
        .set_members(&members(&[(1, "a"), (4, "d"), (5, "c")]))
        .await
        .expect("changes");
    until_value(&nodes.member("c"), "k", "2").await;
    let standing = groups[0].standing();
    let voters: Vec<u64> = standing.members.iter().map(|(replica, _, _)| replica.0).collect();
    assert_eq!((voters, standing.changing), (vec![1, 4, 5], false));
    // Said again it changes nothing.
    groups[0]
        .set_members(&members(&[(1, "a"), (4, "d"), (5, "c")]))
        .await
        .expect("changes");
    drop((leader, groups));
    nodes.close().await;
}
