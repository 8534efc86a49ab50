//! A whole command before it is parsed.

use bytes::Bytes;

/// A piece of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Segment {
    /// Text of a line, without its end and without a literal's marker.
    Text(Bytes),
    /// A literal that was collected.
    Literal {
        /// Its bytes.
        data: Bytes,
        /// Whether it was announced by `~{…}`.
        binary: bool,
    },
    /// An appended message that the connection took while it arrived.
    Streamed {
        /// How many bytes it had.
        size: u64,
    },
}

/// A command: text and literals in the order in which they came.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct RawCommand {
    segments: Vec<Segment>,
}

impl RawCommand {
    /// A command of these pieces.
    pub fn new(segments: Vec<Segment>) -> Self {
        Self { segments }
    }

    /// A command of one line, given without its end.
    pub fn from_line(line: &[u8]) -> Self {
        Self::new(vec![Segment::Text(Bytes::copy_from_slice(line))])
    }

    /// The pieces.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub(super) fn push(&mut self, segment: Segment) {
        self.segments.push(segment);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }
}

impl std::fmt::Debug for RawCommand {
    /// A password may be anywhere in a command, so only its shape is shown.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "RawCommand({} segments)", self.segments.len())
    }
}
