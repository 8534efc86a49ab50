//! Calls between simulated machines: what a connection would carry, as messages of the simulated network.
//!
//! A call has two ends and may break between them at any time: then the caller is told so, and the callee's work is given up, each
//! after a while of its own. What was sent before may have arrived.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rookery_proto::call::{BodySource, ReplySource, SinkTransport, cancelled, deadline_exceeded};
use rookery_proto::directory::v1 as directory;
use rookery_proto::mailstore::v1 as mailstore;
use rookery_proto::replication::v1 as replication;
use rookery_proto::{
    Body, Call, CallContext, Caller, Incoming, Peer, Protocol, ReplicationProtocol, Replies, ReplySink, Role,
    Status,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::here::Here;
use crate::run::Run;

/// Within how many milliseconds an end learns that its call is broken, most times.
const BROKEN_SOON: u64 = 2_500;

/// Within how many at the latest: as long as connections that have gone are taken for good.
const BROKEN_LATE: u64 = 10_000;

/// How long a message that is lost takes when it is sent again, in milliseconds.
const SENT_AGAIN: std::ops::Range<u64> = 200..1_200;

/// How much of a message a trace shows.
const SHOWN_MAX: usize = 400;

/// What a caller hears.
enum Said<P: Protocol> {
    Reply(P::Reply),
    End(Result<(), Status>),
}

/// One call as both its ends know it.
#[derive(Clone)]
pub(crate) struct Line(Arc<Ends>);

struct Ends {
    id: u64,
    from: Arc<str>,
    to: String,
    state: Mutex<State>,
    /// Tells the caller that it has failed.
    fail: Box<dyn Fn(Status) + Send + Sync>,
    /// Ends the callee's work.
    given_up: CancellationToken,
    /// Nothing more is sent with the request: the caller has heard the end, or wants none.
    heard_end: CancellationToken,
}

#[derive(Default)]
struct State {
    over: bool,
    /// When the last message of each direction arrives.
    out_at: u64,
    back_at: u64,
    /// Where the callee's body comes from.
    body: Option<mpsc::UnboundedSender<Result<Bytes, Status>>>,
}

fn broken() -> Status {
    Status::unavailable("the connection broke; whether the call took effect is unknown")
}

impl Line {
    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    pub(crate) fn is_of(&self, machine: &str) -> bool {
        *self.0.from == *machine || self.0.to == machine
    }

    /// Sends a message, from the caller or from the callee, who is here.
    fn send(&self, here: &Here, out: bool, arrives: impl FnOnce(Option<&Here>) + Send + 'static) {
        if !here.sends() {
            return;
        }
        let run = &here.run;
        let is_lost = {
            let mut network = run.network.lock();
            let mut state = self.0.state.lock();
            if state.over {
                return;
            }
            let (from, to): (&str, &str) = match out {
                true => (&self.0.from, &self.0.to),
                false => (&self.0.to, &self.0.from),
            };
            let mut travel = network.travel(run, from, to);
            let is_cut = network.cuts.contains(&(from.to_owned(), to.to_owned()));
            if travel.is_none() && !is_cut && run.once_in(2) {
                travel = Some(run.draw(SENT_AGAIN));
            }
            if let Some(travel) = travel {
                let last = match out {
                    true => &mut state.out_at,
                    false => &mut state.back_at,
                };
                *last = (*last).max(run.now() + travel);
                network.put(*last, to, arrives);
            }
            travel.is_none()
        };
        if is_lost {
            self.breaks(run);
        }
    }

    /// Nothing gets through any more; both ends learn of it.
    pub(crate) fn breaks(&self, run: &Run) {
        if std::mem::replace(&mut self.0.state.lock().over, true) {
            return;
        }
        let patience = match run.once_in(4) {
            true => BROKEN_LATE,
            false => BROKEN_SOON,
        };
        run.trace(&format!("{} breaks", self.id()));
        let mut network = run.network.lock();
        network.ended(self.id());
        let line = self.clone();
        let at = run.now() + run.draw(10..patience);
        network.put(at, &self.0.from, move |_| (line.0.fail)(broken()));
        let line = self.clone();
        let at = run.now() + run.draw(10..patience);
        network.put(at, &self.0.to, move |_| line.give_up());
    }

    /// Nobody is there to take the call.
    fn refused(&self, run: &Run) {
        if std::mem::replace(&mut self.0.state.lock().over, true) {
            return;
        }
        let line = self.clone();
        let mut network = run.network.lock();
        network.ended(self.id());
        let at = run.now() + run.draw(1..20);
        network.put(at, &self.0.from, move |_| {
            (line.0.fail)(Status::unavailable("nobody listens"));
        });
    }

    /// The callee's work is not wanted any more.
    fn give_up(&self) {
        self.0.given_up.cancel();
        let body = self.0.state.lock().body.take();
        if let Some(body) = body {
            // Who has ended reads no more.
            let _ = body.send(Err(broken()));
        }
    }

    /// The call is over at both ends.
    fn ends(&self, run: &Run) {
        self.0.state.lock().over = true;
        run.network.lock().ended(self.id());
    }
}

/// A machine's way to a service on another.
pub struct Channel {
    here: Here,
    role: Role,
    to: String,
}

impl Channel {
    /// From the machine that is here, which has a role, to the one of that name.
    pub fn new(here: Here, role: Role, to: &str) -> Self {
        Self {
            here,
            role,
            to: to.to_owned(),
        }
    }
}

/// What opens a call.
struct Open<P: Protocol> {
    request: P::Request,
    /// How long the callee has.
    left: Duration,
    token: Bytes,
    traceparent: String,
    peer: Peer,
}

impl<P: Protocol> Caller<P> for Channel {
    fn call(&self, call: Call<P>) -> Replies<P> {
        let Call {
            context,
            request,
            body,
        } = call;
        let here = &self.here;
        let run = &here.run;
        let (said, heard) = mpsc::unbounded_channel();
        let line = self.line(&said);
        run.trace(&format!(
            "{} calls {}: {} {}",
            here.name,
            self.to,
            line.id(),
            P::NAME
        ));
        run.detail(|| shown(&request));
        let open = Open::<P> {
            request,
            left: context.deadline.saturating_duration_since(Instant::now()),
            token: context.token,
            traceparent: context.traceparent,
            peer: Peer {
                role: self.role,
                node: here.name.to_string(),
                certificate: Bytes::copy_from_slice(here.name.as_bytes()),
            },
        };
        let twice = P::NAME == ReplicationProtocol::NAME && body.is_none() && {
            let one_in = run.network.lock().weather.twice_one_in;
            run.once_in(one_in)
        };
        if twice {
            self.open_in_vain(open.clone());
        }
        let callees_body = body.is_some().then(|| {
            let (sender, chunks) = mpsc::unbounded_channel();
            line.0.state.lock().body = Some(sender);
            Body::from_source(Box::new(Chunks(chunks)))
        });
        let opened = line.clone();
        let shared = Arc::clone(run);
        line.send(here, true, move |there| {
            open.arrives(&shared, there, opened, callees_body, said);
        });
        if let Some(body) = body {
            tokio::spawn(send_body(body, line.clone(), here.clone()));
        }
        Replies::from_source(Box::new(Heard {
            line,
            here: here.clone(),
            heard,
            deadline: Box::pin(tokio::time::sleep_until(context.deadline.into())),
            done: false,
        }))
    }
}

impl Channel {
    fn line<P: Protocol>(&self, said: &mpsc::UnboundedSender<Said<P>>) -> Line {
        let said = said.clone();
        let mut network = self.here.run.network.lock();
        let heard_end = CancellationToken::new();
        let ended = heard_end.clone();
        let line = Line(Arc::new(Ends {
            id: network.next_call(),
            from: Arc::clone(&self.here.name),
            to: self.to.clone(),
            state: Mutex::default(),
            fail: Box::new(move |status| {
                ended.cancel();
                // Who asked may have gone.
                let _ = said.send(Said::End(Err(status)));
            }),
            given_up: CancellationToken::new(),
            heard_end,
        }));
        network.begun(line.clone());
        line
    }

    /// The same call arrives once more, and nobody hears the answer.
    fn open_in_vain<P: Protocol>(&self, open: Open<P>) {
        let said = mpsc::unbounded_channel().0;
        let line = self.line(&said);
        let opened = line.clone();
        let shared = Arc::clone(&self.here.run);
        line.send(&self.here, true, move |there| {
            open.arrives(&shared, there, opened, None, said)
        });
    }
}

impl<P: Protocol> Clone for Open<P> {
    fn clone(&self) -> Self {
        Self {
            request: self.request.clone(),
            left: self.left,
            token: self.token.clone(),
            traceparent: self.traceparent.clone(),
            peer: self.peer.clone(),
        }
    }
}

impl<P: Protocol> Open<P> {
    /// The call is taken up where it arrives.
    fn arrives(
        self,
        run: &Run,
        there: Option<&Here>,
        line: Line,
        body: Option<Body>,
        said: mpsc::UnboundedSender<Said<P>>,
    ) {
        let service = there.and_then(|there| Some((there, there.service::<P>()?)));
        let Some((there, service)) = service else {
            return line.refused(run);
        };
        let here = there.clone();
        let sink = ReplySink::new(Arc::new(Sink {
            line: line.clone(),
            here: here.clone(),
            said: said.clone(),
        }));
        let left = self.left;
        let serving = async move {
            let incoming = Incoming {
                context: CallContext {
                    deadline: Instant::now() + left,
                    traceparent: self.traceparent,
                    token: self.token,
                },
                request: self.request,
                body,
                peer: self.peer,
            };
            service.serve(incoming, sink).await
        };
        let work = async move {
            let result = tokio::select! {
                biased;
                () = line.0.given_up.cancelled() => return line.ends(&here.run),
                result = AssertUnwindSafe(serving).catch_unwind() => {
                    result.unwrap_or_else(|_| Err(Status::internal("the service panicked")))
                }
                () = tokio::time::sleep(left) => Err(deadline_exceeded()),
            };
            let outcome = match &result {
                Ok(()) => "well".to_owned(),
                Err(status) => status.to_string(),
            };
            here.trace(&format!("has answered {}: {outcome}", line.id()));
            let run = Arc::clone(&here.run);
            let ending = line.clone();
            line.send(&here, false, move |_| {
                ending.ends(&run);
                ending.0.heard_end.cancel();
                // Who asked may have gone.
                let _ = said.send(Said::End(result));
            });
        };
        let tracked = there.calls.track_future(work);
        there.runtime.spawn(tracked);
    }
}

/// Where the callee's replies go.
struct Sink<P: Protocol> {
    line: Line,
    here: Here,
    said: mpsc::UnboundedSender<Said<P>>,
}

impl<P: Protocol> SinkTransport<P> for Sink<P> {
    fn send(&self, reply: P::Reply) -> BoxFuture<'_, Result<(), Status>> {
        if self.line.0.given_up.is_cancelled() {
            return Box::pin(std::future::ready(Err(cancelled())));
        }
        let said = self.said.clone();
        let run = &self.here.run;
        if gives_state(&reply) {
            run.count("states given to replicas");
        }
        run.detail(|| format!("{} says to {}: {}", self.here.name, self.line.id(), shown(&reply)));
        self.line.send(&self.here, false, move |_| {
            // Who asked may have gone.
            let _ = said.send(Said::Reply(reply));
        });
        Box::pin(std::future::ready(Ok(())))
    }
}

