//! A message as it is served: trace fields (Return-Path, Received) that belong to one recipient, then the
//! message that many may share. Offsets count from the first byte of the trace fields.

use super::part::Span;

/// Two pieces of bytes that are served as one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwoPiece<'a> {
    /// Whole header lines, each with its line end.
    pub prefix: &'a [u8],
    /// The message as it was received.
    pub body: &'a [u8],
}

impl<'a> TwoPiece<'a> {
    /// RFC822.SIZE.
    #[must_use]
    pub fn len(&self) -> u64 {
        (self.prefix.len() + self.body.len()) as u64
    }

    /// Whether there is no byte at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prefix.is_empty() && self.body.is_empty()
    }

    /// The bytes of `span`, as a slice of each piece; either may be empty. Cut where the message ends.
    #[must_use]
    pub fn slice(&self, span: Span) -> (&'a [u8], &'a [u8]) {
        let prefix_len = self.prefix.len() as u64;
        let first = Span::new(span.start.min(prefix_len), span.end.min(prefix_len));
        let clamp = |offset: u64| offset.saturating_sub(prefix_len).min(self.body.len() as u64);
        let second = Span::new(clamp(span.start), clamp(span.end));
        (first.of(self.prefix), second.of(self.body))
    }

    /// The bytes of `span` in one piece.
    #[must_use]
    pub fn bytes(&self, span: Span) -> Vec<u8> {
        let (first, second) = self.slice(span);
        [first, second].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_across_both_pieces() {
        let message = TwoPiece {
            prefix: b"abc",
            body: b"defg",
        };
        assert_eq!(message.len(), 7);
        for start in 0..9 {
            for end in start..9 {
                let expected = &b"abcdefg"[start.min(7)..end.min(7)];
                assert_eq!(message.bytes(Span::new(start as u64, end as u64)), expected);
            }
        }
    }

    #[test]
    fn partial_spans() {
        let span = Span::new(10, 20);
        assert_eq!(span.partial(0, 5), Span::new(10, 15));
        assert_eq!(span.partial(8, 5), Span::new(18, 20));
        assert!(span.partial(10, 5).is_empty() && span.partial(u64::MAX, u64::MAX).is_empty());
        assert_eq!(span.partial(0, u64::MAX), span);
    }
}
