//! The client's side of SMTP (RFC 5321), submission (RFC 6409) and LMTP (RFC 2033).

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::target::{Encryption, Endpoint, Protocol};
use crate::wire::{Wire, said};

/// What the client calls itself.
const CLIENT: &str = "loadtest.test";

/// Who sends.
const SENDER: &str = "sender@remote.test";

/// Lines of one reply that are taken.
const REPLY_LINES_MAX: usize = 100;

/// A connection that has said EHLO or LHLO.
pub(crate) struct Smtp {
    wire: Wire,
    protocol: Protocol,
    pipelining: bool,
    starttls: bool,
    output: String,
}

impl Smtp {
    /// Connects, encrypts as the endpoint wants, says who it is, and logs in where the protocol is submission.
    pub(crate) async fn connect(
        endpoint: &Endpoint,
        index: usize,
        protocol: Protocol,
        (login, password): (&str, &str),
    ) -> Result<Self> {
        let wire = Wire::connect(endpoint, index).await?;
        let mut smtp = Self {
            wire,
            protocol,
            pipelining: false,
            starttls: false,
            output: String::new(),
        };
        smtp.expect(b"220").await.context("greeting")?;
        smtp.hello().await?;
        if endpoint.encryption == Encryption::Starttls {
            if !smtp.starttls {
                bail!("the server offers no STARTTLS: set tls=none or tls=implicit");
            }
            smtp.wire.send(b"STARTTLS\r\n").await?;
            smtp.expect(b"220").await.context("STARTTLS")?;
            smtp.wire.encrypt(endpoint).await?;
            smtp.hello().await?;
        }
        if protocol == Protocol::Submission {
            // RFC 4616 §2.
            let secret = BASE64_STANDARD.encode(format!("\0{login}\0{password}"));
            smtp.wire
                .send(format!("AUTH PLAIN {secret}\r\n").as_bytes())
                .await?;
            smtp.expect(b"235")
                .await
                .with_context(|| format!("AUTH of {login}"))?;
        }
        Ok(smtp)
    }

    async fn hello(&mut self) -> Result<()> {
        let verb = if self.protocol == Protocol::Lmtp {
            "LHLO"
        } else {
            "EHLO"
        };
        self.wire.send(format!("{verb} {CLIENT}\r\n").as_bytes()).await?;
        (self.pipelining, self.starttls) = (false, false);
        let (mut pipelining, mut starttls) = (false, false);
        self.reply(b"250", |line| {
            pipelining |= line.eq_ignore_ascii_case(b"PIPELINING");
            starttls |= line.eq_ignore_ascii_case(b"STARTTLS");
        })
        .await
        .context(verb)?;
        (self.pipelining, self.starttls) = (pipelining, starttls);
        Ok(())
    }

    /// Delivers one message to its recipients. The message needs no stuffing of dots; its end is put behind it. Any refusal
    /// is an error; when this returns the server has taken the message for each recipient.
    pub(crate) async fn deliver(&mut self, recipients: &[String], message: &mut Vec<u8>) -> Result<()> {
        self.output.clear();
        // Writing to memory cannot fail.
        let _ = write!(self.output, "MAIL FROM:<{SENDER}>\r\n");
        for recipient in recipients {
            let _ = write!(self.output, "RCPT TO:<{recipient}>\r\n");
        }
        self.output.push_str("DATA\r\n");
        let commands = std::mem::take(&mut self.output);
        if self.pipelining {
            // RFC 2920 §3.1: DATA comes last of a group.
            self.wire.send(commands.as_bytes()).await?;
            for line in commands.lines() {
                self.answered(line).await?;
            }
        } else {
            for line in commands.split_inclusive('\n') {
                self.wire.send(line.as_bytes()).await?;
                self.answered(line.trim_end()).await?;
            }
        }
        self.output = commands;
        message.extend_from_slice(b".\r\n");
        self.wire.send(message).await?;
        // LMTP answers for each recipient (RFC 2033 §4.2).
        let replies = if self.protocol == Protocol::Lmtp {
            recipients.len()
        } else {
            1
        };
        for _ in 0..replies {
            self.expect(b"250").await.context("end of DATA")?;
        }
        Ok(())
    }

