//! Fills a directory with accounts and measures it over the network, as operators and proxies call it.
//!
//! Knows the calls alone: what the rows of an account are is for whoever drives it.

pub mod load;
pub mod lookups;
pub mod watchers;

use std::time::Duration;

use anyhow::Result;
use rookery_proto::directory::v1::{Authenticate, Reply, Request, ResolveRecipient, reply, request};
use rookery_proto::remote::{ConnectOptions, Endpoint, NodeTls, Remote, WhenDown, connect};
use rookery_proto::{Call, CallContext, Caller, DirectoryProtocol, Replies, Role, Status};

/// How long a lookup may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How long a call waits for its connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Pauses between attempts to connect: short, as they are part of what is measured when a member starts.
const BACKOFF: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(20)];

/// A member of the directory, and the certificate of the proxy that it is called as.
#[derive(Debug, Clone)]
pub struct Target {
    /// `host:port` of its gRPC listener.
    pub address: String,
    /// A proxy's.
    pub tls: NodeTls,
}

impl Target {
    /// A connection of its own. Must be called within a tokio runtime.
    pub fn connect(&self) -> Result<Client> {
        let endpoint = Endpoint {
            address: self.address.clone(),
            role: Role::Directory,
            tls: self.tls.clone(),
        };
        let options = ConnectOptions {
            when_down: WhenDown::Wait(CONNECT_MAX),
            backoff_min: BACKOFF[0],
            backoff_max: BACKOFF[1],
            ..ConnectOptions::default()
        };
        Ok(Client(connect(endpoint, options)?))
    }
}

/// A connection to a member, with as many calls in flight as are made.
pub struct Client(Remote<DirectoryProtocol>);

impl Client {
    /// The accounts that get mail for an address.
    pub async fn resolve(&self, address: &str) -> Result<Vec<u64>, Status> {
        let call = request::Call::ResolveRecipient(ResolveRecipient {
            address: address.to_owned(),
        });
        match self.call(call, ANSWER_MAX).single().await?.call {
            Some(reply::Call::ResolvedRecipient(resolved)) => {
                let destinations = resolved.destinations.iter();
                Ok(destinations.map(|destination| destination.account).collect())
            }
            other => Err(Status::internal(format!("answered with {other:?}"))),
        }
    }

    /// The account of a name and its password.
    pub async fn log_in(&self, login: &str, password: &str) -> Result<u64, Status> {
        let call = request::Call::Authenticate(Authenticate {
            login: login.to_owned(),
            password: password.to_owned(),
            client: "127.0.0.1".to_owned(),
        });
        match self.call(call, ANSWER_MAX).single().await?.call {
            Some(reply::Call::Authenticated(granted)) => Ok(granted.account),
            other => Err(Status::internal(format!("answered with {other:?}"))),
        }
    }

    fn call(&self, call: request::Call, timeout: Duration) -> Replies<DirectoryProtocol> {
        self.0.call(Call {
            context: CallContext::with_timeout(timeout),
            request: Request {
                call: Some(call),
                ..Request::default()
            },
            body: None,
        })
    }
}

/// What a watch or a lookup said, or why not.
type Said = Result<Reply, Status>;

/// The value that a share (0 to 1) of ascending values does not exceed; zero when there is none.
pub fn quantile(ascending: &[Duration], share: f64) -> Duration {
    let last = ascending.len().saturating_sub(1);
    let at = (last as f64 * share).round() as usize;
    ascending.get(at.min(last)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let millis: Vec<Duration> = (1..=101).map(Duration::from_millis).collect();
        assert_eq!(quantile(&millis, 0.5), Duration::from_millis(51));
        assert_eq!(quantile(&millis, 0.99), Duration::from_millis(100));
        assert_eq!(quantile(&millis, 1.0), Duration::from_millis(101));
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }
}
