//! What is done with TLS, in words: how it starts on each side, who sees which certificate, and how
//! servers are verified.

use crate::config::{
    ClientCertificates, Config, Listener, ListenerTls, Reuse, Roots, Server, ServerCcc, Tls,
    TlsMode, TlsStart, UnmetCertificateRequest, Untrusted, Verify,
};
use std::io;

/// A few words, between the others about a listener.
pub(super) fn summary(tls: &ListenerTls) -> String {
    match tls.mode {
        TlsMode::Passthrough => format!("TLS end to end {}", start_on_clients_side(tls)),
        TlsMode::Intercept => "TLS ends here and begins again".to_owned(),
        TlsMode::Offload => "TLS ends here".to_owned(),
        TlsMode::Originate => "TLS begins here".to_owned(),
        TlsMode::Refuse => "no TLS".to_owned(),
    }
}

/// Where TLS ends at the gateway: each side with what it has, and who is left alone.
pub(super) fn sides(listener: &Listener, tls: &Tls) -> Vec<(&'static str, String)> {
    let mode = listener.tls.mode;
    if !mode.terminates() {
        return Vec::new();
    }
    let clear = || "in the clear".to_owned();
    let mut sides = vec![
        ("clients", if mode.serves_clients() { clients(&listener.tls, tls) } else { clear() }),
        ("servers", if mode.dials_servers() { servers(listener, tls) } else { clear() }),
    ];
    if !listener.tls.bypass.is_empty() {
        let entries: Vec<_> = listener.tls.bypass.iter().map(ToString::to_string).collect();
        sides.push(("carried unread", entries.join(", ")));
    }
    sides
}

fn clients(listener: &ListenerTls, tls: &Tls) -> String {
    let mut words = vec![format!("TLS {}", start_on_clients_side(listener))];
    words.push(match (&tls.certificate, listener.mode) {
        (Some(fixed), TlsMode::Offload) => format!("they see {}", fixed.chain.display()),
        (None, TlsMode::Offload) => {
            "they see a certificate of the local CA for the name or address that they dial"
                .to_owned()
        }
        (_, _) => {
            "they see a certificate of the local CA that says what the server's says".to_owned()
        }
    });
    match (listener.client_certificates, &tls.client_roots) {
        (ClientCertificates::Require, Some(roots)) => {
            words.push(format!("they have to show one signed by {}", roots.display()));
        }
        (ClientCertificates::Require, None) | (ClientCertificates::None, _) => {}
    }
    match listener.client_reuse {
        Reuse::Prefer => {}
        Reuse::Require => words.push("data connections have to resume their session".to_owned()),
        Reuse::Off => words.push("data connections cannot resume their session".to_owned()),
    }
    words.join("; ")
}

fn servers(listener: &Listener, tls: &Tls) -> String {
    let server = &tls.server;
    let mut words = vec![format!("TLS {}", start(listener.tls.server_start))];
    let verify = listener.tls.verify.unwrap_or(server.verify);
    words.push(verified(verify, listener, tls));
    if verify != Verify::Off {
        words.push(match (server.untrusted, listener.tls.mode) {
            (Untrusted::Mirror, TlsMode::Intercept) => {
                "if that fails, clients see a certificate that they do not trust either".to_owned()
            }
            (Untrusted::Refuse | Untrusted::Mirror, _) => {
                "if that fails, the session is refused".to_owned()
            }
        });
    }
    match (&server.certificate, server.client_certificates) {
        (Some(own), _) => words.push(format!("those that ask see {}", own.chain.display())),
        (None, UnmetCertificateRequest::Passthrough) if listener.tls.mode == TlsMode::Intercept => {
            words.push(
                "those that ask for a certificate are carried unread from the next session on"
                    .to_owned(),
            );
        }
        (None, UnmetCertificateRequest::Refuse | UnmetCertificateRequest::Passthrough) => {}
    }
    match listener.tls.server_ccc {
        ServerCcc::Follow => {}
        ServerCcc::Never => words.push("CCC is never sent".to_owned()),
        ServerCcc::Always => words.push("CCC is sent after each login".to_owned()),
    }
    words.join("; ")
}

