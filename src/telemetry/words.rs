//! What an operator reads: the message of a log line for each reason. The reason's own word stands
//! beside it in a field, for machines.

use crate::report::{
    CccOutcome, CloseCause, ControlProtection, DataOutcome, Distrust, Refusal, TlsFault,
};
use std::borrow::Cow;

pub(super) fn refusal(reason: Refusal) -> &'static str {
    match reason {
        Refusal::NotLoggedIn => "refused: a data port is asked for before the login",
        Refusal::ThirdPartyAddress => "refused: the client names an address that is not its own",
        Refusal::ForeignServerAddress => "refused: the server names an address that is not its own",
        Refusal::LowPort => "refused: port 0 or a well-known port is named for data",
        Refusal::MalformedArgument => "refused: the argument of the command is malformed",
        Refusal::MalformedReply => "refused: the server's reply bears no usable address",
        Refusal::NetworkProtocol => "refused: the network protocol asked for cannot be had",
        Refusal::AfterEpsvAll => "refused: after EPSV ALL only EPSV is allowed",
        Refusal::LongAddress => "refused: LPRT and LPSV are not supported",
        Refusal::TooManyTransfers => {
            "refused: as many data connections of the session run as may (limits.pinholes_per_session)"
        }
        Refusal::PinholeFailed => "refused: the pinhole for the data connection cannot be opened",
        Refusal::KernelCannot => {
            "refused: the kernel cannot join these two sides; data.path: auto lets the relay do it"
        }
        Refusal::ExternalUnknown => {
            "refused: what `advertise` stands for was not known when the session began"
        }
        Refusal::AuthRefused => "refused: the policy allows no secured sessions",
        Refusal::ServerUnprotected => {
            "refused: the client wants its data protected, and the server refuses to"
        }
        Refusal::TlsRequired => "refused: a login outside TLS, and tls.required is set",
        Refusal::Policy => "refused by the policy",
    }
}

pub(super) fn distrust(reason: Distrust) -> &'static str {
    match reason {
        Distrust::UnsolicitedPassiveReply => {
            "a passive reply that nobody asked for is forwarded as mere text"
        }
        Distrust::NoReplyCode => "a line without a reply code is forwarded as mere text",
        Distrust::UnsolicitedReply => "a reply without a command is forwarded as mere text",
    }
}

pub(super) fn data_end(outcome: DataOutcome) -> &'static str {
    match outcome {
        DataOutcome::Completed => "data connection completed",
        DataOutcome::Aborted => "data connection cut",
        DataOutcome::IdleTimeout => "data connection closed: idle for too long",
        DataOutcome::ConnectFailed => "data connection failed: the far side cannot be reached",
        DataOutcome::HandshakeFailed => "data connection failed: no TLS on a leg that needs it",
        DataOutcome::Truncated => {
            "data connection cut: TLS ended without close_notify, so that what came may not be all"
        }
    }
}

pub(super) fn protection(state: ControlProtection) -> &'static str {
    match state {
        ControlProtection::Clear => "the control connection is in clear text",
        ControlProtection::Passthrough => {
            "the control connection is encrypted; data ports are not visible until the client sends CCC"
        }
        ControlProtection::Terminated => "TLS ends at the gateway",
        ControlProtection::Cleared => {
            "the control connection is back in clear text; data ports are visible again"
        }
    }
}

/// What became of a secured control connection, and what to change where it was in the way.
pub(super) fn ccc(outcome: CccOutcome, passed: Option<u32>) -> Cow<'static, str> {
    let words = match outcome {
        CccOutcome::Cleared => "the client used CCC",
        CccOutcome::Early => {
            "TLS ended before a login can have been inside it: treated as clear text from the start"
        }
        CccOutcome::Halfway => {
            "only one side came back to clear text: the other one never took up what CCC had agreed"
        }
        CccOutcome::Missing => return without_ccc(passed),
    };
    words.into()
}

fn without_ccc(passed: Option<u32>) -> Cow<'static, str> {
    let words = match passed {
        None => {
            "the control connection was encrypted and the client did not use CCC; data ports were not \
             visible: nothing was opened for its data connections. Let the client use CCC, or set \
             data.blind_ports and the server's passive ports to the same range"
        }
        Some(0) => {
            "the control connection was encrypted and the client did not use CCC; no data connection \
             passed within data.blind_ports. If there should have been one: active mode cannot work \
             without CCC, so let the client use passive mode; the server's passive ports have to be \
             the same range; PASV may have named an address that the client cannot reach, so let it \
             use EPSV"
        }
        Some(1) => "the client did not use CCC; 1 data connection passed within data.blind_ports",
        Some(passed) => {
            let words = "data connections passed within data.blind_ports";
            return format!("the client did not use CCC; {passed} {words}").into();
        }
    };
    words.into()
}

