//! How a TLS handshake ended, as far as labels tell.

use super::families::each;
use crate::report::{TlsFault, TlsVersion};

/// One way for a handshake to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::telemetry) enum HandshakeEnd {
    /// TLS stands.
    Completed {
        /// What was agreed on.
        version: TlsVersion,
        /// An earlier session was resumed.
        resumed: bool,
    },
    /// It does not. What was agreed on before is of no interest.
    Failed(TlsFault),
}

impl HandshakeEnd {
    pub(super) fn all() -> Vec<Self> {
        each(TlsVersion::ALL, &[true, false])
            .map(|(version, resumed)| Self::Completed { version, resumed })
            .chain(TlsFault::ALL.iter().map(|fault| Self::Failed(*fault)))
            .collect()
    }

    /// The value of the label `version`.
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Completed { version, .. } => version.label(),
            Self::Failed(_) => "none",
        }
    }

    pub(super) fn resumed(self) -> &'static str {
        match self {
            Self::Completed { resumed: true, .. } => "yes",
            Self::Completed { resumed: false, .. } | Self::Failed(_) => "no",
        }
    }

    pub(super) fn outcome(self) -> &'static str {
        match self {
            Self::Completed { .. } => "completed",
            Self::Failed(fault) => fault.label(),
        }
    }
}
