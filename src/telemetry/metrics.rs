//! The metrics: one registry per gateway, every name and label of it.
//!
//! Labels are closed sets (the words of [`crate::report`] and [`crate::terms`], and the names of
//! listeners), so that every child is made ahead and no event looks one up. `docs/metrics.md` holds
//! the same list, and a test holds the two equal.

use crate::report::{
    CccOutcome, CloseCause, Connection, ControlProtection, DataOutcome, LeafSource, PinholeOutcome,
    Refusal, RewrittenLine, TlsFault, TlsVersion,
};
use crate::terms::{DataMode, DataPath, Direction, ProtectionLevel, Side};
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Seconds. A netlink acknowledgement takes some 10 µs; beyond 100 ms something is broken.
const PINHOLE_OPEN_BUCKETS: [f64; 11] =
    [5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 1e-1];

/// Seconds, from one file to a day of mirroring.
const SESSION_BUCKETS: [f64; 11] =
    [0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0];

/// Seconds, from the same rack to where a person gives up.
const SERVER_CONNECT_BUCKETS: [f64; 14] =
    [5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0, 30.0];

/// One child for each word of a closed set. The sets are small: a scan beats a hash.
#[derive(Clone)]
pub(super) struct Children<K, M>(Vec<(K, M)>);

impl<K: Copy + Eq, M> Children<K, M> {
    fn new(words: impl IntoIterator<Item = K>, child: impl Fn(K) -> M) -> Self {
        Self(words.into_iter().map(|word| (word, child(word))).collect())
    }

    /// The child of `word`.
    pub(super) fn of(&self, word: K) -> &M {
        match self.0.iter().find(|(key, _)| *key == word) {
            Some((_, child)) => child,
            None => unreachable!("every word of the set has its child"),
        }
    }
}

/// How a TLS handshake ended, as far as labels tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandshakeEnd {
    /// TLS stands.
    Completed {
        /// What was agreed on.
        version: TlsVersion,
        /// An earlier session was resumed.
        resumed: bool,
    },
    /// It does not. What was agreed on before is of no interest.
    Failed(TlsFault),
}

impl HandshakeEnd {
    fn all() -> Vec<Self> {
        each(TlsVersion::ALL, &[true, false])
            .map(|(version, resumed)| Self::Completed { version, resumed })
            .chain(TlsFault::ALL.iter().map(|fault| Self::Failed(*fault)))
            .collect()
    }

    /// The value of the label `version`.
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Completed { version, .. } => version.label(),
            Self::Failed(_) => "none",
        }
    }

    fn resumed(self) -> &'static str {
        match self {
            Self::Completed { resumed: true, .. } => "yes",
            Self::Completed { resumed: false, .. } | Self::Failed(_) => "no",
        }
    }

    fn outcome(self) -> &'static str {
        match self {
            Self::Completed { .. } => "completed",
            Self::Failed(fault) => fault.label(),
        }
    }
}

/// The metrics that belong to no listener, and the families of those that do.
pub(super) struct Metrics {
    registry: Registry,
    sessions_active: IntGaugeVec,
    sessions_total: IntCounterVec,
    commands_total: IntCounterVec,
    refusals_total: IntCounterVec,
    rewrites_total: IntCounterVec,
    ccc_total: IntCounterVec,
    pub(super) session_seconds: Histogram,
    pub(super) server_connect_seconds: Histogram,
    pub(super) pinholes_open: Children<DataPath, IntGauge>,
    pub(super) pinholes_total: Children<(DataPath, DataMode, PinholeOutcome), IntCounter>,
    pub(super) pinhole_open_seconds: Children<DataPath, Histogram>,
    pub(super) ports_free: IntGauge,
    pub(super) data_connections_active: Children<DataPath, IntGauge>,
    pub(super) data_connections_total:
        Children<(DataPath, DataMode, ProtectionLevel, DataOutcome), IntCounter>,
    pub(super) data_bytes_total: Children<(DataPath, Direction), IntCounter>,
    pub(super) control_protection: Children<ControlProtection, IntGauge>,
    pub(super) tls_handshakes_total: Children<(Side, Connection, HandshakeEnd), IntCounter>,
    pub(super) leaf_certificates_total: Children<LeafSource, IntCounter>,
    pub(super) audit_lines_total: AuditLines,
    pub(super) config_reloads_total: Children<bool, IntCounter>,
    pub(super) config_loaded_timestamp_seconds: IntGauge,
}

/// What became of the lines of the audit.
#[derive(Clone)]
pub(super) struct AuditLines {
    /// In the file.
    pub(super) written: IntCounter,
    /// Not in the file: it could not be written, or not fast enough.
    pub(super) lost: IntCounter,
}

