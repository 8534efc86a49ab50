//! Calls on an account's shard that survive a change of its leader.
//!
//! A call is tried until its deadline as long as the failure says that another try, with the same idempotency key, may
//! succeed. Owns the account's token and renews it while the session lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;
use rookery_proto::mailstore::v1::{self as mailstore, IdempotencyKey, reply, request};
use rookery_proto::{Reason, Status};

use super::ask::{Bearer, LeaderStream};
use super::cluster::Cluster;
use super::feed::Subscription;
use super::upload::{Holder, Upload};

/// How long before its end a token is renewed.
const TOKEN_MARGIN: Duration = Duration::from_secs(120);

/// How long a token that still holds is used after it could not be renewed, before the directory is asked again.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);

/// Pause before the directory is asked again where an account is that has moved.
const MOVED_PAUSE: Duration = Duration::from_millis(20);

/// How a call is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct CallOptions {
    /// How long to wait for it; absent: the cluster's patience.
    pub timeout: Option<Duration>,
    /// Whether it changes something and so carries an idempotency key.
    pub mutates: bool,
}

impl CallOptions {
    /// A call that changes something.
    pub const MUTATION: CallOptions = CallOptions {
        timeout: None,
        mutates: true,
    };
    /// A call that only reads.
    pub const READ: CallOptions = CallOptions {
        timeout: None,
        mutates: false,
    };
}

struct Token {
    bytes: Bytes,
    expires_at_millis: u64,
    /// [`Cluster::grants_epoch`] from before it was granted.
    epoch: u64,
    /// The directory did not answer: not to be asked before then.
    renew_at: Option<Instant>,
}

/// An account as a session holds it: who it is, and the right to act for it.
pub struct Account {
    cluster: Arc<Cluster>,
    id: u64,
    /// Another one once the account has moved.
    shard: AtomicU32,
    /// Of the placement that says so.
    generation: AtomicU64,
    address: String,
    token: Mutex<Token>,
    session: [u8; 16],
    /// The version of the directory's state by which it was granted.
    granted_version: u64,
    number: AtomicU64,
    /// The highest modseq of the account that the session has seen: a leader that is behind it waits before it answers.
    seen_modseq: AtomicU64,
}

