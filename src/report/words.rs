//! The closed sets of words: reasons, outcomes, states. Each word is also a log field and a label.

/// Declares a closed set of words with a label each.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $label:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every word of the set, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word used in logs and metric labels.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }
        }
    };
}

words! {
    /// Why the gateway answered with a refusal; the session goes on.
    Refusal {
        /// PORT, PASV, EPRT or EPSV before the login (case 4).
        NotLoggedIn => "not_logged_in",
        /// PORT or EPRT names an address that is not the client's (RFC 2577 §2).
        ThirdPartyAddress => "third_party_address",
        /// 227 names an address that is not the server's, and the policy is strict.
        ForeignServerAddress => "foreign_server_address",
        /// PORT, EPRT, 227 or 229 names port 0 or a well-known port (RFC 2577 §3).
        LowPort => "low_port",
        /// The argument of PORT, EPRT or EPSV is malformed.
        MalformedArgument => "malformed_argument",
        /// A 227 or 229 that answers PASV or EPSV bears no usable address.
        MalformedReply => "malformed_reply",
        /// EPRT or EPSV asks for a network protocol that cannot be had (RFC 2428, 522).
        NetworkProtocol => "network_protocol",
        /// PORT, PASV or EPRT after EPSV ALL (RFC 2428 §4).
        AfterEpsvAll => "after_epsv_all",
        /// LPRT, LPSV: RFC 1639 is not supported.
        LongAddress => "long_address",
        /// As many data connections of the session run as may.
        TooManyTransfers => "too_many_transfers",
        /// The pinhole could not be opened: no port free, or the firewall refused.
        PinholeFailed => "pinhole_failed",
        /// `data.path: kernel`, and the two sides differ in mode or family, or one is this host.
        KernelCannot => "kernel_cannot",
        /// PASV, PORT or EPRT, while the address that `advertise` stands for was not known when the
        /// session began.
        ExternalUnknown => "external_unknown",
        /// AUTH, where the policy refuses secured sessions.
        AuthRefused => "auth_refused",
        /// PROT P, where the server refuses it on its side.
        ServerUnprotected => "server_unprotected",
        /// USER, PASS or ACCT outside TLS, or AUTH with another mechanism, where `tls.required` is
        /// set (case 28).
        TlsRequired => "tls_required",
        /// A rule of the owner's (`policies`).
        Policy => "policy",
    }
}

words! {
    /// What the server said to a login, or to a command that changes what it keeps.
    Answer {
        /// It is done (2xx; 3xx of a server that wants more).
        Accepted => "accepted",
        /// It is not done (4xx, 5xx, or what is no reply to it).
        Refused => "refused",
        /// The session was over before the reply: it may be done or not.
        Missing => "unanswered",
    }
}

impl Answer {
    /// What a reply with this code says; `None`: there was none.
    pub fn of(code: Option<u16>) -> Self {
        match code {
            None => Self::Missing,
            Some(200..400) => Self::Accepted,
            Some(_) => Self::Refused,
        }
    }
}

words! {
    /// Why a line is forwarded without being acted on.
    Distrust {
        /// 227 or 229 that nobody asked for (case 1).
        UnsolicitedPassiveReply => "unsolicited_passive_reply",
        /// A line at a reply boundary without a reply code (case 24).
        NoReplyCode => "no_reply_code",
        /// A reply for which no command is outstanding.
        UnsolicitedReply => "unsolicited_reply",
    }
}

words! {
    /// The kinds of line that the gateway rewrites.
    RewrittenLine {
        /// PORT (RFC 959 §4.1.2).
        Port => "port",
        /// EPRT (RFC 2428 §2).
        Eprt => "eprt",
        /// The 227 reply to PASV.
        Pasv => "pasv",
        /// The 229 reply to EPSV (RFC 2428 §3).
        Epsv => "epsv",
        /// The reply to FEAT (RFC 2389).
        Feat => "feat",
    }
}

words! {
    /// What became of a pinhole.
    PinholeOutcome {
        /// The awaited connection came through it.
        Used => "used",
        /// Nothing came in time.
        Expired => "expired",
        /// Closed before use: refused by the server, replaced by a newer one, or the session ended.
        Withdrawn => "withdrawn",
        /// It could not be opened.
        Failed => "failed",
    }
}

