//! Wires the parts together, in the one order that is safe: the firewall stands before the first
//! client is accepted, and clients are no longer accepted when it goes.
//!
//! Not here: anything that decides about a session.

mod tls;

use crate::admin::{self, Readiness};
use crate::config::{self, Config};
use crate::firewall::{self, Firewall};
use crate::net::interfaces;
use crate::net::routing::PolicyRouting;
use crate::policy::Policy;
use crate::relay::{
    CaptureKind, Intake, Limits, Listener, ListenerSettings, ServerAddress, Shards, Shared,
    SharedSettings,
};
use crate::session::{ModeChoice, PathChoice, Settings, Source};
use crate::telemetry::{Observer, Telemetry};
use anyhow::{Context, bail};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long sessions have to say good-bye when the gateway stops.
const FAREWELL: Duration = Duration::from_secs(3);

/// A gateway that accepts clients.
pub struct RunningGateway {
    listeners: Vec<SocketAddr>,
    telemetry_address: Option<SocketAddr>,
    telemetry: Telemetry,
    readiness: Readiness,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    shards: Arc<Shards>,
    routing: Option<PolicyRouting>,
    firewall: Option<Firewall>,
}

/// Starts a gateway; returns when it accepts clients. `observer` is told every report.
///
/// # Errors
/// What could not be had, with the key or the right that it takes. Nothing is left behind.
pub async fn start(config: &Config, observer: Option<Observer>) -> anyhow::Result<RunningGateway> {
    let mut telemetry = observer.map_or_else(Telemetry::new, Telemetry::with_observer);
    if let Some(path) = &config.telemetry.audit.path {
        telemetry = telemetry.with_audit(path).with_context(|| {
            format!("telemetry.audit.path: cannot append to {}", path.display())
        })?;
    }
    let (stop, stopped) = watch::channel(false);
    let readiness = Readiness::new();
    let mut tasks = JoinSet::new();

    let telemetry_address = match config.telemetry.listen {
        None => None,
        Some(address) => {
            let listener = tokio::net::TcpListener::bind(address)
                .await
                .with_context(|| format!("telemetry.listen: cannot listen on {address}"))?;
            let bound = listener.local_addr()?;
            let served =
                serve_telemetry(listener, telemetry.clone(), readiness.clone(), stopped.clone());
            tasks.spawn(served);
            Some(bound)
        }
    };

    let transparent = needs_transparency(config);
    let intake = if transparent { Some(Intake::start()?) } else { None };
    let ports = intake.as_ref().map(intake_ports);
    let firewall = match config.firewall.backend {
        config::Backend::None => None,
        config::Backend::Nftables => Some(
            Firewall::start(&firewall_settings(config, ports))
                .context("firewall.backend: nftables")?,
        ),
    };
    let kernel = carries_data(firewall.as_ref(), config)?;
    let settings = shared_settings(config);
    let shared = Shared::new(settings, firewall.clone(), intake, telemetry.clone());
    let shards = Arc::new(Shards::start().context("cannot start the threads for sessions")?);
    let certificates = tls::Certificates::load(config)?;
    let mut bound = Vec::new();
    for listener in &config.listeners {
        let tls = certificates
            .termination(config, listener)
            .with_context(|| format!("listener {}", listener.name))?;
        let settings = ListenerSettings { tls, ..listener_settings(config, listener, kernel)? };
        let socket = Listener::bind(
            settings,
            Arc::clone(&shared),
            Arc::clone(&shards),
            telemetry.listener(&listener.name),
        )
        .with_context(|| format!("listener {}", listener.name))?;
        bound.push((listener, socket));
    }
    // Last, since it would outlive a start that fails.
    let routing = if transparent {
        let mark = config.firewall.mark;
        Some(PolicyRouting::install(mark, routing_table(mark)).await?)
    } else {
        None
    };
    let mut listeners = Vec::new();
    for (listener, socket) in bound {
        let address = socket.address();
        tracing::info!(
            listener = %listener.name, %address, capture = listener.capture.label(),
            source = listener.source.label(), path = config.data.path.label(), "listening",
        );
        listeners.push(address);
        tasks.spawn(socket.run(stopped.clone()));
    }
    readiness.set_ready();
    Ok(RunningGateway {
        listeners,
        telemetry_address,
        telemetry,
        readiness,
        stop,
        tasks,
        shards,
        routing,
        firewall,
    })
}

impl RunningGateway {
    /// Where clients are accepted, in the order of the configuration.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// Where metrics are served.
    pub fn telemetry_address(&self) -> Option<SocketAddr> {
        self.telemetry_address
    }

    /// Stops accepting, says good-bye to every session, and takes back what was set up in the
    /// kernel. Transfers that the kernel carries go on.
    pub async fn shutdown(mut self) {
        self.readiness.set_not_ready("shutting down");
        let _ = self.stop.send(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, all).await.is_err() {
            tracing::warn!("some parts did not stop in time");
        }
        // Each session holds a receiver until it has hung up.
        if tokio::time::timeout(FAREWELL, self.stop.closed()).await.is_err() {
            tracing::warn!("some sessions are cut off");
        }
        let shards = self.shards;
        if tokio::task::spawn_blocking(move || drop(shards)).await.is_err() {
            tracing::warn!("the threads for sessions did not stop in order");
        }
        if let Some(routing) = self.routing
            && let Err(error) = routing.remove().await
        {
            tracing::warn!(%error, "policy routing is left behind");
        }
        if let Some(firewall) = self.firewall {
            let stopped = tokio::task::spawn_blocking(move || firewall.shutdown()).await;
            if stopped.is_err() {
                tracing::warn!("the firewall did not stop in order; the kernel removes its table");
            }
        }
        let telemetry = self.telemetry;
        let flushed = tokio::task::spawn_blocking(move || telemetry.flush_audit(FAREWELL)).await;
        if !flushed.is_ok_and(|flushed| flushed) {
            tracing::warn!("telemetry.audit.path: not everything is written");
        }
    }
}

