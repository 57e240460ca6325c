//! The schema: every key of the file with its default, each value with its place.
//!
//! `config/reference.yaml` shows the same keys with a comment each; a test holds the two equal.

use super::advertise::{self, Advertise};
use super::confinement::ConfinementFile;
use super::file_tls::{self, ListenerTlsFile, TlsFile};
use super::limits::{Limits, limits};
use super::policy::{PolicyConfig, PolicyFile};
use super::proxy_protocol::ProxyProtocolFile;
use super::section::{Found, Section};
use super::types::{
    Admin, AuditConfig, Backend, Capture, Config, DEFAULT_POLICY, Data, FTP_PORT, FirewallConfig,
    Listener, LogConfig, ModeChoice, PathChoice, Server, Slice, Source, TelemetryConfig,
    default_policies,
};
use super::{problem::Place, value, value_tls};
use crate::pinhole::PortRange;
use crate::telemetry::{AuditFailure, LogFormat, LogLevel};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file as read, before it is checked as a whole.
pub(super) struct File {
    /// `None`: the key is missing or has no value.
    pub(super) listeners: Option<Vec<ListenerFile>>,
    pub(super) data: DataFile,
    pub(super) firewall: FirewallFile,
    pub(super) tls: TlsFile,
    /// Those written, in the order of the file.
    pub(super) policies: Vec<PolicyFile>,
    limits: Limits,
    pub(super) telemetry_listen: Found<Option<SocketAddr>>,
    telemetry: TelemetryConfig,
    admin_socket: Option<PathBuf>,
    pub(super) confinement: ConfinementFile,
    /// Where `listeners` stands, or should.
    pub(super) listeners_at: Place,
}

/// An item of `listeners`.
pub(super) struct ListenerFile {
    pub(super) name: Found<String>,
    pub(super) listen: Found<SocketAddr>,
    pub(super) capture: Found<Capture>,
    /// `None`: not written.
    pub(super) capture_ports: Found<Option<Vec<u16>>>,
    pub(super) server: Found<Server>,
    pub(super) source: Found<Source>,
    pub(super) policy: Found<String>,
    pub(super) tls: ListenerTlsFile,
    pub(super) proxy_protocol: ProxyProtocolFile,
    advertise: Advertise,
}

/// `data`.
pub(super) struct DataFile {
    pub(super) path: Found<PathChoice>,
    pub(super) mode: Found<ModeChoice>,
    pub(super) ports: Found<PortRange>,
    pub(super) slices: Found<u16>,
    pub(super) slice: Found<Slice>,
    pub(super) blind_ports: Found<Option<PortRange>>,
    open_timeout: Duration,
    idle_timeout: Duration,
}

/// `firewall`.
pub(super) struct FirewallFile {
    pub(super) backend: Found<Backend>,
    table: String,
    mark: u32,
}

impl File {
    /// Walks the whole tree; what is wrong is noted, and its default taken.
    pub(super) fn read(mut root: Section<'_>) -> Self {
        let listeners_at = root.place_of("listeners");
        let listeners = root.list("listeners");
        let listeners = listeners.map(|items| items.into_iter().map(listener).collect());
        let data = data(root.section("data"));
        let firewall = firewall(root.section("firewall"));
        let tls = file_tls::tls(root.section("tls"));
        let policies = policies(&mut root);
        let limits = limits(root.section("limits"));
        let (telemetry_listen, telemetry) = telemetry(root.section("telemetry"));
        let mut admin = root.section("admin");
        let admin_socket =
            admin.read("socket", value_tls::optional_path, Admin::default().socket).value;
        admin.finish();
        let confinement = ConfinementFile::read(root.section("confinement"));
        root.finish();
        Self {
            listeners,
            data,
            firewall,
            tls,
            policies,
            limits,
            telemetry_listen,
            telemetry,
            admin_socket,
            confinement,
            listeners_at,
        }
    }

    /// The configuration, its relative paths taken from `folder`. Call it only on a file without
    /// problems.
    pub(super) fn into_config(self, folder: &Path) -> Config {
        let Self {
            listeners,
            data,
            firewall,
            tls,
            policies,
            limits,
            telemetry_listen,
            telemetry,
            admin_socket,
            confinement,
            listeners_at: _,
        } = self;
        Config {
            listeners: listeners.into_iter().flatten().map(ListenerFile::into_listener).collect(),
            data: Data {
                path: data.path.value,
                mode: data.mode.value,
                ports: data.ports.value,
                slices: data.slices.value,
                slice: data.slice.value,
                blind_ports: data.blind_ports.value,
                open_timeout: data.open_timeout,
                idle_timeout: data.idle_timeout,
            },
            firewall: FirewallConfig {
                backend: firewall.backend.value,
                table: firewall.table,
                mark: firewall.mark,
            },
            tls: tls.into_tls().relative_to(folder),
            policies: all_policies(policies),
            limits,
            telemetry: TelemetryConfig {
                listen: telemetry_listen.value,
                audit: AuditConfig {
                    path: telemetry.audit.path.map(|path| folder.join(path)),
                    ..telemetry.audit
                },
                ..telemetry
            },
            admin: Admin { socket: admin_socket.map(|path| folder.join(path)) },
            confinement: confinement.into_settings(),
        }
    }
}

