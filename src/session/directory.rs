//! The directory that the client is in, for rules about paths: a client names files from there.
//!
//! The server alone knows it: where a login begins, where `CWD ~`, `CWD backup` of a link, or `CDUP`
//! leads. So the gateway asks the server itself, with a PWD of its own, when a verdict depends on the
//! directory and the client may have moved since it was last told (decision 34). The command waits for
//! the answer, and no later one is read. A client that cares for no paths, or names files from the root,
//! is never asked about.
//!
//! A client that makes the gateway take another reply for the answer has chosen where its files are said
//! to lie: `257 "/pub/x" created` is the reply to its own MKD (decision 47). So
//!
//! - PWD is sent when everything before it has been answered;
//! - only 257 and a refusal are an answer, see [`may_answer`];
//! - where the server may have sent more replies than were waited for, PWD is asked once more for each
//!   of them, and the last answer counts: it is to one of these, which all have the same.
//!
//! Where the answer is no directory of RFC 959's form, or none comes, it is not known: rules then take a
//! name for any file.

use super::own_command::OwnCommand;
use super::pending::Pending;
use super::{Phase, Session, replies};
use crate::ftp::{self, Code, Command, Verb};
use std::time::{Duration, Instant};

/// The longest directory that is kept: Linux' PATH_MAX.
const LONGEST: usize = 4096;

/// How long a command waits for the directory: clients wait for a reply for 20 seconds and more.
const TELL_TIMEOUT: Duration = Duration::from_secs(10);

/// Replies in excess up to which the server is asked so many times more. Nobody aborts so often who
/// waits for the answers.
const MAX_EXCESS: u8 = 16;

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

/// True if a reply with this code can be one to PWD (RFC 959 §5.4: 257, or a refusal). 425 and 426 are
/// about data connections.
pub(super) fn may_answer(code: Code) -> bool {
    code.value() == 257 || code.is_negative() && !matches!(code.value(), 425 | 426)
}

/// The client's command that waits for the directory.
#[derive(Debug)]
pub(super) struct Waiting {
    command: Command,
    since: Instant,
    /// How often the server has answered.
    answers: u8,
}

impl Session {
    /// True if the server is asked for the directory first, and `command` waits for that.
    pub(super) fn asks_for_directory(&mut self, command: &Command, now: Instant) -> bool {
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
            && !self.pending.has_late_directory()
            && judgement.directory == Directory::Stale
            && judgement.excess <= MAX_EXCESS;
        if asks {
            judgement.waiting = Some(Waiting { command: command.clone(), since: now, answers: 0 });
        }
        asks
    }

    /// True while a command waits for the directory.
    pub(super) fn awaits_directory(&self) -> bool {
        self.judgement.as_ref().is_some_and(|judgement| judgement.waiting.is_some())
    }

    /// Sends the PWD that a command waits for, once it is sure what the next reply will answer.
    pub(super) fn ask_for_directory(&mut self) {
        let is_open = self.phase == Phase::Open;
        if is_open && self.awaits_directory() && self.pending.is_settled() {
            self.send_own(OwnCommand::Pwd);
        }
    }

    /// The server's answer, and what has waited for it.
    pub(super) fn on_directory_told(&mut self, code: Code, line: &[u8], now: Instant) {
        let Some(judgement) = &mut self.judgement else { return };
        let Some(mut waiting) = judgement.waiting.take() else { return };
        if waiting.answers < judgement.excess && judgement.excess <= MAX_EXCESS {
            // It may be one to something else.
            waiting.answers += 1;
            judgement.waiting = Some(waiting);
            return;
        }
        judgement.directory = match judgement.excess {
            0..=MAX_EXCESS => Directory::told(code, line),
            _ => Directory::Untold,
        };
        self.judge(waiting.command, now);
    }

    /// When a command has waited for long enough.
    pub(super) fn directory_deadline(&self) -> Option<Instant> {
        let waiting = self.judgement.as_ref()?.waiting.as_ref()?;
        Some(waiting.since + TELL_TIMEOUT)
    }

    /// The server does not tell the directory: what has waited for it is refused, in its turn.
    pub(super) fn give_up_directory(&mut self) {
        let Some(judgement) = &mut self.judgement else { return };
        let Some(waiting) = judgement.waiting.take() else { return };
        judgement.directory = Directory::Untold;
        self.pending.abandon_directory();
        self.report_refusal(waiting.command.verb().label(), None);
        self.answer(replies::DIRECTORY_UNTOLD);
    }

    /// A reply that cannot be the late answer: it will not come. A refusal is taken for it, since a
    /// server that answers at all does so in turn.
    pub(super) fn drop_late_directory(&mut self, code: Code) {
        if matches!(self.pending.front(), Some(Pending::LateDirectory)) && !may_answer(code) {
            self.pending.pop();
            self.note_excess();
            self.flush_own_replies();
        }
    }

    /// Replies that servers send without being asked (421 where a data connection has not come:
    /// pyftpdlib), or that answer what they cannot be meant for: another one may be on its way.
    pub(super) fn doubt(&mut self, code: Code) {
        let about_data = match self.pending.front() {
            Some(Pending::Transfer { .. } | Pending::Abor) => true,
            Some(_) if !self.answers_nothing(code) => false,
            // It stands alone, see `pass_unsolicited`.
            _ => return,
        };
        let code = code.value();
        if code == 421 || matches!(code, 225 | 226 | 425 | 426) && !about_data {
            self.note_excess();
            let logs_in = self.pending.logs_in();
            if let Some(judgement) = &mut self.judgement {
                judgement.user_is_lost |= logs_in;
            }
        }
    }

    /// The server may send a reply more than is waited for. What it says ahead of the client's first
    /// line (some greet in several replies) is not one that the client has made it say.
    pub(super) fn note_excess(&mut self) {
        if let Some(judgement) = &mut self.judgement
            && self.first_line_seen
        {
            judgement.excess = judgement.excess.saturating_add(1);
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