async fn serve_telemetry(
    listener: tokio::net::TcpListener,
    telemetry: Telemetry,
    readiness: Readiness,
    mut stopped: watch::Receiver<bool>,
) {
    let shutdown = async move {
        // An error means that the gateway is gone, which is an end too.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let served = admin::serve(listener, telemetry, readiness, shutdown);
    if let Err(error) = served.await {
        tracing::error!(%error, "metrics and health are no longer served");
    }
}

/// True if the kernel can carry data connections: where it tells of them.
fn carries_data(firewall: Option<&Firewall>, config: &Config) -> anyhow::Result<bool> {
    let Some(firewall) = firewall else { return Ok(false) };
    if firewall.counts_flows() {
        return Ok(true);
    }
    if config.data.path == config::PathChoice::Kernel {
        bail!(
            "data.path: kernel needs conntrack events (nf_conntrack_netlink); see `ftpgate doctor`"
        );
    }
    tracing::warn!("conntrack events cannot be had: all data takes the relay path");
    Ok(false)
}

fn shared_settings(config: &Config) -> SharedSettings {
    SharedSettings {
        ports: config.data.ports,
        limits: Limits {
            sessions: config.limits.sessions,
            sessions_per_client: config.limits.sessions_per_client,
        },
        open_timeout: config.data.open_timeout,
        data_idle_timeout: config.data.idle_timeout,
    }
}

/// The routing table that delivers marked packets locally: numbered like the mark, so that whoever
/// finds it knows whose it is.
fn routing_table(mark: u32) -> u32 {
    mark
}

/// Transparent sockets are in use wherever a foreign address is bound or captured.
pub fn needs_transparency(config: &Config) -> bool {
    config.listeners.iter().any(|listener| {
        listener.capture != config::Capture::Direct || listener.source == config::Source::Client
    })
}

fn intake_ports(intake: &Intake) -> firewall::Intake {
    firewall::Intake { v4: intake.port_v4(), v6: intake.port_v6() }
}

/// Reads every file that `config` names for TLS, as a start does.
///
/// # Errors
/// As a start's: the key, the file, why it cannot be used, and what to do.
pub fn try_tls_files(config: &Config) -> anyhow::Result<()> {
    let certificates = tls::Certificates::load(config)?;
    for listener in &config.listeners {
        certificates
            .termination(config, listener)
            .with_context(|| format!("listener {}", listener.name))?;
    }
    Ok(())
}

/// What the firewall has to hold for this configuration; also what `ftpgate rules` prints.
/// `intake` is where captured data connections are delivered, if there can be any.
pub fn firewall_settings(config: &Config, intake: Option<firewall::Intake>) -> firewall::Settings {
    let captures = config.listeners.iter().filter_map(|listener| {
        let kind = match listener.capture {
            config::Capture::Direct => return None,
            config::Capture::Redirect => firewall::CaptureKind::Redirect,
            config::Capture::Tproxy => firewall::CaptureKind::Tproxy,
        };
        let ports = listener.capture_ports.clone();
        Some(firewall::Capture { kind, ports, to: listener.listen, dual: config.is_dual(listener) })
    });
    firewall::Settings {
        table: config.firewall.table.clone(),
        mark: config.firewall.mark,
        captures: captures.collect(),
        intake,
        transparent: needs_transparency(config),
        blind_ports: config.data.blind_ports,
    }
}

/// What the sessions of a listener are told. `kernel`: whether data connections can be carried there.
///
/// # Errors
/// An interface that is named in `advertise` has no address.
pub fn session_settings(
    config: &Config,
    listener: &config::Listener,
    kernel: bool,
) -> anyhow::Result<Settings> {
    let policy = config.policies.get(&listener.policy).cloned().unwrap_or_default();
    let v6 = listener.listen.is_ipv6();
    let advertise =
        |key: &str, choice: &config::AdvertiseChoice| -> anyhow::Result<Option<IpAddr>> {
            match choice {
                config::AdvertiseChoice::Auto => Ok(None),
                config::AdvertiseChoice::Address(address) => Ok(Some(*address)),
                config::AdvertiseChoice::Interface(name) => interfaces::address_of(name, v6)
                    .map(Some)
                    .with_context(|| format!("advertise.{key}: interface {name} has no address")),
            }
        };
    Ok(Settings {
        policy: Policy { strict: policy.strict, low_ports: policy.low_ports },
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
        kernel,
        advertise_client: advertise("client", &listener.advertise.client)?,
        advertise_server: advertise("server", &listener.advertise.server)?,
        login_timeout: config.limits.login_timeout,
        idle_timeout: config.limits.idle_timeout,
        open_timeout: config.data.open_timeout,
        line_limit: config.limits.line,
    })
}

fn listener_settings(
    config: &Config,
    listener: &config::Listener,
    kernel: bool,
) -> anyhow::Result<ListenerSettings> {
    let session = session_settings(config, listener, kernel)?;
    Ok(ListenerSettings {
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
        tls: None,
    })
}
