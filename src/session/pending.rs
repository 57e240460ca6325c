//! The commands that await their reply, in order: what makes pipelining work (case 13).

use super::named::Change;
use super::negotiation::Negotiation;
use super::own_command::OwnCommand;
use super::security::Request;
use crate::report::{PeerText, TransferCommand};
use crate::terms::TransferId;
use bytes::Bytes;
use std::collections::VecDeque;

/// Commands forwarded and not yet answered before the client is read no further. Pipelining clients
/// send a few dozen at most; the rest waits in the client's own send buffer.
const MAX_PENDING: usize = 256;

/// What is kept of their arguments, in bytes, before the client is read no further: users and names of
/// files for the audit, for as long as the server says nothing. Some dozen of the longest.
const MAX_KEPT: usize = 64 * 1024;

/// What the next reply of the server will answer.
#[derive(Debug)]
pub(super) enum Pending {
    /// The greeting (RFC 959 §5.4: 120, 220, 421).
    Greeting,
    /// A command whose reply only passes through.
    Plain,
    /// USER, PASS or ACCT: the reply may accept the login.
    Login {
        /// The argument of USER.
        user: Option<PeerText>,
    },
    /// A command that moves data: a 1xx reply says that it has begun.
    Transfer {
        /// The transfer that was negotiated last when it was sent.
        id: TransferId,
        /// What it asks for.
        command: TransferCommand,
    },
    /// A command that changes what the server keeps, without a data connection.
    Change(Change),
    /// A data connection is being negotiated with the server.
    Data(Negotiation),
    /// FEAT: features that the gateway does not support are taken out of the reply.
    Feat,
    /// A command about protection.
    Security(Request),
    /// MIC, CONF or ENC: the reply comes enclosed as well (RFC 2228 §5).
    Enclosed,
    /// EPSV ALL (RFC 2428 §4).
    EpsvAll,
    /// REIN: the user is logged out.
    Rein,
    /// ABOR: answered once, or twice where the transfer it ends is answered too.
    Abor,
    /// A command of the gateway's own: its answer is not the client's.
    OwnCommand(OwnCommand),
    /// A PWD of the gateway's own whose answer is not waited for any longer.
    LateDirectory,
    /// Not forwarded: the gateway's own 200 to CCC, behind which the client's TLS ends.
    OwnCcc,
    /// Not forwarded: the gateway's own reply, held until the ones before it are through.
    Own(Bytes),
}

impl Pending {
    /// True if the server has been asked for TLS.
    pub(super) fn is_auth(&self) -> bool {
        matches!(self, Self::Security(Request::Auth(_)) | Self::OwnCommand(OwnCommand::Auth))
    }

    /// Bytes that are kept of its argument.
    fn kept(&self) -> usize {
        let text = match self {
            Self::Login { user } => user.as_ref(),
            Self::Transfer { command, .. } => command.path.as_ref(),
            Self::Change(change) => change.path(),
            Self::Greeting
            | Self::Plain
            | Self::Data(_)
            | Self::Feat
            | Self::Security(_)
            | Self::Enclosed
            | Self::EpsvAll
            | Self::Rein
            | Self::Abor
            | Self::OwnCommand(_)
            | Self::LateDirectory
            | Self::OwnCcc
            | Self::Own(_) => None,
        };
        text.map_or(0, |text| text.bytes().len())
    }

    /// True if its reply says who the client is, or how its data is protected.
    fn settles_standing(&self) -> bool {
        matches!(self, Self::Login { .. } | Self::Security(Request::Prot(_)))
    }

    /// While this is outstanding, later client lines are held: their meaning depends on the reply.
    fn is_barrier(&self) -> bool {
        match self {
            Self::Data(_)
            | Self::Security(Request::Auth(_))
            | Self::OwnCommand(_)
            | Self::OwnCcc
            | Self::EpsvAll
            | Self::Rein => true,
            Self::Greeting
            | Self::Plain
            | Self::Login { .. }
            | Self::Transfer { .. }
            | Self::Change(_)
            | Self::Security(Request::Adat | Request::Prot(_) | Request::Sscn(_))
            | Self::Enclosed
            | Self::Feat
            | Self::Abor
            | Self::LateDirectory
            | Self::Own(_) => false,
        }
    }
}

