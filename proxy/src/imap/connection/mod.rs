//! The loop of one connection: reads commands, runs them strictly in order, sends the answers. Of commands that follow
//! one another only APPENDs are taken in while others are under way (`appends.rs`).
//!
//! A silent client costs the wire, the session and one small read buffer; everything larger lives in boxed futures and
//! buffers that are gone when a command is answered. Answers to pipelined commands are gathered and sent together.

mod appends;
mod client;
mod dispatch;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use rookery_mail::imap::encode::{Condition, ResponseCode, continuation, tagged, untagged};
use rookery_mail::imap::frame::{Event, Recovery, RejectReason, Rejection};
use tokio::time::{Instant, timeout_at};

pub use client::Peer;
pub(in crate::imap) use client::{Client, LoggedIn, Selected};
pub use wire::ClientStream;
pub(in crate::imap) use wire::Wire;

use super::answer::End;
use super::measure::{self, ConnectionGauge};
use super::options::ImapContext;
use crate::catalogue::shook_hands;
use crate::net::{self, Accepted};

/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(20);

/// Serves an accepted client until it leaves, or must.
pub async fn serve(accepted: Accepted, context: Arc<ImapContext>) {
    let Accepted {
        wire,
        client,
        local: _,
        slot: _slot,
    } = accepted;
    let (stream, tls): (Box<dyn ClientStream>, bool) = match wire {
        net::Wire::Plain(stream) => (Box::new(stream), false),
        net::Wire::Tls(stream) => (stream, true),
    };
    serve_stream(stream, Peer { address: client, tls }, context).await;
}

/// Serves one client over any stream.
pub async fn serve_stream(stream: Box<dyn ClientStream>, peer: Peer, context: Arc<ImapContext>) {
    let _gauge = ConnectionGauge::new();
    let wire = Wire::new(stream, context.options.write_timeout);
    let mut connection = Connection {
        client: Client::new(wire, peer, context),
        commands_before_login: 0,
        bad_commands: 0,
    };
    let Err(end) = connection.run().await;
    connection.end(end).await;
}

/// One connection.
struct Connection {
    client: Client,
    commands_before_login: u32,
    bad_commands: u32,
}

enum Never {}

impl Connection {
    async fn run(&mut self) -> Result<Never, End> {
        let capabilities = self.client.capabilities();
        let code = ResponseCode::Capability(&capabilities);
        untagged(
            &mut self.client.wire.output,
            Condition::Ok,
            Some(&code),
            "Rookery ready",
        );
        drop(capabilities);
        loop {
            match self.client.reader.next(&mut self.client.wire.input) {
                Event::NeedMore => self.read().await?,
                Event::Continue { .. } => continuation(&mut self.client.wire.output, "go on"),
                Event::AppendLiteral(head) => {
                    Box::pin(super::cmd::append::announced(&mut self.client, *head)).await?;
                }
                Event::AppendChunk(chunk) => {
                    Box::pin(super::cmd::append::chunk(&mut self.client, chunk)).await?
                }
                Event::Command(raw) => {
                    self.count_command()?;
                    match Box::pin(dispatch::command(&mut self.client, &raw)).await? {
                        Some(condition) => self.after(condition).await?,
                        None => self.bad_commands = 0,
                    }
                }
                Event::Rejected(rejection) => {
                    self.count_command()?;
                    self.client.settle_appends().await?;
                    self.reject(&rejection)?;
                }
            }
        }
    }

