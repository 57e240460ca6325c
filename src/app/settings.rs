//! What the configuration says, in the words of the parts that act on it.

use super::slice::own_ports;
use super::tls;
use crate::config::{self, Config};
use crate::firewall;
use crate::net::proxy_protocol::Version;
use crate::relay::{
    Advertise, CaptureKind, Intake, Limits, ListenerSettings, ProxyProtocol, ServerAddress,
    SharedSettings,
};
use crate::session::{ModeChoice, PathChoice, Settings, Source};
use std::sync::Arc;

/// # Errors
/// As those of [`own_ports`].
pub(super) fn shared_settings(config: &Config) -> anyhow::Result<SharedSettings> {
    Ok(SharedSettings {
        ports: own_ports(config)?.0,
        limits: Limits {
            sessions: config.limits.sessions,
            sessions_per_client: config.limits.sessions_per_client,
            sessions_per_server: config.limits.sessions_per_server,
            new_sessions_per_client: config.limits.new_sessions_per_client,
            failed_logins_per_client: config.limits.failed_logins_per_client,
            ports_per_client: config.limits.ports_per_client,
        },
        open_timeout: config.data.open_timeout,
        data_idle_timeout: config.data.idle_timeout,
    })
}

/// Transparent sockets are in use wherever a foreign address is bound or captured.
pub fn needs_transparency(config: &Config) -> bool {
    config.listeners.iter().any(|listener| {
        listener.capture != config::Capture::Direct || listener.source == config::Source::Client
    })
}

pub(super) fn intake_ports(intake: &Intake) -> firewall::Intake {
    firewall::Intake { v4: intake.port_v4(), v6: intake.port_v6() }
}

/// What the firewall has to hold for this configuration; also what `ftpgate rules` prints.
/// `intake` is where captured data connections are delivered, if there can be any.
pub fn firewall_settings(config: &Config, intake: Option<firewall::Intake>) -> firewall::Settings {
    firewall::Settings {
        table: config.firewall.table.clone(),
        mark: config.firewall.mark,
        captures: captures(config),
        intake,
        transparent: needs_transparency(config),
        blind_ports: config.data.blind_ports,
    }
}

/// The control connections that are steered to listeners.
pub(super) fn captures(config: &Config) -> Vec<firewall::Capture> {
    let captures = config.listeners.iter().filter_map(|listener| {
        let kind = match listener.capture {
            config::Capture::Direct => return None,
            config::Capture::Redirect => firewall::CaptureKind::Redirect,
            config::Capture::Tproxy => firewall::CaptureKind::Tproxy,
        };
        let ports = listener.capture_ports.clone();
        Some(firewall::Capture { kind, ports, to: listener.listen, dual: config.is_dual(listener) })
    });
    captures.collect()
}

/// What the sessions of a listener are told. `kernel`: whether data connections can be carried there.
pub fn session_settings(config: &Config, listener: &config::Listener, kernel: bool) -> Settings {
    let policy = config.policies.get(&listener.policy);
    Settings {
        policy: policy.map(|policy| policy.compile(&listener.name)).unwrap_or_default(),
        path: match config.data.path {
            config::PathChoice::Auto => PathChoice::Auto,
            config::PathChoice::Kernel => PathChoice::Kernel,
            config::PathChoice::Relay => PathChoice::Relay,
        },
        mode: match config.data.mode {
            config::ModeChoice::Keep => ModeChoice::Keep,
            config::ModeChoice::Passive => ModeChoice::Passive,
            config::ModeChoice::Active => ModeChoice::Active,
        },
        tls_required: listener.tls.required,
        tls: tls::mode(listener.tls.mode),
        client_start: tls::start(listener.tls.client_start),
        server_start: tls::start(listener.tls.server_start),
        server_ccc: tls::server_ccc(listener.tls.server_ccc),
        bypass: listener.tls.bypass.clone(),
        blind_ports: kernel && config.data.blind_ports.is_some(),
        source: match listener.source {
            config::Source::Gateway => Source::Gateway,
            config::Source::Client => Source::Client,
        },
        server_name: server_name(&listener.server),
        proves_names: proves_names(config, listener),
        send_data_header: listener.proxy_protocol.send_data,
        kernel,
        first_line_timeout: config.limits.first_line_timeout,
        login_timeout: config.limits.login_timeout,
        idle_timeout: config.limits.idle_timeout,
        open_timeout: config.data.open_timeout,
        pinholes: config.limits.pinholes_per_session,
        line_limit: config.limits.line,
    }
}

/// A certificate that is pinned, or a server that is let pass, proves no name.
fn proves_names(config: &Config, listener: &config::Listener) -> bool {
    let server = &config.tls.server;
    listener.tls.verify.unwrap_or(server.verify) == config::Verify::Full
        && server.untrusted == config::Untrusted::Refuse
        && server.fingerprints.is_empty()
}

fn server_name(server: &config::Server) -> Option<String> {
    match server {
        config::Server::Original => None,
        config::Server::Address { host, .. } => {
            host.parse::<std::net::IpAddr>().is_err().then(|| host.clone())
        }
    }
}

pub(super) fn listener_settings(
    config: &Config,
    listener: &config::Listener,
    kernel: bool,
    advertise: Advertise,
) -> ListenerSettings {
    let session = session_settings(config, listener, kernel);
    ListenerSettings {
        listen: listener.listen,
        dual: config.is_dual(listener),
        capture: match listener.capture {
            config::Capture::Direct => CaptureKind::Direct,
            config::Capture::Redirect => CaptureKind::Redirect,
            config::Capture::Tproxy => CaptureKind::Tproxy,
        },
        server: match &listener.server {
            config::Server::Original => ServerAddress::Original,
            config::Server::Address { host, port } => {
                ServerAddress::Fixed { host: host.clone(), port: *port }
            }
        },
        session: Arc::new(session),
        advertise,
        tls: None,
        proxy_protocol: proxy_protocol(&listener.proxy_protocol),
    }
}

fn proxy_protocol(section: &config::ProxyProtocol) -> ProxyProtocol {
    ProxyProtocol {
        accept_from: section.accept_from.as_slice().into(),
        send: match section.send {
            config::SendHeader::None => None,
            config::SendHeader::V1 => Some(Version::V1),
            config::SendHeader::V2 => Some(Version::V2),
        },
        send_data: section.send_data,
    }
}
