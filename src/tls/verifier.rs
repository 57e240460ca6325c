//! Whether a server is who it should be. One verifier for each control connection, which its data
//! connections share.
//!
//! In this order, for the control connection:
//!
//! 1. `off`: anything goes.
//! 2. A certificate that is pinned (listed in the file of roots, or by its fingerprint) is trusted for
//!    any name and without a chain, CA:TRUE or not, as long as it is valid by its dates: the leaf that
//!    stands for it could not be valid longer either.
//! 3. A chain to a root, made for TLS servers, and all of it valid now.
//! 4. `full`: the name, or the address, that was asked for.
//!
//! In any case the server has to hold the key: the signature of the handshake is always checked.
//! Revocation is not looked up.

use super::failure::Failure;
use super::material::{Roots, provider};
use super::store::ServerSessions;
use super::words;
use crate::report::TlsFault;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What of a server's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// The chain, the dates, and the name or address.
    #[default]
    Full,
    /// The chain and the dates: any name will do.
    Chain,
    /// Nothing, except that the server holds the certificate's key.
    Off,
}

/// What happens to a server whose certificate does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Untrusted {
    /// The handshake with it ends.
    #[default]
    Refuse,
    /// The handshake goes on, and the client is shown a certificate that does not verify either.
    Mirror,
}

/// What is trusted; the same for many sessions.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) roots: Roots,
    /// SHA-256 of end-entity certificates.
    pub(super) fingerprints: Vec<[u8; 32]>,
}

impl Trust {
    fn pins(&self, certificate: &CertificateDer<'_>) -> bool {
        let sum = words::sha256(certificate);
        self.roots.listed.contains(&sum) || self.fingerprints.contains(&sum)
    }
}

/// Verifies the server of one control connection, and then that its data connections lead to it too.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Arc<Trust>,
    verify: Verify,
    untrusted: Untrusted,
    sessions: Arc<ServerSessions>,
    /// The control connection's certificate, whether it is trusted or not.
    shown: OnceLock<CertificateDer<'static>>,
    /// Why it is not trusted.
    distrust: OnceLock<Failure>,
    /// The control connection's certificate, once that is established.
    established: OnceLock<CertificateDer<'static>>,
}

impl Verifier {
    pub(super) fn new(
        trust: Arc<Trust>,
        verify: Verify,
        untrusted: Untrusted,
        sessions: Arc<ServerSessions>,
    ) -> Self {
        let (shown, distrust, established) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { trust, verify, untrusted, sessions, shown, distrust, established }
    }

    /// The certificate that the server has shown, and whether anything of it is checked.
    pub(super) fn shown(&self) -> Option<(&CertificateDer<'static>, bool)> {
        self.shown.get().map(|certificate| (certificate, self.verify != Verify::Off))
    }

    /// Why the certificate did not verify.
    pub(super) fn distrust(&self) -> Option<&Failure> {
        self.distrust.get()
    }

    /// From now on no other certificate is accepted.
    pub(super) fn establish(&self, certificate: &CertificateDer<'_>) {
        // A second call has nothing new to say.
        let _ = self.established.set(certificate.clone().into_owned());
    }

    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.verify == Verify::Off {
            return Ok(());
        }
        if self.trust.pins(end_entity) {
            return check_dates(end_entity, now);
        }
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.trust.roots.anchors,
            intermediates,
            now,
            provider().signature_verification_algorithms.all,
        )?;
        match self.verify {
            Verify::Full => verify_server_name(&parsed, name),
            Verify::Chain | Verify::Off => Ok(()),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(control) = self.established.get() {
            // Neither can be chosen anew: a data connection leads to whom the control connection does.
            return match control == end_entity {
                true => Ok(ServerCertVerified::assertion()),
                false => Err(CertificateError::ApplicationVerificationFailure.into()),
            };
        }
        // A second one has no other certificate to show.
        let _ = self.shown.set(end_entity.clone().into_owned());
        let chain = intermediates.iter().map(|certificate| certificate.len()).sum::<usize>();
        self.sessions.note_chain(end_entity.len() + chain);
        if let Err(error) = self.check(end_entity, intermediates, name, now) {
            let failure = distrust(&error, end_entity, name);
            let _ = self.distrust.set(failure);
            if self.untrusted == Untrusted::Refuse {
                return Err(error);
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // ECDSA names no curve there (RFC 8422 §5.1.1), so several algorithms may fit.
        verify_signature(message, certificate, signed, usize::MAX)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if is_of_tls12_only(signed.scheme) {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        // The first is the one with the scheme's own curve (RFC 8446 §4.2.3).
        verify_signature(message, certificate, signed, 1)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// RSA with PKCS #1, which TLS 1.3 knows for certificates alone (RFC 8446 §4.2.3).
fn is_of_tls12_only(scheme: SignatureScheme) -> bool {
    matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA1
            | SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
            | SignatureScheme::ECDSA_SHA1_Legacy
    )
}

/// Whether the holder of the certificate's key has signed, with one of the first `most` algorithms of
/// the scheme. The key alone is read from the certificate:
/// one that is pinned, or not verified at all, may be of a form that no chain could have (version 1, an
/// unknown critical extension).
fn verify_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    most: usize,
) -> Result<HandshakeSignatureValid, Error> {
    let supported = provider().signature_verification_algorithms;
    let (_, algorithms) = supported
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == signed.scheme)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    let (_, x509) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let key = SubjectPublicKeyInfoDer::from(x509.public_key().raw);
    let key =
        webpki::RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
    let signed_by_key = algorithms
        .iter()
        .take(most)
        .any(|algorithm| key.verify_signature(*algorithm, message, signed.signature()).is_ok());
    match signed_by_key {
        true => Ok(HandshakeSignatureValid::assertion()),
        false => Err(CertificateError::BadSignature.into()),
    }
}

fn check_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, x509) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
    let validity = x509.validity();
    if now < SystemTime::from(validity.not_before.to_datetime()) {
        return Err(CertificateError::NotValidYet.into());
    }
    if SystemTime::from(validity.not_after.to_datetime()) < now {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

/// What is wrong with a certificate, in words.
fn distrust(error: &Error, certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Failure {
    let asked = words::bounded(&name.to_str());
    let (fault, why) = match error {
        Error::InvalidCertificate(error) => match error {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                (TlsFault::WrongName, format!("it is not for {asked}"))
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                (TlsFault::Expired, "it, or a certificate of its chain, has expired".to_owned())
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
                TlsFault::Expired,
                "it, or a certificate of its chain, is not valid yet".to_owned(),
            ),
            // Whatever else: made by `openssl req -x509` it is a CA's, and no end entity's.
            _ if words::is_self_issued(certificate) => (
                TlsFault::UntrustedIssuer,
                "it is self-signed, and not pinned (tls.server.roots, tls.server.fingerprints)"
                    .to_owned(),
            ),
            CertificateError::UnknownIssuer => (
                TlsFault::UntrustedIssuer,
                "it leads to no root that is trusted (tls.server.roots; tls.server.fingerprints \
                 pins one certificate)"
                    .to_owned(),
            ),
            other => (TlsFault::BadCertificate, words::bounded(&other.to_string())),
        },
        other => (TlsFault::BadCertificate, words::bounded(&other.to_string())),
    };
    let description = words::description(certificate);
    let sum = words::fingerprint(certificate);
    let detail = format!(
        "the server's certificate does not verify: {why}. Asked for was {asked}; the certificate: \
         {description}; SHA-256 {sum}"
    );
    Failure::new(fault, detail)
}

#[cfg(test)]
mod tests;
