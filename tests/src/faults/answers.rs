//! What an IMAP server's answers say: UIDs, flags, modseqs, the numbers of messages.

use crate::imap::{self, literals};

use super::content;
use super::history::{Answer, Outcome, Row};

/// Reads an answer: its outcome, and all that it says.
pub fn read(answer: &imap::Answer) -> (Outcome, Answer) {
    let mut said = Answer::default();
    for response in &answer.untagged {
        untagged(response, &mut said);
    }
    code(&answer.tagged, &mut said);
    (outcome(&answer.tagged), said)
}

/// OK is an acknowledgement. What says "try later" may have had its effect. All else is refused for good.
pub fn outcome(tagged: &str) -> Outcome {
    if tagged.starts_with("OK") {
        Outcome::Ok
    } else if tagged.starts_with("NO [UNAVAILABLE]") || tagged.starts_with("NO [INUSE]") {
        Outcome::Unknown(tagged.to_owned())
    } else {
        Outcome::Refused(tagged.to_owned())
    }
}

fn untagged(response: &[u8], said: &mut Answer) {
    let head = String::from_utf8_lossy(&response[..response.len().min(4096)]).into_owned();
    if head.starts_with("* OK [") {
        code(&head[2..], said);
    } else if let Some((_, rest)) = head
        .strip_prefix("* ")
        .and_then(|rest| rest.split_once(" FETCH "))
    {
        said.rows.extend(row(rest, response));
    } else if let Some(rest) = head.strip_prefix("* VANISHED ") {
        let set = rest.strip_prefix("(EARLIER) ").unwrap_or(rest);
        said.vanished.extend(uid_set(set));
    }
}

/// A FETCH response that names its UID.
fn row(head: &str, response: &[u8]) -> Option<Row> {
    let mut row = Row {
        uid: word_after(head, "UID ")?.parse().ok()?,
        flags: flags(head),
        modseq: parenthesised(head, "MODSEQ (").and_then(|text| text.parse().ok()),
        ..Row::default()
    };
    if let Some(literal) = literals(response).first() {
        row.message = content::number(literal);
        let is_body = head.contains("BODY[] ");
        row.whole = is_body.then(|| content::is_whole(literal));
    }
    Some(row)
}

/// The list after `FLAGS (`, without \Recent, sorted.
pub fn flags(text: &str) -> Option<Vec<String>> {
    let mut flags: Vec<String> = parenthesised(text, "FLAGS (")?
        .split_whitespace()
        .filter(|flag| *flag != "\\Recent")
        .map(str::to_owned)
        .collect();
    flags.sort();
    Some(flags)
}

fn parenthesised<'a>(text: &'a str, opening: &str) -> Option<&'a str> {
    let rest = &text[text.find(opening)? + opening.len()..];
    rest.split(')').next()
}

fn word_after<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    let rest = &text[text.find(before)? + before.len()..];
    rest.split([' ', ')', ']']).next()
}

/// A response code in brackets.
fn code(text: &str, said: &mut Answer) {
    let Some(code) = text.split_once('[').and_then(|(_, rest)| rest.split(']').next()) else {
        return;
    };
    let words: Vec<&str> = code.split(' ').collect();
    match words.as_slice() {
        ["UIDVALIDITY", value] => said.uid_validity = value.parse().ok(),
        ["UIDNEXT", value] => said.uid_next = value.parse().ok(),
        ["HIGHESTMODSEQ", value] => said.highest_modseq = value.parse().ok(),
        ["APPENDUID", validity, uids] => {
            said.uid_validity = validity.parse().ok();
            said.uids = uid_set(uids).into_iter().map(|uid| (0, uid)).collect();
        }
        ["COPYUID", validity, sources, targets] => {
            said.uid_validity = validity.parse().ok();
            said.uids = uid_set(sources).into_iter().zip(uid_set(targets)).collect();
        }
        _ => {}
    }
}

/// The numbers of a set such as `3:5,9`.
pub fn uid_set(text: &str) -> Vec<u32> {
    let mut uids = Vec::new();
    for part in text.trim().split(',') {
        let (low, high) = part.split_once(':').unwrap_or((part, part));
        if let (Ok(low), Ok(high)) = (low.parse::<u32>(), high.parse::<u32>()) {
            uids.extend(low.min(high)..=high.max(low));
        }
    }
    uids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(untagged: &[&str], tagged: &str) -> (Outcome, Answer) {
        read(&imap::Answer {
            untagged: untagged.iter().map(|line| line.as_bytes().to_vec()).collect(),
            tagged: tagged.to_owned(),
        })
    }

    #[test]
    fn uids_are_read_from_codes() {
        let (outcome, answer) = said(&["* OK [COPYUID 7 2:3,9 11:12,14] moved"], "OK done");
        assert_eq!((outcome, answer.uid_validity), (Outcome::Ok, Some(7)));
        assert_eq!(answer.uids, [(2, 11), (3, 12), (9, 14)]);
        let (_, answer) = said(&[], "OK [APPENDUID 7 5] done");
        assert_eq!(answer.uids, [(0, 5)]);
        let (_, answer) = said(
            &["* OK [UIDNEXT 9] next", "* OK [HIGHESTMODSEQ 77] modseq"],
            "OK [READ-WRITE] selected",
        );
        assert_eq!((answer.uid_next, answer.highest_modseq), (Some(9), Some(77)));
    }

    #[test]
    fn rows_have_what_was_fetched() {
        let (_, answer) = said(
            &[
                "* 1 FETCH (UID 4 FLAGS (\\Seen \\Recent later) MODSEQ (12) BODY[HEADER.FIELDS (MESSAGE-ID)] {29}\r\n\
                 Message-ID: <5@remote.test>\r\n\r\n)",
                "* 2 FETCH (FLAGS ())",
                "* VANISHED (EARLIER) 1:2",
            ],
            "OK done",
        );
        let row = Row {
            uid: 4,
            message: Some(5),
            flags: Some(vec!["\\Seen".to_owned(), "later".to_owned()]),
            modseq: Some(12),
            whole: None,
        };
        assert_eq!(answer.rows, [row]);
        assert_eq!(answer.vanished, [1, 2]);
    }

    #[test]
    fn try_later_is_no_refusal() {
        assert!(outcome("NO [UNAVAILABLE] later").may_count());
        assert!(!outcome("NO [OVERQUOTA] full").may_count());
        assert!(!outcome("BAD what").may_count());
    }
}
