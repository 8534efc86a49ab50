//! The demo's last part: a fourth mailstore, and a rebalance while a client waits in IDLE and mail flows in.
//!
//! What was acknowledged is counted by who sent it, and looked for when all is over.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rookery_tests::cluster::program;
use rookery_tests::imap::literals;
use rookery_tests::{Cluster, ImapClient, SmtpClient, messages};
use serde_json::Value;

use super::say;

/// Transfers that a mailstore has a part in at one time: more than usual, as nobody waits for these disks.
const TRANSFERS_MAX: &str = "8";

/// Between two messages of the sender.
const PACE: Duration = Duration::from_millis(25);

/// The number of the sender's first message.
const FIRST_NUMBER: u64 = 10_000;

/// Recipients whose shards are to move.
const RECIPIENTS_MAX: usize = 5;

/// How long one look at the waiting client takes.
const LOOK: Duration = Duration::from_millis(50);

/// How long a message may take from its acknowledgement until IDLE tells of it.
const TOLD_MAX: Duration = Duration::from_secs(10);

/// Tries in a row that the sender may make in vain.
const TRIES_MAX: u32 = 20;

/// Adds a mailstore and gives it its share, under the eyes of a client.
pub(crate) fn grow(cluster: &mut Cluster) -> Result<()> {
    let began = Instant::now();
    let added = cluster.grow(1)?;
    say(&format!(
        "{} was added while the cluster runs: `rookery playground grow` took {:.1} s.",
        added.join(", "),
        began.elapsed().as_secs_f32()
    ));
    let node = added.first().context("no mailstore was added")?;
    let before = places(cluster)?;
    let recipients = who_moves(cluster, &before)?;
    let watched = recipients
        .first()
        .context("the plan moves no account: where is the new node's share?")?;

    let mut watcher = ImapClient::login(&cluster.proxy(1).imap, watched)?;
    let selected = watcher.command("SELECT INBOX")?.ok()?;
    let held = selected.exists().context("SELECT says nothing of EXISTS")?;
    let idle = watcher.begin("IDLE")?;
    ensure!(
        watcher.response()?.starts_with(b"+"),
        "the server does not go into IDLE"
    );
    say(&format!(
        "{watched}, whose shard is to move, has the INBOX open at proxy 2 and waits in IDLE. Mail flows in at proxy 1."
    ));

    let (sent, told) = rebalance_while_mail_flows(cluster, &recipients, &mut watcher, held)?;
    watcher.send(b"DONE\r\n")?;
    watcher.finish(&idle)?.ok()?;
    say("  The connection in IDLE is the one from before, and works.");

    let after = places(cluster)?;
    let moved = |user: &&String| before.get(*user) != after.get(*user);
    ensure!(
        recipients.iter().any(|user| moved(&user)),
        "none of {recipients:?} has moved: {before:?}"
    );
    if let (Some(from), Some(to)) = (before.get(watched), after.get(watched)) {
        say(&format!(
            "  {watched} was on {} and is on {} now.",
            from.node, to.node
        ));
    }
    check(cluster, &sent)?;
    say(&format!(
        "  {} messages were acknowledged meanwhile ({} tries were not). Each is there, once; IDLE told of all {told} in its mailbox.",
        sent.acknowledged.values().map(BTreeSet::len).sum::<usize>(),
        sent.in_vain
    ));
    spread(cluster, node)
}

/// Where an account is.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    shard: u64,
    node: String,
}

fn places(cluster: &Cluster) -> Result<BTreeMap<String, Place>> {
    let listed: Value = serde_json::from_str(&cluster.operate(&["account", "list", "--json"], "")?)?;
    let accounts = listed["accounts"].as_array().context("no accounts are listed")?;
    let place = |account: &Value| {
        let address = account["address"].as_str()?.to_owned();
        let (shard, node) = (account["shard"].as_u64()?, account["node"].as_str()?.to_owned());
        Some((address, Place { shard, node }))
    };
    accounts
        .iter()
        .map(|account| place(account).with_context(|| format!("an account without a place: {account}")))
        .collect()
}

