//! The client's side of IMAP (RFC 9051; RFC 3501 servers speak it as far as it is used here).
//!
//! Answers are read as they stream: small literals are kept in their response, large ones are counted and forgotten, so
//! that a mailbox of any size needs the memory of one response.

pub(crate) mod response;

use std::io::Write as _;

use anyhow::{Context, Result, bail};

use crate::target::{Encryption, Endpoint};
use crate::wire::{Wire, said};
use response::{Response, Status, Tagged};

/// Literals up to this size are kept in their response; larger ones are counted.
const LITERAL_KEPT_MAX: u64 = 4 * 1024;

/// How long an account's name or password may be to be sent in quotes.
const QUOTED_BYTES_MAX: usize = 1000;

/// What the server offers, as far as it is used here.
#[derive(Debug, Clone, Copy, Default)]
struct Capabilities {
    known: bool,
    literal_plus: bool,
    multiappend: bool,
    starttls: bool,
}

/// A connection.
pub(crate) struct Imap {
    wire: Wire,
    tags: u32,
    exists: u32,
    capabilities: Capabilities,
    response: Response,
    output: Vec<u8>,
}

impl Imap {
    /// Connects, reads the greeting, and encrypts as the endpoint wants.
    pub(crate) async fn connect(endpoint: &Endpoint, index: usize) -> Result<Self> {
        let mut imap = Self {
            wire: Wire::connect(endpoint, index).await?,
            tags: 0,
            exists: 0,
            capabilities: Capabilities::default(),
            response: Response::default(),
            output: Vec::new(),
        };
        imap.read().await.context("greeting")?;
        if !imap.response.text().starts_with(b"* OK") {
            bail!("the server greets with {:?}", said(imap.response.text()));
        }
        if endpoint.encryption == Encryption::Starttls {
            imap.heed_capabilities();
            imap.ask_capabilities().await?;
            if !imap.capabilities.starttls {
                bail!("the server offers no STARTTLS: set tls=none or tls=implicit");
            }
            imap.command("STARTTLS").await?;
            imap.wire.encrypt(endpoint).await?;
            // What was said before does not count (RFC 9051 §6.2.1).
            imap.capabilities = Capabilities::default();
        }
        Ok(imap)
    }

    /// Logs in (RFC 9051 §6.2.3).
    pub(crate) async fn login(&mut self, user: &str, password: &str) -> Result<()> {
        // What is offered before a login need not be what is offered after it.
        self.capabilities = Capabilities::default();
        let line = format!("LOGIN {} {}", quoted(user)?, quoted(password)?);
        let tag = self.send(line.as_bytes()).await?;
        let tagged = self.finish(tag, |_| {}).await;
        let tagged = tagged.with_context(|| format!("LOGIN of {user}"))?;
        tagged.ok().with_context(|| format!("LOGIN of {user}"))?;
        Ok(())
    }

    /// Sends a command that must succeed.
    pub(crate) async fn command(&mut self, line: &str) -> Result<()> {
        self.ask(line, |_| {}).await
    }

    /// Sends a command that must succeed; `heed` gets each untagged response.
    pub(crate) async fn ask(&mut self, line: &str, heed: impl FnMut(&Response)) -> Result<()> {
        self.attempt(line, heed)
            .await?
            .ok()
            .with_context(|| shown(line))?;
        Ok(())
    }

    /// Sends a command and says how it ended.
    pub(crate) async fn attempt(&mut self, line: &str, heed: impl FnMut(&Response)) -> Result<Tagged> {
        let tag = self.send(line.as_bytes()).await?;
        self.finish(tag, heed).await.with_context(|| shown(line))
    }

    /// Selects a mailbox; the number of its messages.
    pub(crate) async fn select(&mut self, mailbox: &str) -> Result<u32> {
        self.exists = 0;
        let mut told = false;
        let line = format!("SELECT {}", quoted(mailbox)?);
        self.ask(&line, |response| told |= response.number_of("EXISTS").is_some())
            .await?;
        if !told {
            bail!("{line}: the server did not say how many messages exist");
        }
        Ok(self.exists)
    }

    /// Messages in the selected mailbox, as far as the server has said.
    pub(crate) fn exists(&self) -> u32 {
        self.exists
    }

