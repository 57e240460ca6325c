//! TLS towards clients: the gateway is the TLS server.
//!
//! One [`ClientSide`] for each listener that ends its clients' TLS; one [`ClientSession`] for each
//! handshake of a control connection. Control and data connections of a session show the same
//! certificate, and share what may be resumed with nobody else.
//!
//! Not here: the connections themselves, and whether a data connection that does not resume is
//! refused (see [`ClientSide::reuse`]).

use super::failure::Failure;
use super::fixed::{self, FixedCertificate};
use super::leaf::own_name::OwnName;
use super::leaf::{LeafError, SignedBy};
use super::leaf_cache::{LeafCache, Source};
use super::material::{self, MaterialFault, SettingsFault, provider};
use super::server_side::{ALPN_CONTROL, ALPN_DATA};
use super::store::{ClientSessions, LASTING};
use crate::report::TlsFault;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, StoresServerSessions, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// Tickets of TLS 1.3 with each data connection, where clients have to resume: for those that use
/// one once (RFC 8446 §C.4). Elsewhere none: a client that uploads may close without having read it,
/// and its kernel then resets the connection with the end of the file still on its way (lftp,
/// C-Kermit); those of the control connection can be used again and again.
const DATA_TICKETS: usize = 1;

/// Whether clients' data connections resume the session of their control connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reuse {
    /// They may.
    #[default]
    Prefer,
    /// They have to.
    Require,
    /// They cannot.
    Off,
}

/// How the gateway meets clients.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientSideSettings {
    /// Resumption.
    pub reuse: Reuse,
    /// A PEM file of the CAs that sign for clients. If there is one, clients have to show a
    /// certificate.
    pub client_roots: Option<PathBuf>,
}

/// How the gateway meets clients, ready for sessions.
pub struct ClientSide {
    base: ServerConfig,
    reuse: Reuse,
    leaves: Option<LeafCache>,
    fixed: Option<Arc<FixedCertificate>>,
}

/// What a client is shown.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// A leaf in place of this certificate of a server.
    InPlaceOf {
        /// The server's end-entity certificate.
        server: &'a CertificateDer<'static>,
        /// Who signs the leaf.
        by: SignedBy,
    },
    /// The gateway's own: the fixed certificate if there is one, else one issued for the name, or the
    /// address, asked for. A name that the fixed certificate does not bear is
    /// [`TlsFault::UnrecognizedName`].
    Own {
        /// The name that the client asked for (SNI).
        name: Option<&'a str>,
        /// Where it connected to.
        address: IpAddr,
    },
    /// For a refusal: issued for the name, or the address, if there is a local CA; else the fixed one,
    /// whatever the name.
    Refusal {
        /// The name that the client asked for (SNI).
        name: Option<&'a str>,
        /// Where it connected to.
        address: IpAddr,
    },
}

/// TLS with the client of one control connection.
#[derive(Debug, Clone)]
pub struct ClientSession {
    /// For the control connection.
    pub control: Arc<ServerConfig>,
    /// For its data connections.
    pub data: Arc<ServerConfig>,
    /// Where the leaf came from, if it is one.
    pub leaf: Option<Source>,
}

/// Nothing of the keys.
impl std::fmt::Debug for ClientSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientSide")
            .field("reuse", &self.reuse)
            .field("leaves", &self.leaves)
            .field("fixed", &self.fixed)
            .finish_non_exhaustive()
    }
}

