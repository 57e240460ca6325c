//! The sample files load and mean what they say, and the reference speaks of every key.

#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

use ftpgate::config::{self, Backend, Capture, Config, PathChoice, Server, Source};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn sample(name: &str) -> Config {
    match config::load(&root().join("config").join(name)) {
        Ok(config) => config,
        Err(problems) => panic!("{problems}"),
    }
}

#[test]
fn every_sample_is_without_problems_and_tested_below() {
    let files: BTreeSet<String> = std::fs::read_dir(root().join("config"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let tested = ["gateway", "in-front-of-a-server", "redirect", "reference", "sidecar"];
    assert_eq!(files, tested.map(|name| format!("{name}.yaml")).into());
    for file in &files {
        sample(file);
    }
}

#[test]
fn the_reference_is_the_defaults() {
    let defaults = "listeners: [{ server: \"192.0.2.10:21\" }]";
    let beside = root().join("config/defaults").display().to_string();
    assert_eq!(sample("reference.yaml"), config::parse(&beside, defaults).unwrap());
}

#[test]
fn the_gateway_is_transparent() {
    let gateway = sample("gateway.yaml");
    for listener in &gateway.listeners {
        assert_eq!((listener.capture, &listener.server), (Capture::Tproxy, &Server::Original));
        assert_eq!(listener.capture_ports, [21]);
    }
    let families: Vec<bool> = gateway.listeners.iter().map(|l| l.listen.is_ipv4()).collect();
    assert_eq!(families, [true, false]);
    assert_eq!(gateway.firewall.backend, Backend::Nftables);
}

#[test]
fn the_redirecting_gateway_redirects() {
    let redirect = sample("redirect.yaml");
    assert_eq!(redirect.listeners[0].capture, Capture::Redirect);
    assert_eq!(redirect.listeners[0].server, Server::Original);
}

#[test]
fn the_published_server_is_on_the_kernel_path() {
    let published = sample("in-front-of-a-server.yaml");
    assert_eq!(published.data.path, PathChoice::Kernel);
    assert_eq!(published.listeners[0].capture, Capture::Direct);
    assert!(published.policies[&published.listeners[0].policy].strict);
}

#[test]
fn the_sidecar_needs_no_privilege() {
    let sidecar = sample("sidecar.yaml");
    assert_eq!((sidecar.firewall.backend, sidecar.data.path), (Backend::None, PathChoice::Relay));
    for listener in &sidecar.listeners {
        assert_eq!((listener.capture, listener.source), (Capture::Direct, Source::Gateway));
        assert!(listener.listen.port() >= 1024, "{}", listener.listen);
    }
}

#[test]
fn the_documentation_names_every_key_and_no_other() {
    let text = std::fs::read_to_string(root().join("docs/config.md")).unwrap();
    let rows: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |").map(|(key, _)| key))
        .collect();
    let named: BTreeSet<String> = rows.iter().map(|key| (*key).to_owned()).collect();
    assert_eq!(named.len(), rows.len(), "a key stands twice");
    assert_eq!(named, config::keys());
}

#[test]
fn links_of_the_documentation_lead_somewhere() {
    let docs = root().join("docs");
    let text = std::fs::read_to_string(docs.join("config.md")).unwrap();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let missing: Vec<&str> = targets.filter(|to| !docs.join(Path::new(to)).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
