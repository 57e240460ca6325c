//! Certificates and keys that the owner keeps in PEM files: the fixed certificate, the one shown to
//! servers, the roots that sign for clients or servers.
//!
//! Not here: the local CA, which is read more strictly (see [`super::ca::files`]).

use super::ca::fault::Fault;
use super::ca::files::{MOST_BYTES, OF_OTHERS, one_key, read};
use super::words;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroize;

/// The longest file of roots: several times what a system trusts, which is some 250 KB.
const MOST_ROOT_BYTES: usize = 4 * 1024 * 1024;

/// The most certificates of a chain: many times what CAs use.
const LONGEST_CHAIN: usize = 16;

/// Where to find the system's roots is told by these (OpenSSL's own).
const WHERE_ROOTS: &str = "install the package ca-certificates, or name a PEM file instead";

/// The cryptography of every handshake.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::LazyLock<Arc<CryptoProvider>> =
        std::sync::LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

/// Settings of TLS that cannot be used: which file, why, and what to do.
#[derive(Debug, Error)]
pub struct SettingsFault {
    /// The file, if the fault is in one.
    pub file: Option<PathBuf>,
    /// Why not; part of the text already.
    pub fault: MaterialFault,
}

impl fmt::Display for SettingsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: {}", file.display(), self.fault),
            None => self.fault.fmt(f),
        }
    }
}

impl From<MaterialFault> for SettingsFault {
    fn from(fault: MaterialFault) -> Self {
        Self { file: None, fault }
    }
}

/// Why a certificate, key or list of roots cannot be used.
#[derive(Debug, Error)]
pub enum MaterialFault {
    /// There is no such file.
    #[error("does not exist: name the right file")]
    Missing,
    /// Reading failed.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// A directory, a device.
    #[error("is not a file: name the PEM file itself")]
    NotAFile,
    /// Longer than any certificate, key or list of roots.
    #[error("is too long for what it should hold: name the right file")]
    TooLong,
    /// Others may read the key.
    #[error(
        "can be read by others than its owner (mode {mode:04o}): whoever reads it can pose as the \
         owner of the certificate. `chmod 600` it, or 640 where root owns it and gives it to the group \
         that ftpgate runs in, and have a new certificate made if others may have read it already"
    )]
    Exposed {
        /// Its permissions.
        mode: u32,
    },
    /// No certificate in a file of certificates.
    #[error("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----): convert it to PEM")]
    NoCertificate,
    /// A certificate that cannot be read.
    #[error(
        "holds a certificate that cannot be read (the {place}. in the file; {why}): take it out, or \
         give a valid X.509 version 3 certificate"
    )]
    BadCertificate {
        /// Which one, from 1 on.
        place: usize,
        /// What is wrong with it.
        why: String,
    },
    /// More than a handshake can carry in reason.
    #[error("holds more than {LONGEST_CHAIN} certificates: leave the chain of one certificate")]
    LongChain,
    /// About the key: encrypted, none, several.
    #[error("{0}")]
    Key(Fault),
    /// They are not a pair.
    #[error(
        "is not the key of the first certificate in {}: the end-entity certificate comes first \
         there, its issuer after it", chain.display()
    )]
    KeyMismatch {
        /// The file with the certificate.
        chain: PathBuf,
    },
    /// Who signs has to be a CA.
    #[error(
        "holds a certificate that is not that of a CA (subject {subject}): give the certificates of \
         the CAs that sign for clients, not the clients' own"
    )]
    NotCa {
        /// Its subject, escaped.
        subject: String,
    },
    /// Nothing to verify servers with.
    #[error("the system has no trusted root certificates ({why}): {WHERE_ROOTS}")]
    NoSystemRoots {
        /// What was looked for.
        why: String,
    },
    /// Not SHA-256 in hexadecimal.
    #[error(
        "`{0}` is not the SHA-256 fingerprint of a certificate: write 64 hexadecimal digits, with or \
         without colons (`openssl x509 -in FILE -noout -fingerprint -sha256`)"
    )]
    Fingerprint(String),
    /// No way to a certificate for clients.
    #[error("there is neither a local CA nor a fixed certificate to show to clients: give one")]
    NothingToShow,
    /// The cryptography failed.
    #[error("TLS cannot be set up: {0}")]
    Cryptography(String),
}

impl From<Fault> for MaterialFault {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Missing => Self::Missing,
            Fault::Unreadable(error) => Self::Unreadable(error),
            Fault::NotAFile => Self::NotAFile,
            Fault::TooLong => Self::TooLong,
            Fault::Exposed { mode } => Self::Exposed { mode },
            Fault::NoCertificate => Self::NoCertificate,
            other => Self::Key(other),
        }
    }
}

/// Puts the file's name to a fault.
pub(super) fn of<F: Into<MaterialFault>>(file: &Path) -> impl Fn(F) -> SettingsFault {
    move |fault| SettingsFault { file: Some(file.to_owned()), fault: fault.into() }
}

