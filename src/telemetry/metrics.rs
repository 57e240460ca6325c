//! The metrics: one registry per gateway, every name and label of it.
//!
//! Labels are closed sets (the words of [`crate::report`] and [`crate::terms`], and the names of
//! listeners), so that every child is made ahead and no event looks one up. `docs/metrics.md` holds
//! the same list, and a test holds the two equal.
//!
//! | file | what it holds |
//! |---|---|
//! | `families.rs` | how metrics are made and registered |
//! | `handshake.rs` | the ends of a TLS handshake as labels |
//! | `listener.rs` | the metrics that bear the name of a listener |
//!
//! Not here: the figures of the process, which bear no prefix (`process.rs`).

mod families;
mod handshake;
mod listener;

pub(super) use handshake::HandshakeEnd;
pub(super) use listener::{BlindOutcome, ListenerMetrics};

use super::certificates::CertificateRole;
use super::process::Process;
use super::vitals::{Repair, Vitals};
use crate::report::{Connection, ControlProtection, DataOutcome, LeafSource, PinholeOutcome};
use crate::terms::{DataMode, DataPath, Direction, ProtectionLevel, Side};
use families::{Children, Families, each};
use listener::ListenerFamilies;
use prometheus::{
    Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
};
use std::time::SystemTime;

/// Seconds. A netlink acknowledgement takes some 10 µs; beyond 100 ms something is broken, and the
/// last bucket tells by how much.
const PINHOLE_OPEN_BUCKETS: [f64; 15] = [
    5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 1.0,
];

/// Seconds, from the probe of a load balancer and one file to a day of mirroring.
const SESSION_BUCKETS: [f64; 13] =
    [0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0];

/// Seconds, from the same rack to where a person gives up.
const SERVER_CONNECT_BUCKETS: [f64; 14] =
    [5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0, 30.0];

/// The metrics that belong to no listener, and the families of those that do.
pub(super) struct Metrics {
    registry: Registry,
    process: Process,
    listeners: ListenerFamilies,
    certificate_expiry: IntGaugeVec,
    pub(super) ready: IntGauge,
    pub(super) sessions_limit: IntGauge,
    pub(super) session_seconds: Histogram,
    pub(super) server_connect_seconds: Histogram,
    pub(super) pinholes_open: Children<DataPath, IntGauge>,
    pub(super) pinholes_total: Children<(DataPath, DataMode, PinholeOutcome), IntCounter>,
    pub(super) pinhole_open_seconds: Children<DataPath, Histogram>,
    pub(super) ports: IntGauge,
    pub(super) ports_free: IntGauge,
    pub(super) data_connections_active: Children<DataPath, IntGauge>,
    pub(super) data_connections_total:
        Children<(DataPath, DataMode, ProtectionLevel, DataOutcome), IntCounter>,
    pub(super) data_bytes_total: Children<(DataPath, Direction), IntCounter>,
    pub(super) control_protection: Children<ControlProtection, IntGauge>,
    pub(super) tls_handshakes_total: Children<(Side, Connection, HandshakeEnd), IntCounter>,
    pub(super) leaf_certificates_total: Children<LeafSource, IntCounter>,
    pub(super) audit_lines_total: AuditLines,
    tasks: IntGauge,
    firewall_repairs_total: Children<Repair, IntCounter>,
    pub(super) config_reloads_total: Children<bool, IntCounter>,
    pub(super) config_loaded_timestamp_seconds: IntGauge,
}

/// What became of the lines of the audit, by where they were to go.
pub(super) struct AuditLines {
    pub(super) file: AuditOutcomes,
    pub(super) journal: AuditOutcomes,
}

/// What became of them in one place.
#[derive(Clone)]
pub(super) struct AuditOutcomes {
    /// They are there.
    pub(super) written: IntCounter,
    /// They are not: it could not be written, or not fast enough.
    pub(super) lost: IntCounter,
    /// 1 while it cannot be written.
    pub(super) failing: IntGauge,
}

impl AuditLines {
    fn new(family: &IntCounterVec, failing: &IntGaugeVec) -> Self {
        let child = |place: &str, outcome: &str| family.with_label_values(&[place, outcome]);
        let of = |place: &str| AuditOutcomes {
            written: child(place, "written"),
            lost: child(place, "lost"),
            failing: failing.with_label_values(&[place]),
        };
        Self { file: of("file"), journal: of("journal") }
    }
}