/// The beginning of a request or a reply, for traces.
fn shown(message: &dyn Any) -> String {
    fn known<T: std::fmt::Debug + 'static>(message: &dyn Any) -> Option<String> {
        message.downcast_ref::<T>().map(|message| format!("{message:?}"))
    }
    let shown = known::<replication::Request>(message)
        .or_else(|| known::<replication::Reply>(message))
        .or_else(|| known::<mailstore::Request>(message))
        .or_else(|| known::<mailstore::Reply>(message))
        .or_else(|| known::<directory::Request>(message))
        .or_else(|| known::<directory::Reply>(message));
    shown.unwrap_or_default().chars().take(SHOWN_MAX).collect()
}

/// Whether a replica says that it has taken a state in.
fn gives_state(reply: &dyn Any) -> bool {
    let reply = reply.downcast_ref::<replication::Reply>();
    reply.is_some_and(|reply| matches!(reply.call, Some(replication::reply::Call::SnapshotInstalled(_))))
}

/// What the caller hears.
struct Heard<P: Protocol> {
    line: Line,
    here: Here,
    heard: mpsc::UnboundedReceiver<Said<P>>,
    deadline: Pin<Box<tokio::time::Sleep>>,
    done: bool,
}

impl<P: Protocol> ReplySource<P> for Heard<P> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<P::Reply, Status>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let end = match self.heard.poll_recv(context) {
            Poll::Ready(Some(Said::Reply(reply))) => return Poll::Ready(Some(Ok(reply))),
            Poll::Ready(Some(Said::End(end))) => {
                self.done = true;
                end
            }
            Poll::Ready(None) => {
                self.done = true;
                Err(broken())
            }
            Poll::Pending => {
                ready!(self.deadline.as_mut().poll(context));
                self.cancel();
                Err(deadline_exceeded())
            }
        };
        Poll::Ready(end.err().map(Err))
    }
}

