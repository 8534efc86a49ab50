//! One connection to a peer: made when it is needed, made again with growing pauses, never while nobody asks.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::uri::PathAndQuery;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Streaming;
use tonic::transport::Channel;

use super::call::ClientCall;
use super::stream::{ClientStream, OpenError, Violation};
use super::{ConnectOptions, Endpoint, WhenDown};
use crate::call::{Role, deadline_exceeded};
use crate::frame::v1::Batch;
use crate::remote::limits::{
    BATCH_BYTES_MAX, CONNECTION_WINDOW_BYTES, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW_BYTES,
};
use crate::remote::outbox::RequestWriter;
use crate::remote::{NodeTls, TlsError};
use crate::status::{Reason, Status};

pub(super) struct Lane {
    /// All but the certificates, which may have changed by the next attempt.
    endpoint: tonic::transport::Endpoint,
    tls: NodeTls,
    role: Role,
    path: PathAndQuery,
    // For messages: such as `the mailstore at 10.0.0.1:7000`.
    peer: String,
    options: ConnectOptions,
    view: watch::Sender<View>,
    connecting: AtomicBool,
    waiters: AtomicUsize,
    pace: Mutex<Pace>,
    closed: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Clone)]
enum View {
    // The number of the last attempt, and why it failed.
    Down(u64, Option<Status>),
    Up(Arc<ClientStream>),
}

#[derive(Default)]
struct Pace {
    attempts: u64,
    // Attempts since the peer was last heard.
    fruitless: u32,
    last: Option<Instant>,
}

impl Pace {
    /// When the next attempt may be made; `None` before the first.
    fn not_before(&self, options: &ConnectOptions) -> Option<Instant> {
        let doubled = options.backoff_min * 2u32.saturating_pow(self.fruitless.saturating_sub(1).min(16));
        let pause = match self.fruitless {
            0 => Duration::ZERO,
            _ => doubled.min(options.backoff_max),
        };
        self.last.map(|last| last + pause)
    }
}

