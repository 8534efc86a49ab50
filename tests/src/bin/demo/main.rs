//! What `make demo` runs: a real cluster, real mail in by SMTP and out by IMAP, a crash, a mailstore more, in plain lines.
//!
//! Owns the story and nothing of the cluster: it sees what any mail client and operator would. Every line that it prints
//! is checked first; what is not as it should be ends it with the reason and exit code 1.

mod rebalance;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use rookery_tests::imap::literals;
use rookery_tests::{Cluster, ImapClient, Options, SmtpClient, messages};

/// Accounts of the demo.
const ACCOUNTS: u64 = 30;

/// Shards of the demo: enough to be spread, few enough to be moved while somebody looks.
const SHARDS: u32 = 64;

/// Messages that are delivered before the crash, one after the other.
const BEFORE_CRASH: u64 = 50;

/// The reader in the story.
const READER: &str = "user1@example.test";

fn main() -> ExitCode {
    let began = Instant::now();
    match story() {
        Ok(()) => {
            say(&format!(
                "All of it took {:.1} s. The cluster is stopped, its folder is gone.",
                began.elapsed().as_secs_f32()
            ));
            ExitCode::SUCCESS
        }
        Err(error) => {
            // There is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "demo: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Who closed the pipe does not want to read on.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn story() -> Result<()> {
    let began = Instant::now();
    say("Starting 1 directory, 3 mailstores and 2 proxies on this machine.");
    let mut cluster = Cluster::start(&Options {
        accounts: ACCOUNTS,
        shards: Some(SHARDS),
        ..Options::default()
    })?;
    say(&format!(
        "  ready after {:.1} s, with {ACCOUNTS} accounts. Proxy 1 takes SMTP at {}, proxy 2 serves IMAP at {}.",
        began.elapsed().as_secs_f32(),
        cluster.proxy(0).smtp,
        cluster.proxy(1).imap
    ));
    let places = accounts_by_mailstore(&cluster)?;
    watch_a_delivery(&cluster)?;
    send_to_many(&cluster)?;
    crash(&mut cluster, &places)?;
    rebalance::grow(&mut cluster)?;
    say("Stopping.");
    Ok(())
}

/// Shows where the accounts lie; the mailstore of each.
fn accounts_by_mailstore(cluster: &Cluster) -> Result<BTreeMap<String, String>> {
    let listed: serde_json::Value =
        serde_json::from_str(&cluster.operate(&["account", "list", "--json"], "")?)?;
    let mut places = BTreeMap::new();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for account in listed["accounts"].as_array().context("no accounts are listed")? {
        let (Some(address), Some(node)) = (account["address"].as_str(), account["node"].as_str()) else {
            bail!("an account without address or node: {account}");
        };
        places.insert(address.to_owned(), node.to_owned());
        *counts.entry(node.to_owned()).or_default() += 1;
    }
    ensure!(
        counts.len() == 3,
        "the accounts are not on 3 mailstores: {counts:?}"
    );
    let counts: Vec<String> = counts
        .iter()
        .map(|(node, count)| format!("{node} has {count}"))
        .collect();
    say(&format!(
        "Accounts are spread over the mailstores: {}.",
        counts.join(", ")
    ));
    Ok(places)
}

/// One message in through proxy 1, while a client waits in IDLE at proxy 2.
fn watch_a_delivery(cluster: &Cluster) -> Result<()> {
    let mut watcher = ImapClient::login(&cluster.proxy(1).imap, READER)?;
    watcher.command("SELECT INBOX")?.ok()?;
    let idle = watcher.begin("IDLE")?;
    ensure!(
        watcher.response()?.starts_with(b"+"),
        "the server does not go into IDLE"
    );
    say(&format!(
        "{READER} has the INBOX open at proxy 2 and waits in IDLE."
    ));

    let message = messages::numbered(0, 4_000);
    let sent = Instant::now();
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp)?;
    let reply = smtp.deliver(&[READER.to_owned()], &message)?.expect("250")?;
    say(&format!(
        "A message to {READER} goes in at proxy 1: {}",
        reply.0.trim_end()
    ));
    loop {
        let line = String::from_utf8_lossy(&watcher.response()?).into_owned();
        if line == "* 1 EXISTS" {
            say(&format!(
                "  IDLE saw {line:?} {} ms after the connection was made.",
                sent.elapsed().as_millis()
            ));
            break;
        }
    }
    watcher.send(b"DONE\r\n")?;
    watcher.finish(&idle)?.ok()?;
    let fetched = watcher.command("FETCH 1 (FLAGS ENVELOPE BODY.PEEK[])")?.ok()?;
    let response = fetched.untagged.first().context("FETCH gave nothing")?;
    let body = literals(response).pop().context("FETCH gave no body")?;
    ensure!(
        body.ends_with(message.as_bytes()),
        "the message is not what was sent"
    );
    say(&format!(
        "  FETCH at proxy 2 gives its {} bytes, as they were sent.",
        body.len()
    ));
    watcher.command("STORE 1 +FLAGS (\\Flagged)")?.ok()?;
    watcher.command("COPY 1 Archive")?.ok()?;
    let found = watcher
        .command("SEARCH FLAGGED SUBJECT \"message 0\"")?
        .ok()?
        .search();
    ensure!(found == [1], "SEARCH finds {found:?}");
    say("  It was flagged, copied to Archive, and found again by SEARCH.");
    Ok(())
}

fn send_to_many(cluster: &Cluster) -> Result<()> {
    let recipients: Vec<String> = (1..=ACCOUNTS)
        .map(|number| format!("user{number}@example.test"))
        .collect();
    let mut smtp = SmtpClient::hello(&cluster.proxy(1).smtp)?;
    smtp.deliver(&recipients, &messages::numbered(1, 20_000))?
        .expect("250")?;
    for recipient in &recipients {
        let expected = if recipient == READER { 2 } else { 1 };
        let held = inbox(cluster, 0, recipient)?;
        ensure!(held == expected, "{recipient} has {held} messages");
    }
    say(&format!(
        "One message to {ACCOUNTS} people on 3 mailstores: each has it once, seen through proxy 1."
    ));
    Ok(())
}

/// Kill -9 of the mailstore that holds the reader's mail; what was acknowledged is there afterwards.
fn crash(cluster: &mut Cluster, places: &BTreeMap<String, String>) -> Result<()> {
    let node = places.get(READER).context("the reader has no mailstore")?.clone();
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp)?;
    for number in 0..BEFORE_CRASH {
        smtp.deliver(&[READER.to_owned()], &messages::numbered(100 + number, 2_000))?
            .expect("250")?;
    }
    let mut client = ImapClient::login(&cluster.proxy(1).imap, READER)?;
    let before = client.command("SELECT INBOX")?.ok()?;
    let pid = cluster.pid(&node);
    cluster.kill(&node);
    say(&format!(
        "{BEFORE_CRASH} more messages to {READER} were acknowledged, then {node} (process {pid}) was killed with -9."
    ));
    let others = places
        .iter()
        .filter(|(_, place)| **place != node)
        .map(|(address, _)| address);
    for address in others.take(3) {
        inbox(cluster, 0, address)
            .with_context(|| format!("while {node} is down, {address} must be served"))?;
    }
    say("  Accounts on the other mailstores are served meanwhile.");
    let down = Instant::now();
    cluster.restart(&node)?;
    let after = client.command("SELECT INBOX")?.ok()?;
    say(&format!(
        "  {node} was started again; the client's connection is the same, and works after {} ms.",
        down.elapsed().as_millis()
    ));
    ensure!(
        after.exists() == Some(2 + BEFORE_CRASH as u32),
        "{:?} messages are there",
        after.exists()
    );
    ensure!(
        after.code("UIDVALIDITY") == before.code("UIDVALIDITY"),
        "UIDVALIDITY has changed"
    );
    let fetched = client.command("FETCH 3:* BODY.PEEK[]")?.ok()?;
    for (number, response) in fetched.untagged.iter().enumerate() {
        let body = literals(response).pop().context("FETCH gave no body")?;
        let whole = messages::numbered(100 + number as u64, 2_000);
        ensure!(body.ends_with(whole.as_bytes()), "message {number} is not whole");
    }
    say(&format!(
        "  All {} messages are there, each once and whole.",
        2 + BEFORE_CRASH
    ));
    Ok(())
}

fn inbox(cluster: &Cluster, proxy: usize, user: &str) -> Result<u32> {
    let mut imap = ImapClient::login(&cluster.proxy(proxy).imap, user)?;
    imap.command("EXAMINE INBOX")?
        .ok()?
        .exists()
        .with_context(|| format!("{user} has no INBOX"))
}
