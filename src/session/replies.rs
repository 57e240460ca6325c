//! The gateway's own replies, in one place: what it says, and nothing that a peer wrote.

use crate::report::{Refusal, TlsFault};
use crate::terms::DataMode;
use bytes::Bytes;

/// The reply to a refused command.
pub fn refusal(reason: Refusal) -> &'static str {
    match reason {
        Refusal::NotLoggedIn => "530 Please log in before a data connection is negotiated.\r\n",
        Refusal::ThirdPartyAddress => {
            "501 The address is not your own; a data connection to it is refused.\r\n"
        }
        Refusal::LowPort => "504 A data port below 1024 is refused.\r\n",
        Refusal::MalformedArgument => "501 The argument is malformed.\r\n",
        Refusal::AfterEpsvAll => "501 Only EPSV is accepted after EPSV ALL (RFC 2428).\r\n",
        Refusal::LongAddress => "502 Not supported: use EPRT and EPSV (RFC 2428).\r\n",
        Refusal::TlsRequired => "530 Please secure the connection first (AUTH TLS).\r\n",
        Refusal::AuthRefused => "502 Secured sessions are not carried here.\r\n",
        Refusal::ServerUnprotected => SERVER_UNPROTECTED,
        Refusal::ExternalUnknown => {
            "425 The gateway does not know its external address; connect again later.\r\n"
        }
        Refusal::TooManyTransfers => {
            "425 Too many data connections of this session run; wait until one has ended.\r\n"
        }
        // Only where a rule has no words of its own.
        Refusal::Policy => UNREADABLE,
        Refusal::ForeignServerAddress
        | Refusal::MalformedReply
        | Refusal::NetworkProtocol
        | Refusal::PinholeFailed
        | Refusal::KernelCannot => CANNOT_OPEN,
    }
}

/// The reply where a data connection cannot be had although the command was in order.
pub(super) const CANNOT_OPEN: &str = "425 Can't open a data connection through the gateway.\r\n";

/// 522 with the protocol that can be used on this control connection (RFC 2428 §2), whatever the client
/// has named instead.
pub fn network_protocol(is_ipv4: bool) -> &'static str {
    if is_ipv4 {
        "522 Network protocol not supported, use (1)\r\n"
    } else {
        "522 Network protocol not supported, use (2)\r\n"
    }
}

/// The reply to EPSV or PASV where the server was told to connect instead and refused.
pub(super) fn refused_by_server(mode: DataMode) -> &'static str {
    match mode {
        DataMode::Passive => "425 The server refused passive mode.\r\n",
        DataMode::Active => "425 The server refused active mode.\r\n",
    }
}

/// AUTH with another mechanism where TLS is required (RFC 2228 §3: 504, mechanism not known).
pub(super) const ONLY_TLS: &str = "504 Only AUTH TLS is accepted here.\r\n";

/// Why there is no TLS towards the server. `None`: it offers none.
pub(super) fn no_server_tls(fault: Option<TlsFault>) -> &'static str {
    match fault {
        None => "530 The server offers no TLS, without which it is not used here.\r\n",
        Some(TlsFault::UntrustedIssuer) => {
            "530 The server's certificate is not trusted: no trusted issuer has signed it.\r\n"
        }
        Some(TlsFault::WrongName) => {
            "530 The server's certificate is not trusted: it bears another name.\r\n"
        }
        Some(TlsFault::Expired) => {
            "530 The server's certificate is not trusted: it is not valid at this time.\r\n"
        }
        Some(TlsFault::BadCertificate) => {
            "530 The server's certificate is not trusted: it cannot be used for this.\r\n"
        }
        Some(TlsFault::ClientCertificateRequested) => {
            "530 The server asks for a client certificate, and the gateway has none for it.\r\n"
        }
        Some(TlsFault::ProtocolVersion) => {
            "530 No TLS with the server: it speaks no version that is in use here.\r\n"
        }
        Some(TlsFault::NoCommonCipher) => {
            "530 No TLS with the server: it has no cipher that is in use here.\r\n"
        }
        Some(_) => "530 No TLS with the server: the handshake failed.\r\n",
    }
}

/// What became of a transfer whose data connection came to no TLS.
pub(super) fn no_data_tls(fault: TlsFault) -> Bytes {
    let words = match fault {
        TlsFault::NotResumed => {
            "522 The data connection has to resume the TLS session of this one.\r\n"
        }
        _ => "425 No TLS on the data connection.\r\n",
    };
    Bytes::from_static(words.as_bytes())
}

