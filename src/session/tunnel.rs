//! TLS that is carried end to end, and the way back to text after CCC (RFC 4217).
//!
//! Each direction is by itself: it carries records until, at a record boundary, something stands
//! that no record begins with. From there on it is text again and is read as before the AUTH, with
//! a close_notify of both sides, of one or of none, which are records like any other (case 30).
//!
//! Nothing of it is decrypted. That a CCC stands behind the text is inferred from what can be seen:
//! both sides have sent application data, and the client as many records as a login and CCC take.

use super::{Phase, Session, TlsStart, replies};
use crate::ftp::LineReader;
use crate::report::{CccOutcome, CloseCause, ControlProtection, Report};
use crate::terms::Side;
use crate::tls::record::{self, RecordFollower, Then};
use bytes::Bytes;
use std::time::Instant;

/// Records that a peer may still send when its text has begun: an alert that its TLS library wrote
/// late (case 33), which is 57 bytes at the most with the ciphers in use.
const LATE_RECORDS: usize = 512;

/// The lines of one peer.
#[derive(Debug, Default)]
enum Direction {
    /// Text since the start.
    #[default]
    Text,
    /// Records of TLS.
    Records(RecordFollower),
    /// Text after records.
    TextAgain {
        /// Bytes of late records that may still be dropped.
        late: usize,
    },
}

/// Both directions of a control connection, named by who sends.
#[derive(Debug, Default)]
pub(super) struct Tunnel {
    client: Direction,
    server: Direction,
}

impl Tunnel {
    /// Records follow in both directions.
    fn begin(&mut self) {
        self.client = Direction::Records(RecordFollower::new());
        self.server = Direction::Records(RecordFollower::new());
    }

    fn direction(&mut self, from: Side) -> &mut Direction {
        match from {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// True while what `from` sends is carried unread.
    pub(super) fn hides(&self, from: Side) -> bool {
        let direction = match from {
            Side::Client => &self.client,
            Side::Server => &self.server,
        };
        matches!(direction, Direction::Records(_))
    }

    /// True if what `from` sends has been text since the start.
    pub(super) fn is_text(&mut self, from: Side) -> bool {
        matches!(self.direction(from), Direction::Text)
    }

    /// The records of `from` go on at a boundary, wherever they were.
    pub(super) fn resume(&mut self, from: Side) {
        if let Direction::Records(records) = self.direction(from) {
            records.resume();
        }
    }

    /// True in the midst of one of the server's records: nothing may be put between its bytes.
    pub(super) fn splits_record(&self) -> bool {
        matches!(&self.server, Direction::Records(records) if !records.at_boundary())
    }

    /// TLS that ended here is over on this side: an alert of it may still come (case 33).
    pub(super) fn show_late(&mut self, from: Side) {
        *self.direction(from) = Direction::TextAgain { late: LATE_RECORDS };
    }

    fn hides_any(&self) -> bool {
        self.hides(Side::Client) || self.hides(Side::Server)
    }

    /// True from the start of TLS until both sides have sent application data.
    fn is_in_handshake(&self) -> bool {
        let unfinished = |direction: &Direction| match direction {
            Direction::Records(records) => records.application_records() == 0,
            Direction::Text | Direction::TextAgain { .. } => false,
        };
        unfinished(&self.client) || unfinished(&self.server)
    }

    /// True if no byte of TLS has come since it was due.
    fn has_not_begun(&self) -> bool {
        let idle = |direction: &Direction| match direction {
            Direction::Records(records) => !records.has_begun() && records.at_boundary(),
            Direction::Text | Direction::TextAgain { .. } => false,
        };
        idle(&self.client) && idle(&self.server)
    }

    /// How many lines the client can have sent inside TLS, one a record. The Finished of TLS 1.3
    /// looks like one.
    fn client_lines(&self) -> u32 {
        match &self.client {
            Direction::Records(records) => {
                records.application_records().saturating_sub(records.is_tls13().into())
            }
            Direction::Text | Direction::TextAgain { .. } => 0,
        }
    }
}

impl Session {
    /// TLS begins in both directions behind `last`, the last line to the client, and with what has
    /// been received and not been read yet.
    pub(super) fn begin_tls(&mut self, last: Option<Bytes>, now: Instant) {
        self.hide_lines(last);
        self.pending.clear();
        self.tunnel.begin();
        self.cleared_early = false;
        self.secured_since = now;
        self.first_line_since = None;
        for side in [Side::Client, Side::Server] {
            if self.phase == Phase::Closed {
                // What the client has sent ahead was no TLS.
                return;
            }
            let rest = self.reader(side).take_rest();
            self.on_bytes(side, &rest, now);
            if self.client_ended {
                // Without a word more of the client there is no handshake.
                self.close(None, CloseCause::ClientClosed, now);
            }
        }
    }

    /// The lines behind `last` cannot be read. What is known of data ports beforehand is opened
    /// ahead of it.
    pub(super) fn hide_lines(&mut self, last: Option<Bytes>) {
        self.withdraw_offered();
        self.open_blind_range();
        if let Some(line) = last {
            self.send(Side::Client, line);
        }
        self.security.hide();
        self.forget_standing();
        self.report(Report::ProtectionChanged { state: ControlProtection::Passthrough });
    }

    /// The lines can be read again.
    pub(super) fn show_lines(&mut self) {
        self.security.clear();
        self.close_blind_range();
        self.report(Report::ProtectionChanged { state: ControlProtection::Cleared });
    }

    /// REIN was accepted in the clear: what was agreed before is void (case 36).
    pub(super) fn reset_security(&mut self) {
        if self.security.control() != ControlProtection::Clear {
            self.report(Report::ProtectionChanged { state: ControlProtection::Clear });
        }
        self.close_blind_range();
        self.security.reset();
    }

    /// A mechanism other than TLS encloses nothing any more: a command in the clear was accepted, as
    /// none is before CCC (RFC 2228 §3).
    pub(super) fn show_enclosed(&mut self) {
        self.report_ccc(CccOutcome::Cleared);
        self.show_lines();
    }

    /// Passes on what of `bytes` is TLS; returns the rest, which is text.
    pub(super) fn carry_records<'a>(
        &mut self,
        from: Side,
        bytes: &'a [u8],
        now: Instant,
    ) -> &'a [u8] {
        let Direction::Records(records) = self.tunnel.direction(from) else { return bytes };
        let followed = records.follow(bytes);
        let (tls, rest) = bytes.split_at_checked(followed.tls).unwrap_or((bytes, &[]));
        if !tls.is_empty() {
            self.send(from.other(), Bytes::copy_from_slice(tls));
        }
        match followed.then {
            Then::More => &[],
            Then::Garbled => {
                self.close(None, CloseCause::TlsGarbled, now);
                &[]
            }
            Then::Text => {
                self.on_text_again(from, now);
                rest
            }
        }
    }