impl Metrics {
    /// A registry of its own: several gateways may live in one process.
    pub(super) fn new() -> Self {
        let families = Families(
            Registry::new_custom(Some("ftpgate".to_owned()), None).expect("a valid prefix"),
        );
        let build_info =
            families.gauges("build_info", "Always 1; the version is the label.", &["version"]);
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let pinholes_open = families.gauges(
            "pinholes_open",
            "Pinholes open now, by who will carry the bytes.",
            &["path"],
        );
        let pinholes_total = families.counters(
            "pinholes_total",
            "Pinholes that are over, by what became of them: used is as it should be, expired found \
             no data connection in data.open_timeout, withdrawn was not needed, failed never opened.",
            &["path", "mode", "outcome"],
        );
        let pinhole_open_seconds = families.histograms(
            "pinhole_open_seconds",
            "Seconds from asking for a pinhole to its acknowledgement, by who will carry the bytes; \
             the line that names the pinhole waits for it.",
            &PINHOLE_OPEN_BUCKETS,
            &["path"],
        );
        let data_connections_active = families.gauges(
            "data_connections_active",
            "Data connections carried now, by who carries the bytes.",
            &["path"],
        );
        let data_connections_total = families.counters(
            "data_connections_total",
            "Data connections that are over, by how they ended; what the server says of the file is \
             not part of it.",
            &["path", "mode", "protection", "outcome"],
        );
        let data_bytes_total = families.counters(
            "data_bytes_total",
            "Bytes of data connections that are over: payload on the relay path, whole IP packets on \
             the kernel path (there only with conntrack accounting).",
            &["path", "direction"],
        );
        let control_protection = families.gauges(
            "control_protection",
            "Sessions now, by the protection of their control connection.",
            &["state"],
        );
        let tls_handshakes_total = families.counters(
            "tls_handshakes_total",
            "TLS handshakes of the gateway's own, by how they ended; those that pass through are not \
             among them.",
            &["side", "connection", "version", "resumed", "outcome"],
        );
        let leaf_certificates_total = families.counters(
            "leaf_certificates_total",
            "Certificates shown to clients in place of their server's, by where they came from.",
            &["source"],
        );
        let audit_lines_total = families.counters(
            "audit_lines_total",
            "Lines of the audit (telemetry.audit), by where they were to go and what became of them.",
            &["place", "outcome"],
        );
        let audit_failing = families.gauges(
            "audit_failing",
            "1 while the audit (telemetry.audit) cannot be written, by where to; else 0.",
            &["place"],
        );
        let firewall_repairs_total = families.counters(
            "firewall_repairs_total",
            "Times that something was put back which others had taken away, or of which news were lost.",
            &["what"],
        );
        let config_reloads_total = families.counters(
            "config_reloads_total",
            "Times the configuration was to be read again, by what came of it.",
            &["outcome"],
        );
        Self {
            config_reloads_total: Children::new([true, false], |applied| {
                config_reloads_total.with_label_values(&[if applied {
                    "applied"
                } else {
                    "refused"
                }])
            }),
            config_loaded_timestamp_seconds: families.gauge(
                "config_loaded_timestamp_seconds",
                "When the configuration in force was read, in seconds since 1970.",
            ),
            process: Process::new(),
            listeners: ListenerFamilies::new(&families),
            certificate_expiry: families.gauges(
                "certificate_expiry_timestamp_seconds",
                "When a certificate that the gateway uses expires, in seconds since 1970, by what it \
                 is for; absent where it uses none.",
                &["certificate"],
            ),
            ready: families.gauge("ready", "1 while sessions are taken, as /readyz says; else 0."),
            sessions_limit: families.gauge(
                "sessions_limit",
                "Sessions that may run at once in all (limits.sessions); what is beyond is turned away.",
            ),
            session_seconds: families.histogram(
                "session_seconds",
                "Seconds from accept to end of a session.",
                &SESSION_BUCKETS,
            ),
            server_connect_seconds: families.histogram(
                "server_connect_seconds",
                "Seconds from dialling the server to the established control connection.",
                &SERVER_CONNECT_BUCKETS,
            ),
            ports: families.gauge("ports", "Ports of the pool (data.ports), free or not."),
            ports_free: families.gauge("ports_free", "Ports of the pool that are free now."),
            pinholes_open: Children::new(DataPath::ALL, |path| {
                pinholes_open.with_label_values(&[path.label()])
            }),
            pinholes_total: Children::new(
                each(&modes(), PinholeOutcome::ALL)
                    .map(|((path, mode), outcome)| (path, mode, outcome)),
                |(path, mode, outcome)| {
                    let labels = [path.label(), mode.label(), outcome.label()];
                    pinholes_total.with_label_values(&labels)
                },
            ),
            pinhole_open_seconds: Children::new(DataPath::ALL, |path| {
                pinhole_open_seconds.with_label_values(&[path.label()])
            }),
            data_connections_active: Children::new(DataPath::ALL, |path| {
                data_connections_active.with_label_values(&[path.label()])
            }),
            data_connections_total: Children::new(
                each(&each(&modes(), &ProtectionLevel::ALL).collect::<Vec<_>>(), DataOutcome::ALL)
                    .map(|(((path, mode), level), outcome)| (path, mode, level, outcome)),
                |(path, mode, level, outcome)| {
                    let labels = [path.label(), mode.label(), level.label(), outcome.label()];
                    data_connections_total.with_label_values(&labels)
                },
            ),
            data_bytes_total: Children::new(
                each(&DataPath::ALL, &Direction::ALL),
                |(path, direction)| {
                    data_bytes_total.with_label_values(&[path.label(), direction.label()])
                },
            ),
            control_protection: Children::new(ControlProtection::ALL.iter().copied(), |state| {
                control_protection.with_label_values(&[state.label()])
            }),
            tls_handshakes_total: Children::new(
                each(&connections(), &HandshakeEnd::all())
                    .map(|((side, connection), end)| (side, connection, end)),
                |(side, connection, end)| {
                    let (side, connection) = (side.label(), connection.label());
                    let labels = [side, connection, end.version(), end.resumed(), end.outcome()];
                    tls_handshakes_total.with_label_values(&labels)
                },
            ),
            leaf_certificates_total: Children::new(LeafSource::ALL.iter().copied(), |source| {
                leaf_certificates_total.with_label_values(&[source.label()])
            }),
            audit_lines_total: AuditLines::new(&audit_lines_total, &audit_failing),
            tasks: families.gauge(
                "tasks",
                "Tasks that carry sessions and data connections; none is left where none of these is.",
            ),
            firewall_repairs_total: Children::new(Repair::ALL, |what| {
                firewall_repairs_total.with_label_values(&[what.label()])
            }),
            registry: families.0,
        }
    }

