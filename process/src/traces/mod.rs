//! Traces: what one client's command set off in all roles, exported by OTLP. Off unless `[traces] endpoint` is set.
//!
//! Owns the configuration, the decision which traces are taken ([`Origin`]), the spans ([`Traced`]), how they name accounts and
//! clients ([`names`]) and their way to the collector ([`export`]). Never holds up what is traced: what the collector does not take in time is
//! lost, and counted. Only what is set on a [`Traced`] is exported: log lines and other spans are not.
//!
//! Spans are those of `tracing`, under a target of their own, so that a log line that is written within one can name it.

mod export;
mod ids;
mod names;
mod span;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::OnceLock;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

pub use export::{Exporting, Exports};
pub(crate) use ids::Ids;
pub use span::{Origin, Traced, call, current, served, step};

use crate::config::Span as Duration;
use export::Queue;
use names::Names;

/// The target of spans that are exported. Nothing else has it.
pub(crate) const TARGET: &str = "rookery_trace";

/// The `[traces]` section.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TracesConfig {
    /// Where the collector takes OTLP over gRPC, such as `http://127.0.0.1:4317`; absent: nothing is traced.
    pub endpoint: Option<String>,
    /// The part of the commands and messages that is traced, from 0 to 1.
    pub sample: f64,
    /// The CA (PEM) of a collector with `https://`.
    pub ca: Option<PathBuf>,
    /// How clients' addresses and accounts are named.
    pub addresses: Addresses,
    /// A file with a secret of 16 bytes at least: nodes that have the same name an account alike. Absent: each process has a secret
    /// of its own.
    pub key_file: Option<PathBuf>,
    /// Spans that may wait for the collector; what comes beyond that is lost.
    pub queue_max: usize,
    /// How long the collector may take for one export.
    pub timeout: Duration,
}

/// How traces name clients' addresses and accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Addresses {
    /// By a keyed hash.
    Hashed,
    /// As they are.
    Plain,
    /// Not at all.
    None,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample: 0.01,
            ca: None,
            addresses: Addresses::Hashed,
            key_file: None,
            queue_max: 4096,
            timeout: Duration::seconds(5),
        }
    }
}

impl TracesConfig {
    /// Whether the values make sense and the files are there; says what is not so.
    pub fn check(&self) -> Result<(), TracesError> {
        self.checked().map(|_| ())
    }

    /// What is made of it when something is to be traced.
    fn checked(&self) -> Result<Option<(Settings, export::Target)>, TracesError> {
        let Some(endpoint) = &self.endpoint else {
            return Ok(None);
        };
        let sampled_at_most = sampled_at_most(self.sample)?;
        if self.queue_max == 0 {
            return Err(TracesError::Value("queue_max must be 1 at least".to_owned()));
        }
        let names = Names::load(self.addresses, self.key_file.as_deref())?;
        let target = export::Target::new(endpoint, self.ca.as_deref(), self.timeout.0)?;
        let settings = Settings {
            sampled_at_most,
            names,
        };
        Ok(Some((settings, target)))
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// A key has a value that cannot be.
    #[error("traces.{0}")]
    Value(String),
    /// A file cannot be read.
    #[error("cannot read traces.{key} {}: {source}", path.display())]
    Read {
        /// Which key.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What all spans of the process are made with.
struct Settings {
    /// A trace is taken when a random number is at most this; `None`: never.
    sampled_at_most: Option<u64>,
    names: Names,
}

/// Set once: nodes that share a process share their traces, as they do their log.
static SETTINGS: OnceLock<Settings> = OnceLock::new();

/// Makes ready what traces need, for the log to be set up with; `None` when nothing is to be traced.
pub(crate) fn prepare(
    config: &TracesConfig,
    node: &str,
    cluster: &str,
) -> Result<Option<(SdkTracer, Exporting)>, TracesError> {
    let Some((settings, target)) = config.checked()? else {
        return Ok(None);
    };
    let (queue, waiting) = Queue::new(config.queue_max);
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "rookery"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.namespace", cluster.to_owned()),
            KeyValue::new("service.instance.id", node.to_owned()),
        ])
        .build();
    // Which traces are taken has been decided where a span is made: those that are not never come here.
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::AlwaysOn)
        .with_span_processor(queue)
        .with_resource(resource.clone())
        .build();
    let tracer = provider.tracer("rookery");
    // Set before by another node of the process, whose traces these are as well.
    let _ = SETTINGS.set(settings);
    let exporting = Exporting::new(provider, resource, target, waiting);
    Ok(Some((tracer, exporting)))
}

/// What gives spans to their tracer. Of all that the process tells only a trace's own spans are given.
pub(crate) fn layer<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_context_activation(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]
fn sampled_at_most(sample: f64) -> Result<Option<u64>, TracesError> {
    if !(0.0..=1.0).contains(&sample) {
        return Err(TracesError::Value(format!(
            "sample is {sample}: give the part that is traced, from 0 to 1"
        )));
    }
    // Saturates at 1.
    Ok((sample > 0.0).then_some((sample * u64::MAX as f64) as u64))
}