    fn on_text_again(&mut self, from: Side, now: Instant) {
        if self.tunnel.is_in_handshake() {
            let begun = match self.tunnel.direction(from) {
                Direction::Records(records) => records.has_begun(),
                Direction::Text | Direction::TextAgain { .. } => true,
            };
            return if self.settings.client_start != TlsStart::Explicit && !begun {
                self.close(Some(replies::TLS_START), CloseCause::TlsStart, now);
            } else {
                self.close(None, CloseCause::PlaintextInHandshake, now);
            };
        }
        // The first of the two to come back: USER by certificate and CCC are the least.
        if self.tunnel.hides(from.other()) {
            let least = if self.logged_in { 1 } else { 2 };
            self.cleared_early = self.tunnel.client_lines() < least;
            if self.cleared_early {
                self.report_ccc(CccOutcome::Early);
                if self.settings.tls_required {
                    return self.close(Some(replies::TLS_REQUIRED), CloseCause::TlsRequired, now);
                }
                self.login_since = now;
            }
            self.logged_in |= !self.cleared_early;
            if self.refuses_unseen_ccc(now) {
                return;
            }
        }
        self.clear_direction(from);
    }

    fn clear_direction(&mut self, from: Side) {
        *self.tunnel.direction(from) = Direction::TextAgain { late: LATE_RECORDS };
        if !self.tunnel.hides_any() {
            if !self.cleared_early {
                self.report_ccc(CccOutcome::Cleared);
            }
            self.show_lines();
        }
    }

    /// Sends the client words of the gateway's own. A client whose lines are read has ended its TLS
    /// and takes them for the server's first text: what of TLS still comes behind them is late.
    pub(super) fn answer_client(&mut self, bytes: Bytes) {
        if self.tunnel.hides(Side::Server) {
            self.clear_direction(Side::Server);
        }
        self.send(Side::Client, bytes);
    }

    /// Drops the records that come late at the start of a line. True if the line behind them may be
    /// read now.
    pub(super) fn drop_late_records(&mut self, from: Side, now: Instant) -> bool {
        let Direction::TextAgain { late } = self.tunnel.direction(from) else { return true };
        let reader = match from {
            Side::Client => &mut self.client_reader,
            Side::Server => &mut self.server_reader,
        };
        let start = reader.line_start().unwrap_or_default();
        if !start.first().copied().is_some_and(record::begins_record) {
            return true;
        }
        let mut records = RecordFollower::new();
        let followed = records.follow(start);
        if followed.then == Then::Garbled || followed.tls > *late {
            self.close(None, CloseCause::TlsGarbled, now);
            return false;
        }
        if !records.at_boundary() {
            return false;
        }
        *late -= followed.tls;
        reader.skip(followed.tls);
        true
    }

    /// How a secured control connection ended, told once for each.
    pub(super) fn report_ccc_at_close(&mut self) {
        let hidden = self.security.control() == ControlProtection::Passthrough;
        if !hidden || self.cleared_early || self.tunnel.is_in_handshake() {
            return;
        }
        let (client, server) = (self.tunnel.hides(Side::Client), self.tunnel.hides(Side::Server));
        match (client, server) {
            (true, true) => self.report_ccc(CccOutcome::Missing),
            (true, false) | (false, true) => self.report_ccc(CccOutcome::Halfway),
            // Another mechanism than TLS.
            (false, false) => self.report_ccc(CccOutcome::Missing),
        }
    }

    fn report_ccc(&mut self, outcome: CccOutcome) {
        self.report(Report::CccObserved { outcome, passed: self.blind.passed() });
    }

    /// True if a farewell to the client would be read as one: not in the midst of TLS.
    pub(super) fn client_reads_text(&self) -> bool {
        !self.tunnel.hides(Side::Server) || self.tunnel.has_not_begun()
    }

    /// When TLS that is due has to be established.
    pub(super) fn handshake_deadline(&self) -> Option<Instant> {
        let due = self.tunnel.is_in_handshake() || self.awaits_tls();
        let waits = self.phase == Phase::Open && due;
        // TLS that begins without a word stands in the place of the first line.
        let unasked = !self.first_line_seen;
        let (login, first) = (self.settings.login_timeout, self.settings.first_line_timeout);
        let timeout = if unasked { login.min(first) } else { login };
        waits.then(|| self.secured_since + timeout)
    }

    pub(super) fn reader(&mut self, side: Side) -> &mut LineReader {
        match side {
            Side::Client => &mut self.client_reader,
            Side::Server => &mut self.server_reader,
        }
    }
}
