//! Every complaint: which key it names, on which line, and what it advises.

use super::*;
use rstest::rstest;
use std::time::Duration;

mod barred;
mod documented;
mod policy;
mod proxy_protocol;
mod tls;
mod together;
mod values;

/// The problems of `text` as (line, key, message).
fn problems(text: &str) -> Vec<(usize, String, String)> {
    match parse("x.yaml", text) {
        Ok(config) => panic!("taken as good: {config:?}"),
        Err(problems) => problems
            .iter()
            .map(|p| (p.line(), p.key().to_owned(), p.message().to_owned()))
            .collect(),
    }
}

/// Asserts that `text` has exactly one problem: this line, this key, these words.
#[track_caller]
fn only(text: &str, line: usize, key: &str, words: &str) {
    let found = problems(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    let (found_line, found_key, message) = &found[0];
    assert_eq!((*found_line, found_key.as_str()), (line, key), "{message}");
    assert!(message.contains(words), "`{words}` is not in: {message}");
}

/// A good listener on line 1, with more keys from line 2 on.
fn with(more: &str) -> String {
    format!("listeners: [{{ server: \"192.0.2.10:21\" }}]\n{more}")
}

/// One listener with `server` on line 2, and more keys of it from line 3 on.
fn listener(more: &str) -> String {
    format!("listeners:\n  - server: \"192.0.2.10:21\"\n{more}")
}

#[test]
fn everything_has_a_default_but_the_listeners() {
    let config = parse("x", &with("")).unwrap();
    assert_eq!(config.data, Data::default());
    assert_eq!(config.data.ports, crate::pinhole::PortRange::new(50_000, 50_999).unwrap());
    assert_eq!(config.firewall, FirewallConfig::default());
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.telemetry, TelemetryConfig::default());
    assert_eq!(config.policies.keys().collect::<Vec<_>>(), ["default"]);
    let [listener] = config.listeners.as_slice() else { panic!("{:?}", config.listeners) };
    let server = Server::Address { host: "192.0.2.10".to_owned(), port: 21 };
    assert_eq!(*listener, Listener { server, ..Listener::default() });
}

