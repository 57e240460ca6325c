//! The end of a session in a gateway that takes no more: what is under way is finished first.

use super::pending::Pending;
use super::{Phase, Session, replies};
use crate::ftp::{Command, EpsvArgument, Verb, parse_epsv};
use crate::report::CloseCause;
use bytes::Bytes;
use std::time::{Duration, Instant};

/// How long nothing may have passed in a session whose lines are not read before it is taken for
/// idle: the reply to a transfer comes behind its last byte, and nobody sees it.
const QUIET: Duration = Duration::from_secs(1);

/// How far the end of a session in a draining gateway is.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// The gateway drains.
    asked: bool,
    /// The client has been answered with the farewell; nothing more of it is read.
    told: bool,
}

impl Drain {
    /// True if nothing more of the client is read.
    pub(super) fn silences_client(&self) -> bool {
        self.told
    }
}

impl Session {
    pub(super) fn on_drain(&mut self) {
        self.drain.asked = true;
    }

    /// Ends the session of a draining gateway when nothing of it is under way any more.
    pub(super) fn settle_drain(&mut self, now: Instant) {
        let waits = self.is_under_way() || self.quiet_at().is_some_and(|at| now < at);
        if !self.drain.asked || self.phase == Phase::Closed || waits {
            return;
        }
        let (farewell, cause) = if self.client_has_quit {
            (None, CloseCause::Quit)
        } else {
            ((!self.drain.told).then_some(replies::SHUTDOWN), CloseCause::Shutdown)
        };
        self.close(farewell, cause, now);
    }

    /// When a session that cannot be read is idle, if only that is waited for.
    pub(super) fn drain_deadline(&self) -> Option<Instant> {
        let waits = self.drain.asked && !self.is_under_way();
        self.quiet_at().filter(|_| waits)
    }

    fn quiet_at(&self) -> Option<Instant> {
        self.hides_lines().then(|| self.last_activity + QUIET)
    }

    /// True while a transfer is open or runs, or a reply is awaited. A client that has not been
    /// greeted has asked for nothing yet.
    fn is_under_way(&self) -> bool {
        let greeted =
            self.phase == Phase::Open && !matches!(self.pending.front(), Some(Pending::Greeting));
        let answered = self.pending.is_empty() && self.early_reply.is_none();
        // What still runs when the farewell has been said needs no control connection.
        let moved = self.drain.told || (self.transfers.is_empty() && !self.blind.runs());
        greeted && !(answered && moved)
    }

    /// Answers a command that would begin one more transfer with the farewell, in turn. True if it
    /// was one.
    pub(super) fn refuses_in_drain(&mut self, command: &Command) -> bool {
        let refused = self.drain.asked && self.begins_another(command);
        if refused {
            self.drain.told = true;
            self.pending.push(Pending::Own(Bytes::from_static(replies::SHUTDOWN.as_bytes())));
            self.flush_own_replies();
        }
        refused
    }

    /// True unless the command uses what was opened before.
    fn begins_another(&self, command: &Command) -> bool {
        match command.verb() {
            Verb::Port | Verb::Eprt | Verb::Pasv | Verb::Cpsv | Verb::Lprt | Verb::Lpsv => true,
            Verb::Epsv => parse_epsv(command.argument()) != EpsvArgument::All,
            verb => {
                verb.transfers_data()
                    && (self.transfers.is_empty() || self.pending.awaits_transfer())
            }
        }
    }
}
