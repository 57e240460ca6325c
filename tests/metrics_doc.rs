//! `docs/metrics.md` and the registry are equal: names, types, labels and their values.

#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

use ftpgate::report::Report;
use ftpgate::telemetry::{CertificateRole, Expiry, Telemetry};
use ftpgate::terms::SessionId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

/// Type and labels of a metric.
type Metric = (String, BTreeSet<String>);

/// The values by metric and label.
type Values = BTreeMap<(String, String), BTreeSet<String>>;

fn documentation() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    std::fs::read_to_string(path).unwrap()
}

/// The exposition of a gateway with every certificate and one listener that has seen one command.
fn exposition() -> String {
    let telemetry = Telemetry::new();
    let never: Expiry = Arc::new(|| Some(SystemTime::UNIX_EPOCH));
    telemetry.watch_certificates(CertificateRole::ALL.map(|role| (role, never.clone())).into());
    let session = telemetry.listener("out").session(SessionId(1));
    session.record(&Report::CommandReceived { verb: "NOOP" });
    telemetry.encode(true)
}

/// The words in backticks.
fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The cells of the table rows under the header that begins with `header`.
fn rows<'a>(text: &'a str, header: &str) -> Vec<Vec<&'a str>> {
    let table = text.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    table
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// Metrics by name, and the values of each label of each metric.
fn registered() -> (BTreeMap<String, Metric>, Values) {
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

#[test]
fn the_documentation_lists_what_the_registry_has() {
    let text = documentation();
    let documented: BTreeMap<String, Metric> = rows(&text, "| metric |")
        .into_iter()
        .map(|row| {
            let name = row[0].trim_matches('`').to_owned();
            (name, (row[1].to_owned(), quoted(row[2])))
        })
        .collect();
    assert_eq!(documented.len(), rows(&text, "| metric |").len(), "a metric stands twice");
    assert_eq!(documented, registered().0);
}

#[test]
fn the_documentation_lists_the_values_of_every_closed_label() {
    let (metrics, values) = registered();
    let text = documentation();
    let table = rows(&text, "| label |");
    let open = ["listener", "version", "verb"];
    for ((metric, label), values) in &values {
        let short = metric.strip_prefix("ftpgate_").unwrap();
        let row = table
            .iter()
            .find(|row| {
                let of = quoted(row[1]);
                quoted(row[0]).contains(label) && (of.is_empty() || of.contains(short))
            })
            .unwrap_or_else(|| panic!("{label} of {metric} is not documented"));
        if !open.contains(&label.as_str()) {
            assert_eq!(*values, quoted(row[2]), "{label} of {metric}");
        }
    }
    let used: BTreeSet<&String> = metrics.values().flat_map(|(_, labels)| labels).collect();
    for row in &table {
        let label = row[0].trim_matches('`').to_owned();
        assert!(used.contains(&label), "{label} is documented, but no metric bears it");
        for metric in quoted(row[1]) {
            assert!(metrics.contains_key(&format!("ftpgate_{metric}")), "{metric} of {label}");
        }
    }
}

#[test]
fn every_metric_says_what_it_is() {
    let text = exposition();
    let lines = |prefix: &str| text.lines().filter(|line| line.starts_with(prefix)).count();
    assert_eq!(lines("# HELP ftpgate_"), lines("# TYPE ftpgate_"));
    for line in text.lines().filter(|line| line.starts_with("# HELP ")) {
        let help = line.splitn(4, ' ').nth(3).unwrap_or_default();
        assert!(help.ends_with('.') && help.len() > 20, "{line}");
    }
}
