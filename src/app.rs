//! Wires the parts together, in the one order that is safe: the firewall stands before the first
//! client is accepted, and clients are no longer accepted when it goes.
//!
//! | file | what it holds |
//! |---|---|
//! | `settings`, `tls` | what the configuration says, in the words of the parts |
//! | `explain` | what a policy says to one question, and why |
//! | `reload` | another configuration for a gateway that runs |
//! | `ending` | drain and shutdown |
//! | `external`, `slice` | the addresses that `advertise` names; the gateway's own part of the ports |
//! | `confinement` | what a configuration needs of the process |
//! | `control` | the control socket |
//! | `handover` | what goes from one process to the next |
//! | `notices` | what is in force, and what this host lacks |
//! | `watch` | its figures, and an audit without which nothing goes on |
//!
//! Not here: anything that decides about a session.

mod confinement;
mod control;
mod ending;
mod explain;
mod external;
mod handover;
mod notices;
mod reload;
mod settings;
mod slice;
mod tls;
mod watch;

pub use confinement::{confine, missing_folders, needs};
pub use control::open_control;
pub use explain::{Explanation, explain};
pub use external::{external_now, look_up_external};
pub use handover::{Handover, Manager};
pub use settings::{firewall_settings, needs_transparency, session_settings};
pub use slice::own_ports;

use crate::admin::{self, Readiness};
use crate::config::{self, Config};
use crate::confinement::Confined;
use crate::firewall::{self, Firewall};
use crate::net::routing::PolicyRouting;
use crate::net::{NetError, sessions_that_fit};
use crate::relay::{CourseSender, Intake, Listener, ListenerSettings, Shards, Shared};
use crate::telemetry::{AuditPlaces, JOURNAL_SOCKET, Observer, Telemetry};
use anyhow::{Context, bail};
use external::Followed;
use reload::Accepting;
use settings::{intake_ports, listener_settings, shared_settings};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A gateway that accepts clients.
pub struct RunningGateway {
    /// What is in force.
    config: Config,
    /// In the order of the configuration.
    listeners: Vec<Accepting>,
    telemetry_address: Option<SocketAddr>,
    telemetry: Telemetry,
    readiness: Readiness,
    course: CourseSender,
    tasks: JoinSet<()>,
    shared: Arc<Shared>,
    shards: Arc<Shards>,
    routing: Option<PolicyRouting>,
    firewall: Option<Firewall>,
    /// The kernel can carry data connections.
    kernel: bool,
    /// What `advertise` names.
    followed: Followed,
    notices: Vec<String>,
    manager: Manager,
    /// What this process may still do, if that was limited.
    confined: Option<Confined>,
}

/// Starts a gateway; returns when it accepts clients. `observer` is told every report.
///
/// # Errors
/// What could not be had, with the key or the right that it takes. Nothing is left behind.
pub async fn start(config: &Config, observer: Option<Observer>) -> anyhow::Result<RunningGateway> {
    start_after(config, observer, Handover::default()).await
}

