//! A directory of made-up accounts: `userN@example.test` is account N in shard N modulo 3.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rookery_proto::directory::v1::{
    Authenticated, Destination, Node, NodeRole, Reply, ResolvedRecipient, Shard, WatchEvent, reply, request,
};
use rookery_proto::{DirectoryProtocol, Incoming, Reason, ReplySink, Service, Status};
use tokio::sync::Notify;

#[derive(Default)]
pub(super) struct Directory {
    /// Answers nothing but the watch.
    pub(super) silent: Mutex<bool>,
    /// Addresses that are nobody's any more.
    pub(super) gone: Mutex<Vec<String>>,
    /// Accounts that are suspended: aliases leave them out, and their tokens are not renewed.
    pub(super) suspended: Mutex<Vec<u64>>,
    /// Tells the watch to break; the proxy begins it anew.
    pub(super) watch_breaks: Notify,
    /// Answers no renewals.
    pub(super) renews_nothing: Mutex<bool>,
    /// The end of tokens that are given at logins, unix milliseconds; absent: never.
    pub(super) tokens_expire_at_millis: Mutex<Option<u64>>,
}

impl Directory {
    fn is_suspended(&self, account: u64) -> bool {
        self.suspended.lock().contains(&account)
    }

    fn resolve(&self, address: &str) -> Result<Vec<Destination>, Status> {
        let refuse = |reason| Err(Status::new(reason, "refused"));
        if self.gone.lock().iter().any(|gone| gone == address) {
            return refuse(Reason::NotFound);
        }
        let lower = address.to_lowercase();
        let Some(local) = lower.strip_suffix("@example.test") else {
            return if lower == "postmaster" {
                Ok(vec![destination(1)])
            } else {
                refuse(Reason::NotLocal)
            };
        };
        match local.split('+').next().unwrap_or_default() {
            "suspended" => refuse(Reason::Suspended),
            "loop" => refuse(Reason::AliasLoop),
            "down" => refuse(Reason::Unavailable),
            "everybody" => Ok((1..=6)
                .filter(|member| !self.is_suspended(*member))
                .map(destination)
                .collect()),
            "bob" => Ok(vec![Destination {
                address: local.to_owned() + "@example.test",
                ..destination(1)
            }]),
            user => match user.strip_prefix("user").and_then(|number| number.parse().ok()) {
                Some(number) if self.is_suspended(number) => refuse(Reason::Suspended),
                Some(number) => Ok(vec![destination(number)]),
                None => refuse(Reason::NotFound),
            },
        }
    }
}

fn destination(account: u64) -> Destination {
    Destination {
        account,
        shard: (account % 3) as u32,
        generation: 1,
        token: format!("deliver-{account}").into(),
        address: format!("user{account}@example.test"),
    }
}

fn snapshot() -> WatchEvent {
    let ids = || (0..3).map(|number| format!("mailstore-{number}"));
    let node = |id| Node {
        id,
        role: NodeRole::Mailstore.into(),
        address: "in memory".to_owned(),
        ..Default::default()
    };
    let shard = |(id, node)| Shard {
        id,
        generation: 1,
        replicas: vec![node],
        ..Shard::default()
    };
    WatchEvent {
        snapshot: true,
        version: 1,
        nodes: ids().map(node).collect(),
        shards: (0..3).zip(ids()).map(shard).collect(),
        ..Default::default()
    }
}

impl Service<DirectoryProtocol> for Directory {
    fn serve(
        self: Arc<Self>,
        call: Incoming<DirectoryProtocol>,
        replies: ReplySink<DirectoryProtocol>,
    ) -> BoxFuture<'static, Result<(), Status>> {
        Box::pin(async move {
            let say = |call| replies.send(Reply { call: Some(call) });
            let call = call.request.call.unwrap();
            if let request::Call::Watch(_) = call {
                say(reply::Call::WatchEvent(snapshot())).await?;
                loop {
                    tokio::select! {
                        () = self.watch_breaks.notified() => return Ok(()),
                        () = tokio::time::sleep(Duration::from_millis(500)) => {}
                    }
                    say(reply::Call::WatchEvent(WatchEvent::default())).await?;
                }
            }
            let silent = *self.silent.lock();
            if silent {
                std::future::pending::<()>().await;
            }
            match call {
                request::Call::ResolveRecipient(resolve) => {
                    let destinations = self.resolve(&resolve.address)?;
                    say(reply::Call::ResolvedRecipient(ResolvedRecipient {
                        destinations,
                        cache_millis: 0,
                    }))
                    .await
                }
                request::Call::Authenticate(login) => match (login.login.as_str(), login.password.as_str()) {
                    ("user1@example.test", "secret") => {
                        let authenticated = Authenticated {
                            account: 1,
                            shard: 1,
                            token: "owner-1".into(),
                            token_expires_at_millis: self.tokens_expire_at_millis.lock().unwrap_or(u64::MAX),
                            address: login.login,
                            ..Default::default()
                        };
                        say(reply::Call::Authenticated(authenticated)).await
                    }
                    ("suspended@example.test", "secret") => Err(Status::new(Reason::Suspended, "suspended")),
                    ("down@example.test", _) => Err(Status::unavailable("the pool is full")),
                    _ => Err(Status::new(Reason::BadCredentials, "wrong")),
                },
                request::Call::RenewToken(_) if *self.renews_nothing.lock() => {
                    Err(Status::unavailable("no leader"))
                }
                request::Call::RenewToken(_) if self.is_suspended(1) => {
                    Err(Status::new(Reason::Suspended, "suspended"))
                }
                request::Call::RenewToken(renew) => {
                    let renewed = Authenticated {
                        account: 1,
                        shard: 1,
                        token: renew.token,
                        token_expires_at_millis: u64::MAX,
                        ..Default::default()
                    };
                    say(reply::Call::Renewed(renewed)).await
                }
                other => Err(Status::invalid(format!("not for this test: {other:?}"))),
            }
        })
    }
}
