//! What a session is told once, when it begins: the listener's settings and who takes part.

use crate::addr::OriginalDst;
use crate::policy::Policy;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Who is asked to carry the data connections (`data.path`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathChoice {
    /// The kernel where it can, the relay where it must, per data connection.
    #[default]
    Auto,
    /// The kernel or nobody: what it cannot carry is refused.
    Kernel,
    /// Always the relay.
    Relay,
}

/// The data mode used towards the server (`data.mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ModeChoice {
    /// The client's own choice.
    #[default]
    Keep,
    /// The server listens, whatever the client asked for.
    Passive,
    /// The server connects, whatever the client asked for.
    Active,
}

/// What AUTH is answered with (`tls.mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthChoice {
    /// The server answers; after its 234 the control connection is carried unread.
    #[default]
    Passthrough,
    /// The gateway refuses, so that the session stays clear or the client gives up.
    Refuse,
}

/// How TLS starts (`tls.client_start`, `tls.server_start`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsStart {
    /// The client asks for it with AUTH (RFC 4217 §4).
    #[default]
    Explicit,
    /// With the first byte, usually on port 990.
    Implicit,
    /// After a greeting in the clear (z/OS: `SECUREIMPLICITZOS TRUE`).
    ImplicitAfterGreeting,
}

/// Whose address the server sees (`source`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// The gateway's.
    #[default]
    Gateway,
    /// The client's own.
    Client,
}

/// The settings of one listener that its sessions need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What may pass.
    pub policy: Policy,
    /// Who carries data.
    pub path: PathChoice,
    /// The mode towards the server.
    pub mode: ModeChoice,
    /// What AUTH is answered with.
    pub auth: AuthChoice,
    /// True if no user may log in outside TLS.
    pub tls_required: bool,
    /// How TLS starts; with TLS end to end it is the same on both sides.
    pub tls_start: TlsStart,
    /// True if `data.blind_ports` are opened for sessions that cannot be read.
    pub blind_ports: bool,
    /// Whose address the server sees.
    pub source: Source,
    /// True if the firewall can carry data connections in the kernel.
    pub kernel: bool,
    /// The address that clients are told instead of the gateway's own.
    pub advertise_client: Option<IpAddr>,
    /// The address that servers are told instead of the gateway's own.
    pub advertise_server: Option<IpAddr>,
    /// From accept to an accepted login.
    pub login_timeout: Duration,
    /// Without a command, a reply or a running data connection.
    pub idle_timeout: Duration,
    /// From the negotiation of a data connection to its first packet.
    pub open_timeout: Duration,
    /// The longest line, in bytes with its terminator.
    pub line_limit: usize,
}

impl Default for Settings {
    /// What an empty configuration means, on a host where only the relay can carry data.
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            path: PathChoice::default(),
            mode: ModeChoice::default(),
            auth: AuthChoice::default(),
            tls_required: false,
            tls_start: TlsStart::default(),
            blind_ports: false,
            source: Source::default(),
            kernel: false,
            advertise_client: None,
            advertise_server: None,
            login_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(900),
            open_timeout: Duration::from_secs(30),
            line_limit: 4160,
        }
    }
}

/// Who takes part in a session, as the kernel reports it at accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parties {
    /// The client.
    pub client: SocketAddr,
    /// Where it dialled.
    pub original_dst: OriginalDst,
    /// True if it dialled an address of the gateway, false if it dialled the server's.
    pub dials_gateway: bool,
}