impl Account {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        authenticated: rookery_proto::directory::v1::Authenticated,
        session: [u8; 16],
        epoch: u64,
    ) -> Self {
        Self {
            cluster,
            id: authenticated.account,
            shard: AtomicU32::new(authenticated.shard),
            generation: AtomicU64::new(authenticated.generation),
            address: authenticated.address,
            token: Mutex::new(Token {
                bytes: authenticated.token,
                expires_at_millis: authenticated.token_expires_at_millis,
                epoch,
                renew_at: None,
            }),
            session,
            granted_version: authenticated.version,
            number: AtomicU64::new(0),
            seen_modseq: AtomicU64::new(0),
        }
    }

    /// The account's id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The account's primary address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Listens for changes of the account's mailboxes and for the end of its sessions, also one that was told before
    /// and of which the directory did not know yet when it granted this one.
    pub fn subscribe(&self) -> Subscription {
        let feed = self.cluster.feed();
        feed.subscribe(self.id, self.shard(), self.granted_version)
    }

    /// Makes sure that the account may still be acted for, for a session that makes no calls on its shard. Costs a call
    /// to the directory only when its watch was lost since the last time, or the token is about to end. After a refusal
    /// the account's sessions end; any other error says that nobody could be asked.
    pub async fn confirm(&self) -> Result<(), Status> {
        self.token(self.deadline(CallOptions::READ)).await.map(drop)
    }

    /// Makes a call that has one reply, trying again until the deadline where that is safe.
    pub async fn call(&self, call: request::Call, options: CallOptions) -> Result<reply::Call, Status> {
        let key = options.mutates.then(|| self.next_key());
        let deadline = self.deadline(options);
        loop {
            let shard = self.shard();
            let asked =
                self.cluster
                    .ask_leader(shard, Bearer::Account(self), call.clone(), key.clone(), deadline);
            match asked.await {
                Err(status) if status.reason == Reason::Moved => self.find_again(shard, deadline).await?,
                answer => return answer,
            }
        }
    }

    /// The shard has told that the account has moved away: asks the directory where to, until it knows.
    pub(super) async fn find_again(&self, left: u32, deadline: Instant) -> Result<(), Status> {
        while self.shard() == left {
            // What is held is of no use, however fresh it is.
            self.token.lock().epoch = u64::MAX;
            self.token(deadline).await?;
            if self.shard() != left {
                break;
            }
            if Instant::now() + MOVED_PAUSE >= deadline {
                let message = format!(
                    "account {} has left shard {left}, and nobody says where to",
                    self.id
                );
                return Err(Status::unavailable(message));
            }
            tokio::time::sleep(MOVED_PAUSE).await;
        }
        Ok(())
    }

    /// The directory has said where the account is.
    fn take_place(&self, shard: u32, generation: u64) {
        // One that has heard less may answer later.
        if self.generation.fetch_max(generation, Ordering::AcqRel) > generation {
            return;
        }
        if self.shard.swap(shard, Ordering::AcqRel) != shard {
            tracing::debug!(
                account = self.id,
                shard,
                "the account has moved; its session goes on"
            );
            self.cluster.feed().moved(self.id, shard);
        }
    }

    /// Calls that have many replies. After a failure the caller opens the stream again, for the rest.
    pub(crate) fn stream(&self) -> LeaderStream<'_> {
        self.cluster.stream(self.shard(), Bearer::Account(self))
    }

    /// A large message on its way to the account's shard, under an id of its own.
    pub(crate) fn upload(self: &Arc<Self>, id: [u8; 16], deadline: Instant) -> Upload {
        Upload::begin(&self.cluster, Holder::Account(Arc::clone(self)), id, deadline)
    }

    /// The account's shard.
    pub(super) fn shard(&self) -> u32 {
        self.shard.load(Ordering::Acquire)
    }

    /// The highest modseq of the account that the session has seen.
    pub(super) fn seen_modseq(&self) -> u64 {
        self.seen_modseq.load(Ordering::Relaxed)
    }

    /// The account has got so far: what is read from now on shows it.
    pub(crate) fn saw(&self, modseq: u64) {
        self.seen_modseq.fetch_max(modseq, Ordering::Relaxed);
    }

    /// Takes note of how far the account had got when this was answered.
    pub(super) fn saw_reply(&self, reply: &reply::Call) {
        let of_mailbox = |mailbox: &mailstore::Mailbox| mailbox.highest_modseq;
        let modseq = match reply {
            reply::Call::Mailboxes(mailboxes) => mailboxes.modseq,
            reply::Call::Mailbox(mailbox) => of_mailbox(mailbox),
            reply::Call::Done(done) => done.modseq,
            reply::Call::OpenedMailbox(opened) => opened.mailbox.as_ref().map_or(0, of_mailbox),
            reply::Call::Changes(changes) => changes.modseq,
            reply::Call::Search(found) => found.modseq,
            reply::Call::Stored(stored) => stored.modseq,
            reply::Call::Copied(copied) => copied.modseq,
            reply::Call::Expunged(expunged) => expunged.modseq,
            reply::Call::Appended(appended) => appended.modseq,
            reply::Call::Rows(rows) => rows.rows.iter().map(|row| row.modseq).max().unwrap_or(0),
            // Of no account, or of nothing that a read shows.
            reply::Call::Uploaded(_)
            | reply::Call::Delivered(_)
            | reply::Call::HandOffs(_)
            | reply::Call::ShardEvent(_)
            | reply::Call::ExportedRows(_)
            | reply::Call::MovedRows(_)
            | reply::Call::ComparedReplicas(_) => 0,
        };
        self.saw(modseq);
    }

    fn deadline(&self, options: CallOptions) -> Instant {
        Instant::now() + options.timeout.unwrap_or(self.cluster.options().patience)
    }

    fn next_key(&self) -> IdempotencyKey {
        IdempotencyKey {
            session: Bytes::copy_from_slice(&self.session),
            number: self.number.fetch_add(1, Ordering::Relaxed),
            issued_at_millis: now_millis(),
        }
    }

    /// The token, renewed when it is about to end, or when the directory may have said meanwhile that it is void.
    pub(super) async fn token(&self, deadline: Instant) -> Result<Bytes, Status> {
        let epoch = self.cluster.grants_epoch();
        let (bytes, expires_at_millis) = {
            let token = self.token.lock();
            let margin = u64::try_from(TOKEN_MARGIN.as_millis()).unwrap_or(u64::MAX);
            let is_fresh = now_millis().saturating_add(margin) < token.expires_at_millis
                || token.renew_at.is_some_and(|at| Instant::now() < at)
                    && now_millis() < token.expires_at_millis;
            if token.epoch == epoch && is_fresh {
                return Ok(token.bytes.clone());
            }
            (token.bytes.clone(), token.expires_at_millis)
        };
        match self.cluster.renew(bytes.clone(), deadline).await {
            Ok(renewed) => {
                self.cluster.logins().renewed(self.id, &renewed);
                self.take_place(renewed.shard, renewed.generation);
                let mut token = self.token.lock();
                *token = Token {
                    bytes: renewed.token,
                    expires_at_millis: renewed.token_expires_at_millis,
                    epoch,
                    renew_at: None,
                };
                Ok(token.bytes.clone())
            }
            Err(status) if is_refusal(&status) => {
                self.cluster.feed().end(self.id, 0);
                Err(status)
            }
            // The old one still holds for a while. A directory that is away begins its watch anew when it is back, and
            // with it another epoch: until then the session need not wait at each call.
            Err(_) if now_millis() < expires_at_millis => {
                let mut token = self.token.lock();
                token.epoch = epoch;
                token.renew_at = Some(Instant::now() + RENEWAL_PAUSE);
                Ok(bytes)
            }
            Err(status) => Err(status),
        }
    }
}

/// Whether the directory has said that the session may go on no longer, and not just nothing.
pub(crate) fn is_refusal(status: &Status) -> bool {
    matches!(
        status.reason,
        Reason::Suspended
            | Reason::PermissionDenied
            | Reason::NoAccount
            | Reason::NotFound
            | Reason::BadCredentials
    )
}

/// Now, in unix milliseconds.
pub fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
