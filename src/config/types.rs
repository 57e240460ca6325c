//! What the file means: plain types, already validated. Defaults stand here and nowhere else.

use crate::config::advertise::Advertise;
use crate::config::limits::Limits;
use crate::config::policy::PolicyConfig;
use crate::config::proxy_protocol::ProxyProtocol;
use crate::config::tls::{ListenerTls, Tls, TlsMode};
use crate::config::value;
use crate::confinement;
use crate::pinhole::PortRange;
use crate::telemetry::{AuditFailure, LogFormat, LogLevel};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// A whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where clients are accepted; at least one, names and addresses unique.
    pub listeners: Vec<Listener>,
    /// How data connections are carried.
    pub data: Data,
    /// The kernel's side.
    pub firewall: FirewallConfig,
    /// Certificates and keys, for the listeners that terminate TLS.
    pub tls: Tls,
    /// What may pass, by name; `default` is always present.
    pub policies: BTreeMap<String, PolicyConfig>,
    /// Bounds on what peers may use up.
    pub limits: Limits,
    /// Logs, metrics and audit.
    pub telemetry: TelemetryConfig,
    /// What its owner may ask of a running gateway.
    pub admin: Admin,
    /// What the process gives up at its start.
    pub confinement: confinement::Settings,
}

impl Config {
    /// What `run --listen ADDR --server HOST:PORT` means: one `direct` listener named `main`, the
    /// relay path, no firewall and no metrics listener, so that no privilege is needed.
    ///
    /// # Errors
    /// What is wrong with `server`, and what to write instead.
    pub fn for_server(listen: SocketAddr, server: &str) -> Result<Self, String> {
        let server = match value::server(server)? {
            Server::Original => return Err("write the server as HOST:PORT".to_owned()),
            address @ Server::Address { .. } => address,
        };
        Ok(Self {
            listeners: vec![Listener { listen, server, ..Listener::default() }],
            data: Data { path: PathChoice::Relay, ..Data::default() },
            firewall: FirewallConfig { backend: Backend::None, ..FirewallConfig::default() },
            tls: Tls::default(),
            policies: default_policies(),
            limits: Limits::default(),
            telemetry: TelemetryConfig { listen: None, ..TelemetryConfig::default() },
            admin: Admin::default(),
            confinement: confinement::Settings::default(),
        })
    }
}

impl Config {
    /// True if a listener shows certificates that the local CA issues.
    pub fn needs_ca(&self) -> bool {
        self.listeners.iter().any(|listener| match listener.tls.mode {
            TlsMode::Intercept => true,
            TlsMode::Offload => self.tls.certificate.is_none(),
            TlsMode::Passthrough | TlsMode::Originate | TlsMode::Refuse => false,
        })
    }

    /// True if a listener on `[::]` takes IPv4 as well: unless a listener on IPv4 has the same port,
    /// or takes the same control port.
    pub fn is_dual(&self, listener: &Listener) -> bool {
        let claims = |other: &Listener| {
            other.listen.is_ipv4()
                && (other.listen.port() == listener.listen.port()
                    || other.capture_ports.iter().any(|port| listener.capture_ports.contains(port)))
        };
        listener.listen.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
            && !self.listeners.iter().any(claims)
    }
}

/// The policies of a file that names none.
pub(super) fn default_policies() -> BTreeMap<String, PolicyConfig> {
    BTreeMap::from([(DEFAULT_POLICY.to_owned(), PolicyConfig::default())])
}

/// The policy of a listener that names none.
pub(super) const DEFAULT_POLICY: &str = "default";

/// The control port that FTP is assigned (RFC 959 §8).
pub(super) const FTP_PORT: u16 = 21;

/// One place where clients are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Unique; the label in logs and metrics.
    pub name: String,
    /// The socket to listen on.
    pub listen: SocketAddr,
    /// How clients come here.
    pub capture: Capture,
    /// The control ports that ftpgate's own table steers here; empty for [`Capture::Direct`].
    pub capture_ports: Vec<u16>,
    /// Where sessions go.
    pub server: Server,
    /// Whose address the server sees.
    pub source: Source,
    /// A key of [`Config::policies`].
    pub policy: String,
    /// What is done with TLS.
    pub tls: ListenerTls,
    /// Who introduces clients, and how they are introduced to servers.
    pub proxy_protocol: ProxyProtocol,
    /// What the gateway calls itself in the lines it rewrites.
    pub advertise: Advertise,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            name: "main".to_owned(),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 2121),
            capture: Capture::Direct,
            capture_ports: Vec::new(),
            server: Server::Original,
            source: Source::Gateway,
            policy: DEFAULT_POLICY.to_owned(),
            tls: ListenerTls::default(),
            proxy_protocol: ProxyProtocol::default(),
            advertise: Advertise::default(),
        }
    }
}

