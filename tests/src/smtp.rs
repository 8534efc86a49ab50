//! A small SMTP and LMTP client that says what it was answered.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Longer than any deadline of the server: a read that takes longer is a defect.
const READ_MAX: Duration = Duration::from_secs(60);

/// A connection to an SMTP or LMTP server.
pub struct SmtpClient {
    reader: BufReader<TcpStream>,
}

impl SmtpClient {
    /// Connects and reads the greeting; does not say EHLO.
    pub fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_read_timeout(Some(READ_MAX))?;
        stream.set_nodelay(true)?;
        let mut client = Self {
            reader: BufReader::new(stream),
        };
        client.reply()?.expect("220")?;
        Ok(client)
    }

    /// Connects and says EHLO.
    pub fn hello(address: &str) -> Result<Self> {
        let mut client = Self::connect(address)?;
        client.command("EHLO client.test")?.expect("250")?;
        Ok(client)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.reader.get_mut().write_all(bytes)?;
        Ok(())
    }

    /// Sends a line and reads the reply.
    pub fn command(&mut self, line: &str) -> Result<Reply> {
        self.send(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// Reads one reply, of however many lines.
    pub fn reply(&mut self) -> Result<Reply> {
        let mut text = String::new();
        loop {
            let start = text.len();
            if self.reader.read_line(&mut text)? == 0 {
                bail!("the server closed the connection after {text:?}");
            }
            if !text.ends_with("\r\n") {
                bail!("a line of the server does not end in CRLF: {text:?}");
            }
            if text.as_bytes().get(start + 3) != Some(&b'-') {
                return Ok(Reply(text));
            }
        }
    }

    /// Sends one message in a transaction of its own. The reply to the data; a refused recipient is an error.
    pub fn deliver(&mut self, recipients: &[String], message: &str) -> Result<Reply> {
        self.command("MAIL FROM:<sender@remote.test>")?.expect("250")?;
        for recipient in recipients {
            self.command(&format!("RCPT TO:<{recipient}>"))?.expect("250")?;
        }
        self.command("DATA")?.expect("354")?;
        self.send(stuffed(message).as_bytes())?;
        self.reply()
    }
}

/// The message as DATA carries it, with its end.
pub fn stuffed(message: &str) -> String {
    let mut data = String::with_capacity(message.len() + 16);
    for line in message.split_inclusive("\r\n") {
        if line.starts_with('.') {
            data.push('.');
        }
        data.push_str(line);
    }
    data.push_str(".\r\n");
    data
}

/// A reply of the server, with its line ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply(pub String);

impl Reply {
    /// The three digits.
    pub fn code(&self) -> &str {
        self.0.get(..3).unwrap_or_default()
    }

    /// An error unless the reply begins so.
    pub fn expect(self, start: &str) -> Result<Self> {
        if !self.0.starts_with(start) {
            bail!("expected {start}, was answered {:?}", self.0);
        }
        Ok(self)
    }
}
