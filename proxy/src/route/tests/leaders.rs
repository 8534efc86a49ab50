//! Calls find whoever leads: named, unnamed, silent, or not there yet.

use std::collections::HashMap;

use parking_lot::Mutex;
use rookery_proto::Body;
use rookery_proto::mailstore::v1::{Request, Store, Uploaded};

use super::*;

/// What a node does with a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mood {
    Leads,
    /// Says who leads, if it knows.
    Follows(&'static str),
    Down,
    /// Says nothing until its mood changes.
    Silent,
}

/// A node with one shard.
pub(super) struct FakeNode {
    pub(super) mood: watch::Sender<Mood>,
    asked: Mutex<Vec<Request>>,
    modseq: AtomicU64,
    disk: Arc<Mutex<Vec<u8>>>,
    /// Falls into this mood once an upload has brought so many bytes.
    pub(super) changes_at: Mutex<Option<(usize, Mood)>>,
}

impl FakeNode {
    pub(super) fn asked(&self) -> Vec<Request> {
        self.asked.lock().clone()
    }

    fn count(&self) -> usize {
        self.asked.lock().len()
    }

    async fn until_asked(&self, count: usize) {
        while self.count() < count {
            tokio::task::yield_now().await;
        }
    }

    async fn answer(
        &self,
        request: Request,
        body: Option<Body>,
        replies: &ReplySink<MailstoreProtocol>,
    ) -> Result<(), Status> {
        let mut moods = self.mood.subscribe();
        let mut upload = match &request.call {
            Some(request::Call::Upload(upload)) => body.map(|body| (upload.from, body)),
            _ => None,
        };
        let is_watch = matches!(request.call, Some(request::Call::Watch(_)));
        self.asked.lock().push(request);
        loop {
            let mood = *moods.wait_for(|mood| *mood != Mood::Silent).await.expect("there");
            let not_leader = |leader: &str| Status {
                leader: leader.to_owned(),
                ..Status::new(Reason::NotLeader, "another one")
            };
            let call = match mood {
                Mood::Follows(leader) => return Err(not_leader(leader)),
                Mood::Down | Mood::Silent => return Err(Status::unavailable("down")),
                Mood::Leads if upload.is_some() => {
                    let Some((from, body)) = &mut upload else { continue };
                    self.take(*from, body, replies).await?
                }
                Mood::Leads if is_watch => reply::Call::ShardEvent(ShardEvent {
                    mailboxes: Vec::new(),
                    overflow: true,
                }),
                Mood::Leads => reply::Call::Mailboxes(Mailboxes {
                    modseq: self.modseq.load(Ordering::SeqCst),
                    ..Mailboxes::default()
                }),
            };
            replies.send(mailstore::Reply { call: Some(call) }).await?;
            if !is_watch {
                return Ok(());
            }
            let _ = moods.wait_for(|mood| *mood != Mood::Leads).await;
        }
    }
}

/// Bytes of an upload that become durable together.
const CHUNK_BYTES: usize = 256 * 1024;

impl FakeNode {
    async fn take(
        &self,
        from: u64,
        body: &mut Body,
        replies: &ReplySink<MailstoreProtocol>,
    ) -> Result<reply::Call, Status> {
        let told = |size: usize, hash: &'static [u8]| {
            let (size, hash) = (size as u64, Bytes::from_static(hash));
            reply::Call::Uploaded(Uploaded { size, hash })
        };
        let mut bytes = self.disk.lock()[..from as usize].to_vec();
        let tell = |size| {
            replies.send(mailstore::Reply {
                call: Some(told(size, b"")),
            })
        };
        tell(bytes.len()).await?;
        while let Some(piece) = body.chunk().await? {
            bytes.extend_from_slice(&piece);
            let whole = bytes.len() / CHUNK_BYTES * CHUNK_BYTES;
            let is_more = {
                let mut disk = self.disk.lock();
                let is_more = whole > disk.len();
                if is_more {
                    *disk = bytes[..whole].to_vec();
                }
                is_more
            };
            if is_more || bytes.len() - whole < piece.len() {
                tell(whole).await?;
            }
            let changes = self.changes_at.lock().take_if(|(at, _)| bytes.len() >= *at);
            if let Some((_, mood)) = changes {
                self.mood.send_replace(mood);
                return match mood {
                    Mood::Silent => std::future::pending().await,
                    _ => Err(Status::unavailable("the connection was cut")),
                };
            }
        }
        *self.disk.lock() = bytes.clone();
        Ok(told(bytes.len(), b"hash"))
    }
}

