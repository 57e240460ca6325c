//! What is said about TLS, alone and together.

use super::*;
use std::path::PathBuf;

/// A good listener with `tls` on line 3, and more keys of the file from line 4 on.
fn tls(tls: &str, more: &str) -> String {
    listener(&format!("    tls: {tls}\n{more}"))
}

const REQUIRE: &str = "{ mode: offload, client_certificates: require }";

#[test]
fn every_value_of_a_listener_is_read() {
    let text = tls(
        "{ mode: intercept, required: true, client_start: implicit, server_start: implicit, verify: \
         chain, client_reuse: require, client_certificates: require, server_ccc: never, bypass: \
         [192.0.2.0/24, '2001:db8::1', 10.0.0.5, ftp.Bank.example, '*.bank.example.'] }",
        "tls: { client: { roots: c.pem } }\n",
    );
    let config = parse("x", &text).unwrap();
    let tls = &config.listeners[0].tls;
    let network = |address: &str, prefix| {
        BypassEntry::Network(Network::new(address.parse().unwrap(), prefix).unwrap())
    };
    let expected = ListenerTls {
        mode: TlsMode::Intercept,
        required: true,
        client_start: TlsStart::Implicit,
        server_start: TlsStart::Implicit,
        verify: Some(Verify::Chain),
        client_reuse: Reuse::Require,
        client_certificates: ClientCertificates::Require,
        server_ccc: ServerCcc::Never,
        bypass: vec![
            network("192.0.2.0", 24),
            network("2001:db8::1", 128),
            network("10.0.0.5", 32),
            BypassEntry::Name(NamePattern::exact("ftp.bank.example")),
            BypassEntry::Name(NamePattern::below("bank.example")),
        ],
    };
    assert_eq!(*tls, expected);
    assert_eq!(config.tls.client_roots, Some(PathBuf::from("c.pem")));
}

#[test]
fn words_of_a_listener_are_read() {
    let read = |text: &str| parse("x", &super::listener(text)).unwrap().listeners.remove(0).tls;
    let originate = read(
        "    tls: { mode: originate, server_start: implicit-after-greeting, verify: off, server_ccc: \
         always }\n",
    );
    assert_eq!(originate.mode, TlsMode::Originate);
    assert_eq!(originate.client_start, TlsStart::Explicit);
    assert_eq!(originate.server_start, TlsStart::ImplicitAfterGreeting);
    assert_eq!((originate.verify, originate.server_ccc), (Some(Verify::Off), ServerCcc::Always));
    let offload = read("    tls: { mode: offload, client_start: implicit, client_reuse: off }\n");
    assert_eq!((offload.mode, offload.client_reuse), (TlsMode::Offload, Reuse::Off));
    assert_eq!(
        (offload.client_start, offload.server_start),
        (TlsStart::Implicit, TlsStart::Explicit)
    );
    let both = read("    tls: { mode: intercept, client_start: implicit, verify: full }\n");
    assert_eq!((both.client_start, both.server_start), (TlsStart::Implicit, TlsStart::Explicit));
    assert_eq!(both.verify, Some(Verify::Full));
    let defaults = read("    tls: { mode: intercept, verify: null }\n");
    let expected = ListenerTls { mode: TlsMode::Intercept, ..ListenerTls::default() };
    assert_eq!(defaults, expected);
}

/// As `ca show` writes it, and as most other programs do.
const COLONS: &str = "00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:\
                      F0:F1:F2:F3:F4:F5:F6:F7:F8:F9:FA:FB:FC:FD:FE:FF";
const PLAIN: &str = "101112131415161718191a1b1c1d1e1f00000000000000000000000000000000";