/// A certificate with its chain and its key, from two PEM files; the key file is its owner's alone.
///
/// # Errors
/// The file at fault, why, and what to do.
pub(super) fn certified(chain: &Path, key: &Path) -> Result<CertifiedKey, SettingsFault> {
    let certificates = certificates(chain, MOST_BYTES)?;
    if certificates.len() > LONGEST_CHAIN {
        return Err(of(chain)(MaterialFault::LongChain));
    }
    if let Some(end_entity) = certificates.first() {
        webpki::EndEntityCert::try_from(end_entity).map_err(|error| {
            of(chain)(MaterialFault::BadCertificate { place: 1, why: error.to_string() })
        })?;
    }
    let secret = read(key, OF_OTHERS, MOST_BYTES).and_then(|text| one_key(&text));
    let signing = signing(secret.map_err(of(key))?).map_err(of(key))?;
    let certified = CertifiedKey::new(certificates, signing);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(_) => Err(of(key)(MaterialFault::KeyMismatch { chain: chain.to_owned() })),
    }
}

/// When the end-entity certificate expires. The rest of a chain is of no account: servers carry
/// expired cross-signed roots along, and clients that know a newer one take no offence.
pub(super) fn not_after(certified: &CertifiedKey) -> Option<SystemTime> {
    let (_, x509) = X509Certificate::from_der(certified.cert.first()?).ok()?;
    Some(x509.validity().not_after.to_datetime().into())
}

/// What signs with this key; the copy is wiped.
fn signing(mut secret: PrivateKeyDer<'static>) -> Result<Arc<dyn rustls::sign::SigningKey>, Fault> {
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&secret);
    secret.zeroize();
    signing.map_err(|_| Fault::UnsupportedKey)
}

/// All certificates of a PEM file, of which there is at least one.
fn certificates(file: &Path, most: usize) -> Result<Vec<CertificateDer<'static>>, SettingsFault> {
    let text = read(file, 0, most).map_err(of(file))?;
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let place = found.len() + 1;
        found.push(certificate.map_err(|error| {
            of(file)(MaterialFault::BadCertificate { place, why: error.to_string() })
        })?);
    }
    if found.is_empty() {
        return Err(of(file)(MaterialFault::NoCertificate));
    }
    Ok(found)
}

/// Who is trusted to sign, and what is trusted as it is.
#[derive(Debug)]
pub(super) struct Roots {
    /// CAs.
    pub(super) anchors: Arc<RootCertStore>,
    /// SHA-256 of the certificates listed, those of CAs among them.
    pub(super) listed: HashSet<[u8; 32]>,
}

impl Roots {
    /// Nobody.
    pub(super) fn none() -> Self {
        Self { anchors: Arc::new(RootCertStore::empty()), listed: HashSet::new() }
    }

    /// What the system trusts.
    pub(super) fn system() -> Result<Self, SettingsFault> {
        let found = rustls_native_certs::load_native_certs();
        let mut anchors = RootCertStore::empty();
        // Some systems carry a root that cannot be parsed: the others count.
        let (added, _) = anchors.add_parsable_certificates(found.certs);
        if added == 0 {
            let why = match found.errors.first() {
                Some(error) => words::bounded(&error.to_string()),
                None => "none was found".to_owned(),
            };
            return Err(MaterialFault::NoSystemRoots { why }.into());
        }
        Ok(Self { anchors: Arc::new(anchors), listed: HashSet::new() })
    }

    /// What a PEM file lists. A certificate that is not a CA's signs nothing, and is trusted as a
    /// server's own.
    pub(super) fn listed_in(file: &Path) -> Result<Self, SettingsFault> {
        let mut anchors = RootCertStore::empty();
        let mut listed = HashSet::new();
        for (place, certificate) in certificates(file, MOST_ROOT_BYTES)?.into_iter().enumerate() {
            listed.insert(words::sha256(&certificate));
            if is_ca(&certificate, place + 1).map_err(of(file))? {
                add(&mut anchors, certificate, place + 1).map_err(of(file))?;
            }
        }
        Ok(Self { anchors: Arc::new(anchors), listed })
    }
}

/// The CAs in a PEM file, which has to hold nothing else.
pub(super) fn authorities(file: &Path) -> Result<Arc<RootCertStore>, SettingsFault> {
    let mut anchors = RootCertStore::empty();
    for (place, certificate) in certificates(file, MOST_ROOT_BYTES)?.into_iter().enumerate() {
        if !is_ca(&certificate, place + 1).map_err(of(file))? {
            let subject = words::subject(&certificate);
            return Err(of(file)(MaterialFault::NotCa { subject }));
        }
        add(&mut anchors, certificate, place + 1).map_err(of(file))?;
    }
    Ok(Arc::new(anchors))
}

fn add(
    anchors: &mut RootCertStore,
    certificate: CertificateDer<'static>,
    place: usize,
) -> Result<(), MaterialFault> {
    let bad =
        |error: rustls::Error| MaterialFault::BadCertificate { place, why: error.to_string() };
    anchors.add(certificate).map_err(bad)
}

/// Whether a certificate may sign others. An anchor is not asked that again, so it is asked here.
fn is_ca(certificate: &CertificateDer<'_>, place: usize) -> Result<bool, MaterialFault> {
    let bad = |why: &str| MaterialFault::BadCertificate { place, why: why.to_owned() };
    let (_, x509) =
        X509Certificate::from_der(certificate).map_err(|_| bad("it is not X.509 in DER"))?;
    let constraints =
        x509.basic_constraints().map_err(|_| bad("its basic constraints are not readable"))?;
    let usage = x509.key_usage().map_err(|_| bad("its key usage is not readable"))?;
    let may_sign = usage.is_none_or(|usage| usage.value.key_cert_sign());
    Ok(constraints.is_some_and(|constraints| constraints.value.ca) && may_sign)
}

#[cfg(test)]
mod tests;