/// Accounts whose shards the plan moves, the first of them in the first transfers.
fn who_moves(cluster: &Cluster, places: &BTreeMap<String, Place>) -> Result<Vec<String>> {
    let plan: Value = serde_json::from_str(&cluster.operate(&["rebalance", "plan", "--json"], "")?)?;
    let transfers = plan["transfers"]
        .as_array()
        .context("the plan lists no transfers")?;
    let shards: BTreeSet<u64> = transfers
        .iter()
        .filter_map(|transfer| transfer["shard"].as_u64())
        .collect();
    let moves = places.iter().filter(|(_, place)| shards.contains(&place.shard));
    Ok(moves
        .map(|(address, _)| address.clone())
        .take(RECIPIENTS_MAX)
        .collect())
}

/// What the sender knows.
#[derive(Debug, Default)]
struct Sent {
    /// Numbers of messages that were acknowledged, by recipient.
    acknowledged: BTreeMap<String, BTreeSet<u64>>,
    /// Tries that were not: their messages may be there.
    in_vain: u32,
}

/// Runs the rebalance to its end; what was sent meanwhile, and how many messages the client in IDLE knows of.
fn rebalance_while_mail_flows(
    cluster: &Cluster,
    recipients: &[String],
    watcher: &mut ImapClient,
    held: u32,
) -> Result<(Sent, u32)> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let sender = threads.spawn(|| send(cluster, recipients, &is_over));
        let rebalance = threads.spawn(|| {
            let result = rebalance(cluster);
            is_over.store(true, Ordering::Release);
            result
        });
        let mut told = held;
        let looked = look_until(watcher, &mut told, &is_over);
        // Both end by themselves: the one when the job does, the other after it.
        let ended = joined(rebalance.join(), "the rebalance");
        let sent = joined(sender.join(), "the sender");
        looked.context("the client in IDLE")?;
        ended?;
        let sent = sent?;
        let own = recipients.first().and_then(|user| sent.acknowledged.get(user));
        let expected = held + own.map_or(0, BTreeSet::len) as u32;
        let waiting = Instant::now();
        while told < expected {
            ensure!(
                waiting.elapsed() < TOLD_MAX,
                "IDLE has told of {told} messages, and {expected} are there"
            );
            look(watcher, &mut told)?;
        }
        Ok((sent, told))
    })
}

fn joined<T>(result: std::thread::Result<Result<T>>, who: &str) -> Result<T> {
    match result {
        Ok(result) => result.with_context(|| who.to_owned()),
        Err(_) => bail!("{who} panicked"),
    }
}

fn look_until(watcher: &mut ImapClient, told: &mut u32, is_over: &AtomicBool) -> Result<()> {
    while !is_over.load(Ordering::Acquire) {
        look(watcher, told)?;
    }
    Ok(())
}

/// Heeds what the server says in IDLE.
fn look(watcher: &mut ImapClient, told: &mut u32) -> Result<()> {
    if !watcher.wait_pending(LOOK)? {
        return Ok(());
    }
    let line = String::from_utf8_lossy(&watcher.response()?).into_owned();
    ensure!(
        !line.starts_with("* BYE"),
        "the server ends the connection: {line}"
    );
    if let Some(exists) = line
        .strip_prefix("* ")
        .and_then(|rest| rest.strip_suffix(" EXISTS"))
    {
        *told = exists.parse()?;
    }
    Ok(())
}

