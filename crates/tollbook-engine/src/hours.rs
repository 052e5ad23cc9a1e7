//! Hours in which calls are let through, on the local clocks of a time zone.
//!
//! The zones come from the database that is built into the program, so that the answer doesn't depend on
//! the machine; its version stands in the log.

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use tollbook_policy::policy::{Day, OnlyDuring};

#[derive(Debug)]
pub(crate) struct Hours {
    zone: TimeZone,
    days: [bool; 7],
    from_minute: u16,
    to_minute: u16,
}

impl Hours {
    /// # Errors
    /// A zone that the database doesn't have; told in words.
    pub fn compile(source: &OnlyDuring) -> Result<Self, String> {
        let zone = TimeZoneDatabase::bundled().get(&source.zone).map_err(|_| {
            format!("the time zone `{}` is unknown; expected an IANA name such as `Europe/London`", source.zone)
        })?;
        let mut days = [false; 7];
        for day in &source.days {
            if let Some(open) = days.get_mut(index(*day)) {
                *open = true;
            }
        }
        Ok(Self { zone, days, from_minute: source.from_minute, to_minute: source.to_minute })
    }

    /// Whether calls are let through at this instant. An instant beyond the calendar is outside.
    pub fn contain(&self, at_us: i64) -> bool {
        let Ok(instant) = Timestamp::from_microsecond(at_us) else { return false };
        let local = self.zone.to_datetime(instant);
        let minute = u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
        let today = usize::from(local.weekday().to_monday_zero_offset().unsigned_abs());
        let opens_on = |day: usize| self.days.get(day % 7).copied().unwrap_or(false);
        if self.to_minute > self.from_minute {
            return opens_on(today) && (self.from_minute..self.to_minute).contains(&minute);
        }
        // Over midnight: the hours belong to the day on which they begin.
        (opens_on(today) && minute >= self.from_minute) || (opens_on(today + 6) && minute < self.to_minute)
    }
}

fn index(day: Day) -> usize {
    match day {
        Day::Mon => 0,
        Day::Tue => 1,
        Day::Wed => 2,
        Day::Thu => 3,
        Day::Fri => 4,
        Day::Sat => 5,
        Day::Sun => 6,
    }
}

#[cfg(test)]
mod tests;
