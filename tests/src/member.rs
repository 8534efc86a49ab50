//! One member of the directory, asked as a proxy asks it and with no way to another.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rookery_proto::directory::v1::{Authenticate, Reply, Request, ResolveRecipient, reply, request};
use rookery_proto::remote::{ConnectOptions, Endpoint, NodeTls, Remote, connect};
use rookery_proto::{Call, CallContext, Caller, DirectoryProtocol, Role, Status};

/// How long a member has to answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// What a node of the cluster shows and checks: the CA, and a node's own certificate and key in its folder.
pub fn node_tls(ca: &Path, folder: &Path) -> Result<NodeTls> {
    let read = |path: &Path| std::fs::read(path).with_context(|| path.display().to_string());
    Ok(NodeTls::from_pem(
        &read(ca)?,
        &read(&folder.join("node.pem"))?,
        &read(&folder.join("node.key"))?,
    )?)
}

/// A member of the directory.
pub struct MemberClient {
    runtime: tokio::runtime::Runtime,
    member: Remote<DirectoryProtocol>,
}

impl MemberClient {
    /// The member at an address, with the certificate of a proxy.
    pub fn new(address: &str, tls: NodeTls) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let endpoint = Endpoint {
            address: address.to_owned(),
            role: Role::Directory,
            tls,
        };
        let entered = runtime.enter();
        let member = connect(endpoint, ConnectOptions::default())?;
        drop(entered);
        Ok(Self { runtime, member })
    }

    /// The accounts that get mail for an address.
    pub fn resolve(&self, address: &str) -> Result<Vec<u64>, Status> {
        let call = request::Call::ResolveRecipient(ResolveRecipient {
            address: address.to_owned(),
        });
        match self.ask(call)? {
            reply::Call::ResolvedRecipient(resolved) => {
                let destinations = resolved.destinations.iter();
                Ok(destinations.map(|destination| destination.account).collect())
            }
            other => Err(Status::internal(format!("answered with {other:?}"))),
        }
    }

    /// The account of a name and its password.
    pub fn log_in(&self, login: &str, password: &str) -> Result<u64, Status> {
        let call = request::Call::Authenticate(Authenticate {
            login: login.to_owned(),
            password: password.to_owned(),
            client: "127.0.0.1".to_owned(),
        });
        match self.ask(call)? {
            reply::Call::Authenticated(granted) => Ok(granted.account),
            other => Err(Status::internal(format!("answered with {other:?}"))),
        }
    }

    fn ask(&self, call: request::Call) -> Result<reply::Call, Status> {
        let request = Request {
            call: Some(call),
            ..Request::default()
        };
        let Reply { call } = self.runtime.block_on(async {
            let replies = self.member.call(Call {
                context: CallContext::with_timeout(ANSWER_MAX),
                request,
                body: None,
            });
            replies.single().await
        })?;
        call.ok_or_else(|| Status::internal("an empty reply"))
    }
}