/// `rookery rebalance`, whose own lines are shown: what it sums up, and how far it is.
fn rebalance(cluster: &Cluster) -> Result<()> {
    let mut child = Command::new(program()?)
        .args([
            "rebalance",
            "--yes",
            "--max-transfers",
            TRANSFERS_MAX,
            "--cluster",
        ])
        .arg(cluster.data().join("cluster.json"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().context("it has no output")?;
    for (number, line) in BufReader::new(output).lines().enumerate() {
        let line = line?;
        // Of the plan its summary, which comes first; the rest is for who has to agree.
        if number < 2 || line.starts_with("job ") {
            say(&format!("  rebalance: {line}"));
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

/// Sends to one recipient after the other until it is over. What is not acknowledged is tried again as another message.
fn send(cluster: &Cluster, recipients: &[String], is_over: &AtomicBool) -> Result<Sent> {
    let mut sent = Sent::default();
    let mut connection = None;
    let mut failed_in_a_row = 0;
    let numbers = FIRST_NUMBER..;
    for (number, recipient) in numbers.zip(recipients.iter().cycle()) {
        if is_over.load(Ordering::Acquire) {
            break;
        }
        match deliver(cluster, &mut connection, recipient, number) {
            Ok(()) => {
                failed_in_a_row = 0;
                let acknowledged = sent.acknowledged.entry(recipient.clone()).or_default();
                acknowledged.insert(number);
            }
            Err(error) => {
                connection = None;
                sent.in_vain += 1;
                failed_in_a_row += 1;
                if failed_in_a_row >= TRIES_MAX {
                    return Err(error.context(format!("{TRIES_MAX} tries in a row were in vain")));
                }
            }
        }
        std::thread::sleep(PACE);
    }
    Ok(sent)
}

fn deliver(
    cluster: &Cluster,
    connection: &mut Option<SmtpClient>,
    recipient: &str,
    number: u64,
) -> Result<()> {
    let smtp = match connection {
        Some(smtp) => smtp,
        None => connection.insert(SmtpClient::hello(&cluster.proxy(0).smtp)?),
    };
    let message = messages::numbered(number, 2_000);
    smtp.deliver(&[recipient.to_owned()], &message)?.expect("250")?;
    Ok(())
}

/// Looks for what was acknowledged: each message is there, and once.
fn check(cluster: &Cluster, sent: &Sent) -> Result<()> {
    for (user, acknowledged) in &sent.acknowledged {
        let mut imap = ImapClient::login(&cluster.proxy(0).imap, user)?;
        imap.command("EXAMINE INBOX")?.ok()?;
        let fetched = imap
            .command("FETCH 1:* BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]")?
            .ok()?;
        let mut counts: BTreeMap<u64, u32> = BTreeMap::new();
        for response in &fetched.untagged {
            let header = literals(response).pop().unwrap_or_default();
            if let Some(number) = number_of(&String::from_utf8_lossy(&header)) {
                *counts.entry(number).or_default() += 1;
            }
        }
        for number in acknowledged {
            let count = counts.get(number).copied().unwrap_or(0);
            ensure!(
                count == 1,
                "message {number} to {user} was acknowledged and is there {count} times"
            );
        }
    }
    Ok(())
}

/// The number in a Message-ID as tests make them.
fn number_of(header: &str) -> Option<u64> {
    let (_, rest) = header.split_once('<')?;
    let (number, _) = rest.split_once("@remote.test>")?;
    number.parse().ok()
}

/// Shows what each mailstore has now; the new one must have its share.
fn spread(cluster: &Cluster, added: &str) -> Result<()> {
    let listed: Value = serde_json::from_str(&cluster.operate(&["node", "list", "--json"], "")?)?;
    let nodes = listed["nodes"].as_array().context("no nodes are listed")?;
    let mut counts = Vec::new();
    for node in nodes.iter().filter(|node| node["role"] == "mailstore") {
        let (Some(id), Some(shards)) = (node["id"].as_str(), node["shards"].as_u64()) else {
            bail!("a node without id or shards: {node}");
        };
        ensure!(id != added || shards > 0, "{added} has got no shards");
        counts.push(format!("{id} has {shards}"));
    }
    say(&format!(
        "  Shards are spread over {} mailstores: {}.",
        counts.len(),
        counts.join(", ")
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_by_its_number() {
        let message = messages::numbered(10_017, 100);
        let header = message
            .lines()
            .find(|line| line.starts_with("Message-ID"))
            .unwrap_or_default();
        assert_eq!(number_of(header), Some(10_017));
        assert_eq!(number_of("Message-ID: <someone@elsewhere.test>"), None);
    }
}
