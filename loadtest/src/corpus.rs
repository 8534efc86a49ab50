//! Messages that are sent: each a text of its own, made so cheaply that the sender does not become what is measured.
//!
//! A pool of paragraphs is written once from a list of words, the frequent ones first; a message is a header of its own and a
//! random row of paragraphs, quoted ones among them as replies have them. So a store that keeps equal bodies once gains
//! nothing, and a message compresses about as mail does (3:1 by zstd). No line begins with a dot, so that DATA needs no
//! stuffing (RFC 5321 §4.5.2), and all is ASCII with lines below 80 bytes.

use std::fmt::Write as _;
use std::io::Write as _;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The words, most frequent first.
const WORDS: &str = include_str!("corpus/words.txt");

/// Paragraphs in the pool.
const PARAGRAPHS: usize = 4096;

/// Words of a paragraph, at least and at most.
const PARAGRAPH_WORDS: std::ops::Range<usize> = 30..110;

/// Longest line of text, in bytes without its end.
const LINE_BYTES: usize = 72;

/// One of so many paragraphs repeats an earlier one of the same message, as replies do.
const QUOTED_ONE_IN: u32 = 3;

/// Words of a kind of their own (numbers, amounts, references) are one in so many.
const NUMBER_ONE_IN: u32 = 40;

/// Topics: `topic07` stands in the Subject of one message in so many.
pub(crate) const TOPICS: u64 = 20;

/// Tokens: `token042` stands in the text of one message in so many.
pub(crate) const TOKENS: u64 = 100;

/// Senders: `sender12@remote.test` has sent one message in so many.
pub(crate) const SENDERS: u64 = 50;

/// Seconds since 1970 of the first message's Date: 2 January 2024, 00:00 UTC.
const FIRST_DATE: u64 = 1_704_153_600;

/// Seconds between the Dates of two messages: about an hour. The dates begin again after [`DATES`] messages.
const DATE_STEP: u64 = 3_607;

/// Different dates: two years of them.
const DATES: u64 = 17_500;

const SECONDS_A_DAY: u64 = 86_400;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// What begins each Message-ID after the `<`, and ends it.
const ID_DOMAIN: &str = "@loadtest.test>";

/// A paragraph with its CRLFs, as it is written first and as it is quoted.
struct Paragraph {
    plain: Vec<u8>,
    quoted: Vec<u8>,
}

/// Where messages come from. The same seed gives the same messages.
pub(crate) struct Corpus {
    seed: u64,
    paragraphs: Vec<Paragraph>,
}

impl Corpus {
    /// Writes the pool of paragraphs: a few megabytes, some milliseconds.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let words = Words::new();
        let paragraphs = (0..PARAGRAPHS).map(|_| paragraph(&words, &mut rng)).collect();
        Self { seed, paragraphs }
    }

    /// Puts a message of so many bytes behind what is in `out`; a size below that of its header gives the header and a line.
    pub(crate) fn write(&self, id: MessageId, size: usize, recipient: &str, out: &mut Vec<u8>) {
        let MessageId { run, serial } = id;
        let mut rng = StdRng::seed_from_u64(self.seed ^ run.rotate_left(32) ^ serial);
        let start = out.len();
        let sender = serial % SENDERS;
        // Writing to memory cannot fail.
        let _ = write!(
            out,
            "From: Sender {sender} <sender{sender}@remote.test>\r\nTo: <{recipient}>\r\n\
             Subject: topic{:02} of message {serial}\r\nDate: {}\r\nMessage-ID: {id}\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
             This is message {serial} of run {run:x}, with token{:03}.\r\n\r\n",
            serial % TOPICS,
            date(sent(serial)),
            serial % TOKENS,
        );
        let mut said: Vec<usize> = Vec::new();
        while let Some(left) = (start + size).checked_sub(out.len()).filter(|left| *left >= 2) {
            let quotes = !said.is_empty() && rng.random_ratio(1, QUOTED_ONE_IN);
            let paragraph = if quotes {
                &self.paragraphs[said[rng.random_range(0..said.len())]].quoted
            } else {
                let chosen = rng.random_range(0..self.paragraphs.len());
                said.push(chosen);
                &self.paragraphs[chosen].plain
            };
            if paragraph.len() + 2 <= left || paragraph.len() == left {
                out.extend_from_slice(paragraph);
            } else {
                cut(paragraph, left, out);
            }
        }
    }
}

