//! What the gateway says to the server by itself where TLS towards it ends here: AUTH, then PBSZ and
//! PROT ahead of the first data connection, and CCC; and PWD, where the owner's rules ask for paths.
//!
//! One at a time, each behind what the client has sent before: the answers come in order, and none
//! of them reaches the client. What the client asked for meanwhile waits until the last one is in.

use super::pending::Pending;
use super::termination::ServerTls;
use super::{Action, Session, replies};
use crate::ftp::{Code, Command};
use crate::terms::{ProtectionLevel, Side};
use bytes::Bytes;
use std::time::Instant;

/// A command of the gateway's own, whose answer is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnCommand {
    /// AUTH TLS.
    Auth,
    /// PBSZ 0, without which there is no PROT (RFC 4217 §8).
    Pbsz,
    /// PROT P.
    Prot,
    /// CCC.
    Ccc,
    /// PWD.
    Pwd,
}

impl OwnCommand {
    fn line(self) -> &'static [u8] {
        match self {
            Self::Auth => b"AUTH TLS\r\n",
            Self::Pbsz => b"PBSZ 0\r\n",
            Self::Prot => b"PROT P\r\n",
            Self::Ccc => b"CCC\r\n",
            Self::Pwd => b"PWD\r\n",
        }
    }
}

impl Session {
    pub(super) fn send_own(&mut self, command: OwnCommand) {
        self.send(Side::Server, Bytes::from_static(command.line()));
        self.pending.push(Pending::OwnCommand(command));
    }

    /// True if the server has not been asked yet how it protects data connections, and has to be
    /// before `command`, which waits for it.
    pub(super) fn ask_for_protection(&mut self, command: &Command) -> bool {
        let unknown = self.protection.server.is_none();
        let asks = unknown && self.termination.server == ServerTls::Secured;
        if asks {
            self.protection.waiting = Some(command.clone());
            self.send_own(OwnCommand::Pbsz);
        }
        asks
    }

    /// The answer to a command of the gateway's own.
    pub(super) fn on_own_reply(
        &mut self,
        command: OwnCommand,
        code: Code,
        line: &[u8],
        now: Instant,
    ) {
        match command {
            OwnCommand::Pwd => return self.on_directory_told(code, line, now),
            OwnCommand::Auth => return self.on_own_auth_reply(code, now),
            // A server that knows no PBSZ may know PROT all the same.
            OwnCommand::Pbsz => return self.send_own(OwnCommand::Prot),
            OwnCommand::Prot if code.is_positive() => {
                self.protection.server = Some(ProtectionLevel::Private);
            }
            OwnCommand::Prot => self.protection.server = Some(ProtectionLevel::Clear),
            OwnCommand::Ccc => {
                if code.is_positive() {
                    self.termination.server = ServerTls::Cleared;
                    self.tunnel.show_late(Side::Server);
                    self.actions.push_back(Action::EndTls { side: Side::Server });
                }
                if self.protection.client_asked_ccc {
                    self.clear_client();
                }
            }
        }
        if self.protection.ccc_is_due {
            self.protection.ccc_is_due = false;
            return self.send_own(OwnCommand::Ccc);
        }
        if let Some(waiting) = self.protection.waiting.take() {
            self.on_command(waiting, now);
        }
    }

    /// After a login: what `tls.server_ccc: always` asks for.
    pub(super) fn clear_server_after_login(&mut self) {
        let always = self.settings.server_ccc == super::ServerCcc::Always;
        if !always || self.termination.server != ServerTls::Secured {
            return;
        }
        // After CCC no PROT is taken any more (RFC 4217 §6). A login that was sent ahead of what is
        // being asked already asks for nothing twice.
        match (self.pending.own_command(), self.protection.server) {
            (Some(OwnCommand::Ccc), _) => {}
            (Some(_), _) => self.protection.ccc_is_due = true,
            (None, Some(_)) => self.send_own(OwnCommand::Ccc),
            (None, None) => {
                self.protection.ccc_is_due = true;
                self.send_own(OwnCommand::Pbsz);
            }
        }
    }

    /// The client's control connection goes back to text behind a reply of the gateway's own.
    pub(super) fn clear_client(&mut self) {
        self.protection.client_asked_ccc = false;
        self.pending.push(Pending::OwnCcc);
        self.flush_own_replies();
    }

    pub(super) fn answer(&mut self, reply: &'static str) {
        self.pending.push(Pending::Own(Bytes::from_static(reply.as_bytes())));
        self.flush_own_replies();
    }

    /// The gateway's 200 to CCC has come to the head of the queue.
    pub(super) fn on_own_ccc(&mut self) {
        self.send(Side::Client, Bytes::from_static(replies::CCC_ACCEPTED.as_bytes()));
        self.end_client_tls();
    }
}
