//! One message and the commands that read it, each a whole trace.

use rookery_tests::imap::literals;
use rookery_tests::{Cluster, ImapClient, Options, SmtpClient};

use crate::collector::Collector;
use crate::told::Span;

/// What nobody may find in what is exported. Each is in the message, its envelope or the logins.
const SECRETS: [&str; 9] = [
    "zebra",
    "quagga",
    "okapi",
    "user1",
    "sender@remote.test",
    "example.test",
    "playground",
    "client.test",
    "127.0.0.1",
];

const MESSAGE: &str = "From: Zebra <zebra@remote.test>\r\nTo: user1@example.test\r\nSubject: quagga\r\n\
    Message-ID: <okapi@remote.test>\r\n\r\nThe zebra saw a quagga and an okapi.\r\n";

/// The spans of one trace.
struct Trace<'a>(Vec<&'a Span>);

impl<'a> Trace<'a> {
    /// The trace that begins so and has an attribute.
    fn of(spans: &'a [Span], name: &str, attribute: (&str, &str)) -> Self {
        let begins = |span: &&Span| {
            span.name == name && span.parent.is_empty() && span.attribute(attribute.0) == attribute.1
        };
        let first = spans.iter().find(begins);
        let first = first.unwrap_or_else(|| panic!("no {name} with {attribute:?} in {spans:#?}"));
        Self(spans.iter().filter(|span| span.trace == first.trace).collect())
    }

    fn first(&self) -> &'a Span {
        let mut spans = self.0.iter().copied();
        spans.find(|span| span.parent.is_empty()).expect("a first")
    }

    /// The one child of a span that has the name and kind.
    fn child(&self, parent: &Span, name: &str, kind: &str) -> &'a Span {
        let is_it = |span: &&'a Span| span.parent == parent.id && span.name == name && span.kind == kind;
        let found: Vec<&'a Span> = self.0.iter().copied().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{name} below {parent:#?}: {:#?}", self.0);
        found[0]
    }

    /// A call below a span: as its caller sees it, and as its callee does.
    fn call(&self, parent: &Span, name: &str) -> (&'a Span, &'a Span) {
        let caller = self.child(parent, name, "SPAN_KIND_CLIENT");
        (caller, self.child(caller, name, "SPAN_KIND_SERVER"))
    }
}

const STEP: &str = "SPAN_KIND_INTERNAL";

#[test]
fn a_message_and_the_commands_that_read_it_are_whole_traces() {
    let collector = Collector::start().unwrap();
    let environment = [
        ("ROOKERY__TRACES__ENDPOINT", collector.endpoint()),
        ("ROOKERY__TRACES__SAMPLE", "1.0"),
        ("ROOKERY__LOG__FORMAT", "json"),
    ];
    let mut cluster = Cluster::start(&Options {
        proxies: 1,
        environment: environment
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Options::default()
    })
    .unwrap();
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    let refused = smtp.deliver(&["nobody-zebra@example.test".to_owned()], MESSAGE);
    assert!(refused.is_err());
    smtp.command("RSET").unwrap().expect("250").unwrap();
    let delivered = smtp.deliver(&["user1@example.test".to_owned()], MESSAGE).unwrap();
    let delivered = delivered.expect("250").unwrap().0;
    let mut imap = ImapClient::login(&cluster.proxy(0).imap, "user1@example.test").unwrap();
    imap.command("SELECT INBOX").unwrap().ok().unwrap();
    let fetched = imap.command("FETCH 1 BODY[]").unwrap().ok().unwrap();
    assert!(literals(&fetched.untagged[0])[0].ends_with(MESSAGE.as_bytes()));
    // What is under way is sent before a node ends.
    let ids: Vec<String> = cluster
        .manifest()
        .nodes
        .iter()
        .map(|node| node.id.clone())
        .collect();
    for role in ["proxy", "mailstore", "directory"] {
        for id in ids.iter().filter(|id| id.starts_with(role)) {
            cluster.stop(id);
        }
    }
    let (spans, text) = collector.finish().unwrap();

    let message = message_of(&spans, &delivered);
    let trace = the_message_is_one_trace(&spans, &message);
    the_log_names_it(&cluster, &trace);
    a_refusal_is_one_trace(&spans);
    commands_are_traces(&spans);
    nothing_is_told(&text);
}

/// The id of the message, which the client was told.
fn message_of(spans: &[Span], delivered: &str) -> String {
    let mut ids = spans.iter().map(|span| span.attribute("rookery.message"));
    let id = ids.find(|id| !id.is_empty() && delivered.contains(id));
    id.unwrap_or_else(|| panic!("{delivered}: no trace of it in {spans:#?}"))
        .to_owned()
}

