//! What a session does about bytes that were not seen. That happens to none that runs here, whose bytes
//! TCP brings whole; a session that is only observed from aside has a capture, and captures lack
//! packets, or begin in the middle (see [`crate::observe`]).
//!
//! What was lost may have been anything: a login, a reply, the end of a line. So the session takes a
//! login for made, awaits no reply any more, and reads on where a line or a record begins, which whoever
//! tells it has to find. What begins like a record where text was due is one: the AUTH ahead of it was
//! lost.

use super::{Phase, Session};
use crate::ftp::ReplyReader;
use crate::terms::Side;
use crate::tls::record;
use std::time::Instant;

impl Session {
    /// Bytes of `from` are missing; the next ones begin a line, or a record.
    pub(super) fn on_bytes_lost(&mut self, from: Side) {
        if self.phase == Phase::Closed {
            return;
        }
        self.reader(from).take_rest();
        self.tunnel.resume(from);
        self.replies = ReplyReader::new();
        self.reply_bytes = 0;
        self.early_line = None;
        self.early_reply = None;
        self.opening = None;
        self.pending.clear();
        self.logged_in = true;
        self.lost = true;
    }

    /// TLS runs already where text was due, as a direction shows of which something was lost.
    pub(super) fn begins_unseen_tls(&mut self, from: Side, bytes: &[u8], now: Instant) {
        let record = bytes.first().copied().is_some_and(record::begins_record);
        if self.lost && record && !self.hides_lines() && self.tunnel.is_text(from) {
            self.begin_tls(None, now);
        }
    }
}