#[test]
fn every_value_is_read() {
    let config = parse(
        "x",
        r#"
listeners:
  - name: a
    listen: "[::]:2121"
    capture: redirect
    capture_ports: [21, 2100]
    source: client
    policy: tight
    tls: { mode: passthrough, required: true, client_start: implicit, server_start: implicit }
    advertise: { client: 203.0.113.7, server: eth0.100 }
  - { name: b, listen: "0.0.0.0:2122", capture: tproxy }
data: { path: relay, mode: active, ports: 4000-4010, open_timeout: 500ms,
        blind_ports: 60000-60100, idle_timeout: 1h }
firewall: { table: ftp_2, mark: 16 }
policies:
  tight: { strict: true }
  loose: { low_ports: true }
limits: { sessions: 5, sessions_per_client: 2, login_timeout: 2m, idle_timeout: 1d, line: 512 }
telemetry: { listen: null, log: { format: json, level: debug }, audit: { path: a.jsonl, journald: true } }
"#,
    )
    .unwrap();
    let [a, b] = config.listeners.as_slice() else { panic!("{:?}", config.listeners) };
    assert_eq!((a.name.as_str(), a.listen), ("a", "[::]:2121".parse().unwrap()));
    assert_eq!((a.capture, a.capture_ports.as_slice()), (Capture::Redirect, &[21, 2100][..]));
    assert_eq!((&a.server, a.source), (&Server::Original, Source::Client));
    let start = TlsStart::Implicit;
    let tls = ListenerTls {
        required: true,
        client_start: start,
        server_start: start,
        ..ListenerTls::default()
    };
    assert_eq!(a.tls, tls);
    assert_eq!(a.policy, "tight");
    let client = AdvertiseChoice::Address("203.0.113.7".parse().unwrap());
    assert_eq!(a.advertise.client, client.into());
    assert_eq!(a.advertise.server, AdvertiseChoice::Interface("eth0.100".to_owned()).into());
    assert_eq!((b.capture, b.capture_ports.as_slice()), (Capture::Tproxy, &[21][..]));
    assert_eq!((config.data.path, config.data.mode), (PathChoice::Relay, ModeChoice::Active));
    assert_eq!(config.data.blind_ports, crate::pinhole::PortRange::new(60_000, 60_100).ok());
    assert_eq!(config.data.open_timeout, Duration::from_millis(500));
    assert_eq!(config.data.idle_timeout, Duration::from_secs(3600));
    assert_eq!((config.firewall.table.as_str(), config.firewall.mark), ("ftp_2", 16));
    assert_eq!(config.policies["tight"], PolicyConfig { strict: true, ..PolicyConfig::default() });
    assert_eq!(
        config.policies["loose"],
        PolicyConfig { low_ports: true, ..PolicyConfig::default() }
    );
    assert_eq!(config.policies["default"], PolicyConfig::default());
    assert_eq!((config.limits.sessions, config.limits.sessions_per_client), (5, 2));
    assert_eq!(config.limits.login_timeout, Duration::from_secs(120));
    assert_eq!(config.limits.idle_timeout, Duration::from_secs(86_400));
    assert_eq!(config.limits.line, 512);
    assert_eq!(config.telemetry.listen, None);
    assert_eq!(config.telemetry.audit.path.as_deref(), Some(std::path::Path::new("a.jsonl")));
    assert!(config.telemetry.audit.journald);
    assert_eq!(config.telemetry.log.format, crate::telemetry::LogFormat::Json);
    assert_eq!(config.telemetry.log.level, crate::telemetry::LogLevel::Debug);
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    let text = "\
listeners:
  - name: a
    captrue: tproxy
    server: nowhere
  - name: a
    listen: 127.0.0.1
    capture: tproxi
    policy: strict
data:
  ports: 600-500
  open_timeout: 0
  path: { kernel: true }
firewal: {}
limits: { line: 12, sessions: many }
";
    let found: Vec<_> = problems(text).into_iter().map(|(line, key, _)| (line, key)).collect();
    let expected = [
        (3, "listeners[0].captrue"),
        (4, "listeners[0].server"),
        (5, "listeners[1].name"),
        (6, "listeners[1].listen"),
        (7, "listeners[1].capture"),
        (8, "listeners[1].policy"),
        (10, "data.ports"),
        (11, "data.open_timeout"),
        (12, "data.path"),
        (13, "firewal"),
        (14, "limits.line"),
        (14, "limits.sessions"),
    ];
    assert_eq!(found, expected.map(|(line, key)| (line, key.to_owned())));
}

#[test]
fn it_prints_like_a_compiler() {
    let problems = parse("gw.yaml", &with("data:\n  ports: 600-500\n")).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "gw.yaml:3:10: data.ports: the port range 600-500 is upside down: write 500-600\n  \
         3 |   ports: 600-500\n    |          ^"
    );
}

#[test]
fn a_file_that_is_not_there_is_told_by_name() {
    let problems = load(Path::new("no/such/file.yaml")).unwrap_err();
    assert!(problems.to_string().starts_with("no/such/file.yaml: the file cannot be read"));
    assert_eq!(problems.count(), 1);
}

#[test]
fn broken_yaml_is_told_with_its_place() {
    only("listeners:\n  - name: [\n", 2, "", "not valid YAML: unclosed bracket");
    only("listeners:\n\t- name: x\n", 2, "", "not valid YAML");
    only("- a\n- b\n", 1, "", "needs keys and values here, not a list");
}

