//! Clients that have to show a certificate.

use super::super::*;
use crate::tls::ca::tests::now;
use crate::tls::leaf::tests::factory;
use crate::tls::tests::*;
use rstest::rstest;
use rustls::client::ClientSessionMemoryCache;
use rustls::{ClientConfig, Error, HandshakeKind};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// Who signs for clients.
static AUTHORITY: LazyLock<Party> =
    LazyLock::new(|| Party::self_signed(ca_params("CA of clients")));

fn requiring(roots: &Path) -> Result<ClientSide, SettingsFault> {
    let client_roots = Some(roots.to_owned());
    let settings = ClientSideSettings { reuse: Reuse::Require, client_roots };
    ClientSide::new(&settings, Some(LeafCache::new(factory())), None)
}

async fn session() -> ClientSession {
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("clients.pem");
    fs::write(&roots, &AUTHORITY.pem).unwrap();
    let side = requiring(&roots).unwrap();
    assert_eq!(side.reuse(), Reuse::Require);
    let address = "198.51.100.1".parse().unwrap();
    side.session(Shown::Own { name: None, address }, now()).await.unwrap()
}

fn showing_client(version: usize, own: Option<&Party>) -> Arc<ClientConfig> {
    let mut config = client(VERSIONS[version], Arc::new(ClientSessionMemoryCache::new(8)));
    if let Some(own) = own {
        config.client_auth_cert_resolver = showing(&own.certificate, own);
    }
    Arc::new(config)
}

fn run(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<Pair, Box<Failed>> {
    Pair::new(client, name("ftp.example"), server).run()
}

#[rstest]
#[tokio::test]
async fn a_client_with_a_certificate_resumes_with_it(#[values(0, 1)] version: usize) {
    let own = AUTHORITY.sign_client("Ada");
    let (session, client) = (session().await, showing_client(version, Some(&own)));
    for (config, kind) in
        [(&session.control, HandshakeKind::Full), (&session.data, HandshakeKind::Resumed)]
    {
        let pair = run(&client, config).unwrap();
        assert_eq!(pair.server.handshake_kind(), Some(kind));
        let shown = pair.server.peer_certificates().unwrap();
        assert_eq!(shown, std::slice::from_ref(&own.certificate));
        assert_eq!(crate::tls::words::subject(&shown[0]), "CN=Ada");
    }
}

#[rstest]
#[tokio::test]
async fn others_are_refused(#[values(0, 1)] version: usize) {
    let session = session().await;
    let stranger = Party::self_signed(ca_params("CA of others")).sign_client("Eve");
    let of_a_server = AUTHORITY.sign({
        let mut params = params("ftp.example");
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        params
    });
    for own in [None, Some(&stranger), Some(&of_a_server)] {
        let failed = run(&showing_client(version, own), &session.control).err().unwrap();
        let error = failed.server.unwrap();
        assert_eq!(error == Error::NoCertificatesPresented, own.is_none(), "{error}");
        let failure = Failure::with_client(&error, &[]);
        assert_eq!(failure.fault, TlsFault::ClientCertificateRefused, "{failure}");
    }
}

#[test]
fn roots_that_sign_for_nobody_are_a_fault() {
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("clients.pem");
    let says = |words: &str| {
        let fault = requiring(&roots).unwrap_err().to_string();
        assert!(fault.contains(words) && fault.contains("clients.pem"), "{fault}");
    };
    says("does not exist");
    fs::write(&roots, "").unwrap();
    says("holds no certificate");
    fs::write(&roots, AUTHORITY.sign_client("Ada").pem).unwrap();
    says("not that of a CA (subject CN=Ada)");
}