/// As [`start`], with what was handed over: sockets that are bound already, the table of an earlier
/// process, and a service manager that is told. What the manager keeps is not taken back when the
/// start fails, nor by [`RunningGateway::shutdown`].
///
/// # Errors
/// As [`start`].
pub async fn start_after(
    config: &Config,
    observer: Option<Observer>,
    mut handover: Handover,
) -> anyhow::Result<RunningGateway> {
    let shared_settings = shared_settings(config)?;
    let mut telemetry = observer.map_or_else(Telemetry::new, Telemetry::with_observer);
    let audit = &config.telemetry.audit;
    telemetry = telemetry.with_audit(AuditPlaces {
        file: audit.path.as_deref(),
        journal: audit.journald.then(|| Path::new(JOURNAL_SOCKET)),
        on_error: audit.on_error,
    })?;
    let course = CourseSender::new();
    let readiness = Readiness::new();
    let mut tasks = JoinSet::new();

    let listener = telemetry_listener(config, &mut handover).await.context("telemetry.listen")?;
    let telemetry_address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
    if let Some(listener) = listener {
        let (telemetry, readiness) = (telemetry.clone(), readiness.clone());
        let page = config.telemetry.page;
        tasks.spawn(serve_telemetry(listener, telemetry, readiness, page, course.ending()));
    }

    let transparent = needs_transparency(config);
    let intake = if transparent { Some(Intake::start()?) } else { None };
    let ports = intake.as_ref().map(intake_ports);
    let firewall = start_firewall(config, ports, &mut handover).await?;
    let kernel = carries_data(firewall.as_ref(), config)?;
    let shared = Shared::new(shared_settings, firewall.clone(), intake, telemetry.clone());
    let shards = Arc::new(Shards::start().context("cannot start the threads for sessions")?);
    telemetry.watch_vitals(watch::vital_signs(&shards, firewall.as_ref()));
    if let Some(failing) = telemetry.watch_audit() {
        let shared = Arc::downgrade(&shared);
        let ending = course.ending();
        let held = watch::hold_without_audit(failing, readiness.clone(), shared);
        tasks.spawn(async {
            tokio::select! {
                () = held => {}
                () = ending => {}
            }
        });
    }
    if let Some(firewall) = &firewall {
        firewall.set_idle_timeout(config.data.idle_timeout);
    }
    let certificates = tls::Certificates::load(config)?;
    let followed = Followed::default().begin_more(config).await;
    let mut bound = Vec::new();
    for listener in &config.listeners {
        let tls = certificates
            .termination(config, listener)
            .with_context(|| format!("listener {}", listener.name))?;
        let advertise = followed.advertise(&Followed::default(), listener);
        let settings =
            ListenerSettings { tls, ..listener_settings(config, listener, kernel, advertise) };
        let socket = Listener::bind(
            settings,
            &mut handover.sockets,
            Arc::clone(&shared),
            Arc::clone(&shards),
            telemetry.listener(&listener.name),
        )
        .with_context(|| format!("listener {}", listener.name))?;
        bound.push((listener, socket));
    }
    telemetry.watch_certificates(certificates.expiries());
    let mut notices = notices::missing(kernel, certificates.ca_expires(), SystemTime::now());
    notices.extend(followed.unknown(config));
    notices.extend(notices::descriptors(config.limits.sessions, sessions_that_fit()));
    // Last, since it would outlive a start that fails.
    let routing = if transparent {
        let mark = config.firewall.mark;
        Some(PolicyRouting::install(mark, routing_table(mark)).await?)
    } else {
        None
    };
    let mut listeners = Vec::new();
    for (listener, socket) in bound {
        let (handle, dual) = (socket.handle(), config.is_dual(listener));
        let task = tasks.spawn(socket.run(course.subscribe()));
        listeners.push(Accepting { listener: listener.clone(), dual, handle, task });
    }
    readiness.set_ready();
    telemetry.set_config_loaded(SystemTime::now());
    let manager = handover.finish();
    manager.ready();
    let gateway = RunningGateway {
        config: config.clone(),
        listeners,
        telemetry_address,
        telemetry,
        readiness,
        course,
        tasks,
        shared,
        shards,
        routing,
        firewall,
        kernel,
        followed,
        notices,
        manager,
        confined: None,
    };
    gateway.show_listeners();
    Ok(gateway)
}

impl RunningGateway {
    /// Where clients are accepted, in the order of the configuration.
    pub fn listeners(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|listener| listener.handle.address()).collect()
    }

    /// Where metrics are served.
    pub fn telemetry_address(&self) -> Option<SocketAddr> {
        self.telemetry_address
    }

    /// The service manager that has started this process, if one has.
    pub fn manager(&self) -> Manager {
        self.manager
    }

    /// What is in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Who carries data connections, and why.
    pub fn data_path(&self) -> &'static str {
        notices::data_path(&self.config, self.kernel)
    }

    /// What the host lacks, or will soon, with what to do about it; a sentence each.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }
}

/// Where metrics and health are served, if they are.
async fn telemetry_listener(
    config: &Config,
    handover: &mut Handover,
) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = config.telemetry.listen else { return Ok(None) };
    let listener = match handover.sockets.listener(address, false, false)? {
        Some(socket) => TcpListener::from_std(socket),
        None => TcpListener::bind(address).await,
    };
    Ok(Some(listener.map_err(|reason| NetError::Listen { address, reason })?))
}

async fn start_firewall(
    config: &Config,
    ports: Option<firewall::Intake>,
    handover: &mut Handover,
) -> anyhow::Result<Option<Firewall>> {
    match config.firewall.backend {
        config::Backend::None => Ok(None),
        config::Backend::Nftables => {
            let firewall = handover.start_firewall(&firewall_settings(config, ports)).await;
            firewall.map(Some).context("firewall.backend: nftables")
        }
    }
}

async fn serve_telemetry(
    listener: TcpListener,
    telemetry: Telemetry,
    readiness: Readiness,
    page: bool,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let served = admin::serve(listener, telemetry, readiness, page, shutdown);
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

/// The routing table that delivers marked packets locally: numbered like the mark, so that whoever
/// finds it knows whose it is.
fn routing_table(mark: u32) -> u32 {
    mark
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
