//! What the peers agree about protection on lines that can be read: AUTH, ADAT, PBSZ, PROT, CCC and
//! REIN (RFC 2228, RFC 4217), as a state machine of their own.
//!
//! | state | its lines | how it comes about |
//! |---|---|---|
//! | `Clear` | read | the start; REIN |
//! | `Passthrough` | carried unread | 234 to AUTH TLS, 235 to ADAT of another mechanism, implicit TLS |
//! | `Terminated` | read inside TLS that ends at the gateway | see `termination` |
//! | `Cleared` | read | text again after CCC |
//!
//! The server's answer decides, never the request: an AUTH that is refused leaves everything as it
//! was (case 27), as does a CCC (case 31), and PROT or AUTH after CCC is followed like any other
//! (case 35).
//!
//! Not here: the bytes of TLS, and how the end of it is recognised (see `tunnel`).

use crate::ftp::{Code, Command, Verb};
use crate::report::ControlProtection;
use crate::terms::{ProtectionLevel, Side};

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
    /// SSCN ON or OFF: whether the server begins TLS on data connections.
    Sscn(bool),
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
    /// From now on this side begins TLS on the data connections of RETR, STOR, APPE and STOU; on
    /// those of listings always the client does.
    TlsBegunBy(Side),
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
            Verb::Sscn => match command.argument().to_ascii_uppercase().as_slice() {
                b"ON" => Some(Self::Sscn(true)),
                b"OFF" => Some(Self::Sscn(false)),
                _ => None,
            },
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
            (Request::Sscn(on), 200..=299) => {
                Change::TlsBegunBy(if on { Side::Server } else { Side::Client })
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

    /// TLS ends at the gateway.
    pub(super) fn terminate(&mut self) {
        self.control = ControlProtection::Terminated;
    }

    /// The client is back in text, as it asked the gateway.
    pub(super) fn clear_terminated(&mut self) {
        self.control = ControlProtection::Cleared;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ftp::{Line, reply_code};
    use rstest::rstest;

    /// A security that has seen these commands with their replies, and what the last one led to.
    fn after(dialogue: &[(&'static str, &str)]) -> (Security, Change) {
        let mut security = Security::new();
        let mut change = Change::Nothing;
        for (command, reply) in dialogue {
            let line = format!("{command}\r\n").into_bytes();
            let request = Request::of(&Command::parse(Line::from_bytes(line.into())));
            let code = reply_code(reply.as_bytes()).unwrap();
            change = request.map_or(Change::Nothing, |request| security.on_reply(request, code));
        }
        (security, change)
    }

    #[rstest]
    #[case("AUTH TLS", ProtectionLevel::Clear)]
    #[case("auth tls-c", ProtectionLevel::Clear)]
    #[case("AUTH TLS-P", ProtectionLevel::Private)]
    #[case("AUTH SSL", ProtectionLevel::Private)]
    fn tls_begins_with_the_level_that_its_name_implies(
        #[case] command: &'static str,
        #[case] level: ProtectionLevel,
    ) {
        let (security, change) = after(&[("PROT S", "200 ok"), (command, "234 go")]);
        assert_eq!((change, security.data()), (Change::TlsBegins, level));
        for refused in ["334 go on", "431 no", "500 no", "534 no"] {
            let (security, change) = after(&[("PROT S", "200 ok"), (command, refused)]);
            assert_eq!((change, security.data()), (Change::Nothing, ProtectionLevel::Safe));
        }
    }

    #[rstest]
    #[case("SSCN", "200 on", ProtectionLevel::Safe)]
    #[case("SSCN ON", "421 no", ProtectionLevel::Safe)]
    #[case("PROT C", "200 ok", ProtectionLevel::Clear)]
    #[case("prot p", "200 ok", ProtectionLevel::Private)]
    #[case("PROT E", "200 ok", ProtectionLevel::Confidential)]
    #[case("PROT P", "503 first PBSZ", ProtectionLevel::Safe)]
    #[case("PROT X", "200 what", ProtectionLevel::Safe)]
    #[case("PBSZ 0", "200 ok", ProtectionLevel::Safe)]
    #[case("CCC", "200 ok", ProtectionLevel::Safe)]
    fn the_answer_decides(
        #[case] command: &'static str,
        #[case] reply: &str,
        #[case] level: ProtectionLevel,
    ) {
        let (security, change) = after(&[("PROT S", "200 ok"), (command, reply)]);
        assert_eq!((change, security.data()), (Change::Nothing, level));
    }

    #[rstest]
    #[case("SSCN ON", Side::Server)]
    #[case("sscn off", Side::Client)]
    fn case_40_sscn_says_who_begins_tls(#[case] command: &'static str, #[case] side: Side) {
        assert_eq!(after(&[(command, "200 ok")]).1, Change::TlsBegunBy(side));
    }

    #[test]
    fn another_mechanism_encloses_lines_when_its_exchange_is_over() {
        let begun = ("AUTH GSSAPI", "334 go on");
        assert_eq!(after(&[begun]).1, Change::TokensFollow);
        assert_eq!(after(&[begun, ("ADAT a", "335 more")]).1, Change::TokensFollow);
        let (security, change) = after(&[begun, ("ADAT a", "235 done")]);
        assert!(change == Change::LinesEnclosed && security.encloses_lines());
        let (security, change) = after(&[begun, ("ADAT a", "535 no")]);
        assert!(change == Change::Nothing && !security.encloses_lines());
    }

    #[test]
    fn what_was_agreed_where_it_could_not_be_read_is_not_known() {
        let (mut security, _) = after(&[("AUTH SSL", "234 go")]);
        security.hide();
        assert_eq!(security.control(), ControlProtection::Passthrough);
        security.clear();
        assert_eq!(security.control(), ControlProtection::Cleared);
        assert_eq!(security.data(), ProtectionLevel::Unknown);
        security.reset();
        assert_eq!(security.control(), ControlProtection::Clear);
        assert_eq!(security.data(), ProtectionLevel::Clear);
    }
}