impl ListenerFile {
    /// The control ports that are steered here: those written, or FTP's own where there is anything
    /// to steer.
    pub(super) fn steered_ports(&self) -> Vec<u16> {
        match (&self.capture_ports.value, self.capture.value) {
            (Some(ports), _) => ports.clone(),
            (None, Capture::Direct) => Vec::new(),
            (None, Capture::Redirect | Capture::Tproxy) => vec![FTP_PORT],
        }
    }

    fn into_listener(self) -> Listener {
        Listener {
            capture_ports: self.steered_ports(),
            name: self.name.value,
            listen: self.listen.value,
            capture: self.capture.value,
            server: self.server.value,
            source: self.source.value,
            policy: self.policy.value,
            tls: self.tls.into_tls(),
            proxy_protocol: self.proxy_protocol.into_settings(),
            advertise: self.advertise,
        }
    }
}

fn listener(mut section: Section<'_>) -> ListenerFile {
    const CAPTURE: &[(&str, Capture)] = &[
        ("direct", Capture::Direct),
        ("redirect", Capture::Redirect),
        ("tproxy", Capture::Tproxy),
    ];
    const SOURCE: &[(&str, Source)] = &[("gateway", Source::Gateway), ("client", Source::Client)];
    let default = Listener::default();
    let listener = ListenerFile {
        name: section.read("name", value::name, default.name),
        listen: section.read("listen", value::socket_address, default.listen),
        capture: section.read("capture", value::choice(CAPTURE), default.capture),
        capture_ports: section.read("capture_ports", |node| value::ports(node).map(Some), None),
        server: section.read("server", value::server_node, default.server),
        source: section.read("source", value::choice(SOURCE), default.source),
        policy: section.read("policy", value::name, default.policy),
        tls: file_tls::listener_tls(section.section("tls")),
        proxy_protocol: ProxyProtocolFile::read(section.section("proxy_protocol")),
        advertise: advertise::advertise(section.section("advertise")),
    };
    section.finish();
    listener
}

fn data(mut section: Section<'_>) -> DataFile {
    const PATH: &[(&str, PathChoice)] =
        &[("auto", PathChoice::Auto), ("kernel", PathChoice::Kernel), ("relay", PathChoice::Relay)];
    const MODE: &[(&str, ModeChoice)] = &[
        ("keep", ModeChoice::Keep),
        ("passive", ModeChoice::Passive),
        ("active", ModeChoice::Active),
    ];
    let default = Data::default();
    let data = DataFile {
        path: section.read("path", value::choice(PATH), default.path),
        mode: section.read("mode", value::choice(MODE), default.mode),
        ports: section.read("ports", value::port_range, default.ports),
        slices: section.read("slices", value::slices, default.slices),
        slice: section.read("slice", value::slice, default.slice),
        blind_ports: section.read("blind_ports", value::optional_port_range, default.blind_ports),
        open_timeout: section.read("open_timeout", value::duration, default.open_timeout).value,
        idle_timeout: section.read("idle_timeout", value::duration, default.idle_timeout).value,
    };
    section.finish();
    data
}

fn firewall(mut section: Section<'_>) -> FirewallFile {
    const BACKEND: &[(&str, Backend)] = &[("nftables", Backend::Nftables), ("none", Backend::None)];
    let default = FirewallConfig::default();
    let firewall = FirewallFile {
        backend: section.read("backend", value::choice(BACKEND), default.backend),
        table: section.read("table", value::table, default.table).value,
        mark: section.read("mark", value::mark, default.mark).value,
    };
    section.finish();
    firewall
}

fn policies(root: &mut Section<'_>) -> Vec<PolicyFile> {
    let sections = root.named("policies").into_iter();
    sections.map(|(name, section)| PolicyFile::read(name, section)).collect()
}

/// Those written, and those that are always there.
fn all_policies(written: Vec<PolicyFile>) -> BTreeMap<String, PolicyConfig> {
    let mut policies = default_policies();
    let written = written.into_iter().map(|policy| (policy.name().to_owned(), policy));
    policies.extend(written.map(|(name, policy)| (name, policy.into_config())));
    debug_assert!(policies.contains_key(DEFAULT_POLICY));
    policies
}

fn telemetry(mut section: Section<'_>) -> (Found<Option<SocketAddr>>, TelemetryConfig) {
    const FORMAT: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
    const LEVEL: &[(&str, LogLevel)] = &[
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    const ON_ERROR: &[(&str, AuditFailure)] =
        &[("continue", AuditFailure::Continue), ("stop", AuditFailure::Stop)];
    let default = TelemetryConfig::default();
    let listen = section.read("listen", value::optional_socket_address, default.listen);
    let page = section.read("page", value::boolean, default.page).value;
    let mut log = section.section("log");
    let format = log.read("format", value::choice(FORMAT), default.log.format).value;
    let level = log.read("level", value::choice(LEVEL), default.log.level).value;
    log.finish();
    let mut audit = section.section("audit");
    let path = audit.read("path", value_tls::optional_path, default.audit.path).value;
    let journald = audit.read("journald", value::boolean, default.audit.journald).value;
    let on_error = audit.read("on_error", value::choice(ON_ERROR), default.audit.on_error).value;
    audit.finish();
    section.finish();
    let telemetry = TelemetryConfig {
        listen: listen.value,
        page,
        log: LogConfig { format, level },
        audit: AuditConfig { path, journald, on_error },
    };
    (listen, telemetry)
}
