//! What lookups are answered from: on the member that leads, what it makes sure of; on one that follows, what it has applied.
//!
//! A follower reads a state that holds all that was acknowledged a bounded time before it was asked, and all that the caller
//! has heard of. What it would refuse, or grant because something is not there, it decides on what the leader has confirmed
//! since. It never answers when it cannot know how old its state is.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rookery_proto::Status;
use rookery_replication::group::Group;
use tokio::sync::Semaphore;

use crate::core::Core;
use crate::credentials::Credentials;
use crate::post::Post;
use crate::schema::KeyId;
use crate::schema::read::{ReadError, Rows};
use crate::schema::row::SigningKey;
use crate::tokens::Tokens;

/// Reads that may be under way on a member that follows.
const READS_MAX: usize = 64;

/// What an answer rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sureness {
    /// All that was acknowledged a bounded time before the question.
    Bounded,
    /// All that was acknowledged before the question.
    Confirmed,
}

/// What a member answers lookups from while it follows.
pub(crate) struct Follower {
    post: Arc<Post>,
    credentials: Arc<Credentials>,
    tokens: Tokens,
    /// The keys with which tokens are signed, and the version of the state that has them.
    keys: Mutex<(u64, Vec<(KeyId, SigningKey)>)>,
    staleness_max: Duration,
    reads: Semaphore,
}

impl Follower {
    /// With zero as the bound it answers nothing.
    pub(crate) fn new(
        post: Arc<Post>,
        credentials: Arc<Credentials>,
        token_lifetime_millis: u64,
        staleness_max: Duration,
    ) -> Self {
        Self {
            post,
            credentials,
            tokens: Tokens::new(token_lifetime_millis),
            keys: Mutex::default(),
            staleness_max,
            reads: Semaphore::new(READS_MAX),
        }
    }

    /// Reads what is applied here and is as new as it must be; gives `read` back when it is older than `seen_version`.
    async fn read<T, F>(
        self: &Arc<Self>,
        group: &Arc<Group>,
        age_max: Duration,
        seen_version: u64,
        read: F,
    ) -> Result<Result<T, F>, Status>
    where
        T: Send + 'static,
        F: FnOnce(Rows<'_>) -> T + Send + 'static,
    {
        let _permit = self.reads.acquire().await.map_err(|_| self.post.not_leading())?;
        let member = Arc::clone(&self.post.member);
        let confirmed = member.confirm_within(group, age_max).await;
        confirmed.map_err(|_| self.post.not_leading())?;
        let (this, group) = (Arc::clone(self), Arc::clone(group));
        let store = Arc::clone(member.store());
        let reading = store.blocking(move || {
            let snapshot = member
                .snapshot_of(&group)
                .ok_or_else(|| this.post.not_leading())?;
            let rows = Rows(&snapshot);
            let version = rows.sequences()?.version;
            if version < seen_version {
                return Ok(Err(read));
            }
            this.take_keys(version, rows)?;
            Ok(Ok(read(rows)))
        });
        reading
            .await
            .map_err(|_| Status::internal("a read of the directory failed"))?
    }

    /// Takes the keys of a state over, unless those of a later one are known.
    fn take_keys(&self, version: u64, rows: Rows<'_>) -> Result<(), Status> {
        let mut held = self.keys.lock();
        if held.0 >= version {
            return Ok(());
        }
        let keys = rows.signing_keys()?;
        if held.1 != keys {
            self.tokens.set_keys(&keys)?;
        }
        *held = (version, keys);
        Ok(())
    }
}

/// What one lookup is answered from.
pub(crate) enum Lookup {
    /// This member leads.
    Leading(Arc<Core>),
    /// It follows.
    Following {
        /// With this.
        follower: Arc<Follower>,
        /// And its replica.
        group: Arc<Group>,
        /// The version that the caller has heard of.
        seen_version: u64,
    },
}

impl Lookup {
    /// For a caller that has heard of a version; NOT_LEADER when this member can answer nothing.
    pub(crate) fn new(follower: &Arc<Follower>, seen_version: u64) -> Result<Self, Status> {
        let post = &follower.post;
        match post.core() {
            Ok(core) => Ok(Lookup::Leading(core)),
            Err(not_leading) if post.members.is_alone() || follower.staleness_max.is_zero() => {
                Err(not_leading)
            }
            Err(not_leading) => Ok(Lookup::Following {
                follower: Arc::clone(follower),
                group: post.group().ok_or(not_leading)?,
                seen_version,
            }),
        }
    }

    /// Whether this member follows.
    pub(crate) fn follows(&self) -> bool {
        matches!(self, Lookup::Following { .. })
    }

    /// Whether what rests on that may be refused.
    pub(crate) fn is_final(&self, sureness: Sureness) -> bool {
        sureness == Sureness::Confirmed || !self.follows()
    }

    /// Checks passwords.
    pub(crate) fn credentials(&self) -> &Credentials {
        match self {
            Lookup::Leading(core) => &core.credentials,
            Lookup::Following { follower, .. } => &follower.credentials,
        }
    }

    /// Signs tokens and checks them; on a member that follows by the keys of what was read last.
    pub(crate) fn tokens(&self) -> &Tokens {
        match self {
            Lookup::Leading(core) => &core.tokens,
            Lookup::Following { follower, .. } => &follower.tokens,
        }
    }

    /// Reads on a thread that may wait for the disk. NOT_LEADER when this member cannot be sure enough.
    pub(crate) async fn read<T, F>(&self, sureness: Sureness, read: F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: FnOnce(Rows<'_>) -> T + Send + 'static,
    {
        let (follower, group, seen) = match self {
            Lookup::Leading(core) => return core.state.read(read).await,
            Lookup::Following {
                follower,
                group,
                seen_version,
            } => (follower, group, *seen_version),
        };
        let age_max = match sureness {
            Sureness::Bounded => follower.staleness_max,
            Sureness::Confirmed => Duration::ZERO,
        };
        let read = match follower.read(group, age_max, seen, read).await? {
            Ok(found) => return Ok(found),
            Err(read) => read,
        };
        // The caller is ahead of this member: what the leader has, the caller has heard of at most.
        let found = follower.read(group, Duration::ZERO, seen, read).await?;
        found.map_err(|_| follower.post.not_leading())
    }

    /// The same, with the version of the state that was read.
    pub(crate) async fn read_versioned<T, F>(&self, sureness: Sureness, read: F) -> Result<(T, u64), Status>
    where
        T: Send + 'static,
        F: FnOnce(Rows<'_>) -> Result<T, ReadError> + Send + 'static,
    {
        let both = move |rows: Rows<'_>| Ok::<_, ReadError>((read(rows)?, rows.sequences()?.version));
        Ok(self.read(sureness, both).await??)
    }
}