fn verified(verify: Verify, listener: &Listener, tls: &Tls) -> String {
    if verify == Verify::Off {
        return "not verified: whoever answers may read and change what passes".to_owned();
    }
    let signed = match &tls.server.roots {
        Roots::System => "signed by one of the host's CAs".to_owned(),
        Roots::File(path) => format!("signed by or listed in {}", path.display()),
    };
    let named = match (verify, &listener.server, listener.tls.mode) {
        (Verify::Chain | Verify::Off, _, _) => ", whatever its name".to_owned(),
        (Verify::Full, Server::Original, TlsMode::Intercept) => {
            ", for the name that the client asks for, else the address".to_owned()
        }
        (Verify::Full, Server::Original, _) => ", for the address that the client dials".to_owned(),
        (Verify::Full, Server::Address { host, .. }, TlsMode::Intercept) => {
            format!(", for the name that the client asks for, else {host}")
        }
        (Verify::Full, Server::Address { host, .. }, _) => format!(", for {host}"),
    };
    let pinned = match tls.server.fingerprints.len() {
        0 => String::new(),
        1 => ", or of the 1 fingerprint".to_owned(),
        n => format!(", or of one of {n} fingerprints"),
    };
    format!("their certificate has to be {signed}{named}{pinned}")
}

fn start_on_clients_side(tls: &ListenerTls) -> String {
    let required = if tls.required { ", no login without" } else { "" };
    format!("{}{required}", start(tls.client_start))
}

fn start(start: TlsStart) -> &'static str {
    match start {
        TlsStart::Explicit => "after AUTH",
        TlsStart::Implicit => "from the first byte",
        TlsStart::ImplicitAfterGreeting => "after the greeting",
    }
}

/// The files that `run` would need and that cannot be had on this host, with what to do.
pub(super) fn missing(config: &Config) -> Vec<String> {
    let ca = &config.tls.ca;
    let mut missing = Vec::new();
    for path in config.tls_files() {
        let Err(error) = std::fs::metadata(path) else { continue };
        let advice = if path == ca.certificate && error.kind() == io::ErrorKind::NotFound {
            format!(": {}", ca.how_to_make())
        } else {
            String::new()
        };
        missing.push(format!("{}: {error}{advice}", path.display()));
    }
    missing
}

#[cfg(test)]
mod tests {
    use crate::cli::check::report;
    use crate::config;

    /// The report on one listener with `tls`, and more of the file.
    fn of(tls: &str, more: &str) -> String {
        let text =
            format!("listeners: [{{ server: \"192.0.2.10:21\", tls: {tls} }}]\ntls: {more}\n");
        report("/etc/ftpgate/x.yaml", &text).unwrap()
    }

    #[track_caller]
    fn says(report: &str, expected: &[&str]) {
        for words in expected {
            assert!(report.contains(words), "{words}\n{report}");
        }
    }

    #[test]
    fn what_is_not_terminated_takes_a_few_words() {
        for (tls, expected) in [
            ("{}", "TLS end to end after AUTH; policy"),
            ("{ required: true }", "TLS end to end after AUTH, no login without; policy"),
            ("{ mode: refuse }", "; no TLS; policy"),
            (
                "{ client_start: implicit, server_start: implicit }",
                "TLS end to end from the first byte; policy",
            ),
        ] {
            let report = of(tls, "{}");
            says(&report, &[expected]);
            for absent in ["clients:", "servers:", "local CA"] {
                assert!(!report.contains(absent), "{absent}\n{report}");
            }
        }
    }

    #[test]
    fn intercept_is_told_by_side() {
        let report = of(
            "{ mode: intercept, required: true, client_start: implicit-after-greeting, bypass: [] }",
            "{}",
        );
        says(
            &report,
            &[
                "; TLS ends here and begins again; policy default\n",
                "clients: TLS after the greeting, no login without; they see a certificate of the \
                 local CA that says what the server's says\n",
                "servers: TLS after AUTH; their certificate has to be signed by one of the host's \
                 CAs, for the name that the client asks for, else 192.0.2.10; if that fails, the \
                 session is refused\n",
                "local CA  /etc/ftpgate/ca.crt\n",
            ],
        );
        assert!(!report.contains("unread"), "{report}");
    }

