//! Messages for tests: each distinct, and told apart by its Message-ID.

use crate::imap::literals;

/// A message of about `size` bytes with CRLF line ends, and its number in Message-ID, Subject and text.
pub fn numbered(number: u64, size: usize) -> String {
    let mut text = format!(
        "From: Sender <sender@remote.test>\r\n\
         To: someone@example.test\r\n\
         Subject: message {number}\r\n\
         Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <{number}@remote.test>\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         \r\n\
         This is message {number}.\r\n"
    );
    let mut line = 0u64;
    while text.len() < size {
        // Mixed, so that no two messages have the same lines.
        let word = (number ^ line).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        text.push_str(&format!(
            "line {line} of {number}: {word:016x} and some words that compress well\r\n"
        ));
        line += 1;
    }
    text
}

/// The numbers of [`numbered`] messages of which FETCH responses have the Message-ID, ascending.
pub fn numbers(responses: &[Vec<u8>]) -> Vec<u64> {
    let headers = responses.iter().flat_map(|response| literals(response));
    let number = |header: Vec<u8>| {
        let header = String::from_utf8(header).ok()?;
        header.split('<').nth(1)?.split('@').next()?.parse().ok()
    };
    let mut numbers: Vec<u64> = headers.filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}
