//! Watch: the change feed of a shard, one subscription for each proxy.
//!
//! What a slow reader has not taken is joined by the shard's event hub within a bound; a newer subscription of the same
//! proxy ends the older one, so that connections that died unnoticed cost nothing.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rookery_proto::mailstore::v1::{self as proto, Reply, ShardEvent, reply};
use rookery_proto::{Incoming, MailstoreProtocol, ReplySink, Status};
use tokio_util::sync::CancellationToken;

use super::MailstoreService;
use crate::catalogue::WATCH_REFRESHES;

/// Who watches a shard, by node id.
#[derive(Default)]
pub(super) struct Watchers {
    by_node: Mutex<HashMap<String, (u64, CancellationToken)>>,
}

/// A place among the watchers; given up when it is dropped.
struct Place {
    watchers: Arc<Watchers>,
    node: String,
    number: u64,
    replaced: CancellationToken,
}

impl Watchers {
    fn enter(self: &Arc<Self>, node: &str) -> Place {
        let replaced = CancellationToken::new();
        let mut by_node = self.by_node.lock();
        let before = by_node.remove(node);
        let number = before.as_ref().map_or(0, |(number, _)| number + 1);
        if let Some((_, older)) = before {
            older.cancel();
        }
        by_node.insert(node.to_owned(), (number, replaced.clone()));
        Place {
            watchers: Arc::clone(self),
            node: node.to_owned(),
            number,
            replaced,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_node = self.watchers.by_node.lock();
        if by_node
            .get(&self.node)
            .is_some_and(|(number, _)| *number == self.number)
        {
            by_node.remove(&self.node);
        }
    }
}

impl MailstoreService {
    pub(super) async fn watch(
        &self,
        incoming: &Incoming<MailstoreProtocol>,
        watch: proto::Watch,
        replies: &ReplySink<MailstoreProtocol>,
    ) -> Result<(), Status> {
        let shard = self.shard(watch.shard, incoming.request.shard_generation).await?;
        let place = shard.watchers().enter(&incoming.peer.node);
        // Subscribed before the first word: whatever is committed after it will be told.
        let mut subscription = shard.subscribe();
        drop(shard);
        let mut event = Some(ShardEvent {
            mailboxes: Vec::new(),
            overflow: true,
        });
        while let Some(told) = event {
            if told.overflow {
                WATCH_REFRESHES.increment(1);
            }
            replies
                .send(Reply {
                    call: Some(reply::Call::ShardEvent(told)),
                })
                .await?;
            event = tokio::select! {
                biased;
                () = place.replaced.cancelled() => None,
                () = self.watches_end.cancelled() => None,
                event = subscription.next() => event,
            };
        }
        Err(Status::unavailable(
            "the change feed has ended here: subscribe again",
        ))
    }
}
