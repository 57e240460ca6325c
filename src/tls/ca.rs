//! The local CA: a certificate and its key, with which the gateway signs the leaves that it shows to
//! clients in a server's place.
//!
//! | module | what it holds |
//! |---|---|
//! | [`files`] | `ca.crt` and `ca.key`: written once, never over anything; read with suspicion |
//! | [`fault`] | what is wrong with a CA, and what to do about it |
//! | [`description`] | what the owner is shown |
//!
//! The clock is an argument. Not here: what is signed (see [`super::leaf`]).

pub mod description;
pub mod fault;
pub mod files;

use super::name::rewritable;
use fault::{Fault, Half};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate, X509Version};
use zeroize::{Zeroize, Zeroizing};

/// How far certificates are dated back, for clients whose clocks are slow.
pub const BACKDATING: Duration = Duration::from_secs(60 * 60);

/// The most characters of a common name (RFC 5280 appendix A.1, `ub-common-name`).
pub const LONGEST_NAME: usize = 64;

/// One day of 24 hours.
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a new CA shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its common name: 1 to [`LONGEST_NAME`] characters, none of them a control character.
    pub name: String,
    /// How many days it is valid from now on.
    pub days: u32,
}

/// A serial number: 16 random bytes. Those of one issuer have to differ (RFC 5280 §4.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serial(pub [u8; 16]);

impl Serial {
    /// One from the random numbers of the operating system.
    ///
    /// # Errors
    /// [`Fault::Random`] if it has none to give.
    pub fn random() -> Result<Self, Fault> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(Fault::Random)?;
        Ok(Self(bytes))
    }

    /// Positive and without a zero in front, whatever the bytes are.
    pub(super) fn to_number(self) -> SerialNumber {
        let mut bytes = self.0;
        bytes[0] = bytes[0] & 0x7f | 0x40;
        SerialNumber::from_slice(&bytes)
    }
}

/// A new CA as text (PEM), which nobody has yet.
pub struct Created {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS #8. Wiped when dropped.
    pub key: Zeroizing<String>,
}

/// Makes a CA: an ECDSA P-256 key and a certificate that signs nothing but leaves for TLS servers
/// (`pathLenConstraint` 0, extended key usage `serverAuth`).
///
/// # Errors
/// [`Fault::Name`], [`Fault::Days`], or what the cryptography says.
pub fn create(plan: &Plan, now: SystemTime, serial: Serial) -> Result<Created, Fault> {
    let (certificate, mut key) = make(plan, now, serial)?;
    let created =
        Created { certificate: certificate.pem(), key: Zeroizing::new(key.serialize_pem()) };
    key.zeroize();
    Ok(created)
}

fn make(
    plan: &Plan,
    now: SystemTime,
    serial: Serial,
) -> Result<(rcgen::Certificate, KeyPair), Fault> {
    let length = plan.name.chars().count();
    if !(1..=LONGEST_NAME).contains(&length) || plan.name.chars().any(char::is_control) {
        return Err(Fault::Name);
    }
    let not_after = OffsetDateTime::from(now)
        .checked_add(time::Duration::days(plan.days.into()))
        .filter(|end| plan.days > 0 && end.year() <= 9999)
        .ok_or(Fault::Days)?;
    let mut params = CertificateParams::default();
    params.not_before = OffsetDateTime::from(now) - BACKDATING;
    params.not_after = not_after;
    params.serial_number = Some(serial.to_number());
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "ftpgate");
    params.distinguished_name.push(DnType::CommonName, plan.name.as_str());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Fault::Cryptography)?;
    let certificate = params.self_signed(&key).map_err(Fault::Cryptography)?;
    Ok((certificate, key))
}

