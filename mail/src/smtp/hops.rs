//! Counts the hops of a message, RFC 5321 §6.3: its `Received:` header lines.
//!
//! Owns nothing but that count. It reads the header as it streams by, a few octets of state whatever
//! the size, and must never look into the body.

/// A message with more hops is looping; RFC 5321 §6.3 asks for at least 100.
pub const HOPS_MAX: u32 = 100;

const FIELD: &[u8] = b"received:";

/// Counts `Received:` lines in decoded content, in any pieces.
#[derive(Debug, Clone, Default)]
pub struct HopCounter {
    hops: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    /// At the beginning of a line.
    #[default]
    LineStart,
    /// Behind a CR that begins a line.
    LineStartCr,
    /// This many octets of the line match `Received:`.
    Matching(u8),
    /// Inside a line that is of no interest any more.
    Skipping,
    /// Behind the empty line.
    Body,
}

impl HopCounter {
    /// A counter at the beginning of a message.
    pub fn new() -> HopCounter {
        HopCounter::default()
    }

    /// Takes the next piece of content.
    pub fn take(&mut self, content: &[u8]) {
        let mut at = 0;
        while let Some(&byte) = content.get(at) {
            at += 1;
            self.state = match self.state {
                State::Body => return,
                State::LineStart | State::LineStartCr if byte == b'\n' => State::Body,
                State::LineStart if byte == b'\r' => State::LineStartCr,
                State::LineStart => self.matching(0, byte),
                State::Matching(matched) => self.matching(matched, byte),
                State::LineStartCr | State::Skipping if byte == b'\n' => State::LineStart,
                State::LineStartCr | State::Skipping => {
                    match memchr::memchr(b'\n', &content[at..]) {
                        None => at = content.len(),
                        Some(distance) => at += distance,
                    }
                    State::Skipping
                }
            };
        }
    }

    /// `Received:` lines so far.
    pub fn hops(&self) -> u32 {
        self.hops
    }

    /// Whether the whole header has been seen, so that further pieces need not be shown.
    pub fn header_ended(&self) -> bool {
        matches!(self.state, State::Body)
    }

    fn matching(&mut self, matched: u8, byte: u8) -> State {
        if byte == b'\n' {
            return State::LineStart;
        }
        // RFC 5322 §4.5.8 (obsolete syntax) allows blanks before the colon.
        if byte == b' ' && usize::from(matched) == FIELD.len() - 1 {
            return State::Matching(matched);
        }
        if !byte.eq_ignore_ascii_case(&FIELD[usize::from(matched)]) {
            return State::Skipping;
        }
        if usize::from(matched) + 1 == FIELD.len() {
            self.hops = self.hops.saturating_add(1);
            return State::Skipping;
        }
        State::Matching(matched + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(pieces: &[&[u8]]) -> u32 {
        let mut counter = HopCounter::new();
        pieces.iter().for_each(|piece| counter.take(piece));
        counter.hops()
    }

    #[test]
    fn counts_header_lines_only() {
        for (message, hops) in [
            (&b""[..], 0),
            (b"Received: a\r\n", 1),
            (
                b"received: a\r\nRECEIVED:b\r\nReceived : c\r\nSubject: x\r\n\r\nReceived: body\r\n",
                3,
            ),
            (
                b"Received: a\r\n\tReceived: folded\r\nReceived-SPF: x\r\nX-Received: y\r\n\r\n",
                1,
            ),
            (b"\r\nReceived: body\r\n", 0),
            (b"\nReceived: body\n", 0),
            (b"Received\r\nReceived: a\r\n", 1),
            (b"Received: a\n\nReceived: body\n", 1),
        ] {
            assert_eq!(count(&[message]), hops, "{:?}", String::from_utf8_lossy(message));
        }
    }

    #[test]
    fn says_when_the_header_ended() {
        let mut counter = HopCounter::new();
        counter.take(b"A: b\r\n\r");
        assert!(!counter.header_ended());
        counter.take(b"\n");
        assert!(counter.header_ended());
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            lines in proptest::collection::vec("(Received: |received:|Rec|\\r)?[a\\r ]{0,4}\r?\n", 0..12),
            cut in 0_usize..100,
        ) {
            let whole = lines.concat().into_bytes();
            let (head, tail) = whole.split_at(cut.min(whole.len()));
            let bytes: Vec<&[u8]> = whole.chunks(1).collect();
            prop_assert_eq!(count(&[head, tail]), count(&[&whole]));
            prop_assert_eq!(count(&bytes), count(&[&whole]));
        }
    }
}
