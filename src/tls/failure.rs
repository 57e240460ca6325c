//! Why TLS could not be had: a word for machines, and words for whoever reads the log.

use crate::report::TlsFault;
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
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Failure {}
