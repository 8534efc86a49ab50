//! Dates: a day as SEARCH compares it, and INTERNALDATE as a moment with its zone.
//!
//! The calendar is the proleptic Gregorian one, computed here; no clock is read.

/// A day. RFC 3501 §9, date.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// A day, when there is such a one; `month` and `day` count from 1.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let exists = year <= 9999 && (1..=12).contains(&month) && day >= 1 && day <= days_of(year, month);
        exists.then_some(Self { year, month, day })
    }

    /// The day that holds a moment, `seconds` after 1970 in the wanted zone's own time.
    pub fn from_unix_days(days: i64) -> Option<Self> {
        // Counted in eras of 400 years that start on 1 March, so that the leap day is the last of its year.
        let shifted = days.checked_add(719_468)?;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Self::new(
            u16::try_from(year).ok()?,
            u8::try_from(month).ok()?,
            u8::try_from(day).ok()?,
        )
    }

    /// Days since 1 January 1970.
    pub fn unix_days(self) -> i64 {
        let (month, day) = (i64::from(self.month), i64::from(self.day));
        let year = i64::from(self.year) - i64::from(month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era * 146_097 + day_of_era - 719_468
    }

    /// The year, 0 to 9999.
    pub fn year(self) -> u16 {
        self.year
    }

    /// The month, 1 to 12.
    pub fn month(self) -> u8 {
        self.month
    }

    /// The day of the month, from 1.
    pub fn day(self) -> u8 {
        self.day
    }
}

/// A moment with the zone in which it was written. RFC 3501 §2.3.3 and §9, date-time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DateTime {
    /// Seconds since 1970, UTC.
    pub unix_seconds: i64,
    /// Minutes east of UTC.
    pub offset_minutes: i16,
}

impl DateTime {
    /// A moment from a day and a time of that day in a zone; `None` when there is no such time.
    pub fn new(date: Date, time: (u8, u8, u8), offset_minutes: i16) -> Option<Self> {
        let (hour, minute, second) = time;
        // 60 is a leap second; it counts as the first of the next minute.
        if hour > 23 || minute > 59 || second > 60 || offset_minutes.unsigned_abs() >= 24 * 60 {
            return None;
        }
        let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        let unix_seconds = date.unix_days() * 86_400 + seconds - i64::from(offset_minutes) * 60;
        Some(Self {
            unix_seconds,
            offset_minutes,
        })
    }

    /// The day and the time of day in the moment's own zone; `None` outside the years 0 to 9999.
    pub fn local(self) -> Option<(Date, (u8, u8, u8))> {
        let seconds = self
            .unix_seconds
            .checked_add(i64::from(self.offset_minutes) * 60)?;
        let date = Date::from_unix_days(seconds.div_euclid(86_400))?;
        let second_of_day = seconds.rem_euclid(86_400);
        let small = |number: i64| u8::try_from(number).unwrap_or(0);
        Some((
            date,
            (
                small(second_of_day / 3600),
                small(second_of_day / 60 % 60),
                small(second_of_day % 60),
            ),
        ))
    }
}

fn days_of(year: u16, month: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_goes_round() {
        let (first, last) = (Date::new(0, 1, 1).unwrap(), Date::new(9999, 12, 31).unwrap());
        let mut before: Option<Date> = None;
        for days in first.unix_days()..=last.unix_days() {
            let date = Date::from_unix_days(days).unwrap();
            assert_eq!(date.unix_days(), days);
            assert!(before < Some(date));
            before = Some(date);
        }
        assert_eq!(before, Some(last));
        assert_eq!(Date::from_unix_days(last.unix_days() + 1), None);
        assert_eq!(Date::from_unix_days(i64::MAX), None);
        assert_eq!(Date::from_unix_days(i64::MIN), None);
    }

    #[test]
    fn known_days() {
        assert_eq!(Date::from_unix_days(0), Date::new(1970, 1, 1));
        assert_eq!(Date::new(2024, 2, 29).map(Date::unix_days), Some(19_782));
        assert_eq!(Date::new(2023, 2, 29), None);
        assert_eq!(Date::new(1900, 2, 29), None);
        assert_eq!(Date::new(2024, 13, 1), None);
        assert_eq!(Date::new(2024, 4, 31), None);
    }

    #[test]
    fn moments_keep_their_zone() {
        let date = Date::new(1996, 7, 17).unwrap();
        let moment = DateTime::new(date, (2, 44, 25), -420).unwrap();
        assert_eq!(moment.unix_seconds, 837_596_665);
        assert_eq!(moment.local(), Some((date, (2, 44, 25))));
        assert_eq!(DateTime::new(date, (24, 0, 0), 0), None);
        assert_eq!(DateTime::new(date, (0, 0, 0), 1440), None);
        assert_eq!(
            DateTime {
                unix_seconds: i64::MAX,
                offset_minutes: 60
            }
            .local(),
            None
        );
    }
}