    /// Sends what has gathered and waits for more.
    async fn read(&mut self) -> Result<(), End> {
        self.client.wire.flush().await?;
        if !self.client.appends.is_empty() {
            return Box::pin(self.client.read_beside_appends()).await;
        }
        let idle = self.client.reader.is_between_commands() && self.client.wire.input.is_empty();
        if idle {
            self.client.wire.rest();
        }
        let options = &self.client.context.options;
        let (deadline, reason) = match self.client.login {
            None => (self.client.login_deadline(), "log in faster"),
            Some(_) => (Instant::now() + options.idle_timeout, "idle for too long"),
        };
        let shutdown = self.client.context.shutdown.clone();
        let ended = async {
            match &mut self.client.login {
                Some(login) => login.subscription.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            filled = timeout_at(deadline, self.client.wire.fill(idle)) => filled.map_err(|_| End::Bye(reason))?,
            () = shutdown.cancelled() => Err(End::SHUTDOWN),
            () = ended => Err(End::ACCOUNT_CHANGED),
        }
    }

    fn count_command(&mut self) -> Result<(), End> {
        if self.client.login.is_none() {
            self.commands_before_login += 1;
            if self.commands_before_login > self.client.context.options.commands_before_login_max {
                return Err(End::Bye("too many commands before login"));
            }
        }
        Ok(())
    }

    /// What follows an answered command.
    async fn after(&mut self, condition: Condition) -> Result<(), End> {
        if condition == Condition::Bad {
            self.count_bad()?;
        } else {
            self.bad_commands = 0;
        }
        if self.client.leaving {
            return Err(End::Closed);
        }
        if self.client.upgrade {
            self.client.upgrade = false;
            Box::pin(self.start_tls()).await?;
        }
        if self
            .client
            .login
            .as_ref()
            .is_some_and(|login| login.subscription.is_ended())
        {
            return Err(End::ACCOUNT_CHANGED);
        }
        self.client.wire.drain().await
    }

    fn count_bad(&mut self) -> Result<(), End> {
        self.bad_commands += 1;
        if self.bad_commands >= self.client.context.options.bad_commands_max {
            return Err(End::Bye("too many bad commands"));
        }
        Ok(())
    }

    fn reject(&mut self, rejection: &Rejection) -> Result<(), End> {
        self.client.appending = None;
        let text = rejection.reason.to_string();
        let out = &mut self.client.wire.output;
        let (condition, code) = match &rejection.reason {
            // RFC 4469 §4.2, and a limit that is no fault of the grammar.
            RejectReason::MessageTooLarge { .. } if self.client.login.is_some() => {
                (Condition::No, Some(ResponseCode::TooBig))
            }
            _ => (Condition::Bad, None),
        };
        match &rejection.tag {
            Some(tag) => tagged(out, tag, condition, code.as_ref(), &text),
            None => untagged(out, condition, code.as_ref(), &text),
        }
        measure::command("other", condition, Duration::ZERO);
        match rejection.recovery {
            Recovery::Close => return Err(End::Bye("too much to skip")),
            Recovery::Ready | Recovery::Discarding => {}
        }
        if condition == Condition::Bad {
            self.count_bad()
        } else {
            Ok(())
        }
    }

    /// The handshake behind STARTTLS. What was sent before it counts for nothing: whoever can write into the plain
    /// connection must not speak for the client (RFC 3501 §6.2.1).
    async fn start_tls(&mut self) -> Result<(), End> {
        let Some(acceptor) = self.client.context.tls.clone() else {
            return Ok(());
        };
        self.client.wire.flush().await?;
        self.client.wire.input.clear();
        self.client.reader.reset();
        let stream = self.client.wire.take_stream();
        let handshake = tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await;
        shook_hands(match &handshake {
            Ok(Ok(_)) => "ok",
            Ok(Err(_)) => "failed",
            Err(_) => "late",
        });
        let stream = handshake.map_err(|_| End::Closed)??;
        self.client.wire.put_stream(Box::new(stream));
        self.client.tls = true;
        Ok(())
    }

    /// Says why, as far as the client still listens.
    async fn end(&mut self, end: End) {
        let client = &mut self.client;
        let address = client.peer.address;
        match &client.login {
            Some(login) => {
                tracing::info!(%address, account = login.account.id(), reason = %end, "IMAP client left");
            }
            None => tracing::debug!(%address, reason = %end, "IMAP client left before login"),
        }
        let says = match end {
            End::Bye(reason) => {
                untagged(&mut client.wire.output, Condition::Bye, None, reason);
                true
            }
            End::Closed => true,
            End::Broken(_) | End::WriteTimeout | End::Io(_) => false,
        };
        if says {
            // It may not listen any more.
            let _ = client.wire.flush().await;
            client.wire.shut_down().await;
        }
        // The client need not wait for what follows.
        drop(client.wire.take_stream());
        Box::pin(client.leave()).await;
    }
}
