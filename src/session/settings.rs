//! What a session is told once, when it begins: the listener's settings and who takes part.

use crate::addr::{ByOwn, OriginalDst};
use crate::policy::Policy;
use crate::policy::bypass::BypassEntry;
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

/// What is done with TLS (`tls.mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// It runs end to end: after the server's 234 the control connection is carried unread.
    #[default]
    Passthrough,
    /// AUTH is refused, so that the session stays clear or the client gives up.
    Refuse,
    /// It ends here on both sides.
    Intercept,
    /// It ends here on the client's side; the server's is clear.
    Offload,
    /// It ends here on the server's side; the client's is clear.
    Originate,
}

/// What becomes of CCC towards a server whose TLS ends here (`tls.server_ccc`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerCcc {
    /// It is sent when the client sends it.
    #[default]
    Follow,
    /// The server's control connection stays secured.
    Never,
    /// It is sent after every login, whatever the client does.
    Always,
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
    /// What is done with TLS.
    pub tls: TlsMode,
    /// True if no user may log in outside TLS.
    pub tls_required: bool,
    /// How TLS starts towards clients; with TLS end to end it is the same on both sides.
    pub client_start: TlsStart,
    /// How TLS starts towards servers.
    pub server_start: TlsStart,
    /// What becomes of CCC towards servers.
    pub server_ccc: ServerCcc,
    /// Whose sessions are carried unread although TLS ends here else.
    pub bypass: Vec<BypassEntry>,
    /// True if `data.blind_ports` are opened for sessions that cannot be read.
    pub blind_ports: bool,
    /// What the owner calls the server, where it has a name in the configuration.
    pub server_name: Option<String>,
    /// True if a server whose TLS ends here has to prove the name that the client asks for.
    pub proves_names: bool,
    /// Whose address the server sees.
    pub source: Source,
    /// True if data connections that are dialled to the server begin with a PROXY header.
    pub send_data_header: bool,
    /// True if the firewall can carry data connections in the kernel.
    pub kernel: bool,
    /// From the connection to the server's greeting, and from there to the client's first line.
    pub first_line_timeout: Duration,
    /// From accept to an accepted login.
    pub login_timeout: Duration,
    /// Without a command, a reply or a running data connection.
    pub idle_timeout: Duration,
    /// From the negotiation of a data connection to its first packet.
    pub open_timeout: Duration,
    /// Data connections that may run at one time.
    pub pinholes: usize,
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
            tls: TlsMode::default(),
            tls_required: false,
            client_start: TlsStart::default(),
            server_start: TlsStart::default(),
            server_ccc: ServerCcc::default(),
            bypass: Vec::new(),
            blind_ports: false,
            server_name: None,
            proves_names: false,
            source: Source::default(),
            send_data_header: false,
            kernel: false,
            first_line_timeout: Duration::from_secs(30),
            login_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(900),
            open_timeout: Duration::from_secs(30),
            pinholes: 1024,
            line_limit: 4160,
        }
    }
}

/// Who takes part in a session, as the kernel reports it at accept or a load balancer in its PROXY
/// header, and what stands in front of the gateway at that time. A session keeps it to its end.
/// Client and destination are of one address family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parties {
    /// The client.
    pub client: SocketAddr,
    /// Where it dialled.
    pub original_dst: OriginalDst,
    /// True if it dialled an address of the gateway, false if it dialled the server's.
    pub dials_gateway: bool,
    /// Where the balancer that has introduced the client dialled: the gateway's own address, while
    /// `original_dst` is the balancer's. `None`: nobody has introduced it.
    pub introduced_at: Option<IpAddr>,
    /// What clients are told, by the address that the client dialled.
    pub external_client: ByOwn,
    /// What servers are told, by the address that the server sees.
    pub external_server: ByOwn,
}