impl Service<MailstoreProtocol> for FakeNode {
    fn serve(
        self: Arc<Self>,
        call: Incoming<MailstoreProtocol>,
        replies: ReplySink<MailstoreProtocol>,
    ) -> BoxFuture<'static, Result<(), Status>> {
        Box::pin(async move { self.answer(call.request, call.body, &replies).await })
    }
}

#[derive(Clone)]
struct Nodes(Arc<HashMap<&'static str, Arc<FakeNode>>>);

impl Connect for Nodes {
    fn connect(&self, node: &Node) -> Arc<dyn Caller<MailstoreProtocol>> {
        let fake: Arc<FakeNode> = Arc::clone(&self.0[node.id.as_str()]);
        Arc::new(Local::new(fake, peer()))
    }
}

pub(super) struct World {
    nodes: Nodes,
    pub(super) cluster: Arc<Cluster>,
    pub(super) account: Arc<Account>,
    /// What the shard holds of the upload, whoever leads.
    pub(super) disk: Arc<Mutex<Vec<u8>>>,
}

impl World {
    pub(super) async fn new(moods: &[(&'static str, Mood)]) -> Self {
        // Short, for a test must wait for it, but not for a busy machine.
        Self::patient(moods, Duration::from_secs(30), Duration::from_millis(500)).await
    }

    pub(super) async fn patient(
        moods: &[(&'static str, Mood)],
        patience: Duration,
        silence: Duration,
    ) -> Self {
        let disk = Arc::default();
        let fake = |(id, mood): &(&'static str, Mood)| {
            let node = FakeNode {
                mood: watch::Sender::new(*mood),
                asked: Mutex::default(),
                modseq: AtomicU64::new(0),
                disk: Arc::clone(&disk),
                changes_at: Mutex::default(),
            };
            (*id, Arc::new(node))
        };
        let nodes = Nodes(Arc::new(moods.iter().map(fake).collect()));
        let replicas: Vec<&str> = moods.iter().map(|(id, _)| *id).collect();
        let options = ClusterOptions {
            patience,
            silence,
            ..ClusterOptions::default()
        };
        let connect = Arc::new(nodes.clone());
        let (_, cluster, account) = session_in(snapshot_of(&replicas), options, connect).await;
        Self {
            nodes,
            cluster,
            account,
            disk,
        }
    }

    pub(super) fn node(&self, id: &str) -> &FakeNode {
        &self.nodes.0[id]
    }

    pub(super) fn set(&self, moods: &[(&'static str, Mood)]) {
        for (id, mood) in moods {
            self.node(id).mood.send_replace(*mood);
        }
    }

    fn counts(&self) -> [usize; 3] {
        ["a", "b", "c"].map(|id| self.node(id).count())
    }
}

async fn store(account: &Account) -> Result<reply::Call, Status> {
    account
        .call(request::Call::Store(Store::default()), CallOptions::MUTATION)
        .await
}

#[tokio::test]
async fn a_name_is_followed_and_what_answered_is_asked_first_from_then_on() {
    let world = World::new(&[("a", Mood::Follows("c")), ("b", Mood::Down), ("c", Mood::Leads)]).await;
    list(&world.account).await.expect("answers");
    assert_eq!(world.counts(), [1, 0, 1]);
    list(&world.account).await.expect("answers");
    assert_eq!(world.counts(), [1, 0, 2]);
    // Each names the other, and the third leads.
    world.set(&[
        ("a", Mood::Follows("c")),
        ("c", Mood::Follows("a")),
        ("b", Mood::Leads),
    ]);
    list(&world.account).await.expect("answers");
    assert_eq!(world.counts(), [2, 1, 3]);
    world.cluster.stop().await;
}

#[tokio::test]
async fn who_is_silent_is_not_waited_for_and_the_call_is_the_same_call() {
    let world = World::new(&[("a", Mood::Leads), ("b", Mood::Follows("a")), ("c", Mood::Down)]).await;
    store(&world.account).await.expect("answers");
    // It stands still, and another one was elected.
    world.set(&[("a", Mood::Silent), ("b", Mood::Follows("c")), ("c", Mood::Leads)]);
    store(&world.account).await.expect("answers");
    let key = |id: &str| {
        world
            .node(id)
            .asked()
            .last()
            .and_then(|request| request.key.clone())
    };
    assert!(key("a").is_some() && key("a") == key("b") && key("b") == key("c"));
    let counts = world.counts();
    list(&world.account).await.expect("answers");
    assert_eq!(
        world.counts(),
        [counts[0], counts[1], counts[2] + 1],
        "nobody asks the silent one first"
    );
    world.cluster.stop().await;
}

#[tokio::test]
async fn a_leader_that_is_slow_is_left_to_its_work() {
    let world = World::new(&[("a", Mood::Silent), ("b", Mood::Follows("a"))]).await;
    let (answer, ()) = tokio::join!(store(&world.account), async {
        // Asked more than once who leads, and each time it is the one that is at it.
        world.node("b").until_asked(2).await;
        world.set(&[("a", Mood::Leads)]);
    });
    answer.expect("answers");
    assert_eq!(world.node("a").count(), 1, "not begun anew");
    world.cluster.stop().await;
}

#[tokio::test]
async fn one_of_many_searches_and_all_go_on_when_somebody_leads() {
    const SESSIONS: usize = 200;
    let world = World::new(&[("a", Mood::Down)]).await;
    let node = world.node("a");
    let calls = (0..SESSIONS).map(|_| list(&world.account));
    let leading = async {
        // Each has asked once, and one of them again and again.
        node.until_asked(SESSIONS + 4).await;
        world.set(&[("a", Mood::Leads)]);
        node.count()
    };
    let (answers, before) = tokio::join!(futures_util::future::join_all(calls), leading);
    assert!(answers.iter().all(Result::is_ok));
    // Some may have asked twice before they knew that somebody searches; nobody asked much more often.
    assert!(before < 2 * SESSIONS, "{before}");
    assert!(node.count() <= before + SESSIONS + 1, "{}", node.count());
    world.cluster.stop().await;
}

#[tokio::test]
async fn patience_ends() {
    let patience = Duration::from_millis(200);
    let moods = [("a", Mood::Down), ("b", Mood::Follows("")), ("c", Mood::Down)];
    let world = World::patient(&moods, patience, Duration::from_secs(3)).await;
    let began = std::time::Instant::now();
    let refused = list(&world.account).await.expect_err("nobody leads");
    assert!(
        refused.is_retryable() && began.elapsed() < Duration::from_secs(5),
        "{refused}"
    );
    // Rounds with pauses, not a storm.
    assert!(
        world.counts().iter().all(|count| *count <= 6),
        "{:?}",
        world.counts()
    );
    world.cluster.stop().await;
}

#[tokio::test]
async fn a_leader_is_told_how_far_the_session_has_seen() {
    let world = World::new(&[("a", Mood::Leads), ("b", Mood::Follows("a"))]).await;
    world.node("a").modseq.store(42, Ordering::SeqCst);
    list(&world.account).await.expect("answers");
    world.set(&[("a", Mood::Follows("b")), ("b", Mood::Leads)]);
    list(&world.account).await.expect("answers");
    world.account.saw(44);
    world.account.saw(43);
    list(&world.account).await.expect("answers");
    let seen = |id: &str| -> Vec<u64> {
        let asked = world.node(id).asked();
        asked.iter().map(|request| request.seen_modseq).collect()
    };
    assert_eq!((seen("a"), seen("b")), (vec![0, 42], vec![42, 44]));
    world.cluster.stop().await;
}

#[tokio::test]
async fn the_feed_follows_the_leader_and_wakes_everybody() {
    let world = World::new(&[("a", Mood::Leads), ("b", Mood::Follows("a"))]).await;
    let mut subscription = world.account.subscribe();
    assert_eq!(subscription.changed(1, u64::MAX).await, Wake::Changed);
    world.set(&[("a", Mood::Follows("b")), ("b", Mood::Leads)]);
    assert_eq!(subscription.changed(1, u64::MAX).await, Wake::Changed);
    // It stands still, which the feed cannot see, but a call can.
    world.set(&[("b", Mood::Silent), ("a", Mood::Leads)]);
    list(&world.account).await.expect("answers");
    assert_eq!(subscription.changed(1, u64::MAX).await, Wake::Changed);
    let watches = |id: &str| {
        let asked = world.node(id).asked();
        let is_watch = |request: &&Request| matches!(request.call, Some(request::Call::Watch(_)));
        asked.iter().filter(is_watch).count()
    };
    assert!(watches("a") >= 2 && watches("b") >= 1);
    world.cluster.stop().await;
}

#[tokio::test]
async fn a_stream_is_begun_anew_where_somebody_answers() {
    let world = World::new(&[("a", Mood::Silent), ("b", Mood::Follows("c")), ("c", Mood::Leads)]).await;
    let mut stream = world.account.stream();
    let call = || request::Call::ListMailboxes(ListMailboxes {});
    let later = || std::time::Instant::now() + Duration::from_secs(30);
    for _ in 0..2 {
        stream
            .open(call(), later(), later())
            .await
            .expect("somebody answers");
        let first = stream.next().await.expect("a reply").expect("no error");
        assert!(matches!(first.call, Some(reply::Call::Mailboxes(_))));
        assert!(stream.next().await.is_none());
    }
    assert_eq!(world.counts(), [1, 1, 2]);
    world.cluster.stop().await;
}
