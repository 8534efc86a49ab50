//! What shards themselves are asked, on the way that a proxy goes: what has changed in a mailbox since a modseq.

use std::sync::Arc;

use rookery_proto::mailstore::v1::{self as mailstore, MessageFlags, UidSet, reply, request};
use rookery_proto::{Reason, Status};
use rookery_proxy::route::{self, CallOptions};

use super::super::history::{Account, Action, Answer, MAILBOXES, Outcome, Recorder, Row};
use super::address;

/// At the end, how many of the modseqs at which a mailbox was seen are asked from.
const CLOSING_MAX: usize = 40;

/// The shards of a cluster.
pub struct Shards(pub Arc<route::Cluster>);

/// An account that is logged in to.
pub struct Seen {
    /// Which.
    pub number: Account,
    account: Arc<route::Account>,
    ids: [u32; MAILBOXES.len()],
    /// The modseq of the last look at each mailbox.
    pub last: [u64; MAILBOXES.len()],
}

impl Shards {
    /// Logs in to an account, and looks its mailboxes up.
    pub async fn login(&self, account: Account) -> Result<Seen, Status> {
        let login = address(account);
        let logged_in = self.0.authenticate(&login, "playground", "127.0.0.1").await?;
        let list = request::Call::ListMailboxes(mailstore::ListMailboxes {});
        let listed = logged_in.call(list, CallOptions::READ).await?;
        let reply::Call::Mailboxes(listed) = listed else {
            return Err(Status::internal("mailboxes were answered with something else"));
        };
        let ids = MAILBOXES.map(|name| listed.mailboxes.iter().find(|held| held.name == name));
        let ids = ids.map(|held| held.map(|held| held.id).unwrap_or_default());
        Ok(Seen {
            number: account,
            account: logged_in,
            ids,
            last: [0; MAILBOXES.len()],
        })
    }
}

impl Seen {
    /// What has changed in a mailbox, by its place in [`MAILBOXES`], since a modseq.
    pub async fn changes(&self, at: usize, since: u64) -> Result<Answer, Status> {
        let call = request::Call::Changes(mailstore::Changes {
            mailbox: self.ids[at],
            since,
        });
        let reply = self.account.call(call, CallOptions::READ).await?;
        let reply::Call::Changes(changes) = reply else {
            return Err(Status::internal("changes were answered with something else"));
        };
        Ok(Answer {
            rows: changes.changed.iter().map(row).collect(),
            vanished: uids(changes.vanished.as_ref()),
            uid_validity: Some(changes.uid_validity),
            uid_next: Some(changes.uid_next),
            highest_modseq: Some(changes.modseq),
            complete: changes.reset || since == 0,
            ..Answer::default()
        })
    }
}

/// What an answer, or none, comes to.
pub fn outcome(answered: Result<Answer, Status>) -> (Outcome, Answer) {
    match answered {
        Ok(answer) => (Outcome::Ok, answer),
        Err(status) if is_later(&status) => (Outcome::Unknown(status.to_string()), Answer::default()),
        Err(status) => (Outcome::Refused(status.to_string()), Answer::default()),
    }
}

/// Whether it may be asked again.
fn is_later(status: &Status) -> bool {
    status.is_retryable() || matches!(status.reason, Reason::DeadlineExceeded | Reason::Cancelled)
}

/// Modseqs at which the mailbox was seen, spread over the whole run, 0 among them.
pub fn modseqs_seen(recorder: &Recorder, account: Account, mailbox: &str) -> Vec<u64> {
    let mut modseqs: Vec<u64> = recorder.with_events(|events| {
        let of_mailbox = events.iter().filter(|event| {
            event.account == account
                && matches!(&event.action, Action::Changes { mailbox: of, .. } if *of == mailbox)
        });
        of_mailbox
            .filter_map(|event| event.answer.highest_modseq)
            .collect()
    });
    modseqs.push(0);
    modseqs.sort_unstable();
    modseqs.dedup();
    let step = modseqs.len().div_ceil(CLOSING_MAX).max(1);
    modseqs.into_iter().step_by(step).collect()
}

fn row(message: &MessageFlags) -> Row {
    const SYSTEM: [&str; 5] = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"];
    let held = message.flags.clone().unwrap_or_default();
    let mut flags: Vec<String> = SYSTEM
        .iter()
        .enumerate()
        .filter(|(bit, _)| held.system & (1 << bit) != 0)
        .map(|(_, name)| (*name).to_owned())
        .collect();
    flags.extend(held.keywords);
    flags.sort();
    Row {
        uid: message.uid,
        flags: Some(flags),
        modseq: Some(message.modseq),
        ..Row::default()
    }
}

fn uids(set: Option<&UidSet>) -> Vec<u32> {
    let bounds = set.map(|set| set.bounds.as_slice()).unwrap_or_default();
    bounds
        .chunks_exact(2)
        .flat_map(|bounds| bounds[0]..=bounds[1])
        .collect()
}
