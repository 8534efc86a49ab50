//! The limits within which a client may speak.

/// Bounds on what a [`super::CommandReader`] holds and skips. A session raises them after login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of one line, its end not counted.
    pub line_bytes_max: usize,
    /// Bytes of one literal that is collected.
    pub literal_bytes_max: usize,
    /// Bytes of a whole command, streamed messages not counted.
    pub command_bytes_max: usize,
    /// Bytes of one appended message.
    pub append_bytes_max: u64,
    /// Bytes that are skipped after a refusal before the connection is given up.
    pub discard_bytes_max: u64,
}

impl Limits {
    /// For a client that has not logged in: room for a login and nothing more.
    pub const BEFORE_LOGIN: Self = Self {
        line_bytes_max: 8 * 1024,
        literal_bytes_max: 4 * 1024,
        command_bytes_max: 16 * 1024,
        append_bytes_max: 0,
        discard_bytes_max: 256 * 1024,
    };
}

impl Default for Limits {
    /// For a client that has logged in.
    fn default() -> Self {
        Self {
            line_bytes_max: 64 * 1024,
            literal_bytes_max: 64 * 1024,
            command_bytes_max: 256 * 1024,
            append_bytes_max: 64 * 1024 * 1024,
            discard_bytes_max: 256 * 1024 * 1024,
        }
    }
}