/// 234 (RFC 4217 §4).
pub(super) const AUTH_ACCEPTED: &str = "234 AUTH TLS accepted.\r\n";
pub(super) const SECURED_ALREADY: &str = "503 The connection is secured already.\r\n";
pub(super) const AUTH_AFTER_CCC: &str = "534 No AUTH after CCC.\r\n";
pub(super) const AUTH_OUT_OF_TURN: &str = "503 AUTH has to wait for the replies before it.\r\n";
pub(super) const AFTER_CCC: &str = "503 Not after CCC.\r\n";
pub(super) const NOT_SECURED: &str = "503 Only after AUTH TLS.\r\n";
pub(super) const NOT_IMPLEMENTED: &str = "502 Not implemented here.\r\n";
pub(super) const BAD_ARGUMENT: &str = "501 The argument is malformed.\r\n";
/// RFC 4217 §8: TLS is a stream, its buffer size 0.
pub(super) const BUFFER_SIZE: &str = "200 PBSZ=0\r\n";
pub(super) const PBSZ_FIRST: &str = "503 PBSZ first.\r\n";
pub(super) const PROT_ACCEPTED: &str = "200 Protection level accepted.\r\n";
/// RFC 4217 §9: 536 for S and E.
pub(super) const PROT_UNSUPPORTED: &str = "536 TLS knows the levels C and P only.\r\n";
pub(super) const PROT_UNKNOWN: &str = "504 No such protection level.\r\n";
pub(super) const SERVER_UNPROTECTED: &str = "536 The server does not protect its data.\r\n";
pub(super) const CCC_ACCEPTED: &str = "200 Clear text from here on.\r\n";
pub(super) const CCC_BEFORE_LOGIN: &str = "533 CCC only after the login.\r\n";

/// A verb with other bytes than letters and digits, which no rule can be about for certain.
pub(super) const UNREADABLE: &str = "500 Not a command.\r\n";
/// A name behind several blanks, where rules ask for paths.
pub(super) const BLANK_NAME: &str = "501 One blank stands ahead of a name here.\r\n";
/// A name with blanks behind it, likewise.
pub(super) const BLANK_BEHIND: &str = "501 No blank stands behind a name here.\r\n";
/// A name with control characters, where rules ask for it.
pub(super) const CONTROL_BYTE: &str = "501 No control characters in a name here.\r\n";
/// A name in USER, or the command behind SITE, with what ftp-srv takes off, where rules ask for it.
pub(super) const QUOTES: &str = "501 No quotes and no options like -a in a name here.\r\n";
/// RNTO by itself (RFC 959 §5.4: 503), where rules ask for paths.
pub(super) const RNFR_FIRST: &str = "503 RNFR has to come right before RNTO.\r\n";
/// 0xFF alone, where there are rules.
pub(super) const SINGLE_IAC: &str = "501 The byte 255 stands doubled here (RFC 854).\r\n";
/// The server has sent more replies than there were commands, and rules ask who logs in.
pub(super) const OUT_OF_STEP: &str =
    "421 The replies of the server are out of step; connect again to log in.\r\n";
/// The server has not said where the client is, on which a verdict depends.
pub(super) const DIRECTORY_UNTOLD: &str =
    "451 The server does not tell its directory: name the file from the root, or try again.\r\n";
pub(super) const UNREACHABLE: &str = "421 The FTP server cannot be reached.\r\n";
/// The process has no more descriptors than it keeps for data connections.
pub const NO_DESCRIPTORS: &str =
    "421 The gateway has no room for more sessions now; try again later.\r\n";
pub(super) const SERVER_FULL: &str = "421 Too many sessions with this server; try again later.\r\n";
pub(super) const FAILED_LOGINS: &str =
    "421 Too many failed logins from your address; try again in some minutes.\r\n";
pub(super) const NOT_GREETED: &str = "421 The FTP server does not greet.\r\n";
pub(super) const NO_FIRST_LINE: &str = "421 No command in time; closing the connection.\r\n";
pub(super) const LOOP: &str = "421 This address leads back to the gateway itself.\r\n";
pub(super) const LOGIN_TIMEOUT: &str = "421 No login in time; closing the connection.\r\n";
pub(super) const IDLE_TIMEOUT: &str = "421 Idle for too long; closing the connection.\r\n";
pub(super) const SHUTDOWN: &str = "421 The gateway is shutting down.\r\n";
pub(super) const CLOSED_BY_OWNER: &str = "421 The session is closed by the gateway's owner.\r\n";
pub(super) const AUDIT_FAILED: &str =
    "421 Not available: this gateway cannot keep its records; try again later.\r\n";
pub(super) const NOT_FTP: &str = "500 This is an FTP port.\r\n";
pub(super) const NOT_A_COMMAND: &str = "500 A reply is not a command.\r\n";
pub(super) const FORBIDDEN_BYTE: &str = "500 A bare CR or a NUL inside a line.\r\n";
pub(super) const LINE_TOO_LONG: &str = "500 The line is too long.\r\n";
pub(super) const SERVER_FAULT: &str = "421 The server does not speak FTP as it should.\r\n";
pub(super) const SERVER_CLOSED: &str = "421 The server has closed the connection.\r\n";
pub(super) const BEHIND_AUTH: &str = "421 Nothing may stand between AUTH and TLS.\r\n";
pub(super) const SERVER_SILENT: &str = "421 The server does not answer; closing.\r\n";
pub(super) const TLS_START: &str = "421 TLS does not begin here in this way.\r\n";
pub(super) const TLS_TIMEOUT: &str = "421 No TLS handshake in time; closing the connection.\r\n";
pub(super) const TLS_REQUIRED: &str = "421 The login has to be secured by TLS.\r\n";
