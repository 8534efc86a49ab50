//! May this caller do this, and is this the node and the moment to do it?

use std::sync::Arc;
use std::time::Duration;

use rookery_process::traces;
use rookery_proto::call::deadline_exceeded;
use rookery_proto::directory::v1::Rights;
use rookery_proto::{Incoming, MailstoreProtocol, Reason, Status};

use super::meter::is_for;
use super::{Grant, HostedShard, MailstoreService, now_millis};
use crate::read::Snapshot;
use crate::schema::{AccountId, ShardId};

/// How often a leader that is behind a session looks whether it has caught up.
const BEHIND_PAUSE: Duration = Duration::from_millis(20);

impl MailstoreService {
    /// The shard and the account that the call's token names, if it gives the right.
    pub(super) async fn access(
        &self,
        incoming: &Incoming<MailstoreProtocol>,
        needed: Rights,
    ) -> Result<(Arc<HostedShard>, Grant), Status> {
        let grant = self
            .tokens
            .check(&incoming.context.token, &incoming.peer, needed, now_millis())?;
        let shard = self
            .shard(grant.shard.0, incoming.request.shard_generation)
            .await?;
        // Whom a delivery is work for is not in its token.
        let owner = (needed == Rights::Owner).then_some(grant.account);
        if let Some(account) = owner {
            shard.count_account(account);
        }
        is_for(&shard, owner);
        let traced = traces::current();
        if traced.is_traced() {
            traced.count("rookery.shard", grant.shard.0.into());
            if let Some(account) = owner {
                traced.account(account.0);
            }
        }
        Ok((shard, grant))
    }

    /// A shard that this node leads; the fitting status when it does not, or when the caller has a placement in mind that is so
    /// old that the account may have left the shard since.
    pub(super) async fn shard(
        &self,
        shard: u32,
        callers_generation: u64,
    ) -> Result<Arc<HostedShard>, Status> {
        let hosted = self.shards.wait_for(ShardId(shard)).await?;
        hosted.ready().await?;
        if callers_generation < hosted.generation() {
            let message = format!(
                "shard {shard} has generation {}, not {callers_generation}: ask the directory again",
                hosted.generation()
            );
            return Err(Status::new(Reason::WrongGeneration, message));
        }
        hosted.count_operation();
        Ok(hosted)
    }

    /// The account of the call's token as it is now, for its owner, when it may be read here.
    pub(super) async fn readable(
        &self,
        incoming: &Incoming<MailstoreProtocol>,
    ) -> Result<(Arc<HostedShard>, Snapshot), Status> {
        let (shard, grant) = self.access(incoming, Rights::Owner).await?;
        shard.confirm().await?;
        loop {
            let snapshot = self.snapshot(&shard, grant.account);
            if has_reached(&snapshot, incoming.request.seen_modseq)? {
                return Ok((shard, snapshot));
            }
            if std::time::Instant::now() + BEHIND_PAUSE >= incoming.context.deadline {
                return Err(deadline_exceeded());
            }
            tokio::time::sleep(BEHIND_PAUSE).await;
        }
    }

    /// An account of a shard at this moment.
    pub(super) fn snapshot(&self, shard: &HostedShard, account: AccountId) -> Snapshot {
        Snapshot {
            view: shard.view(),
            shard: shard.id(),
            account,
            bodies: Arc::clone(&self.bodies),
            recent: Arc::clone(shard.shard().recent()),
            threads: Arc::clone(&self.threads),
        }
    }
}

/// Whether the account may be read and is where the session has seen it.
fn has_reached(snapshot: &Snapshot, seen_modseq: u64) -> Result<bool, Status> {
    let reader = snapshot.reader();
    reader.readable_account()?;
    Ok(seen_modseq == 0 || reader.counters()?.modseq.0 >= seen_modseq)
}
