//! The fixed certificate that the gateway shows to clients as its own, read again when its files change.
//!
//! Whoever renews it writes two files one after the other: as long as they do not fit together, the
//! pair that was read before stays in use.

use super::failure::Failure;
use super::material::{self, SettingsFault};
use super::server_side::CertificateFiles;
use super::words;
use crate::report::TlsFault;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use x509_parser::prelude::{FromDer, X509Certificate};

/// How often the files are looked at, at most, and only if a session asks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What tells one version of a file from the next: device, inode, size, and the times of the last
/// change to the content and to the inode, in nanoseconds.
type Stamp = Option<(u64, u64, u64, [i64; 4])>;

/// The certificate as it is on the disk now, or was when it was last whole.
pub struct FixedCertificate {
    files: CertificateFiles,
    current: Mutex<Current>,
}

struct Current {
    certified: Arc<CertifiedKey>,
    stamps: (Stamp, Stamp),
    looked: Instant,
}

/// Nothing of the key.
impl std::fmt::Debug for FixedCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FixedCertificate").field("files", &self.files).finish_non_exhaustive()
    }
}

impl FixedCertificate {
    /// Reads it.
    ///
    /// # Errors
    /// The file at fault, why, and what to do: a key that others may read, one that belongs to another
    /// certificate.
    pub fn open(files: &CertificateFiles) -> Result<Self, SettingsFault> {
        // First the stamps: a change while the files are read is then seen by the next look.
        let stamps = stamps(files);
        let certified = Arc::new(material::certified(&files.chain, &files.key)?);
        let current = Mutex::new(Current { certified, stamps, looked: Instant::now() });
        Ok(Self { files: files.clone(), current })
    }

    /// The certificate. At most once a second the files are looked at, and read if they have changed,
    /// on a thread for blocking work. What cannot be used is logged, and the old one stays.
    pub async fn certified(self: &Arc<Self>) -> Arc<CertifiedKey> {
        if !self.is_look_due(Instant::now()) {
            return self.kept();
        }
        let this = Arc::clone(self);
        // An error is a panic over there, which has changed nothing.
        let _ = tokio::task::spawn_blocking(move || this.look()).await;
        self.kept()
    }

    /// When the certificate in use expires. Looks at the files as [`certified`](Self::certified) does,
    /// so that a renewed one is known before a session asks for it. Blocks: not for an async thread.
    pub fn not_after(&self) -> Option<SystemTime> {
        if self.is_look_due(Instant::now()) {
            self.look();
        }
        material::not_after(&self.kept())
    }

    /// True for one caller in a second.
    fn is_look_due(&self, now: Instant) -> bool {
        let mut current = self.current();
        let is_due = now.saturating_duration_since(current.looked) >= LOOK_EVERY;
        if is_due {
            current.looked = now;
        }
        is_due
    }

    fn look(&self) {
        let seen = stamps(&self.files);
        if self.current().stamps == seen {
            return;
        }
        let read = material::certified(&self.files.chain, &self.files.key);
        let mut current = self.current();
        // Said once for each change of the files, not at every look.
        current.stamps = seen;
        match read {
            Ok(certified) => {
                current.certified = Arc::new(certified);
                drop(current);
                let file = self.files.chain.display();
                tracing::info!(%file, "the fixed certificate has changed and is used from now on");
            }
            Err(error) => {
                drop(current);
                tracing::warn!(%error, "the fixed certificate has changed, and the old one stays");
            }
        }
    }

    fn kept(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current().certified)
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamps(files: &CertificateFiles) -> (Stamp, Stamp) {
    (stamp(&files.chain), stamp(&files.key))
}

fn stamp(file: &Path) -> Stamp {
    let seen = fs::metadata(file).ok()?;
    let times = [seen.mtime(), seen.mtime_nsec(), seen.ctime(), seen.ctime_nsec()];
    Some((seen.dev(), seen.ino(), seen.size(), times))
}

/// Refuses a name that the certificate does not bear (case 29).
///
/// A certificate without alternative names bears its common name: old ones are made so, and clients
/// that take them look there.
pub(super) fn check_name(certified: &CertifiedKey, asked: &str) -> Result<(), Failure> {
    let bears = certified.cert.first().is_some_and(|certificate| bears(certificate, asked));
    if bears {
        return Ok(());
    }
    let subject = certified.cert.first().map_or_else(|| "none".to_owned(), words::subject);
    let asked = words::bounded(asked);
    let detail = format!(
        "the client asks for {asked}, and the fixed certificate (subject {subject}) is not for that \
         name: connect by a name that it bears, or give a certificate for this one"
    );
    Err(Failure::new(TlsFault::UnrecognizedName, detail))
}

fn bears(certificate: &CertificateDer<'_>, asked: &str) -> bool {
    let Ok(name) = ServerName::try_from(asked) else { return false };
    let Ok(end_entity) = webpki::EndEntityCert::try_from(certificate) else { return false };
    if end_entity.verify_is_valid_for_subject_name(&name).is_ok() {
        return true;
    }
    let Ok((_, x509)) = X509Certificate::from_der(certificate) else { return false };
    let has_alternatives = !matches!(x509.subject_alternative_name(), Ok(None));
    let mut common = x509.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    !has_alternatives && common.any(|name| name.eq_ignore_ascii_case(asked))
}

#[cfg(test)]
mod tests;
