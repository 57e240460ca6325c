//! The directory that the client is in, for rules about paths: a client names files from there.
//!
//! The server alone knows it: where a login begins, where `CWD ~`, `CWD backup` of a link, or `CDUP`
//! leads. So the gateway asks the server itself, with a PWD of its own, when a verdict depends on the
//! directory and the client may have moved since it was last told. The command waits for the answer,
//! and the PWD stands behind whatever the client has sent before, so that nothing sent at the same time
//! is judged by where the client was (decision 34). A client that cares for no paths, or names files
//! from the root, is never asked about.
//!
//! Where the answer is no directory of RFC 959's form, it is not known: rules then take a name for any
//! file.

use super::Session;
use super::own_command::OwnCommand;
use crate::ftp::{self, Code, Command, Verb};
use std::time::Instant;

/// The longest directory that is kept: Linux' PATH_MAX.
const LONGEST: usize = 4096;

/// What is known of the client's directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Directory {
    /// The client may have moved since it was told.
    #[default]
    Stale,
    /// The server does not tell.
    Untold,
    /// As the server told it.
    Told(Box<[u8]>),
}

impl Directory {
    /// The directory, absolute, if it is known.
    pub(super) fn path(&self) -> Option<&[u8]> {
        match self {
            Self::Told(path) => Some(path),
            Self::Stale | Self::Untold => None,
        }
    }

    /// What the server answers to PWD (257, RFC 959 appendix II).
    fn told(code: Code, line: &[u8]) -> Self {
        let path = (code.value() == 257).then(|| ftp::parse_257(line)).flatten();
        match path {
            Some(path) if path.starts_with(b"/") && path.len() <= LONGEST => {
                Self::Told(path.into())
            }
            _ => Self::Untold,
        }
    }

    /// A command that is on its way may lead elsewhere.
    pub(super) fn note_forwarded(&mut self, verb: Verb) {
        if may_move(verb) {
            *self = Self::Stale;
        }
    }
}

/// True for commands that may change the client's directory, or its name: also by renaming it, or by
/// a word of SITE or another one that is not known here.
fn may_move(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::User
            | Verb::Pass
            | Verb::Acct
            | Verb::Cwd
            | Verb::Xcwd
            | Verb::Cdup
            | Verb::Xcup
            | Verb::Smnt
            | Verb::Rein
            | Verb::Rnto
            | Verb::Rmd
            | Verb::Xrmd
            | Verb::Site
            | Verb::Auth
            | Verb::Adat
            | Verb::Mic
            | Verb::Conf
            | Verb::Enc
            | Verb::Lang
            | Verb::Host
            | Verb::Other
    )
}

/// True for commands that the next one belongs to: nothing may be sent in between (RFC 959 §4.1.3).
pub(super) fn is_half(verb: Verb) -> bool {
    matches!(verb, Verb::Rnfr | Verb::Rest | Verb::Rang)
}

impl Session {
    /// True if the server is asked for the directory first, and `command` waits for that.
    pub(super) fn asks_for_directory(&mut self, command: &Command) -> bool {
        let Some(judgement) = &mut self.judgement else { return false };
        let policy = &self.settings.policy;
        let decides = if is_half(command.verb()) {
            policy.asks_for_paths()
        } else {
            policy.depends_on_directory(command.word(), command.argument())
        };
        // A server in a transfer answers behind it, and until then ABOR would wait as well: what is
        // asked meanwhile is judged without the directory.
        // Behind a half that went by a transfer nothing may be asked any more (see `is_half`).
        let asks = decides
            && self.logged_in
            && !judgement.half
            && !self.pending.awaits_transfer()
            && judgement.directory == Directory::Stale;
        if asks {
            judgement.waiting = Some(command.clone());
            self.send_own(OwnCommand::Pwd);
        }
        asks
    }

    /// The server's answer, and what has waited for it.
    pub(super) fn on_directory_told(&mut self, code: Code, line: &[u8], now: Instant) {
        let Some(judgement) = &mut self.judgement else { return };
        judgement.directory = Directory::told(code, line);
        if let Some(command) = judgement.waiting.take() {
            self.judge(command, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &[u8]) -> Directory {
        Directory::told(ftp::reply_code(line).unwrap(), line)
    }

    #[test]
    fn only_an_absolute_path_is_a_directory() {
        let directory = told(b"257 \"/pub/a \"\"b\"\"\" is cwd");
        assert_eq!(directory.path(), Some(&b"/pub/a \"b\""[..]));
        let long = [b"257 \"/", &b"x".repeat(LONGEST)[..], b"\""].concat();
        for other in
            [&b"257 \"'BOB.'\" is working directory."[..], b"257 /pub", b"550 \"/pub\"", &long]
        {
            assert_eq!(told(other), Directory::Untold);
        }
    }

    #[test]
    fn what_moves_nobody_leaves_it_as_it_was() {
        let mut directory = told(b"257 \"/pub\"");
        for verb in [Verb::Retr, Verb::List, Verb::Pasv, Verb::Rnfr, Verb::Rest, Verb::Mkd] {
            directory.note_forwarded(verb);
            assert_eq!(directory.path(), Some(&b"/pub"[..]), "{verb:?}");
        }
        for verb in [Verb::Cwd, Verb::Xcup, Verb::User, Verb::Site, Verb::Other] {
            let mut directory = told(b"257 \"/pub\"");
            directory.note_forwarded(verb);
            assert_eq!(directory, Directory::Stale, "{verb:?}");
        }
    }
}
