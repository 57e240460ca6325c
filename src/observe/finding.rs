//! What would fail behind a NAT or a firewall that does not know FTP, or behind ftpgate as it is set;
//! what did fail in the capture; and what helps: a closed set of words.

use crate::report::{CloseCause, Refusal};

/// Declares the set: the word, what it means, and what helps.
macro_rules! findings {
    ($($(#[$doc:meta])* $variant:ident => $label:literal, $meaning:literal, $helps:literal;)+) => {
        /// One thing worth knowing about a control connection.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Finding { $($(#[$doc])* $variant),+ }

        impl Finding {
            /// Every word of the set, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in the output.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }

            /// What it means, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),+ }
            }

            /// What helps: a key of ftpgate's configuration, or where to look.
            pub const fn helps(self) -> &'static str {
                match self { $(Self::$variant => $helps),+ }
            }
        }
    };
}

findings! {
    /// A line names a private address that is not its sender's own.
    PrivateAddress => "private_address",
        "a line names a private address that its sender does not have here: a NAT on the way changed the packet and not the line, and the far side connects nowhere",
        "ftpgate in place of that NAT, or beside it with `advertise`; towards clients it replaces the address of a server's 227 by itself";
    /// PORT or EPRT names a third host.
    ThirdAddress => "third_address",
        "PORT or EPRT names a host that is not the client (RFC 2577 section 2): ftpgate refuses it as a bounce",
        "nothing where it is an attack; a transfer between two servers (FXP) does not pass ftpgate";
    /// 227 names another host than the server.
    ForeignServerAddress => "foreign_server_address",
        "a 227 names another host than the server that the client dialled (CVE-2020-8284): clients that follow it connect there",
        "ftpgate leads the client to the server it dialled; `policies: strict` refuses instead";
    /// Active mode.
    ActiveMode => "active_mode",
        "active mode: the server connects to the client, which a NAT or a firewall in front of the client refuses unless it reads the control connection",
        "ftpgate opens a pinhole for it; without it the client has to use passive mode";
    /// A port below 1024.
    LowPort => "low_port",
        "port 0 or a well-known port is named for data (RFC 2577 section 3): ftpgate refuses it",
        "`policies: low_ports: true` where a peer really does so";
    /// An address that cannot be read.
    Malformed => "malformed",
        "the address in PORT, EPRT, 227 or 229 cannot be read: no NAT and no firewall knows what to open",
        "the peer that writes the line has to be put right";
    /// LPRT, LPSV.
    LongAddress => "long_address",
        "LPRT or LPSV (RFC 1639), which hardly any NAT or firewall knows: ftpgate refuses it",
        "clients that are refused fall back to EPRT and EPSV";
    /// A family that cannot be had.
    NetworkProtocol => "network_protocol",
        "PASV, EPRT or EPSV for another address family than the control connection's",
        "EPSV and EPRT of the family in use";
    /// EPSV ALL, then another command.
    AfterEpsvAll => "after_epsv_all",
        "PORT, PASV or EPRT after EPSV ALL (RFC 2428 section 4): ftpgate refuses it",
        "the client has to keep its word";
    /// A data command before the login.
    NotLoggedIn => "not_logged_in",
        "a data connection is asked for before the login: ftpgate refuses it",
        "nothing: no client of good will does so";
    /// Any other refusal.
    Refused => "refused",
        "ftpgate with these settings refuses a command of this session",
        "the reason is a word of `refusals_total` in docs/metrics.md, which names the key";
    /// TLS, and no way back.
    Blind => "blind",
        "FTPS without CCC: what is agreed about data connections cannot be read, and no NAT or firewall on the way opens anything for them",
        "CCC at the client; or `data.blind_ports` with the server's passive ports; or `tls.mode: intercept`";
    /// One direction only came back.
    CccHalfway => "ccc_halfway",
        "only one direction came back to text after CCC: the other peer waits for something",
        "look at how either peer ends TLS: docs/ftps.md";
    /// Text before a login inside TLS.
    EarlyText => "early_text",
        "TLS ended before a login and CCC can have gone through it: what came then was in the clear",
        "`tls.required: true` closes such a session";
    /// TLS from the first byte.
    ImplicitTls => "implicit_tls",
        "TLS from the first byte: a gateway that waits for AUTH reads nothing",
        "`tls.client_start: implicit` for this listener";
    /// A login in the clear.
    ClearLogin => "clear_login",
        "a user and a password were sent in the clear",
        "`tls.required: true`, with `tls.mode: offload` or `originate` where one side has no TLS";
    /// The gateway would end the session.
    GatewayCloses => "gateway_closes",
        "ftpgate with these settings closes this session",
        "the reason is a word of `sessions_total` in docs/metrics.md";
    /// A SYN without an answer.
    DataUnanswered => "data_unanswered",
        "a data connection was tried and never answered: a firewall between the two drops it, or the address leads nowhere",
        "ftpgate at that firewall; its pinhole opens ahead of the line";
    /// A SYN that was refused.
    DataRefused => "data_refused",
        "a data connection was tried and refused: nobody listens at the address in the line, or a firewall rejects it",
        "ftpgate at that firewall; its pinhole opens ahead of the line";
    /// No SYN at all.
    DataMissing => "data_missing",
        "a transfer failed and no data connection for it was seen here: it took another way, or was stopped ahead of this place",
        "capture nearer to the side that connects";
    /// A reset in mid-transfer.
    DataReset => "data_reset",
        "a data connection was broken off with a RST: the file may not be whole",
        "the peer that sent it, or a firewall whose patience ended: `data.idle_timeout` is ftpgate's";
    /// Somebody else connected.
    Stranger => "stranger",
        "a data connection came from another host than the peer it was agreed with",
        "ftpgate's pinholes admit the one peer only";
    /// A hole in the capture.
    CaptureLoss => "capture_loss",
        "packets of this control connection are missing in the capture: what they said is not known",
        "a larger buffer or a narrower filter for the capture";
}

impl Finding {
    /// The finding of a refusal of the gateway's; `None` for those that the line itself is told of.
    pub(super) fn of_refusal(refusal: Refusal) -> Option<Self> {
        match refusal {
            Refusal::ThirdPartyAddress | Refusal::ForeignServerAddress => None,
            Refusal::NotLoggedIn => Some(Self::NotLoggedIn),
            Refusal::LowPort => Some(Self::LowPort),
            Refusal::MalformedArgument | Refusal::MalformedReply => Some(Self::Malformed),
            Refusal::NetworkProtocol => Some(Self::NetworkProtocol),
            Refusal::AfterEpsvAll => Some(Self::AfterEpsvAll),
            Refusal::LongAddress => Some(Self::LongAddress),
            Refusal::PinholeFailed
            | Refusal::TooManyTransfers
            | Refusal::KernelCannot
            | Refusal::ExternalUnknown
            | Refusal::AuthRefused
            | Refusal::ServerUnprotected
            | Refusal::TlsRequired
            | Refusal::Policy => Some(Self::Refused),
        }
    }

    /// The finding of an end that is the gateway's doing.
    pub(super) fn of_close(cause: CloseCause) -> Option<Self> {
        cause.is_violation().then_some(Self::GatewayCloses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_word_is_one_and_is_documented() {
        let labels: BTreeSet<_> = Finding::ALL.iter().map(|finding| finding.label()).collect();
        assert_eq!(labels.len(), Finding::ALL.len());
        let page = include_str!("../../docs/observe.md");
        for label in labels {
            assert!(page.contains(&format!("| `{label}` |")), "{label}");
        }
    }
}