/// The first bytes of a paragraph, and an end of line, so many in all.
fn cut(paragraph: &[u8], bytes: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&paragraph[..(bytes - 2).min(paragraph.len())]);
    if out.last() == Some(&b'\r') {
        out.pop();
        out.push(b'-');
    }
    out.extend_from_slice(b"\r\n");
}

/// What tells a message apart: the run that sent it, and its number in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MessageId {
    /// A random number of the run; zero for what is put into mailboxes before a run.
    pub(crate) run: u64,
    /// Counts from zero.
    pub(crate) serial: u64,
}

impl MessageId {
    /// Finds the Message-ID of a message of ours in a text, such as a FETCH response.
    pub(crate) fn find(text: &[u8]) -> Option<Self> {
        let end = text
            .windows(ID_DOMAIN.len())
            .position(|part| part == ID_DOMAIN.as_bytes())?;
        let start = text[..end].iter().rposition(|byte| *byte == b'<')?;
        let (run, serial) = std::str::from_utf8(&text[start + 1..end]).ok()?.split_once('.')?;
        Some(Self {
            run: u64::from_str_radix(run, 16).ok()?,
            serial: serial.parse().ok()?,
        })
    }
}

impl std::fmt::Display for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{:x}.{}{ID_DOMAIN}", self.run, self.serial)
    }
}

/// Words by how often they come: about as in a language, where the n-th has the weight 1/n.
struct Words {
    words: Vec<&'static str>,
    weights: Vec<f64>,
}

impl Words {
    fn new() -> Self {
        let words: Vec<_> = WORDS.split_whitespace().collect();
        let mut sum = 0.0;
        let weights = (0..words.len())
            .map(|rank| {
                sum += 1.0 / (rank as f64 + 3.0);
                sum
            })
            .collect();
        Self { words, weights }
    }

    fn any(&self, rng: &mut StdRng) -> &'static str {
        let total = self.weights.last().copied().unwrap_or(1.0);
        let drawn = rng.random_range(0.0..total);
        let at = self.weights.partition_point(|weight| *weight < drawn);
        self.words[at.min(self.words.len() - 1)]
    }
}