    #[test]
    fn what_is_set_is_told() {
        let report = of(
            "{ mode: intercept, client_reuse: require, client_certificates: require, server_ccc: \
             never, bypass: [192.0.2.0/24, '*.bank.example'] }",
            "{ client: { roots: c.pem }, server: { roots: s.pem, untrusted: mirror, fingerprints: \
             [0000000000000000000000000000000000000000000000000000000000000a00], \
             client_certificates: passthrough } }",
        );
        says(
            &report,
            &[
                "they have to show one signed by /etc/ftpgate/c.pem",
                "data connections have to resume their session\n",
                "signed by or listed in /etc/ftpgate/s.pem, for",
                "or of the 1 fingerprint;",
                "clients see a certificate that they do not trust either",
                "those that ask for a certificate are carried unread from the next session on",
                "CCC is never sent\n",
                "carried unread: 192.0.2.0/24, *.bank.example\n",
            ],
        );
    }

    #[test]
    fn offload_and_originate_have_one_side_in_the_clear() {
        let report = of("{ mode: offload, client_start: implicit, client_reuse: off }", "{}");
        says(
            &report,
            &[
                "; TLS ends here; policy",
                "clients: TLS from the first byte; they see a certificate of the local CA for the \
                 name or address that they dial; data connections cannot resume their session\n",
                "servers: in the clear\n",
                "local CA  /etc/ftpgate/ca.crt\n",
            ],
        );
        let fixed = of("{ mode: offload }", "{ certificate: { chain: f.pem, key: f.key } }");
        says(&fixed, &["clients: TLS after AUTH; they see /etc/ftpgate/f.pem\n"]);
        assert!(!fixed.contains("local CA"), "{fixed}");
        let report = of(
            "{ mode: originate, server_start: implicit, verify: chain, server_ccc: always }",
            "{ server: { certificate: { chain: g.pem, key: g.key } } }",
        );
        says(
            &report,
            &[
                "; TLS begins here; policy",
                "clients: in the clear\n",
                "servers: TLS from the first byte; their certificate has to be signed by one of \
                 the host's CAs, whatever its name; if that fails, the session is refused; those \
                 that ask see /etc/ftpgate/g.pem; CCC is sent after each login\n",
            ],
        );
        says(&of("{ mode: originate }", "{}"), &["CAs, for 192.0.2.10;"]);
        let off = of("{ mode: originate, verify: off }", "{}");
        says(&off, &["servers: TLS after AUTH; not verified: whoever answers may read"]);
        assert!(!off.contains("if that fails"), "{off}");
    }

    #[test]
    fn files_that_are_not_there_are_named_with_what_makes_them() {
        let folder = tempfile::tempdir().unwrap();
        let missing = |tls: &str, more: &str| {
            let text = format!("listeners: [{{ server: 'h:21', tls: {tls} }}]\ntls: {more}\n");
            let name = folder.path().join("x.yaml").display().to_string();
            super::missing(&config::parse(&name, &text).unwrap())
        };
        let at = |name: &str| folder.path().join(name).display().to_string();
        let [ca, key] = missing("{ mode: intercept }", "{}").try_into().unwrap();
        assert!(ca.starts_with(&at("ca.crt")), "{ca}");
        let command = format!("`ftpgate ca init --dir {}`", folder.path().display());
        assert!(ca.ends_with(&command), "{ca}");
        assert!(key.starts_with(&at("ca.key")), "{key}");
        let pair = "{ certificate: { chain: f.pem, key: f.key } }";
        let fixed = missing("{ mode: offload }", pair);
        let [chain, key] = fixed.try_into().unwrap();
        assert!(chain.starts_with(&at("f.pem")) && key.starts_with(&at("f.key")), "{chain} {key}");
        let server = "{ server: { roots: r.pem, certificate: { chain: f.pem, key: f.key } } }";
        assert_eq!(missing("{ mode: originate }", server).len(), 3);
        assert_eq!(missing("{}", server), [""; 0]);
        let roots = missing(
            "{ mode: offload, client_certificates: require }",
            "{ client: { roots: c.pem } }",
        );
        assert_eq!(roots.len(), 3, "{roots:?}");
        for file in ["ca.crt", "ca.key"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        assert_eq!(missing("{ mode: intercept }", "{}"), [""; 0]);
    }
}
