//! The loop of one connection: reads lines, does what the session says, strictly in order, and sends the answers.
//!
//! Answers to pipelined commands are gathered and sent together (RFC 2920 §3.2). A silent client costs the wire, the
//! session and one small read buffer; whatever a command needs beside that is gone when it is answered.

mod content;
mod end;
mod login;
mod recipient;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Buf;
use rookery_mail::smtp::line::LineReader;
use rookery_mail::smtp::reply::texts;
use rookery_mail::smtp::session::{Action, Session};
use rookery_process::traces::{Origin, Traced};
use tokio::time::timeout;

pub(in crate::smtp) use end::End;
use end::Never;
use login::Login;
use wire::Wire;

use super::delivery::Open;
use super::measure::{self, ConnectionGauge};
use super::options::SmtpContext;
use crate::catalogue::shook_hands;
use crate::imap::ClientStream;
use crate::net;

/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(20);

/// Serves one client of a listener until it leaves, or must.
pub async fn serve(accepted: net::Accepted, context: Arc<SmtpContext>) {
    let net::Accepted {
        wire, client, slot, ..
    } = accepted;
    match wire {
        net::Wire::Plain(stream) => serve_stream(Box::new(stream), client, false, context).await,
        net::Wire::Tls(stream) => serve_stream(stream, client, true, context).await,
    }
    drop(slot);
}

/// Serves one client over any stream; `tls` when the stream is encrypted already.
pub async fn serve_stream(
    stream: Box<dyn ClientStream>,
    client: SocketAddr,
    tls: bool,
    context: Arc<SmtpContext>,
) {
    let _gauge = ConnectionGauge::new(context.options.kind);
    let origin = Origin::new(measure::kind(context.options.kind), client.ip());
    let mut connection = Connection {
        wire: Wire::new(stream, context.options.write_timeout),
        lines: LineReader::new(),
        session: Session::new(Arc::new(context.session_config()), tls),
        client,
        origin,
        transaction: None,
        open: None,
        login: None,
        failed_logins: 0,
        context,
    };
    let Err(end) = connection.run().await;
    connection.end(end).await;
}

/// One connection.
struct Connection {
    wire: Wire,
    lines: LineReader,
    /// With each recipient it keeps the places of its accounts in [`Open`].
    session: Session<Vec<u32>>,
    client: SocketAddr,
    context: Arc<SmtpContext>,
    origin: Origin,
    /// The trace of the session's transaction, from its first recipient on.
    transaction: Option<Traced>,
    /// What is held for the session's transaction; `None` whenever the session has none.
    open: Option<Box<Open>>,
    login: Option<Login>,
    failed_logins: u32,
}

impl Connection {
    async fn run(&mut self) -> Result<Never, End> {
        let greeting = self.session.greeting();
        self.wire.reply(&greeting);
        loop {
            match self.next_action() {
                None => self.read().await?,
                Some((verb, action)) => {
                    self.act_measured(verb, action).await?;
                    if self.session.transaction().is_none() {
                        self.open = None;
                        self.transaction = None;
                    }
                    self.wire.drain().await?;
                }
            }
        }
    }

    /// A step of the transaction, which begins with its first.
    fn step(&mut self, name: &'static str) -> Traced {
        let origin = &self.origin;
        let transaction = self
            .transaction
            .get_or_insert_with(|| origin.begin("transaction"));
        transaction.step(name)
    }

    /// The verb of the next line, and what that leads to; `None` when no whole line is there.
    fn next_action(&mut self) -> Option<(&'static str, Action)> {
        let mut rest = &self.wire.input[..];
        let action = self.lines.next_line(&mut rest).map(|line| {
            let verb = self.session.verb(&line);
            (verb, self.session.take_line(line))
        });
        let taken = self.wire.input.len() - rest.len();
        self.wire.input.advance(taken);
        action
    }

    /// Sends what has gathered and waits for the next command.
    async fn read(&mut self) -> Result<(), End> {
        self.fill(
            self.context.options.command_timeout,
            self.lines.held_octets() == 0,
        )
        .await
    }

