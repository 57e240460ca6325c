//! The time by which the sessions of one control connection age: the time of day at which it began, and
//! how long that is ago by a clock that nobody sets.
//!
//! rustls forgets a ticket whose lifetime is over by the time of day. A clock that steps in mid-session
//! (the first answer of NTP, a virtual machine that is resumed) would leave nothing to resume, and a
//! server that demands it would refuse every further data connection.

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use std::time::{Duration, Instant};

/// A clock that goes on from where it was started, whatever becomes of the time of day.
#[derive(Debug)]
pub(super) struct Steady {
    began: UnixTime,
    since: Instant,
}

impl Steady {
    /// Starts at the time of day.
    pub(super) fn start() -> Self {
        Self { began: UnixTime::now(), since: Instant::now() }
    }

    fn after(&self, elapsed: Duration) -> UnixTime {
        let began = Duration::from_secs(self.began.as_secs());
        UnixTime::since_unix_epoch(began.saturating_add(elapsed))
    }
}

impl TimeProvider for Steady {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.after(self.since.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_from_where_it_was_started() {
        // A time of day that is none any more: the clock was set since.
        let steady = Steady {
            began: UnixTime::since_unix_epoch(Duration::from_secs(1_000_000)),
            since: Instant::now(),
        };
        assert_eq!(steady.after(Duration::ZERO).as_secs(), 1_000_000);
        assert_eq!(steady.after(Duration::from_millis(7_900)).as_secs(), 1_000_007);
        let now = steady.current_time().unwrap().as_secs();
        assert!((1_000_000..1_000_600).contains(&now), "{now}");
    }
}
