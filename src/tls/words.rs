//! What a peer's certificate says, in words for a log: escaped, bounded, in one line.

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use std::fmt::Write;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The most bytes of one piece of a peer's text.
const LONGEST: usize = 200;

/// The most names of a certificate that are told.
const MOST_NAMES: usize = 5;

/// SHA-256 of a certificate (DER).
pub(super) fn sha256(certificate: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
    bytes
}

/// A peer's text: control characters and the like escaped, cut where it is long.
pub(super) fn bounded(text: &str) -> String {
    let mut bounded = String::new();
    for character in text.chars() {
        if bounded.len() >= LONGEST {
            bounded.push('…');
            break;
        }
        // Quotes stay as they are: no text is quoted here.
        match character {
            '\'' | '"' => bounded.push(character),
            other => bounded.extend(other.escape_debug()),
        }
    }
    bounded
}

/// The subject of a certificate, as in `CN=ftp.example, O=Example`; escaped and bounded.
pub fn subject(certificate: &CertificateDer<'_>) -> String {
    match X509Certificate::from_der(certificate) {
        Ok((_, x509)) => name(&x509.subject().to_string()),
        Err(_) => "unreadable".to_owned(),
    }
}

/// True if it names itself as its issuer.
pub(super) fn is_self_issued(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, x509)| x509.subject() == x509.issuer())
}

/// Who a certificate is for, who signed it, and when it is valid.
pub(super) fn description(certificate: &CertificateDer<'_>) -> String {
    let Ok((_, x509)) = X509Certificate::from_der(certificate) else {
        return "a certificate that cannot be read".to_owned();
    };
    let validity = x509.validity();
    let issuer = if x509.subject() == x509.issuer() {
        "self-signed".to_owned()
    } else {
        format!("issuer {}", name(&x509.issuer().to_string()))
    };
    format!(
        "subject {}; names {}; {issuer}; valid from {} to {}",
        name(&x509.subject().to_string()),
        names(&x509),
        validity.not_before.to_datetime().date(),
        validity.not_after.to_datetime().date(),
    )
}

/// A fingerprint as OpenSSL writes it, without colons.
pub(super) fn fingerprint(certificate: &[u8]) -> String {
    sha256(certificate).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn name(text: &str) -> String {
    if text.is_empty() { "none".to_owned() } else { bounded(text) }
}

fn names(x509: &X509Certificate<'_>) -> String {
    let alternative = x509.subject_alternative_name().ok().flatten();
    let general = alternative.map_or(&[][..], |names| &names.value.general_names);
    let mut told: Vec<String> =
        general.iter().filter_map(general_name).take(MOST_NAMES + 1).collect();
    if told.len() > MOST_NAMES {
        told.truncate(MOST_NAMES);
        told.push("…".to_owned());
    }
    if told.is_empty() { "none".to_owned() } else { told.join(", ") }
}

fn general_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(bounded(name)),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from))
                .ok()
                .map(|address| address.to_string())
        }
        _ => None,
    }
}
