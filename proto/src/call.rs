//! The call model: one request, perhaps with a body of many chunks, answered by any number of replies and an end.
//!
//! Roles are written against [`Caller`] and [`Service`] and never know which transport lies between. Deadlines,
//! cancellation (dropping [`Replies`]) and flow control work alike in both.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::directory::v1::TokenClaims;
use crate::status::{Reason, Status};

/// The largest piece of a body, in bytes.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// The largest encoded request, in bytes, without its body.
pub const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// The largest encoded reply, in bytes.
pub const REPLY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The longest time a call may be given; what asks for more is given this.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Chunks of a body or replies of a call that may be under way within one process.
pub const LOCAL_WINDOW: usize = 16;

/// A pair of message types that a service speaks.
pub trait Protocol: Send + Sync + 'static {
    /// What is asked.
    type Request: prost::Message + Default + Clone + 'static;
    /// One piece of the answer.
    type Reply: prost::Message + Default + Clone + 'static;
    /// Name in logs and metrics.
    const NAME: &'static str;

    /// Whether the call is likely to move much data, so that it travels apart from interactive ones. Calls with a body
    /// always do. Two calls of which one is bulk may overtake each other when the second does not wait for the first.
    fn is_bulk(_request: &Self::Request) -> bool {
        false
    }

    /// Whether any member of the service may answer the call, not only the one that leads.
    fn is_for_any_member(_request: &Self::Request) -> bool {
        false
    }
}

/// What accompanies every call.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// When the caller gives up.
    pub deadline: Instant,
    /// W3C trace context, empty when the call is not traced.
    pub traceparent: String,
    /// An encoded `directory.v1.AccountToken`, empty for calls that need none.
    pub token: Bytes,
}

impl CallContext {
    /// A context with a deadline so far from now, without trace and token.
    pub fn with_timeout(timeout: Duration) -> Self {
        Self {
            deadline: Instant::now() + timeout.min(TIMEOUT_MAX),
            traceparent: String::new(),
            token: Bytes::new(),
        }
    }

    /// The same with a token.
    pub fn token(mut self, token: Bytes) -> Self {
        self.token = token;
        self
    }
}

/// One call as its caller makes it.
pub struct Call<P: Protocol> {
    /// Deadline, trace, identity.
    pub context: CallContext,
    /// What is asked.
    pub request: P::Request,
    /// Bytes that go with the request.
    pub body: Option<Body>,
}

/// The sending side of a role's calls. Cheap to share.
pub trait Caller<P: Protocol>: Send + Sync + 'static {
    /// Starts a call. Never blocks; failures come out of the [`Replies`]. Must be called within a tokio runtime.
    fn call(&self, call: Call<P>) -> Replies<P>;
}

/// The answering side.
pub trait Service<P: Protocol>: Send + Sync + 'static {
    /// Serves one call. Replies go into `replies`; the result is the end of the call. The future is dropped when the
    /// caller cancels or its deadline passes, so a mutation that must not stop half-way is handed to a task of its own.
    fn serve(
        self: Arc<Self>,
        call: Incoming<P>,
        replies: ReplySink<P>,
    ) -> BoxFuture<'static, Result<(), Status>>;
}

/// One call as its callee gets it.
pub struct Incoming<P: Protocol> {
    /// Deadline, trace, identity.
    pub context: CallContext,
    /// What is asked.
    pub request: P::Request,
    /// Bytes that go with the request.
    pub body: Option<Body>,
    /// Who asks, by its certificate.
    pub peer: Peer,
}

/// A role of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Stores mail.
    Mailstore,
    /// Speaks to mail clients.
    Proxy,
    /// Knows accounts and placement.
    Directory,
}

impl Role {
    /// The name in certificates, configuration and node ids.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Mailstore => "mailstore",
            Role::Proxy => "proxy",
            Role::Directory => "directory",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Role::Mailstore, Role::Proxy, Role::Directory]
            .into_iter()
            .find(|role| role.as_str() == name)
    }
}

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its role.
    pub role: Role,
    /// Its node id, such as `proxy-1`.
    pub node: String,
    /// SHA-256 of its certificate (DER); empty within one process.
    pub certificate: Bytes,
}

impl Peer {
    /// Its role and node id, such as `proxy/proxy-1`: what it keeps when it is given another certificate.
    pub fn name(&self) -> String {
        format!("{}/{}", self.role.as_str(), self.node)
    }

    fn has_name(&self, name: &str) -> bool {
        name.split_once('/') == Some((self.role.as_str(), self.node.as_str()))
    }
}

impl TokenClaims {
    /// Whether a caller may use the token: it has the certificate that the token was made for, or is the node that it was made
    /// for and has another one by now. Both are public: how long this takes tells nothing.
    pub fn is_for(&self, caller: &Peer) -> bool {
        self.holder == caller.certificate || caller.has_name(&self.holder_name)
    }
}

/// Bytes that come in chunks of at most [`CHUNK_BYTES_MAX`].
pub struct Body {
    chunks: Chunks,
}

enum Chunks {
    Channel(mpsc::Receiver<Result<Bytes, Status>>),
    Transport(Box<dyn BodySource>),
}

/// Where a transport's bodies come from.
pub trait BodySource: Send + Sync {
    /// The next chunk, or `None` at the end; not called again after an end or an error.
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>>;
}

