//! The name that a certificate of the gateway's own bears: what a client asked for, or the address
//! that it connected to.

use rcgen::string::Ia5String;
use rcgen::{DistinguishedName, DnType, SanType};
use rustls::pki_types::DnsName;
use std::fmt;
use std::net::IpAddr;

use crate::tls::ca::LONGEST_NAME;

/// The common name where the name itself is too long for one.
const NAMELESS: &str = "ftpgate";

/// A DNS name without wildcard, in lower case, at most 253 bytes; or an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OwnName(Name);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    Dns(String),
    Address(IpAddr),
}

impl OwnName {
    /// The name asked for if it is one (RFC 1035 §2.3.1, with underscores), else the address.
    pub fn new(asked: Option<&str>, address: IpAddr) -> Self {
        let valid = asked.filter(|name| DnsName::try_from(*name).is_ok());
        // A root dot changes nothing, and no certificate has one.
        let name = valid.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        Self(name.map_or(Name::Address(address.to_canonical()), Name::Dns))
    }

    pub(super) fn subject(&self) -> DistinguishedName {
        let name = self.to_string();
        let mut subject = DistinguishedName::new();
        let fits = name.len() <= LONGEST_NAME;
        subject.push(DnType::CommonName, if fits { name.as_str() } else { NAMELESS });
        subject
    }

    pub(super) fn alternative(&self) -> Option<SanType> {
        match &self.0 {
            Name::Dns(name) => Ia5String::try_from(name.as_str()).ok().map(SanType::DnsName),
            Name::Address(address) => Some(SanType::IpAddress(*address)),
        }
    }
}

impl fmt::Display for OwnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Name::Dns(name) => f.write_str(name),
            Name::Address(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
