//! A date as RFC 5322 §3.3 writes it, always in UTC.

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// `Tue, 14 Nov 2023 22:13:20 +0000`. Times outside the years 1970 to 9999 are written as the nearest
/// inside, for want of a form.
pub fn rfc5322_date(unix_seconds: i64) -> String {
    const LAST_OF_9999: i64 = 253_402_300_799;
    let seconds = unix_seconds.clamp(0, LAST_OF_9999);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    // 1 January 1970 was a Thursday.
    let weekday = DAYS[(days % 7) as usize];
    format!(
        "{weekday}, {day:02} {} {year:04} {:02}:{:02}:{:02} +0000",
        MONTHS[month],
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

/// Days since 1970 as year, month from 0, and day from 1. Goes year by year inside a period
/// of 400 and month by month: slow beside a formula, and plainly right.
fn civil(mut days: i64) -> (i64, usize, i64) {
    // Whole periods of 400 years first, in which the calendar repeats itself.
    const PERIOD_DAYS: i64 = 146_097;
    let mut year = 1970 + days / PERIOD_DAYS * 400;
    days %= PERIOD_DAYS;
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + i64::from(is_leap(year));
    let mut month = 0;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (i64::MIN, "Thu, 01 Jan 1970 00:00:00 +0000"),
            (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
            (68_169_599, "Mon, 28 Feb 1972 23:59:59 +0000"),
            (68_169_600, "Tue, 29 Feb 1972 00:00:00 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (1_700_000_000, "Tue, 14 Nov 2023 22:13:20 +0000"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 +0000"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 +0000"),
            (i64::MAX, "Fri, 31 Dec 9999 23:59:59 +0000"),
        ] {
            assert_eq!(rfc5322_date(seconds), text);
        }
    }
}
