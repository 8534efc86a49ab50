//! How nodes that share groups reach each other: one connection for each pair, whatever the number of groups.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::RwLock;
use prost::Message;
use rookery_proto::call::CHUNK_BYTES_MAX;
use rookery_proto::replication::v1::{Append, Entries, Reply, Request, reply, request};
use rookery_proto::{
    Body, Call, CallContext, Caller, Incoming, Reason, ReplicationProtocol, ReplySink, Role, Service, Status,
};

use crate::entry::GroupId;
use crate::group::Member;

/// Entries of more bytes than this come in a call's body.
const INLINE_BYTES_MAX: usize = 512 * 1024;

/// The most bytes of entries that are taken in one call.
const ENTRIES_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How long a beat or a vote may take: no longer than a node may be silent.
const SHORT: Duration = Duration::from_secs(1);

/// How long entries may take to be durable on a follower, and rows of a state to be read.
const LONG: Duration = Duration::from_secs(10);

/// How long a replica may take to read all that it has.
const DIGEST: Duration = Duration::from_secs(3600);

/// How long a follower may take to fetch and install a state.
const INSTALL: Duration = Duration::from_secs(24 * 3600);

/// Calls on other nodes. Knows a node by its id, wherever it is.
pub trait Transport: Send + Sync + 'static {
    /// Makes a call; UNAVAILABLE when the node cannot be reached or does not answer in its time.
    fn call(&self, node: &str, request: Request) -> BoxFuture<'static, Result<reply::Call, Status>>;
}

/// For a node whose groups have no other members.
pub struct NoTransport;

impl Transport for NoTransport {
    fn call(&self, node: &str, _request: Request) -> BoxFuture<'static, Result<reply::Call, Status>> {
        Box::pin(std::future::ready(Err(no_way(node))))
    }
}

fn no_way(node: &str) -> Status {
    Status::unavailable(format!("there is no way to {node} from here"))
}

/// Makes a channel to an address.
pub type Connect = Box<dyn Fn(&str) -> Arc<dyn Caller<ReplicationProtocol>> + Send + Sync>;

struct Peer {
    address: String,
    caller: Arc<dyn Caller<ReplicationProtocol>>,
}

/// Calls on other nodes over the network, at the addresses that they were last known to have.
pub struct Peers {
    connect: Connect,
    peers: RwLock<HashMap<String, Peer>>,
}

impl Peers {
    /// Nobody's address is known yet.
    pub fn new(connect: Connect) -> Arc<Self> {
        Arc::new(Self {
            connect,
            peers: RwLock::default(),
        })
    }

    /// A node has this address from now on.
    pub fn set_address(&self, node: &str, address: &str) {
        if address.is_empty()
            || self
                .peers
                .read()
                .get(node)
                .is_some_and(|peer| peer.address == address)
        {
            return;
        }
        let peer = Peer {
            address: address.to_owned(),
            caller: (self.connect)(address),
        };
        self.peers.write().insert(node.to_owned(), peer);
    }
}

impl Transport for Peers {
    fn call(&self, node: &str, mut request: Request) -> BoxFuture<'static, Result<reply::Call, Status>> {
        let caller = match self.peers.read().get(node) {
            Some(peer) => Arc::clone(&peer.caller),
            None => return Box::pin(std::future::ready(Err(no_way(node)))),
        };
        let timeout = answer_timeout(&request);
        let entries = match &mut request.call {
            Some(request::Call::Append(append)) => large_entries(append),
            _ => None,
        };
        Box::pin(async move {
            let (body, sending) = match entries {
                Some(entries) => {
                    let (sender, body) = Body::channel();
                    (Some(body), Some(send(sender, entries)))
                }
                None => (None, None),
            };
            let replies = caller.call(Call {
                context: CallContext::with_timeout(timeout),
                request,
                body,
            });
            let reply = match sending {
                Some(sending) => {
                    let (reply, ()) = futures_util::future::join(replies.single(), sending).await;
                    reply
                }
                None => replies.single().await,
            };
            reply?
                .call
                .ok_or_else(|| Status::internal("the answer says nothing"))
        })
    }
}

/// How long a call may take.
pub fn answer_timeout(request: &Request) -> Duration {
    match &request.call {
        Some(request::Call::Append(_) | request::Call::ReadSnapshot(_)) => LONG,
        Some(request::Call::ReadDigest(_)) => DIGEST,
        Some(request::Call::InstallSnapshot(_)) => INSTALL,
        _ => SHORT,
    }
}

/// Takes entries out of a call that would be too large with them.
fn large_entries(append: &mut Append) -> Option<Bytes> {
    let bytes: usize = append.entries.iter().map(|entry| entry.payload.len() + 32).sum();
    if bytes <= INLINE_BYTES_MAX {
        return None;
    }
    let entries = Entries {
        entries: std::mem::take(&mut append.entries),
    };
    Some(entries.encode_to_vec().into())
}

async fn send(to: tokio::sync::mpsc::Sender<Result<Bytes, Status>>, mut bytes: Bytes) {
    while !bytes.is_empty() {
        let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES_MAX));
        if to.send(Ok(chunk)).await.is_err() {
            // The call has ended; its answer says why.
            return;
        }
    }
}

/// Answers other nodes' calls on a member's replicas.
pub struct ReplicationService(pub Arc<Member>);

impl Service<ReplicationProtocol> for ReplicationService {
    fn serve(
        self: Arc<Self>,
        call: Incoming<ReplicationProtocol>,
        replies: ReplySink<ReplicationProtocol>,
    ) -> BoxFuture<'static, Result<(), Status>> {
        Box::pin(async move {
            let Incoming {
                mut request,
                body,
                peer,
                ..
            } = call;
            check_role(&request, peer.role)?;
            if let (Some(request::Call::Append(append)), Some(body)) = (&mut request.call, body) {
                append.entries = receive(body).await?.entries;
            }
            if let Some(request::Call::Beat(beat)) = &mut request.call {
                // Who beats is who the certificate says.
                beat.node = peer.node;
            }
            let answer = self.0.serve(request).await?;
            replies.send(Reply { call: Some(answer) }).await
        })
    }
}

/// A directory's group is among directories, shards are among mailstores.
fn check_role(request: &Request, role: Role) -> Result<(), Status> {
    let is_directory = request.group == GroupId::DIRECTORY.0;
    let fits =
        matches!(request.call, Some(request::Call::Beat(_))) || is_directory == (role == Role::Directory);
    if fits && role != Role::Proxy {
        return Ok(());
    }
    let message = format!("a {} has no part in group {}", role.as_str(), request.group);
    Err(Status::new(Reason::PermissionDenied, message))
}

async fn receive(mut body: Body) -> Result<Entries, Status> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        if bytes.len() + chunk.len() > ENTRIES_BYTES_MAX {
            return Err(Status::new(Reason::LimitExceeded, "the entries are too large"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Entries::decode(Bytes::from(bytes))
        .map_err(|error| Status::invalid(format!("the entries are damaged: {error}")))
}