    /// How many messages a mailbox has; `None` when there is no such mailbox (RFC 9051 §6.3.11).
    pub(crate) async fn messages(&mut self, mailbox: &str) -> Result<Option<u32>> {
        let line = format!("STATUS {} (MESSAGES)", quoted(mailbox)?);
        let mut count = None;
        let tagged = self
            .attempt(&line, |response| {
                count = count.or(response.number_after("(MESSAGES "))
            })
            .await?;
        match (tagged.status, count) {
            (Status::Ok, None) => bail!("{line}: the answer has no number"),
            (Status::Ok, count) => Ok(count),
            (Status::No, _) => Ok(None),
            (Status::Bad, _) => bail!("{line}: {}", tagged.text),
        }
    }

    /// Appends messages with one command (RFC 9051 §6.3.12, several of them by RFC 3502); they are sent as fast as the
    /// server takes literals (RFC 7888).
    pub(crate) async fn append(&mut self, mailbox: &str, messages: &[Vec<u8>]) -> Result<()> {
        self.ask_capabilities().await?;
        if messages.len() > 1 && !self.capabilities.multiappend {
            for message in messages {
                self.append_at_once(mailbox, std::slice::from_ref(message))
                    .await?;
            }
            return Ok(());
        }
        self.append_at_once(mailbox, messages).await
    }

    /// Appends messages with a command each, all of which are sent before their answers are read; `answered` is told of
    /// each as it comes. The server must take literals unasked (RFC 7888).
    pub(crate) async fn append_pipelined(
        &mut self,
        mailbox: &str,
        messages: &[Vec<u8>],
        mut answered: impl FnMut(usize),
    ) -> Result<()> {
        self.ask_capabilities().await?;
        if !self.capabilities.literal_plus {
            bail!("the server has no LITERAL+, without which an APPEND cannot follow another unasked");
        }
        self.output.clear();
        let first = self.tags + 1;
        for message in messages {
            self.tags += 1;
            write!(
                self.output,
                "{} APPEND {} {{{}+}}\r\n",
                self.tags,
                quoted(mailbox)?,
                message.len()
            )?;
            self.output.extend_from_slice(message);
            self.output.extend_from_slice(b"\r\n");
        }
        self.wire.send(&self.output).await?;
        for (position, tag) in (first..=self.tags).enumerate() {
            self.finish(tag, |_| {})
                .await
                .and_then(Tagged::ok)
                .context("APPEND")?;
            answered(position);
        }
        Ok(())
    }

    async fn append_at_once(&mut self, mailbox: &str, messages: &[Vec<u8>]) -> Result<()> {
        let plus = if self.capabilities.literal_plus { "+" } else { "" };
        self.tags += 1;
        let tag = self.tags;
        self.output.clear();
        write!(self.output, "{tag} APPEND {}", quoted(mailbox)?)?;
        for message in messages {
            write!(self.output, " {{{}{plus}}}\r\n", message.len())?;
            if plus.is_empty() {
                self.wire.send(&self.output).await?;
                self.output.clear();
                if let Some(refused) = self.go_on(tag).await.context("APPEND")? {
                    bail!("APPEND: {}", refused.text);
                }
            }
            self.output.extend_from_slice(message);
        }
        self.output.extend_from_slice(b"\r\n");
        self.wire.send(&self.output).await?;
        self.finish(tag, |_| {})
            .await
            .and_then(Tagged::ok)
            .context("APPEND")?;
        Ok(())
    }

    /// Begins to idle (RFC 9051 §6.3.13): returns when the server has said that it does.
    pub(crate) async fn idle(&mut self) -> Result<()> {
        let tag = self.send(b"IDLE").await?;
        if let Some(refused) = self.go_on(tag).await.context("IDLE")? {
            bail!("IDLE: {}", refused.text);
        }
        self.wire.rest();
        Ok(())
    }

    /// Waits until the server says something of its own accord while this idles; the number of messages then.
    pub(crate) async fn hear(&mut self) -> Result<u32> {
        self.wire.wait().await?;
        self.untagged().await?;
        Ok(self.exists)
    }

    /// Ends to idle.
    pub(crate) async fn done(&mut self) -> Result<()> {
        self.wire.send(b"DONE\r\n").await?;
        let tag = self.tags;
        self.finish(tag, |_| {})
            .await
            .and_then(Tagged::ok)
            .context("DONE")?;
        Ok(())
    }

