//! `docs/metrics.md` and the registry are equal: names, types, labels and their values.

#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

#[path = "support/exposition.rs"]
#[allow(unreachable_pub, reason = "a module of a test")]
mod exposition;

use exposition::{Metric, OPEN, exposition, registered};
use std::collections::{BTreeMap, BTreeSet};

fn documentation() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    std::fs::read_to_string(path).unwrap()
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
    for ((metric, label), values) in &values {
        let short = metric.strip_prefix("ftpgate_").unwrap();
        let row = table
            .iter()
            .find(|row| {
                let of = quoted(row[1]);
                quoted(row[0]).contains(label) && (of.is_empty() || of.contains(short))
            })
            .unwrap_or_else(|| panic!("{label} of {metric} is not documented"));
        if !OPEN.contains(&label.as_str()) {
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
