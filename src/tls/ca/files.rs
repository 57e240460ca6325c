//! The two files of a CA. Nothing is overwritten, and no other user can read the key at any moment.

use super::fault::{Fault, FileFault, Half};
use super::{Authority, Created};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use zeroize::{Zeroize, Zeroizing};

/// The name of the certificate in the directory of a CA.
pub const CERTIFICATE: &str = "ca.crt";

/// The name of the key beside it.
pub const KEY: &str = "ca.key";

/// Anybody may read the certificate: clients are to have it.
const CERTIFICATE_MODE: u32 = 0o644;

/// Its owner alone may use the key.
const KEY_MODE: u32 = 0o600;

/// What anybody but the owner might do with a file.
pub(in crate::tls) const OF_OTHERS: u32 = 0o077;

/// Reading by the file's group.
const BY_GROUP: u32 = 0o040;

/// Root's user id, to whom mounted secrets belong.
const ROOT: u32 = 0;

/// Many times the longest certificate or RSA key in PEM.
pub(in crate::tls) const MOST_BYTES: usize = u16::MAX as usize;

/// Where a CA was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// `ca.crt`, mode 0644.
    pub certificate: PathBuf,
    /// `ca.key`, mode 0600.
    pub key: PathBuf,
}

/// True if something bears the name, if only a link to nowhere.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Refuses a directory that has a CA, or half of one, before one is made in vain.
///
/// # Errors
/// [`Fault::Exists`] with the file that is in the way.
pub fn refuse_existing(directory: &Path) -> Result<(), FileFault> {
    for name in [KEY, CERTIFICATE] {
        let file = directory.join(name);
        if exists(&file) {
            return Err(FileFault { file, fault: Fault::Exists });
        }
    }
    Ok(())
}

/// Writes a CA into `directory`, which is made if there is none. On return both files are on the disk;
/// after an error neither is there, nor part of one.
///
/// # Errors
/// The file that could not be written, and why: [`Fault::Exists`] if there is one of that name.
pub fn write(directory: &Path, created: &Created) -> Result<Written, FileFault> {
    let unwritable =
        |error| FileFault { file: directory.to_owned(), fault: Fault::Unwritable(error) };
    DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(unwritable)?;
    refuse_existing(directory)?;
    let key = directory.join(KEY);
    let certificate = directory.join(CERTIFICATE);
    place(&key, created.key.as_bytes(), KEY_MODE)?;
    let both = place(&certificate, created.certificate.as_bytes(), CERTIFICATE_MODE)
        .and_then(|()| File::open(directory).and_then(|d| d.sync_all()).map_err(unwritable));
    if let Err(fault) = both {
        // Only what was written here a moment ago: `place` has taken an existing file for an error.
        let _ = fs::remove_file(&key);
        if !matches!(fault.fault, Fault::Exists) {
            let _ = fs::remove_file(&certificate);
        }
        return Err(fault);
    }
    Ok(Written { certificate, key })
}

/// Puts a whole file in place, or none: it is written beside under another name, and linked, which
/// fails where the name is taken.
fn place(file: &Path, bytes: &[u8], mode: u32) -> Result<(), FileFault> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let fault = |error: io::Error, file: &Path| {
        let fault = match error.kind() {
            ErrorKind::AlreadyExists => Fault::Exists,
            _ => Fault::Unwritable(error),
        };
        FileFault { file: file.to_owned(), fault }
    };
    // The mode holds from the first moment on: O_CREAT with O_EXCL never opens what others made.
    let mut output = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)
        .map_err(|error| fault(error, &beside))?;
    let placed = output
        .write_all(bytes)
        // A umask may have taken away what the certificate's readers need.
        .and_then(|()| output.set_permissions(Permissions::from_mode(mode)))
        .and_then(|()| output.sync_all())
        .and_then(|()| fs::hard_link(&beside, file));
    let removed = fs::remove_file(&beside);
    placed.map_err(|error| fault(error, file))?;
    removed.map_err(|error| {
        let _ = fs::remove_file(file);
        fault(error, &beside)
    })
}

impl Authority {
    /// Reads a CA from two PEM files, if it can be used at `now`.
    ///
    /// # Errors
    /// The file at fault, why, and what to do.
    pub fn load(certificate: &Path, key: &Path, now: SystemTime) -> Result<Self, FileFault> {
        let of = |file: &Path| {
            let file = file.to_owned();
            move |fault| FileFault { file, fault }
        };
        let der = read(certificate, 0, MOST_BYTES).and_then(|text| one_certificate(&text));
        let der = der.map_err(of(certificate))?;
        let mut secret =
            read(key, OF_OTHERS, MOST_BYTES).and_then(|text| one_key(&text)).map_err(of(key))?;
        let authority = Self::new(der, &secret, now);
        secret.zeroize();
        authority.map_err(|(half, fault)| match half {
            Half::Certificate => of(certificate)(fault),
            Half::Key => of(key)(fault),
        })
    }
}

/// What a file of at most `most` bytes holds, if it allows nothing of `forbidden` (permission bits).
pub(in crate::tls) fn read(
    path: &Path,
    forbidden: u32,
    most: usize,
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    // Without O_NONBLOCK a pipe of that name would be waited on for ever.
    let nonblocking = libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path);
    let file = file.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Fault::Missing,
        _ => Fault::Unreadable(error),
    })?;
    // Of the file that is open, not of whatever bears its name by now.
    let metadata = file.metadata().map_err(Fault::Unreadable)?;
    if !metadata.is_file() {
        return Err(Fault::NotAFile);
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if is_exposed(mode, forbidden, metadata.uid()) {
        return Err(Fault::Exposed { mode });
    }
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if length > most {
        return Err(Fault::TooLong);
    }
    // Room for all of it at once: a buffer that grows leaves copies behind. It grows only if the file
    // did since its length was asked for.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(Fault::Unreadable)?;
    if bytes.len() > most {
        return Err(Fault::TooLong);
    }
    Ok(bytes)
}

/// Whether a file of `owner` allows more than it should.
///
/// What root owns another user can read through its group only: root has chosen that group for the user
/// that the gateway runs as, or becomes, as Debian's `ssl-cert` does, and `fsGroup` with a mounted Secret
/// of Kubernetes.
pub(super) fn is_exposed(mode: u32, forbidden: u32, owner: u32) -> bool {
    let granted = if owner == ROOT { BY_GROUP } else { 0 };
    mode & forbidden & !granted != 0
}

fn one_certificate(text: &[u8]) -> Result<CertificateDer<'static>, Fault> {
    let mut found = CertificateDer::pem_slice_iter(text);
    let Some(Ok(first)) = found.next() else { return Err(Fault::NoCertificate) };
    match found.next() {
        None => Ok(first),
        Some(_) => Err(Fault::SeveralCertificates),
    }
}

pub(in crate::tls) fn one_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    let says = |words: &[u8]| memchr::memmem::find(text, words).is_some();
    // The second is how OpenSSL writes keys in their old forms.
    if says(b"BEGIN ENCRYPTED PRIVATE KEY") || says(b"Proc-Type: 4,ENCRYPTED") {
        return Err(Fault::EncryptedKey);
    }
    let mut found = PrivateKeyDer::pem_slice_iter(text);
    let Some(Ok(mut first)) = found.next() else { return Err(Fault::NoKey) };
    match found.next() {
        None => Ok(first),
        Some(second) => {
            first.zeroize();
            if let Ok(mut second) = second {
                second.zeroize();
            }
            Err(Fault::SeveralKeys)
        }
    }
}
