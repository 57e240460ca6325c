//! The glossary as code: small words that every module may use.
//!
//! Not here: addresses (see [`crate::addr`]) and the reasons for refusals (see [`crate::report`]).

use std::fmt;

/// Which end of a control connection: the FTP client's or the FTP server's, whoever dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The side of the FTP client.
    Client,
    /// The side of the FTP server.
    Server,
}

impl Side {
    /// The opposite side.
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// The word used in logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// Who listens for the data connection (RFC 959 §3.2): in passive mode the server, in active mode
/// the client. RFC 959's own "transfer mode" (stream, block, compressed) is another thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataMode {
    /// PASV and EPSV: the server listens.
    Passive,
    /// PORT and EPRT: the client listens.
    Active,
}

impl DataMode {
    /// Both modes, in the order of the metric labels.
    pub const ALL: [Self; 2] = [Self::Passive, Self::Active];

    /// The word used in logs and metric labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Passive => "passive",
            Self::Active => "active",
        }
    }
}

/// Who carries the bytes of a data connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataPath {
    /// The kernel forwards and translates; the process never touches a byte.
    Kernel,
    /// The process accepts and connects itself and moves the bytes.
    Relay,
}

impl DataPath {
    /// Both paths, in the order of the metric labels.
    pub const ALL: [Self; 2] = [Self::Kernel, Self::Relay];

    /// The word used in logs and metric labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Relay => "relay",
        }
    }
}

/// The direction of data bytes, seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From the client to the server.
    Upload,
    /// From the server to the client.
    Download,
}

impl Direction {
    /// Both directions, in the order of the metric labels.
    pub const ALL: [Self; 2] = [Self::Upload, Self::Download];

    /// The word used in logs and metric labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Download => "download",
        }
    }
}

/// Data bytes of one data connection, by direction.
///
/// On the relay path these are payload bytes. On the kernel path they are what conntrack counts:
/// whole IP packets, headers included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByteCounts {
    /// From the client to the server.
    pub upload: u64,
    /// From the server to the client.
    pub download: u64,
}

/// The protection of a data connection (RFC 2228 §3, PROT).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum ProtectionLevel {
    /// `C`: neither integrity nor confidentiality.
    #[default]
    Clear,
    /// `S`: integrity.
    Safe,
    /// `E`: confidentiality.
    Confidential,
    /// `P`: both; the only level besides `C` that TLS knows (RFC 4217 §9).
    Private,
    /// Agreed where the gateway could not read it: inside TLS, before CCC.
    Unknown,
}

impl ProtectionLevel {
    /// All levels, in the order of the metric labels.
    pub const ALL: [Self; 5] =
        [Self::Clear, Self::Safe, Self::Confidential, Self::Private, Self::Unknown];

    /// The word used in logs and metric labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Safe => "safe",
            Self::Confidential => "confidential",
            Self::Private => "private",
            Self::Unknown => "unknown",
        }
    }
}

/// Names one session in logs, for the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Names one connection through a range of open ports while it runs; given by the firewall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u32);

/// Names one transfer (a data connection, negotiated or seen within `data.blind_ports`) within its
/// session; never reused there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransferId(pub u32);

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