#[test]
fn a_duplicate_key_hides_no_other_problem() {
    let found = problems(&with("data: { path: relay }\ndata: { ports: 1, ports: 2 }\n"));
    let found: Vec<_> = found.iter().map(|(l, key, m)| (*l, key.as_str(), m.as_str())).collect();
    let [(3, "data", data), (3, "data.ports", ports), (3, "data.ports", _)] = found.as_slice()
    else {
        panic!("{found:#?}")
    };
    assert!(data.contains("`data` stands on line 2 already"), "{data}");
    assert!(ports.contains("as A-B") || ports.contains("on line 3 already"), "{ports}");
}

#[rstest]
#[case("", Some("/run/ftpgate/admin.sock"))]
#[case("admin: { socket: null }", None)]
#[case("admin: { socket: here.sock }", Some("here.sock"))]
fn the_control_socket(#[case] more: &str, #[case] path: Option<&str>) {
    let config = parse("x.yaml", &with(more)).unwrap();
    assert_eq!(config.admin.socket.as_deref(), path.map(std::path::Path::new));
}

#[test]
fn a_peers_or_owners_text_is_shown_escaped() {
    only(&with("data: { path: \"a\\eb\" }"), 2, "data.path", "`a\\u{1b}b`");
}

#[test]
fn run_without_a_file_needs_no_privilege() {
    let config =
        Config::for_server("127.0.0.1:2121".parse().unwrap(), "[2001:db8::1]:2100").unwrap();
    let [listener] = config.listeners.as_slice() else { panic!("{:?}", config.listeners) };
    assert_eq!((listener.name.as_str(), listener.capture), ("main", Capture::Direct));
    let server = Server::Address { host: "2001:db8::1".to_owned(), port: 2100 };
    assert_eq!((&listener.server, listener.source), (&server, Source::Gateway));
    assert_eq!((config.firewall.backend, config.data.path), (Backend::None, PathChoice::Relay));
    assert_eq!(config.telemetry.listen, None);
    assert!(Config::for_server("127.0.0.1:2121".parse().unwrap(), "original").is_err());
}

#[test]
fn a_named_server_of_a_listener_may_be_a_dns_name() {
    let config = parse("x", "listeners: [{ server: 'ftp_1.svc.local:21' }]").unwrap();
    let server = Server::Address { host: "ftp_1.svc.local".to_owned(), port: 21 };
    assert_eq!(config.listeners[0].server, server);
}

#[test]
fn anchors_are_yaml_and_may_be_used() {
    let text = "listeners:\n  - &a { name: a, capture: tproxy }\n  - { <<: *a, name: b, listen: \
                '[::]:2121' }\n";
    let config = parse("x", text).unwrap();
    assert_eq!(config.listeners[1].capture, Capture::Tproxy);
}

proptest::proptest! {
    #[test]
    fn no_text_brings_the_parser_down(text in "(?s)[-a-z0-9:\\[\\]{},&*<>|'\" \n\t#\\PC]{0,80}") {
        if let Err(problems) = parse("x", &text) {
            proptest::prop_assert!(problems.count() > 0);
            proptest::prop_assert!(!problems.to_string().is_empty());
        }
    }
}

#[test]
fn the_wildcard_of_ipv6_takes_ipv4_unless_ipv4_has_a_listener_of_its_own() {
    let parse = |listeners: &str| parse("x.yaml", &format!("listeners:\n{listeners}")).unwrap();
    let dual = |config: &Config| {
        config.listeners.iter().map(|listener| config.is_dual(listener)).collect::<Vec<_>>()
    };
    let six = "  - { name: six, listen: \"[::]:2126\", capture: tproxy, source: client }\n";
    let four = "  - { name: four, listen: \"0.0.0.0:2121\", capture: tproxy }\n";
    assert_eq!(dual(&parse(six)), [true]);
    assert_eq!(dual(&parse(&format!("{six}{four}"))), [false, false]);
    let other =
        "  - { name: o, listen: \"0.0.0.0:2121\", capture: tproxy, capture_ports: [2100] }\n";
    assert_eq!(dual(&parse(&format!("{six}{other}"))), [true, false]);
}
