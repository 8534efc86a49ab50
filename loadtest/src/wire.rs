//! A connection as lines and counted bytes: plain or encrypted, with little memory while it is at rest.
//!
//! Each wait for the server has an end: [`CONNECT_MAX`] for a connection, [`ANSWER_MAX`] for bytes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::target::{Encryption, Endpoint};

/// How long a connection may take until it is made, its TLS handshake too.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(30);

/// How long a server may say nothing while an answer is awaited, or take nothing while it is sent to.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Longest line that is taken, in bytes: the numbers of a search in a large mailbox come in one.
const LINE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes that are read at a time, at first and at most.
const READ_BYTES: [usize; 2] = [2 * 1024, 64 * 1024];

/// A buffer above this size is given back when it is empty and the connection rests.
const REST_BYTES: usize = 8 * 1024;

/// Source addresses on loopback, 127.0.1.1 and up: each has ports of its own.
const SOURCES: usize = 250;

enum Stream {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
    /// While it is being encrypted, and after that has failed.
    Gone,
}

/// A connection with what has been read of it and not been used.
pub(crate) struct Wire {
    stream: Stream,
    input: Vec<u8>,
    /// Where in `input` the unused begins.
    from: usize,
    read_bytes: usize,
}

impl Wire {
    /// Connects; encrypts at once where that is implicit. `index` spreads connections over addresses.
    pub(crate) async fn connect(endpoint: &Endpoint, index: usize) -> Result<Self> {
        let address = endpoint.addresses[index % endpoint.addresses.len()];
        let connected = timeout(CONNECT_MAX, open(address, index)).await;
        let stream = connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .with_context(|| {
                format!("cannot connect to {address}: is the server running, and is that its port?")
            })?;
        let mut wire = Self {
            stream: Stream::Plain(stream),
            input: Vec::new(),
            from: 0,
            read_bytes: READ_BYTES[0],
        };
        if endpoint.encryption == Encryption::Implicit {
            wire.encrypt(endpoint).await?;
        }
        Ok(wire)
    }

