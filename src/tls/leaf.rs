//! The leaf: the certificate that a client sees in a server's place, signed here.
//!
//! It mirrors the server's subject and names, so that the client checks what it would have checked,
//! and lives for a few days only. The server's certificate is a stranger's: whatever is in it, the
//! answer is a leaf of bounded size or an error.
//!
//! Not here: whether the server's certificate verifies, and what to do if it does not (policy).

pub mod own_name;

use super::ca::fault::Fault;
use super::ca::{Authority, BACKDATING, DAY, Plan, Serial};
use super::name::rewritable;
use own_name::OwnName;
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroize;

/// How long a leaf is valid, if neither the server's certificate nor the CA ends before.
pub const LIFE: Duration = Duration::from_secs(7 * DAY.as_secs());

/// The longest certificate of a server that is read; a TLS handshake message of most
/// implementations, with the whole chain in it, is not longer.
pub const LONGEST_CERTIFICATE: usize = 64 * 1024;

/// The most names that are mirrored; public CAs sign 100 to 250.
pub const MOST_NAMES: usize = 512;

/// The most bytes of mirrored names together: 1024 cached leaves then take some 20 MB at the worst.
pub const MOST_NAME_BYTES: usize = 16 * 1024;

/// The longest DNS name (RFC 1035 §2.3.4, without length octets and root).
const LONGEST_DNS_NAME: usize = 253;

/// What the untrusted issuer is called: a client that shows the issuer shows the reason.
const UNTRUSTED: &str = "ftpgate: the server's certificate did not verify";

/// Longer than a process runs.
const UNTRUSTED_DAYS: u32 = 3650;

/// Who signs a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignedBy {
    /// The local CA, which clients trust: the server's own certificate did verify.
    LocalCa,
    /// An issuer that nobody trusts: it did not, and the client shall see a failure as it would have.
    Untrusted,
}

/// Why there is no leaf.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LeafError {
    /// Not read at all.
    #[error("the server's certificate is longer than {LONGEST_CERTIFICATE} bytes")]
    TooLong,
    /// Not X.509, or not as X.509 should be.
    #[error("the server's certificate cannot be read")]
    Unreadable,
    /// Its names are not as they should be.
    #[error("the names in the server's certificate cannot be read")]
    UnreadableNames,
    /// It ends before it begins.
    #[error("the server's certificate is valid at no time")]
    NeverValid,
    /// The CA cannot sign for that time.
    #[error("the local CA has expired, or does before the server's certificate is valid")]
    CaExpired,
    /// The cryptography failed.
    #[error("the leaf cannot be signed: {0}")]
    Cryptography(String),
    /// The operating system gave no random numbers.
    #[error("no random numbers for a serial number")]
    Random,
    /// The task that was to issue it has died.
    #[error("issuing the leaf was given up")]
    Abandoned,
}

/// A leaf with its chain and key, ready for a TLS server.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// The leaf, the CA's certificate, and what signs handshakes.
    pub certified: Arc<CertifiedKey>,
    /// When it was issued.
    pub issued: SystemTime,
    /// The last second in which it is valid.
    pub not_after: SystemTime,
}

/// Issues leaves. One P-256 key serves all leaves of the process: making one for each takes more
/// time than signing, and protects nothing, since all would lie in the same memory.
pub struct LeafFactory {
    local: Authority,
    untrusted: Authority,
    key: KeyPair,
    signing: Arc<dyn SigningKey>,
}

impl std::fmt::Debug for LeafFactory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeafFactory").field("local", &self.local).finish_non_exhaustive()
    }
}

