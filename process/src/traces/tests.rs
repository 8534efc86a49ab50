//! Spans as they come to the queue.

use std::net::{IpAddr, Ipv4Addr};

use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn config(queue_max: usize) -> TracesConfig {
    TracesConfig {
        // Nothing connects to it: nothing is exported here.
        endpoint: Some("http://127.0.0.1:4317".to_owned()),
        sample: 1.0,
        queue_max,
        ..TracesConfig::default()
    }
}

/// The spans that work has made, those that ended first before others.
fn spans_of(queue_max: usize, work: impl AsyncFnOnce()) -> Vec<SpanData> {
    let (tracer, mut exporting) = prepare(&config(queue_max), "proxy-1", "c").unwrap().unwrap();
    let spans = layer(tracer);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(spans), || {
        runtime.block_on(work());
    });
    let mut ended = Vec::new();
    while let Ok(span) = exporting.waiting.try_recv() {
        ended.push(span);
    }
    ended
}

fn named<'a>(spans: &'a [SpanData], name: &str, kind: &SpanKind) -> &'a SpanData {
    let mut found = spans
        .iter()
        .filter(|span| span.name == name && span.span_kind == *kind);
    let span = found.next();
    span.unwrap_or_else(|| panic!("no {name} {kind:?} in {spans:#?}"))
}

fn attribute(span: &SpanData, key: &str) -> String {
    let mut attributes = span.attributes.iter();
    let held = attributes.find(|held| held.key.as_str() == key);
    held.map_or_else(String::new, |held| held.value.to_string())
}

#[test]
fn what_a_command_sets_off_is_one_trace_here_and_there() {
    let spans = spans_of(100, async || {
        let origin = Origin::new("smtp", CLIENT);
        let command = origin.begin("transaction");
        assert!(command.is_traced());
        let step = command.step("deliver");
        step.run(async {
            tracing::info!(subject = "a secret", "a line of the log");
            let call = call("mailstore", "deliver");
            call.count("rookery.shard", 7);
            let served = served("mailstore", "deliver", &call.traceparent());
            served.account(7);
            served.run(async { super::step("commit").outcome("ok") }).await;
            served.ended(Some(("UNAVAILABLE", true)));
            call.ended(Some(("NOT_FOUND", false)));
        })
        .await;
        command.outcome("stored");
    });
    assert_eq!(spans.len(), 5, "{spans:#?}");
    let command = named(&spans, "smtp transaction", &SpanKind::Server);
    let step = named(&spans, "deliver", &SpanKind::Internal);
    let caller = named(&spans, "mailstore deliver", &SpanKind::Client);
    let callee = named(&spans, "mailstore deliver", &SpanKind::Server);
    let commit = named(&spans, "commit", &SpanKind::Internal);
    assert_eq!(command.parent_span_id, SpanId::INVALID);
    for (child, parent) in [
        (step, command),
        (caller, step),
        (callee, caller),
        (commit, callee),
    ] {
        assert_eq!(child.parent_span_id, parent.span_context.span_id());
        assert_eq!(child.span_context.trace_id(), command.span_context.trace_id());
    }
    assert_eq!(attribute(command, "rookery.command"), "transaction");
    assert_eq!(attribute(command, "rookery.outcome"), "stored");
    assert_eq!(attribute(command, "client.address").len(), 16);
    assert_eq!(attribute(callee, "rookery.account").len(), 16);
    assert_eq!(attribute(caller, "rookery.shard"), "7");
    assert_eq!(attribute(caller, "rookery.outcome"), "NOT_FOUND");
    assert_eq!(caller.status, Status::Unset);
    assert_eq!(callee.status, Status::error(""));
    // What is logged stays in the log.
    assert!(spans.iter().all(|span| span.events.is_empty()), "{spans:#?}");
}

#[test]
fn what_nobody_traces_has_no_spans() {
    let spans = spans_of(100, async || {
        for none in [
            current(),
            step("commit"),
            call("mailstore", "deliver"),
            served("mailstore", "deliver", ""),
            served(
                "mailstore",
                "deliver",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            ),
            Traced::none().step("commit"),
        ] {
            assert!(!none.is_traced());
            assert_eq!(none.traceparent(), "");
            none.set("rookery.node", "a");
            none.account(7);
            none.ended(None);
            none.link(&none);
            none.run(async { assert!(!current().is_traced()) }).await;
        }
    });
    assert!(spans.is_empty(), "{spans:#?}");
}

#[test]
fn works_of_two_traces_are_linked() {
    let spans = spans_of(100, async || {
        let origin = Origin::new("imap", CLIENT);
        let (first, second) = (origin.begin("APPEND"), origin.begin("APPEND"));
        first.link(&second);
    });
    let [second, first] = spans.as_slice() else {
        panic!("{spans:#?}");
    };
    let connection = attribute(first, "rookery.connection");
    assert_eq!(connection.len(), 16);
    assert_eq!(attribute(second, "rookery.connection"), connection);
    assert_ne!(first.span_context.trace_id(), second.span_context.trace_id());
    let links: Vec<_> = first
        .links
        .iter()
        .map(|link| link.span_context.span_id())
        .collect();
    assert_eq!(links, [second.span_context.span_id()]);
    assert!(second.links.is_empty());
}

#[test]
fn what_does_not_fit_into_the_queue_is_counted() {
    // Whichever test comes first installs it for all.
    crate::telemetry::install(&[crate::telemetry::tests::CATALOGUE]);
    let spans = spans_of(1, async || {
        let origin = Origin::new("imap", CLIENT);
        for _ in 0..3 {
            origin.begin("NOOP").outcome("ok");
        }
    });
    assert_eq!(spans.len(), 1);
    let metrics = crate::telemetry::render().expect("is installed");
    let counted = "rookery_process_spans_lost_total{reason=\"queue_full\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn a_part_is_a_bound_of_random_numbers() {
    assert_eq!(sampled_at_most(0.0).unwrap(), None);
    assert_eq!(sampled_at_most(1.0).unwrap(), Some(u64::MAX));
    let half = sampled_at_most(0.5).unwrap().unwrap();
    assert!(half.abs_diff(u64::MAX / 2) <= 1, "{half}");
    for wrong in [-0.1, 1.1, f64::NAN] {
        let error = sampled_at_most(wrong).unwrap_err().to_string();
        assert!(error.starts_with("traces.sample is"), "{error}");
    }
}

#[test]
fn without_a_collector_nothing_is_made_ready() {
    let config: TracesConfig = toml::from_str("").unwrap();
    assert!(prepare(&config, "proxy-1", "c").unwrap().is_none());
    assert!(toml::from_str::<TracesConfig>("endpont = \"\"").is_err());
    let config: TracesConfig = toml::from_str("addresses = \"none\"\nsample = 0.5").unwrap();
    assert_eq!(config.addresses, Addresses::None);
}

#[test]
fn what_cannot_be_used_is_named() {
    for (text, wanted) in [
        ("endpoint = \"http://[::1]:4317\"\nsample = 7.0", "traces.sample"),
        (
            "endpoint = \"http://[::1]:4317\"\nqueue_max = 0",
            "traces.queue_max",
        ),
        ("endpoint = \"127.0.0.1\"", "traces.endpoint"),
        ("endpoint = \"https://localhost:4317\"", "traces.ca"),
        (
            "endpoint = \"http://[::1]:4317\"\nkey_file = \"/nonexistent/key\"",
            "traces.key_file /nonexistent/key",
        ),
    ] {
        let config: TracesConfig = toml::from_str(text).unwrap();
        let error = prepare(&config, "proxy-1", "c").err().expect(text).to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
}
