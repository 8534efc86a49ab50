//! Strings, names, flags and dates.

use super::number::number;
use crate::imap::parse::{MONTHS, is_atom_char};
use crate::imap::types::{Date, DateTime, Flag, MailboxName};

/// The longest string that is sent quoted; longer ones go as literals, which no client has trouble with.
pub const QUOTED_BYTES_MAX: usize = 1000;

/// `string = quoted / literal`: quoted where it can be.
pub fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    let quotable = |byte: &u8| (b' '..=b'~').contains(byte) || *byte == b'\t';
    if bytes.len() > QUOTED_BYTES_MAX || !bytes.iter().all(quotable) {
        return literal(out, bytes);
    }
    out.push(b'"');
    for byte in bytes {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// `nstring = string / nil`
pub fn nstring(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => string(out, bytes),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// `astring = 1*ASTRING-CHAR / string`: an atom where it can be; NIL is quoted, lest it be taken for nil.
pub fn astring(out: &mut Vec<u8>, bytes: &[u8]) {
    let is_atom = !bytes.is_empty() && bytes.iter().all(|byte| is_atom_char(*byte));
    if is_atom && !bytes.eq_ignore_ascii_case(b"NIL") {
        out.extend_from_slice(bytes);
    } else {
        string(out, bytes);
    }
}

/// `literal = "{" number "}" CRLF *CHAR8`. A NUL, which a literal must not hold (RFC 3501 §4.3), becomes `0x80`.
pub fn literal(out: &mut Vec<u8>, bytes: &[u8]) {
    literal_header(out, bytes.len() as u64);
    let start = out.len();
    out.extend_from_slice(bytes);
    out[start..]
        .iter_mut()
        .filter(|byte| **byte == 0)
        .for_each(|byte| *byte = 0x80);
}

/// The front of a literal whose octets the connection sends itself.
pub fn literal_header(out: &mut Vec<u8>, size: u64) {
    out.push(b'{');
    number(out, size);
    out.extend_from_slice(b"}\r\n");
}

/// `mailbox = "INBOX" / astring`, in modified UTF-7.
pub fn mailbox(out: &mut Vec<u8>, name: &MailboxName) {
    astring(out, name.to_wire().as_bytes());
}

/// `flag-list = "(" [flag *(SP flag)] ")"`
pub fn flag_list<'a>(out: &mut Vec<u8>, flags: impl IntoIterator<Item = &'a Flag>) {
    out.push(b'(');
    for (index, flag) in flags.into_iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        if !matches!(flag, Flag::Keyword(_)) {
            out.push(b'\\');
        }
        out.extend_from_slice(flag.name().as_bytes());
    }
    out.push(b')');
}

/// `date-time`, quotes included: `"17-Jul-1996 02:44:25 -0700"`. A moment outside the years 0 to 9999, which has no
/// such form, is written as 1 January 1970.
pub fn date_time(out: &mut Vec<u8>, moment: DateTime) {
    let epoch = DateTime {
        unix_seconds: 0,
        offset_minutes: 0,
    };
    let (moment, local) = match moment.local() {
        Some(local) if moment.offset_minutes.unsigned_abs() < 24 * 60 => (moment, Some(local)),
        _ => (epoch, epoch.local()),
    };
    let Some((date, (hour, minute, second))) = local else {
        return;
    };
    out.push(b'"');
    day(out, date);
    out.push(b' ');
    two_digits(out, u16::from(hour));
    out.push(b':');
    two_digits(out, u16::from(minute));
    out.push(b':');
    two_digits(out, u16::from(second));
    out.extend_from_slice(if moment.offset_minutes < 0 { b" -" } else { b" +" });
    let offset = moment.offset_minutes.unsigned_abs();
    two_digits(out, offset / 60);
    two_digits(out, offset % 60);
    out.push(b'"');
}

/// `date-day-fixed "-" date-month "-" date-year`
fn day(out: &mut Vec<u8>, date: Date) {
    if date.day() < 10 {
        out.extend_from_slice(&[b' ', b'0' + date.day()]);
    } else {
        two_digits(out, u16::from(date.day()));
    }
    out.push(b'-');
    let month = usize::from(date.month()).saturating_sub(1);
    out.extend_from_slice(MONTHS.get(month).map_or(b"Jan", |name| name.as_bytes()));
    out.push(b'-');
    two_digits(out, date.year() / 100);
    two_digits(out, date.year() % 100);
}

fn two_digits(out: &mut Vec<u8>, number: u16) {
    out.extend([number / 10 % 10, number % 10].map(|digit| b'0' + digit as u8));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn strings_take_the_form_they_can() {
        assert_eq!(written(|out| string(out, b"a \"b\" \\")), r#""a \"b\" \\""#);
        assert_eq!(written(|out| string(out, b"")), r#""""#);
        assert_eq!(written(|out| string(out, "ä".as_bytes())), "{2}\r\nä");
        assert_eq!(written(|out| string(out, b"a\r\nb")), "{4}\r\na\r\nb");
        assert!(written(|out| string(out, &[b'a'; 1001])).starts_with("{1001}\r\na"));
        assert_eq!(written(|out| nstring(out, None)), "NIL");
        assert_eq!(written(|out| astring(out, b"INBOX")), "INBOX");
        assert_eq!(written(|out| astring(out, b"nil")), "\"nil\"");
        assert_eq!(written(|out| astring(out, b"a b")), "\"a b\"");
        let mut out = Vec::new();
        literal(&mut out, b"a\0b");
        assert_eq!(out, b"{3}\r\na\x80b");
    }

    #[test]
    fn names_are_encoded() {
        assert_eq!(
            written(|out| mailbox(out, &MailboxName::new("Entwürfe"))),
            "Entw&APw-rfe"
        );
        assert_eq!(
            written(|out| mailbox(out, &MailboxName::new("R & D"))),
            "\"R &- D\""
        );
        assert_eq!(
            written(|out| mailbox(out, &MailboxName::new("a\r\nb"))),
            "a&AA0ACg-b"
        );
        assert_eq!(written(|out| mailbox(out, &MailboxName::new(""))), "\"\"");
    }

    #[test]
    fn flags_are_listed() {
        let flags = [Flag::Seen, Flag::Keyword("$Junk".into()), Flag::Recent];
        assert_eq!(written(|out| flag_list(out, &flags)), "(\\Seen $Junk \\Recent)");
        assert_eq!(written(|out| flag_list(out, &[])), "()");
    }

    #[test]
    fn dates_are_fixed_width() {
        for (unix_seconds, offset_minutes, text) in [
            (837_596_665, -420, "\"17-Jul-1996 02:44:25 -0700\""),
            (1_707_123_456, 330, "\" 5-Feb-2024 14:27:36 +0530\""),
            (-1, 0, "\"31-Dec-1969 23:59:59 +0000\""),
            (i64::MAX, 60, "\" 1-Jan-1970 00:00:00 +0000\""),
            (0, i16::MIN, "\" 1-Jan-1970 00:00:00 +0000\""),
        ] {
            assert_eq!(
                written(|out| date_time(
                    out,
                    DateTime {
                        unix_seconds,
                        offset_minutes
                    }
                )),
                text
            );
        }
    }
}