impl<P: Protocol> Heard<P> {
    fn cancel(&mut self) {
        self.done = true;
        self.line.0.heard_end.cancel();
        let line = self.line.clone();
        self.line.send(&self.here, true, move |_| line.give_up());
    }
}

impl<P: Protocol> Drop for Heard<P> {
    fn drop(&mut self) {
        if !self.done {
            self.cancel();
        }
    }
}

/// Sends what goes with a request.
async fn send_body(mut body: Body, line: Line, here: Here) {
    loop {
        let chunk = tokio::select! {
            biased;
            () = line.0.heard_end.cancelled() => return,
            chunk = body.chunk() => chunk,
        };
        let at = line.clone();
        match chunk {
            Ok(Some(chunk)) => line.send(&here, true, move |_| {
                let state = at.0.state.lock();
                if let Some(body) = &state.body {
                    // Who has ended reads no more.
                    let _ = body.send(Ok(chunk));
                }
            }),
            Ok(None) => return line.send(&here, true, move |_| drop(at.0.state.lock().body.take())),
            Err(status) => {
                (line.0.fail)(status);
                return line.send(&here, true, move |_| at.give_up());
            }
        }
    }
}

/// A body as its callee reads it.
struct Chunks(mpsc::UnboundedReceiver<Result<Bytes, Status>>);

impl BodySource for Chunks {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        self.0.poll_recv(context)
    }
}
