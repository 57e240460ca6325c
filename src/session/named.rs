//! What the client names, as far as it is told: users and files. Nothing is decided by it.

use super::Session;
use super::pending::Pending;
use super::transfer::Transfer;
use crate::ftp::{Command, Verb};
use crate::report::{PeerText, Report, TransferCommand};
use crate::terms::TransferId;

/// Who logs in.
#[derive(Debug, Default)]
pub(super) struct Named {
    user: Option<PeerText>,
}

impl Named {
    /// A USER has been answered, and not refused. True if it is another user than before.
    pub(super) fn take_user(&mut self, user: Option<PeerText>) -> bool {
        if user.is_none() || user == self.user {
            return false;
        }
        self.user = user;
        true
    }

    pub(super) fn user(&self) -> Option<PeerText> {
        self.user.clone()
    }
}

/// What one transfer is for.
#[derive(Debug, Default)]
pub(super) enum Name {
    /// No command has been sent for it, or none that the server has taken.
    #[default]
    None,
    /// A command has been sent. Its data connection may be over before the reply is read.
    Sent(TransferCommand),
    /// The server has begun.
    Begun(TransferCommand),
}

impl Name {
    fn command(&self) -> Option<&TransferCommand> {
        match self {
            Self::None => None,
            Self::Sent(command) | Self::Begun(command) => Some(command),
        }
    }

    pub(super) fn into_command(self) -> Option<TransferCommand> {
        match self {
            Self::None => None,
            Self::Sent(command) | Self::Begun(command) => Some(command),
        }
    }
}

/// The argument of USER. That of PASS and ACCT is nobody's business.
pub(super) fn user_of(command: &Command) -> Option<PeerText> {
    (command.verb() == Verb::User).then(|| PeerText::new(command.argument()))
}

impl Session {
    /// A command that moves data is on its way: names what was negotiated last, unless the server is
    /// at that already.
    pub(super) fn name_transfer(&mut self, command: &Command) -> Pending {
        let argument = command.argument();
        let command = TransferCommand {
            verb: command.verb().label(),
            path: (!argument.is_empty()).then(|| PeerText::new(argument)),
        };
        let id = self.last_negotiated;
        if let Some(transfer) = self.transfer_mut(id)
            && !matches!(transfer.name, Name::Begun(_))
        {
            self.rename(id, Name::Sent(command.clone()));
        }
        Pending::Transfer { id, command }
    }

    /// The server has begun with this command: of several that were sent ahead it is the one.
    pub(super) fn keep_name(&mut self, id: TransferId, command: TransferCommand) {
        self.rename(id, Name::Begun(command));
    }

    /// The server has refused what was sent, so that what passed, if anything, was not for that.
    pub(super) fn forget_refused_name(&mut self, id: TransferId) {
        if let Some(transfer) = self.transfer_mut(id)
            && matches!(transfer.name, Name::Sent(_))
        {
            self.rename(id, Name::None);
        }
    }

    fn rename(&mut self, id: TransferId, name: Name) {
        let Some(transfer) = self.transfer_mut(id) else { return };
        let former = std::mem::replace(&mut transfer.name, name);
        let another = former.command() != transfer.name.command();
        if another && transfer.is_running() {
            self.report_name(id);
        }
    }

    /// Tells what a running transfer is for.
    pub(super) fn report_name(&mut self, id: TransferId) {
        let Some(transfer) = self.transfer_mut(id) else { return };
        let (command, protection) = (transfer.name.command().cloned(), transfer.protection);
        self.report(Report::TransferNamed { transfer: id, command, protection });
    }

    fn transfer_mut(&mut self, id: TransferId) -> Option<&mut Transfer> {
        self.transfers.iter_mut().find(|transfer| transfer.id() == id)
    }
}
