//! The reply that would reach the client ahead of the data connection it speaks of.
//!
//! A server that connects has its connection as soon as the gateway's kernel answers, and may have
//! sent a short listing and its 226 before the relay has dialled the client. Without a gateway that
//! order cannot be, and clients take it for a failure (curl), so that a 2xx waits until both legs
//! stand. The same goes for a client whose TLS handshake is with the gateway: the server may be done
//! before it is over. A refusal does not wait: nothing comes that it could outrun.

use super::Session;
use super::pending::Pending;
use super::transfer::Transfer;
use crate::ftp::{self, Code, Line};
use crate::terms::Side;
use std::time::{Duration, Instant};

/// How long a 2xx waits for the client: one that lost two SYNs has answered by then.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it waits for a server that has not connected. Its SYN is ahead of its reply, if it sends
/// one at all.
const SERVER_TIMEOUT: Duration = Duration::from_secs(1);

/// The first line of such a reply. The server is read no further meanwhile.
#[derive(Debug)]
pub(super) struct EarlyReply {
    line: Line,
    since: Instant,
    /// The server says nothing more.
    is_last: bool,
}

impl Session {
    /// Keeps `line` if it is the reply that has to wait.
    pub(super) fn hold_if_early(&mut self, line: &Line, now: Instant) -> bool {
        let done = ftp::reply_code(line.text()).is_some_and(Code::is_positive);
        if !done || !self.replies.at_boundary() {
            return false;
        }
        if self.awaited_transfer().is_some_and(Transfer::dials_both) {
            // A server that says 226 without a 1xx before it has begun as well.
            self.on_transfer_begun(now);
        }
        let early = self.outruns_client();
        if early {
            self.early_reply = Some(EarlyReply { line: line.clone(), since: now, is_last: false });
        }
        early
    }

    /// True while a reply is kept and has to wait on.
    pub(super) fn holds_reply(&self, now: Instant) -> bool {
        self.early_reply_until().is_some_and(|until| now < until) && self.outruns_client()
    }

    /// The kept line, for which there is nothing more to wait.
    pub(super) fn take_early_reply(&mut self) -> Option<Line> {
        self.early_reply.take().map(|early| early.line)
    }

    /// The server will say nothing more: what it said is not kept any longer.
    pub(super) fn hurry_early_reply(&mut self) {
        if let Some(early) = &mut self.early_reply {
            early.is_last = true;
        }
    }

    /// When the kept reply is passed on at the latest, if it may be read at all now.
    pub(super) fn early_reply_deadline(&self) -> Option<Instant> {
        self.early_reply_until().filter(|_| !self.is_opening())
    }

    fn early_reply_until(&self) -> Option<Instant> {
        let early = self.early_reply.as_ref()?;
        let transfer = self.awaited_transfer();
        Some(
            early.since
                + match transfer {
                    _ if early.is_last => Duration::ZERO,
                    Some(transfer) if transfer.awaits(Side::Server) => SERVER_TIMEOUT,
                    _ => JOIN_TIMEOUT,
                },
        )
    }

    fn outruns_client(&self) -> bool {
        self.awaited_transfer().is_some_and(Transfer::outruns_client)
    }

    /// The transfer that the next reply of the server is about.
    fn awaited_transfer(&self) -> Option<&Transfer> {
        let Some(Pending::Transfer { id, .. }) = self.pending.front() else { return None };
        self.transfers.iter().find(|transfer| transfer.id() == *id)
    }
}