    async fn answered(&mut self, command: &str) -> Result<()> {
        let code: &[u8] = if command == "DATA" { b"354" } else { b"250" };
        self.expect(code).await.with_context(|| command.to_owned())
    }

    /// Says good-bye and waits for the answer.
    pub(crate) async fn quit(mut self) -> Result<()> {
        self.wire.send(b"QUIT\r\n").await?;
        self.expect(b"221").await.context("QUIT")
    }

    async fn expect(&mut self, code: &[u8]) -> Result<()> {
        self.reply(code, |_| {}).await
    }

    /// Reads one reply of any number of lines (RFC 5321 §4.2); `heed` gets what follows each line's code.
    async fn reply(&mut self, code: &[u8], mut heed: impl FnMut(&[u8])) -> Result<()> {
        for _ in 0..REPLY_LINES_MAX {
            let line = self.wire.line().await?;
            let (got, rest) = line.split_at(line.len().min(3));
            if got != code {
                bail!("expected {}, was answered {:?}", said(code), said(line));
            }
            heed(rest.get(1..).unwrap_or_default());
            match rest.first() {
                Some(b'-') => {}
                Some(b' ') | None => return Ok(()),
                Some(_) => bail!("no reply: {:?}", said(line)),
            }
        }
        bail!("a reply of more than {REPLY_LINES_MAX} lines")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock;

    const NOBODY: (&str, &str) = ("", "");

    #[tokio::test]
    async fn lmtp_pipelines_what_it_may_and_reads_a_reply_for_each_recipient() {
        let (endpoint, server) = mock::following(
            "S: 220 ready
             C: LHLO loadtest.test
             S: 250-server.test
             S: 250-PIPELINING
             S: 250 SIZE 1000
             C: MAIL FROM:<sender@remote.test>
             C: RCPT TO:<a@x.test>
             C: RCPT TO:<b@x.test>
             C: DATA
             S: 250 ok
             S: 250 ok
             S: 250 ok
             S: 354 go on
             C: Subject: a
             C:
             C: text
             C: .
             S: 250 a has it
             S: 250 b has it
             C: QUIT
             S: 221 bye",
        )
        .await;
        let mut lmtp = Smtp::connect(&endpoint, 0, Protocol::Lmtp, NOBODY).await.unwrap();
        let recipients = ["a@x.test".to_owned(), "b@x.test".to_owned()];
        lmtp.deliver(&recipients, &mut b"Subject: a\r\n\r\ntext\r\n".to_vec())
            .await
            .unwrap();
        lmtp.quit().await.unwrap();
        server.await.unwrap();
    }

    #[tokio::test]
    async fn submission_logs_in_and_waits_for_each_answer_where_it_may_not_pipeline() {
        let (endpoint, server) = mock::following(
            "S: 220 ready
             C: EHLO loadtest.test
             S: 250 AUTH PLAIN
             C: AUTH PLAIN AG1lAHNlY3JldA==
             S: 235 yes
             C: MAIL FROM:<sender@remote.test>
             S: 250 ok
             C: RCPT TO:<a@x.test>
             S: 550 nobody",
        )
        .await;
        let mut smtp = Smtp::connect(&endpoint, 0, Protocol::Submission, ("me", "secret"))
            .await
            .unwrap();
        let refused = smtp
            .deliver(&["a@x.test".to_owned()], &mut b"\r\n".to_vec())
            .await
            .unwrap_err();
        assert_eq!(
            format!("{refused:#}"),
            "RCPT TO:<a@x.test>: expected 250, was answered \"550 nobody\""
        );
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_wrong_password_is_an_error_that_names_the_account_and_not_the_password() {
        let (endpoint, _server) = mock::following(
            "S: 220 ready
             C: EHLO loadtest.test
             S: 250 AUTH PLAIN
             C: AUTH PLAIN AG1lAHNlY3JldA==
             S: 535 no",
        )
        .await;
        let refused = Smtp::connect(&endpoint, 0, Protocol::Submission, ("me", "secret"))
            .await
            .err()
            .unwrap();
        let text = format!("{refused:#}");
        assert!(
            text.contains("AUTH of me") && text.contains("535") && !text.contains("secret"),
            "{text}"
        );
    }
}