impl ClientSide {
    /// Shows what `leaves` issues, or `fixed`; listeners may share either.
    ///
    /// # Errors
    /// The file of roots, why it cannot be used, and what to do; or that there is nothing to show.
    pub fn new(
        settings: &ClientSideSettings,
        leaves: Option<LeafCache>,
        fixed: Option<Arc<FixedCertificate>>,
    ) -> Result<Self, SettingsFault> {
        if leaves.is_none() && fixed.is_none() {
            return Err(MaterialFault::NothingToShow.into());
        }
        let cryptography =
            |error: &dyn std::fmt::Display| MaterialFault::Cryptography(error.to_string());
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| cryptography(&error))?;
        let builder = match &settings.client_roots {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let roots = material::authorities(file)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                let verifier = verifier.build().map_err(|error| cryptography(&error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut base = builder.with_cert_resolver(Arc::new(NothingYet));
        base.session_storage = Arc::new(NoServerSessionStorage {});
        base.send_tls13_tickets = 0;
        Ok(Self { base, reuse: settings.reuse, leaves, fixed })
    }

    /// Whether data connections have to resume: to be compared with the handshake's kind.
    pub fn reuse(&self) -> Reuse {
        self.reuse
    }

    /// What the handshake of a control connection needs, and those of its data connections. `now` is
    /// when a leaf is issued. Has to be called within a tokio runtime.
    ///
    /// # Errors
    /// Why nothing can be shown.
    pub async fn session(
        &self,
        shown: Shown<'_>,
        now: SystemTime,
    ) -> Result<ClientSession, Failure> {
        let (certified, leaf) = self.certified(shown, now).await?;
        let mut control = self.base.clone();
        control.cert_resolver = Arc::new(SingleCertAndKey::from(certified));
        control.alpn_protocols = vec![ALPN_CONTROL.to_vec()];
        let mut data = control.clone();
        data.alpn_protocols = vec![ALPN_DATA.to_vec(), ALPN_CONTROL.to_vec()];
        match self.reuse {
            Reuse::Prefer | Reuse::Require => {
                let sessions: Arc<dyn StoresServerSessions> = Arc::new(ClientSessions::default());
                control.session_storage = Arc::clone(&sessions);
                control.send_tls13_tickets = LASTING;
                data.session_storage = sessions;
                data.send_tls13_tickets =
                    if self.reuse == Reuse::Require { DATA_TICKETS } else { 0 };
            }
            Reuse::Off => {}
        }
        Ok(ClientSession { control: Arc::new(control), data: Arc::new(data), leaf })
    }

    async fn certified(
        &self,
        shown: Shown<'_>,
        now: SystemTime,
    ) -> Result<(Arc<CertifiedKey>, Option<Source>), Failure> {
        let issued = match (shown, &self.leaves, &self.fixed) {
            (Shown::InPlaceOf { .. }, None, _) => return Err(nothing("no local CA to issue it")),
            (Shown::InPlaceOf { server, by }, Some(leaves), _) => leaves.get(server, by, now).await,
            (Shown::Own { name, .. }, _, Some(fixed)) => {
                let certified = fixed.certified().await;
                if let Some(name) = name {
                    fixed::check_name(&certified, name)?;
                }
                return Ok((certified, None));
            }
            (Shown::Refusal { .. }, None, Some(fixed)) => {
                return Ok((fixed.certified().await, None));
            }
            (Shown::Own { name, address } | Shown::Refusal { name, address }, Some(leaves), _) => {
                leaves.get_own(&OwnName::new(name, address), now).await
            }
            (Shown::Own { .. } | Shown::Refusal { .. }, None, None) => {
                return Err(nothing("neither local CA nor fixed certificate"));
            }
        };
        let (leaf, source) = issued.map_err(|error| no_leaf(&error))?;
        Ok((leaf.certified, Some(source)))
    }
}

fn nothing(why: &str) -> Failure {
    Failure::new(
        TlsFault::Internal,
        format!("there is no certificate to show to the client: {why}"),
    )
}

fn no_leaf(error: &LeafError) -> Failure {
    let fault = match error {
        LeafError::TooLong
        | LeafError::Unreadable
        | LeafError::UnreadableNames
        | LeafError::NeverValid => TlsFault::BadCertificate,
        LeafError::CaExpired
        | LeafError::Cryptography(_)
        | LeafError::Random
        | LeafError::Abandoned => TlsFault::Internal,
    };
    Failure::new(fault, format!("there is no certificate to show to the client: {error}"))
}

/// Stands in a configuration that serves nobody as it is.
#[derive(Debug)]
struct NothingYet;

impl rustls::server::ResolvesServerCert for NothingYet {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

#[cfg(test)]
mod certificates {
    mod tests;
}
#[cfg(test)]
mod tests;
