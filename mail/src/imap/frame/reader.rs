//! The reader's state machine.
//!
//! The connection owns the input buffer and appends what it has read; the reader takes from its front. Whatever
//! belongs to later commands stays in the buffer, so a connection that must drop pipelined input (STARTTLS) clears
//! the buffer and calls [`CommandReader::reset`]. An idle reader owns no memory.

use bytes::{Buf as _, Bytes, BytesMut};

use super::literal::{Marker, split_marker};
use super::{Event, Limits, LineEvent, RawCommand, Recovery, RejectReason, Rejection, Segment};
use crate::imap::parse::{self, AppendPrefix};
use crate::imap::types::Tag;

/// How much of a discarded line is looked at, to see whether it ends in a literal's marker.
const MARKER_BYTES_MAX: usize = 48;
/// How much of a discarded line is kept: a marker and the line's end.
const DISCARD_KEPT_BYTES: usize = MARKER_BYTES_MAX + 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Within or before a line of a command.
    Line,
    /// Within a literal that is collected.
    Literal { size: usize, binary: bool },
    /// The message of an APPEND was announced and the connection has not decided.
    Announced(Marker),
    /// Within the message of an APPEND.
    Streaming { remaining: u64 },
    /// Skipping a refused command: first so many bytes of a literal, then lines.
    Discarding { literal_remaining: u64, skipped: u64 },
    /// Nothing more will be read.
    Closed,
}

/// Reads commands from a connection's input. One for each connection.
#[derive(Debug)]
pub struct CommandReader {
    limits: Limits,
    state: State,
    command: RawCommand,
    /// Bytes of the command so far, streamed messages not counted.
    command_bytes: usize,
    /// Bytes at the front of the input that hold no line end.
    scanned: usize,
}