fn the_message_is_one_trace(spans: &[Span], message: &str) -> String {
    let trace = Trace::of(spans, "smtp transaction", ("rookery.message", message));
    let transaction = trace.first();
    assert_eq!(transaction.node, "proxy-1");
    assert_eq!(transaction.attribute("rookery.outcome"), "stored");
    assert_eq!(transaction.attribute("network.protocol.name"), "smtp");
    assert_eq!(transaction.attribute("rookery.bytes"), MESSAGE.len().to_string());
    assert_eq!(transaction.attribute("rookery.connection").len(), 16);
    assert_eq!(transaction.attribute("client.address").len(), 16);

    let recipient = trace.child(transaction, "RCPT", STEP);
    assert_eq!(recipient.attribute("rookery.outcome"), "accepted");
    let (_, lookup) = trace.call(recipient, "directory resolve_recipient");
    assert_eq!(lookup.node, "directory-1");
    assert_eq!(lookup.attribute("rookery.peer"), "proxy-1");
    trace.child(transaction, "DATA", STEP);

    let delivery = trace.child(transaction, "deliver", STEP);
    let (caller, callee) = trace.call(delivery, "mailstore deliver");
    // More than one while a connection is being made.
    assert!(caller.attribute("rookery.attempts").parse::<u32>().unwrap() >= 1);
    assert!(callee.node.starts_with("mailstore-"), "{callee:#?}");
    assert_eq!(callee.attribute("rookery.outcome"), "ok");
    assert_eq!(callee.attribute("rookery.recipients"), "1");
    assert_eq!(
        callee.attribute("rookery.shard"),
        caller.attribute("rookery.shard")
    );
    trace.child(callee, "analyse", STEP);
    let commit = trace.child(callee, "commit", STEP);
    assert_eq!(
        commit.attribute("rookery.shard"),
        caller.attribute("rookery.shard")
    );
    let entry = trace.child(commit, "entry", STEP);
    assert_eq!(entry.attribute("rookery.commands"), "1");
    trace.child(entry, "propose", STEP);
    let agree = trace.child(entry, "agree", STEP);
    assert!(
        agree.began <= agree.ended && agree.ended <= transaction.ended,
        "{agree:#?}"
    );
    transaction.trace.clone()
}

/// From a line of the log to the trace.
fn the_log_names_it(cluster: &Cluster, trace: &str) {
    let log = std::fs::read_to_string(cluster.node("proxy-1").data.join("log")).unwrap();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let deliveries: Vec<_> = lines.filter(|line| line["message"] == "delivery").collect();
    assert_eq!(deliveries.len(), 1, "{log}");
    assert_eq!(deliveries[0]["trace_id"], trace);
    assert_eq!(deliveries[0]["span_id"].as_str().unwrap().len(), 16);
}

fn a_refusal_is_one_trace(spans: &[Span]) {
    let refused = spans
        .iter()
        .find(|span| span.attribute("rookery.outcome") == "unknown");
    let refused = refused.unwrap_or_else(|| panic!("nothing was refused in {spans:#?}"));
    let trace = Trace(spans.iter().filter(|span| span.trace == refused.trace).collect());
    assert_eq!(trace.first().name, "smtp transaction");
    let (_, callee) = trace.call(refused, "directory resolve_recipient");
    assert_eq!(callee.attribute("rookery.outcome"), "NOT_FOUND");
}

fn commands_are_traces(spans: &[Span]) {
    let of = |command: &str| {
        let trace = Trace::of(spans, &format!("imap {command}"), ("rookery.outcome", "ok"));
        assert_eq!(trace.first().attribute("rookery.command"), command);
        trace
    };
    let login = of("LOGIN");
    let (_, asked) = login.call(login.first(), "directory authenticate");
    assert_eq!(asked.node, "directory-1");
    login.child(asked, "password", STEP);
    let (select, fetch) = (of("SELECT"), of("FETCH"));
    select.call(select.first(), "mailstore open_mailbox");
    let (_, served) = fetch.call(fetch.first(), "mailstore fetch");
    assert!(served.node.starts_with("mailstore-"), "{served:#?}");
    assert_eq!(served.attribute("rookery.outcome"), "ok");
    // Traces of their own, of one connection and for one account.
    assert_ne!(select.first().trace, fetch.first().trace);
    for key in ["rookery.connection", "rookery.account"] {
        let value = fetch.first().attribute(key);
        assert_eq!(value.len(), 16, "{key}");
        assert_eq!(select.first().attribute(key), value, "{key}");
    }
}

fn nothing_is_told(text: &str) {
    let exported = text
        .find("ResourceSpans")
        .map(|from| &text[from..])
        .expect("spans");
    for secret in SECRETS {
        let held = exported.lines().find(|line| line.to_lowercase().contains(secret));
        assert_eq!(held, None, "{secret} was exported");
    }
}