/// A CA that can sign. Its key is never shown, not even by `Debug`.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl Authority {
    /// A CA from its parts, if it can be used at `now`.
    ///
    /// # Errors
    /// Which half is at fault, and why.
    pub fn new(
        certificate: CertificateDer<'static>,
        key: &PrivateKeyDer<'_>,
        now: SystemTime,
    ) -> Result<Self, (Half, Fault)> {
        let key = KeyPair::try_from(key).map_err(|_| (Half::Key, Fault::UnsupportedKey))?;
        Self::assemble(certificate, key, now)
    }

    /// A CA that exists in this process only, and that no client trusts.
    ///
    /// # Errors
    /// As [`create`].
    pub fn in_memory(plan: &Plan, now: SystemTime, serial: Serial) -> Result<Self, Fault> {
        let (certificate, key) = make(plan, now, serial)?;
        Self::assemble(certificate.into(), key, now).map_err(|(_, fault)| fault)
    }

    fn assemble(
        certificate: CertificateDer<'static>,
        mut key: KeyPair,
        now: SystemTime,
    ) -> Result<Self, (Half, Fault)> {
        // What signs is inside AWS-LC, which wipes its memory itself. This copy serves nothing more.
        key.zeroize();
        let (not_before, not_after) =
            check(&certificate, &key, now.into()).map_err(|fault| match fault {
                Fault::KeyMismatch => (Half::Key, fault),
                _ => (Half::Certificate, fault),
            })?;
        let issuer = issuer(&certificate, key).ok_or((Half::Certificate, Fault::NotX509))?;
        let authority = Self { certificate, issuer, not_before, not_after };
        if !authority.is_named_by_leaves() {
            return Err((Half::Certificate, Fault::UnusualSubject));
        }
        Ok(authority)
    }

    /// True if what it signs names it byte for byte, without which no client finds the issuer.
    fn is_named_by_leaves(&self) -> bool {
        let trial = CertificateParams::default();
        let Ok(leaf) = trial.signed_by(self.issuer.key(), &self.issuer) else { return false };
        let Ok((_, leaf)) = X509Certificate::from_der(leaf.der()) else { return false };
        let Ok((_, own)) = X509Certificate::from_der(&self.certificate) else { return false };
        leaf.issuer().as_raw() == own.subject().as_raw()
    }

    /// The certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The first second in which it is valid.
    pub fn not_before(&self) -> SystemTime {
        self.not_before.into()
    }

    /// The last second in which it is valid.
    pub fn not_after(&self) -> SystemTime {
        self.not_after.into()
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }
}

/// What signs under the name and the key identifier of `certificate`.
fn issuer(certificate: &CertificateDer<'_>, key: KeyPair) -> Option<Issuer<'static, KeyPair>> {
    let (_, x509) = X509Certificate::from_der(certificate).ok()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rewritable(x509.subject());
    let identifier =
        x509.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
            _ => None,
        });
    if let Some(identifier) = identifier {
        params.key_identifier_method = KeyIdMethod::PreSpecified(identifier);
    }
    Some(Issuer::new(params, key))
}

/// The period of validity, if this certificate may sign leaves for TLS servers at `now`.
fn check(
    certificate: &CertificateDer<'_>,
    key: &KeyPair,
    now: OffsetDateTime,
) -> Result<(OffsetDateTime, OffsetDateTime), Fault> {
    let (rest, x509) = X509Certificate::from_der(certificate).map_err(|_| Fault::NotX509)?;
    if !rest.is_empty() || x509.version() != X509Version::V3 {
        return Err(Fault::NotX509);
    }
    if *x509.public_key().subject_public_key.data != *key.der_bytes() {
        return Err(Fault::KeyMismatch);
    }
    let constraints = x509.basic_constraints().map_err(|_| Fault::NotX509)?;
    if !constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err(Fault::NotCa);
    }
    let usage = x509.key_usage().map_err(|_| Fault::NotX509)?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(Fault::MayNotSign);
    }
    let extended = x509.extended_key_usage().map_err(|_| Fault::NotX509)?;
    if extended.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
        return Err(Fault::NotForServers);
    }
    if x509.subject().iter_attributes().next().is_none() {
        return Err(Fault::UnusualSubject);
    }
    let validity = x509.validity();
    let (from, until) = (validity.not_before.to_datetime(), validity.not_after.to_datetime());
    if now < from {
        return Err(Fault::NotYetValid { since: from.date() });
    }
    if until < now {
        return Err(Fault::Expired { on: until.date() });
    }
    Ok((from, until))
}

#[cfg(test)]
pub(super) mod tests;
