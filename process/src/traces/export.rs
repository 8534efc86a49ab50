//! The way of ended spans to the collector: a bounded queue, one task that sends what has gathered, and an end within a bound.
//!
//! A collector that is away or slow costs nothing but spans, which are counted as lost.

use std::path::Path;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::TracesError;
use crate::shutdown::stage;
use crate::telemetry::SPANS_LOST;

/// Spans that are sent together.
const BATCH_MAX: usize = 512;

/// How long spans gather before they are sent, unless that many are there.
const GATHER: Duration = Duration::from_millis(500);

/// How long the collector may take for the last spans when the process ends.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// How often at most it is logged that the collector takes nothing.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Counts spans that the collector did not get.
fn lost(reason: &'static str, spans: usize) {
    SPANS_LOST.with(&[reason]).increment(spans as u64);
}

/// Takes spans as they end.
#[derive(Debug)]
pub(super) struct Queue(mpsc::Sender<SpanData>);

impl Queue {
    /// A queue of so many spans, and its other end.
    pub(super) fn new(spans_max: usize) -> (Self, mpsc::Receiver<SpanData>) {
        let (sender, waiting) = mpsc::channel(spans_max);
        (Self(sender), waiting)
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.0.try_send(span).is_err() {
            lost("queue_full", 1);
        }
    }

    // The task that sends is told by its owner when to end.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Where spans go.
pub(super) struct Target {
    endpoint: Endpoint,
    timeout: Duration,
}

impl Target {
    /// Checks what the configuration says; connects to nothing.
    pub(super) fn new(address: &str, ca: Option<&Path>, timeout: Duration) -> Result<Self, TracesError> {
        let wrong = |why: String| TracesError::Value(format!("endpoint {address:?}: {why}"));
        let is_tls = address.starts_with("https://");
        if !is_tls && !address.starts_with("http://") {
            return Err(wrong(
                "give where the collector takes OTLP over gRPC, such as http://127.0.0.1:4317".to_owned(),
            ));
        }
        let mut endpoint =
            Endpoint::from_shared(address.to_owned()).map_err(|error| wrong(error.to_string()))?;
        endpoint = endpoint.connect_timeout(timeout).timeout(timeout);
        if is_tls {
            let path = ca.ok_or_else(|| {
                TracesError::Value("ca: a collector with https:// needs the CA of its certificate".to_owned())
            })?;
            let pem = std::fs::read(path).map_err(|source| TracesError::Read {
                key: "ca",
                path: path.to_path_buf(),
                source,
            })?;
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
            endpoint = endpoint.tls_config(tls).map_err(|error| {
                TracesError::Value(format!("ca {} cannot be used: {error}", path.display()))
            })?;
        }
        Ok(Self { endpoint, timeout })
    }
}

/// What exports the process's spans, once it is started.
pub struct Exporting {
    provider: SdkTracerProvider,
    resource: Resource,
    target: Target,
    pub(super) waiting: mpsc::Receiver<SpanData>,
}

impl Exporting {
    pub(super) fn new(
        provider: SdkTracerProvider,
        resource: Resource,
        target: Target,
        waiting: mpsc::Receiver<SpanData>,
    ) -> Self {
        Self {
            provider,
            resource,
            target,
            waiting,
        }
    }

    /// Begins to send. Must be called within a tokio runtime.
    pub fn start(self) -> Exports {
        let Self {
            provider,
            resource,
            target,
            waiting,
        } = self;
        let stop = CancellationToken::new();
        let sender = Sender {
            channel: target.endpoint.connect_lazy(),
            timeout: target.timeout,
            resource,
            waiting,
            said: None,
        };
        Exports {
            _provider: provider,
            task: tokio::spawn(sender.run(stop.clone())),
            stop,
        }
    }
}

/// The task that sends spans.
pub struct Exports {
    // Spans end with the last of it.
    _provider: SdkTracerProvider,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Exports {
    /// Sends what waits and ends, within a bound.
    pub async fn stop(self) {
        self.stop.cancel();
        let aborting = self.task.abort_handle();
        let ended = async {
            // A panic in it has been logged; nothing depends on how it ended.
            let _ = self.task.await;
        };
        stage("traces", FLUSH_MAX, ended).await;
        aborting.abort();
    }
}

struct Sender {
    channel: Channel,
    timeout: Duration,
    resource: Resource,
    waiting: mpsc::Receiver<SpanData>,
    /// When it was last said that the collector takes nothing.
    said: Option<tokio::time::Instant>,
}

impl Sender {
    async fn run(mut self, stop: CancellationToken) {
        let built = SpanExporter::builder()
            .with_tonic()
            .with_channel(self.channel.clone())
            .with_timeout(self.timeout)
            // Newer spans wait behind those that would be sent again.
            .with_retry_policy(RetryPolicy::disabled())
            .build();
        let mut exporter = match built {
            Ok(exporter) => exporter,
            Err(error) => {
                tracing::error!(%error, "traces cannot be exported");
                return;
            }
        };
        exporter.set_resource(&self.resource);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                taken = self.waiting.recv_many(&mut batch, BATCH_MAX) => if taken == 0 {
                    return;
                },
            }
            self.gather(&mut batch, &stop).await;
            self.send(&exporter, std::mem::take(&mut batch)).await;
        }
        // What has ended by now is sent; who waits for this waits no longer than it may.
        self.waiting.close();
        loop {
            let taken = self.waiting.recv_many(&mut batch, BATCH_MAX).await;
            if taken == 0 {
                return;
            }
            self.send(&exporter, std::mem::take(&mut batch)).await;
        }
    }

    /// Waits a little for more spans.
    async fn gather(&mut self, batch: &mut Vec<SpanData>, stop: &CancellationToken) {
        let until = tokio::time::Instant::now() + GATHER;
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(until) => return,
                taken = self.waiting.recv_many(batch, room) => if taken == 0 {
                    return;
                },
            }
        }
    }

    async fn send(&mut self, exporter: &SpanExporter, batch: Vec<SpanData>) {
        let spans = batch.len();
        let why = match tokio::time::timeout(self.timeout, exporter.export(batch)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {:?}", self.timeout),
        };
        lost("export", spans);
        let now = tokio::time::Instant::now();
        if self.said.is_none_or(|said| now - said >= SAID_EVERY) {
            self.said = Some(now);
            tracing::warn!(
                spans,
                why,
                "the collector of traces did not take spans: they are lost"
            );
        }
    }
}
