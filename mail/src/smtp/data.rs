//! The content after DATA: where it ends, and what it is without the transparency of dots.
//!
//! Owns RFC 5321 §4.1.1.4 and §4.5.2. It must never take anything but CRLF `.` CRLF as the end, and
//! never let a bare CR or LF pass unnoticed: servers that disagree about where a message ends let
//! one message smuggle in another.
//!
//! The policy: content is read to its real end, whatever it holds, so that both sides stay in step;
//! if it held a bare CR or LF (forbidden by RFC 5321 §2.3.8), [`DataDecoder::fault`] says so and the
//! message must be refused (`550 5.6.11`). `LF.LF`, `LF.CRLF`, `CR.CR`, `CRLF.LF`, `CRLF.CR` and
//! their like are content, not an end.

use memchr::memchr2;

/// What is wrong with content that has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataFault {
    /// A CR without a LF behind it.
    BareCr,
    /// A LF without a CR before it.
    BareLf,
}

/// What [`DataDecoder::decode`] did with its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Octets taken; all of them unless the end came. What follows is the next command.
    pub consumed: usize,
    /// The end of the content was found.
    pub finished: bool,
}

/// Decodes one message's content; make a new one for the next.
#[derive(Debug, Clone, Default)]
pub struct DataDecoder {
    state: State,
    octets: u64,
    fault: Option<DataFault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// At the beginning of a line: of the content, or behind CRLF.
    #[default]
    LineStart,
    /// Behind a dot that begins a line; the dot is swallowed.
    Dot,
    /// Behind a dot that begins a line and a CR; both are swallowed so far.
    DotCr,
    /// Inside a line.
    Text,
    /// Inside a line, behind a CR, which has been put out.
    TextCr,
    Finished,
}

impl DataDecoder {
    /// A decoder at the beginning of the content.
    pub fn new() -> DataDecoder {
        DataDecoder::default()
    }

    /// Decodes what has arrived and gives it to `sink` in as few slices of `input` as possible.
    /// After the end it takes nothing more.
    pub fn decode(&mut self, input: &[u8], mut sink: impl FnMut(&[u8])) -> Decoded {
        let mut octets = 0;
        let mut put = |slice: &[u8]| {
            if !slice.is_empty() {
                octets += slice.len() as u64;
                sink(slice);
            }
        };
        // `input[pending..at]` is decided to be content, but not put out yet.
        let (mut pending, mut at) = (0, 0);
        while at < input.len() && self.state != State::Finished {
            let byte = input[at];
            match self.state {
                State::LineStart if byte == b'.' => {
                    put(&input[pending..at]);
                    at += 1;
                    pending = at;
                    self.state = State::Dot;
                }
                State::Dot if byte == b'\r' => {
                    at += 1;
                    pending = at;
                    self.state = State::DotCr;
                }
                State::DotCr if byte == b'\n' => {
                    at += 1;
                    pending = at;
                    self.state = State::Finished;
                }
                State::DotCr => {
                    // The CR was content after all, and a bare one.
                    self.fault.get_or_insert(DataFault::BareCr);
                    put(b"\r");
                    self.state = State::Text;
                }
                State::LineStart | State::Dot => self.state = State::Text,
                State::TextCr if byte == b'\n' => {
                    at += 1;
                    self.state = State::LineStart;
                }
                State::TextCr => {
                    self.fault.get_or_insert(DataFault::BareCr);
                    self.state = State::Text;
                }
                State::Text => match memchr2(b'\r', b'\n', &input[at..]) {
                    None => at = input.len(),
                    Some(distance) => {
                        at += distance + 1;
                        if input[at - 1] == b'\r' {
                            self.state = State::TextCr;
                        } else {
                            // A bare LF ends no line: a dot behind it means nothing.
                            self.fault.get_or_insert(DataFault::BareLf);
                        }
                    }
                },
                State::Finished => {}
            }
        }
        put(&input[pending..at]);
        self.octets += octets;
        Decoded {
            consumed: at,
            finished: self.state == State::Finished,
        }
    }

