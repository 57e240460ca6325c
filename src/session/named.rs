//! What the client names, as far as it is told: users and files. Nothing is decided by it.

use super::Session;
use super::pending::Pending;
use super::transfer::Transfer;
use crate::ftp::{Code, Command, Verb};
use crate::report::{Answer, PeerText, Report, TransferCommand};
use crate::terms::TransferId;

/// The words of SITE whose argument is told whole: those of well-known servers that name files, or
/// run something. Behind any other word may stand a password (`SITE PSWD OLD NEW`,
/// `SITE ADDUSER NAME PASSWORD`), so that only the word itself is told.
const SITE_WORDS: [&[u8]; 16] = [
    b"CHMOD", b"CHOWN", b"CHGRP", b"UMASK", b"UTIME", b"EXEC", b"MKDIR", b"RMDIR", b"RMTREE",
    b"SYMLINK", b"LINK", b"COPY", b"CPFR", b"CPTO", b"MOVE", b"QUOTA",
];

/// Digits of a time in MDTM, MFMT and MFCT (RFC 3659 §2.3).
const TIME: usize = 14;

/// Who logs in, and what is being renamed.
#[derive(Debug, Default)]
pub(super) struct Named {
    user: Option<PeerText>,
    /// The argument of the last RNFR that the server has not refused.
    renamed: Option<PeerText>,
}

/// A command that changes what the server keeps, without a data connection.
#[derive(Debug)]
pub(super) struct Change {
    verb: Verb,
    path: Option<PeerText>,
}

impl Change {
    /// True for RNFR: whether RNTO may follow, the reply says.
    pub(super) fn begins_rename(&self) -> bool {
        self.verb == Verb::Rnfr
    }

    /// Its argument.
    pub(super) fn path(&self) -> Option<&PeerText> {
        self.path.as_ref()
    }
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

/// What the command changes, if it is one that does.
pub(super) fn change_of(command: &Command) -> Option<Change> {
    let (verb, name) = (command.verb(), command.name());
    let told = match verb {
        Verb::Dele
        | Verb::Rnfr
        | Verb::Rnto
        | Verb::Mkd
        | Verb::Xmkd
        | Verb::Rmd
        | Verb::Xrmd
        | Verb::Mfmt
        | Verb::Mfct
        | Verb::Mff
        | Verb::Comb => name,
        Verb::Mdtm if sets_time(command.argument()) => name,
        Verb::Site => told_of_site(command),
        _ => return None,
    };
    let path = (!told.is_empty()).then(|| PeerText::new(told));
    Some(Change { verb, path })
}

/// True for a time with a path behind it: no part of RFC 3659, but vsftpd, ProFTPD and Pure-FTPd take
/// it for MFMT.
fn sets_time(argument: &[u8]) -> bool {
    argument.split_at_checked(TIME).is_some_and(|(time, rest)| {
        time.iter().all(u8::is_ascii_digit) && rest.iter().any(|byte| matches!(byte, b' ' | b'\t'))
    })
}

/// All that stands behind a SITE that is known, else its first word.
fn told_of_site(command: &Command) -> &[u8] {
    let ends = |byte: &u8| !byte.is_ascii_alphanumeric() && *byte != b'_';
    let word = command.argument().split(ends).next().unwrap_or_default();
    let known = SITE_WORDS.iter().any(|known| known.eq_ignore_ascii_case(word));
    if known { command.name() } else { word }
}

impl Session {
    /// The server has answered a change; `None`: it will not.
    pub(super) fn on_change_ended(&mut self, change: Change, code: Option<Code>) {
        let Change { verb, path } = change;
        let code = code.map(Code::value);
        if verb == Verb::Rnfr {
            self.note_rename(code);
        }
        if verb == Verb::Rnfr && Answer::of(code) != Answer::Refused {
            // By itself it changes nothing.
            self.named.renamed = path;
            return;
        }
        let renamed = match verb {
            Verb::Rnto => self.named.renamed.take(),
            _ => None,
        };
        self.report(Report::ChangeEnded { verb: verb.label(), path, renamed, code });
    }

    /// The server will not answer what stands at the head of the queue.
    pub(super) fn drop_unanswered(&mut self) {
        if let Some(Pending::Change(change)) = self.pending.pop() {
            self.on_change_ended(change, None);
        }
    }

    /// A command that moves data is on its way: names what was negotiated last, unless another one was
    /// sent ahead of it, which the server answers first.
    pub(super) fn name_transfer(&mut self, command: &Command) -> Pending {
        let name = command.name();
        let command = TransferCommand {
            verb: command.verb().label(),
            path: (!name.is_empty()).then(|| PeerText::new(name)),
        };
        let id = self.last_negotiated;
        if let Some(transfer) = self.transfer_mut(id)
            && matches!(transfer.name, Name::None)
        {
            self.rename(id, Name::Sent(command.clone()));
        }
        Pending::Transfer { id, command }
    }

    /// The server has begun with this command: of several that were sent ahead it is the one. While a
    /// data connection runs it stays that: pyftpdlib says 150 to a further RETR ahead of any PASV.
    pub(super) fn keep_name(&mut self, id: TransferId, command: TransferCommand) {
        if let Some(transfer) = self.transfer_mut(id)
            && !(transfer.is_running() && matches!(transfer.name, Name::Begun(_)))
        {
            self.rename(id, Name::Begun(command));
        }
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
