//! One response of an IMAP server, and what is read out of it.

use anyhow::{Result, bail};

/// How a command ended (RFC 9051 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// It was done.
    Ok,
    /// It was not.
    No,
    /// It was not understood.
    Bad,
}

/// The tagged end of a command.
#[derive(Debug, Clone)]
pub(crate) struct Tagged {
    /// How it ended.
    pub(crate) status: Status,
    /// The line without its tag.
    pub(crate) text: String,
}

impl Tagged {
    /// An error unless it was done.
    pub(crate) fn ok(self) -> Result<Self> {
        if self.status != Status::Ok {
            bail!("the server answers {:?}", self.text);
        }
        Ok(self)
    }

    /// Whether the messages that it was about were gone, removed by another session (RFC 9051 §7.1, RFC 5530).
    pub(crate) fn is_gone(&self) -> bool {
        let text = self.text.to_ascii_uppercase();
        self.status == Status::No && (text.contains("[EXPUNGEISSUED]") || text.contains("NO LONGER EXIST"))
    }
}

/// A response: its text with small literals in their places, and the bytes of the large ones.
#[derive(Default)]
pub(crate) struct Response {
    text: Vec<u8>,
    /// Bytes of all literals.
    literal_bytes: u64,
    literals: u32,
}

impl Response {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        (self.literal_bytes, self.literals) = (0, 0);
    }

    pub(crate) fn push(&mut self, line: &[u8]) {
        self.text.extend_from_slice(line);
    }

    pub(crate) fn push_literal(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(b"\r\n");
        self.text.extend_from_slice(bytes);
        self.count_literal(bytes.len() as u64);
    }

    pub(crate) fn count_literal(&mut self, bytes: u64) {
        self.literal_bytes += bytes;
        self.literals += 1;
    }

    /// All but the large literals.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Bytes of its literals.
    pub(crate) fn literal_bytes(&self) -> u64 {
        self.literal_bytes
    }

    /// The end of the command with this tag, if this is it.
    pub(crate) fn tagged(&self, tag: u32) -> Option<Tagged> {
        // Of the thousands of responses to one command, all but the last begin so.
        if self.text.starts_with(b"*") {
            return None;
        }
        let (number, rest) = number(&self.text)?;
        let rest = rest.strip_prefix(b" ").filter(|_| number == tag)?;
        let text = String::from_utf8_lossy(rest).into_owned();
        let status = match text.split(' ').next()?.to_ascii_uppercase().as_str() {
            "OK" => Status::Ok,
            "NO" => Status::No,
            _ => Status::Bad,
        };
        Some(Tagged { status, text })
    }

    /// Whether the server closes the connection (RFC 9051 §7.1.5).
    pub(crate) fn is_bye(&self) -> bool {
        self.text
            .get(..5)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"* BYE"))
    }

    /// N of `* N NAME`.
    pub(crate) fn number_of(&self, name: &str) -> Option<u32> {
        let rest = self.text.strip_prefix(b"* ")?;
        let (number, after) = number(rest)?;
        let after = after.strip_prefix(b" ")?.get(..name.len())?;
        after.eq_ignore_ascii_case(name.as_bytes()).then_some(number)
    }

    /// The message's number, if this is of a FETCH (RFC 9051 §7.5.2).
    pub(crate) fn fetched(&self) -> Option<u32> {
        self.number_of("FETCH (")
    }

    /// The number behind a text, such as `UID `.
    pub(crate) fn number_after(&self, before: &str) -> Option<u32> {
        let before = before.as_bytes();
        let at = self
            .text
            .windows(before.len())
            .position(|part| part.eq_ignore_ascii_case(before))?;
        number(&self.text[at + before.len()..]).map(|(number, _)| number)
    }

    /// How many numbers a SEARCH found (RFC 9051 §7.3.4, RFC 3501 §7.2.5), if this says so.
    pub(crate) fn found(&self) -> Option<usize> {
        let rest = self.text.strip_prefix(b"* SEARCH")?;
        Some(
            rest.split(|byte| *byte == b' ')
                .filter(|word| !word.is_empty())
                .count(),
        )
    }

    /// The names in a CAPABILITY response or response code.
    pub(crate) fn capabilities(&self) -> Option<&str> {
        if let Some(names) = self.text.strip_prefix(b"* CAPABILITY ") {
            return std::str::from_utf8(names).ok();
        }
        let after_tag = self.text.iter().position(|byte| *byte == b' ')?;
        let names = self.text[after_tag..].strip_prefix(b" OK [CAPABILITY ")?;
        std::str::from_utf8(names).ok()?.split(']').next()
    }
}

/// The size of the literal that a line ends with (RFC 9051 §4.3).
pub(crate) fn literal(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"}")?;
    let open = line.iter().rposition(|byte| *byte == b'{')?;
    std::str::from_utf8(&line[open + 1..]).ok()?.parse().ok()
}

/// The number that bytes begin with, and what follows it.
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&bytes[..digits]).ok()?.parse().ok()?;
    Some((number, &bytes[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(text: &str) -> Response {
        let mut response = Response::default();
        response.push(text.as_bytes());
        response
    }

    #[test]
    fn numbers_are_read_out_of_responses() {
        assert_eq!(response("* 12 EXISTS").number_of("EXISTS"), Some(12));
        assert_eq!(response("* 12 EXISTS").number_of("EXPUNGE"), None);
        assert_eq!(response("* OK 12").number_of("EXISTS"), None);
        let fetch = response("* 3 FETCH (UID 77 RFC822.SIZE 1024 FLAGS (\\Seen))");
        assert_eq!((fetch.fetched(), fetch.number_after("UID ")), (Some(3), Some(77)));
        assert_eq!(fetch.number_after("RFC822.SIZE "), Some(1024));
        assert_eq!(
            response("* STATUS \"a\" (MESSAGES 5)").number_after("(MESSAGES "),
            Some(5)
        );
    }

    #[test]
    fn what_a_search_found_is_counted() {
        assert_eq!(response("* SEARCH 1 5 7").found(), Some(3));
        assert_eq!(response("* SEARCH").found(), Some(0));
        assert_eq!(response("* FLAGS ()").found(), None);
    }

    #[test]
    fn the_end_of_a_command_is_told_by_its_tag() {
        let ended = response("12 NO [OVERQUOTA] full").tagged(12).unwrap();
        assert_eq!(
            (ended.status, ended.text.as_str()),
            (Status::No, "NO [OVERQUOTA] full")
        );
        assert!(!ended.is_gone() && ended.ok().is_err());
        assert!(response("12 OK done").tagged(1).is_none());
        let gone = response("3 NO [EXPUNGEISSUED] some have gone").tagged(3).unwrap();
        assert!(gone.is_gone());
    }

    #[test]
    fn capabilities_come_in_a_response_or_a_code() {
        assert_eq!(
            response("* CAPABILITY IMAP4rev1 IDLE").capabilities(),
            Some("IMAP4rev1 IDLE")
        );
        assert_eq!(
            response("1 OK [CAPABILITY IMAP4rev1] in").capabilities(),
            Some("IMAP4rev1")
        );
        assert_eq!(
            response("* OK [CAPABILITY IMAP4rev1] hello").capabilities(),
            Some("IMAP4rev1")
        );
        assert_eq!(response("1 OK in").capabilities(), None);
    }

    #[test]
    fn a_literal_is_announced_at_the_end_of_a_line() {
        assert_eq!(literal(b"* 1 FETCH (BODY[] {1024}"), Some(1024));
        assert_eq!(literal(b"* 1 FETCH (FLAGS ())"), None);
        assert_eq!(literal(b"* OK {x}"), None);
    }
}
