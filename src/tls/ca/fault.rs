//! What is wrong with a CA, in words that say what to do next. No fault shows anything of a key.

use std::io;
use std::path::PathBuf;
use thiserror::Error;
use time::Date;

/// The half of a CA that a fault is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// The certificate.
    Certificate,
    /// The private key.
    Key,
}

/// A file of a CA that cannot be used or written.
#[derive(Debug, Error)]
#[error("{}: {fault}", file.display())]
pub struct FileFault {
    /// Which file.
    pub file: PathBuf,
    /// Why not; part of the text already, so that it is not told twice.
    pub fault: Fault,
}

/// Why a CA cannot be used or made.
#[derive(Debug, Error)]
pub enum Fault {
    /// The name of a new CA.
    #[error("the name of a CA has 1 to 64 characters, none of them a control character")]
    Name,
    /// The life of a new CA.
    #[error("a CA is valid for at least 1 day, and not beyond the year 9999")]
    Days,
    /// There is one already.
    #[error(
        "exists already, and a CA is never overwritten: give another directory, or move the old \
         CA away once no client needs it"
    )]
    Exists,
    /// Writing failed.
    #[error("cannot be written: {0}")]
    Unwritable(io::Error),
    /// There is no such file.
    #[error("does not exist: make a CA with `ftpgate ca init --dir DIR`, or name the right file")]
    Missing,
    /// Reading failed.
    #[error("cannot be read: {0}{next}", next = next_step(.0))]
    Unreadable(io::Error),
    /// A directory, a device.
    #[error("is not a file: name the PEM file itself")]
    NotAFile,
    /// Longer than any certificate or key.
    #[error("is longer than 64 KiB, so neither a certificate nor a key: name the right file")]
    TooLong,
    /// Others may read the key.
    #[error(
        "can be read by others than its owner (mode {mode:04o}): whoever reads it can pose as any \
         server. `chmod 600` it, or 640 where root owns it and gives it to the group that ftpgate runs \
         in, and make a new CA if others may have read it already"
    )]
    Exposed {
        /// Its permissions.
        mode: u32,
    },
    /// No certificate in a file of certificates.
    #[error("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----): convert it to PEM")]
    NoCertificate,
    /// More than one.
    #[error(
        "holds more than one certificate: leave that of the CA which signs, whose key is given"
    )]
    SeveralCertificates,
    /// No private key in a file of keys.
    #[error("holds no private key in PEM form (-----BEGIN PRIVATE KEY-----): convert it to PEM")]
    NoKey,
    /// More than one.
    #[error("holds more than one private key: leave that of the certificate")]
    SeveralKeys,
    /// It would need a passphrase.
    #[error(
        "is encrypted, and nobody is there at start to be asked: decrypt it \
         (`openssl pkey -in OLD -out NEW`, then `chmod 600 NEW`)"
    )]
    EncryptedKey,
    /// Of a kind, or in a form, that cannot sign here.
    #[error(
        "holds a key that cannot be used: ECDSA P-256, P-384, P-521, RSA from 2048 bits and \
         Ed25519 can, as PKCS #8, SEC 1 or PKCS #1"
    )]
    UnsupportedKey,
    /// They are not a pair.
    #[error("is not the key of the certificate: give the two files of one CA")]
    KeyMismatch,
    /// Not a certificate inside.
    #[error("holds no valid X.509 version 3 certificate: name the right file")]
    NotX509,
    /// That of a server, say.
    #[error("is not the certificate of a CA (basicConstraints CA:TRUE): give that of a CA")]
    NotCa,
    /// Its key usage forbids it.
    #[error("may not sign certificates (its keyUsage lacks keyCertSign): give one that may")]
    MayNotSign,
    /// Its extended key usage forbids it.
    #[error(
        "may not sign for TLS servers (its extendedKeyUsage lacks serverAuth): give one that may"
    )]
    NotForServers,
    /// Leaves would not name it as it names itself.
    #[error(
        "has a subject that leaves cannot name: none, parts of several values, or a kind of part \
         more than once (such as DC=a, DC=b); give a CA with a plain subject (O=…, CN=…)"
    )]
    UnusualSubject,
    /// Too early.
    #[error("is not valid before {since}: set the clock, or wait")]
    NotYetValid {
        /// Its first day, UTC.
        since: Date,
    },
    /// Too late.
    #[error(
        "expired on {on}: make a new CA with `ftpgate ca init --dir NEW_DIRECTORY` and install it \
         on the clients"
    )]
    Expired {
        /// Its last day, UTC.
        on: Date,
    },
    /// The cryptography failed.
    #[error("the certificate cannot be made: {0}")]
    Cryptography(rcgen::Error),
    /// The operating system gave no random numbers.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
}

/// What the owner can do about a file that cannot be read.
fn next_step(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ": make it the file of the user that ftpgate runs as, mode 0600, in a folder that this \
             user may enter"
        }
        _ => "",
    }
}