    /// Logs out and waits until the server has said so (RFC 9051 §6.1.3).
    pub(crate) async fn logout(mut self) -> Result<()> {
        let tag = self.send(b"LOGOUT").await?;
        let mut bye = false;
        loop {
            self.read().await.context("LOGOUT")?;
            match self.response.tagged(tag) {
                Some(tagged) if bye => return tagged.ok().map(drop).context("LOGOUT"),
                Some(_) => bail!("LOGOUT: the server said no BYE"),
                None => bye |= self.response.is_bye(),
            }
        }
    }

    /// Gives memory back that a connection at rest does not need.
    pub(crate) fn rest(&mut self) {
        self.wire.rest();
        self.output = Vec::new();
        self.response = Response::default();
    }

    async fn ask_capabilities(&mut self) -> Result<()> {
        if !self.capabilities.known {
            let tag = self.send(b"CAPABILITY").await?;
            self.finish(tag, |_| {})
                .await
                .and_then(Tagged::ok)
                .context("CAPABILITY")?;
        }
        Ok(())
    }

    /// Sends a line with a tag of its own; its tag.
    async fn send(&mut self, line: &[u8]) -> Result<u32> {
        self.tags += 1;
        self.output.clear();
        write!(self.output, "{} ", self.tags)?;
        self.output.extend_from_slice(line);
        self.output.extend_from_slice(b"\r\n");
        self.wire.send(&self.output).await?;
        Ok(self.tags)
    }

    /// Reads until a command has ended.
    async fn finish(&mut self, tag: u32, mut heed: impl FnMut(&Response)) -> Result<Tagged> {
        loop {
            self.read().await?;
            if let Some(tagged) = self.response.tagged(tag) {
                self.heed_capabilities();
                return Ok(tagged);
            }
            self.heed()?;
            heed(&self.response);
        }
    }

    /// Reads until the server wants more of a command; how the command ended, if it did before.
    async fn go_on(&mut self, tag: u32) -> Result<Option<Tagged>> {
        loop {
            self.read().await?;
            if let Some(tagged) = self.response.tagged(tag) {
                return Ok(Some(tagged));
            }
            if self.response.text().starts_with(b"+") {
                return Ok(None);
            }
            self.heed()?;
        }
    }

    async fn untagged(&mut self) -> Result<()> {
        self.read().await?;
        self.heed()
    }

    /// Takes an untagged response in.
    fn heed(&mut self) -> Result<()> {
        let response = &self.response;
        if !response.text().starts_with(b"* ") || response.is_bye() {
            bail!("unexpected: {:?}", said(response.text()));
        }
        if let Some(count) = response.number_of("EXISTS") {
            self.exists = count;
        } else if response.number_of("EXPUNGE").is_some() {
            self.exists = self.exists.saturating_sub(1);
        }
        self.heed_capabilities();
        Ok(())
    }

    /// Takes in what the server offers, when the response says so (RFC 9051 §7.2.2).
    fn heed_capabilities(&mut self) {
        let Some(names) = self.response.capabilities() else {
            return;
        };
        self.capabilities.known = true;
        for name in names.split_ascii_whitespace() {
            match name.to_ascii_uppercase().as_str() {
                "LITERAL+" => self.capabilities.literal_plus = true,
                "MULTIAPPEND" => self.capabilities.multiappend = true,
                "STARTTLS" => self.capabilities.starttls = true,
                _ => {}
            }
        }
    }

    /// Reads one response with all its literals.
    async fn read(&mut self) -> Result<()> {
        self.response.clear();
        loop {
            let line = self.wire.line().await?;
            let literal = response::literal(line);
            self.response.push(line);
            let Some(size) = literal else { return Ok(()) };
            match usize::try_from(size) {
                Ok(small) if size <= LITERAL_KEPT_MAX => {
                    self.response.push_literal(self.wire.take(small).await?);
                }
                _ => {
                    self.wire.skip(size).await?;
                    self.response.count_literal(size);
                }
            }
        }
    }
}

/// A command as errors show it.
fn shown(line: &str) -> String {
    said(line.as_bytes())
}

/// A string in quotes (RFC 9051 §4.3).
pub(crate) fn quoted(text: &str) -> Result<String> {
    if text.len() > QUOTED_BYTES_MAX || text.contains(['\r', '\n', '\0']) || !text.is_ascii() {
        bail!("{text:?} cannot be sent in quotes");
    }
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    Ok(format!("\"{escaped}\""))
}

#[cfg(test)]
mod tests;