    /// Encrypts from now on. What the server said before that was not read is an error: it was not encrypted (RFC 3207 §6).
    pub(crate) async fn encrypt(&mut self, endpoint: &Endpoint) -> Result<()> {
        if self.from < self.input.len() {
            bail!("the server sent more before TLS began");
        }
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            bail!("the connection is encrypted already");
        };
        let name = ServerName::try_from(endpoint.tls_name.clone())
            .with_context(|| format!("{:?} is no name for a certificate", endpoint.tls_name))?;
        let encrypted = timeout(CONNECT_MAX, endpoint.connector.connect(name, stream))
            .await
            .context("the TLS handshake takes too long")?
            .context("no TLS: name the CA with ca_file, or set tls_unverified")?;
        self.stream = Stream::Encrypted(Box::new(encrypted));
        Ok(())
    }

    /// Sends bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = timeout(ANSWER_MAX, async {
            match &mut self.stream {
                Stream::Plain(stream) => stream.write_all(bytes).await,
                Stream::Encrypted(stream) => {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                }
                Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
            }
        });
        sent.await
            .with_context(|| format!("the server took nothing for {} s", ANSWER_MAX.as_secs()))?
            .context("cannot send to the server")
    }

    /// The next line, without its CRLF.
    pub(crate) async fn line(&mut self) -> Result<&[u8]> {
        let mut seen = self.from;
        loop {
            if let Some(at) = self.input[seen..].iter().position(|byte| *byte == b'\n') {
                let (start, end) = (self.from, seen + at);
                self.from = end + 1;
                if end == start || self.input[end - 1] != b'\r' {
                    bail!(
                        "a line of the server ends without CRLF: {:?}",
                        said(&self.input[start..end])
                    );
                }
                return Ok(&self.input[start..end - 1]);
            }
            let unused = self.input.len() - self.from;
            if unused > LINE_BYTES_MAX {
                bail!("a line of the server is longer than {LINE_BYTES_MAX} bytes");
            }
            self.fill().await?;
            seen = self.from + unused;
        }
    }

    /// The next so many bytes, all at once: for what is small.
    pub(crate) async fn take(&mut self, count: usize) -> Result<&[u8]> {
        while self.input.len() - self.from < count {
            self.fill().await?;
        }
        let start = self.from;
        self.from += count;
        Ok(&self.input[start..self.from])
    }

    /// Reads so many bytes and keeps none of them.
    pub(crate) async fn skip(&mut self, count: u64) -> Result<()> {
        let mut left = count;
        loop {
            let held = self.input.len() - self.from;
            let used = usize::try_from(left).map_or(held, |left| held.min(left));
            self.from += used;
            left -= used as u64;
            if left == 0 {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    /// Waits until something has come that is not used yet, however long that takes.
    pub(crate) async fn wait(&mut self) -> Result<()> {
        if self.from < self.input.len() {
            return Ok(());
        }
        self.read().await
    }

    /// Gives memory back that a connection at rest does not need.
    pub(crate) fn rest(&mut self) {
        if self.from == self.input.len() && self.input.capacity() > REST_BYTES {
            self.input = Vec::new();
            self.from = 0;
            self.read_bytes = READ_BYTES[0];
        }
    }

    async fn fill(&mut self) -> Result<()> {
        timeout(ANSWER_MAX, self.read())
            .await
            .with_context(|| format!("the server said nothing for {} s", ANSWER_MAX.as_secs()))?
    }

    async fn read(&mut self) -> Result<()> {
        if self.from > 0 {
            self.input.drain(..self.from);
            self.from = 0;
        }
        let wanted = self.read_bytes;
        self.input.reserve(wanted);
        let read = match &mut self.stream {
            Stream::Plain(stream) => stream.read_buf(&mut self.input).await,
            Stream::Encrypted(stream) => stream.read_buf(&mut self.input).await,
            Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
        };
        match read.context("cannot read from the server")? {
            0 => bail!("the server closed the connection"),
            read if read >= wanted => self.read_bytes = (wanted * 2).min(READ_BYTES[1]),
            _ => {}
        }
        Ok(())
    }
}

async fn open(address: SocketAddr, index: usize) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(source) = source(address.ip(), index) {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The source of a connection to loopback, so that thousands of them do not run out of ports.
fn source(to: IpAddr, index: usize) -> Option<IpAddr> {
    let last = u8::try_from(1 + index % SOURCES).ok()?;
    let IpAddr::V4(to) = to else { return None };
    to.is_loopback()
        .then_some(IpAddr::V4(Ipv4Addr::new(127, 0, 1, last)))
}

/// The beginning of what a server said, for an error.
pub(crate) fn said(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 200;
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_MAX)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock;

    #[tokio::test]
    async fn lines_and_counted_bytes_come_whole_however_they_are_cut() {
        let long = "x".repeat(200_000);
        let text = format!("* OK hello\r\n{{5}}\r\nab\r\ncrest\r\n{long}end\r\n");
        let endpoint = mock::saying(text.into_bytes(), 7).await;
        let mut wire = Wire::connect(&endpoint, 0).await.unwrap();
        assert_eq!(wire.line().await.unwrap(), b"* OK hello");
        assert_eq!(wire.line().await.unwrap(), b"{5}");
        assert_eq!(wire.take(5).await.unwrap(), b"ab\r\nc");
        assert_eq!(wire.line().await.unwrap(), b"rest");
        wire.skip(200_000).await.unwrap();
        assert_eq!(wire.line().await.unwrap(), b"end");
        wire.rest();
        let closed = wire.line().await.unwrap_err().to_string();
        assert_eq!(closed, "the server closed the connection");
    }

    #[tokio::test]
    async fn a_bare_line_feed_is_an_error() {
        let endpoint = mock::saying(b"* OK hello\n".to_vec(), 100).await;
        let mut wire = Wire::connect(&endpoint, 0).await.unwrap();
        assert!(
            wire.line()
                .await
                .unwrap_err()
                .to_string()
                .contains("without CRLF")
        );
    }

    #[tokio::test]
    async fn nobody_listening_says_what_to_look_at() {
        let endpoint = mock::nobody().await;
        let error = Wire::connect(&endpoint, 0).await.err().unwrap();
        assert!(
            format!("{error:#}").contains("is the server running"),
            "{error:#}"
        );
    }

    #[test]
    fn connections_to_loopback_have_many_sources_and_others_none() {
        let loopback = "127.0.0.1".parse().unwrap();
        assert_eq!(source(loopback, 0), "127.0.1.1".parse().ok());
        assert_eq!(source(loopback, 249), "127.0.1.250".parse().ok());
        assert_eq!(source(loopback, 250), "127.0.1.1".parse().ok());
        assert_eq!(source("192.0.2.1".parse().unwrap(), 0), None);
    }
}
