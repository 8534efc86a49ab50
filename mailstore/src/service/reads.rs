//! Calls that read: each on a thread where blocking is allowed, a bounded number at a time, in steps of bounded length.

use std::sync::Arc;

use prost::Message;
use rookery_proto::mailstore::v1::{self as proto, Reply, reply};
use rookery_proto::{MailstoreProtocol, ReplySink, Status};
use rookery_replication::store::Store;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::meter::measured_block;
use super::{HostedShard, MailstoreService};
use crate::catalogue::{READ_QUEUE, READS_RUNNING};
use crate::read::{self, FetchCursor, SearchCursor, Snapshot};

/// Where reads are done: a bounded number at a time.
pub(super) struct Places {
    /// What is done there, as metrics name it.
    kind: &'static str,
    store: Arc<Store>,
    free: Arc<Semaphore>,
}

impl Places {
    /// So many, for reads of a store.
    pub(super) fn new(kind: &'static str, store: Arc<Store>, places: usize) -> Self {
        Self {
            kind,
            store,
            free: Arc::new(Semaphore::new(places)),
        }
    }
}

impl Places {
    async fn enter(&self) -> Result<OwnedSemaphorePermit, Status> {
        let free = Arc::clone(&self.free);
        if let Ok(place) = Arc::clone(&free).try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = READ_QUEUE.hold(&[self.kind]);
        let place = free.acquire_owned().await;
        place.map_err(|_| Status::unavailable("the node is stopping"))
    }
}

/// Runs work that blocks; waits for a place first. Work that was begun ends even when nobody waits for it any more.
pub(super) async fn blocking<T: Send + 'static>(
    places: &Places,
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let place = places.enter().await?;
    let running = READS_RUNNING.hold(&[places.kind]);
    let done = places.store.blocking(measured_block(move || {
        let result = work();
        drop((place, running));
        result
    }));
    done.await
        .map_err(|error| Status::internal(format!("a read failed: {error}")))?
}

impl MailstoreService {
    pub(super) async fn list_mailboxes(&self, snapshot: Snapshot) -> Result<reply::Call, Status> {
        blocking(&self.reads, move || read::list_mailboxes(&snapshot))
            .await
            .map(reply::Call::Mailboxes)
    }

    pub(super) async fn open_mailbox(
        &self,
        snapshot: Snapshot,
        request: proto::OpenMailbox,
    ) -> Result<reply::Call, Status> {
        let cache = Arc::clone(&self.open_cache);
        blocking(&self.reads, move || {
            read::open_mailbox(&snapshot, &cache, &request)
        })
        .await
        .map(reply::Call::OpenedMailbox)
    }

    pub(super) async fn claim_recent(
        &self,
        snapshot: Snapshot,
        request: proto::ClaimRecent,
    ) -> Result<reply::Call, Status> {
        blocking(&self.reads, move || read::claim_recent(&snapshot, &request))
            .await
            .map(reply::Call::Done)
    }

    pub(super) async fn changes(
        &self,
        snapshot: Snapshot,
        request: proto::Changes,
    ) -> Result<reply::Call, Status> {
        blocking(&self.reads, move || read::changes(&snapshot, &request))
            .await
            .map(reply::Call::Changes)
    }

    pub(super) async fn fetch(
        &self,
        shard: &HostedShard,
        snapshot: Snapshot,
        request: proto::Fetch,
        replies: &ReplySink<MailstoreProtocol>,
    ) -> Result<(), Status> {
        let account = snapshot.account;
        let first = move || {
            let mut cursor = FetchCursor::new(snapshot, &request)?;
            Ok((cursor.next()?, cursor))
        };
        let (mut rows, mut cursor) = blocking(&self.reads, first).await?;
        while let Some(reply) = rows {
            shard.count_bytes(account, reply.encoded_len());
            replies
                .send(Reply {
                    call: Some(reply::Call::Rows(reply)),
                })
                .await?;
            if cursor.is_at_end() {
                break;
            }
            (rows, cursor) = blocking(&self.reads, move || Ok((cursor.next()?, cursor))).await?;
        }
        Ok(())
    }

    pub(super) async fn search(
        &self,
        snapshot: Snapshot,
        request: proto::Search,
    ) -> Result<reply::Call, Status> {
        let mut cursor = blocking(&self.searches, move || SearchCursor::new(snapshot, &request)).await?;
        loop {
            let (rest, found) = blocking(&self.searches, move || {
                let found = cursor.step()?;
                Ok((cursor, found))
            })
            .await?;
            if let Some(found) = found {
                return Ok(reply::Call::Search(found));
            }
            cursor = rest;
        }
    }
}
