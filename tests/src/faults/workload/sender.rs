//! An SMTP or LMTP client of the workload: one transaction after another, each to a few accounts. What was not taken is
//! sent again later, in a transaction of its own, as mail servers do.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::Rng;
use rand::seq::IteratorRandom;

use super::super::content;
use super::super::history::{Account, Action, Answer, Outcome};
use super::{Client, Proxy, RECONNECT_PAUSE, address};
use crate::smtp::{SmtpClient, stuffed};

/// Messages that wait to be sent again; the oldest are given up.
const AGAIN_MAX: usize = 20;

/// How many accounts a message goes to at most.
const RECIPIENTS_MAX: usize = 3;

/// A message and whom it is for.
#[derive(Clone)]
struct Letter {
    message: u64,
    recipients: Vec<Account>,
}

/// One client.
pub(super) struct Sender {
    client: Client,
    accounts: Account,
    proxy: Proxy,
    /// From one transaction to the next, however long that takes; as soon as it can otherwise.
    interval: Option<Duration>,
    connection: Option<(&'static str, SmtpClient)>,
    again: VecDeque<Letter>,
}

impl Sender {
    pub(super) fn new(client: Client, accounts: Account, proxy: Proxy, interval: Option<Duration>) -> Self {
        Self {
            client,
            accounts,
            proxy,
            interval,
            connection: None,
            again: VecDeque::new(),
        }
    }

    pub(super) fn run(mut self) -> Result<()> {
        let mut due = Instant::now();
        while !self.client.stop.is_said() {
            if let Some(interval) = self.interval {
                due += interval;
                self.client
                    .stop
                    .wait(due.saturating_duration_since(Instant::now()));
            }
            let Some((protocol, connection)) = self.connect() else {
                self.client.stop.wait(RECONNECT_PAUSE);
                continue;
            };
            let letter = self.next_letter();
            self.send(protocol, connection, letter);
        }
        Ok(())
    }

    fn connect(&mut self) -> Option<(&'static str, SmtpClient)> {
        if let Some(held) = self.connection.take() {
            return Some(held);
        }
        let hello = |at: &str, word: &str| -> Result<SmtpClient> {
            let mut client = SmtpClient::connect(at)?;
            client.command(&format!("{word} client.test"))?.expect("250")?;
            Ok(client)
        };
        let (protocol, made) = if self.client.rng.random_bool(0.5) {
            ("smtp", hello(&self.proxy.smtp, "EHLO"))
        } else {
            ("lmtp", hello(&self.proxy.lmtp, "LHLO"))
        };
        made.ok().map(|client| (protocol, client))
    }

    fn next_letter(&mut self) -> Letter {
        if self.client.rng.random_bool(0.5)
            && let Some(letter) = self.again.pop_front()
        {
            return letter;
        }
        let count = self.client.rng.random_range(1..=RECIPIENTS_MAX);
        let mut recipients = (1..=self.accounts).choose_multiple(&mut self.client.rng, count);
        recipients.sort_unstable();
        Letter {
            message: self.client.next_message(),
            recipients,
        }
    }

    /// One transaction. A refused recipient ends it before anything was sent.
    fn send(&mut self, protocol: &'static str, mut connection: SmtpClient, letter: Letter) {
        let invoked = self.client.recorder.now();
        let outcomes = match transaction(protocol, &mut connection, &letter) {
            Ok(outcomes) => {
                self.connection = Some((protocol, connection));
                outcomes
            }
            Err(error) => vec![Outcome::Unknown(format!("{error:#}")); letter.recipients.len()],
        };
        let mut later = Vec::new();
        for (recipient, outcome) in letter.recipients.iter().zip(outcomes) {
            if matches!(outcome, Outcome::Unknown(_)) {
                later.push(*recipient);
            }
            let action = Action::Deliver {
                message: letter.message,
                protocol,
            };
            self.client
                .record(*recipient, invoked, action, outcome, Answer::default());
        }
        if !later.is_empty() {
            self.again.push_back(Letter {
                message: letter.message,
                recipients: later,
            });
            let surplus = self.again.len().saturating_sub(AGAIN_MAX);
            self.again.drain(..surplus);
            self.client.stop.wait(RECONNECT_PAUSE);
        }
    }
}

/// What came of each recipient.
fn transaction(protocol: &str, client: &mut SmtpClient, letter: &Letter) -> Result<Vec<Outcome>> {
    let all = |outcome: &Outcome| vec![outcome.clone(); letter.recipients.len()];
    let from = client.command("MAIL FROM:<sender@remote.test>")?;
    if from.code() != "250" {
        client.command("RSET")?;
        return Ok(all(&outcome(from.code(), &from.0)));
    }
    for recipient in &letter.recipients {
        let reply = client.command(&format!("RCPT TO:<{}>", address(*recipient)))?;
        if reply.code() != "250" {
            client.command("RSET")?;
            return Ok(all(&outcome(reply.code(), &reply.0)));
        }
    }
    let data = client.command("DATA")?;
    if data.code() != "354" {
        client.command("RSET")?;
        return Ok(all(&outcome(data.code(), &data.0)));
    }
    client.send(stuffed(&content::text(letter.message)).as_bytes())?;
    if protocol == "smtp" {
        let reply = client.reply()?;
        return Ok(all(&outcome(reply.code(), &reply.0)));
    }
    // RFC 2033 §4.2: one reply for each recipient.
    let mut outcomes = Vec::new();
    for _ in &letter.recipients {
        match client.reply() {
            Ok(reply) => outcomes.push(outcome(reply.code(), &reply.0)),
            // Those before are answered; this one and those after are not.
            Err(error) => outcomes.push(Outcome::Unknown(format!("{error:#}"))),
        }
    }
    Ok(outcomes)
}

/// What a reply says of what was asked for: 4xx is unknown, for it may have had its effect.
pub fn outcome(code: &str, reply: &str) -> Outcome {
    match code.as_bytes().first() {
        Some(b'2') => Outcome::Ok,
        Some(b'5') => Outcome::Refused(reply.trim_end().to_owned()),
        _ => Outcome::Unknown(reply.trim_end().to_owned()),
    }
}
