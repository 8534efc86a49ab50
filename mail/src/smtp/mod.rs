//! SMTP (RFC 5321), submission (RFC 6409) and LMTP (RFC 2033), the server's side, without I/O.
//!
//! A connection puts the parts together. It owns the socket, the clock and the calls to other
//! machines; everything that can be decided without them is decided here:
//!
//! 1. It makes a [`session::Session`] and writes [`session::Session::greeting`].
//! 2. It feeds what it reads to a [`line::LineReader`] and hands every line it gets to
//!    [`session::Session::take_line`], one at a time, finishing each [`session::Action`] before the
//!    next line: that keeps pipelined commands in order (RFC 2920 §3.2). Answers are gathered, and
//!    flushed when no complete line is left in the buffer, before any wait, and before content.
//! 3. [`session`] says for each action what to do and which method takes its outcome.
//! 4. For DATA it feeds the bytes behind the command to a [`data::DataDecoder`], passes the decoded
//!    slices on as they come, shows them to a [`hops::HopCounter`], and goes back to lines with what
//!    the decoder has not consumed. Chunks of BDAT are counted and passed on as they are.
//! 5. [`trace`] makes the `Received:` and `Return-Path:` lines.
//!
//! Nothing in here allocates more than a named limit for what a client sends.

pub mod command;
pub mod data;
pub mod hops;
pub mod line;
pub mod path;
pub mod reply;
pub mod session;
pub mod trace;

mod cmd;
