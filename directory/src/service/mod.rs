//! The calls of proxies, mailstores and other members: who may make which, and their ways to the answer, one file each.

mod authenticate;
mod join_group;
mod register_node;
mod renew_token;
mod resolve_recipient;
mod watch;

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use rookery_process::traces;
use rookery_proto::directory::v1::{FormedGroup, MemberDescription, NodeRole, Reply, reply, request};
use rookery_proto::status::outcome;
use rookery_proto::{DirectoryProtocol, Incoming, Peer, Protocol, Reason, ReplySink, Role, Service, Status};
use tracing::Instrument;

use crate::catalogue::{CALL_SECONDS, CALLS_TOTAL, FOLLOWER_LOOKUPS};
use crate::lookup::{Follower, Lookup};
use crate::opening;
use crate::post::Post;

/// Serves the directory's calls.
pub struct DirectoryService {
    post: Arc<Post>,
    follower: Arc<Follower>,
}

impl DirectoryService {
    pub(crate) fn new(post: Arc<Post>, follower: Arc<Follower>) -> Self {
        Self { post, follower }
    }

    async fn run(
        &self,
        call: Incoming<DirectoryProtocol>,
        replies: &ReplySink<DirectoryProtocol>,
    ) -> Result<(), Status> {
        let peer = &call.peer;
        let seen_version = call.request.seen_version;
        let Some(request) = call.request.call else {
            return Err(Status::new(
                Reason::Unimplemented,
                "this version does not know the call",
            ));
        };
        // What every member answers.
        match request {
            request::Call::DescribeMember(_) => {
                allow(peer, &[Role::Directory])?;
                let state = opening::describe(&self.post)?.into();
                return answer(
                    replies,
                    reply::Call::MemberDescription(MemberDescription { state }),
                )
                .await;
            }
            request::Call::FormGroup(request) => {
                allow(peer, &[Role::Directory])?;
                opening::form_here(&self.post, &request.members).await?;
                return answer(replies, reply::Call::FormedGroup(FormedGroup {})).await;
            }
            request::Call::ResolveRecipient(_)
            | request::Call::Authenticate(_)
            | request::Call::RenewToken(_) => {
                allow(peer, &[Role::Proxy])?;
                let lookup = Lookup::new(&self.follower, seen_version)?;
                let looked_up = look_up(&lookup, peer, request, call.context.deadline).await;
                let said = if lookup.follows() {
                    self.as_follower(looked_up)
                } else {
                    looked_up
                };
                return answer(replies, said?).await;
            }
            _ => {}
        }
        let core = self.post.core()?;
        let core = core.as_ref();
        let said = match request {
            request::Call::RegisterNode(request) => {
                reply::Call::RegisteredNode(register_node::run(core, peer, request).await?)
            }
            request::Call::JoinGroup(request) => {
                allow(peer, &[Role::Directory])?;
                let configured = self.post.members.configured();
                reply::Call::JoinedGroup(join_group::run(core, peer, configured, request).await?)
            }
            request::Call::Watch(_) => {
                allow(peer, &[Role::Proxy, Role::Mailstore, Role::Directory])?;
                return watch::run(core, replies).await;
            }
            request::Call::DescribeMember(_)
            | request::Call::FormGroup(_)
            | request::Call::ResolveRecipient(_)
            | request::Call::Authenticate(_)
            | request::Call::RenewToken(_) => {
                return Err(Status::internal("answered above"));
            }
        };
        answer(replies, said).await
    }

    /// What a member that follows says: what it cannot read, another may.
    fn as_follower(&self, looked_up: Result<reply::Call, Status>) -> Result<reply::Call, Status> {
        let said = match looked_up {
            Err(status) if status.reason == Reason::Internal => {
                tracing::error!(%status, "a lookup failed here: the leader is to answer it");
                Err(self.post.not_leading())
            }
            said => said,
        };
        let is_answer = !matches!(&said, Err(status) if status.is_retryable());
        let outcome = if is_answer { "answered" } else { "passed_on" };
        FOLLOWER_LOOKUPS.with(&[outcome]).increment(1);
        said
    }

    /// Says who leads, so that who called finds it, and that nobody else is to be asked when that is this member.
    fn hint(&self, status: Status) -> Status {
        match status.reason {
            Reason::NotLeader => self.post.not_leading(),
            Reason::Unavailable if self.post.core().is_ok() => Status {
                leader: self.post.members.address(self.post.members.own()).to_owned(),
                ..status
            },
            _ => status,
        }
    }
}

async fn look_up(
    lookup: &Lookup,
    peer: &Peer,
    request: request::Call,
    deadline: Instant,
) -> Result<reply::Call, Status> {
    match request {
        request::Call::ResolveRecipient(request) => {
            let resolved = resolve_recipient::run(lookup, peer, request).await?;
            Ok(reply::Call::ResolvedRecipient(resolved))
        }
        request::Call::Authenticate(request) => {
            let granted = authenticate::run(lookup, peer, request, deadline).await?;
            Ok(reply::Call::Authenticated(granted))
        }
        request::Call::RenewToken(request) => {
            let renewed = renew_token::run(lookup, peer, &request).await?;
            Ok(reply::Call::Renewed(renewed))
        }
        _ => Err(Status::internal("the call is no lookup")),
    }
}

async fn answer(replies: &ReplySink<DirectoryProtocol>, said: reply::Call) -> Result<(), Status> {
    replies.send(Reply { call: Some(said) }).await
}

impl Service<DirectoryProtocol> for DirectoryService {
    fn serve(
        self: Arc<Self>,
        call: Incoming<DirectoryProtocol>,
        replies: ReplySink<DirectoryProtocol>,
    ) -> BoxFuture<'static, Result<(), Status>> {
        let name = call.request.call.as_ref().map_or("unknown", request::Call::name);
        let traced = traces::served(DirectoryProtocol::NAME, name, &call.context.traceparent);
        if traced.is_traced() {
            traced.set("rookery.node", self.post.members.own().to_owned());
            traced.set("rookery.peer", call.peer.node.clone());
        }
        let span = tracing::debug_span!("directory_call", call = name, peer = call.peer.node);
        let serving = async move {
            let began = Instant::now();
            let result = self.run(call, &replies).await.map_err(|status| self.hint(status));
            CALLS_TOTAL.with(&[name, outcome(&result)]).increment(1);
            CALL_SECONDS.since(&[name], began);
            traces::current().ended(result.as_ref().err().map(Status::for_traces));
            if let Err(status) = &result
                && status.reason == Reason::Internal
            {
                tracing::error!(call = name, %status, "a call failed");
            }
            result
        };
        // The traced work innermost, so that its steps find it.
        Box::pin(traced.run(serving).instrument(span))
    }
}

fn allow(peer: &Peer, roles: &[Role]) -> Result<(), Status> {
    if roles.contains(&peer.role) {
        return Ok(());
    }
    Err(denied(format!("a {} may not make this call", peer.role.as_str())))
}

fn denied(message: impl Into<String>) -> Status {
    Status::new(Reason::PermissionDenied, message)
}

fn node_role(role: Role) -> NodeRole {
    match role {
        Role::Mailstore => NodeRole::Mailstore,
        Role::Proxy => NodeRole::Proxy,
        Role::Directory => NodeRole::Directory,
    }
}