impl AuditLines {
    fn new(family: &IntCounterVec) -> Self {
        let child = |outcome: &str| family.with_label_values(&[outcome]);
        Self { written: child("written"), lost: child("lost") }
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
            "Pinholes that are over, by what became of them.",
            &["path", "mode", "outcome"],
        );
        let pinhole_open_seconds = families.histograms(
            "pinhole_open_seconds",
            "Seconds from asking for a pinhole to its acknowledgement.",
            &PINHOLE_OPEN_BUCKETS,
            &["path"],
        );
        let data_connections_active =
            families.gauges("data_connections_active", "Data connections carried now.", &["path"]);
        let data_connections_total = families.counters(
            "data_connections_total",
            "Data connections that are over, by how they ended.",
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
            "TLS handshakes of the gateway's own, by how they ended.",
            &["side", "connection", "version", "resumed", "outcome"],
        );
        let leaf_certificates_total = families.counters(
            "leaf_certificates_total",
            "Certificates shown to clients in place of their server's, by where they came from.",
            &["source"],
        );
        let audit_lines_total = families.counters(
            "audit_lines_total",
            "Lines of the audit (telemetry.audit.path), by what became of them.",
            &["outcome"],
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
            sessions_active: families.gauges(
                "sessions_active",
                "Sessions running now.",
                &["listener"],
            ),
            sessions_total: families.counters(
                "sessions_total",
                "Sessions that are over, by why they ended.",
                &["listener", "outcome"],
            ),
            commands_total: families.counters(
                "commands_total",
                "Commands read from clients; OTHER for a verb that is not known.",
                &["listener", "verb"],
            ),
            refusals_total: families.counters(
                "refusals_total",
                "Commands and replies that the gateway answered with a refusal of its own.",
                &["listener", "reason"],
            ),
            rewrites_total: families.counters(
                "rewrites_total",
                "Lines that left with another address, port or list than they came with.",
                &["listener", "line"],
            ),
            ccc_total: families.counters(
                "ccc_total",
                "Control connections carried in TLS, by how they came back to clear text; none for \
                 those that did not.",
                &["listener", "outcome"],
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
            audit_lines_total: AuditLines::new(&audit_lines_total),
            registry: families.0,
        }
    }

    /// The children of one listener; the same ones for the same name.
    pub(super) fn listener(&self, name: &str) -> ListenerMetrics {
        ListenerMetrics {
            sessions_active: self.sessions_active.with_label_values(&[name]),
            sessions_total: Children::new(CloseCause::ALL.iter().copied(), |cause| {
                self.sessions_total.with_label_values(&[name, cause.label()])
            }),
            refusals_total: Children::new(Refusal::ALL.iter().copied(), |reason| {
                self.refusals_total.with_label_values(&[name, reason.label()])
            }),
            rewrites_total: Children::new(RewrittenLine::ALL.iter().copied(), |line| {
                self.rewrites_total.with_label_values(&[name, line.label()])
            }),
            ccc_total: Children::new(CccOutcome::ALL.iter().copied(), |outcome| {
                self.ccc_total.with_label_values(&[name, outcome.label()])
            }),
            commands: Arc::new(Commands {
                listener: name.to_owned(),
                family: self.commands_total.clone(),
                children: Mutex::default(),
            }),
        }
    }

    /// All metrics in the text exposition format 0.0.4.
    pub(super) fn encode(&self) -> String {
        match TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(text) => text,
            Err(error) => {
                tracing::error!(%error, "the metrics could not be written");
                String::new()
            }
        }
    }
}

/// The metrics of one listener.
#[derive(Clone)]
pub(super) struct ListenerMetrics {
    pub(super) sessions_active: IntGauge,
    pub(super) sessions_total: Children<CloseCause, IntCounter>,
    pub(super) refusals_total: Children<Refusal, IntCounter>,
    pub(super) rewrites_total: Children<RewrittenLine, IntCounter>,
    pub(super) ccc_total: Children<CccOutcome, IntCounter>,
    commands: Arc<Commands>,
}

impl ListenerMetrics {
    /// Counts one command.
    pub(super) fn count_command(&self, verb: &'static str) {
        let mut children = self.commands.children.lock().unwrap_or_else(PoisonError::into_inner);
        children
            .entry(verb)
            .or_insert_with(|| {
                self.commands.family.with_label_values(&[self.commands.listener.as_str(), verb])
            })
            .inc();
    }
}

/// The verbs are the business of the language, which is not known here: each gets its child when it
/// is first seen. The set stays closed, since reports name known verbs only.
struct Commands {
    listener: String,
    family: IntCounterVec,
    children: Mutex<HashMap<&'static str, IntCounter>>,
}

/// Every pair of side and connection.
fn connections() -> Vec<(Side, Connection)> {
    each(&[Side::Client, Side::Server], Connection::ALL).collect()
}

/// Every pair of path and mode.
fn modes() -> Vec<(DataPath, DataMode)> {
    each(&DataPath::ALL, &DataMode::ALL).collect()
}

/// Every pair of one of `a` and one of `b`.
fn each<A: Copy, B: Copy>(a: &[A], b: &[B]) -> impl Iterator<Item = (A, B)> {
    a.iter().flat_map(move |a| b.iter().map(move |b| (*a, *b)))
}

/// Makes and registers metrics. All names are written in this file: a bad or repeated one is a
/// defect that the first test meets.
struct Families(Registry);

impl Families {
    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("a well-formed metric");
        self.0.register(Box::new(collector.clone())).expect("a name of its own");
        collector
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::with_opts(Opts::new(name, help)))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(opts))
    }

    fn histograms(&self, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(HistogramVec::new(opts, labels))
    }
}
