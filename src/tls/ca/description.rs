//! What the owner of a CA is shown. Nothing of the key but its kind.

use super::{Authority, DAY};
use aws_lc_rs::digest;
use std::time::SystemTime;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// A CA, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its subject, as `O=…, CN=…`.
    pub subject: String,
    /// Who signed it; `None` if it did itself.
    pub issuer: Option<String>,
    /// SHA-256 of the certificate, in the form that browsers and `openssl` show.
    pub fingerprint: String,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// The period of validity, with the days that are left.
    pub validity: String,
    /// The kind of its key.
    pub key: String,
    /// What it may sign.
    pub constraints: String,
}

/// `AB:CD:…` of SHA-256, the form in which people compare certificates.
pub fn fingerprint(certificate: &[u8]) -> String {
    colons(digest::digest(&digest::SHA256, certificate).as_ref())
}

fn colons(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// A text from a certificate, safe to print on a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn moment(time: OffsetDateTime) -> String {
    format!("{} {:02}:{:02} UTC", time.date(), time.hour(), time.minute())
}

impl Authority {
    /// What is shown of it at `now`.
    ///
    /// `None` only if the certificate, which was read once already, cannot be read again.
    pub fn describe(&self, now: SystemTime) -> Option<Description> {
        let (_, x509) = X509Certificate::from_der(&self.certificate).ok()?;
        let left = self.not_after().duration_since(now).unwrap_or_default();
        let own = x509.issuer().as_raw() == x509.subject().as_raw();
        Some(Description {
            subject: printable(&x509.subject().to_string()),
            issuer: (!own).then(|| printable(&x509.issuer().to_string())),
            fingerprint: fingerprint(&self.certificate),
            serial: colons(x509.raw_serial()),
            validity: format!(
                "{} to {} ({} days left)",
                moment(self.not_before),
                moment(self.not_after),
                left.as_secs() / DAY.as_secs(),
            ),
            key: self.key_kind(&x509),
            constraints: constraints(&x509),
        })
    }

    fn key_kind(&self, x509: &X509Certificate<'_>) -> String {
        let bits = x509.public_key().parsed().map(|key| match key {
            PublicKey::RSA(rsa) => rsa.key_size(),
            PublicKey::EC(point) => point.key_size(),
            _ => 0,
        });
        let algorithm = rcgen::PublicKeyData::algorithm(self.issuer.key());
        match bits {
            Ok(bits) if *algorithm == rcgen::PKCS_RSA_SHA256 => format!("RSA, {bits} bits"),
            _ if *algorithm == rcgen::PKCS_ED25519 => "Ed25519".to_owned(),
            _ if *algorithm == rcgen::PKCS_ECDSA_P256_SHA256 => "ECDSA P-256".to_owned(),
            _ if *algorithm == rcgen::PKCS_ECDSA_P384_SHA384 => "ECDSA P-384".to_owned(),
            _ => "ECDSA P-521".to_owned(),
        }
    }
}

/// Read from the certificate: a CA of other making may be without any.
fn constraints(x509: &X509Certificate<'_>) -> String {
    let depth = x509.basic_constraints().ok().flatten().and_then(|c| c.value.path_len_constraint);
    let depth = match depth {
        Some(0) => "signs leaves only (pathlen 0)".to_owned(),
        Some(depth) => format!("signs leaves and CAs (pathlen {depth})"),
        None => "signs leaves and CAs (no pathlen)".to_owned(),
    };
    let purpose = match x509.extended_key_usage().ok().flatten() {
        Some(usage) if !usage.value.any && !usage.value.client_auth => {
            "for TLS servers (serverAuth)"
        }
        Some(_) => "for TLS servers and other purposes",
        None => "for any purpose (no extendedKeyUsage)",
    };
    format!("{depth}, {purpose}")
}
