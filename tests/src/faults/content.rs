//! Messages of the workload: the number says all, so that a message which is read can be held against what was sent.

use crate::messages;

/// Smallest size of a large message: beyond what a proxy keeps in memory.
const LARGE_BYTES: u64 = 270 << 10;

/// One message in so many is large.
const LARGE_EVERY: u64 = 29;

/// A message's text by its number.
pub fn text(number: u64) -> String {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let size = if number % LARGE_EVERY == LARGE_EVERY - 1 {
        LARGE_BYTES + mixed % (60 << 10)
    } else {
        400 + mixed % 5_000
    };
    messages::numbered(number, usize::try_from(size).unwrap_or_default())
}

/// The number in a message or its header.
pub fn number(text: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(&text[..text.len().min(8192)]).into_owned();
    let at = text.to_ascii_lowercase().find("message-id: <")?;
    let rest = &text[at + "message-id: <".len()..];
    rest[..rest.find('@')?].parse().ok()
}

/// Whether a message that was read is the one of its number, with nothing but lines of delivery before it.
pub fn is_whole(read: &[u8]) -> bool {
    number(read).is_some_and(|number| read.ends_with(text(number).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_again_and_a_cut_one_is_not() {
        for number in [0, 28, 12_345] {
            let sent = text(number);
            let read = format!("Received: by a\r\n{sent}");
            assert_eq!(super::number(read.as_bytes()), Some(number));
            assert!(is_whole(read.as_bytes()));
            assert!(!is_whole(&read.as_bytes()[..read.len() - 1]));
        }
        assert!(text(28).len() > 256 << 10);
        assert!(!is_whole(b"Subject: none\r\n\r\n"));
    }
}