words! {
    /// How a data connection ended.
    DataOutcome {
        /// Both directions ended in order.
        Completed => "completed",
        /// A reset, an error, or the end of the session cut it.
        Aborted => "aborted",
        /// No byte moved for the idle timeout.
        IdleTimeout => "idle_timeout",
        /// The far side of the relay could not be reached.
        ConnectFailed => "connect_failed",
        /// TLS could not be had on a leg that is protected.
        HandshakeFailed => "handshake_failed",
        /// A peer's TLS ended without close_notify: what came may not be all (case 39).
        Truncated => "truncated",
    }
}

words! {
    /// The protection of the control connection (RFC 4217).
    ControlProtection {
        /// Plain text.
        Clear => "clear",
        /// TLS end to end, carried unread.
        Passthrough => "passthrough",
        /// TLS that ends at the gateway.
        Terminated => "terminated",
        /// Plain text again, after CCC.
        Cleared => "cleared",
    }
}

words! {
    /// Why TLS that ends at the gateway could not be had.
    TlsFault {
        /// The server's certificate leads to no root that is trusted, or is not a pinned one.
        UntrustedIssuer => "untrusted_issuer",
        /// It does not bear the name, or the address, that it is asked for.
        WrongName => "wrong_name",
        /// It is not valid yet, or not any more.
        Expired => "expired",
        /// It cannot be read, is revoked, or is made for another purpose.
        BadCertificate => "bad_certificate",
        /// The server wants a certificate of its client that the gateway has not.
        ClientCertificateRequested => "client_certificate_requested",
        /// The client shows no certificate although it has to, or none that is trusted.
        ClientCertificateRefused => "client_certificate_refused",
        /// The peer takes no version that is spoken here.
        ProtocolVersion => "protocol_version",
        /// The two have no cipher, key exchange or signature in common.
        NoCommonCipher => "no_common_cipher",
        /// The peer speaks another protocol than FTP (ALPN, case 29).
        WrongProtocol => "wrong_protocol",
        /// The client asks for a name that is not served here (SNI, case 29).
        UnrecognizedName => "unrecognized_name",
        /// The data connection does not resume its control connection's session (case 37).
        NotResumed => "not_resumed",
        /// The peer sent an alert: it does not accept what it was shown.
        AlertReceived => "alert_received",
        /// The peer sent something that is not TLS, or broke its rules.
        Garbled => "garbled",
        /// The connection ended in the handshake.
        Closed => "closed",
        /// The handshake took too long.
        Timeout => "timeout",
        /// No certificate could be shown, or the gateway failed otherwise.
        Internal => "internal",
    }
}

words! {
    /// The two kinds of connection (RFC 959 §2.3).
    Connection {
        /// Commands and replies.
        Control => "control",
        /// Files and listings.
        Data => "data",
    }
}

words! {
    /// Where a certificate came from that is shown in place of a server's.
    LeafSource {
        /// It was issued for whoever asked.
        Issued => "issued",
        /// It was there, or was being issued for somebody else.
        Cache => "cache",
    }
}

words! {
    /// A version of TLS that is spoken here.
    TlsVersion {
        /// TLS 1.2 (RFC 5246).
        Tls12 => "1.2",
        /// TLS 1.3 (RFC 8446).
        Tls13 => "1.3",
    }
}

words! {
    /// What became of the protection of a control connection that is carried unread.
    CccOutcome {
        /// Both directions are text again, after what may have been a login and CCC.
        Cleared => "cleared",
        /// Text came where no login and CCC can have gone before (case 34).
        Early => "early",
        /// Only one direction was text again when the session ended.
        Halfway => "halfway",
        /// The session ended inside TLS: what it said of data connections was not read.
        Missing => "none",
    }
}