impl CommandReader {
    /// A reader at the start of a connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Line,
            command: RawCommand::default(),
            command_bytes: 0,
            scanned: 0,
        }
    }

    /// Changes the limits, from the next line on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Forgets what was read of an unfinished command; the connection cleared its input.
    pub fn reset(&mut self) {
        *self = Self::new(self.limits);
    }

    /// Whether the reader stands between two commands (a rest in the input is not looked at).
    pub fn is_between_commands(&self) -> bool {
        self.state == State::Line && self.command.is_empty()
    }

    /// Takes what it can from the front of `input`. Call again until it says [`Event::NeedMore`].
    pub fn next(&mut self, input: &mut BytesMut) -> Event {
        loop {
            let event = match self.state {
                State::Line => self.line(input),
                State::Literal { size, binary } => self.literal(input, size, binary),
                State::Announced(_) => Some(Event::NeedMore),
                State::Streaming { remaining } => self.stream(input, remaining),
                State::Discarding {
                    literal_remaining,
                    skipped,
                } => self.discard(input, literal_remaining, skipped),
                State::Closed => {
                    input.clear();
                    Some(Event::NeedMore)
                }
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    /// Takes one line as it is: for the answers within AUTHENTICATE and for IDLE's DONE.
    pub fn next_line(&mut self, input: &mut BytesMut) -> LineEvent {
        if let State::Discarding {
            literal_remaining,
            skipped,
        } = self.state
        {
            match self.discard(input, literal_remaining, skipped) {
                None => {}
                Some(Event::NeedMore) => return LineEvent::NeedMore,
                Some(_) => return LineEvent::TooLong,
            }
        }
        if self.state == State::Closed {
            input.clear();
            return LineEvent::TooLong;
        }
        match self.take_line(input) {
            TakenLine::None => LineEvent::NeedMore,
            TakenLine::TooLong => {
                self.start_discarding(0);
                LineEvent::TooLong
            }
            TakenLine::Line(line) => LineEvent::Line(line),
        }
    }

    /// Lets the announced message in. The return value says whether the client waits for a continuation request.
    pub fn accept_append(&mut self) -> bool {
        let State::Announced(marker) = self.state else {
            return false;
        };
        self.state = State::Streaming {
            remaining: marker.size,
        };
        self.command.push(Segment::Streamed { size: marker.size });
        marker.synchronising
    }

    /// Refuses the announced message; the connection answers with the tagged NO or BAD.
    pub fn refuse_append(&mut self) -> Recovery {
        let State::Announced(marker) = self.state else {
            return Recovery::Ready;
        };
        self.refuse_literal(marker)
    }

    fn line(&mut self, input: &mut BytesMut) -> Option<Event> {
        let line = match self.take_line(input) {
            TakenLine::None => return Some(Event::NeedMore),
            TakenLine::TooLong => {
                let tag = self.tag_or(input);
                self.start_discarding(0);
                let reason = RejectReason::LineTooLong {
                    max: self.limits.line_bytes_max,
                };
                return Some(Event::Rejected(Rejection {
                    tag,
                    reason,
                    recovery: Recovery::Discarding,
                }));
            }
            TakenLine::Line(line) => line,
        };
        if line.is_empty() && self.command.is_empty() {
            // iOS sends an empty line before a tag.
            return None;
        }
        self.command_bytes = self.command_bytes.saturating_add(line.len());
        let marker = split_marker(&line);
        let text = marker.map_or(line.len(), |(text, _)| text);
        self.command.push(Segment::Text(line.slice(..text)));
        let Some((_, marker)) = marker else {
            if self.command_bytes > self.limits.command_bytes_max {
                let tag = self.tag();
                self.start_command();
                let reason = RejectReason::CommandTooLong {
                    max: self.limits.command_bytes_max,
                };
                return Some(Event::Rejected(Rejection {
                    tag,
                    reason,
                    recovery: Recovery::Ready,
                }));
            }
            let command = std::mem::take(&mut self.command);
            self.start_command();
            return Some(Event::Command(command));
        };
        self.announce(marker)
    }

    /// Decides on a literal at the end of a line; `None` when its bytes can be taken at once.
    fn announce(&mut self, marker: Marker) -> Option<Event> {
        if self.command_bytes > self.limits.command_bytes_max {
            return self.reject(
                marker,
                RejectReason::CommandTooLong {
                    max: self.limits.command_bytes_max,
                },
            );
        }
        match parse::append_prefix(self.command.segments()) {
            Ok(AppendPrefix::Message(mut head)) => {
                if marker.size > self.limits.append_bytes_max {
                    let max = self.limits.append_bytes_max;
                    return self.reject(
                        marker,
                        RejectReason::MessageTooLarge {
                            size: marker.size,
                            max,
                        },
                    );
                }
                head.size = marker.size;
                head.synchronising = marker.synchronising;
                head.binary = marker.binary;
                self.state = State::Announced(marker);
                return Some(Event::AppendLiteral(head));
            }
            Ok(AppendPrefix::NoMessageYet) => {}
            Err(error) => return self.reject(marker, RejectReason::Append(error)),
        }
        let max = self.limits.literal_bytes_max;
        let Some(size) = usize::try_from(marker.size).ok().filter(|size| *size <= max) else {
            return self.reject(
                marker,
                RejectReason::LiteralTooLarge {
                    size: marker.size,
                    max,
                },
            );
        };
        self.command_bytes = self.command_bytes.saturating_add(size);
        if self.command_bytes > self.limits.command_bytes_max {
            return self.reject(
                marker,
                RejectReason::CommandTooLong {
                    max: self.limits.command_bytes_max,
                },
            );
        }
        self.state = State::Literal {
            size,
            binary: marker.binary,
        };
        marker.synchronising.then_some(Event::Continue { size })
    }

    fn literal(&mut self, input: &mut BytesMut, size: usize, binary: bool) -> Option<Event> {
        if input.len() < size {
            return Some(Event::NeedMore);
        }
        let data = input.split_to(size).freeze();
        self.command.push(Segment::Literal { data, binary });
        self.state = State::Line;
        None
    }

    fn stream(&mut self, input: &mut BytesMut, remaining: u64) -> Option<Event> {
        if remaining == 0 {
            self.state = State::Line;
            return None;
        }
        if input.is_empty() {
            return Some(Event::NeedMore);
        }
        let length = usize::try_from(remaining).map_or(input.len(), |remaining| remaining.min(input.len()));
        self.state = State::Streaming {
            remaining: remaining - length as u64,
        };
        Some(Event::AppendChunk(input.split_to(length).freeze()))
    }

    /// Skips a refused command; `None` when its end was found.
    fn discard(
        &mut self,
        input: &mut BytesMut,
        mut literal_remaining: u64,
        mut skipped: u64,
    ) -> Option<Event> {
        loop {
            let of_literal = usize::try_from(literal_remaining)
                .map_or(input.len(), |remaining| remaining.min(input.len()));
            input.advance(of_literal);
            literal_remaining -= of_literal as u64;
            skipped = skipped.saturating_add(of_literal as u64);
            let mut ended = false;
            if literal_remaining == 0 {
                if let Some(end) = memchr::memchr(b'\n', input) {
                    let line = input.split_to(end + 1);
                    skipped = skipped.saturating_add(line.len() as u64);
                    let text = without_line_end(&line);
                    match split_marker(&text[text.len().saturating_sub(MARKER_BYTES_MAX)..]) {
                        Some((_, marker)) if !marker.synchronising => literal_remaining = marker.size,
                        // Behind a synchronising literal the client waits, and sees the answer it already has.
                        _ => ended = true,
                    }
                } else {
                    let excess = input.len().saturating_sub(DISCARD_KEPT_BYTES);
                    input.advance(excess);
                    skipped = skipped.saturating_add(excess as u64);
                    self.state = State::Discarding {
                        literal_remaining,
                        skipped,
                    };
                    return self.discard_limit(skipped, 0).or(Some(Event::NeedMore));
                }
            }
            if let Some(event) = self.discard_limit(skipped, literal_remaining) {
                return Some(event);
            }
            if ended {
                self.start_command();
                return None;
            }
            if input.is_empty() {
                self.state = State::Discarding {
                    literal_remaining,
                    skipped,
                };
                return Some(Event::NeedMore);
            }
        }
    }

    fn discard_limit(&mut self, skipped: u64, expected: u64) -> Option<Event> {
        if skipped.saturating_add(expected) <= self.limits.discard_bytes_max {
            return None;
        }
        self.start_command();
        self.state = State::Closed;
        let reason = RejectReason::DiscardTooLarge;
        Some(Event::Rejected(Rejection {
            tag: None,
            reason,
            recovery: Recovery::Close,
        }))
    }

    fn reject(&mut self, marker: Marker, reason: RejectReason) -> Option<Event> {
        let tag = self.tag();
        let recovery = self.refuse_literal(marker);
        Some(Event::Rejected(Rejection {
            tag,
            reason,
            recovery,
        }))
    }

    fn refuse_literal(&mut self, marker: Marker) -> Recovery {
        self.start_command();
        if marker.synchronising {
            // The client has not sent the literal and does not send it after a tagged answer. RFC 3501 §7.5.
            Recovery::Ready
        } else if marker.size > self.limits.discard_bytes_max {
            self.state = State::Closed;
            Recovery::Close
        } else {
            // RFC 7888 §4: the client sends it whatever we answer.
            self.start_discarding(marker.size);
            Recovery::Discarding
        }
    }

    fn start_discarding(&mut self, literal_remaining: u64) {
        self.start_command();
        self.state = State::Discarding {
            literal_remaining,
            skipped: 0,
        };
    }

    fn start_command(&mut self) {
        self.state = State::Line;
        self.command = RawCommand::default();
        self.command_bytes = 0;
        self.scanned = 0;
    }

    fn tag(&self) -> Option<Tag> {
        parse::tag_of(self.command.segments())
    }

    /// The tag of the command so far, or of the line at the front of the input.
    fn tag_or(&self, input: &[u8]) -> Option<Tag> {
        if !self.command.is_empty() {
            return self.tag();
        }
        let front = &input[..input
            .len()
            .min(Tag::BYTES_MAX + 1)
            .min(self.limits.line_bytes_max)];
        parse::tag_of(&[Segment::Text(Bytes::copy_from_slice(front))])
    }

    /// Takes a line up to CRLF or a bare LF, as many servers do; a CR elsewhere is left to the parser to refuse.
    fn take_line(&mut self, input: &mut BytesMut) -> TakenLine {
        let from = self.scanned.min(input.len());
        match memchr::memchr(b'\n', &input[from..]) {
            None if input.len() > self.limits.line_bytes_max + 1 => TakenLine::TooLong,
            None => {
                self.scanned = input.len();
                TakenLine::None
            }
            Some(end) => {
                let length = without_line_end(&input[..from + end + 1]).len();
                if length > self.limits.line_bytes_max {
                    return TakenLine::TooLong;
                }
                self.scanned = 0;
                let mut line = input.split_to(from + end + 1);
                line.truncate(length);
                TakenLine::Line(line.freeze())
            }
        }
    }
}

enum TakenLine {
    None,
    TooLong,
    Line(Bytes),
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