#[test]
fn what_holds_for_all_is_read_with_paths_from_the_folder_of_the_file() {
    let text = tls(
        "{ mode: intercept }",
        &format!(
            "tls:
  ca: {{ certificate: ca/own.crt, key: /secret/own.key }}
  certificate: {{ chain: ftp.pem, key: ../ftp.key }}
  server:
    roots: partners.pem
    verify: chain
    fingerprints: ['{COLONS}', {PLAIN}]
    untrusted: mirror
    certificate: {{ chain: gw.pem, key: gw.key }}
    client_certificates: passthrough
"
        ),
    );
    let tls = parse("/etc/ftpgate/x.yaml", &text).unwrap().tls;
    let path = |text: &str| PathBuf::from(text);
    assert_eq!(
        tls.ca,
        CaFiles { certificate: path("/etc/ftpgate/ca/own.crt"), key: path("/secret/own.key") }
    );
    let fixed = CertificateFiles {
        chain: path("/etc/ftpgate/ftp.pem"),
        key: path("/etc/ftpgate/../ftp.key"),
    };
    assert_eq!(tls.certificate, Some(fixed));
    assert_eq!(tls.client_roots, None);
    assert_eq!(tls.server.roots, Roots::File(path("/etc/ftpgate/partners.pem")));
    assert_eq!(tls.server.verify, Verify::Chain);
    assert_eq!(tls.server.untrusted, Untrusted::Mirror);
    assert_eq!(tls.server.client_certificates, UnmetCertificateRequest::Passthrough);
    let own =
        CertificateFiles { chain: path("/etc/ftpgate/gw.pem"), key: path("/etc/ftpgate/gw.key") };
    assert_eq!(tls.server.certificate, Some(own));
    let [first, second] = tls.server.fingerprints.as_slice() else { panic!("{tls:?}") };
    assert_eq!(first[..16], (0x00..=0x0f).collect::<Vec<u8>>());
    assert_eq!(first[16..], (0xf0..=0xff).collect::<Vec<u8>>());
    assert_eq!(second[..16], (0x10..=0x1f).collect::<Vec<u8>>());
    assert_eq!(second[16..], [0; 16]);
}

#[test]
fn the_defaults_stand_beside_the_file() {
    let tls = |name: &str| parse(name, &with("")).unwrap().tls;
    assert_eq!(tls("x.yaml"), Tls::default());
    assert_eq!(tls("a/x.yaml").ca.key, PathBuf::from("a/ca.key"));
    let with_roots = "tls: { client: { roots: c.pem } }\n";
    let text = super::tls::tls(REQUIRE, with_roots);
    let roots = parse("a/x.yaml", &text).unwrap().tls.client_roots;
    assert_eq!(roots, Some(PathBuf::from("a/c.pem")));
}

#[test]
fn how_the_local_ca_is_made_is_told() {
    let files = |certificate: &str, key: &str| {
        CaFiles { certificate: certificate.into(), key: key.into() }.how_to_make()
    };
    let command = "`ftpgate ca init --dir /etc/ftpgate`";
    let usual = files("/etc/ftpgate/ca.crt", "/etc/ftpgate/ca.key");
    assert_eq!(usual, format!("make them with {command}"));
    assert_eq!(files("ca.crt", "ca.key"), "make them with `ftpgate ca init --dir .`");
    let other = files("/etc/ftpgate/own.crt", "/etc/ftpgate/ca.key");
    assert!(other.starts_with(command) && other.contains("tls.ca then has to name"), "{other}");
    assert!(files("/a/ca.crt", "/b/ca.key").contains("then has to name"));
}

#[rstest]
#[case("{ mode: none }", "mode", "write passthrough, intercept, offload, originate or refuse")]
#[case("{ client_start: port-990 }", "client_start", "implicit-after-greeting")]
#[case("{ mode: intercept, verify: maybe }", "verify", "write full, chain or off")]
#[case("{ mode: intercept, verify: false }", "verify", "`false` is not known here")]
#[case("{ mode: intercept, client_reuse: true }", "client_reuse", "write prefer, require or off")]
#[case("{ mode: offload, client_certificates: ask }", "client_certificates", "none or require")]
#[case("{ mode: intercept, server_ccc: yes }", "server_ccc", "write follow, never or always")]
#[case("{ mode: intercept, bypass: ftp.example }", "bypass", "needs a list of networks and names")]
#[case("{ mode: intercept, bypass: [a, {}] }", "bypass", "needs a list of networks and names")]
#[case("{ mode: intercept, bypass: ['a b'] }", "bypass", "neither a network nor a name")]
#[case("{ mode: intercept, bypass: ['*'] }", "bypass", "neither a network nor a name")]
#[case("{ mode: intercept, bypass: ['ftp.*.example'] }", "bypass", "neither a network nor a name")]
#[case("{ mode: intercept, bypass: ['*.*.example'] }", "bypass", "neither a network nor a name")]
#[case("{ mode: intercept, bypass: ['*.192.0.2.1'] }", "bypass", "neither a network nor a name")]
#[case("{ mode: intercept, bypass: [host/24] }", "bypass", "neither a network nor a name")]
#[case("{ mode: intercept, bypass: [\"a\\eb\"] }", "bypass", "`a\\u{1b}b` is neither")]
#[case("{ mode: intercept, bypass: [192.0.2.0/33] }", "bypass", "no prefix from 0 to 32")]
#[case("{ mode: intercept, bypass: ['::/129'] }", "bypass", "no prefix from 0 to 128")]
#[case("{ mode: intercept, bypass: [192.0.2.0/x] }", "bypass", "no prefix from 0 to 32")]
#[case(
    "{ mode: intercept, bypass: [192.0.2.1/24] }",
    "bypass",
    "write 192.0.2.0/24, or 192.0.2.1/32"
)]
#[case("{ mode: intercept, bypass: [A.b, a.B.] }", "bypass", "`a.B.` stands here twice")]
#[case("{ client_strat: implicit }", "client_strat", "did you mean `client_start`?")]
fn values_of_a_listener(#[case] written: &str, #[case] key: &str, #[case] words: &str) {
    only(&tls(written, ""), 3, &format!("listeners[0].tls.{key}"), words);
}

