//! A cheap look that tells ordinary messages from those that had better be parsed in a process of their own.

/// The largest message that is ordinary.
const ORDINARY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest header of an ordinary message.
const ORDINARY_HEADER_BYTES_MAX: usize = 64 * 1024;
/// Lines that may be boundaries of an ordinary message.
const ORDINARY_BOUNDARIES_MAX: usize = 512;
/// Lines of the header of an ordinary message.
const ORDINARY_HEADER_LINES_MAX: usize = 1000;

/// Whether the message is unlike the mail of every day: large, with a huge header, or of very many parts.
pub(super) fn is_unusual(message: &[u8]) -> bool {
    if message.len() > ORDINARY_BYTES_MAX {
        return true;
    }
    let mut boundaries = 0;
    let mut header_lines = 0;
    let mut in_header = true;
    let mut at = 0;
    while at < message.len() {
        let end = memchr::memchr(b'\n', &message[at..]).map_or(message.len(), |length| at + length + 1);
        let line = &message[at..end];
        if in_header {
            header_lines += 1;
            in_header = !matches!(line, b"\n" | b"\r\n");
            if header_lines > ORDINARY_HEADER_LINES_MAX || (in_header && end > ORDINARY_HEADER_BYTES_MAX) {
                return true;
            }
        } else if line.starts_with(b"--") {
            boundaries += 1;
            if boundaries > ORDINARY_BOUNDARIES_MAX {
                return true;
            }
        }
        at = end;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_ordinary_from_unusual() {
        assert!(!is_unusual(b""));
        assert!(!is_unusual(b"Subject: x\r\n\r\n--a\r\n\r\nb\r\n--a--\r\n"));
        assert!(is_unusual(&vec![b'x'; ORDINARY_HEADER_BYTES_MAX + 1]));
        assert!(is_unusual(
            "A: b\r\n".repeat(ORDINARY_HEADER_LINES_MAX + 1).as_bytes()
        ));
        assert!(is_unusual(
            format!("\r\n{}", "--a\n".repeat(ORDINARY_BOUNDARIES_MAX + 1)).as_bytes()
        ));
        assert!(!is_unusual(
            format!("\r\n{}", "a line of text\r\n".repeat(100_000)).as_bytes()
        ));
    }
}
