//! Keys that do not exist and values that cannot be, each told with what to write.

use super::*;

#[rstest]
#[case("")]
#[case("{}")]
#[case("# nothing\n")]
#[case("listeners:")]
#[case("listeners: []")]
fn no_listener(#[case] text: &str) {
    only(text, 1, "listeners", "write at least one");
}

#[rstest]
#[case("dat: {}", "dat", "did you mean `data`?")]
#[case("data: { port: 1-2 }", "data.port", "did you mean `ports`?")]
#[case("data: { timeout: 1s }", "data.timeout", "the keys here are path, mode, ports")]
#[case("policies: { p: { strickt: true } }", "policies.p.strickt", "did you mean `strict`?")]
#[case("telemetry: { log: { colour: on } }", "telemetry.log.colour", "the keys here are format")]
#[case("tls: { ca: { cert: x } }", "tls.ca.cert", "unknown key `cert`")]
#[case("ports: 1-2", "ports", "it belongs under `data`")]
#[case("idle_timeout: 5m", "idle_timeout", "it belongs under `data` or `limits`")]
#[case("data: { log: { level: info } }", "data.log", "it belongs under `telemetry`")]
#[case("strict: true", "strict", "it belongs under `policies.*`")]
#[case("admin: { soket: x }", "admin.soket", "did you mean `socket`?")]
fn unknown_keys(#[case] more: &str, #[case] key: &str, #[case] words: &str) {
    only(&with(more), 2, key, words);
}

#[rstest]
#[case("data: 5", "data", "needs keys and values here, not `5`")]
#[case("data: []", "data", "needs keys and values here, not a list")]
#[case("data: { path: }", "data.path", "auto, kernel or relay, not nothing")]
#[case("data: { path: fast }", "data.path", "write auto, kernel or relay")]
#[case("data: { mode: pasive }", "data.mode", "write keep, passive or active")]
#[case("data: { ports: 50000 }", "data.ports", "as A-B")]
#[case("data: { ports: 0-5 }", "data.ports", "as A-B")]
#[case("data: { ports: 5-70000 }", "data.ports", "as A-B")]
#[case("data: { ports: 9-5 }", "data.ports", "upside down: write 5-9")]
#[case("data: { blind_ports: }", "data.blind_ports", "none, or a port range")]
#[case("data: { blind_ports: 60000 }", "data.blind_ports", "as A-B")]
#[case("data: { blind_ports: 9-5 }", "data.blind_ports", "upside down: write 5-9")]
#[case("data: { blind_ports: 50999-60000 }", "data.blind_ports", "data.ports, 50000-50999")]
#[case("data: { blind_ports: 49000-50000 }", "data.blind_ports", "data.ports, 50000-50999")]
#[case("data: { blind_ports: 2000-2200 }", "data.blind_ports", "the port of listener `main`")]
#[case("data: { blind_ports: 9121-9121 }", "data.blind_ports", "the port of telemetry.listen")]
#[case("data: { idle_timeout: 30 }", "data.idle_timeout", "has no unit: write 30s")]
#[case("data: { idle_timeout: 30 s }", "data.idle_timeout", "is not a time")]
#[case("data: { idle_timeout: -5s }", "data.idle_timeout", "is not a time")]
#[case("data: { idle_timeout: 1.5h }", "data.idle_timeout", "is not a time")]
#[case("data: { idle_timeout: 99999999999999999999s }", "data.idle_timeout", "over a year")]
#[case("data: { idle_timeout: 400d }", "data.idle_timeout", "over a year")]
#[case("limits: { login_timeout: 0s }", "limits.login_timeout", "a time of 0")]
#[case("limits: { login_timeout: 0 }", "limits.login_timeout", "a time of 0")]
#[case("limits: { line: 511 }", "limits.line", "from 512 to 65536")]
#[case("limits: { line: 65537 }", "limits.line", "from 512 to 65536")]
#[case("limits: { sessions: 0 }", "limits.sessions", "from 1")]
#[case("limits: { sessions_per_server: 0 }", "limits.sessions_per_server", "from 1")]
#[case("limits: { new_sessions_per_client: 20 }", "limits.new_sessions_per_client", "20/s")]
#[case("limits: { failed_logins_per_client: null }", "limits.failed_logins_per_client", "none, or")]
#[case("limits: { ports_per_client: 0% }", "limits.ports_per_client", "1% to 100%")]
#[case("limits: { pinholes_per_session: 1025 }", "limits.pinholes_per_session", "to 1024")]
#[case("limits: { sessions_per_client: -1 }", "limits.sessions_per_client", "from 1")]
#[case("firewall: { backend: iptables }", "firewall.backend", "write nftables or none")]
#[case("firewall: { table: Ftp }", "firewall.table", "is not a table name")]
#[case("firewall: { table: 2ftp }", "firewall.table", "is not a table name")]
#[case("firewall: { table: 'a b' }", "firewall.table", "is not a table name")]
#[case("firewall: { mark: 0 }", "firewall.mark", "no mark at all")]
#[case("firewall: { mark: 0x100000000 }", "firewall.mark", "from 1 to 0xffffffff")]
#[case("firewall: { mark: blue }", "firewall.mark", "for example 0x2100")]
#[case("policies: { p: { strict: yes } }", "policies.p.strict", "needs true or false")]
#[case("telemetry: { listen: 9121 }", "telemetry.listen", "an IP address with a port")]
#[case("telemetry: { listen: localhost:9121 }", "telemetry.listen", "an IP address with a port")]
#[case("telemetry: { listen: '[::]:0' }", "telemetry.listen", "has port 0")]
#[case("telemetry: { audit: { path: '' } }", "telemetry.audit.path", "`` is not a path")]
#[case("telemetry: { log: { format: xml } }", "telemetry.log.format", "write text or json")]
#[case("telemetry: { log: { level: loud } }", "telemetry.log.level", "error, warn, info")]
fn values(#[case] more: &str, #[case] key: &str, #[case] words: &str) {
    only(&with(more), 2, key, words);
}