#[rstest]
#[case("{ mode: refuse, required: true }", "required", "nobody could log in: write false")]
#[case("{ mode: originate, required: true }", "required", "clients have no TLS, so nobody could")]
#[case("{ client_start: implicit }", "server_start", "write implicit, as for client_start")]
#[case("{ server_start: implicit }", "server_start", "write explicit, as for client_start")]
#[case("{ mode: refuse, client_start: implicit }", "client_start", "there is no TLS to start")]
#[case("{ mode: refuse, server_start: implicit }", "server_start", "write explicit, or mode: pass")]
#[case("{ mode: offload, server_start: implicit }", "server_start", "servers have no TLS to start")]
#[case(
    "{ mode: originate, client_start: implicit-after-greeting }",
    "client_start",
    "clients have no TLS to start: write explicit, or mode: intercept"
)]
#[case("{ client_reuse: require }", "client_reuse", "with mode passthrough it has no effect")]
#[case(
    "{ mode: originate, client_reuse: off }",
    "client_reuse",
    "write mode: intercept or offload"
)]
#[case("{ mode: refuse, client_reuse: off }", "client_reuse", "leave it out")]
#[case("{ mode: originate, client_certificates: require }", "client_certificates", "no effect")]
#[case("{ client_certificates: require }", "client_certificates", "no effect")]
#[case("{ mode: offload, client_certificates: require }", "client_certificates", "roots: FILE")]
#[case("{ mode: intercept, client_certificates: require }", "client_certificates", "roots: FILE")]
#[case("{ verify: off }", "verify", "with mode passthrough it has no effect")]
#[case("{ mode: offload, verify: full }", "verify", "write mode: intercept or originate")]
#[case("{ mode: offload, server_ccc: never }", "server_ccc", "no TLS of its own with servers")]
#[case("{ server_ccc: always }", "server_ccc", "with mode passthrough it has no effect")]
#[case("{ bypass: [a.example] }", "bypass", "with mode passthrough it has no effect")]
#[case("{ mode: offload, bypass: [a.example] }", "bypass", "nothing is intercepted here")]
#[case("{ mode: originate, bypass: [a.example] }", "bypass", "write mode: intercept")]
#[case(
    "{ mode: intercept, client_start: implicit, bypass: [a.example] }",
    "bypass",
    "here it is implicit and explicit"
)]
fn a_key_that_does_not_go_with_the_mode(
    #[case] written: &str,
    #[case] key: &str,
    #[case] words: &str,
) {
    only(&tls(written, ""), 3, &format!("listeners[0].tls.{key}"), words);
}

#[test]
fn a_default_goes_with_every_mode() {
    for mode in ["passthrough", "intercept", "offload", "originate", "refuse"] {
        let written = format!(
            "{{ mode: {mode}, required: false, client_start: explicit, server_start: explicit, \
             verify: null, client_reuse: prefer, client_certificates: none, server_ccc: follow, \
             bypass: [] }}"
        );
        let config = parse("x", &tls(&written, "")).unwrap();
        assert_eq!(config.listeners[0].tls.mode.label(), mode);
    }
}

#[rstest]
#[case("ca: { certificate: null }", "ca.certificate", "needs the path of a file, not nothing")]
#[case("ca: { key: '' }", "ca.key", "`` is not a path")]
#[case("ca: { key: keys/ }", "ca.key", "`keys/` is not a path")]
#[case("ca: { key: \"a\\0b\" }", "ca.key", "`a\\0b` is not a path")]
#[case("certificate: { chain: c.pem }", "certificate.chain", "write key as well")]
#[case("certificate: { key: k.pem }", "certificate.key", "write chain as well")]
#[case("server: { certificate: { chain: c.pem } }", "server.certificate.chain", "write key as")]
#[case("server: { certificate: { key: k.pem } }", "server.certificate.key", "write chain as")]
#[case("client: { roots: [] }", "client.roots", "needs the path of a file, not a list")]
#[case("client: { roots: c.pem }", "client.roots", "no listener asks clients for certificates")]
#[case("server: { roots: null }", "server.roots", "needs system, or the path of a PEM file")]
#[case("server: { verify: null }", "server.verify", "needs full, chain or off")]
#[case("server: { fingerprints: abcd }", "server.fingerprints", "needs a list of SHA-256")]
#[case("server: { fingerprints: [abcd] }", "server.fingerprints", "`abcd` is none")]
#[case("server: { fingerprints: [12] }", "server.fingerprints", "in quotes")]
#[case("server: { untrusted: allow }", "server.untrusted", "write refuse or mirror")]
#[case("server: { untrusted: mirror }", "server.untrusted", "a listener that intercepts")]
#[case("server: { client_certificates: none }", "server.client_certificates", "or passthrough")]
#[case("server: { client_certificates: passthrough }", "server.client_certificates", "unread")]
fn what_holds_for_all(#[case] written: &str, #[case] key: &str, #[case] words: &str) {
    only(&with(&format!("tls: {{ {written} }}\n")), 2, &format!("tls.{key}"), words);
}

