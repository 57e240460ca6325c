//! What the file says about TLS: plain types, already validated. Defaults stand here.
//!
//! Paths are as the program can open them: relative ones were taken from the file's folder. Whether
//! a file is there, and what is in it, is not known here.

use super::types::Config;
use crate::policy::bypass::BypassEntry;
use std::path::{Path, PathBuf};

/// TLS on the sessions of one listener.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListenerTls {
    /// What is done with it.
    pub mode: TlsMode,
    /// True if no user may log in outside TLS; never with a mode in which clients have none.
    pub required: bool,
    /// How it starts on the client side; [`TlsStart::Explicit`] where clients have none.
    pub client_start: TlsStart,
    /// How it starts on the server side; differs from `client_start` with [`TlsMode::Intercept`],
    /// or where only one side has TLS.
    pub server_start: TlsStart,
    /// This listener's own, instead of [`TlsServer::verify`].
    pub verify: Option<Verify>,
    /// Session resumption of clients' data connections.
    pub client_reuse: Reuse,
    /// Whether clients have to show a certificate.
    pub client_certificates: ClientCertificates,
    /// What the end of TLS on the client side means for the server side.
    pub server_ccc: ServerCcc,
    /// Servers whose sessions are carried unread; only with [`TlsMode::Intercept`].
    pub bypass: Vec<BypassEntry>,
}

/// What is done with TLS on the control connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// It runs end to end, unread.
    #[default]
    Passthrough,
    /// It ends at the gateway, and begins again towards the server.
    Intercept,
    /// It ends at the gateway; the server is spoken to in the clear.
    Offload,
    /// It begins at the gateway; clients speak in the clear.
    Originate,
    /// AUTH is refused, so that sessions stay readable.
    Refuse,
}

impl TlsMode {
    /// The word of the file.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Passthrough => "passthrough",
            Self::Intercept => "intercept",
            Self::Offload => "offload",
            Self::Originate => "originate",
            Self::Refuse => "refuse",
        }
    }

    /// True if the gateway is the TLS server of its clients.
    pub const fn serves_clients(self) -> bool {
        match self {
            Self::Intercept | Self::Offload => true,
            Self::Passthrough | Self::Originate | Self::Refuse => false,
        }
    }

    /// True if the gateway is the TLS client of its servers.
    pub const fn dials_servers(self) -> bool {
        match self {
            Self::Intercept | Self::Originate => true,
            Self::Passthrough | Self::Offload | Self::Refuse => false,
        }
    }

    /// True if TLS ends at the gateway on either side.
    pub const fn terminates(self) -> bool {
        self.serves_clients() || self.dials_servers()
    }
}

/// How TLS starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsStart {
    /// The client asks for it with AUTH.
    #[default]
    Explicit,
    /// With the first byte, usually on port 990.
    Implicit,
    /// After a greeting in the clear.
    ImplicitAfterGreeting,
}

impl TlsStart {
    /// The word of the file.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Explicit => "explicit",
            Self::Implicit => "implicit",
            Self::ImplicitAfterGreeting => "implicit-after-greeting",
        }
    }
}

/// Session resumption of clients' data connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reuse {
    /// It is offered, and nobody has to take it.
    #[default]
    Prefer,
    /// A data connection that does not resume its control connection's session is refused.
    Require,
    /// It is not offered.
    Off,
}

/// Whether clients have to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientCertificates {
    /// They are not asked.
    #[default]
    None,
    /// They have to show one that leads to [`Tls::client_roots`], which is then there.
    Require,
}

/// What is done about CCC on the server side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerCcc {
    /// It is sent when the client sends it.
    #[default]
    Follow,
    /// It is never sent.
    Never,
    /// It is sent after each login.
    Always,
}

/// Certificates and keys, and how servers are verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// The local CA.
    pub ca: CaFiles,
    /// A fixed certificate, shown to the clients of [`TlsMode::Offload`] instead of issued ones.
    pub certificate: Option<CertificateFiles>,
    /// PEM file of those who sign clients' certificates.
    pub client_roots: Option<PathBuf>,
    /// TLS towards servers.
    pub server: TlsServer,
}

