//! A small IMAP client for tests: sends lines, gathers what comes until the tagged answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Longer than any deadline of the server: a read that takes longer is a defect.
const READ_MAX: Duration = Duration::from_secs(60);

/// A connection to an IMAP server.
pub struct ImapClient {
    reader: BufReader<TcpStream>,
    tags: u32,
    /// The server's goodbye, without its CRLF.
    bye: Option<String>,
}

/// What the server said to one command.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Untagged responses in order, literals within, each without its last CRLF.
    pub untagged: Vec<Vec<u8>>,
    /// The tagged line without its tag.
    pub tagged: String,
}

impl Answer {
    /// An error unless the command succeeded.
    pub fn ok(self) -> Result<Self> {
        if !self.tagged.starts_with("OK") {
            bail!("the server answered {:?}", self.tagged);
        }
        Ok(self)
    }

    /// The untagged responses as text.
    pub fn lines(&self) -> Vec<String> {
        self.untagged
            .iter()
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect()
    }

    /// The numbers of a SEARCH response.
    pub fn search(&self) -> Vec<u32> {
        let lines = self.lines();
        let found = lines.iter().filter_map(|line| line.strip_prefix("* SEARCH"));
        found
            .flat_map(|line| line.split_whitespace().filter_map(|number| number.parse().ok()))
            .collect()
    }

    /// N of the last `* N EXISTS`.
    pub fn exists(&self) -> Option<u32> {
        self.lines()
            .iter()
            .rev()
            .find_map(|line| line.strip_prefix("* ")?.strip_suffix(" EXISTS")?.parse().ok())
    }

    /// The number after a response code such as `UIDVALIDITY`, in an untagged line or the tagged one.
    pub fn code(&self, name: &str) -> Option<u64> {
        let mut lines = self.lines();
        lines.push(self.tagged.clone());
        let start = format!("[{name} ");
        lines.iter().find_map(|line| {
            let rest = &line[line.find(&start)? + start.len()..];
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        })
    }
}

impl ImapClient {
    /// Connects and reads the greeting.
    pub fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_read_timeout(Some(READ_MAX))?;
        stream.set_nodelay(true)?;
        let mut client = Self {
            reader: BufReader::new(stream),
            tags: 0,
            bye: None,
        };
        let greeting = client.response()?;
        if !greeting.starts_with(b"* OK") {
            bail!("the server greeted with {:?}", String::from_utf8_lossy(&greeting));
        }
        Ok(client)
    }

    /// Connects and logs in with the playground's password.
    pub fn login(address: &str, user: &str) -> Result<Self> {
        let mut client = Self::connect(address)?;
        client.command(&format!("LOGIN {user} playground"))?.ok()?;
        Ok(client)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.reader.get_mut().write_all(bytes)?;
        Ok(())
    }

    /// Sends a command and reads to its tagged answer.
    pub fn command(&mut self, line: &str) -> Result<Answer> {
        let tag = self.begin(line)?;
        self.finish(&tag)
    }

    /// Sends a command without waiting; its tag.
    pub fn begin(&mut self, line: &str) -> Result<String> {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.send(format!("{tag} {line}\r\n").as_bytes())?;
        Ok(tag)
    }

    /// Reads to the tagged answer of a command.
    pub fn finish(&mut self, tag: &str) -> Result<Answer> {
        let mut untagged = Vec::new();
        loop {
            let response = self.response()?;
            match response.strip_prefix(tag.as_bytes()) {
                Some(rest) if rest.first() == Some(&b' ') => {
                    return Ok(Answer {
                        untagged,
                        tagged: String::from_utf8_lossy(&rest[1..]).into_owned(),
                    });
                }
                _ => untagged.push(response),
            }
        }
    }

    /// Appends a message to a mailbox with a synchronising literal. A server that does not want it says so before.
    pub fn append(&mut self, mailbox: &str, flags: &str, message: &str) -> Result<Answer> {
        let tag = self.begin(&format!("APPEND {mailbox} {flags} {{{}}}", message.len()))?;
        let mut untagged = Vec::new();
        loop {
            let response = self.response()?;
            match response.strip_prefix(tag.as_bytes()) {
                Some(rest) if rest.first() == Some(&b' ') => {
                    let tagged = String::from_utf8_lossy(&rest[1..]).into_owned();
                    return Ok(Answer { untagged, tagged });
                }
                _ if response.starts_with(b"+") => break,
                _ => untagged.push(response),
            }
        }
        self.send(message.as_bytes())?;
        self.send(b"\r\n")?;
        let mut answer = self.finish(&tag)?;
        untagged.append(&mut answer.untagged);
        Ok(Answer { untagged, ..answer })
    }

    /// Whether a response has begun to arrive; waits for nothing.
    pub fn has_pending(&mut self) -> Result<bool> {
        if !self.reader.buffer().is_empty() {
            return Ok(true);
        }
        let stream = self.reader.get_ref();
        stream.set_nonblocking(true)?;
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false)?;
        match peeked {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads so many bytes as they come, such as a part of a literal.
    pub fn bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads one line, without its CRLF and without the literal that it may announce.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    /// Waits until a response has begun to arrive, or so long; whether one has. The end of the connection counts as one.
    pub fn wait_pending(&mut self, longest: Duration) -> Result<bool> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        if !self.reader.buffer().is_empty() {
            return Ok(true);
        }
        let mut fds = [PollFd::new(self.reader.get_ref(), PollFlags::IN)];
        Ok(poll(&mut fds, Some(&Timespec::try_from(longest)?))? > 0)
    }

    /// One response with its literals, without the last CRLF. At the connection's end the error holds the server's goodbye.
    pub fn response(&mut self) -> Result<Vec<u8>> {
        let read = self.read_response();
        match (&read, &self.bye) {
            (Ok(response), _) if response.starts_with(b"* BYE") => {
                self.bye = Some(String::from_utf8_lossy(response).into_owned());
                read
            }
            (Err(_), Some(bye)) => read.with_context(|| format!("the server had said {bye:?}")),
            _ => read,
        }
    }

    fn read_response(&mut self) -> Result<Vec<u8>> {
        let mut response = Vec::new();
        loop {
            if self.reader.read_until(b'\n', &mut response)? == 0 {
                bail!(
                    "the server closed the connection after {:?}",
                    String::from_utf8_lossy(&response)
                );
            }
            if !response.ends_with(b"\r\n") {
                bail!(
                    "a line of the server does not end in CRLF: {:?}",
                    String::from_utf8_lossy(&response)
                );
            }
            let Some(size) = literal(&response) else {
                response.truncate(response.len() - 2);
                return Ok(response);
            };
            let start = response.len();
            response.resize(start + size, 0);
            self.reader.read_exact(&mut response[start..])?;
        }
    }
}

/// The size of the literal that a line ends with.
fn literal(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}\r\n")?;
    let open = line.iter().rposition(|byte| *byte == b'{')?;
    std::str::from_utf8(&line[open + 1..]).ok()?.parse().ok()
}

/// The literals of a response, in order.
pub fn literals(response: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut rest = response;
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let (line, after) = rest.split_at(end + 2);
        match literal(line) {
            Some(size) if size <= after.len() => {
                found.push(after[..size].to_vec());
                rest = &after[size..];
            }
            _ => rest = after,
        }
    }
    found
}