#[test]
fn fingerprints_are_whole_and_different() {
    let key = "tls.server.fingerprints";
    let fingerprints =
        |list: &str| with(&format!("tls: {{ server: {{ fingerprints: [{list}] }} }}\n"));
    let plain = COLONS.replace(':', "").to_lowercase();
    only(&fingerprints(&format!("'{COLONS}', '{plain}'")), 2, key, "stands here twice");
    for bad in [
        format!("{COLONS}:"),
        format!(":{COLONS}"),
        format!("{COLONS}:00"),
        COLONS[3..].to_owned(),
        COLONS.replacen(':', "::", 1),
        COLONS.replacen("00", "0g", 1),
        COLONS.replacen("00", "+0", 1),
        COLONS.replacen("00", "é", 1),
    ] {
        only(&fingerprints(&format!("'{bad}'")), 2, key, "is none: write a list of SHA-256");
    }
}

#[test]
fn where_nothing_is_verified_nothing_may_be_said_about_it() {
    let off = "servers are not verified, verify is off";
    for (key, value) in [
        ("roots", "r.pem".to_owned()),
        ("fingerprints", format!("['{COLONS}']")),
        ("untrusted", "mirror".to_owned()),
    ] {
        let server = format!("tls: {{ server: {{ {key}: {value} }} }}\n");
        let key = format!("tls.server.{key}");
        only(&tls("{ mode: intercept, verify: off }", &server), 4, &key, off);
        assert!(parse("x", &tls("{ mode: intercept }", &server)).is_ok());
        let off_for_all = server.replace("{ server: {", "{ server: { verify: off,");
        only(&tls("{ mode: intercept }", &off_for_all), 4, &key, off);
        assert!(parse("x", &tls("{ mode: intercept, verify: chain }", &off_for_all)).is_ok());
    }
}

#[test]
fn the_kernel_carries_no_data_of_tls_that_ends_here() {
    let kernel = "data: { path: kernel }\n";
    for mode in ["intercept", "offload", "originate"] {
        let words = format!("as mode {mode} of listener `main` wants it");
        only(&tls(&format!("{{ mode: {mode} }}"), kernel), 4, "data.path", &words);
    }
    for mode in ["passthrough", "refuse"] {
        assert!(parse("x", &tls(&format!("{{ mode: {mode} }}"), kernel)).is_ok(), "{mode}");
    }
}

#[test]
fn all_that_is_wrong_with_tls_comes_at_once() {
    let text = "\
listeners:
  - server: 192.0.2.10:21
    tls:
      mode: originate
      required: true
      client_start: implicit
      client_reuse: off
  - name: b
    listen: '0.0.0.0:2122'
    server: 192.0.2.10:21
    tls:
      mode: offload
      verify: chain
      bypass: [192.0.2.10]
tls:
  certificate:
    chain: c.pem
  server:
    untrusted: mirror
";
    let found: Vec<_> = problems(text).into_iter().map(|(line, key, _)| (line, key)).collect();
    let expected = [
        (5, "listeners[0].tls.required"),
        (6, "listeners[0].tls.client_start"),
        (7, "listeners[0].tls.client_reuse"),
        (13, "listeners[1].tls.verify"),
        (14, "listeners[1].tls.bypass"),
        (17, "tls.certificate.chain"),
        (19, "tls.server.untrusted"),
    ];
    assert_eq!(found, expected.map(|(line, key)| (line, key.to_owned())));
}

#[test]
fn a_mode_that_cannot_be_read_makes_no_other_key_wrong() {
    let text = tls(
        "{ mode: interzept, client_start: implicit, verify: off, bypass: [a] }",
        "data: { path: kernel }\ntls: { client: { roots: c.pem }, server: { untrusted: mirror } }\n",
    );
    only(&text, 3, "listeners[0].tls.mode", "`interzept` is not known here");
}