impl Tls {
    /// Paths as written, taken from `folder` where they are relative.
    pub(super) fn relative_to(self, folder: &Path) -> Self {
        let Self { ca, certificate, client_roots, server } = self;
        Self {
            ca: ca.relative_to(folder),
            certificate: certificate.map(|files| files.relative_to(folder)),
            client_roots: client_roots.map(|path| folder.join(path)),
            server: TlsServer {
                roots: match server.roots {
                    Roots::System => Roots::System,
                    Roots::File(path) => Roots::File(folder.join(path)),
                },
                certificate: server.certificate.map(|files| files.relative_to(folder)),
                ..server
            },
        }
    }
}

/// The two files of the local CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaFiles {
    /// Its certificate (PEM).
    pub certificate: PathBuf,
    /// Its key (PEM).
    pub key: PathBuf,
}

impl Default for CaFiles {
    /// As `ftpgate ca init` names them.
    fn default() -> Self {
        Self { certificate: "ca.crt".into(), key: "ca.key".into() }
    }
}

impl CaFiles {
    /// How the owner makes these files: the command, and what else it takes.
    pub fn how_to_make(&self) -> String {
        let folder = self.certificate.parent().unwrap_or(Path::new(""));
        let made = Self::default().relative_to(folder);
        let shown = if folder == Path::new("") { Path::new(".") } else { folder };
        let command = format!("`ftpgate ca init --dir {}`", shown.display());
        if made == *self {
            format!("make them with {command}")
        } else {
            format!("{command} makes ca.crt and ca.key, which tls.ca then has to name")
        }
    }

    fn relative_to(self, folder: &Path) -> Self {
        Self { certificate: folder.join(self.certificate), key: folder.join(self.key) }
    }
}

/// A certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate and those that signed it, in this order (PEM).
    pub chain: PathBuf,
    /// Its key (PEM).
    pub key: PathBuf,
}

impl CertificateFiles {
    fn relative_to(self, folder: &Path) -> Self {
        Self { chain: folder.join(self.chain), key: folder.join(self.key) }
    }
}

/// TLS towards servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsServer {
    /// Whose signature makes a server's certificate good.
    pub roots: Roots,
    /// What is verified, unless a listener has its own.
    pub verify: Verify,
    /// SHA-256 of end-entity certificates that are good as they are, whoever signed them.
    pub fingerprints: Vec<[u8; 32]>,
    /// What becomes of a session whose server's certificate is not good.
    pub untrusted: Untrusted,
    /// Shown to servers that ask for a certificate.
    pub certificate: Option<CertificateFiles>,
    /// What becomes of a session whose server asks for a certificate that the gateway has not.
    pub client_certificates: UnmetCertificateRequest,
}

/// Whose signature makes a server's certificate good.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Roots {
    /// Those whom the host trusts.
    #[default]
    System,
    /// Those in this PEM file, and no others; an end-entity certificate in it is good as it is.
    File(PathBuf),
}

/// What is verified of a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// Who signed it, and that it bears the name or the address of the server.
    #[default]
    Full,
    /// Who signed it.
    Chain,
    /// Nothing.
    Off,
}

impl Verify {
    /// The word of the file.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Chain => "chain",
            Self::Off => "off",
        }
    }
}

/// What becomes of a session whose server's certificate is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Untrusted {
    /// It is refused, with the reason.
    #[default]
    Refuse,
    /// The client is shown a certificate that it will not trust either.
    Mirror,
}

/// What becomes of a session whose server asks for a certificate that the gateway has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnmetCertificateRequest {
    /// It ends.
    #[default]
    Refuse,
    /// It ends, and later ones with this server are carried unread.
    Passthrough,
}

impl Config {
    /// The files of certificates and keys that the listeners need.
    pub fn tls_files(&self) -> Vec<&Path> {
        let any = |wanted: fn(&ListenerTls) -> bool| {
            self.listeners.iter().any(|listener| wanted(&listener.tls))
        };
        let mut files: Vec<&Path> = Vec::new();
        let tls = &self.tls;
        if self.needs_ca() {
            files.extend([tls.ca.certificate.as_path(), &tls.ca.key]);
        }
        if let Some(fixed) = &tls.certificate
            && any(|tls| tls.mode == TlsMode::Offload)
        {
            files.extend([fixed.chain.as_path(), &fixed.key]);
        }
        files.extend(tls.client_roots.as_deref());
        if any(|tls| tls.mode.dials_servers()) {
            if let Roots::File(roots) = &tls.server.roots {
                files.push(roots);
            }
            if let Some(own) = &tls.server.certificate {
                files.extend([own.chain.as_path(), &own.key]);
            }
        }
        files
    }
}
