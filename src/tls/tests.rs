//! Two ends of TLS in memory, and certificates for them.

use super::material::{Roots, provider};
use super::store::ServerSessions;
use super::verifier::{Trust, Untrusted, Verifier, Verify};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::client::{ClientSessionStore, Resumption};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, Error, RootCertStore, ServerConfig,
    ServerConnection, SideData, SupportedProtocolVersion,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

/// More rounds than any handshake takes.
const MOST_ROUNDS: usize = 16;

/// A certificate and its key.
pub(super) struct Party {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) pem: String,
    pub(super) params: CertificateParams,
    pub(super) key: KeyPair,
}

pub(super) fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

pub(super) fn ca_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.subject_alt_names.clear();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Party {
    pub(super) fn self_signed(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), certificate: certificate.into(), params, key }
    }

    /// A server's, or a client's.
    pub(super) fn sign(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Self { pem: certificate.pem(), certificate: certificate.into(), params, key }
    }

    pub(super) fn sign_client(&self, name: &str) -> Self {
        let mut params = params(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    pub(super) fn secret(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// Writes both as PEM, the key for its owner alone.
    pub(super) fn write(&self, directory: &Path) -> (PathBuf, PathBuf) {
        let (chain, key) = (directory.join("own.crt"), directory.join("own.key"));
        fs::write(&chain, &self.pem).unwrap();
        fs::write(&key, self.key.serialize_pem()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        (chain, key)
    }
}

pub(super) fn roots(parties: &[&Party]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for party in parties {
        roots.add(party.certificate.clone()).unwrap();
    }
    roots
}

/// A server as there are outside.
pub(super) fn server(party: &Party, version: &'static SupportedProtocolVersion) -> ServerConfig {
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(showing(&party.certificate, party))
}

/// Shows what may not be its own, or not be a certificate that rustls would show by itself.
pub(super) fn showing(
    certificate: &CertificateDer<'static>,
    holder: &Party,
) -> Arc<SingleCertAndKey> {
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&holder.secret()).unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![certificate.clone()], key)))
}

/// A client as there are outside, with a store of its own for one control connection. It takes any
/// certificate.
pub(super) fn client(
    version: &'static SupportedProtocolVersion,
    store: Arc<dyn ClientSessionStore>,
) -> ClientConfig {
    verifying_into(version, store, Arc::default())
}

/// As the gateway towards servers, with a store of its own in which chains are noted.
pub(super) fn keeping(
    version: &'static SupportedProtocolVersion,
    sessions: &Arc<ServerSessions>,
) -> ClientConfig {
    verifying_into(version, Arc::clone(sessions) as _, Arc::clone(sessions))
}

fn verifying_into(
    version: &'static SupportedProtocolVersion,
    store: Arc<dyn ClientSessionStore>,
    chains: Arc<ServerSessions>,
) -> ClientConfig {
    let trust = Trust { roots: Roots::none(), fingerprints: Vec::new() };
    let verifier = Verifier::new(Arc::new(trust), Verify::Off, Untrusted::Refuse, chains);
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::store(store);
    config
}

/// Who failed, and how.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) client: Option<Error>,
    pub(super) server: Option<Error>,
}

pub(super) struct Pair {
    pub(super) client: ClientConnection,
    pub(super) server: ServerConnection,
}

impl Pair {
    pub(super) fn new(
        client: &Arc<ClientConfig>,
        name: ServerName<'static>,
        server: &Arc<ServerConfig>,
    ) -> Self {
        let client = ClientConnection::new(Arc::clone(client), name).unwrap();
        let server = ServerConnection::new(Arc::clone(server)).unwrap();
        Self { client, server }
    }

    /// Carries everything to and fro until both are silent.
    pub(super) fn run(mut self) -> Result<Self, Box<Failed>> {
        let mut failed = Failed { client: None, server: None };
        for _ in 0..MOST_ROUNDS {
            let to_server = carry(&mut self.client, &mut self.server, &mut failed.server);
            let to_client = carry(&mut self.server, &mut self.client, &mut failed.client);
            if !to_server && !to_client {
                break;
            }
        }
        if failed.client.is_some() || failed.server.is_some() {
            return Err(Box::new(failed));
        }
        assert!(!self.client.is_handshaking() && !self.server.is_handshaking());
        Ok(self)
    }
}

/// What one has to say to the other; true if there was anything, and it was taken.
fn carry<A: SideData, B: SideData>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
    failed: &mut Option<Error>,
) -> bool {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() && failed.is_none() {
        to.read_tls(&mut rest).unwrap();
        *failed = to.process_new_packets().err();
    }
    !bytes.is_empty()
}

/// A name as clients ask for it.
pub(super) fn name(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).unwrap()
}
