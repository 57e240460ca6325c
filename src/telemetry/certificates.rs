//! The certificates whose end is worth knowing ahead.

use std::sync::Arc;
use std::time::SystemTime;

/// What a certificate of the gateway's own is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateRole {
    /// The local CA, which signs what clients are shown in place of servers' certificates (`tls.ca`).
    Authority,
    /// Shown to clients as the gateway's own (`tls.certificate`).
    Fixed,
    /// Shown to servers that ask for a client certificate (`tls.server.certificate`).
    Client,
}

impl CertificateRole {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Authority, Self::Fixed, Self::Client];

    /// The word in labels.
    pub fn label(self) -> &'static str {
        match self {
            Self::Authority => "ca",
            Self::Fixed => "fixed",
            Self::Client => "client",
        }
    }
}

/// When a certificate expires. Asked at every scrape, since files are renewed while the gateway runs;
/// it may look at them.
pub type Expiry = Arc<dyn Fn() -> Option<SystemTime> + Send + Sync>;
