//! Why TLS could not be had: a word for machines, and words for whoever reads the log.

use crate::report::TlsFault;
use rustls::AlertDescription;
use std::fmt;

/// One handshake that failed, or a certificate that did not verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which kind.
    pub fault: TlsFault,
    /// What was seen, and what to do about it: one line, nothing of a peer's unescaped.
    pub detail: String,
}

impl Failure {
    /// A failure with its story.
    pub fn new(fault: TlsFault, detail: impl Into<String>) -> Self {
        Self { fault, detail: detail.into() }
    }

    /// The record that refuses a ClientHello that was not answered yet: a fatal alert in the clear
    /// (RFC 8446 §6.2). For failures that rustls does not know of, and so sends no alert for.
    pub fn alert(&self) -> [u8; 7] {
        let description = match self.fault {
            TlsFault::UnrecognizedName => AlertDescription::UnrecognisedName,
            TlsFault::WrongProtocol => AlertDescription::NoApplicationProtocol,
            TlsFault::ProtocolVersion => AlertDescription::ProtocolVersion,
            TlsFault::NoCommonCipher
            | TlsFault::UntrustedIssuer
            | TlsFault::WrongName
            | TlsFault::Expired
            | TlsFault::BadCertificate
            | TlsFault::ClientCertificateRequested
            | TlsFault::ClientCertificateRefused
            | TlsFault::NotResumed
            | TlsFault::AlertReceived
            | TlsFault::Closed
            | TlsFault::Timeout => AlertDescription::HandshakeFailure,
            TlsFault::Garbled => AlertDescription::DecodeError,
            TlsFault::Internal => AlertDescription::InternalError,
        };
        // Type alert, version and length; then the level fatal.
        [21, 3, 3, 0, 2, 2, u8::from(description)]
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Failure {}