/// A body that is known as a whole.
struct Whole(Bytes);

impl BodySource for Whole {
    fn poll_chunk(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        let length = self.0.len().min(CHUNK_BYTES_MAX);
        let chunk = self.0.split_to(length);
        Poll::Ready((!chunk.is_empty()).then_some(Ok(chunk)))
    }
}

impl Body {
    /// A body and the sender that fills it. Dropping the sender ends the body; an error sent into it fails the call.
    pub fn channel() -> (mpsc::Sender<Result<Bytes, Status>>, Self) {
        let (sender, chunks) = mpsc::channel(LOCAL_WINDOW);
        (
            sender,
            Self {
                chunks: Chunks::Channel(chunks),
            },
        )
    }

    /// A body that is known as a whole.
    pub fn whole(bytes: Bytes) -> Self {
        Self::from_source(Box::new(Whole(bytes)))
    }

    /// For transports: a body that comes out of a source.
    pub fn from_source(source: Box<dyn BodySource>) -> Self {
        Self {
            chunks: Chunks::Transport(source),
        }
    }

    /// The next chunk, or `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Status> {
        match &mut self.chunks {
            Chunks::Channel(chunks) => chunks.recv().await,
            Chunks::Transport(source) => poll_fn(|context| source.poll_chunk(context)).await,
        }
        .transpose()
    }
}

/// The answers of a call. Dropping it cancels the call.
pub struct Replies<P: Protocol> {
    items: Items<P>,
    // Held so that the transport learns of the drop.
    _guard: Option<Box<dyn Send + Sync>>,
}

enum Items<P: Protocol> {
    Channel(mpsc::Receiver<Result<P::Reply, Status>>),
    Transport(Box<dyn ReplySource<P>>),
}

/// Where a transport's replies come from. Its drop cancels the call.
pub trait ReplySource<P: Protocol>: Send + Sync {
    /// The next reply; `None` at the call's good end and after an error.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<P::Reply, Status>>>;
}

impl<P: Protocol> Replies<P> {
    /// For transports: replies that come out of a channel; the guard is dropped with them. The channel's end without an
    /// error is the call's success.
    pub fn new(items: mpsc::Receiver<Result<P::Reply, Status>>, guard: Option<Box<dyn Send + Sync>>) -> Self {
        Self {
            items: Items::Channel(items),
            _guard: guard,
        }
    }

    /// For transports: replies that come out of a source.
    pub fn from_source(source: Box<dyn ReplySource<P>>) -> Self {
        Self {
            items: Items::Transport(source),
            _guard: None,
        }
    }

    /// A call that failed before it began.
    pub fn failed(status: Status) -> Self {
        let (sender, items) = mpsc::channel(1);
        // The channel is new and has room for one.
        let _ = sender.try_send(Err(status));
        Self::new(items, None)
    }

    /// The next reply; `None` when the call succeeded and all has been said. After an error there is nothing more.
    pub async fn next(&mut self) -> Option<Result<P::Reply, Status>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The same for who waits on several things at once.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<P::Reply, Status>>> {
        match &mut self.items {
            Items::Channel(items) => items.poll_recv(context),
            Items::Transport(source) => source.poll_next(context),
        }
    }

    /// The one reply of a call that has just one.
    pub async fn single(mut self) -> Result<P::Reply, Status> {
        match self.next().await {
            Some(result) => {
                let reply = result?;
                // A call that fails after its reply has failed.
                match self.next().await {
                    Some(Err(status)) => Err(status),
                    _ => Ok(reply),
                }
            }
            None => Err(Status::internal("the call ended without a reply")),
        }
    }
}

/// Where a service puts its replies.
pub struct ReplySink<P: Protocol> {
    inner: Arc<dyn SinkTransport<P>>,
}

impl<P: Protocol> Clone for ReplySink<P> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

/// What a transport gives a [`ReplySink`].
pub trait SinkTransport<P: Protocol>: Send + Sync {
    /// Sends one reply when the caller's window allows.
    fn send(&self, reply: P::Reply) -> BoxFuture<'_, Result<(), Status>>;
}

impl<P: Protocol> ReplySink<P> {
    /// For transports.
    pub fn new(inner: Arc<dyn SinkTransport<P>>) -> Self {
        Self { inner }
    }

    /// Sends one reply, waiting while the caller is slow. Errors with CANCELLED when the caller has gone.
    pub async fn send(&self, reply: P::Reply) -> Result<(), Status> {
        self.inner.send(reply).await
    }
}

/// The status of a call whose deadline passed.
pub fn deadline_exceeded() -> Status {
    Status::new(
        Reason::DeadlineExceeded,
        "the deadline passed before the call ended",
    )
}

/// The status of a call whose caller has gone.
pub fn cancelled() -> Status {
    Status::new(Reason::Cancelled, "the caller has gone")
}

/// The status of a request or reply that is larger than its limit.
pub(crate) fn too_large(what: &str, bytes: usize, bytes_max: usize) -> Status {
    Status::new(
        Reason::LimitExceeded,
        format!("the {what} has {bytes} bytes, and at most {bytes_max} are allowed"),
    )
}

/// The status of a call whose service panicked.
pub(crate) fn panicked() -> Status {
    Status::internal("a defect of the callee stopped the call; its log says more")
}
