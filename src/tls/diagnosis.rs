//! What a failed handshake means, in words that name the peer's offer and say what to do.
//!
//! Not here: a connection that ended, or took too long (see [`crate::report::TlsFault`]).

use super::failure::Failure;
use super::hello::{Offer, chosen_version};
use super::server_side::ServerSession;
use super::words::bounded;
use crate::report::TlsFault;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// What is offered to servers, and taken from clients.
const SPOKEN: &str = "TLS 1.2 and 1.3 are spoken here";
const CIPHERS: &str =
    "ECDHE with AES-GCM or ChaCha20-Poly1305, signed with ECDSA, RSA or Ed25519, is spoken here";

impl Failure {
    /// What `error` means in the handshake with a client that began with the bytes `hello`.
    pub fn with_client(error: &Error, hello: &[u8]) -> Self {
        let offer = Offer::read(hello);
        if let Some(offer) = offer.as_ref().filter(|offer| offer.is_too_old())
            && !matches!(error, Error::AlertReceived(_))
        {
            let versions = offer.versions();
            let detail = format!("the client offers {versions}; {SPOKEN}: update the client");
            return Self::new(TlsFault::ProtocolVersion, detail);
        }
        match error {
            Error::PeerIncompatible(why) => client_incompatible(why, offer.as_ref()),
            Error::NoApplicationProtocol => {
                let asked = offer.map_or_else(|| "unknown".to_owned(), |offer| offer.protocols());
                let detail =
                    format!("the client asks for the protocol {asked} (ALPN), not for ftp");
                Self::new(TlsFault::WrongProtocol, detail)
            }
            Error::NoCertificatesPresented => Self::new(
                TlsFault::ClientCertificateRefused,
                "the client shows no certificate, and has to: install one on it that \
                 tls.client.roots has signed",
            ),
            Error::InvalidCertificate(why) => Self::new(
                TlsFault::ClientCertificateRefused,
                format!("the client's certificate does not verify: {}", bounded(&why.to_string())),
            ),
            Error::AlertReceived(alert) => client_alert(*alert),
            other => of_either(other, "client"),
        }
    }

    /// What `error` means in a handshake with a server, of the control or of a data connection.
    pub fn with_server(error: &Error, session: &ServerSession) -> Self {
        Self::with_server_saying(error, session, &[])
    }

    /// As [`Self::with_server`], by somebody who has kept the first bytes that the server sent: they
    /// tell which old version it chose, or which text it sent instead of TLS (case 26).
    pub fn with_server_saying(error: &Error, session: &ServerSession, first: &[u8]) -> Self {
        match error {
            Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
                Self::new(
                    TlsFault::UntrustedIssuer,
                    "the server shows another certificate on the data connection than on the control \
                 connection",
                )
            }
            Error::InvalidCertificate(why) => session.distrust().unwrap_or_else(|| {
                let why = bounded(&why.to_string());
                let detail = format!("the server's certificate cannot be used: {why}");
                Self::new(TlsFault::BadCertificate, detail)
            }),
            Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => {
                let chosen = chosen_version(first);
                let chosen = chosen.unwrap_or_else(|| "a version below TLS 1.2".to_owned());
                let detail = format!("the server chose {chosen}; {SPOKEN}: update the server");
                Self::new(TlsFault::ProtocolVersion, detail)
            }
            Error::PeerIncompatible(why) => Self::new(
                TlsFault::NoCommonCipher,
                format!("the server cannot be met: {why:?}; {CIPHERS}"),
            ),
            Error::AlertReceived(alert) => server_alert(*alert, session.wanted_certificate()),
            other => {
                let mut failure = of_either(other, "server");
                if let Some(text) = line_of_text(first) {
                    failure.detail.push_str(": it sent the text ");
                    failure.detail.push_str(&text);
                }
                failure
            }
        }
    }
}

/// The first line, if it is one: a server that takes no TLS here, or not yet, says so in its own words.
fn line_of_text(bytes: &[u8]) -> Option<String> {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let is_text = line.first().is_some_and(u8::is_ascii_digit);
    is_text.then(|| bounded(&String::from_utf8_lossy(line)))
}