impl LeafFactory {
    /// Issues in the name of `local`. Makes the leaf key and the untrusted issuer, which are never
    /// written anywhere.
    ///
    /// # Errors
    /// If the cryptography or the random numbers fail.
    pub fn new(local: Authority, now: SystemTime) -> Result<Self, Fault> {
        let plan = Plan { name: UNTRUSTED.to_owned(), days: UNTRUSTED_DAYS };
        let untrusted = Authority::in_memory(&plan, now, Serial::random()?)?;
        let mut key =
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Fault::Cryptography)?;
        let mut der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = any_supported_type(&der);
        der.zeroize();
        key.zeroize();
        let signing = signing.map_err(|_| Fault::UnsupportedKey)?;
        Ok(Self { local, untrusted, key, signing })
    }

    /// A leaf in place of `server`, the end-entity certificate (DER) of a server.
    ///
    /// A signature, and work that grows with the names: not for an async thread.
    ///
    /// # Errors
    /// Why there is none; nothing else than this server's sessions are concerned.
    pub fn issue(
        &self,
        server: &CertificateDer<'_>,
        by: SignedBy,
        now: SystemTime,
    ) -> Result<Leaf, LeafError> {
        self.issue_numbered(server, by, now, Serial::random().map_err(|_| LeafError::Random)?)
    }

    /// As [`Self::issue`], with a serial number of the caller's.
    ///
    /// # Errors
    /// As [`Self::issue`].
    pub fn issue_numbered(
        &self,
        server: &CertificateDer<'_>,
        by: SignedBy,
        now: SystemTime,
        serial: Serial,
    ) -> Result<Leaf, LeafError> {
        let authority = match by {
            SignedBy::LocalCa => &self.local,
            SignedBy::Untrusted => &self.untrusted,
        };
        self.sign(mirror(server)?, authority, now, serial)
    }

    /// A leaf of the gateway's own, signed by the local CA. As [`Self::issue`], not for an async thread.
    ///
    /// # Errors
    /// If the CA has expired, or the cryptography or the random numbers fail.
    pub fn issue_own(&self, name: &OwnName, now: SystemTime) -> Result<Leaf, LeafError> {
        let own = Mirrored {
            subject: name.subject(),
            names: name.alternative().into_iter().collect(),
            validity: (self.local.not_before().into(), self.local.not_after().into()),
        };
        let serial = Serial::random().map_err(|_| LeafError::Random)?;
        self.sign(own, &self.local, now, serial)
    }

    fn sign(
        &self,
        mirrored: Mirrored,
        authority: &Authority,
        now: SystemTime,
        serial: Serial,
    ) -> Result<Leaf, LeafError> {
        let (not_before, not_after) =
            window(mirrored.validity, authority.not_after().into(), now.into())?;
        let mut params = CertificateParams::default();
        params.distinguished_name = mirrored.subject;
        params.subject_alt_names = mirrored.names;
        params.not_before = not_before;
        params.not_after = not_after;
        params.serial_number = Some(serial.to_number());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params
            .signed_by(&self.key, authority.issuer())
            .map_err(|error| LeafError::Cryptography(error.to_string()))?;
        let chain = vec![leaf.into(), authority.certificate().clone()];
        Ok(Leaf {
            certified: Arc::new(CertifiedKey::new(chain, Arc::clone(&self.signing))),
            issued: now,
            not_after: not_after.into(),
        })
    }
}

/// What a leaf has from the server's certificate.
struct Mirrored {
    subject: DistinguishedName,
    names: Vec<SanType>,
    /// First and last second.
    validity: (OffsetDateTime, OffsetDateTime),
}

fn mirror(server: &CertificateDer<'_>) -> Result<Mirrored, LeafError> {
    if server.len() > LONGEST_CERTIFICATE {
        return Err(LeafError::TooLong);
    }
    let (rest, x509) = X509Certificate::from_der(server).map_err(|_| LeafError::Unreadable)?;
    if !rest.is_empty() {
        return Err(LeafError::Unreadable);
    }
    let alternative = x509.subject_alternative_name().map_err(|_| LeafError::UnreadableNames)?;
    let general = alternative.map_or(&[][..], |names| &names.value.general_names);
    let validity = x509.validity();
    Ok(Mirrored {
        subject: rewritable(x509.subject()),
        names: names(general),
        validity: (validity.not_before.to_datetime(), validity.not_after.to_datetime()),
    })
}

/// The names that clients look for: DNS names and addresses, as many as there is room for. A client
/// that looks for one that was left out refuses the leaf.
fn names(general: &[GeneralName<'_>]) -> Vec<SanType> {
    let mut room = MOST_NAME_BYTES;
    let mut names = Vec::new();
    for name in general {
        let (name, length) = match name {
            GeneralName::DNSName(name) if is_dns_name(name) => {
                let Ok(text) = Ia5String::try_from(*name) else { continue };
                (SanType::DnsName(text), name.len())
            }
            GeneralName::IPAddress(bytes) => {
                let address = match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
                    (Ok(v4), _) => v4.into(),
                    (_, Ok(v6)) => v6.into(),
                    _ => continue,
                };
                (SanType::IpAddress(address), bytes.len())
            }
            // E-mail addresses, URIs and the like name no FTP server.
            _ => continue,
        };
        let Some(left) = room.checked_sub(length) else { break };
        room = left;
        names.push(name);
        if names.len() == MOST_NAMES {
            break;
        }
    }
    names
}

/// A name that some client may look for, with a wildcard perhaps. What has other characters (a zero
/// byte, a blank) matches nothing, and is not passed on under our signature.
fn is_dns_name(name: &str) -> bool {
    (1..=LONGEST_DNS_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte))
}

/// First and last second of a leaf: around `now` for [`LIFE`], never outside the validity of the
/// server's certificate, never after the CA's end. If the server's certificate is not valid at `now`,
/// neither is the leaf, and the client sees why.
fn window(
    server: (OffsetDateTime, OffsetDateTime),
    ca_end: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<(OffsetDateTime, OffsetDateTime), LeafError> {
    let (begin, end) = server;
    if end < begin {
        return Err(LeafError::NeverValid);
    }
    let slow_clock = now - BACKDATING;
    let from = if (begin..=end).contains(&slow_clock) { slow_clock } else { begin };
    let life = now.max(from).saturating_add(time::Duration::seconds(LIFE.as_secs().cast_signed()));
    let until = end.min(life).min(ca_end);
    if ca_end < now || until < from {
        return Err(LeafError::CaExpired);
    }
    Ok((from, until))
}

#[cfg(test)]
pub(super) mod tests;
