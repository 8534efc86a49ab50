//! A client of the shards themselves: it asks what has changed, and remembers what it saw at which modseq.
//!
//! It goes the way that a proxy goes, and is on the clients' machine.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use rookery_proto::Role;
use rookery_proxy::route;
use rookery_simulation::Here;
use rookery_tests::faults::history::{Account, Action, MAILBOXES};
use rookery_tests::faults::workload::shards::{Seen, Shards, modseqs_seen, outcome};

use crate::clients::Client;
use crate::cluster::Cluster;
use crate::proxy::Ways;

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pause between two looks, in milliseconds.
const PAUSE: std::ops::Range<u64> = 20..200;

/// Joins the cluster as a proxy does.
pub(crate) fn join(here: &Here, cluster: &Arc<Cluster>) -> Shards {
    let options = route::ClusterOptions {
        patience: PATIENCE,
        ..route::ClusterOptions::default()
    };
    Shards(route::Cluster::start(
        options,
        cluster.directory(here, Role::Proxy),
        Arc::new(Ways(here.clone(), Arc::clone(cluster))),
    ))
}

/// Looks at mailboxes until it is told to stop, and gives itself back for the closing questions.
pub(crate) async fn watch(client: Client, shards: Shards) -> Shards {
    let mut known: Vec<Seen> = Vec::new();
    while !client.is_stopped() {
        client.pause(PAUSE).await;
        let account = 1 + client.draw(0..u64::from(client.cluster.accounts)) as Account;
        if !known.iter().any(|seen| seen.number == account) {
            // Whoever cannot log in now tries again later.
            known.extend(shards.login(account).await);
        }
        let Some(seen) = known.iter_mut().find(|seen| seen.number == account) else {
            continue;
        };
        let at = client.draw(0..MAILBOXES.len() as u64) as usize;
        let since = match client.draw(0..3) {
            0 => 0,
            _ => seen.last[at],
        };
        if let Some(modseq) = ask(&client, seen, at, since, false).await {
            seen.last[at] = modseq;
        }
    }
    shards
}

/// Asks once, and writes down what was answered; the mailbox's modseq, if anything was.
async fn ask(client: &Client, seen: &Seen, at: usize, since: u64, closing: bool) -> Option<u64> {
    let invoked = client.recorder.now();
    let (outcome, answer) = outcome(seen.changes(at, since).await);
    let modseq = answer.highest_modseq;
    let action = Action::Changes {
        mailbox: MAILBOXES[at],
        since,
        closing,
    };
    client.record_for(seen.number, invoked, action, outcome, answer);
    modseq
}

/// When all is still and well: asks what has changed since each of many moments at which a mailbox was seen.
pub(crate) async fn ask_closing(client: &Client, shards: &Shards) -> Result<()> {
    for account in 1..=client.cluster.accounts {
        let seen = shards
            .login(account)
            .await
            .map_err(|status| anyhow!("{status}"))?;
        for (at, name) in MAILBOXES.iter().enumerate() {
            for since in modseqs_seen(&client.recorder, account, name) {
                let asked = ask(client, &seen, at, since, true).await;
                asked.ok_or_else(|| anyhow!("what changed since {since} in {name} of user{account}"))?;
            }
        }
    }
    Ok(())
}