/// The queue of outstanding commands.
#[derive(Debug, Default)]
pub(super) struct PendingQueue {
    queue: VecDeque<Pending>,
}

impl PendingQueue {
    pub(super) fn push(&mut self, pending: Pending) {
        self.queue.push_back(pending);
    }

    pub(super) fn front(&self) -> Option<&Pending> {
        self.queue.front()
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut Pending> {
        self.queue.front_mut()
    }

    pub(super) fn pop(&mut self) -> Option<Pending> {
        let pending = self.queue.pop_front();
        if self.queue.is_empty() {
            // An idle session keeps no room for commands.
            self.queue = VecDeque::new();
        }
        pending
    }

    /// What is outstanding will not be answered in text.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// True if the next client line may be read. Behind a barrier stands nothing of the client's, but
    /// a command of the gateway's own may, and a refusal.
    pub(super) fn admits_more(&self) -> bool {
        self.queue.len() < MAX_PENDING
            && !self.queue.iter().any(Pending::is_barrier)
            && self.queue.iter().map(Pending::kept).sum::<usize>() < MAX_KEPT
    }

    /// True while a reply is outstanding that says who the client is, or how its data is protected.
    pub(super) fn settles_standing(&self) -> bool {
        self.queue.iter().any(Pending::settles_standing)
    }

    /// What was opened for the negotiation under way is closed again.
    pub(super) fn forget_opened(&mut self, id: TransferId) {
        for pending in &mut self.queue {
            if let Pending::Data(negotiation) = pending
                && negotiation.opened.is_some_and(|opened| opened.id == id)
            {
                negotiation.opened = None;
            }
        }
    }

    /// The negotiation under way. Only a command of the gateway's own may stand behind it.
    pub(super) fn negotiation(&self) -> Option<&Negotiation> {
        self.queue.iter().find_map(|pending| match pending {
            Pending::Data(negotiation) => Some(negotiation),
            _ => None,
        })
    }

    /// True while a command that moves data has not been answered.
    pub(super) fn awaits_transfer(&self) -> bool {
        self.queue.iter().any(|pending| matches!(pending, Pending::Transfer { .. }))
    }

    /// The command of the gateway's own that is outstanding.
    pub(super) fn own_command(&self) -> Option<OwnCommand> {
        self.queue.iter().find_map(|pending| match pending {
            Pending::OwnCommand(command) => Some(*command),
            _ => None,
        })
    }

    /// True while a login has not been answered.
    pub(super) fn logs_in(&self) -> bool {
        self.queue.iter().any(|pending| matches!(pending, Pending::Login { .. }))
    }

    /// True if every command has been answered, but for an ABOR, which may stay without an answer.
    pub(super) fn is_settled(&self) -> bool {
        self.queue.iter().all(|pending| matches!(pending, Pending::Abor))
    }

    /// The answer to the gateway's PWD is not waited for any longer; it may come all the same.
    pub(super) fn abandon_directory(&mut self) {
        for pending in &mut self.queue {
            if matches!(pending, Pending::OwnCommand(OwnCommand::Pwd)) {
                *pending = Pending::LateDirectory;
            }
        }
    }

    /// True while an answer may come that nobody waits for.
    pub(super) fn has_late_directory(&self) -> bool {
        self.queue.iter().any(|pending| matches!(pending, Pending::LateDirectory))
    }

    /// True while the server may answer a CCC.
    pub(super) fn asks_ccc(&self) -> bool {
        self.own_command() == Some(OwnCommand::Ccc)
    }

    /// An own reply that is due now, since nothing before it is outstanding that the client waits for.
    pub(super) fn pop_own(&mut self) -> Option<Pending> {
        let mut waited = self.queue.iter();
        let first = waited.position(|pending| !matches!(pending, Pending::LateDirectory))?;
        match self.queue.get(first) {
            Some(Pending::Own(_) | Pending::OwnCcc) if first == 0 => self.pop(),
            Some(Pending::Own(_) | Pending::OwnCcc) => self.queue.remove(first),
            _ => None,
        }
    }
}