fn client_incompatible(why: &PeerIncompatible, offer: Option<&Offer>) -> Failure {
    let ciphers = offer.map_or_else(|| "unknown".to_owned(), Offer::ciphers);
    let (fault, detail) = match why {
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::SupportedVersionsExtensionRequired => {
            let versions = offer.map_or_else(|| "unknown".to_owned(), Offer::versions);
            let detail = format!("the client offers {versions}; {SPOKEN}: update the client");
            (TlsFault::ProtocolVersion, detail)
        }
        _ if offer.is_some_and(Offer::is_rsa_only) => (
            TlsFault::NoCommonCipher,
            format!("the client offers RSA key exchange only ({ciphers}); {CIPHERS}"),
        ),
        PeerIncompatible::NoKxGroupsInCommon | PeerIncompatible::NamedGroupsExtensionRequired => (
            TlsFault::NoCommonCipher,
            format!(
                "the client offers no group for ECDHE that is known here (X25519, P-256, P-384); \
                 its ciphers: {ciphers}"
            ),
        ),
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired => (
            TlsFault::NoCommonCipher,
            format!(
                "the client takes no signature that the certificate's key can make (for leaves: \
                 ECDSA P-256 with SHA-256); its ciphers: {ciphers}"
            ),
        ),
        other => (
            TlsFault::NoCommonCipher,
            format!(
                "nothing in common with the client ({other:?}): it offers {ciphers}; {CIPHERS}"
            ),
        ),
    };
    Failure::new(fault, detail)
}

fn client_alert(alert: AlertDescription) -> Failure {
    let means = match alert {
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateExpired => {
            ": it does not trust the certificate that it was shown; install the local CA on it \
             (`ftpgate ca show`), and connect by a name that the certificate bears"
        }
        AlertDescription::ProtocolVersion => ": it takes neither TLS 1.2 nor 1.3",
        AlertDescription::UserCanceled => ": its user gave up, asked about the certificate perhaps",
        _ => "",
    };
    Failure::new(TlsFault::AlertReceived, format!("the client answered {}{means}", named(alert)))
}

fn server_alert(alert: AlertDescription, wanted_certificate: bool) -> Failure {
    let answered = format!("the server answered {}", named(alert));
    if wanted_certificate && alert != AlertDescription::ProtocolVersion {
        let detail = format!(
            "{answered}, after it had asked for a certificate of its client and was shown none: give \
             one (tls.server.certificate)"
        );
        return Failure::new(TlsFault::ClientCertificateRequested, detail);
    }
    let (fault, means) = match alert {
        AlertDescription::ProtocolVersion => (
            TlsFault::ProtocolVersion,
            format!("it takes neither TLS 1.2 nor 1.3, may speak older versions only; {SPOKEN}"),
        ),
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => (
            TlsFault::NoCommonCipher,
            format!("it may have RSA key exchange only, or other ciphers; {CIPHERS}"),
        ),
        AlertDescription::NoApplicationProtocol => {
            (TlsFault::WrongProtocol, "it does not speak ftp (ALPN)".to_owned())
        }
        AlertDescription::UnrecognisedName => {
            (TlsFault::UnrecognizedName, "it does not bear the name it was asked for".to_owned())
        }
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => (
            TlsFault::AlertReceived,
            "it does not take the certificate that it was shown (tls.server.certificate)"
                .to_owned(),
        ),
        _ => (TlsFault::AlertReceived, "it ended the handshake".to_owned()),
    };
    Failure::new(fault, format!("{answered}: {means}"))
}

/// What means the same from either peer.
fn of_either(error: &Error, peer: &str) -> Failure {
    let fault = match error {
        Error::General(_)
        | Error::Other(_)
        | Error::FailedToGetCurrentTime
        | Error::FailedToGetRandomBytes
        | Error::EncryptError
        | Error::HandshakeNotComplete
        | Error::InconsistentKeys(_) => TlsFault::Internal,
        _ => TlsFault::Garbled,
    };
    let said = bounded(&error.to_string());
    let detail = match fault {
        TlsFault::Internal => format!("TLS with the {peer} failed here: {said}"),
        _ => format!("what the {peer} sent is not TLS, or breaks its rules: {said}"),
    };
    Failure::new(fault, detail)
}

/// As the RFCs write it, or its number.
fn named(alert: AlertDescription) -> String {
    let mut name = String::new();
    let mut follows_lower_case = false;
    for character in format!("{alert:?}").chars() {
        if character.is_ascii_uppercase() && follows_lower_case {
            name.push('_');
        }
        follows_lower_case = character.is_ascii_lowercase();
        name.push(character.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests;