    /// Octets of decoded content so far, as SIZE counts them (RFC 1870 §5): with every CRLF, without
    /// the dots added for transparency and without the end.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// The first thing that is wrong with the content so far.
    pub fn fault(&self) -> Option<DataFault> {
        self.fault
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Result {
        content: Vec<u8>,
        rest: Vec<u8>,
        finished: bool,
        fault: Option<DataFault>,
    }

    fn decode(pieces: &[&[u8]]) -> Result {
        let mut decoder = DataDecoder::new();
        let (mut content, mut rest) = (Vec::new(), Vec::new());
        let mut finished = false;
        for piece in pieces {
            if finished {
                rest.extend_from_slice(piece);
                continue;
            }
            let decoded = decoder.decode(piece, |slice| content.extend_from_slice(slice));
            assert!(decoded.finished || decoded.consumed == piece.len());
            finished = decoded.finished;
            rest.extend_from_slice(&piece[decoded.consumed..]);
        }
        assert_eq!(decoder.octets(), content.len() as u64);
        Result {
            content,
            rest,
            finished,
            fault: decoder.fault(),
        }
    }

    #[test]
    fn good_content() {
        for (input, content, rest) in [
            (&b".\r\n"[..], &b""[..], &b""[..]),
            (b"a\r\n.\r\n", b"a\r\n", b""),
            (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n"),
            (b"..a\r\n...\r\n.b\r\n.\r\n", b".a\r\n..\r\nb\r\n", b""),
            (b"\r\n\r\n.\r\n", b"\r\n\r\n", b""),
            (b"a.\r\n.\r\n.\r\n", b"a.\r\n", b".\r\n"),
            (b"\0\xff\r\n.\r\n", b"\0\xff\r\n", b""),
        ] {
            let result = decode(&[input]);
            assert!(result.finished, "{input:?}");
            assert_eq!(result.content, content);
            assert_eq!(result.rest, rest);
            assert_eq!(result.fault, None);
        }
    }

    #[test]
    fn false_ends_are_content_and_a_fault() {
        use DataFault::{BareCr, BareLf};
        for (end, fault) in [
            (&b"\n.\n"[..], BareLf),
            (b"\n.\r\n", BareLf),
            (b"\r.\r", BareCr),
            (b"\r.\r\n", BareCr),
            (b"\r\n.\n", BareLf),
            (b"\r\n.\r", BareCr),
            (b"\r.\n", BareCr),
            (b"\n.\r", BareLf),
            (b"\r\n.\r\r\n", BareCr),
            (b"\r\n.\0\r\n\n", BareLf),
            (b"\r\n\n.\r\n", BareLf),
            (b"\r\n.\r.\r\n", BareCr),
            (b"\n\n.\r\n", BareLf),
        ] {
            let smuggled = b"MAIL FROM:<evil@example.test>\r\n.\r\n";
            let input = [b"a", end, smuggled].concat();
            let result = decode(&[&input]);
            assert!(
                result.finished && result.rest.is_empty(),
                "{end:?} ended the content"
            );
            assert_eq!(result.fault, Some(fault), "{end:?}");
            assert!(result.content.ends_with(b"<evil@example.test>\r\n"));
        }
    }

    #[test]
    fn an_unfinished_end_is_not_an_end() {
        for input in [&b""[..], b".", b".\r", b"a\r\n.", b"a\r\n.\r", b"a\r\n"] {
            assert!(!decode(&[input]).finished, "{input:?}");
        }
    }

    #[test]
    fn a_bare_cr_behind_a_dot_is_put_out() {
        assert_eq!(decode(&[b".\rx\r\n.\r\n"]).content, b"\rx\r\n");
        assert_eq!(decode(&[b".\r", b"\r\n.\r\n"]).content, b"\r\r\n");
        assert_eq!(decode(&[b".", b"\r", b"x\r\n.\r\n"]).content, b"\rx\r\n");
    }

    /// The plainest decoder one can think of, over the whole input.
    fn model(input: &[u8]) -> Option<(Vec<u8>, usize, bool)> {
        let framed = [b"\r\n", input].concat();
        let end = framed.windows(5).position(|window| window == b"\r\n.\r\n")?;
        let body = &framed[2..end + 2];
        let mut content = Vec::new();
        let mut bare = false;
        for (at, &byte) in body.iter().enumerate() {
            let line_start = framed[..at + 2].ends_with(b"\r\n");
            if byte == b'.' && line_start {
                continue;
            }
            bare |= byte == b'\r' && body.get(at + 1) != Some(&b'\n');
            bare |= byte == b'\n' && (at == 0 || body[at - 1] != b'\r');
            content.push(byte);
        }
        Some((content, end + 3, bare))
    }

    proptest! {
        #[test]
        fn equals_the_model_in_any_pieces(
            input in proptest::collection::vec(
                prop_oneof![3 => Just(b'\r'), 3 => Just(b'\n'), 3 => Just(b'.'), 1 => any::<u8>()], 0..60),
            cuts in proptest::collection::vec(0_usize..70, 0..12),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
            cuts.push(input.len());
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&input[from..cut]);
                from = cut;
            }
            let result = decode(&pieces);
            match model(&input) {
                None => prop_assert!(!result.finished),
                Some((content, consumed, bare)) => {
                    prop_assert!(result.finished);
                    prop_assert_eq!(result.content, content);
                    prop_assert_eq!(result.rest, &input[consumed..]);
                    prop_assert_eq!(result.fault.is_some(), bare);
                }
            }
        }

        #[test]
        fn stuffed_content_comes_back(lines in proptest::collection::vec("[.a-c]{0,5}", 0..20)) {
            let content: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let stuffed: String = lines
                .iter()
                .map(|line| if line.starts_with('.') { format!(".{line}\r\n") } else { format!("{line}\r\n") })
                .collect();
            let result = decode(&[stuffed.as_bytes(), b".\r\n"]);
            prop_assert!(result.finished && result.fault.is_none());
            prop_assert_eq!(result.content, content.as_bytes());
        }
    }
}
