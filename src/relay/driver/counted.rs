//! What a session counts for: its facts are told, its failed logins are counted, and its place is
//! given back.

use super::Driver;
use crate::report::Report;
use crate::session::Event;

impl Driver {
    pub(super) fn report(&mut self, report: &Report) {
        self.telemetry.record(report);
        if let Report::DataConnectionStarted { transfer, .. } = report
            && let Some(bytes) = self.openings.bytes(*transfer)
        {
            self.telemetry.follow(*transfer, bytes);
        }
        if let Report::LoginRefused { code, .. } = report
            && self.permit.as_ref().is_some_and(|permit| permit.refuse_login(*code))
        {
            self.tell(Event::LoginLimitReached);
        }
    }

    /// A session whose control connections are gone gives its place back, but for one whose data
    /// connections the relay still carries. No earlier, and not then: it would have their descriptors
    /// for nothing, and a client that never closes could have any number. Those of the kernel may run
    /// for days, also where nobody is left (case 45).
    pub(super) fn release_permit(&mut self) {
        if !self.openings.carries() {
            self.permit = None;
        }
    }
}
