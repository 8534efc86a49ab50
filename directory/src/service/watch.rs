//! The watch: a snapshot, then each change, and a sign of life in between.

use rookery_proto::directory::v1::{Reply, WatchEvent, reply};
use rookery_proto::{DirectoryProtocol, Reason, ReplySink, Status};
use tokio::sync::broadcast::error::RecvError;

use crate::catalogue::WATCHERS;
use crate::core::Core;
use crate::watch::HEARTBEAT;

pub(super) async fn run(core: &Core, replies: &ReplySink<DirectoryProtocol>) -> Result<(), Status> {
    let _watching = WATCHERS.hold(&[]);
    let (snapshot, mut events) = core.picture.subscribe();
    send(replies, snapshot).await?;
    loop {
        let next = tokio::select! {
            () = core.watches_end.cancelled() => return Err(stopping()),
            next = tokio::time::timeout(HEARTBEAT, events.recv()) => next,
        };
        match next {
            Ok(Ok(event)) => send(replies, WatchEvent::clone(&event)).await?,
            Ok(Err(RecvError::Lagged(_))) => {
                // Too slow for the changes one by one: all of it, anew.
                let (snapshot, newer) = core.picture.subscribe();
                events = newer;
                send(replies, snapshot).await?;
            }
            Ok(Err(RecvError::Closed)) => return Err(stopping()),
            Err(_) => send(replies, core.picture.heartbeat()).await?,
        }
    }
}

fn stopping() -> Status {
    Status::new(
        Reason::NotLeader,
        "the directory is stopping, or another member leads it",
    )
}

async fn send(replies: &ReplySink<DirectoryProtocol>, event: WatchEvent) -> Result<(), Status> {
    replies
        .send(Reply {
            call: Some(reply::Call::WatchEvent(event)),
        })
        .await
}
