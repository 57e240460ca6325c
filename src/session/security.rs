//! What the peers agree about protection on lines that can be read: AUTH, ADAT, PBSZ, PROT, CCC and
//! REIN (RFC 2228, RFC 4217), as a state machine of their own.
//!
//! | state | its lines | how it comes about |
//! |---|---|---|
//! | `Clear` | read | the start; REIN |
//! | `Passthrough` | carried unread | 234 to AUTH TLS, 235 to ADAT of another mechanism, implicit TLS |
//! | `Terminated` | read inside TLS that ends at the gateway | – |
//! | `Cleared` | read | text again after CCC |
//!
//! The server's answer decides, never the request: an AUTH that is refused leaves everything as it
//! was (case 27), as does a CCC (case 31), and PROT or AUTH after CCC is followed like any other
//! (case 35).
//!
//! Not here: the bytes of TLS, and how the end of it is recognised (see `tunnel`).

use crate::ftp::{Code, Command, Verb};
use crate::report::ControlProtection;
use crate::terms::ProtectionLevel;

/// The protection of one session as far as it can be known.
#[derive(Debug)]
pub(super) struct Security {
    control: ControlProtection,
    data: ProtectionLevel,
    /// Another mechanism than TLS protects single lines (MIC, CONF, ENC; 631, 632, 633).
    encloses_lines: bool,
}

/// A command about protection whose answer is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// AUTH.
    Auth(Mechanism),
    /// ADAT: one more step of a mechanism that is not TLS.
    Adat,
    /// PROT with a known level.
    Prot(ProtectionLevel),
}

/// What AUTH asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// TLS, with the protection that data connections have from then on.
    Tls(ProtectionLevel),
    /// GSSAPI, KERBEROS_V4, SRP and others of RFC 2228, which wrap single lines.
    Enclosing,
}

/// What an answer leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that the session has to do.
    Nothing,
    /// The records of TLS follow at once.
    TlsBegins,
    /// Lines with tokens follow, which are longer than any command (RFC 2228 §3).
    TokensFollow,
    /// From now on lines come enclosed.
    LinesEnclosed,
}

impl Mechanism {
    /// Reads the argument of AUTH. `TLS` and `TLS-C` leave data in the clear, `TLS-P` and `SSL`
    /// stand for PROT P as well (the drafts before RFC 4217).
    pub(super) fn parse(argument: &[u8]) -> Self {
        let name = argument.to_ascii_uppercase();
        if name.starts_with(b"SSL") || name == b"TLS-P" {
            Self::Tls(ProtectionLevel::Private)
        } else if name.starts_with(b"TLS") {
            Self::Tls(ProtectionLevel::Clear)
        } else {
            Self::Enclosing
        }
    }
}

impl Request {
    /// The request in a command; `None` for one that changes nothing, whatever it is answered:
    /// PBSZ says how data is cut into pieces, and a CCC that can be read is not inside anything.
    pub(super) fn of(command: &Command) -> Option<Self> {
        match command.verb() {
            Verb::Auth => Some(Self::Auth(Mechanism::parse(command.argument()))),
            Verb::Adat => Some(Self::Adat),
            Verb::Prot => level_of(command.argument()).map(Self::Prot),
            _ => None,
        }
    }
}

/// The level of PROT (RFC 2228 §3).
fn level_of(argument: &[u8]) -> Option<ProtectionLevel> {
    match argument.to_ascii_uppercase().as_slice() {
        b"C" => Some(ProtectionLevel::Clear),
        b"S" => Some(ProtectionLevel::Safe),
        b"E" => Some(ProtectionLevel::Confidential),
        b"P" => Some(ProtectionLevel::Private),
        _ => None,
    }
}

impl Security {
    pub(super) fn new() -> Self {
        Self {
            control: ControlProtection::Clear,
            data: ProtectionLevel::Clear,
            encloses_lines: false,
        }
    }

    /// The server's answer to a request.
    pub(super) fn on_reply(&mut self, request: Request, code: Code) -> Change {
        match (request, code.value()) {
            (Request::Auth(Mechanism::Tls(data)), 234) => {
                self.data = data;
                self.encloses_lines = false;
                Change::TlsBegins
            }
            (Request::Auth(Mechanism::Enclosing), 334) | (Request::Adat, 335) => {
                Change::TokensFollow
            }
            (Request::Auth(Mechanism::Enclosing), 234) | (Request::Adat, 235) => {
                self.data = ProtectionLevel::Clear;
                self.encloses_lines = true;
                Change::LinesEnclosed
            }
            (Request::Prot(level), 200..=299) => {
                self.data = level;
                Change::Nothing
            }
            _ => Change::Nothing,
        }
    }

    /// The lines are carried unread from now on.
    pub(super) fn hide(&mut self) {
        self.control = ControlProtection::Passthrough;
    }

    /// The lines can be read again. What was agreed meanwhile is not known.
    pub(super) fn clear(&mut self) {
        self.control = ControlProtection::Cleared;
        self.data = ProtectionLevel::Unknown;
        self.encloses_lines = false;
    }

    /// REIN: all parameters are as at the start (RFC 4217, case 36).
    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }

    pub(super) fn control(&self) -> ControlProtection {
        self.control
    }

    /// The protection of a data connection that is negotiated now.
    pub(super) fn data(&self) -> ProtectionLevel {
        self.data
    }

    /// True while lines of another mechanism than TLS come enclosed.
    pub(super) fn encloses_lines(&self) -> bool {
        self.encloses_lines
    }
}