fn paragraph(words: &Words, rng: &mut StdRng) -> Paragraph {
    let mut lines = vec![String::new()];
    let mut begins = true;
    for _ in 0..rng.random_range(PARAGRAPH_WORDS) {
        let mut word = String::new();
        if rng.random_ratio(1, NUMBER_ONE_IN) {
            // Writing to memory cannot fail.
            let _ = write!(word, "{}", rng.random_range(10..100_000));
        } else {
            word.push_str(words.any(rng));
        }
        if begins {
            let first = word.remove(0);
            word.insert(0, first.to_ascii_uppercase());
        }
        begins = rng.random_ratio(1, 12);
        if begins {
            word.push('.');
        } else if rng.random_ratio(1, 14) {
            word.push(',');
        }
        let held = lines.last().map_or(0, String::len);
        if held + word.len() + 1 > LINE_BYTES {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
    }
    let with = |before: &str| {
        let ended = lines.iter().map(|line| format!("{before}{line}\r\n"));
        let mut text: String = ended.collect();
        text.push_str(before.trim_end());
        text.push_str("\r\n");
        text.into_bytes()
    };
    Paragraph {
        plain: with(""),
        quoted: with("> "),
    }
}

/// When a message says that it was sent, in seconds since 1970.
fn sent(serial: u64) -> u64 {
    FIRST_DATE + serial % DATES * DATE_STEP
}

/// The day on which a message says that it was sent, counted from 1970.
pub(crate) fn sent_day(serial: u64) -> u64 {
    sent(serial) / SECONDS_A_DAY
}

/// A day as IMAP's searches take it (`date-text` of RFC 9051 §9); counted from 1970.
pub(crate) fn search_day(days: u64) -> String {
    let (year, month, day) = calendar(days);
    format!("{day}-{month}-{year}")
}

/// A moment as RFC 5322 §3.3 writes it, in UTC; from seconds since 1970.
pub(crate) fn date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let (days, of_day) = (seconds / SECONDS_A_DAY, seconds % SECONDS_A_DAY);
    let (year, month, day) = calendar(days);
    format!(
        "{}, {day} {month} {year} {:02}:{:02}:{:02} +0000",
        DAYS[(days % 7) as usize],
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// Year, month and day of a day counted from 1970.
fn calendar(days: u64) -> (u64, &'static str, u64) {
    // Years begin in March here, so that the day which some years lack is the last one.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    (year, MONTHS[month as usize], day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(corpus: &Corpus, serial: u64, size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        corpus.write(MessageId { run: 7, serial }, size, "user1@example.test", &mut out);
        out
    }

    #[test]
    fn messages_have_the_size_that_was_wanted_and_lines_that_every_server_takes() {
        let corpus = Corpus::new(1);
        for (serial, size) in (0..400).map(|serial| (serial, 600 + serial as usize * 31)) {
            let text = message(&corpus, serial, size);
            assert!(
                (size - 1..=size).contains(&text.len()),
                "{} for {size}",
                text.len()
            );
            let text = String::from_utf8(text).unwrap();
            assert!(text.ends_with("\r\n"));
            for line in text.split_terminator("\r\n") {
                assert!(line.len() < 80 && line.is_ascii(), "{line:?}");
                assert!(!line.starts_with('.') && !line.contains(['\r', '\n']), "{line:?}");
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_messages_and_no_two_are_alike() {
        let (one, other) = (Corpus::new(3), Corpus::new(3));
        assert_eq!(message(&one, 5, 10_240), message(&other, 5, 10_240));
        let bodies: std::collections::BTreeSet<Vec<u8>> = (0..200)
            .map(|serial| {
                let text = message(&one, serial, 10_240);
                let at = text.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
                // Without the line that names the message.
                text[at + 60..at + 4_000].to_vec()
            })
            .collect();
        assert_eq!(bodies.len(), 200);
    }

    #[test]
    fn messages_compress_about_as_mail_does() {
        let corpus = Corpus::new(1);
        for size in [10_240, 102_400] {
            let mut sizes = (0, 0);
            for serial in 0..50 {
                let text = message(&corpus, serial, size);
                sizes.0 += text.len();
                sizes.1 += zstd::bulk::compress(&text, 3).unwrap().len();
            }
            let ratio = sizes.0 as f64 / sizes.1 as f64;
            println!("{size} bytes compress {ratio:.2}:1");
            assert!(
                size < 5_000 || (2.6..3.6).contains(&ratio),
                "{size} bytes compress {ratio:.2}:1"
            );
        }
    }

    #[test]
    fn a_message_id_is_found_in_a_response() {
        let id = MessageId {
            run: 0xfeed,
            serial: 12,
        };
        let text =
            format!("* 3 FETCH (UID 9 BODY[HEADER.FIELDS (MESSAGE-ID)] {{44}}\r\nMessage-ID: {id}\r\n\r\n)");
        assert_eq!(MessageId::find(text.as_bytes()), Some(id));
        assert_eq!(MessageId::find(b"Message-ID: <4@remote.test>"), None);
    }

    #[test]
    fn dates_are_written_as_mail_has_them() {
        assert_eq!(date(0), "Thu, 1 Jan 1970 00:00:00 +0000");
        assert_eq!(date(FIRST_DATE), "Tue, 2 Jan 2024 00:00:00 +0000");
        assert_eq!(date(1_709_251_199), "Thu, 29 Feb 2024 23:59:59 +0000");
        assert_eq!(search_day(sent_day(0)), "2-Jan-2024");
        assert_eq!(search_day(sent_day(24)), "3-Jan-2024");
        assert_eq!(date(1_795_424_400), "Mon, 23 Nov 2026 09:00:00 +0000");
    }
}