words! {
    /// Why a session ended.
    CloseCause {
        /// The client said QUIT and the server agreed.
        Quit => "quit",
        /// The client closed its control connection.
        ClientClosed => "client_closed",
        /// The server closed its control connection.
        ServerClosed => "server_closed",
        /// The server could not be reached.
        ConnectFailed => "connect_failed",
        /// The server did not greet in time.
        GreetingTimeout => "greeting_timeout",
        /// The client sent no line in time.
        FirstLineTimeout => "first_line_timeout",
        /// No login in time.
        LoginTimeout => "login_timeout",
        /// No command, reply or data in time.
        IdleTimeout => "idle_timeout",
        /// The limit of sessions is reached, that of all or that of the client.
        TooManySessions => "too_many_sessions",
        /// The limit of the server's sessions is reached.
        ServerFull => "server_full",
        /// The client begins more sessions in a time than it may.
        NewSessionRate => "new_session_rate",
        /// The client has failed to log in too often.
        FailedLogins => "failed_logins",
        /// The descriptors of the process are nearly used up.
        NoDescriptors => "no_descriptors",
        /// A connection that has to begin with a PROXY header did not, or not in time.
        NoProxyHeader => "no_proxy_header",
        /// The control connection leads back to the gateway (case 48).
        Loop => "loop",
        /// The client does not speak FTP: an HTTP verb, an unknown first line (case 3).
        NotFtp => "not_ftp",
        /// The server does not speak FTP: no reply code in its greeting.
        ServerNotFtp => "server_not_ftp",
        /// A peer spoke the other's part: PORT from the server, 227 from the client (case 5).
        RolesReversed => "roles_reversed",
        /// The server leaves a transfer unanswered whose data connection came to no TLS.
        ServerSilent => "server_silent",
        /// NUL or a bare CR inside a line (case 21).
        ForbiddenByte => "forbidden_byte",
        /// A line over the limit (case 22).
        LineTooLong => "line_too_long",
        /// A reply without end, or more unanswered commands than the gateway keeps (case 22).
        TooMuch => "too_much",
        /// Text where the handshake of TLS is due (cases 25, 26).
        PlaintextInHandshake => "plaintext_in_handshake",
        /// Bytes that are neither TLS nor text, or too many records where text has begun (case 33).
        TlsGarbled => "tls_garbled",
        /// TLS or the greeting begins where `client_start` and `server_start` do not have it
        /// (case 41).
        TlsStart => "tls_start",
        /// No TLS handshake in time.
        TlsTimeout => "tls_timeout",
        /// Text before a login inside TLS, where `tls.required` is set (cases 28, 34).
        TlsRequired => "tls_required",
        /// TLS with the server, which ends here, cannot be had.
        ServerTlsFailed => "server_tls_failed",
        /// TLS with the client, which ends here, cannot be had.
        ClientTlsFailed => "client_tls_failed",
        /// A rule of the owner's ends it (`policies`).
        Policy => "policy",
        /// The owner has closed it (`ftpgate close`).
        ClosedByOwner => "closed_by_owner",
        /// The audit cannot be written, and no session is to go on without it
        /// (`telemetry.audit.on_error: stop`).
        AuditFailed => "audit_failed",
        /// The gateway shuts down.
        Shutdown => "shutdown",
    }
}

impl CloseCause {
    /// True if a peer broke the protocol, so that an operator may want to look at it.
    pub fn is_violation(self) -> bool {
        match self {
            Self::NoProxyHeader
            | Self::Loop
            | Self::NotFtp
            | Self::ServerNotFtp
            | Self::RolesReversed
            | Self::ForbiddenByte
            | Self::LineTooLong
            | Self::TooMuch
            | Self::PlaintextInHandshake
            | Self::TlsGarbled
            | Self::TlsStart
            | Self::TlsTimeout
            | Self::TlsRequired
            | Self::ServerTlsFailed
            | Self::ClientTlsFailed => true,
            Self::Quit
            | Self::ClientClosed
            | Self::ServerClosed
            | Self::ServerSilent
            | Self::ConnectFailed
            | Self::GreetingTimeout
            | Self::FirstLineTimeout
            | Self::LoginTimeout
            | Self::IdleTimeout
            | Self::TooManySessions
            | Self::ServerFull
            | Self::NewSessionRate
            | Self::FailedLogins
            | Self::NoDescriptors
            | Self::Policy
            | Self::ClosedByOwner
            | Self::AuditFailed
            | Self::Shutdown => false,
        }
    }

    /// True if a limit is in the way of the session.
    pub fn is_limit(self) -> bool {
        matches!(
            self,
            Self::TooManySessions
                | Self::ServerFull
                | Self::NewSessionRate
                | Self::FailedLogins
                | Self::NoDescriptors
        )
    }
}
