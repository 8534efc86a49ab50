//! Calls on an account's shard that survive a change of its leader.
//!
//! A call is tried until its deadline as long as the failure says that another try, with the same idempotency key, may
//! succeed. Owns the account's token and renews it while the session lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;
use rookery_proto::mailstore::v1::{self as mailstore, IdempotencyKey, Reply, Request, reply, request};
use rookery_proto::{Body, Call, CallContext, MailstoreProtocol, Reason, Replies, Status};

use super::cluster::Cluster;
use super::feed::Subscription;

/// How long before its end a token is renewed.
const TOKEN_MARGIN: Duration = Duration::from_secs(120);

/// Waits between tries, the last of which repeats.
pub(super) const RETRY_WAITS: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
];

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
}

/// An account as a session holds it: who it is, and the right to act for it.
pub struct Account {
    cluster: Arc<Cluster>,
    id: u64,
    shard: u32,
    address: String,
    token: Mutex<Token>,
    session: [u8; 16],
    number: AtomicU64,
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
            shard: authenticated.shard,
            address: authenticated.address,
            token: Mutex::new(Token {
                bytes: authenticated.token,
                expires_at_millis: authenticated.token_expires_at_millis,
                epoch,
            }),
            session,
            number: AtomicU64::new(0),
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

    /// Listens for changes of the account's mailboxes and for the end of its sessions.
    pub fn subscribe(&self) -> Subscription {
        self.cluster.feed().subscribe(self.id, self.shard)
    }

    /// Makes sure that the account may still be acted for, for a session that makes no calls on its shard. Costs a call
    /// to the directory only when its watch was lost since the last time, or the token is about to end. After a refusal
    /// the account's sessions end; any other error says that nobody could be asked.
    pub async fn confirm(&self) -> Result<(), Status> {
        self.token(self.deadline(CallOptions::READ)).await.map(drop)
    }

    /// Makes a call that has one reply, trying again until the deadline where that is safe.
    pub async fn call(&self, call: request::Call, options: CallOptions) -> Result<reply::Call, Status> {
        let deadline = self.deadline(options);
        let key = options.mutates.then(|| self.next_key());
        let mut tries = 0;
        loop {
            let result = match self.attempt(call.clone(), key.clone(), deadline, None).await {
                Ok(replies) => replies.single().await,
                Err(status) => Err(status),
            };
            match result {
                Ok(Reply { call: Some(reply) }) => return Ok(reply),
                Ok(_) => return Err(Status::internal("the mailstore sent an empty reply")),
                Err(status) => self.wait(status, deadline, &mut tries).await?,
            }
        }
    }

    /// Starts a call that has many replies. Only its start is tried again; the caller begins anew after a failure.
    pub async fn stream(&self, call: request::Call) -> Result<Replies<MailstoreProtocol>, Status> {
        self.attempt(call, None, self.deadline(CallOptions::READ), None)
            .await
    }

    /// Stores a large body under an upload id, from chunks that come as the client sends them. Not tried again: the
    /// chunks are gone. Fails when the body does. `Uploaded` says the size and hash.
    pub async fn upload(
        &self,
        id: Bytes,
        body: Body,
        timeout: Duration,
    ) -> Result<mailstore::Uploaded, Status> {
        let deadline = Instant::now() + timeout;
        let call = request::Call::Upload(mailstore::Upload { id });
        match self
            .attempt(call, None, deadline, Some(body))
            .await?
            .single()
            .await?
        {
            Reply {
                call: Some(reply::Call::Uploaded(uploaded)),
            } => Ok(uploaded),
            _ => Err(Status::internal(
                "the mailstore answered an upload with something else",
            )),
        }
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

    async fn attempt(
        &self,
        call: request::Call,
        key: Option<IdempotencyKey>,
        deadline: Instant,
        body: Option<Body>,
    ) -> Result<Replies<MailstoreProtocol>, Status> {
        let token = self.token(deadline).await?;
        let (placement, caller) = self.cluster.leader(self.shard)?;
        let request = Request {
            shard_generation: placement.generation,
            key,
            call: Some(call),
            ..Default::default()
        };
        let context = CallContext {
            deadline,
            traceparent: String::new(),
            token,
        };
        Ok(caller.call(Call {
            context,
            request,
            body,
        }))
    }

    /// The token, renewed when it is about to end, or when the directory may have said meanwhile that it is void.
    async fn token(&self, deadline: Instant) -> Result<Bytes, Status> {
        let epoch = self.cluster.grants_epoch();
        let (bytes, expires_at_millis, granted) = {
            let token = self.token.lock();
            (token.bytes.clone(), token.expires_at_millis, token.epoch)
        };
        let margin = u64::try_from(TOKEN_MARGIN.as_millis()).unwrap_or(u64::MAX);
        if granted == epoch && now_millis().saturating_add(margin) < expires_at_millis {
            return Ok(bytes);
        }
        match self.cluster.renew(bytes.clone(), deadline).await {
            Ok(renewed) => {
                let mut token = self.token.lock();
                token.bytes = renewed.token;
                token.expires_at_millis = renewed.token_expires_at_millis;
                token.epoch = epoch;
                Ok(token.bytes.clone())
            }
            Err(status) if is_refusal(&status) => {
                self.cluster.feed().end(self.id);
                Err(status)
            }
            // The old one still holds for a while. A directory that is away begins its watch anew when it is back, and
            // with it another epoch: until then the session need not wait at each call.
            Err(_) if now_millis() < expires_at_millis => {
                self.token.lock().epoch = epoch;
                Ok(bytes)
            }
            Err(status) => Err(status),
        }
    }

    async fn wait(&self, status: Status, deadline: Instant, tries: &mut usize) -> Result<(), Status> {
        if !status.is_retryable() {
            return Err(status);
        }
        let pause = RETRY_WAITS[(*tries).min(RETRY_WAITS.len() - 1)];
        *tries += 1;
        if Instant::now() + pause >= deadline {
            return Err(Status::new(Reason::Unavailable, status.message));
        }
        self.cluster.changed_or(pause).await;
        Ok(())
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
