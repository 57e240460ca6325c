//! The dashboard and the alerts name what the registry has, and the registry has nothing that the
//! dashboard does not show. Whether their queries yield data, the lab asks a real Prometheus
//! (`tests/lab/scenarios/monitoring.py`).

#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

#[path = "support/exposition.rs"]
#[allow(unreachable_pub, reason = "a module of a test")]
mod exposition;
#[path = "support/promql.rs"]
#[allow(unreachable_pub, reason = "a module of a test")]
mod promql;

use exposition::{OPEN, registered};
use promql::Query;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What the dashboard leaves out, and why.
const NOT_SHOWN: &[(&str, &str)] = &[(
    "process_virtual_memory_bytes",
    "address space costs nothing; that it is there spares a question, and no decision hangs on it",
)];

/// Labels that Prometheus adds to what it scrapes, and those of the format.
const GIVEN: [&str; 3] = ["instance", "job", "le"];

fn file(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn dashboard() -> Value {
    serde_json::from_str(&file("grafana/dashboards/ftpgate.json")).unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key} in {value}"))
}

/// Every panel but the rows' headings.
fn panels(dashboard: &Value) -> Vec<&Value> {
    list(dashboard, "panels").iter().filter(|panel| panel["type"] != "row").collect()
}

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    alert: String,
    expr: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

fn alerts() -> Vec<Alert> {
    let rules: Rules = serde_yaml::from_str(&file("grafana/prometheus/alerts.yml")).unwrap();
    rules.groups.into_iter().flat_map(|group| group.rules).collect()
}

/// Where each query stands, and the query.
fn queries() -> Vec<(String, Query)> {
    let dashboard = dashboard();
    let mut found = Vec::new();
    for panel in panels(&dashboard) {
        for target in list(panel, "targets") {
            found.push((text(panel, "title").to_owned(), Query::parse(text(target, "expr"))));
        }
    }
    for annotation in list(&dashboard["annotations"], "list") {
        if annotation["builtIn"] != 1 {
            found.push((
                text(annotation, "name").to_owned(),
                Query::parse(text(annotation, "expr")),
            ));
        }
    }
    for variable in list(&dashboard["templating"], "list") {
        if let Some(definition) = variable["definition"].as_str() {
            found.push((text(variable, "name").to_owned(), Query::parse(definition)));
        }
    }
    for alert in alerts() {
        found.push((alert.alert, Query::parse(&alert.expr)));
    }
    found
}

/// The metric that a series belongs to.
fn base<'a>(series: &'a str, histograms: &BTreeSet<String>) -> &'a str {
    let suffixes = ["_bucket", "_sum", "_count"];
    let stem = suffixes.iter().find_map(|suffix| series.strip_suffix(suffix));
    stem.filter(|stem| histograms.contains(*stem)).unwrap_or(series)
}

#[test]
fn queries_name_what_the_registry_has() {
    let (metrics, values) = registered();
    let histograms = metrics.iter().filter(|(_, (kind, _))| kind == "histogram");
    let histograms: BTreeSet<_> = histograms.map(|(name, _)| name.clone()).collect();
    let mut faults = Vec::new();
    let mut seen = 0;
    for (place, query) in queries() {
        let mut borne: BTreeSet<&str> = GIVEN.into();
        for selector in &query.selectors {
            // Prometheus' own: whether the scrape worked, and which alerts there are.
            if ["up", "ALERTS"].contains(&selector.series.as_str()) {
                continue;
            }
            seen += 1;
            let name = base(&selector.series, &histograms);
            let Some((_, labels)) = metrics.get(name) else {
                faults.push(format!("{place}: there is no metric {}", selector.series));
                continue;
            };
            if histograms.contains(name) == (name == selector.series) {
                faults.push(format!("{place}: {name} is a histogram or is not"));
            }
            borne.extend(labels.iter().map(String::as_str));
            for (label, value) in &selector.matchers {
                if !labels.contains(label) && !GIVEN.contains(&label.as_str()) {
                    faults.push(format!("{place}: {name} bears no label {label}"));
                } else if !GIVEN.contains(&label.as_str())
                    && !OPEN.contains(&label.as_str())
                    && !values[&(name.to_owned(), label.clone())].contains(value)
                {
                    faults.push(format!("{place}: {label} of {name} is never {value}"));
                }
            }
        }
        for label in query.grouping.iter().filter(|label| !borne.contains(label.as_str())) {
            faults.push(format!("{place}: nothing there bears the label {label}"));
        }
    }
    assert!(seen > 60, "only {seen} selectors found");
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_dashboard_shows_every_metric() {
    let (metrics, _) = registered();
    let dashboard = dashboard();
    let shown: String = panels(&dashboard)
        .iter()
        .flat_map(|panel| list(panel, "targets"))
        .map(|target| format!("{} ", text(target, "expr")))
        .collect();
    let shown: BTreeSet<String> =
        Query::parse(&shown).selectors.into_iter().map(|selector| selector.series).collect();
    let left_out: BTreeSet<&str> = NOT_SHOWN.iter().map(|(name, _)| *name).collect();
    for name in metrics.keys() {
        let is_shown = shown.contains(name) || shown.contains(&format!("{name}_bucket"));
        assert_ne!(is_shown, left_out.contains(name.as_str()), "{name}: shown {is_shown}");
    }
}

#[test]
fn panels_follow_the_choice_and_say_what_is_good() {
    let (metrics, _) = registered();
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    for panel in list(&dashboard, "panels") {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "an id stands twice: {panel}");
    }
    for panel in panels(&dashboard) {
        let title = text(panel, "title");
        let description = text(panel, "description");
        if panel["type"] == "text" {
            continue;
        }
        assert!(description.contains("Good: "), "{title}: what is good?");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}: no unit");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let targets = list(panel, "targets");
        let refs: BTreeSet<_> = targets.iter().map(|target| text(target, "refId")).collect();
        assert!(!targets.is_empty() && refs.len() == targets.len(), "{title}");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert_ne!(target["instant"], target["range"], "{title}");
            let query = Query::parse(text(target, "expr"));
            for selector in &query.selectors {
                let matched = |label: &str, value: &str| {
                    selector.matchers.contains(&(label.to_owned(), value.to_owned()))
                };
                assert!(matched("instance", "$instance"), "{title}: {}", selector.series);
                let bears = metrics.get(&selector.series).is_some_and(|m| m.1.contains("listener"));
                // The limit is one for all listeners together.
                if bears && title != "Of the limit" {
                    assert!(matched("listener", "$listener"), "{title}: {}", selector.series);
                }
            }
            for label in placeholders(text(target, "legendFormat")) {
                // Without grouping a series bears what its metric does.
                let is_borne = query.selectors.iter().all(|selector| {
                    metrics.get(&selector.series).is_some_and(|metric| metric.1.contains(&label))
                });
                let is_named = query.grouping.contains(&label)
                    || query.grouping.is_empty() && is_borne
                    || label == "instance";
                assert!(is_named, "{title}: {label} is not in its series");
            }
        }
    }
}

