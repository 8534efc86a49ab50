//! Spans, and which are made: a trace begins at a client's command or message, by chance, and whatever that sets off belongs to it.
//!
//! Work that is not traced costs a look whether it is: no span is made for it, nothing allocated, and calls say nothing of it.

use std::fmt::Display;
use std::net::IpAddr;

use opentelemetry::trace::{Status, TraceContextExt};
use opentelemetry::{Context, Value};
use tracing::Span;
use tracing::instrument::{Instrument, Instrumented};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{Ids, SETTINGS, TARGET};

/// What came of the work.
const OUTCOME: &str = "rookery.outcome";

/// A client's connection, for the traces of what it asks for.
///
/// A connection may last for days, so it is no span: each command or message is a trace of its own, and all of one connection name
/// it by the same random number.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    protocol: &'static str,
    client: IpAddr,
    /// 0 while nothing is traced.
    connection: u64,
}

impl Origin {
    /// A new connection.
    pub fn new(protocol: &'static str, client: IpAddr) -> Self {
        let connection = SETTINGS.get().map_or(0, |_| rand::random());
        Self {
            protocol,
            client,
            connection,
        }
    }

    /// Begins the trace of a command or a message, if it is one of those that are traced.
    pub fn begin(&self, command: &'static str) -> Traced {
        let Some(settings) = SETTINGS.get() else {
            return Traced::none();
        };
        let is_sampled = settings
            .sampled_at_most
            .is_some_and(|at_most| rand::random::<u64>() <= at_most);
        if !is_sampled {
            return Traced::none();
        }
        let name = format!("{} {command}", self.protocol);
        let span = tracing::info_span!(
            target: TARGET, parent: None, "command", otel.name = name, otel.kind = "server"
        );
        let traced = Traced::started(span);
        traced.set("network.protocol.name", self.protocol);
        traced.set("rookery.command", command);
        traced.set("rookery.connection", format!("{:016x}", self.connection));
        traced.name("client.address", "client", &self.client);
        traced
    }
}

/// A piece of work in a trace; nothing at all when the work is not traced.
#[derive(Debug, Clone)]
pub struct Traced(Span);

/// The work that is done now, if it is traced.
pub fn current() -> Traced {
    if SETTINGS.get().is_none() {
        return Traced::none();
    }
    let span = Span::current();
    match span.metadata() {
        Some(metadata) if metadata.target() == TARGET => Traced(span),
        _ => Traced::none(),
    }
}

/// A step of the work that is done now.
pub fn step(name: &'static str) -> Traced {
    current().step(name)
}

/// A call that the work which is done now makes on another role.
pub fn call(service: &'static str, method: &'static str) -> Traced {
    let Traced(parent) = current();
    if parent.is_none() {
        return Traced(parent);
    }
    let name = format!("{service} {method}");
    let span = tracing::info_span!(
        target: TARGET, parent: &parent, "call", otel.name = name, otel.kind = "client"
    );
    let traced = Traced::started(span);
    traced.set("rpc.service", service);
    traced.set("rpc.method", method);
    traced
}

/// A call as its callee serves it; nothing when its caller is not traced. `traceparent` is what came with it.
pub fn served(service: &'static str, method: &'static str, traceparent: &str) -> Traced {
    if traceparent.is_empty() || SETTINGS.get().is_none() {
        return Traced::none();
    }
    let Some(caller) = Ids::parse(traceparent) else {
        return Traced::none();
    };
    let name = format!("{service} {method}");
    let span = tracing::info_span!(
        target: TARGET, parent: None, "served", otel.name = name, otel.kind = "server"
    );
    let parent = Context::new().with_remote_span_context(caller.context(true));
    // It has none yet, and was not begun.
    let _ = span.set_parent(parent);
    let traced = Traced::started(span);
    traced.set("rpc.service", service);
    traced.set("rpc.method", method);
    traced
}

impl Traced {
    /// Work that is not traced.
    pub const fn none() -> Self {
        Self(Span::none())
    }

    /// A span that has its name, kind and parent.
    fn started(span: Span) -> Self {
        let context = span.context();
        let begun = context.span().span_context().clone();
        if !begun.is_valid() {
            // Nothing takes spans: the log was set up before traces were.
            return Self::none();
        }
        Ids {
            trace: begun.trace_id(),
            span: begun.span_id(),
        }
        .keep(&span);
        Self(span)
    }

    /// Whether the work is traced: what is dear to find out need not be set otherwise.
    pub fn is_traced(&self) -> bool {
        !self.0.is_none()
    }

    /// A step of this work.
    pub fn step(&self, name: &'static str) -> Self {
        if self.0.is_none() {
            return Self::none();
        }
        let span = tracing::info_span!(target: TARGET, parent: &self.0, "step", otel.name = name);
        Self::started(span)
    }

    /// Does work as this: what it sets off belongs to it.
    pub fn run<F: Future>(&self, work: F) -> Instrumented<F> {
        work.instrument(self.0.clone())
    }

    /// What goes with calls that this work makes; empty when it is not traced.
    pub fn traceparent(&self) -> String {
        if self.0.is_none() {
            return String::new();
        }
        Ids::of(&self.0).map_or_else(String::new, |ids| ids.to_string())
    }

    /// Says something of the work. Never content, subjects, names of mailboxes, passwords, tokens or addresses.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        if !self.0.is_none() {
            self.0.set_attribute(key, value);
        }
    }

    /// A number, size or count.
    pub fn count(&self, key: &'static str, count: u64) {
        self.set(key, i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// For which account the work is, as the configuration says that accounts are named.
    pub fn account(&self, account: u64) {
        self.name("rookery.account", "account", &account);
    }

    fn name(&self, key: &'static str, kind: &str, name: &dyn Display) {
        if self.0.is_none() {
            return;
        }
        let named = SETTINGS
            .get()
            .and_then(|settings| settings.names.name(kind, name));
        if let Some(named) = named {
            self.0.set_attribute(key, named);
        }
    }

    /// What came of the work, which ends now unless more is done as this.
    pub fn outcome(&self, outcome: &'static str) {
        if !self.0.is_none() {
            self.0.set_attribute(OUTCOME, outcome);
            // A span ends when it is left for the last time.
            self.0.in_scope(|| ());
        }
    }

    /// How the work ended: well, or by a failure, of which the kind is given, and whether it is trouble rather than an answer.
    pub fn ended(&self, failure: Option<(&'static str, bool)>) {
        if self.0.is_none() {
            return;
        }
        let (outcome, is_trouble) = failure.unwrap_or(("ok", false));
        self.outcome(outcome);
        if is_trouble {
            self.0.set_status(Status::error(""));
        }
    }

    /// Says that other work, of this or another trace, has to do with this.
    pub fn link(&self, other: &Self) {
        if self.0.is_none() || other.0.is_none() {
            return;
        }
        if let Some(other) = Ids::of(&other.0) {
            self.0.add_link(other.context(false));
        }
    }
}
