//! The TLS of data connections where it ends here, and what the client hears of a transfer that came
//! to none.

use super::pending::Pending;
use super::{Action, Session, replies};
use crate::ftp;
use crate::report::{Connection, Report, TlsFault, TlsVersion};
use crate::terms::{Side, TransferId};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// How long the server may be silent about a transfer whose data connection has come to no TLS: it
/// has seen a reset. Pure-FTPd leaves a download that breaks so unanswered.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A data connection that came to no TLS.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed {
    transfer: TransferId,
    side: Side,
    fault: TlsFault,
    since: Instant,
}

impl Session {
    pub(super) fn on_data_tls(
        &mut self,
        id: TransferId,
        side: Side,
        outcome: Result<(TlsVersion, bool), TlsFault>,
        now: Instant,
    ) {
        if let Err(fault) = outcome {
            self.failed = Some(Failed { transfer: id, side, fault, since: now });
        }
        let (version, resumed, fault) = match outcome {
            Ok((version, resumed)) => (Some(version), resumed, None),
            Err(fault) => (None, false, Some(fault)),
        };
        let connection = Connection::Data;
        self.report(Report::HandshakeEnded { side, connection, version, resumed, fault });
    }

    /// The server hears the client's next command.
    pub(super) fn take_upload(&mut self) {
        let last = self.last_negotiated;
        let Some(transfer) = self.transfers.iter_mut().find(|transfer| transfer.id() == last)
        else {
            return;
        };
        if transfer.take_upload() {
            self.actions.push_back(Action::TakeUpload { id: last });
        }
    }

    /// True if this reply begins to say what became of a transfer whose data connection came to no
    /// TLS, and is to be replaced. A server that says 2xx has had its own connection and cannot know;
    /// one that refuses what came to nothing on the client's side (vsftpd's 426) sees a reset and no
    /// reason. What it says of its own side, and its good-bye, are its own.
    pub(super) fn hides_failed_transfer(&self, first_line: &[u8]) -> bool {
        let (Some(failed), Some(code)) =
            (self.awaits_failed_transfer(), ftp::reply_code(first_line))
        else {
            return false;
        };
        let consequence = failed.side == Side::Client && code.is_negative() && code.value() != 421;
        code.is_positive() || consequence
    }

    /// The server will say nothing more of a transfer whose data connection came to no TLS.
    pub(super) fn tell_failed_transfer(&mut self) {
        if let Some(failed) = self.awaits_failed_transfer()
            && self.replies.at_boundary()
        {
            self.failed = None;
            self.pending.pop();
            self.send(Side::Client, replies::no_data_tls(failed.fault));
        }
    }

    /// Until when the server may be silent about it. What comes later could not be told from the
    /// reply to the next command.
    pub(super) fn answer_deadline(&self) -> Option<Instant> {
        self.awaits_failed_transfer().map(|failed| failed.since + ANSWER_TIMEOUT)
    }

    fn awaits_failed_transfer(&self) -> Option<Failed> {
        let Some(Pending::Transfer { id, .. }) = self.pending.front() else { return None };
        self.failed.filter(|failed| failed.transfer == *id)
    }

    /// In place of the 2xx that the server has said.
    pub(super) fn failure_reply(&mut self) -> Option<Bytes> {
        self.failed.take().map(|failed| replies::no_data_tls(failed.fault))
    }
}
