//! Groups on real stores and logs, alone and of three.

pub(crate) mod alone;
mod follow;
mod moves;
mod space;
mod three;

use std::sync::Arc;

use super::*;
use crate::batch::{Batch, Column};
use crate::view::View;

const GROUP: GroupId = GroupId(7);

fn put(key: &str, value: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(Column::Rows, key_of(GROUP, key), value.to_owned());
    batch
}

fn key_of(group: GroupId, key: &str) -> Vec<u8> {
    [&group.0.to_be_bytes(), key.as_bytes()].concat()
}

fn value(member: &Member, key: &str) -> Option<String> {
    let value = member
        .store()
        .get(Column::Rows, &key_of(GROUP, key))
        .expect("reads");
    value.map(|value| String::from_utf8_lossy(&value).into_owned())
}

/// Waits until the replica leads; fails with what it is when it does not for long.
async fn leader_of(group: &Arc<Group>) -> Leader {
    let led = async {
        loop {
            assert!(group.until_leading().await, "the replica is open");
            if let Ok(leader) = group.lead().await {
                return leader;
            }
        }
    };
    let led = tokio::time::timeout(std::time::Duration::from_secs(60), led).await;
    led.unwrap_or_else(|_| panic!("the replica does not lead: {}", group.describe()))
}

async fn commit(leader: &Leader, batch: Batch) -> Result<(), ProposeError> {
    leader.propose(batch).await.await
}
