//! TLS towards servers: the gateway is the TLS client.
//!
//! One [`ServerSide`] for each way of verifying, shared by sessions; one [`ServerSession`] for each
//! handshake of a control connection, whose data connections resume what it agreed on.
//!
//! Not here: the connections themselves, and what becomes of a server that is not trusted.

use super::again;
use super::failure::Failure;
use super::material::{self, MaterialFault, Roots, SettingsFault};
use super::steady::Steady;
use super::store::ServerSessions;
use super::verifier::{Trust, Verifier};
pub use super::verifier::{Untrusted, Verify};
use super::words;
use crate::report::TlsFault;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

/// The protocol of a control connection (RFC 7301; IANA's list of ALPN IDs).
pub(super) const ALPN_CONTROL: &[u8] = b"ftp";

/// What data connections are called, where the control connection is called anything at all: FileZilla
/// Server takes the first, vsftpd the second as well.
pub(super) const ALPN_DATA: &[u8] = b"ftp-data";

/// Who signs for servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ServerRoots {
    /// Whom the system trusts.
    #[default]
    System,
    /// The CAs in a PEM file. Every certificate in it, that of a CA or not, is also trusted as a
    /// server's own.
    File(PathBuf),
}

/// A certificate with its chain, the end-entity certificate first, and its key: PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificates.
    pub chain: PathBuf,
    /// The private key, its owner's alone.
    pub key: PathBuf,
}

/// How the gateway meets servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerSideSettings {
    /// Who signs for them. Not read with [`Verify::Off`] if it is [`ServerRoots::System`].
    pub roots: ServerRoots,
    /// What is checked.
    pub verify: Verify,
    /// SHA-256 of end-entity certificates that are trusted whoever signed them: 64 hexadecimal
    /// digits, colons allowed.
    pub fingerprints: Vec<String>,
    /// What happens to the others.
    pub untrusted: Untrusted,
    /// What is shown to servers that ask for a certificate.
    pub certificate: Option<CertificateFiles>,
}

/// How the gateway meets servers, ready for sessions. Cheap to clone.
#[derive(Clone)]
pub struct ServerSide {
    base: ClientConfig,
    trust: Arc<Trust>,
    verify: Verify,
    untrusted: Untrusted,
    own: Option<Arc<CertifiedKey>>,
}

/// Nothing of the key.
impl std::fmt::Debug for ServerSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerSide")
            .field("verify", &self.verify)
            .field("untrusted", &self.untrusted)
            .field("certificate", &self.own.is_some())
            .finish_non_exhaustive()
    }
}

impl ServerSide {
    /// Reads what the settings name.
    ///
    /// # Errors
    /// The file at fault, if there is one, why, and what to do. A system without roots is one, unless
    /// nothing is verified.
    pub fn new(settings: &ServerSideSettings) -> Result<Self, SettingsFault> {
        let roots = match (&settings.roots, settings.verify) {
            (ServerRoots::File(file), _) => Roots::listed_in(file)?,
            (ServerRoots::System, Verify::Off) => Roots::none(),
            (ServerRoots::System, Verify::Full | Verify::Chain) => Roots::system()?,
        };
        let fingerprints = settings
            .fingerprints
            .iter()
            .map(|text| fingerprint(text).ok_or_else(|| bad_fingerprint(text)))
            .collect::<Result<_, _>>()?;
        let own = match &settings.certificate {
            Some(files) => Some(Arc::new(material::certified(&files.chain, &files.key)?)),
            None => None,
        };
        let trust = Arc::new(Trust { roots, fingerprints });
        let base = ClientConfig::builder_with_provider(again::provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| MaterialFault::Cryptography(error.to_string()))?
            .with_root_certificates(Arc::clone(&trust.roots.anchors))
            .with_no_client_auth();
        Ok(Self { base, trust, verify: settings.verify, untrusted: settings.untrusted, own })
    }

    /// When the certificate expires that is shown to servers; `None` if there is none.
    pub fn certificate_not_after(&self) -> Option<SystemTime> {
        self.own.as_deref().and_then(material::not_after)
    }