    /// Sends what has gathered and waits for bytes.
    async fn fill(&mut self, limit: Duration, idle: bool) -> Result<(), End> {
        self.wire.flush().await?;
        let ended = async {
            match &mut self.login {
                Some(login) => login.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.context.shutdown.cancelled() => Err(End::Say(texts::shutting_down())),
            // The account was suspended or deleted, or its password changed; 421 says no more than "go". Asked before
            // the wire, for a client that never pauses would keep the session for ever.
            () = ended => Err(End::Say(texts::shutting_down())),
            filled = timeout(limit, self.wire.fill(idle)) => {
                filled.map_err(|_| End::Say(texts::idle_too_long()))?
            }
        }
    }

    /// Does what a command leads to, and counts it.
    async fn act_measured(&mut self, verb: &'static str, action: Action) -> Result<(), End> {
        let began = Instant::now();
        self.wire.begin_command();
        let acted = self.act(action).await;
        let code = match &acted {
            Ok(()) => self.wire.worst(),
            Err(End::Say(reply)) => self.wire.worst().max(reply.code()),
            Err(_) => return acted,
        };
        measure::command(self.context.options.kind, verb, code, began.elapsed());
        acted
    }

    /// Does an action, and what follows it, to the end.
    async fn act(&mut self, mut action: Action) -> Result<(), End> {
        loop {
            action = match action {
                Action::Reply(reply) => {
                    self.wire.reply(&reply);
                    return Ok(());
                }
                Action::Abandon(replies) => {
                    self.open = None;
                    replies.iter().for_each(|reply| self.wire.reply(reply));
                    return Ok(());
                }
                Action::ResolveRecipient(path) => {
                    let step = self.step("RCPT");
                    return step.run(Box::pin(self.resolve(path))).await;
                }
                Action::ReceiveData(reply) => {
                    self.wire.reply(&reply);
                    let step = self.step("DATA");
                    step.run(Box::pin(self.receive_data())).await?
                }
                Action::ReceiveChunk(chunk) => {
                    let step = self.step("BDAT");
                    step.run(Box::pin(self.receive_chunk(chunk))).await?
                }
                Action::Commit => {
                    let step = self.step("deliver");
                    return step.run(Box::pin(self.commit())).await;
                }
                Action::Authenticate(credentials) => {
                    let login = self.origin.begin("AUTH");
                    login.run(Box::pin(self.authenticate(credentials))).await?
                }
                Action::StartTls(reply) => {
                    // A client that keeps to the protocol has sent nothing, for it waits for this reply.
                    self.wire.drop_input().await?;
                    self.wire.reply(&reply);
                    return Box::pin(self.start_tls()).await;
                }
                Action::Close(reply) => return Err(End::Say(reply)),
            }
        }
    }

    /// The handshake behind STARTTLS. What was sent before it counts for nothing: whoever can write into the plain
    /// connection must not speak for the client (RFC 3207 §4.2).
    async fn start_tls(&mut self) -> Result<(), End> {
        // Offered only where there is one.
        let Some(acceptor) = self.context.tls.clone() else {
            return Err(End::Closed);
        };
        self.wire.flush().await?;
        self.lines.reset();
        let stream = self.wire.take_stream();
        let handshake = timeout(HANDSHAKE_MAX, acceptor.accept(stream));
        let stream = tokio::select! {
            () = self.context.shutdown.cancelled() => return Err(End::Closed),
            stream = handshake => {
                shook_hands(match &stream {
                    Ok(Ok(_)) => "ok",
                    Ok(Err(_)) => "failed",
                    Err(_) => "late",
                });
                stream.map_err(|_| End::Closed)??
            }
        };
        self.wire.put_stream(Box::new(stream));
        self.session.tls_started();
        Ok(())
    }

    /// Says why, as far as the client still listens.
    async fn end(&mut self, end: End) {
        // Uploads under way are cancelled first: nothing that is said below may wait for them.
        self.open = None;
        let protocol = measure::kind(self.context.options.kind);
        tracing::debug!(client = %self.client, protocol, reason = %end, "client left");
        match end {
            End::Say(reply) => {
                self.wire.reply(&reply);
                if self.wire.flush().await.is_err() {
                    return;
                }
            }
            End::Closed => {}
            End::WriteTimeout | End::Io(_) => return,
        }
        self.wire.shut_down().await;
    }
}
