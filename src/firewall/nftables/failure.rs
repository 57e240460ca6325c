//! Why the kernel did not carry out a batch, on the way to a [`FirewallError`].

use super::super::error::FirewallError;
use super::super::netlink::{Rejection, attribute, attributes};
use super::super::rule::SET_SIZE;
use super::{INSTALLING, Nftables};
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

impl Nftables {
    /// The rejected message and where in it the kernel points.
    fn rejected<'a>(&'a self, failure: &Failure) -> Option<(u16, &'a [u8], Option<usize>)> {
        let Failure::Rejected(rejection) = failure else { return None };
        let message = self.batch.message(rejection.sequence)?;
        let kind = u16::from_ne_bytes(*message.get(4..)?.first_chunk()?);
        Some((kind, message, rejection.offset))
    }

    pub(super) fn is_about_table_flags(&self, failure: &Failure) -> bool {
        const NEWTABLE: u16 = 10 << 8;
        [libc::EOPNOTSUPP, libc::EINVAL].contains(&failure.errno())
            && self.rejected(failure).is_some_and(|(kind, _, _)| kind == NEWTABLE)
    }

    pub(super) fn explain(&self, doing: &'static str, failure: &Failure) -> FirewallError {
        let Failure::Rejected(rejection) = failure else {
            let Failure::Socket(error) = failure else { return kernel(doing, "unknown") };
            return kernel(doing, &error.to_string());
        };
        let begin = rejection.sequence == self.batch.first;
        match rejection.errno {
            // Without the capability the whole batch is refused; with it, a single message is.
            libc::EPERM if begin => FirewallError::Permission { doing },
            libc::EPERM => FirewallError::TableOwned { table: self.table.name.clone() },
            libc::ENFILE => FirewallError::Full { limit: SET_SIZE },
            libc::EOPNOTSUPP | libc::EINVAL | libc::EPROTONOSUPPORT if begin => {
                missing("nf_tables")
            }
            libc::ENOENT | libc::EOPNOTSUPP => match self.missing_feature(failure) {
                Some(feature) => missing(&feature),
                None => kernel(doing, &describe(rejection)),
            },
            _ => kernel(doing, &describe(rejection)),
        }
    }

    /// What the kernel does not know: the expression of a rule, or the type of a chain.
    fn missing_feature(&self, failure: &Failure) -> Option<String> {
        const NEWCHAIN: u16 = (10 << 8) | 3;
        const NEWRULE: u16 = (10 << 8) | 6;
        const EXPRESSION: u16 = 1;
        const EXPRESSION_NAME: u16 = 1;
        match self.rejected(failure)? {
            (NEWCHAIN, ..) => Some("nft_chain_nat (NAT in tables of the family inet)".to_owned()),
            (NEWRULE, message, offset) => {
                let (kind, data) = attributes(message.get(offset?..)?).next()?;
                let name =
                    if kind == EXPRESSION { attribute(data, EXPRESSION_NAME)? } else { data };
                let name = std::str::from_utf8(name).ok()?.trim_end_matches('\0');
                Some(format!("nft_{name} (the nftables expression `{name}`)"))
            }
            _ => None,
        }
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
