//! What the registry has: for the tests that hold documentation, dashboard and alerts equal to it.

use ftpgate::report::Report;
use ftpgate::telemetry::{CertificateRole, Expiry, Telemetry};
use ftpgate::terms::SessionId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

/// Type and labels of a metric.
pub type Metric = (String, BTreeSet<String>);

/// The values by metric and label.
pub type Values = BTreeMap<(String, String), BTreeSet<String>>;

/// The labels whose values are no closed set of words.
pub const OPEN: [&str; 3] = ["listener", "version", "verb"];

/// The exposition of a gateway with every certificate and one listener that has seen one command.
pub fn exposition() -> String {
    let telemetry = Telemetry::new();
    let never: Expiry = Arc::new(|| Some(SystemTime::UNIX_EPOCH));
    telemetry.watch_certificates(CertificateRole::ALL.map(|role| (role, never.clone())).into());
    let session = telemetry.listener("out").session(SessionId(1));
    session.record(&Report::CommandReceived { verb: "NOOP" });
    telemetry.encode(true)
}

/// Metrics by name, and the values of each label of each metric.
pub fn registered() -> (BTreeMap<String, Metric>, Values) {
    let text = exposition();
    let mut metrics = BTreeMap::new();
    let mut values = Values::new();
    let mut name = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (of, kind) = rest.split_once(' ').unwrap();
            name = of;
            metrics.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((_, rest)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            for pair in rest.split('}').next().unwrap().split(',') {
                let (label, value) = pair.split_once('=').unwrap();
                // The bound of a bucket is the format's, not ours.
                if label != "le" {
                    metrics.get_mut(name).unwrap().1.insert(label.to_owned());
                    let value = value.trim_matches('"').to_owned();
                    values.entry((name.to_owned(), label.to_owned())).or_default().insert(value);
                }
            }
        }
    }
    (metrics, values)
}
