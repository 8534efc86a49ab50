//! Lines out of a stream of bytes, in bounded memory.
//!
//! Owns where a command line ends. It must never hand out a line that somebody else could read as
//! two: only CRLF ends a line (RFC 5321 §2.3.8). A bare LF is reported at once, so that a person at
//! a terminal is answered, and taints everything up to the next CRLF: nothing of it is ever run.

use memchr::memchr;

use super::command::{CHUNK_WORD_OCTETS, announces_chunk};

/// Octets of a line with its CRLF. RFC 5321 §4.5.3.1.4 asks for 512, its extensions add to it
/// (RFC 1870 26, RFC 6152 17, RFC 4954 500 and more for responses); all of them fit.
pub const LINE_OCTETS_MAX: usize = 4_096;

/// A buffer that grew beyond this is given back once its line is done, so that an idle connection
/// costs little.
const KEPT_OCTETS_MAX: usize = 256;

/// What the reader found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line, without its CRLF. It may hold any octet but LF, a bare CR included.
    Complete(&'a [u8]),
    /// A line of more than [`LINE_OCTETS_MAX`] octets, thrown away to its end.
    TooLong,
    /// A line ended by a bare LF, or the rest of a line that holds one.
    BareLf,
    /// Either of these where it is meant as a BDAT with a size: a chunk of unknown length may follow (RFC 3030 §2), and
    /// nothing that comes must be read as a line any more.
    BrokenChunk,
}

/// Cuts a stream into lines, however the bytes arrive.
#[derive(Debug, Default)]
pub struct LineReader {
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// `partial` has been handed out and is cleared by the next call.
    handed_out: bool,
    /// The line is too long already: its bytes are dropped.
    too_long: bool,
    /// The line so far ended with CR (known also where its bytes were dropped).
    ends_with_cr: bool,
    /// A bare LF came since the last CRLF.
    tainted: bool,
    /// How the line begins (known also where its bytes were dropped), and how much of that has come.
    beginning: [u8; CHUNK_WORD_OCTETS],
    beginning_octets: usize,
}

impl LineReader {
    /// A reader at the beginning of a line.
    pub fn new() -> LineReader {
        LineReader::default()
    }

    /// Takes the next line out of `input` and moves `input` behind it. `None` when `input` holds no
    /// further line end: all of it was taken, call again when there is more.
    pub fn next_line<'a, 'b: 'a>(&'a mut self, input: &mut &'b [u8]) -> Option<Line<'a>> {
        if self.handed_out {
            self.handed_out = false;
            self.release();
        }
        let Some(lf) = memchr(b'\n', input) else {
            self.keep(input);
            *input = &[];
            return None;
        };
        let (head, rest) = (&input[..lf], &input[lf + 1..]);
        *input = rest;
        self.begin(head);
        let announces_chunk = announces_chunk(&self.beginning[..self.beginning_octets]);
        self.beginning_octets = 0;
        let ended_by_crlf = head.last().map_or(self.ends_with_cr, |&last| last == b'\r');
        let too_long = self.too_long || self.partial.len() + head.len() + 1 > LINE_OCTETS_MAX;
        let tainted = std::mem::replace(&mut self.tainted, !ended_by_crlf);
        self.too_long = false;
        self.ends_with_cr = false;
        if tainted || !ended_by_crlf {
            self.release();
            return Some(if announces_chunk {
                Line::BrokenChunk
            } else {
                Line::BareLf
            });
        }
        if too_long {
            self.release();
            return Some(if announces_chunk {
                Line::BrokenChunk
            } else {
                Line::TooLong
            });
        }
        if self.partial.is_empty() {
            return Some(Line::Complete(&head[..head.len() - 1]));
        }
        self.partial.extend_from_slice(head);
        self.handed_out = true;
        Some(Line::Complete(&self.partial[..self.partial.len() - 1]))
    }

    /// Forgets everything: after STARTTLS nothing that came in plain text may count (RFC 3207 §4.2).
    pub fn reset(&mut self) {
        *self = LineReader::default();
    }