/// The labels between double braces.
fn placeholders(legend: &str) -> Vec<String> {
    let parts = legend.split("{{").skip(1);
    parts.map(|part| part.split("}}").next().unwrap().trim().to_owned()).collect()
}

#[test]
fn panels_fill_a_page_without_overlap() {
    let dashboard = dashboard();
    let mut taken = BTreeSet::new();
    let mut below = 0;
    for panel in list(&dashboard, "panels") {
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        let (x, y, w, h) = (place("x"), place("y"), place("w"), place("h"));
        assert!(x + w <= 24, "{}: wider than the page", text(panel, "title"));
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{}: on another panel", text(panel, "title"));
        }
        below = below.max(y + h);
    }
    assert_eq!(taken.len() as u64, 24 * below, "there are gaps");
}

#[test]
fn the_dashboard_can_be_provisioned_and_chosen_from() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "ftpgate");
    assert!(dashboard.get("id").is_none() && dashboard.get("__inputs").is_none());
    let variables: Vec<_> = list(&dashboard["templating"], "list")
        .iter()
        .map(|variable| (text(variable, "name"), text(variable, "type"), &variable["multi"]))
        .collect();
    let (one, many) = (Value::Bool(false), Value::Bool(true));
    assert_eq!(
        variables,
        [
            ("datasource", "datasource", &one),
            ("instance", "query", &many),
            ("listener", "query", &many)
        ]
    );
    let source = file("grafana/provisioning/datasources/prometheus.yaml");
    assert!(source.contains("type: prometheus") && source.contains("isDefault: true"));
    // The step of Grafana is built on the interval at which Prometheus scrapes.
    let interval = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key).map(str::to_owned));
        line.unwrap().trim().to_owned()
    };
    let prometheus = file("grafana/prometheus/prometheus.yml");
    assert_eq!(interval(&source, "timeInterval:"), interval(&prometheus, "scrape_interval:"));
}

#[test]
fn every_alert_is_explained_and_tested() {
    let runbook = file("docs/runbook.md");
    let sections: BTreeSet<_> =
        runbook.lines().filter_map(|line| line.strip_prefix("## Ftpgate")).collect();
    let tests = file("grafana/prometheus/alerts.test.yml");
    let mut names = BTreeSet::new();
    let alerts = alerts();
    for Alert { alert, labels, annotations, .. } in &alerts {
        let name = alert.strip_prefix("Ftpgate").unwrap();
        names.insert(name);
        let severity = labels["severity"].as_str();
        assert!(["critical", "warning", "info"].contains(&severity), "{alert}: {severity}");
        for part in ["summary", "description"] {
            assert!(annotations[part].len() > 20, "{alert}: {part}");
        }
        let anchor = alert.to_lowercase();
        assert_eq!(annotations["runbook_url"], format!("docs/runbook.md#{anchor}"));
        assert!(tests.contains(&format!("alertname=\"{alert}\"")), "{alert} is not tested");
    }
    assert_eq!(sections, names, "the sections of docs/runbook.md and the alerts");
}
