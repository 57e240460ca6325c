//! The sample files load and mean what they say, and the reference speaks of every key.

#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

use ftpgate::config::{
    self, Backend, Capture, Config, PathChoice, Roots, Server, Source, TlsMode, TlsStart,
    Untrusted, Verify,
};
use std::collections::BTreeSet;
use std::net::SocketAddr;
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
    let tested = [
        "dropbox",
        "gateway",
        "in-front-of-a-server",
        "intercept",
        "offload",
        "originate",
        "read-only-archive",
        "redirect",
        "reference",
        "sidecar",
    ];
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
fn the_socket_unit_has_the_addresses_of_the_gateway() {
    let unit = std::fs::read_to_string(root().join("deploy/systemd/ftpgate.socket")).unwrap();
    let lines = unit.lines().filter_map(|line| line.strip_prefix("ListenStream="));
    let bound: BTreeSet<SocketAddr> = lines.map(|address| address.parse().unwrap()).collect();
    let gateway = sample("gateway.yaml");
    let listeners = gateway.listeners.iter().map(|listener| listener.listen);
    assert_eq!(bound, listeners.chain(gateway.telemetry.listen).collect());
    assert!(unit.contains("BindIPv6Only=ipv6-only"), "one address for each family");
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
fn the_intercepting_gateway_verifies_servers_and_leaves_some_alone() {
    let intercept = sample("intercept.yaml");
    let starts: Vec<_> = intercept
        .listeners
        .iter()
        .map(|listener| {
            assert_eq!(listener.tls.mode, TlsMode::Intercept);
            assert_eq!((listener.capture, &listener.server), (Capture::Tproxy, &Server::Original));
            (
                listener.capture_ports.as_slice(),
                listener.tls.client_start,
                listener.tls.server_start,
            )
        })
        .collect();
    let (explicit, implicit) = (TlsStart::Explicit, TlsStart::Implicit);
    assert_eq!(starts, [(&[21][..], explicit, explicit), (&[990][..], implicit, implicit)]);
    assert!(intercept.needs_ca());
    assert_eq!(intercept.tls.ca.certificate, Path::new("/etc/ftpgate/ca.crt"));
    let server = &intercept.tls.server;
    assert_eq!((server.verify, server.untrusted), (Verify::Full, Untrusted::Refuse));
    let unread = |address: &str, name: &str| {
        let address = address.parse().unwrap();
        intercept.listeners[0].tls.bypass.iter().any(|entry| entry.matches(address, Some(name)))
    };
    assert!(unread("192.0.2.1", "ftp.bank.example") && unread("198.51.100.9", "ftp.example"));
    assert!(!unread("192.0.2.1", "bank.example"));
}

#[test]
fn the_offloading_gateway_lets_nobody_log_in_without_tls() {
    let offload = sample("offload.yaml");
    let starts = offload.listeners.iter().map(|listener| {
        assert_eq!((listener.tls.mode, listener.tls.required), (TlsMode::Offload, true));
        (listener.listen.port(), listener.tls.client_start)
    });
    let starts: Vec<_> = starts.collect();
    assert_eq!(starts, [(21, TlsStart::Explicit), (990, TlsStart::Implicit)]);
    let chain = offload.tls.certificate.as_ref().map(|files| files.chain.as_path());
    assert_eq!(chain, Some(Path::new("/etc/ftpgate/ftp.example.com.pem")));
    assert!(!offload.needs_ca());
    assert_eq!((offload.firewall.backend, offload.data.path), (Backend::None, PathChoice::Relay));
}

#[test]
fn the_originating_gateway_verifies_the_server_by_its_name() {
    let originate = sample("originate.yaml");
    let [listener] = originate.listeners.as_slice() else { panic!("{:?}", originate.listeners) };
    assert_eq!(listener.tls.mode, TlsMode::Originate);
    assert_eq!(listener.server, Server::Address { host: "ftp.example.com".to_owned(), port: 21 });
    let server = &originate.tls.server;
    assert_eq!((&server.roots, server.verify), (&Roots::System, Verify::Full));
    assert_eq!(server.certificate, None);
    assert!(!originate.needs_ca());
}

/// What `ftpgate check --explain` says last about a command, in a sample.
fn explained(name: &str, words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let explanation = ftpgate::app::explain(&sample(name), &words).unwrap();
    explanation.reply.unwrap_or(explanation.decision)
}

#[test]
fn the_archive_is_read_and_changed_by_its_curators_alone() {
    let said = |client: &str, user: &str, command: &str| {
        let (client, user) = (format!("client={client}"), format!("user={user}"));
        let command = format!("command={command}");
        explained("read-only-archive.yaml", &[&client, &user, "directory=/pub", &command])
    };
    assert_eq!(said("192.0.2.7", "anonymous", "RETR a.txt"), "allowed: no rule applies");
    assert_eq!(said("192.0.2.7", "anonymous", "STOR a"), "550 Files can only be read here.");
    assert_eq!(said("192.0.2.7", "anonymous", "RETR .htaccess"), "550 This path is refused here.");
    assert_eq!(said("10.1.2.3", "curator-a", "STOR a"), "allowed by rule curators");
    assert_eq!(said("192.0.2.7", "curator-a", "STOR a"), "550 Files can only be read here.");
}

#[test]
fn the_dropbox_takes_files_and_shows_nothing() {
    let said = |command: &str| {
        let command = format!("command={command}");
        let words = ["client=198.51.100.9", "tls=secured", "data=private", "directory=/in"];
        explained("dropbox.yaml", &[&words[..], &[&command]].concat())
    };
    assert_eq!(said("STOR a.txt"), "allowed: no rule applies");
    assert_eq!(said("STOR A.EXE"), "550 This path is refused here.");
    assert_eq!(said("STOR /etc/a"), "550 This path is refused here.");
    assert_eq!(said("LIST"), "502 This command is refused here.");
    assert_eq!(said("RETR a.txt"), "550 Files can only be stored here.");
    assert_eq!(explained("dropbox.yaml", &["client=192.0.2.7"]), "421 Not from here.");
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
fn a_reader_that_has_seen_enough_is_no_failure() {
    let file = root().join("config/gateway.yaml");
    for command in ["check", "rules"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_ftpgate"))
            .args([command, "--config"])
            .arg(&file)
            .stdout(writer)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.is_empty(), "{command}: {told}");
    }
}
