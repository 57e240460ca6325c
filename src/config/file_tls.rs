//! The schema of `tls` and `listeners[].tls`.

use super::section::{Found, Section};
use super::tls::{
    CaFiles, CertificateFiles, ClientCertificates, ListenerTls, Reuse, Roots, ServerCcc, Tls,
    TlsMode, TlsServer, TlsStart, UnmetCertificateRequest, Untrusted, Verify,
};
use super::{value, value_tls};
use crate::policy::bypass::BypassEntry;
use std::path::PathBuf;

/// `listeners[].tls`.
pub(super) struct ListenerTlsFile {
    pub(super) mode: Found<TlsMode>,
    pub(super) required: Found<bool>,
    pub(super) client_start: Found<TlsStart>,
    pub(super) server_start: Found<TlsStart>,
    pub(super) verify: Found<Option<Verify>>,
    pub(super) client_reuse: Found<Reuse>,
    pub(super) client_certificates: Found<ClientCertificates>,
    pub(super) server_ccc: Found<ServerCcc>,
    pub(super) bypass: Found<Vec<BypassEntry>>,
}

impl ListenerTlsFile {
    pub(super) fn into_tls(self) -> ListenerTls {
        ListenerTls {
            mode: self.mode.value,
            required: self.required.value,
            client_start: self.client_start.value,
            server_start: self.server_start.value,
            verify: self.verify.value,
            client_reuse: self.client_reuse.value,
            client_certificates: self.client_certificates.value,
            server_ccc: self.server_ccc.value,
            bypass: self.bypass.value,
        }
    }
}

/// `tls`.
pub(super) struct TlsFile {
    ca: CaFiles,
    pub(super) certificate: PairFile,
    pub(super) client_roots: Found<Option<PathBuf>>,
    pub(super) server: TlsServerFile,
}

/// `tls.certificate` or `tls.server.certificate`.
pub(super) struct PairFile {
    pub(super) chain: Found<Option<PathBuf>>,
    pub(super) key: Found<Option<PathBuf>>,
}

/// `tls.server`.
pub(super) struct TlsServerFile {
    pub(super) roots: Found<Roots>,
    pub(super) verify: Found<Verify>,
    pub(super) fingerprints: Found<Vec<[u8; 32]>>,
    pub(super) untrusted: Found<Untrusted>,
    pub(super) certificate: PairFile,
    pub(super) client_certificates: Found<UnmetCertificateRequest>,
}

impl TlsFile {
    /// Paths are as written.
    pub(super) fn into_tls(self) -> Tls {
        let Self { ca, certificate, client_roots, server } = self;
        Tls {
            ca,
            certificate: certificate.into_files(),
            client_roots: client_roots.value,
            server: TlsServer {
                roots: server.roots.value,
                verify: server.verify.value,
                fingerprints: server.fingerprints.value,
                untrusted: server.untrusted.value,
                certificate: server.certificate.into_files(),
                client_certificates: server.client_certificates.value,
            },
        }
    }
}

impl PairFile {
    fn into_files(self) -> Option<CertificateFiles> {
        let (chain, key) = self.chain.value.zip(self.key.value)?;
        Some(CertificateFiles { chain, key })
    }
}

const VERIFY: &[(&str, Verify)] =
    &[("full", Verify::Full), ("chain", Verify::Chain), ("off", Verify::Off)];

pub(super) fn listener_tls(mut section: Section<'_>) -> ListenerTlsFile {
    const MODE: &[(&str, TlsMode)] = &[
        ("passthrough", TlsMode::Passthrough),
        ("intercept", TlsMode::Intercept),
        ("offload", TlsMode::Offload),
        ("originate", TlsMode::Originate),
        ("refuse", TlsMode::Refuse),
    ];
    const START: &[(&str, TlsStart)] = &[
        ("explicit", TlsStart::Explicit),
        ("implicit", TlsStart::Implicit),
        ("implicit-after-greeting", TlsStart::ImplicitAfterGreeting),
    ];
    const REUSE: &[(&str, Reuse)] =
        &[("prefer", Reuse::Prefer), ("require", Reuse::Require), ("off", Reuse::Off)];
    const CERTIFICATES: &[(&str, ClientCertificates)] =
        &[("none", ClientCertificates::None), ("require", ClientCertificates::Require)];
    const CCC: &[(&str, ServerCcc)] = &[
        ("follow", ServerCcc::Follow),
        ("never", ServerCcc::Never),
        ("always", ServerCcc::Always),
    ];
    let default = ListenerTls::default();
    let tls = ListenerTlsFile {
        mode: section.read("mode", value::choice(MODE), default.mode),
        required: section.read("required", value::boolean, default.required),
        client_start: section.read("client_start", value::choice(START), default.client_start),
        server_start: section.read("server_start", value::choice(START), default.server_start),
        verify: section.read("verify", value_tls::optional_choice(VERIFY), default.verify),
        client_reuse: section.read("client_reuse", value::choice(REUSE), default.client_reuse),
        client_certificates: section.read(
            "client_certificates",
            value::choice(CERTIFICATES),
            default.client_certificates,
        ),
        server_ccc: section.read("server_ccc", value::choice(CCC), default.server_ccc),
        bypass: section.read("bypass", value_tls::bypass, default.bypass),
    };
    section.finish();
    tls
}

pub(super) fn tls(mut section: Section<'_>) -> TlsFile {
    let default = CaFiles::default();
    let mut ca = section.section("ca");
    let ca_files = CaFiles {
        certificate: ca.read("certificate", value_tls::path, default.certificate).value,
        key: ca.read("key", value_tls::path, default.key).value,
    };
    ca.finish();
    let certificate = pair(section.section("certificate"));
    let mut client = section.section("client");
    let client_roots = client.read("roots", value_tls::optional_path, None);
    client.finish();
    let server = tls_server(section.section("server"));
    section.finish();
    TlsFile { ca: ca_files, certificate, client_roots, server }
}

fn tls_server(mut section: Section<'_>) -> TlsServerFile {
    const UNTRUSTED: &[(&str, Untrusted)] =
        &[("refuse", Untrusted::Refuse), ("mirror", Untrusted::Mirror)];
    const UNMET: &[(&str, UnmetCertificateRequest)] = &[
        ("refuse", UnmetCertificateRequest::Refuse),
        ("passthrough", UnmetCertificateRequest::Passthrough),
    ];
    let default = TlsServer::default();
    let server = TlsServerFile {
        roots: section.read("roots", value_tls::roots, default.roots),
        verify: section.read("verify", value::choice(VERIFY), default.verify),
        fingerprints: section.read("fingerprints", value_tls::fingerprints, default.fingerprints),
        untrusted: section.read("untrusted", value::choice(UNTRUSTED), default.untrusted),
        certificate: pair(section.section("certificate")),
        client_certificates: section.read(
            "client_certificates",
            value::choice(UNMET),
            default.client_certificates,
        ),
    };
    section.finish();
    server
}

fn pair(mut section: Section<'_>) -> PairFile {
    let pair = PairFile {
        chain: section.read("chain", value_tls::optional_path, None),
        key: section.read("key", value_tls::optional_path, None),
    };
    section.finish();
    pair
}
