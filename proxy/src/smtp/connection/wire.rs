//! Bytes from and to one client: what was read and not yet taken, what was answered and not yet sent.
//!
//! Both buffers are gone while the client is silent. A client that does not read is waited for once, for a bounded time.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::poll_immediate;
use rookery_mail::smtp::reply::Reply;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::End;
use crate::imap::ClientStream;

/// Bytes read at once while a client is silent.
const IDLE_READ_BYTES: usize = 64;

/// Bytes read at once while a client speaks.
const READ_BYTES: usize = 32 * 1024;

/// Bytes of answers that are gathered before they are sent in the midst of a batch of commands.
const OUTPUT_BYTES: usize = 16 * 1024;

/// Bytes that a client may have sent behind STARTTLS; who sends more is sent away.
const DROPPED_BYTES_MAX: usize = 64 * 1024;

/// How long the orderly end of a connection may take.
const SHUT_DOWN_MAX: Duration = Duration::from_secs(5);

/// One client's bytes.
pub(super) struct Wire {
    stream: Box<dyn ClientStream>,
    write_timeout: Duration,
    /// Read and not yet taken.
    pub(super) input: BytesMut,
    output: Vec<u8>,
    /// The greatest code of a reply to the command that is being answered; 0: there was none.
    worst: u16,
}

impl Wire {
    pub(super) fn new(stream: Box<dyn ClientStream>, write_timeout: Duration) -> Self {
        Self {
            stream,
            write_timeout,
            input: BytesMut::new(),
            output: Vec::new(),
            worst: 0,
        }
    }

    /// Reads some more; `idle` when no command has begun. Cancel-safe.
    pub(super) async fn fill(&mut self, idle: bool) -> Result<(), End> {
        let read = if idle && self.input.is_empty() {
            // Gives back the memory of the last command.
            self.input = BytesMut::new();
            let mut small = [0; IDLE_READ_BYTES];
            let read = self.stream.read(&mut small).await?;
            self.input.extend_from_slice(&small[..read]);
            read
        } else {
            self.input.reserve(READ_BYTES);
            self.stream.read_buf(&mut self.input).await?
        };
        if read == 0 { Err(End::Closed) } else { Ok(()) }
    }

    /// Answers; sent with the next flush.
    pub(super) fn reply(&mut self, reply: &Reply) {
        self.worst = self.worst.max(reply.code());
        reply.encode(&mut self.output);
    }

    /// What is answered from now on is to another command.
    pub(super) fn begin_command(&mut self) {
        self.worst = 0;
    }

    /// The greatest code of a reply to the command; 0: there was none.
    pub(super) fn worst(&self) -> u16 {
        self.worst
    }

    /// Sends what has gathered if it is much.
    pub(super) async fn drain(&mut self) -> Result<(), End> {
        if self.output.len() < OUTPUT_BYTES {
            Ok(())
        } else {
            self.flush().await
        }
    }

    /// Sends what has gathered.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        if self.output.is_empty() {
            return Ok(());
        }
        let mut sent = 0;
        while sent < self.output.len() {
            let write = self.stream.write(&self.output[sent..]);
            let written = timeout(self.write_timeout, write)
                .await
                .map_err(|_| End::WriteTimeout)??;
            if written == 0 {
                return Err(End::Closed);
            }
            sent += written;
        }
        timeout(self.write_timeout, self.stream.flush())
            .await
            .map_err(|_| End::WriteTimeout)??;
        self.output = Vec::new();
        Ok(())
    }

    /// Drops everything that the client has sent so far, read or not.
    pub(super) async fn drop_input(&mut self) -> Result<(), End> {
        self.input = BytesMut::new();
        let mut piece = [0; 512];
        let mut dropped = 0;
        while let Some(read) = poll_immediate(self.stream.read(&mut piece)).await {
            let read = read?;
            dropped += read;
            if read == 0 || dropped > DROPPED_BYTES_MAX {
                return Err(End::Closed);
            }
        }
        Ok(())
    }

    /// Drops everything that was read, and takes the stream out, to wrap it.
    pub(super) fn take_stream(&mut self) -> Box<dyn ClientStream> {
        self.input = BytesMut::new();
        std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()))
    }

    /// Puts the wrapped stream in.
    pub(super) fn put_stream(&mut self, stream: Box<dyn ClientStream>) {
        self.stream = stream;
    }

    /// Ends the connection in an orderly way, as far as it goes.
    pub(super) async fn shut_down(&mut self) {
        // The client may be gone already.
        let _ = timeout(self.write_timeout.min(SHUT_DOWN_MAX), self.stream.shutdown()).await;
    }
}
