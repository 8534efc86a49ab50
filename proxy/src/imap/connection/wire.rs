//! Bytes from and to one client: what was read and not yet taken, what was written and not yet sent.
//!
//! Both buffers are gone while the client is silent. A client that does not read is waited for once, for a bounded time.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::imap::answer::End;

/// Bytes read at once while a client is silent.
const IDLE_READ_BYTES: usize = 64;

/// Bytes read at once while a command arrives.
const READ_BYTES: usize = 32 * 1024;

/// Bytes of output that are gathered before they are sent in the midst of a command.
const OUTPUT_BYTES: usize = 32 * 1024;

/// A client's connection, whatever it runs over.
pub trait ClientStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + ?Sized> ClientStream for T {}

/// One client's bytes.
pub(in crate::imap) struct Wire {
    stream: Box<dyn ClientStream>,
    write_timeout: Duration,
    /// Read and not yet taken.
    pub input: BytesMut,
    /// Written and not yet sent.
    pub output: Vec<u8>,
}

impl Wire {
    pub(super) fn new(stream: Box<dyn ClientStream>, write_timeout: Duration) -> Self {
        Self {
            stream,
            write_timeout,
            input: BytesMut::new(),
            output: Vec::new(),
        }
    }

    /// Reads some more; `idle` when no command has begun. Cancel-safe.
    pub(in crate::imap) async fn fill(&mut self, idle: bool) -> Result<(), End> {
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

    /// Puts a line that was taken back before what has not been taken.
    pub(in crate::imap) fn unread_line(&mut self, line: &[u8]) {
        let mut input = BytesMut::with_capacity(line.len() + 2 + self.input.len());
        input.extend_from_slice(line);
        input.extend_from_slice(b"\r\n");
        input.extend_from_slice(&self.input);
        self.input = input;
    }

    /// Sends what has gathered.
    pub(in crate::imap) async fn flush(&mut self) -> Result<(), End> {
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
        self.output.clear();
        if self.output.capacity() > OUTPUT_BYTES * 2 {
            self.output = Vec::new();
        }
        Ok(())
    }

    /// Sends what has gathered if it is much.
    pub(in crate::imap) async fn drain(&mut self) -> Result<(), End> {
        if self.output.len() < OUTPUT_BYTES {
            return Ok(());
        }
        self.flush().await
    }

    /// Gives the output's memory back; the client is about to be silent.
    pub(in crate::imap) fn rest(&mut self) {
        if self.output.is_empty() {
            self.output = Vec::new();
        }
    }

    /// Ends the connection in an orderly way, as far as it goes.
    pub(super) async fn shut_down(&mut self) {
        // The client may be gone already.
        let _ = timeout(
            self.write_timeout.min(Duration::from_secs(5)),
            self.stream.shutdown(),
        )
        .await;
    }

    /// Takes the stream out, to wrap it.
    pub(in crate::imap) fn take_stream(&mut self) -> Box<dyn ClientStream> {
        std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()))
    }

    /// Puts the wrapped stream in.
    pub(in crate::imap) fn put_stream(&mut self, stream: Box<dyn ClientStream>) {
        self.stream = stream;
    }
}
