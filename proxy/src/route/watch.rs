//! What the directory's watch says: nodes, shard map, and what has become void.
//!
//! One task follows the watch for the whole proxy and starts again when it breaks. Knowledge has an age: once it is older
//! than the bound, caches count as empty (architecture: a proxy whose watch is stale trusts nothing it remembers).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rookery_proto::directory::v1::{self as directory, Node, Shard, WatchEvent, reply, request};
use rookery_proto::{Call, CallContext, Caller, DirectoryProtocol, Status};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

/// How long one watch call lives before it is begun anew.
const WATCH_CALL_MAX: Duration = Duration::from_secs(3600);

/// The longest silence of the directory before the watch is taken for broken; it speaks every second.
const WATCH_SILENCE_MAX: Duration = Duration::from_secs(5);

/// How long to wait before a broken watch is begun anew.
const WATCH_RETRY: Duration = Duration::from_millis(200);

/// Notices that a slow listener may fall behind by.
const NOTICES_MAX: usize = 1024;

/// Something that listeners must act on.
#[derive(Debug, Clone)]
pub enum Notice {
    /// Cached knowledge of the account is void; with `end_sessions` its live sessions must end.
    Account {
        /// The account's id.
        account: u64,
        /// Whether live sessions must end.
        end_sessions: bool,
        /// The version of the directory's state that has the change.
        version: u64,
        /// The shard that has the account from now on, when it has moved.
        moved_to: Option<u32>,
    },
    /// All cached recipients are void.
    Recipients,
    /// Everything cached is void: the watch was broken and has begun anew.
    All,
}

#[derive(Default)]
struct Known {
    nodes: HashMap<String, Node>,
    shards: HashMap<u32, Shard>,
    heard_at: Option<Instant>,
    /// Snapshots so far: what was remembered under another number counts no more.
    snapshots: u64,
    /// The version of the directory's state that was heard of last.
    seen_version: u64,
}

/// The proxy's picture of the cluster.
pub struct Picture {
    known: RwLock<Known>,
    version: watch::Sender<u64>,
    notices: broadcast::Sender<Notice>,
}

impl Picture {
    /// Nothing known yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            known: RwLock::default(),
            version: watch::Sender::new(0),
            notices: broadcast::Sender::new(NOTICES_MAX),
        })
    }

    /// Notices from now on.
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Changes each time when nodes or shards changed.
    pub fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Time since the directory was last heard, or `None` if it never was.
    pub fn age(&self) -> Option<Duration> {
        self.known.read().heard_at.map(|at| at.elapsed())
    }

    /// The number of snapshots so far, if the directory was heard within `age_max`. Both are of one moment: a directory
    /// that is heard again after its watch was lost is never heard under the number of before.
    pub fn snapshots_if_heard(&self, age_max: Duration) -> Option<u64> {
        let known = self.known.read();
        let is_fresh = known.heard_at.is_some_and(|at| at.elapsed() <= age_max);
        is_fresh.then_some(known.snapshots)
    }

    /// The version of the directory's state that was heard of last; no notice has been sent of a later one. 0: none.
    pub fn seen_version(&self) -> u64 {
        self.known.read().seen_version
    }

    /// Where a shard's replicas are, as far as known.
    pub fn placement(&self, shard: u32) -> Option<Shard> {
        self.known.read().shards.get(&shard).cloned()
    }

    /// Whether there is a node of that id.
    pub fn has_node(&self, id: &str) -> bool {
        self.known.read().nodes.contains_key(id)
    }

    /// A node by its id.
    pub fn node(&self, id: &str) -> Option<Node> {
        self.known.read().nodes.get(id).cloned()
    }

    /// All shards' numbers.
    pub fn shards(&self) -> Vec<u32> {
        self.known.read().shards.keys().copied().collect()
    }

    /// Whether any shard map is known.
    pub fn is_known(&self) -> bool {
        !self.known.read().shards.is_empty()
    }

    /// Takes an event in.
    pub fn apply(&self, event: WatchEvent) {
        let mut changed = event.snapshot;
        {
            let mut known = self.known.write();
            if event.snapshot {
                known.nodes.clear();
                known.shards.clear();
                known.snapshots += 1;
                known.seen_version = 0;
            }
            known.seen_version = known.seen_version.max(event.version);
            changed |= !event.nodes.is_empty() || !event.shards.is_empty();
            for node in event.nodes {
                known.nodes.insert(node.id.clone(), node);
            }
            for shard in event.shards {
                // A late message never undoes a newer placement.
                match known.shards.get(&shard.id) {
                    Some(held) if held.generation > shard.generation => {}
                    _ => {
                        known.shards.insert(shard.id, shard);
                    }
                }
            }
            known.heard_at = Some(Instant::now());
        }
        // Nobody listening is not an error.
        if event.snapshot {
            let _ = self.notices.send(Notice::All);
        }
        for change in event.accounts {
            let _ = self.notices.send(Notice::Account {
                account: change.account,
                end_sessions: change.end_sessions,
                version: event.version,
                moved_to: change.moved_to,
            });
        }
        if event.recipients_changed {
            let _ = self.notices.send(Notice::Recipients);
        }
        if changed {
            self.version.send_modify(|version| *version += 1);
        }
    }
}

/// Follows the watch until cancelled.
pub async fn follow(
    picture: Arc<Picture>,
    directory: Arc<dyn Caller<DirectoryProtocol>>,
    cancel: CancellationToken,
) {
    while !cancel.is_cancelled() {
        let outcome = tokio::select! {
            () = cancel.cancelled() => return,
            outcome = follow_once(&picture, &directory) => outcome,
        };
        if let Err(status) = outcome {
            tracing::debug!(%status, "the directory's watch broke; beginning anew");
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(WATCH_RETRY) => {}
        }
    }
}

async fn follow_once(picture: &Picture, caller: &Arc<dyn Caller<DirectoryProtocol>>) -> Result<(), Status> {
    let request = directory::Request {
        call: Some(request::Call::Watch(directory::Watch {})),
        ..directory::Request::default()
    };
    let mut replies = caller.call(Call {
        context: CallContext::with_timeout(WATCH_CALL_MAX),
        request,
        body: None,
    });
    loop {
        let item = tokio::time::timeout(WATCH_SILENCE_MAX, replies.next())
            .await
            .map_err(|_| Status::unavailable("the directory fell silent"))?;
        match item {
            Some(Ok(directory::Reply {
                call: Some(reply::Call::WatchEvent(event)),
            })) => picture.apply(event),
            Some(Ok(_)) => return Err(Status::internal("the watch answered something else")),
            Some(Err(status)) => return Err(status),
            None => return Ok(()),
        }
    }
}