    /// Octets held for a line that is not complete yet; never above [`LINE_OCTETS_MAX`].
    pub fn held_octets(&self) -> usize {
        if self.handed_out { 0 } else { self.partial.len() }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let Some(&last) = bytes.last() else { return };
        self.begin(bytes);
        self.ends_with_cr = last == b'\r';
        if self.too_long || self.partial.len() + bytes.len() >= LINE_OCTETS_MAX {
            // Not even the LF would still fit.
            self.too_long = true;
            self.release();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    /// Notes how the line begins.
    fn begin(&mut self, bytes: &[u8]) {
        let free = &mut self.beginning[self.beginning_octets..];
        let taken = free.len().min(bytes.len());
        free[..taken].copy_from_slice(&bytes[..taken]);
        self.beginning_octets += taken;
    }

    fn release(&mut self) {
        if self.partial.capacity() > KEPT_OCTETS_MAX {
            self.partial = Vec::new();
        } else {
            self.partial.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Owned {
        Complete(Vec<u8>),
        TooLong,
        BareLf,
        BrokenChunk,
    }

    fn read(pieces: &[&[u8]]) -> Vec<Owned> {
        let mut reader = LineReader::new();
        let mut lines = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(line) = reader.next_line(&mut input) {
                lines.push(match line {
                    Line::Complete(line) => Owned::Complete(line.to_vec()),
                    Line::TooLong => Owned::TooLong,
                    Line::BareLf => Owned::BareLf,
                    Line::BrokenChunk => Owned::BrokenChunk,
                });
            }
            assert!(input.is_empty());
            assert!(reader.held_octets() < LINE_OCTETS_MAX);
        }
        lines
    }

    fn complete(text: &str) -> Owned {
        Owned::Complete(text.as_bytes().to_vec())
    }

    #[test]
    fn whole_lines_and_pieces() {
        assert_eq!(read(&[b"NOOP\r\nQUIT\r\n"]), [complete("NOOP"), complete("QUIT")]);
        assert_eq!(
            read(&[b"NO", b"OP\r", b"\nQUIT\r\nRS"]),
            [complete("NOOP"), complete("QUIT")]
        );
        assert_eq!(read(&[b"\r\n", b"\r", b"\n"]), [complete(""), complete("")]);
        assert_eq!(read(&[b"a\rb\r\n"]), [complete("a\rb")]);
        assert_eq!(read(&[b"a\r\r\n"]), [complete("a\r")]);
    }

    #[test]
    fn bare_lf_taints_up_to_the_next_crlf() {
        assert_eq!(read(&[b"NOOP\n"]), [Owned::BareLf]);
        assert_eq!(
            read(&[b"RSET\nQUIT\r\nNOOP\r\n"]),
            [Owned::BareLf, Owned::BareLf, complete("NOOP")]
        );
        assert_eq!(
            read(&[b"\n\n\r\nNOOP\r\n"]),
            [Owned::BareLf, Owned::BareLf, Owned::BareLf, complete("NOOP")]
        );
        assert_eq!(read(&[b"\r", b"x", b"\n"]), [Owned::BareLf]);
    }

    #[test]
    fn too_long_is_reported_once_and_forgotten() {
        let fits = "x".repeat(LINE_OCTETS_MAX - 2);
        let line = format!("{fits}\r\n");
        assert_eq!(read(&[line.as_bytes()]), [complete(&fits)]);
        let line = format!("{fits}x\r\nQUIT\r\n");
        assert_eq!(read(&[line.as_bytes()]), [Owned::TooLong, complete("QUIT")]);
        let mut reader = LineReader::new();
        for _ in 0..10_000 {
            let mut input: &[u8] = &[b'y'; 1_000];
            assert_eq!(reader.next_line(&mut input), None);
            assert!(reader.partial.capacity() <= 2 * LINE_OCTETS_MAX);
        }
        let mut input: &[u8] = b"\r\nNOOP\r\n";
        assert_eq!(reader.next_line(&mut input), Some(Line::TooLong));
        assert_eq!(reader.next_line(&mut input), Some(Line::Complete(b"NOOP")));
    }

    #[test]
    fn a_chunk_is_seen_in_lines_that_are_not_kept() {
        let long = format!("Bdat 100 {}\r\n", "x".repeat(LINE_OCTETS_MAX));
        assert_eq!(read(&[long.as_bytes()]), [Owned::BrokenChunk]);
        let pieces: Vec<&[u8]> = long.as_bytes().chunks(3).collect();
        assert_eq!(read(&pieces), [Owned::BrokenChunk]);
        assert_eq!(read(&[b"BDAT 100\n"]), [Owned::BrokenChunk]);
        assert_eq!(
            read(&[b"x\nbd", b"at\t100\r\nNOOP\r\n"]),
            [Owned::BareLf, Owned::BrokenChunk, complete("NOOP")]
        );
        assert_eq!(read(&[b"BDATA 100\n"]), [Owned::BareLf]);
        assert_eq!(read(&[b"BDAT\nx\n"]), [Owned::BareLf, Owned::BareLf]);
    }

    #[test]
    fn reset_forgets_a_partial_line() {
        let mut reader = LineReader::new();
        let mut input: &[u8] = b"x\nMAIL FROM:<a";
        assert_eq!(reader.next_line(&mut input), Some(Line::BareLf));
        assert_eq!(reader.next_line(&mut input), None);
        reader.reset();
        let mut input: &[u8] = b"NOOP\r\n";
        assert_eq!(reader.next_line(&mut input), Some(Line::Complete(b"NOOP")));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            text in proptest::collection::vec(prop_oneof![3 => Just(b'\r'), 3 => Just(b'\n'), 4 => any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0_usize..200, 0..20),
            filler in 0_usize..5_000,
        ) {
            let mut whole = vec![b'z'; filler];
            whole.extend_from_slice(&text);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| (filler + cut).min(whole.len())).collect();
            cuts.extend([filler / 2, filler]);
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&whole[from..cut]);
                from = cut;
            }
            pieces.push(&whole[from..]);
            prop_assert_eq!(read(&pieces), read(&[&whole]));
        }
    }
}
