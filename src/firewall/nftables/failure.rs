//! Why the kernel did not carry out a batch, on the way to a [`FirewallError`].

use super::super::error::FirewallError;
use super::super::netlink::Rejection;
use super::INSTALLING;
use std::io;

/// Why a batch was not carried out.
#[derive(Debug)]
pub(super) enum Failure {
    /// The kernel says which message is wrong.
    Rejected(Rejection),
    /// The socket failed. `ENOBUFS` or `WouldBlock`: the answer was lost, and whether the batch was
    /// carried out is unknown.
    Socket(io::Error),
}

impl Failure {
    pub(super) fn errno(&self) -> i32 {
        match self {
            Self::Rejected(rejection) => rejection.errno,
            Self::Socket(error) => error.raw_os_error().unwrap_or(0),
        }
    }

    pub(super) fn answer_lost(&self) -> bool {
        matches!(self, Self::Socket(error) if error.kind() == io::ErrorKind::WouldBlock
            || error.raw_os_error() == Some(libc::ENOBUFS))
    }
}

pub(super) fn no_socket(error: io::Error) -> FirewallError {
    match error.raw_os_error() {
        Some(libc::EPROTONOSUPPORT) => missing("nfnetlink"),
        _ => kernel(INSTALLING, &error.to_string()),
    }
}

pub(super) fn missing(feature: &str) -> FirewallError {
    FirewallError::MissingFeature { feature: feature.to_owned() }
}

pub(super) fn kernel(doing: &'static str, reason: &str) -> FirewallError {
    FirewallError::Kernel { doing, reason: reason.to_owned() }
}

pub(super) fn describe(rejection: &Rejection) -> String {
    let errno = io::Error::from_raw_os_error(rejection.errno);
    match &rejection.message {
        Some(message) => format!("{errno}: {message}"),
        None => errno.to_string(),
    }
}
