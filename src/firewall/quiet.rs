//! Whether a connection moves anything, seen from looking at its entry of conntrack's now and then:
//! plain values.

use super::FlowBytes;
use super::conntrack::Flow;
use std::time::{Duration, Instant};

/// The kernel counts an entry's time in whole seconds, and looks are not taken to the moment.
const BLUR: Duration = Duration::from_secs(2);

/// Since when a connection has moved nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet {
    since: Instant,
    seen: Seen,
}

/// What a connection that moves changes.
#[derive(Debug, Clone, Copy)]
enum Seen {
    /// Its bytes in both directions, the acknowledgements among them. A peer that has vanished
    /// answers nothing, however often the other one repeats itself.
    Bytes(FlowBytes),
    /// Without accounting: the moment at which conntrack would forget it. Each packet moves that.
    Expiry(Instant),
    /// Nothing is told of it.
    Nothing,
}

impl Seen {
    fn of(flow: &Flow, now: Instant) -> Self {
        match (flow.bytes, flow.expires) {
            (Some(bytes), _) => Self::Bytes(bytes),
            (None, Some(expires)) => Self::Expiry(now + Duration::from_secs(expires.into())),
            (None, None) => Self::Nothing,
        }
    }

    /// True if something has moved between `self` and `later`.
    fn moved(self, later: Self) -> bool {
        match (self, later) {
            (Self::Bytes(was), Self::Bytes(is)) => {
                was.original != is.original && was.reply != is.reply
            }
            (Self::Expiry(was), Self::Expiry(is)) => {
                let earlier = was.saturating_duration_since(is);
                earlier.max(is.saturating_duration_since(was)) > BLUR
            }
            // Accounting has been switched on or off, or nothing is known.
            (Self::Bytes(_) | Self::Expiry(_) | Self::Nothing, _) => true,
        }
    }
}

impl Quiet {
    /// Looked at for the first time.
    pub(super) fn new(flow: &Flow, now: Instant) -> Self {
        Self { since: now, seen: Seen::of(flow, now) }
    }

    /// Looked at again: true if nothing has moved for `limit`.
    pub(super) fn lasts(&mut self, flow: &Flow, limit: Duration, now: Instant) -> bool {
        let seen = Seen::of(flow, now);
        if self.seen.moved(seen) {
            *self = Self { since: now, seen };
        }
        now.saturating_duration_since(self.since) >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::conntrack::State;

    const LIMIT: Duration = Duration::from_secs(10);

    fn flow(bytes: Option<(u64, u64)>, expires: u32) -> Flow {
        Flow {
            id: 1,
            from: "192.0.2.2:40000".parse().unwrap(),
            to: "203.0.113.7:50000".parse().unwrap(),
            state: Some(State::Alive),
            bytes: bytes.map(|(original, reply)| FlowBytes { original, reply }),
            expires: Some(expires),
        }
    }

    /// After which of the looks, five seconds apart, the connection has been quiet for too long.
    fn quiet_after(looks: &[Flow]) -> Option<usize> {
        let start = Instant::now();
        let mut quiet = Quiet::new(&looks[0], start);
        let at = |look: usize| start + Duration::from_secs(5) * u32::try_from(look).unwrap();
        (1..looks.len()).find(|look| quiet.lasts(&looks[*look], LIMIT, at(*look)))
    }

    #[test]
    fn a_connection_that_moves_in_both_directions_is_not_quiet() {
        let looks = [(1, 1), (2, 2), (3, 3), (4, 4)].map(|bytes| flow(Some(bytes), 300));
        assert_eq!(quiet_after(&looks), None);
    }

    #[test]
    fn one_that_repeats_itself_to_a_vanished_peer_is_quiet() {
        let looks = [(1, 1), (2, 1), (3, 1), (4, 1)].map(|bytes| flow(Some(bytes), 300));
        assert_eq!(quiet_after(&looks), Some(2));
    }

    #[test]
    fn without_accounting_the_time_left_tells() {
        let looks = [432_000, 431_995, 431_990, 431_985].map(|left| flow(None, left));
        assert_eq!(quiet_after(&looks), Some(2));
        // Packets come, of which some are not acknowledged yet at the moment of the look.
        let looks = [432_000, 300, 300, 431_999].map(|left| flow(None, left));
        assert_eq!(quiet_after(&looks), None);
    }
}
