//! A directory service that does what the address of `ResolveRecipient` tells it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rookery_proto::directory::v1::request::Call as RequestCall;
use rookery_proto::directory::v1::{Destination, Reply, Request, ResolveRecipient, ResolvedRecipient, reply};
use rookery_proto::{DirectoryProtocol, Incoming, Reason, ReplySink, Service, Status};
use tokio::sync::{Semaphore, watch};

/// What has happened so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Calls that began.
    pub begun: usize,
    /// Calls whose future was dropped before it ended.
    pub dropped: usize,
    /// Replies that were sent.
    pub sent: usize,
    /// Bytes of bodies that were read.
    pub read: usize,
    /// Why a task beside a call lost its body.
    pub lost: Option<Status>,
}

pub struct Scripted {
    pub seen: watch::Sender<Seen>,
    /// Each permit lets one call that holds go on.
    pub release: Semaphore,
}

/// A request that carries a command.
pub fn request(command: &str) -> Request {
    let call = RequestCall::ResolveRecipient(ResolveRecipient {
        address: command.to_owned(),
    });
    Request {
        call: Some(call),
        ..Request::default()
    }
}

/// A reply that carries a number and a text.
pub fn answer(number: usize, text: impl Into<String>) -> Reply {
    let destination = Destination {
        address: text.into(),
        ..Destination::default()
    };
    let resolved = ResolvedRecipient {
        destinations: vec![destination],
        cache_millis: u32::try_from(number).unwrap(),
    };
    Reply {
        call: Some(reply::Call::ResolvedRecipient(resolved)),
    }
}

/// What a reply carries.
pub fn said(reply: Reply) -> (usize, String) {
    match reply.call {
        Some(reply::Call::ResolvedRecipient(mut resolved)) => (
            resolved.cache_millis as usize,
            resolved.destinations.remove(0).address,
        ),
        other => panic!("not a reply of the service: {other:?}"),
    }
}

impl Scripted {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            seen: watch::Sender::new(Seen::default()),
            release: Semaphore::new(0),
        })
    }

    /// Waits until something has been seen.
    pub async fn until(&self, condition: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.subscribe();
        let seen = tokio::time::timeout(super::PATIENCE, seen.wait_for(condition)).await;
        seen.expect("it never happened").unwrap().clone()
    }

    async fn held(&self) {
        self.release.acquire().await.unwrap().forget();
    }

    async fn run(
        self: Arc<Self>,
        mut call: Incoming<DirectoryProtocol>,
        replies: ReplySink<DirectoryProtocol>,
    ) -> Result<(), Status> {
        let Some(RequestCall::ResolveRecipient(ResolveRecipient { address })) = call.request.call else {
            return Err(Status::invalid("only commands"));
        };
        let (command, argument) = address.split_once(' ').unwrap_or((&address, ""));
        match command {
            "echo" => replies.send(answer(0, argument)).await,
            "peer" => {
                let certificate = call.peer.certificate.len();
                replies
                    .send(answer(
                        certificate,
                        format!("{} {}", call.peer.role.as_str(), call.peer.node),
                    ))
                    .await
            }
            "context" => {
                let token = String::from_utf8_lossy(&call.context.token).into_owned();
                replies
                    .send(answer(0, format!("{} {token}", call.context.traceparent)))
                    .await
            }
            "nothing" => Ok(()),
            "fail" => {
                let mut status = Status::new(Reason::NotLeader, "mailstore-2 leads");
                status.leader = "mailstore-2".to_owned();
                Err(status)
            }
            "fail-late" => {
                replies.send(answer(1, "first")).await?;
                Err(Status::new(Reason::OverQuota, "full"))
            }
            "panic" => panic!("told to"),
            "never" => std::future::pending().await,
            "hold" => {
                self.held().await;
                replies.send(answer(0, "held")).await
            }
            // So many replies of so many bytes.
            "count" => {
                let (count, bytes) = argument.split_once(' ').unwrap();
                let text = "x".repeat(bytes.parse().unwrap());
                for number in 0..count.parse().unwrap() {
                    replies.send(answer(number, text.clone())).await?;
                    self.seen.send_modify(|seen| seen.sent += 1);
                }
                Ok(())
            }
            // Two tasks that reply at once with large replies.
            "interleave" => {
                let one = async {
                    for _ in 0..5 {
                        replies.send(answer(1, "a".repeat(300_000))).await?;
                    }
                    Ok(())
                };
                let two = async {
                    for _ in 0..50 {
                        replies.send(answer(2, "b".repeat(10))).await?;
                    }
                    Ok::<_, Status>(())
                };
                tokio::try_join!(one, two).map(|_| ())
            }
            "body" | "held-body" => {
                if command == "held-body" {
                    self.held().await;
                }
                let mut body = call.body.take().ok_or_else(|| Status::invalid("no body"))?;
                let (mut bytes, mut sum) = (0, 0u64);
                while let Some(chunk) = body.chunk().await? {
                    bytes += chunk.len();
                    sum = chunk.iter().fold(sum, |sum, byte| {
                        sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
                    });
                    self.seen.send_modify(|seen| seen.read += chunk.len());
                }
                replies.send(answer(bytes, sum.to_string())).await
            }
            "refuse-body" => Err(Status::new(Reason::OverQuota, "full")),
            // Hands the body to a task that outlives the call.
            "hand-on" => {
                let mut body = call.body.take().ok_or_else(|| Status::invalid("no body"))?;
                let service = Arc::clone(&self);
                tokio::spawn(async move {
                    let lost = loop {
                        match body.chunk().await {
                            Ok(Some(_)) => {}
                            Ok(None) => break None,
                            Err(status) => break Some(status),
                        }
                    };
                    service.seen.send_modify(|seen| seen.lost = lost);
                });
                std::future::pending().await
            }
            other => Err(Status::invalid(format!("unknown command {other}"))),
        }
    }
}

/// Counts calls whose future is dropped early.
struct DropCounter {
    service: Arc<Scripted>,
    ended: bool,
}

impl Drop for DropCounter {
    fn drop(&mut self) {
        if !self.ended {
            self.service.seen.send_modify(|seen| seen.dropped += 1);
        }
    }
}

impl Service<DirectoryProtocol> for Scripted {
    fn serve(
        self: Arc<Self>,
        call: Incoming<DirectoryProtocol>,
        replies: ReplySink<DirectoryProtocol>,
    ) -> BoxFuture<'static, Result<(), Status>> {
        Box::pin(async move {
            let mut counter = DropCounter {
                service: Arc::clone(&self),
                ended: false,
            };
            self.seen.send_modify(|seen| seen.begun += 1);
            let result = self.run(call, replies).await;
            counter.ended = true;
            result
        })
    }
}