    /// What a new control connection's handshake needs.
    ///
    /// `asked` is the name that the client asked for (SNI), `host` the name in the listener's `server`
    /// if it is one, `address` the server's. The first of them that there is is verified, and sent as
    /// SNI if it is a name.
    ///
    /// # Errors
    /// [`TlsFault::WrongName`] if it is no name of a host.
    pub fn session(
        &self,
        asked: Option<&str>,
        host: Option<&str>,
        address: IpAddr,
    ) -> Result<ServerSession, Failure> {
        let name = match asked.or(host) {
            Some(name) => ServerName::try_from(name.to_owned()).map_err(|_| {
                let name = words::bounded(name);
                Failure::new(TlsFault::WrongName, format!("{name} is no name of a host"))
            })?,
            None => ServerName::from(address.to_canonical()),
        };
        let sessions = Arc::new(ServerSessions::default());
        let verifier = Arc::new(Verifier::new(
            Arc::clone(&self.trust),
            self.verify,
            self.untrusted,
            Arc::clone(&sessions),
        ));
        let shown = Arc::new(ShownToServer { own: self.own.clone(), was_short: false.into() });
        let mut config = self.base.clone();
        config.dangerous().set_certificate_verifier(Arc::clone(&verifier) as _);
        config.client_auth_cert_resolver = Arc::clone(&shown) as _;
        config.resumption = Resumption::store(Arc::clone(&sessions) as _);
        // The data connections' is the same, and none of them has dates to check.
        config.time_provider = Arc::new(Steady::start());
        config.alpn_protocols = vec![ALPN_CONTROL.to_vec()];
        Ok(ServerSession { config: Arc::new(config), name, verifier, shown, sessions })
    }
}

/// TLS with the server of one control connection.
#[derive(Debug)]
pub struct ServerSession {
    /// For the control connection.
    pub config: Arc<ClientConfig>,
    /// For both kinds of connections.
    pub name: ServerName<'static>,
    verifier: Arc<Verifier>,
    shown: Arc<ShownToServer>,
    sessions: Arc<ServerSessions>,
}

impl ServerSession {
    /// Why the certificate did not verify, whether the handshake went on ([`Untrusted::Mirror`]) or
    /// not. None before the certificate has come.
    pub fn distrust(&self) -> Option<Failure> {
        self.verifier.distrust().cloned()
    }

    /// The certificate that the server has shown on its control connection, trusted or not, and false
    /// if nothing of it is checked ([`Verify::Off`]).
    pub fn shown(&self) -> Option<(&CertificateDer<'static>, bool)> {
        self.verifier.shown()
    }

    /// The server asked for a certificate of its client, and there was none to show. Many servers ask
    /// (vsftpd by default) and take none for an answer: it is the reason for a failure only if there is
    /// one.
    pub fn wanted_certificate(&self) -> bool {
        self.shown.was_short.load(Ordering::Relaxed)
    }

    /// True if the next data connection of TLS 1.3, or the one after it, has nothing to resume: each
    /// takes a ticket, and not each is given one.
    pub fn is_short_of_tickets(&self) -> bool {
        self.sessions.tickets() < 2
    }

    /// For the data connections; to be called when the control connection's handshake is complete.
    ///
    /// They resume what `control` agreed on. Where the server wants a full handshake it has to show the
    /// control connection's certificate, and no other. They name a protocol only if `control` did:
    /// servers that know of none there know of none here.
    pub fn data(&self, control: &rustls::ClientConnection) -> Arc<ClientConfig> {
        self.sessions.freeze();
        if let Some(certificate) = control.peer_certificates().and_then(<[_]>::first) {
            self.verifier.establish(certificate);
        }
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = match control.alpn_protocol() {
            Some(_) => vec![ALPN_DATA.to_vec(), ALPN_CONTROL.to_vec()],
            None => Vec::new(),
        };
        Arc::new(config)
    }
}

/// Shows the gateway's certificate to a server that asks, and notes if there is none to show.
struct ShownToServer {
    own: Option<Arc<CertifiedKey>>,
    was_short: AtomicBool,
}

/// Nothing of the key.
impl std::fmt::Debug for ShownToServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShownToServer").field("was_short", &self.was_short).finish_non_exhaustive()
    }
}

impl ResolvesClientCert for ShownToServer {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // Whom the server trusts to sign is no more than a hint, and often empty.
        let own = self.own.clone().filter(|own| own.key.choose_scheme(schemes).is_some());
        if own.is_none() {
            self.was_short.store(true, Ordering::Relaxed);
        }
        own
    }

    fn has_certs(&self) -> bool {
        self.own.is_some()
    }
}

/// 64 hexadecimal digits, with colons or blanks between them.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let mut digits = text.chars().filter(|character| !matches!(character, ':' | ' '));
    let mut digit = || u8::try_from(digits.next()?.to_digit(16)?).ok();
    let mut bytes = [0; 32];
    for byte in &mut bytes {
        *byte = digit()? << 4 | digit()?;
    }
    digits.next().is_none().then_some(bytes)
}

fn bad_fingerprint(text: &str) -> SettingsFault {
    MaterialFault::Fingerprint(words::bounded(text)).into()
}

#[cfg(test)]
mod tests;
