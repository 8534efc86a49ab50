//! The limits of the transport, and what a frame costs of a call's credit.

use std::time::Duration;

/// Credit with which each call begins, each way, in bytes. Part of the protocol: both sides count from it.
pub const WINDOW_BYTES: usize = 256 * 1024;

/// What a chunk or reply costs beside its data, so that empty ones are bounded too. Part of the protocol.
pub const FRAME_COST_BYTES: usize = 64;

/// A receiver grants new credit once this much was consumed. At least one largest piece still fits what is left.
pub(crate) const GRANT_BYTES: usize = WINDOW_BYTES / 4;

/// Largest batch that is taken, in bytes.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A writer closes a batch that has reached this size.
pub(crate) const BATCH_BYTES_TARGET: usize = 128 * 1024;

/// A writer closes a batch that has this many frames.
pub(crate) const BATCH_FRAMES_MAX: usize = 1024;

/// Bytes that may wait to be written on a stream: beyond, a caller refuses new calls and a callee reads no further.
pub const QUEUED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Calls that may be in flight on one stream, by default.
pub const CALLS_IN_FLIGHT_MAX: usize = 4096;

/// Connections that one listener holds, by default.
pub const CONNECTIONS_MAX: usize = 1024;

/// TLS handshakes that may be under way at one listener.
pub const HANDSHAKES_MAX: usize = 128;

/// Time a peer has for its TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// HTTP/2 streams of one connection; a caller needs one.
pub const STREAMS_MAX: u32 = 8;

/// How often a connection is tried. With the timeout it bounds how long a peer that is cut off, or stands still, is taken
/// for one that is there.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// When an unanswered trial ends the connection.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// HTTP/2 flow control windows: the calls have their own, so these only bound memory for each connection.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;

/// What a chunk or reply of so many bytes costs.
pub(crate) fn cost(bytes: usize) -> usize {
    bytes + FRAME_COST_BYTES
}
