//! From bytes as they arrive to whole commands: lines, literals, limits.
//!
//! [`CommandReader`] says what the connection has to do next and never does it. It knows of the grammar only what
//! is needed to hand the message of an APPEND through without collecting it.

mod event;
mod limits;
mod literal;
mod raw;
mod reader;
#[cfg(test)]
mod tests;

pub use event::{Event, LineEvent, Recovery, RejectReason, Rejection};
pub use limits::Limits;
pub use raw::{RawCommand, Segment};
pub use reader::CommandReader;
