//! What the configuration says of TLS, in the words of those who do it.

use crate::config::{self, Config};
use crate::relay::Termination;
use crate::session::{ServerCcc, TlsMode, TlsStart};
use crate::telemetry::{CertificateRole, Expiry};
use crate::tls::ca::Authority;
use crate::tls::client_side::{ClientSide, ClientSideSettings, Reuse};
use crate::tls::fixed::FixedCertificate;
use crate::tls::leaf::LeafFactory;
use crate::tls::leaf_cache::LeafCache;
use crate::tls::server_side::{
    CertificateFiles, ServerRoots, ServerSide, ServerSideSettings, Untrusted, Verify,
};
use anyhow::Context;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// Certificates and keys that the listeners share, read once for each configuration.
pub(super) struct Certificates {
    leaves: Option<LeafCache>,
    /// When the local CA expires, if it is in use.
    authority_not_after: Option<SystemTime>,
    fixed: Option<Arc<FixedCertificate>>,
    /// When the certificate shown to servers expires, once a listener has read it.
    client_not_after: OnceLock<SystemTime>,
}

impl Certificates {
    /// Reads what the listeners of `config` show their clients.
    ///
    /// # Errors
    /// The key, the file, why it cannot be used, and what to do.
    pub(super) fn load(config: &Config) -> anyhow::Result<Self> {
        let modes = || config.listeners.iter().map(|listener| listener.tls.mode);
        let fixed = match &config.tls.certificate {
            Some(written) if modes().any(config::TlsMode::serves_clients) => {
                let opened = FixedCertificate::open(&files(written)).context("tls.certificate")?;
                Some(Arc::new(opened))
            }
            Some(_) | None => None,
        };
        let issues = modes().any(|mode| match mode {
            config::TlsMode::Intercept => true,
            config::TlsMode::Offload => fixed.is_none(),
            config::TlsMode::Passthrough | config::TlsMode::Originate | config::TlsMode::Refuse => {
                false
            }
        });
        let authority = if issues { Some(authority(config)?) } else { None };
        let authority_not_after = authority.as_ref().map(Authority::not_after);
        let leaves = authority.map(leaves).transpose()?;
        Ok(Self { leaves, authority_not_after, fixed, client_not_after: OnceLock::new() })
    }

    /// When the local CA ends, where leaves are issued.
    pub(super) fn ca_expires(&self) -> Option<SystemTime> {
        self.authority_not_after
    }

    /// What ends the TLS of one listener, if its mode has any end here.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(super) fn termination(
        &self,
        config: &Config,
        listener: &config::Listener,
    ) -> anyhow::Result<Option<Arc<Termination>>> {
        let tls = &listener.tls;
        if !tls.mode.terminates() {
            return Ok(None);
        }
        let client = if tls.mode.serves_clients() {
            Some(self.client_side(config, tls).context("tls")?)
        } else {
            None
        };
        let server = if tls.mode.dials_servers() {
            let side = ServerSide::new(&server_side(config, tls)).context("tls.server")?;
            if let Some(not_after) = side.certificate_not_after() {
                self.client_not_after.get_or_init(|| not_after);
            }
            Some(side)
        } else {
            None
        };
        let wanting = match config.tls.server.client_certificates {
            config::UnmetCertificateRequest::Refuse => None,
            config::UnmetCertificateRequest::Passthrough => {
                // Only what could have been carried from the start.
                let alike = tls.client_start == tls.server_start;
                (tls.mode == config::TlsMode::Intercept && alike).then(Default::default)
            }
        };
        Ok(Some(Arc::new(Termination { client, server, wanting })))
    }

    /// The certificates in use and when they expire, after every listener has its
    /// [`termination`](Self::termination).
    pub(super) fn expiries(&self) -> Vec<(CertificateRole, Expiry)> {
        let known = |role, at: Option<SystemTime>| {
            at.map(|at| (role, Arc::new(move || Some(at)) as Expiry))
        };
        let fixed = self
            .fixed
            .clone()
            .map(|fixed| (CertificateRole::Fixed, Arc::new(move || fixed.not_after()) as Expiry));
        let authority = known(CertificateRole::Authority, self.authority_not_after);
        let client = known(CertificateRole::Client, self.client_not_after.get().copied());
        [authority, fixed, client].into_iter().flatten().collect()
    }

    fn client_side(
        &self,
        config: &Config,
        tls: &config::ListenerTls,
    ) -> anyhow::Result<ClientSide> {
        let settings = ClientSideSettings {
            reuse: match tls.client_reuse {
                config::Reuse::Prefer => Reuse::Prefer,
                config::Reuse::Require => Reuse::Require,
                config::Reuse::Off => Reuse::Off,
            },
            client_roots: match tls.client_certificates {
                config::ClientCertificates::None => None,
                config::ClientCertificates::Require => config.tls.client_roots.clone(),
            },
        };
        let fixed = match tls.mode {
            config::TlsMode::Offload => self.fixed.clone(),
            _ => None,
        };
        Ok(ClientSide::new(&settings, self.leaves.clone(), fixed)?)
    }
}

fn authority(config: &Config) -> anyhow::Result<Authority> {
    let ca = &config.tls.ca;
    Authority::load(&ca.certificate, &ca.key, SystemTime::now()).context("tls.ca")
}

fn leaves(authority: Authority) -> anyhow::Result<LeafCache> {
    let factory = LeafFactory::new(authority, SystemTime::now()).context("tls.ca")?;
    Ok(LeafCache::new(factory))
}

fn server_side(config: &Config, tls: &config::ListenerTls) -> ServerSideSettings {
    let server = &config.tls.server;
    ServerSideSettings {
        roots: match &server.roots {
            config::Roots::System => ServerRoots::System,
            config::Roots::File(file) => ServerRoots::File(file.clone()),
        },
        verify: match tls.verify.unwrap_or(server.verify) {
            config::Verify::Full => Verify::Full,
            config::Verify::Chain => Verify::Chain,
            config::Verify::Off => Verify::Off,
        },
        fingerprints: server.fingerprints.iter().map(hex).collect(),
        untrusted: match server.untrusted {
            config::Untrusted::Refuse => Untrusted::Refuse,
            config::Untrusted::Mirror => Untrusted::Mirror,
        },
        certificate: server.certificate.as_ref().map(files),
    }
}

fn files(written: &config::CertificateFiles) -> CertificateFiles {
    CertificateFiles { chain: written.chain.clone(), key: written.key.clone() }
}

pub(super) fn mode(mode: config::TlsMode) -> TlsMode {
    match mode {
        config::TlsMode::Passthrough => TlsMode::Passthrough,
        config::TlsMode::Refuse => TlsMode::Refuse,
        config::TlsMode::Intercept => TlsMode::Intercept,
        config::TlsMode::Offload => TlsMode::Offload,
        config::TlsMode::Originate => TlsMode::Originate,
    }
}

pub(super) fn start(start: config::TlsStart) -> TlsStart {
    match start {
        config::TlsStart::Explicit => TlsStart::Explicit,
        config::TlsStart::Implicit => TlsStart::Implicit,
        config::TlsStart::ImplicitAfterGreeting => TlsStart::ImplicitAfterGreeting,
    }
}

pub(super) fn server_ccc(ccc: config::ServerCcc) -> ServerCcc {
    match ccc {
        config::ServerCcc::Follow => ServerCcc::Follow,
        config::ServerCcc::Never => ServerCcc::Never,
        config::ServerCcc::Always => ServerCcc::Always,
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
