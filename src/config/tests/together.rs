//! What keys mean together: contradictions, each told at one key.

use super::*;

#[test]
fn blind_ports_are_opened_by_the_table_and_none_of_them_is_steered() {
    let none = with("data: { blind_ports: 60000-60100 }\nfirewall: { backend: none }\n");
    only(&none, 2, "data.blind_ports", "write backend: nftables, or blind_ports: none");
    let steered = "listeners: [{ capture: tproxy, capture_ports: [21, 60021] }]\ndata: { \
                   blind_ports: 60000-60100 }\n";
    only(steered, 2, "data.blind_ports", "port 60021, which is a capture port of listener `main`");
    assert!(parse("x", &with("data: { blind_ports: 51000-51000 }")).is_ok());
}

#[test]
fn listeners_are_told_apart() {
    let two = |second: &str| {
        format!(
            "listeners:\n  - {{ server: \"h:21\" }}\n  - {{ name: b, server: \"h:21\", {second} }}\n"
        )
    };
    only(&two("listen: '0.0.0.0:2121'"), 3, "listeners[1].listen", "listener `main` already");
    only(&two("listen: '192.0.2.1:2121'"), 3, "listeners[1].listen", "listener `main` already");
    only(&two("listen: '0.0.0.0:9121'"), 1, "telemetry.listen", "listener `b`");
    assert!(parse("x", &two("listen: '[::]:2121'")).is_ok());
    let twice = "listeners:\n  - { name: b, server: 'h:21' }\n  - name: b\n    listen: '0.0.0.0:1'\n    \
                 server: 'h:21'\n";
    only(twice, 3, "listeners[1].name", "called `b` already");
}

#[test]
fn a_port_is_steered_to_one_listener() {
    let two = |listen: &str, ports: &str| {
        format!(
            "listeners:\n  - {{ name: a, capture: tproxy }}\n  - name: b\n    capture: redirect\n    \
             listen: '{listen}'\n    capture_ports: {ports}\n"
        )
    };
    let key = "listeners[1].capture_ports";
    only(&two("0.0.0.0:2122", "[2100, 21]"), 6, key, "steered to listener `a` already");
    assert!(parse("x", &two("0.0.0.0:2122", "[2100]")).is_ok());
    assert!(parse("x", &two("[::]:2122", "[21]")).is_ok());
    only(&two("0.0.0.0:2122", "[]"), 6, key, "would steer nothing");
}

#[test]
fn capture_and_server_agree() {
    let only_server = |line: &str| format!("listeners:\n  - name: a\n    {line}\n");
    only(&only_server("capture: direct"), 2, "listeners[0].server", "no original server");
    only(&only_server("server: original"), 3, "listeners[0].server", "no original server");
    let circle = listener("    listen: 192.0.2.10:21\n");
    only(&circle, 2, "listeners[0].server", "in a circle");
    for capture in ["redirect", "tproxy"] {
        let loopback = format!("    capture: {capture}\n    listen: 127.0.0.1:2121\n");
        only(&listener(&loopback), 4, "listeners[0].listen", "write \"0.0.0.0:2121\"");
        let loopback = format!("    capture: {capture}\n    listen: '[::1]:2121'\n");
        only(&listener(&loopback), 4, "listeners[0].listen", "write \"[::]:2121\"");
    }
}

#[test]
fn what_needs_the_table_says_so() {
    let none = "firewall: { backend: none }\n";
    for capture in ["redirect", "tproxy"] {
        let text = listener(&format!("    capture: {capture}\n{none}"));
        only(&text, 3, "listeners[0].capture", "firewall.backend is none");
    }
    let text = listener(&format!("    source: client\n{none}"));
    only(&text, 3, "listeners[0].source", "firewall.backend is none");
    only(&with(&format!("data: {{ path: kernel }}\n{none}")), 2, "data.path", "own table");
    only(&with("data: { path: kernel, mode: active }"), 2, "data.mode", "cannot convert");
}

#[test]
fn the_pool_is_the_gateways_own() {
    let ports = |range: &str| with(&format!("data: {{ ports: {range} }}"));
    only(&ports("2000-3000"), 2, "data.ports", "port 2121, which is the port of listener `main`");
    only(&ports("9000-9999"), 2, "data.ports", "the port of telemetry.listen");
    let text =
        "listeners: [{ capture: tproxy, capture_ports: [21, 5000] }]\ndata: { ports: 4000-6000 }\n";
    only(text, 2, "data.ports", "port 5000, which is a capture port of listener `main`");
}

#[test]
fn no_complaint_rests_on_a_value_that_could_not_be_read() {
    // Taken as the default, `direct`, the listener would lack a server.
    only("listeners: [{ capture: tproxi }]", 1, "listeners[0].capture", "is not known here");
    let text = with("data: { path: kernel }\nfirewall: { backend: non }");
    only(&text, 3, "firewall.backend", "is not known here");
}

#[rstest]
#[case("slices: 0", "data.slices", "a whole number of replicas from 1")]
#[case("slices: two", "data.slices", "a whole number of replicas from 1")]
#[case("slices: 1001", "data.slices", "1000 ports, too few to cut into 1001 parts")]
#[case("slice: ftpgate-1", "data.slice", "write a number from 0, or hostname")]
#[case("slice: 1", "data.slice", "no part 1 of 1, which count from 0: write 0, or more slices")]
#[case("slices: 3, slice: 3", "data.slice", "write 0 to 2, or more slices")]
fn a_slice_is_one_of_those_that_there_are(
    #[case] data: &str,
    #[case] key: &str,
    #[case] words: &str,
) {
    only(&with(&format!("data: {{ {data} }}\n")), 2, key, words);
}

#[test]
fn slices_are_read() {
    let data = |text: &str| parse("x", &with(&format!("data: {{ {text} }}\n"))).unwrap().data;
    let (one, two) = (data("path: relay"), data("slices: 1000, slice: 999"));
    assert_eq!((one.slices, one.slice), (1, Slice::Hostname));
    assert_eq!((two.slices, two.slice), (1000, Slice::Number(999)));
    assert_eq!(data("slices: 2, slice: hostname").slice, Slice::Hostname);
}
