//! How long a client waits after failed logins.

use super::rate::{Bucket, Rate};
use std::time::{Duration, Instant};

/// What a client waits that fails too often for the first time: a person reads the message, a
/// program that tries passwords loses most of its speed.
pub const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// What it waits at most. An office behind one address is not shut out for the day by one forgotten
/// job, and twenty tries in a quarter of an hour lead nowhere.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// A client that has not failed for so long behind its last pause begins anew.
const FORGIVEN_AFTER: Duration = LONGEST_PAUSE;

/// The failed logins of one client. The first that is beyond the rate makes it wait, each later
/// one twice as long, up to [`LONGEST_PAUSE`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: Bucket,
    /// Pauses since it began.
    pauses: u8,
    /// The end of the last one.
    until: Option<Instant>,
}

impl Backoff {
    /// The longest time for which anything here matters.
    pub const LONGEST: Duration = Duration::from_secs(2 * LONGEST_PAUSE.as_secs());

    /// A login has failed. True if the client has to wait.
    pub fn fail(&mut self, rate: Rate, now: Instant) -> bool {
        if self.waits(now) {
            // What sessions that run still try makes it no longer: they end.
            return true;
        }
        if self.until.is_some_and(|until| now.saturating_duration_since(until) > FORGIVEN_AFTER) {
            self.pauses = 0;
        }
        if self.failures.take(rate, now) {
            return false;
        }
        self.until = now.checked_add(pause(self.pauses));
        self.pauses = self.pauses.saturating_add(1);
        true
    }

    /// True while the client has to wait.
    pub fn waits(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

/// The pause behind so many others.
fn pause(earlier: u8) -> Duration {
    let factor = 1_u32.checked_shl(earlier.into()).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate::per_minute(3);

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let seconds: Vec<u64> = (0..9).map(|earlier| pause(earlier).as_secs()).collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 320, 640, 900, 900]);
        assert_eq!(pause(u8::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn a_client_waits_longer_each_time_and_begins_anew_when_it_has_been_quiet() {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        assert!((0..3).all(|_| !backoff.fail(RATE, now)), "as many as the rate are free");
        for expected in [10, 20, 40] {
            while !backoff.fail(RATE, now) {}
            assert!(backoff.waits(now + Duration::from_millis(expected * 1000 - 1)));
            assert!(backoff.fail(RATE, now + Duration::from_secs(1)), "it makes it no longer");
            now += Duration::from_secs(expected);
            assert!(!backoff.waits(now));
        }
        now += FORGIVEN_AFTER + Duration::from_secs(1);
        while !backoff.fail(RATE, now) {}
        assert!(!backoff.waits(now + FIRST_PAUSE));
    }

    proptest::proptest! {
        #[test]
        fn nobody_waits_longer_than_the_longest_or_without_having_failed_too_often(
            pauses in proptest::collection::vec(0_u64..400_000, 1..200),
        ) {
            let mut backoff = Backoff::default();
            let mut now = Instant::now();
            let mut failed = 0;
            for pause in pauses {
                now += Duration::from_millis(pause);
                failed += 1;
                let waits = backoff.fail(RATE, now);
                proptest::prop_assert_eq!(waits, backoff.waits(now));
                proptest::prop_assert!(!waits || failed > 3);
                proptest::prop_assert!(!backoff.waits(now + LONGEST_PAUSE));
            }
        }
    }
}