    /// The children of one listener; the same ones for the same name.
    pub(super) fn listener(&self, name: &str) -> ListenerMetrics {
        self.listeners.of(name)
    }

    /// Tells when these certificates expire, and of no others.
    pub(super) fn set_expiries(
        &self,
        expiries: impl Iterator<Item = (CertificateRole, SystemTime)>,
    ) {
        self.certificate_expiry.reset();
        for (role, at) in expiries {
            // One that expired before 1970 has expired.
            let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            let gauge = self.certificate_expiry.with_label_values(&[role.label()]);
            gauge.set(i64::try_from(seconds).unwrap_or(i64::MAX));
        }
    }

    /// Tells what other parts have counted so far. Only one at a time may.
    pub(super) fn set_vitals(&self, vitals: Vitals) {
        self.tasks.set(i64::try_from(vitals.tasks).unwrap_or(i64::MAX));
        for (what, times) in Repair::ALL.into_iter().zip(vitals.repairs) {
            let counter = self.firewall_repairs_total.of(what);
            counter.inc_by(times.saturating_sub(counter.get()));
        }
    }

    /// All metrics in the text exposition format 0.0.4. Reads the figures of the process.
    pub(super) fn encode(&self) -> String {
        let mut families = self.registry.gather();
        families.extend(self.process.gather());
        match TextEncoder::new().encode_to_string(&families) {
            Ok(text) => text,
            Err(error) => {
                tracing::error!(%error, "the metrics could not be written");
                String::new()
            }
        }
    }
}

/// Every pair of side and connection.
fn connections() -> Vec<(Side, Connection)> {
    each(&[Side::Client, Side::Server], Connection::ALL).collect()
}

/// Every pair of path and mode.
fn modes() -> Vec<(DataPath, DataMode)> {
    each(&DataPath::ALL, &DataMode::ALL).collect()
}