#[rstest]
#[case("listen: 0.0.0.0", "listen", "write for example \"0.0.0.0:2121\"")]
#[case("listen: '::'", "listen", "write for example \"[::]:2121\"")]
#[case("name: ''", "name", "is not a name")]
#[case("name: 'a\\nb'", "name", "is not a name")]
#[case("capture: nat", "capture", "write direct, redirect or tproxy")]
#[case("source: server", "source", "write gateway or client")]
#[case("capture_ports: 21", "capture_ports", "needs a list of ports")]
#[case("capture_ports: [21, 0]", "capture_ports", "`0` is not a port")]
#[case("capture_ports: [21, 21]", "capture_ports", "twice")]
#[case("capture_ports: [21]", "capture_ports", "steers no ports")]
#[case("policy: none-such", "policy", "there is no policy `none-such`: write default")]
fn values_of_a_listener(#[case] more: &str, #[case] key: &str, #[case] words: &str) {
    only(&listener(&format!("    {more}\n")), 3, &format!("listeners[0].{key}"), words);
}

#[rstest]
#[case("ftp.example.com", "has no port: write \"ftp.example.com:21\"")]
#[case("2001:db8::1", "write \"[2001:db8::1]:21\"")]
#[case("host:0", "no port from 1 to 65535")]
#[case("host:ftp", "no port from 1 to 65535")]
#[case(":21", "names no host")]
#[case("a b:21", "names no host")]
#[case("[host]:21", "names no host")]
#[case("192.0.2.256:21", "names no host")]
#[case("-a.example:21", "names no host")]
fn servers(#[case] server: &str, #[case] words: &str) {
    only(&format!("listeners:\n  - server: '{server}'\n"), 2, "listeners[0].server", words);
    let error = Config::for_server("127.0.0.1:2121".parse().unwrap(), server).unwrap_err();
    assert!(error.contains(words), "{error}");
}