impl Lane {
    pub(super) fn new(
        endpoint: &Endpoint,
        options: &ConnectOptions,
        path: &'static str,
    ) -> Result<Arc<Self>, TlsError> {
        let uri = format!("https://{}", endpoint.address);
        let unusable = |source| TlsError::Endpoint {
            address: endpoint.address.clone(),
            source,
        };
        let configured = tonic::transport::Endpoint::from_shared(uri).map_err(unusable)?;
        // Whoever can never connect hears of it now.
        let tls = endpoint.tls.client_config(endpoint.role);
        configured.clone().tls_config(tls).map_err(unusable)?;
        let configured = configured
            .connect_timeout(options.attempt_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        Ok(Arc::new(Self {
            endpoint: configured,
            tls: endpoint.tls.clone(),
            role: endpoint.role,
            path: PathAndQuery::from_static(path),
            peer: format!("the {} at {}", endpoint.role.as_str(), endpoint.address),
            options: options.clone(),
            view: watch::Sender::new(View::Down(0, None)),
            connecting: AtomicBool::new(false),
            waiters: AtomicUsize::new(0),
            pace: Mutex::default(),
            closed: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// The stream, if there is one.
    pub(super) fn stream(&self) -> Option<Arc<ClientStream>> {
        match &*self.view.borrow() {
            View::Up(stream) => Some(Arc::clone(stream)),
            View::Down(..) => None,
        }
    }

    pub(super) fn close(&self) {
        self.closed.cancel();
        self.tasks.close();
    }

    pub(super) async fn closed(&self) {
        self.tasks.wait().await;
    }

    /// Connects, and sends the call when that is done, if the options say to wait.
    pub(super) fn open_when_up(self: &Arc<Self>, call: &Arc<ClientCall>) -> Result<(), Status> {
        let is_pausing = self.pace.lock().not_before(&self.options) > Some(Instant::now());
        let (wait, once) = match self.options.when_down {
            WhenDown::Wait(wait) => (wait, false),
            WhenDown::Once(wait) if !is_pausing => (wait, true),
            WhenDown::Once(_) | WhenDown::FailFast => {
                let status = self.down_status();
                self.ensure_connecting();
                return Err(status);
            }
        };
        if self.waiters.fetch_add(1, Ordering::SeqCst) >= self.options.calls_max {
            self.waiters.fetch_sub(1, Ordering::SeqCst);
            let message = format!(
                "{} calls wait for {}, the most allowed",
                self.options.calls_max, self.peer
            );
            return Err(Status::new(Reason::LimitExceeded, message));
        }
        let attempts = self.pace.lock().attempts;
        self.ensure_connecting();
        let lane = Arc::clone(self);
        let call = Arc::clone(call);
        self.tasks.spawn(async move {
            let until = call.deadline().min(Instant::now() + wait);
            let result = tokio::select! {
                biased;
                () = lane.closed.cancelled() => Err(Status::unavailable("this caller was closed")),
                result = lane.open_once_up(&call, attempts, once) => result,
                () = tokio::time::sleep_until(until) => {
                    Err(if until == call.deadline() { deadline_exceeded() } else { lane.down_status() })
                }
            };
            lane.waiters.fetch_sub(1, Ordering::SeqCst);
            if let Err(status) = result {
                call.finish(Err(status));
            }
        });
        Ok(())
    }

    async fn open_once_up(&self, call: &Arc<ClientCall>, attempts: u64, once: bool) -> Result<(), Status> {
        let mut views = self.view.subscribe();
        loop {
            let view = views.borrow_and_update().clone();
            match view {
                View::Up(stream) => match stream.open(call) {
                    Ok(()) => return Ok(()),
                    Err(OpenError::Refused(status)) => return Err(status),
                    Err(OpenError::Broken) => {}
                },
                // A refusal is not undone by waiting, if it is of an attempt made since the call.
                View::Down(attempt, Some(status))
                    if attempt > attempts && (once || status.reason == Reason::PermissionDenied) =>
                {
                    return Err(status);
                }
                View::Down(..) => {}
            }
            if call.is_abandoned() || views.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    fn down_status(&self) -> Status {
        match &*self.view.borrow() {
            View::Down(_, Some(status)) => status.clone(),
            _ => Status::unavailable(format!("there is no connection to {} yet", self.peer)),
        }
    }

    fn ensure_connecting(self: &Arc<Self>) {
        if !self.connecting.swap(true, Ordering::SeqCst) {
            let lane = Arc::clone(self);
            self.tasks.spawn(async move {
                let closed = lane.closed.clone();
                closed.run_until_cancelled(lane.connect_while_wanted()).await;
            });
        }
    }

    /// Attempts until one succeeds or nobody waits any more.
    async fn connect_while_wanted(self: &Arc<Self>) {
        loop {
            let (attempt, not_before) = self.next_attempt();
            if let Some(not_before) = not_before {
                tokio::time::sleep_until(not_before).await;
            }
            self.pace.lock().last = Some(Instant::now());
            let attempted = tokio::time::timeout(self.options.attempt_timeout, self.attempt()).await;
            match attempted.unwrap_or_else(|_| Err(self.unreachable("it did not answer in time"))) {
                Ok((stream, inbound, channel)) => {
                    self.view.send_replace(View::Up(Arc::clone(&stream)));
                    self.connecting.store(false, Ordering::SeqCst);
                    self.tasks.spawn(Arc::clone(self).read(stream, inbound, channel));
                    return;
                }
                Err(status) => {
                    tracing::debug!(peer = %self.peer, %status, "not connected");
                    self.view.send_replace(View::Down(attempt, Some(status)));
                }
            }
            self.connecting.store(false, Ordering::SeqCst);
            if self.waiters.load(Ordering::SeqCst) == 0 || self.connecting.swap(true, Ordering::SeqCst) {
                return;
            }
        }
    }

    /// The number of the next attempt, and when it may be made.
    fn next_attempt(&self) -> (u64, Option<Instant>) {
        let mut pace = self.pace.lock();
        let not_before = pace.not_before(&self.options);
        pace.attempts += 1;
        pace.fruitless = pace.fruitless.saturating_add(1);
        (pace.attempts, not_before)
    }

    async fn attempt(&self) -> Result<(Arc<ClientStream>, Streaming<Batch>, Channel), Status> {
        let unreachable = |error: tonic::transport::Error| self.unreachable(&chain(&error));
        let tls = self.tls.client_config(self.role);
        let endpoint = self.endpoint.clone().tls_config(tls).map_err(unreachable)?;
        let channel = endpoint.connect().await.map_err(unreachable)?;
        let mut grpc = tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(BATCH_BYTES_MAX);
        grpc.ready()
            .await
            .map_err(|error| self.unreachable(&chain(&error)))?;
        let stream = ClientStream::new(self.options.calls_max);
        let requests = tonic::Request::new(RequestWriter(stream.outbox.writer()));
        let codec = tonic_prost::ProstCodec::<Batch, Batch>::default();
        let response = grpc.streaming(requests, self.path.clone(), codec).await;
        let inbound = response.map_err(|status| self.status(&status))?.into_inner();
        Ok((stream, inbound, channel))
    }

    /// Hands out what comes until the stream ends.
    async fn read(
        self: Arc<Self>,
        stream: Arc<ClientStream>,
        mut inbound: Streaming<Batch>,
        _channel: Channel,
    ) {
        let mut heard = false;
        let status = loop {
            let next = tokio::select! {
                biased;
                () = self.closed.cancelled() => break Status::unavailable("this caller was closed"),
                next = inbound.message() => next,
            };
            match next {
                Ok(Some(batch)) => {
                    if !heard {
                        heard = true;
                        self.pace.lock().fruitless = 0;
                    }
                    let received = batch
                        .frames
                        .into_iter()
                        .try_for_each(|frame| stream.receive(frame));
                    if let Err(Violation(what)) = received {
                        tracing::error!(peer = %self.peer, "the connection was ended: {what}");
                        break Status::unavailable(format!("{} breaks the protocol: {what}", self.peer));
                    }
                }
                Ok(None) => break Status::unavailable(format!("{} ended the connection", self.peer)),
                Err(status) => break self.cut(&status),
            }
        };
        stream.fail(&status);
        let attempts = self.pace.lock().attempts;
        self.view.send_if_modified(|view| {
            let current = matches!(view, View::Up(up) if Arc::ptr_eq(up, &stream));
            if current {
                *view = View::Down(attempts, Some(status));
            }
            current
        });
    }

    fn unreachable(&self, why: &str) -> Status {
        Status::unavailable(format!("{} cannot be reached: {why}", self.peer))
    }

    /// The peer's answer to the attempt.
    fn status(&self, status: &tonic::Status) -> Status {
        match status.code() {
            tonic::Code::PermissionDenied => Status::new(
                Reason::PermissionDenied,
                format!("{} refuses us: {}", self.peer, status.message()),
            ),
            _ => self.unreachable(&chain(status)),
        }
    }

    fn cut(&self, status: &tonic::Status) -> Status {
        let why = chain(status);
        Status::unavailable(format!(
            "the connection to {} was cut ({why}); whether the call took effect is unknown",
            self.peer
        ))
    }
}

/// An error and what led to it, each said once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = match error.downcast_ref::<tonic::Status>() {
            Some(status) => status.message().to_owned(),
            None => error.to_string(),
        };
        if !text.is_empty() && !said.iter().any(|earlier| earlier.contains(&text)) {
            said.push(text);
        }
        next = error.source();
    }
    said.join(": ")
}
