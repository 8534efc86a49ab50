//! A client that plays its part of a written dialog.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::imap::ClientStream;

/// How long an answer may take before a test is said to hang.
const ANSWER_MAX: Duration = Duration::from_secs(20);

pub(super) struct Client {
    stream: Box<dyn ClientStream>,
    read: Vec<u8>,
}

impl Client {
    pub(super) fn new(stream: Box<dyn ClientStream>) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Plays a dialog. Lines of `C:` that follow each other are sent in one piece; a `*` at the end of a line of `S:`
    /// stands for anything. `S: closed` is the end of the connection.
    pub(super) async fn plays(&mut self, dialog: &str) {
        let mut batch = Vec::new();
        for line in dialog
            .lines()
            .map(str::trim_start)
            .filter(|line| !line.is_empty())
        {
            if let Some(text) = line.strip_prefix("C:") {
                batch.extend_from_slice(text.strip_prefix(' ').unwrap_or(text).as_bytes());
                batch.extend_from_slice(b"\r\n");
                continue;
            }
            self.send(&std::mem::take(&mut batch)).await;
            let expected = line.strip_prefix("S: ").expect(line);
            if expected == "closed" {
                assert_eq!(self.line().await, None, "instead of the end");
                continue;
            }
            let line = self
                .line()
                .await
                .unwrap_or_else(|| panic!("the end instead of {expected:?}"));
            match expected.strip_suffix('*') {
                Some(start) => assert!(line.starts_with(start), "{line:?} instead of {expected:?}"),
                None => assert_eq!(line, expected),
            }
        }
        self.send(&batch).await;
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            timeout(ANSWER_MAX, self.stream.write_all(bytes))
                .await
                .expect("the server takes it")
                .unwrap();
        }
    }

    /// The next line; `None` at the end.
    pub(super) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.read.drain(..end + 2).collect();
                return Some(String::from_utf8(line[..end].to_vec()).unwrap());
            }
            let mut more = [0; 4096];
            let read = timeout(ANSWER_MAX, self.stream.read(&mut more))
                .await
                .expect("an answer in time");
            match read {
                Ok(read) if read > 0 => self.read.extend_from_slice(&more[..read]),
                _ => {
                    assert!(self.read.is_empty(), "cut off within a line");
                    return None;
                }
            }
        }
    }

    pub(super) fn into_stream(self) -> Box<dyn ClientStream> {
        assert!(
            self.read.is_empty(),
            "something was said too much: {:?}",
            self.read
        );
        self.stream
    }
}
