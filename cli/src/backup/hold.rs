//! That no account moves to another shard while shard after shard is read: an account could be missed, in the one before it has
//! come and in the other when it has gone.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::bail;
use rookery_proto::admin::v1::{HoldMovesRequest, ReleaseMovesRequest};

use crate::operate::BackupClient;
use crate::operate::retry::Retry;

/// Between two renewals of a hold, which lasts a minute.
const RENEWED_EVERY: Duration = Duration::from_secs(10);

/// How long a directory without a leader is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long accounts that are on their way already are waited for.
const ARRIVED_WITHIN: Duration = Duration::from_secs(600);

/// How often it is looked whether they have arrived.
const LOOKED_EVERY: Duration = Duration::from_millis(200);

/// Accounts on their way that are named.
const NAMED_MAX: usize = 5;

/// A hold that the directory has stored.
pub(super) struct Hold {
    client: BackupClient,
    id: String,
}

impl Hold {
    /// Has accounts stay where they are, and waits for those on their way.
    pub(super) async fn take(client: &BackupClient, id: &str) -> anyhow::Result<Self> {
        let mut hold = Self {
            client: client.clone(),
            id: id.to_owned(),
        };
        let mut moving = hold.tell(false).await?;
        let began = Instant::now();
        let mut was_told = false;
        while !moving.is_empty() {
            let count = moving.len();
            moving.truncate(NAMED_MAX);
            let named = moving.join(", ");
            if began.elapsed() > ARRIVED_WITHIN {
                hold.release().await;
                bail!(
                    "{count} accounts are on their way to another shard still, {named} among them: run the command again when \
                     `rookery account move` has ended"
                );
            }
            if !std::mem::replace(&mut was_told, true) {
                // Who does not see it waits all the same.
                let _ = writeln!(
                    std::io::stderr(),
                    "waiting for {count} accounts to arrive in their shards: {named}"
                );
            }
            tokio::time::sleep(LOOKED_EVERY).await;
            moving = hold.tell(true).await?;
        }
        Ok(hold)
    }

    /// Makes it last, until it is lost.
    pub(super) async fn keep(&mut self) -> anyhow::Error {
        loop {
            tokio::time::sleep(RENEWED_EVERY).await;
            if let Err(error) = self.tell(true).await {
                return error;
            }
        }
    }

    /// Whether no move has begun since it was taken, for sure.
    pub(super) async fn check(&mut self) -> anyhow::Result<()> {
        self.tell(true).await.map(drop)
    }

    /// Accounts may move again. One that the directory does not hear of ends by itself.
    pub(super) async fn release(mut self) {
        let request = ReleaseMovesRequest { hold_id: self.id };
        let _ = self.client.release_moves(request).await;
    }

    async fn tell(&mut self, renew: bool) -> anyhow::Result<Vec<String>> {
        let mut retry = Retry::new(PATIENCE);
        loop {
            let request = HoldMovesRequest {
                hold_id: self.id.clone(),
                renew,
            };
            match self.client.hold_moves(request).await {
                Ok(held) => return Ok(held.into_inner().moving),
                Err(status) => {
                    let what = || "cannot have the accounts stay in their shards meanwhile".to_owned();
                    retry.pause_or(status.into(), what).await?;
                }
            }
        }
    }
}
