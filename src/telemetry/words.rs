//! What an operator reads: the message of a log line for each reason. The reason's own word stands
//! beside it in a field, for machines.

use crate::report::{CloseCause, ControlProtection, DataOutcome, Distrust, Refusal};

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
        Refusal::PinholeFailed => "refused: the pinhole for the data connection cannot be opened",
        Refusal::KernelCannot => {
            "refused: the kernel cannot join these two sides; data.path: auto lets the relay do it"
        }
        Refusal::AuthRefused => "refused: the policy allows no secured sessions",
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
    }
}

pub(super) fn protection(state: ControlProtection) -> &'static str {
    match state {
        ControlProtection::Clear => "the control connection is in clear text",
        ControlProtection::Passthrough => {
            "TLS end to end: data connections are not seen, and nothing is opened for them"
        }
        ControlProtection::Terminated => "TLS ends at the gateway",
        ControlProtection::Cleared => "the control connection is back in clear text",
    }
}

pub(super) fn session_end(cause: CloseCause) -> &'static str {
    match cause {
        CloseCause::Quit => "session ended: the client quit",
        CloseCause::ClientClosed => "session ended: the client closed",
        CloseCause::ServerClosed => "session ended: the server closed",
        CloseCause::ConnectFailed => "session ended: the server cannot be reached",
        CloseCause::LoginTimeout => "session ended: no login in time",
        CloseCause::IdleTimeout => "session ended: idle for too long",
        CloseCause::TooManySessions => "session ended: the limit of sessions is reached",
        CloseCause::Loop => "session closed: the control connection leads back to the gateway",
        CloseCause::NotFtp => "session closed: the client does not speak FTP",
        CloseCause::ServerNotFtp => "session closed: the server does not speak FTP",
        CloseCause::RolesReversed => "session closed: a peer speaks the other's part",
        CloseCause::ForbiddenByte => "session closed: NUL or a bare CR inside a line",
        CloseCause::LineTooLong => "session closed: a line over the limit",
        CloseCause::TooMuch => "session closed: more unanswered than the gateway keeps",
        CloseCause::Shutdown => "session ended: the gateway shuts down",
    }
}