/// Why there is no TLS, and what to change where that helps.
pub(super) fn tls_fault(fault: TlsFault) -> &'static str {
    match fault {
        TlsFault::UntrustedIssuer => {
            "no TLS: the certificate leads to no trusted root; add its issuer, or itself, to \
             tls.server.roots, or its fingerprint to tls.server.fingerprints"
        }
        TlsFault::WrongName => {
            "no TLS: the certificate does not bear the name or address that is asked for; \
             tls.server.verify: chain accepts any name"
        }
        TlsFault::Expired => {
            "no TLS: the certificate is not valid now; is the clock of this host right?"
        }
        TlsFault::BadCertificate => {
            "no TLS: the certificate cannot be read, is revoked, or is made for another purpose"
        }
        TlsFault::ClientCertificateRequested => {
            "no TLS: the server wants a client certificate; set tls.server.certificate, or \
             tls.server.client_certificates: passthrough"
        }
        TlsFault::ClientCertificateRefused => {
            "no TLS: the client shows no certificate that tls.client.roots trusts"
        }
        TlsFault::ProtocolVersion => "no TLS: the peer speaks neither TLS 1.2 nor TLS 1.3",
        TlsFault::NoCommonCipher => {
            "no TLS: the peer offers no cipher, key exchange or signature that is spoken here"
        }
        TlsFault::WrongProtocol => "no TLS: the peer speaks another protocol than FTP (ALPN)",
        TlsFault::UnrecognizedName => "no TLS: the client asks for a name that is not served here",
        TlsFault::NotResumed => {
            "no TLS: the data connection does not resume its control connection's session; \
             client_reuse: prefer does not insist on it"
        }
        TlsFault::AlertReceived => "no TLS: the peer does not accept what it is shown",
        TlsFault::Garbled => "no TLS: the peer sends something else, or breaks the rules of TLS",
        TlsFault::Closed => "no TLS: the peer ended the connection in the handshake",
        TlsFault::Timeout => "no TLS: the handshake took too long",
        TlsFault::Internal => "no TLS: the gateway itself failed",
    }
}

pub(super) fn session_end(cause: CloseCause) -> &'static str {
    match cause {
        CloseCause::Quit => "session ended: the client quit",
        CloseCause::ClientClosed => "session ended: the client closed",
        CloseCause::ServerClosed => "session ended: the server closed",
        CloseCause::ConnectFailed => "session ended: the server cannot be reached",
        CloseCause::GreetingTimeout => "session ended: the server does not greet",
        CloseCause::FirstLineTimeout => "session ended: no line of the client in time",
        CloseCause::LoginTimeout => "session ended: no login in time",
        CloseCause::IdleTimeout => "session ended: idle for too long",
        CloseCause::TooManySessions => "session refused: the limit of sessions is reached",
        CloseCause::ServerFull => "session refused: limits.sessions_per_server is reached",
        CloseCause::NewSessionRate => "session refused: limits.new_sessions_per_client is reached",
        CloseCause::FailedLogins => "session refused: too many logins of this client have failed",
        CloseCause::NoDescriptors => {
            "session refused: descriptors are nearly used up; raise the limit of open files, or lower \
             limits.sessions"
        }
        CloseCause::NoProxyHeader => {
            "session refused: no valid PROXY header from an address in proxy_protocol.accept_from"
        }
        CloseCause::Loop => "session closed: the control connection leads back to the gateway",
        CloseCause::NotFtp => "session closed: the client does not speak FTP",
        CloseCause::ServerNotFtp => "session closed: the server does not speak FTP",
        CloseCause::RolesReversed => "session closed: a peer speaks the other's part",
        CloseCause::ServerSilent => {
            "session closed: the server does not say what became of a transfer without TLS"
        }
        CloseCause::ForbiddenByte => "session closed: NUL or a bare CR inside a line",
        CloseCause::LineTooLong => "session closed: a line over the limit",
        CloseCause::TooMuch => "session closed: more unanswered than the gateway keeps",
        CloseCause::PlaintextInHandshake => {
            "session closed: clear text where the TLS handshake is due"
        }
        CloseCause::TlsGarbled => "session closed: bytes that are neither TLS nor text",
        CloseCause::TlsStart => {
            "session closed: TLS does not start as tls.client_start and tls.server_start say"
        }
        CloseCause::TlsTimeout => {
            "session closed: no TLS handshake in time; do tls.client_start and tls.server_start say \
             what the peers do?"
        }
        CloseCause::TlsRequired => {
            "session closed: clear text before a login inside TLS, and tls.required is set"
        }
        CloseCause::ServerTlsFailed => "session closed: no TLS with the server",
        CloseCause::ClientTlsFailed => "session closed: no TLS with the client",
        CloseCause::Policy => "session closed by the policy",
        CloseCause::ClosedByOwner => "session closed by the owner",
        CloseCause::AuditFailed => "session ended: the audit cannot be written",
        CloseCause::Shutdown => "session ended: the gateway shuts down",
    }
}
