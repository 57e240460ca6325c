//! The time that each peer has for its first line: the server for its greeting, then the client for
//! what it wants.

use super::pending::Pending;
use super::{Phase, Session, replies};
use crate::report::CloseCause;
use std::time::Instant;

impl Session {
    /// From now on a first line is due: from the server until it has greeted, then from the client.
    pub(super) fn await_first_line(&mut self, now: Instant) {
        self.first_line_since = Some(now);
    }

    /// When the first line of whose turn it is has to be there. Where TLS is due it has a time of its
    /// own, and where lines are not read nobody can tell.
    pub(super) fn first_line_deadline(&self) -> Option<Instant> {
        let readable = !self.hides_lines() && !self.awaits_tls();
        let awaited = self.is_ungreeted() || !self.first_line_seen;
        let since = self.first_line_since.filter(|_| self.phase == Phase::Open)?;
        (readable && awaited).then(|| since + self.settings.first_line_timeout)
    }

    /// The first line has not come.
    pub(super) fn end_silence(&mut self, now: Instant) {
        if self.is_ungreeted() {
            self.close(Some(replies::NOT_GREETED), CloseCause::GreetingTimeout, now);
        } else {
            self.close(Some(replies::NO_FIRST_LINE), CloseCause::FirstLineTimeout, now);
        }
    }

    fn is_ungreeted(&self) -> bool {
        matches!(self.pending.front(), Some(Pending::Greeting))
    }
}
