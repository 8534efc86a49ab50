//! An SMTP or LMTP client: one transaction after another, each to some accounts. What was not taken is sent again later, in a
//! transaction of its own, as mail servers do.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rookery_tests::faults::content;
use rookery_tests::faults::history::{Account, Action, Answer, Outcome};
use rookery_tests::faults::workload::address;
use rookery_tests::faults::workload::sender::outcome;
use rookery_tests::smtp::{Reply, stuffed};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::time::timeout;

use crate::clients::Client;

/// Longer than any deadline of the server.
const ANSWER_MAX: Duration = Duration::from_secs(100);

/// Pause between two transactions, in milliseconds.
const PAUSE: std::ops::Range<u64> = 50..800;

/// Messages that wait to be sent again; the oldest are given up.
const AGAIN_MAX: usize = 5;

/// A message and whom it is for.
struct Letter {
    message: u64,
    recipients: Vec<Account>,
}

/// One client.
pub(crate) struct Sender {
    client: Client,
    held: Option<(&'static str, Connection)>,
    again: VecDeque<Letter>,
}

impl Sender {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            held: None,
            again: VecDeque::new(),
        }
    }

    pub(crate) async fn run(mut self) {
        while !self.client.is_stopped() {
            self.client.pause(PAUSE).await;
            let held = match self.held.take() {
                Some(held) => Some(held),
                None => self.connect().await,
            };
            if let Some((protocol, connection)) = held {
                let letter = self.next_letter();
                self.send(protocol, connection, letter).await;
            }
        }
    }

    async fn connect(&self) -> Option<(&'static str, Connection)> {
        let (protocol, hello) = self.client.one_of(&[("smtp", "EHLO"), ("lmtp", "LHLO")]);
        let connection = Connection::open(&self.client, protocol, hello).await;
        connection.ok().map(|connection| (protocol, connection))
    }

    fn next_letter(&mut self) -> Letter {
        if self.client.draw(0..2) == 0
            && let Some(letter) = self.again.pop_front()
        {
            return letter;
        }
        let accounts = 1..=self.client.cluster.accounts;
        let mut recipients: Vec<Account> = accounts.clone().filter(|_| self.client.draw(0..2) == 0).collect();
        if recipients.is_empty() {
            recipients.push(*accounts.start());
        }
        Letter {
            message: self.client.next_message(),
            recipients,
        }
    }

    /// One transaction. A refused recipient ends it before anything was sent.
    async fn send(&mut self, protocol: &'static str, mut connection: Connection, letter: Letter) {
        let invoked = self.client.recorder.now();
        let outcomes = match transaction(protocol, &mut connection, &letter).await {
            Ok(outcomes) => {
                self.held = Some((protocol, connection));
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
                .record_for(*recipient, invoked, action, outcome, Answer::default());
        }
        if !later.is_empty() {
            self.again.push_back(Letter {
                message: letter.message,
                recipients: later,
            });
            let surplus = self.again.len().saturating_sub(AGAIN_MAX);
            self.again.drain(..surplus);
        }
    }
}

/// What came of each recipient.
async fn transaction(protocol: &str, connection: &mut Connection, letter: &Letter) -> Result<Vec<Outcome>> {
    let all = |reply: &Reply| vec![outcome(reply.code(), &reply.0); letter.recipients.len()];
    let mut commands = vec!["MAIL FROM:<sender@remote.test>".to_owned()];
    let recipients = letter.recipients.iter();
    commands.extend(recipients.map(|recipient| format!("RCPT TO:<{}>", address(*recipient))));
    for command in commands {
        let reply = connection.command(&command).await?;
        if reply.code() != "250" {
            connection.command("RSET").await?;
            return Ok(all(&reply));
        }
    }
    let data = connection.command("DATA").await?;
    if data.code() != "354" {
        connection.command("RSET").await?;
        return Ok(all(&data));
    }
    connection
        .send(stuffed(&content::text(letter.message)).as_bytes())
        .await?;
    if protocol == "smtp" {
        return Ok(all(&connection.reply().await?));
    }
    // RFC 2033 §4.2: one reply for each recipient.
    let mut outcomes = Vec::new();
    for _ in &letter.recipients {
        match connection.reply().await {
            Ok(reply) => outcomes.push(outcome(reply.code(), &reply.0)),
            // Those before are answered; this one and those after are not.
            Err(error) => outcomes.push(Outcome::Unknown(format!("{error:#}"))),
        }
    }
    Ok(outcomes)
}

/// A connection.
struct Connection(BufReader<DuplexStream>);

impl Connection {
    async fn open(client: &Client, protocol: &str, hello: &str) -> Result<Self> {
        let stream = client.here.connect(client.proxy_name(), protocol);
        let mut connection = Self(BufReader::new(stream.context("nobody listens")?));
        connection.reply().await?.expect("220")?;
        connection
            .command(&format!("{hello} client.test"))
            .await?
            .expect("250")?;
        Ok(connection)
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        timeout(ANSWER_MAX, self.0.get_mut().write_all(bytes))
            .await
            .context("the server takes nothing")??;
        Ok(())
    }

    async fn command(&mut self, line: &str) -> Result<Reply> {
        self.send(format!("{line}\r\n").as_bytes()).await?;
        self.reply().await
    }

    /// One reply, of however many lines.
    async fn reply(&mut self) -> Result<Reply> {
        let mut text = String::new();
        loop {
            let start = text.len();
            let read = timeout(ANSWER_MAX, self.0.read_line(&mut text)).await;
            if read.context("the server does not answer")?? == 0 {
                bail!("the server closed the connection after {text:?}");
            }
            if text.as_bytes().get(start + 3) != Some(&b'-') {
                return Ok(Reply(text));
            }
        }
    }
}
