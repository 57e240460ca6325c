//! So many in a time, and who has had how many.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::{Duration, Instant};
use thiserror::Error;

/// More in one second, minute or hour is no limit.
const MOST: u32 = 1_000_000;

/// So many in a second, a minute or an hour: `20/s`, `600/m`, `1000/h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
}

impl Rate {
    /// The longest time that a rate looks back.
    pub const LONGEST: Duration = Unit::Hour.time();

    /// So many in a minute; one for 0.
    pub const fn per_minute(count: u32) -> Self {
        let count = match NonZeroU32::new(count) {
            Some(count) => count,
            None => NonZeroU32::MIN,
        };
        Self { count, unit: Unit::Minute }
    }

    /// From one to the next, if they come evenly.
    fn interval(self) -> Duration {
        self.unit.time() / self.count.get()
    }
}

impl Unit {
    const fn time(self) -> Duration {
        match self {
            Self::Second => Duration::from_secs(1),
            Self::Minute => Duration::from_secs(60),
            Self::Hour => Duration::from_secs(3600),
        }
    }
}

/// What is no rate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{}` is no rate: write a number from 1 to {MOST} with its time, for example 20/s, 600/m or 1000/h", .0.escape_debug())]
pub struct RateError(String);

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let wrong = || RateError(text.to_owned());
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let unit = match unit {
            "s" => Unit::Second,
            "m" => Unit::Minute,
            "h" => Unit::Hour,
            _ => return Err(wrong()),
        };
        let digits = count.bytes().all(|byte| byte.is_ascii_digit());
        let count = count.parse().ok().filter(|count: &NonZeroU32| digits && count.get() <= MOST);
        Ok(Self { count: count.ok_or_else(wrong)?, unit })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Second => 's',
            Unit::Minute => 'm',
            Unit::Hour => 'h',
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// How much of a [`Rate`] is used up: as many as it says may come at once, and come back evenly over
/// its time. Takes no room for what is not used; another rate may be asked each time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When nothing of it is used up any more.
    whole_at: Option<Instant>,
}

impl Bucket {
    /// True if one more may come now, which then is used up.
    pub fn take(&mut self, rate: Rate, now: Instant) -> bool {
        // What was used up at a slower rate is no more than all that there is at this one.
        let Some(used_up) = now.checked_add(rate.unit.time()) else { return false };
        let whole_at = self.whole_at.map_or(now, |at| at.clamp(now, used_up));
        let later = whole_at.checked_add(rate.interval()).filter(|later| *later <= used_up);
        self.whole_at = Some(later.unwrap_or(whole_at));
        later.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_as_it_is_written() {
        for text in ["1/s", "20/s", "600/m", "1000000/h"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in
            ["", "20", "20/", "/s", "0/s", "20/d", "+2/s", "-1/m", "1000001/h", "2 / s", "1/s/s"]
        {
            let told = text.parse::<Rate>().unwrap_err().to_string();
            assert!(told.contains("600/m"), "{text}: {told}");
        }
        assert!("\u{1b}/s".parse::<Rate>().unwrap_err().to_string().contains(r"\u{1b}"));
    }

    #[test]
    fn as_many_as_the_rate_come_at_once_and_come_back_evenly() {
        let rate = Rate::per_minute(6);
        let mut bucket = Bucket::default();
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!((0..10).filter(|_| bucket.take(rate, at(0))).count(), 6);
        assert!(!bucket.take(rate, at(9)));
        assert!(bucket.take(rate, at(10)));
        assert!(!bucket.take(rate, at(19)));
        assert_eq!((0..10).filter(|_| bucket.take(rate, at(1000))).count(), 6);
        assert!(!bucket.take(rate, at(0)), "a clock that stands still gives nothing");
    }

    #[test]
    fn a_higher_rate_holds_at_once() {
        let (slow, fast) = ("5/h".parse().unwrap(), Rate::per_minute(60));
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        assert!((0..5).all(|_| bucket.take(slow, start)) && !bucket.take(slow, start));
        assert!(!bucket.take(fast, start), "what is used up comes back evenly");
        assert!(bucket.take(fast, start + Duration::from_secs(1)));
    }

    #[test]
    fn a_lower_rate_holds_at_once() {
        let mut bucket = Bucket::default();
        let start = Instant::now();
        assert!((0..600).all(|_| bucket.take(Rate::per_minute(600), start)));
        assert!(!bucket.take(Rate::per_minute(6), start + Duration::from_secs(1)));
        assert!(bucket.take(Rate::per_minute(6), start + Duration::from_secs(60)));
    }

    proptest::proptest! {
        /// No window of the rate's time sees more than twice its count, and somebody who keeps to the
        /// rate is never refused.
        #[test]
        fn the_rate_holds_over_every_window(
            count in 1_u32..50,
            pauses in proptest::collection::vec(0_u64..20_000, 1..400),
        ) {
            let rate = Rate::per_minute(count);
            let (mut bucket, mut polite) = (Bucket::default(), Bucket::default());
            let mut now = Instant::now();
            let mut taken = Vec::new();
            for pause in pauses {
                now += Duration::from_millis(pause);
                if bucket.take(rate, now) {
                    taken.push(now);
                }
            }
            for (at, first) in taken.iter().enumerate() {
                let window = taken.iter().skip(at).take_while(|t| **t - *first < Duration::from_secs(60));
                proptest::prop_assert!(window.count() <= 2 * count as usize);
            }
            for _ in 0..200 {
                now += rate.interval();
                proptest::prop_assert!(polite.take(rate, now));
            }
        }
    }
}
