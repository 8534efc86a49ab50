//! Dates as commands write them.

use super::cursor::Cursor;
use super::error::{Parsed, SyntaxError};
use crate::imap::types::{Date, DateTime};

/// The months as the protocol names them.
pub(crate) const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

const MALFORMED: &str = "malformed date";
const NO_SUCH: &str = "no such date";

/// `date = date-text / DQUOTE date-text DQUOTE`, `date-text = date-day "-" date-month "-" date-year`
pub(super) fn date(cursor: &mut Cursor<'_>) -> Parsed<Date> {
    let quoted = cursor.accept(b'"');
    let date = date_text(cursor)?;
    if quoted {
        cursor.expect(b'"', MALFORMED)?;
    }
    Ok(date)
}

/// ```abnf
/// date-time      = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
/// date-day-fixed = (SP DIGIT) / 2DIGIT
/// time           = 2DIGIT ":" 2DIGIT ":" 2DIGIT
/// zone           = ("+" / "-") 4DIGIT
/// ```
/// A day of one digit without the space is taken too, since Outlook sends it.
pub(super) fn date_time(cursor: &mut Cursor<'_>) -> Parsed<DateTime> {
    cursor.expect(b'"', MALFORMED)?;
    cursor.accept(b' ');
    let date = date_text(cursor)?;
    cursor.expect(b' ', MALFORMED)?;
    let hour = digits(cursor, 2, 2)?;
    cursor.expect(b':', MALFORMED)?;
    let minute = digits(cursor, 2, 2)?;
    cursor.expect(b':', MALFORMED)?;
    let second = digits(cursor, 2, 2)?;
    cursor.expect(b' ', MALFORMED)?;
    let west = cursor.accept(b'-');
    if !west {
        cursor.expect(b'+', MALFORMED)?;
    }
    let zone = digits(cursor, 4, 4)?;
    cursor.expect(b'"', MALFORMED)?;
    if zone % 100 > 59 {
        return Err(SyntaxError::new(NO_SUCH));
    }
    let offset = i16::try_from(zone / 100 * 60 + zone % 100).map_err(|_| SyntaxError::new(NO_SUCH))?;
    let time = (small(hour)?, small(minute)?, small(second)?);
    DateTime::new(date, time, if west { -offset } else { offset }).ok_or(SyntaxError::new(NO_SUCH))
}

/// `date-day = 1*2DIGIT`, `date-year = 4DIGIT`
fn date_text(cursor: &mut Cursor<'_>) -> Parsed<Date> {
    let day = digits(cursor, 1, 2)?;
    cursor.expect(b'-', MALFORMED)?;
    let name = cursor.word(|byte| byte.is_ascii_alphabetic(), MALFORMED)?;
    let month = MONTHS
        .iter()
        .position(|month| month.eq_ignore_ascii_case(name))
        .ok_or(SyntaxError::new(MALFORMED))?;
    cursor.expect(b'-', MALFORMED)?;
    let year = digits(cursor, 4, 4)?;
    Date::new(year, u8::try_from(month + 1).unwrap_or(0), small(day)?).ok_or(SyntaxError::new(NO_SUCH))
}

fn digits(cursor: &mut Cursor<'_>, min: usize, max: usize) -> Parsed<u16> {
    let digits = cursor.take_while(|byte| byte.is_ascii_digit());
    if !(min..=max).contains(&digits.len()) {
        return Err(SyntaxError::new(MALFORMED));
    }
    Ok(digits
        .iter()
        .fold(0, |number, digit| number * 10 + u16::from(digit - b'0')))
}

fn small(number: u16) -> Parsed<u8> {
    u8::try_from(number).map_err(|_| SyntaxError::new(NO_SUCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_time(text: &str) -> Parsed<DateTime> {
        let mut cursor = Cursor::from_text(text.as_bytes());
        let moment = date_time(&mut cursor)?;
        cursor.finish().map(|()| moment)
    }

    #[test]
    fn date_times() {
        let wanted = Ok(DateTime {
            unix_seconds: 1_707_123_456,
            offset_minutes: 330,
        });
        for text in [
            "\" 5-Feb-2024 14:27:36 +0530\"",
            "\"05-feb-2024 14:27:36 +0530\"",
            "\"5-Feb-2024 14:27:36 +0530\"",
        ] {
            assert_eq!(parse_time(text), wanted, "{text}");
        }
        for bad in [
            "\"31-Feb-2024 14:27:36 +0530\"",
            "\"05-Feb-2024 24:27:36 +0530\"",
            "\"05-Feb-2024 14:27:36 +0560\"",
            "\"05-Feb-2024 14:27:36 +9900\"",
            "\"05-Feb-2024 14:27:36 0530\"",
            "\"05-Feb-2024 14:27:36\"",
            "\"005-Feb-2024 14:27:36 +0530\"",
            "\"05-Fev-2024 14:27:36 +0530\"",
            "\"05-Feb-24 14:27:36 +0530\"",
            "05-Feb-2024 14:27:36 +0530",
        ] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dates() {
        let parse = |text: &str| date(&mut Cursor::from_text(text.as_bytes())).ok();
        assert_eq!(parse("1-Feb-1994"), Date::new(1994, 2, 1));
        assert_eq!(parse("\"01-Feb-1994\""), Date::new(1994, 2, 1));
        for bad in [
            "\"1-Feb-1994",
            "1-2-1994",
            "0-Feb-1994",
            "1-Feb-94",
            "30-Feb-1994",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