/// How clients come to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// They dial the gateway itself.
    Direct,
    /// They dial the server; the kernel rewrites the destination (nftables `redirect`).
    Redirect,
    /// They dial the server; the kernel delivers the packet unchanged (nftables `tproxy`).
    Tproxy,
}

impl Capture {
    /// The word of the file.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Redirect => "redirect",
            Self::Tproxy => "tproxy",
        }
    }
}

/// Where the sessions of a listener go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// Where the client dialled.
    Original,
    /// Always here.
    Address {
        /// An IP address without brackets, or a DNS name.
        host: String,
        /// Never 0.
        port: u16,
    },
}

impl fmt::Display for Server {
    /// As in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Original => f.write_str("original"),
            Self::Address { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Address { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Whose address the server sees as its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The gateway's own.
    Gateway,
    /// The client's own.
    Client,
}

impl Source {
    /// The word of the file.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Client => "client",
        }
    }
}

/// How data connections are carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// Who carries the bytes.
    pub path: PathChoice,
    /// The mode used towards the server.
    pub mode: ModeChoice,
    /// The gateway's own data ports, shared with the other replicas where there are slices.
    pub ports: PortRange,
    /// Into how many equal parts `ports` is cut, one for each replica behind one address; at least 1.
    pub slices: u16,
    /// Which part is this gateway's.
    pub slice: Slice,
    /// What is open to a client and its server while their session cannot be read; no port of it is
    /// the gateway's own.
    pub blind_ports: Option<PortRange>,
    /// How long a pinhole stays open unused.
    pub open_timeout: Duration,
    /// How long a data connection may be idle.
    pub idle_timeout: Duration,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            path: PathChoice::Auto,
            mode: ModeChoice::Keep,
            ports: default_ports(),
            slices: 1,
            slice: Slice::Hostname,
            blind_ports: None,
            open_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
        }
    }
}

/// 50000-50999, inside the dynamic ports (RFC 6335 §6).
fn default_ports() -> PortRange {
    match PortRange::new(50_000, 50_999) {
        Ok(range) => range,
        Err(error) => unreachable!("{error}"),
    }
}

/// Which part of `data.ports` is this gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slice {
    /// This one, counted from 0.
    Number(u16),
    /// The one whose number stands at the end of the host's name, after its last `-`: a StatefulSet of
    /// Kubernetes names its pods so.
    Hostname,
}

impl fmt::Display for Slice {
    /// As in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Hostname => f.write_str("hostname"),
        }
    }
}

/// Who carries the bytes of data connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathChoice {
    /// The kernel where it can, the relay where it must, per data connection.
    Auto,
    /// Always the kernel.
    Kernel,
    /// Always the relay.
    Relay,
}

impl PathChoice {
    /// The word of the file.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Kernel => "kernel",
            Self::Relay => "relay",
        }
    }
}

/// The data mode used towards the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModeChoice {
    /// The client's.
    Keep,
    /// Always passive.
    Passive,
    /// Always active.
    Active,
}

/// The kernel's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirewallConfig {
    /// Who opens pinholes.
    pub backend: Backend,
    /// The name of ftpgate's own table in family `inet`.
    pub table: String,
    /// The mark of ftpgate's packets and connections; not 0.
    pub mark: u32,
}

impl Default for FirewallConfig {
    fn default() -> Self {
        Self { backend: Backend::Nftables, table: "ftpgate".to_owned(), mark: 0x2100 }
    }
}

/// Who opens pinholes in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// ftpgate's own nftables table; needs CAP_NET_ADMIN.
    Nftables,
    /// Nobody: the relay listens on its own sockets, no privilege is needed.
    None,
}

impl Backend {
    /// The word of the file.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::None => "none",
        }
    }
}

/// Logs, metrics and audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// Where `/metrics`, `/healthz` and `/readyz` are served; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// The status page is served there as well.
    pub page: bool,
    /// The log on standard error.
    pub log: LogConfig,
    /// The audit.
    pub audit: AuditConfig,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9121)),
            page: true,
            log: LogConfig::default(),
            audit: AuditConfig::default(),
        }
    }
}

/// The audit: who fetched, stored and changed what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditConfig {
    /// The file that its lines are appended to; `None`: there is none.
    pub path: Option<PathBuf>,
    /// Its lines also go to the journal of systemd.
    pub journald: bool,
    /// What becomes of sessions while it cannot be written.
    pub on_error: AuditFailure,
}

/// What its owner may ask of a running gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The path of the control socket; `None`: there is none.
    pub socket: Option<PathBuf>,
}

/// Where the control socket is, unless the file says otherwise; the commands look there too.
pub const ADMIN_SOCKET: &str = "/run/ftpgate/admin.sock";

impl Default for Admin {
    fn default() -> Self {
        Self { socket: Some(PathBuf::from(ADMIN_SOCKET)) }
    }
}

/// The log on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// The least important line that is written.
    pub level: LogLevel,
}
