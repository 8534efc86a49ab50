//! A client's connection to a proxy: sends commands, gathers what comes until the tagged answer.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rookery_simulation::Here;
use rookery_tests::imap::Answer;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::time::timeout;

/// Longer than any deadline of the server: an answer that takes longer is a defect.
const ANSWER_MAX: Duration = Duration::from_secs(100);

/// A connection.
pub(crate) struct Connection {
    stream: BufReader<DuplexStream>,
    tags: u32,
}

impl Connection {
    /// Connects and reads the greeting.
    pub(crate) async fn open(here: &Here, proxy: &str) -> Result<Self> {
        let stream = here.connect(proxy, "imap").context("nobody listens")?;
        let mut connection = Self {
            stream: BufReader::new(stream),
            tags: 0,
        };
        let greeting = connection.response().await?;
        if !greeting.starts_with(b"* OK") {
            bail!("the server greeted with {:?}", String::from_utf8_lossy(&greeting));
        }
        Ok(connection)
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        timeout(ANSWER_MAX, self.stream.get_mut().write_all(bytes))
            .await
            .context("the server takes nothing")??;
        Ok(())
    }

    /// Sends a command without waiting; its tag.
    pub(crate) async fn begin(&mut self, line: &str) -> Result<String> {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.send(format!("{tag} {line}\r\n").as_bytes()).await?;
        Ok(tag)
    }

    /// Sends a command and reads to its tagged answer.
    pub(crate) async fn command(&mut self, line: &str) -> Result<Answer> {
        let tag = self.begin(line).await?;
        self.finish(&tag).await
    }

    /// Reads to the tagged answer of a command.
    pub(crate) async fn finish(&mut self, tag: &str) -> Result<Answer> {
        let mut untagged = Vec::new();
        loop {
            let response = self.response().await?;
            match tagged(&response, tag) {
                Some(tagged) => return Ok(Answer { untagged, tagged }),
                None => untagged.push(response),
            }
        }
    }

    /// Appends a message with a synchronising literal. A server that does not want it says so before.
    pub(crate) async fn append(&mut self, mailbox: &str, flags: &str, message: &str) -> Result<Answer> {
        let tag = self
            .begin(&format!("APPEND {mailbox} {flags} {{{}}}", message.len()))
            .await?;
        let mut untagged = Vec::new();
        loop {
            let response = self.response().await?;
            if let Some(tagged) = tagged(&response, &tag) {
                return Ok(Answer { untagged, tagged });
            }
            if response.starts_with(b"+") {
                break;
            }
            untagged.push(response);
        }
        self.send(message.as_bytes()).await?;
        self.send(b"\r\n").await?;
        let mut answer = self.finish(&tag).await?;
        untagged.append(&mut answer.untagged);
        Ok(Answer { untagged, ..answer })
    }

    /// One response with its literals, without the last CRLF.
    pub(crate) async fn response(&mut self) -> Result<Vec<u8>> {
        timeout(ANSWER_MAX, self.read())
            .await
            .context("the server does not answer")?
    }

    /// Whether a response, or the end, has begun to arrive within so long.
    pub(crate) async fn wait_pending(&mut self, longest: Duration) -> bool {
        timeout(longest, self.stream.fill_buf()).await.is_ok()
    }

    async fn read(&mut self) -> Result<Vec<u8>> {
        let mut response = Vec::new();
        loop {
            if self.stream.read_until(b'\n', &mut response).await? == 0 {
                bail!(
                    "the server closed the connection after {:?}",
                    String::from_utf8_lossy(&response[..response.len().min(200)])
                );
            }
            let Some(size) = literal(&response) else {
                response.truncate(response.trim_ascii_end().len());
                return Ok(response);
            };
            let start = response.len();
            response.resize(start + size, 0);
            self.stream.read_exact(&mut response[start..]).await?;
        }
    }
}

fn tagged(response: &[u8], tag: &str) -> Option<String> {
    let rest = response.strip_prefix(tag.as_bytes())?.strip_prefix(b" ")?;
    Some(String::from_utf8_lossy(rest).into_owned())
}

/// The size of the literal that a line ends with.
fn literal(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}\r\n")?;
    let open = line.iter().rposition(|byte| *byte == b'{')?;
    std::str::from_utf8(&line[open + 1..]).ok()?.parse().ok()
}
