//! Which servers are carried unread although the listener intercepts TLS.

use std::fmt;
use std::net::IpAddr;

/// One entry of a bypass list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BypassEntry {
    /// Every server in this network.
    Network(Network),
    /// The servers of this name.
    Name(NamePattern),
}

impl BypassEntry {
    /// True if the server at `address` is meant, which the client called `name` in its ClientHello
    /// (RFC 6066 §3) or the owner in the configuration. An address is the server's, a name only what
    /// somebody said: that the server bears it is for the client to verify, end to end.
    pub fn matches(&self, address: IpAddr, name: Option<&str>) -> bool {
        match self {
            Self::Network(network) => network.contains(address),
            Self::Name(pattern) => name.is_some_and(|name| pattern.matches(name)),
        }
    }
}

impl fmt::Display for BypassEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Name(pattern) => pattern.fmt(f),
        }
    }
}

/// A network in CIDR notation (RFC 4632 §3.1, RFC 4291 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network of `address` and the first `prefix` bits of it; further bits are cleared. `None`
    /// if the address has fewer bits. An IPv4-mapped address (RFC 4291 §2.5.5.2) stays what it is.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) if prefix <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V4((v4.to_bits() & mask).into())
            }
            IpAddr::V6(v6) if prefix <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V6((v6.to_bits() & mask).into())
            }
            IpAddr::V4(_) | IpAddr::V6(_) => return None,
        };
        Some(Self { address, prefix })
    }

    /// The first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// True if `address` lies in it. An IPv4-mapped address, as sockets for both families report
    /// IPv4 peers, counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::new(address.to_canonical(), self.prefix).is_some_and(|network| network == *self)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A DNS name, or all names below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    /// In small letters, without the root's dot.
    name: String,
    below: bool,
}

impl NamePattern {
    /// This name and no other.
    pub fn exact(name: &str) -> Self {
        Self { name: normal(name), below: false }
    }

    /// Every name below this one, at any depth, but not itself: `*.name`.
    pub fn below(name: &str) -> Self {
        Self { name: normal(name), below: true }
    }

    /// True if `name` is meant, in whatever case, with the root's dot or without it.
    pub fn matches(&self, name: &str) -> bool {
        let name = normal(name);
        if !self.below {
            return name == self.name;
        }
        name.strip_suffix(&self.name)
            .and_then(|labels| labels.strip_suffix('.'))
            .is_some_and(|labels| !labels.is_empty())
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.below { "*." } else { "" }, self.name)
    }
}

fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str, prefix: u8) -> Network {
        Network::new(address.parse().unwrap(), prefix).unwrap()
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_other() {
        for (address, prefix, inside, outside) in [
            ("192.0.2.0", 24, "192.0.2.255", "192.0.3.0"),
            ("192.0.2.7", 32, "192.0.2.7", "192.0.2.6"),
            ("192.0.2.0", 25, "192.0.2.127", "192.0.2.128"),
            ("2001:db8::", 32, "2001:db8:ffff::1", "2001:db9::"),
            ("2001:db8::1", 128, "2001:db8::1", "2001:db8::2"),
            ("192.0.2.0", 24, "::ffff:192.0.2.1", "::192.0.2.1"),
            ("0.0.0.0", 0, "203.0.113.9", "2001:db8::1"),
            ("::", 0, "2001:db8::1", "203.0.113.9"),
        ] {
            let network = network(address, prefix);
            assert!(network.contains(inside.parse().unwrap()), "{inside} in {network}");
            assert!(!network.contains(outside.parse().unwrap()), "{outside} in {network}");
        }
    }

    #[test]
    fn a_network_is_shown_by_its_first_address() {
        assert_eq!(network("192.0.2.77", 24).to_string(), "192.0.2.0/24");
        assert_eq!(network("2001:db8::1", 128).to_string(), "2001:db8::1/128");
        assert_eq!(Network::new("192.0.2.1".parse().unwrap(), 33), None);
        assert_eq!(Network::new("::1".parse().unwrap(), 129), None);
    }

    #[test]
    fn names_match_whole_labels_in_any_case() {
        let exact = NamePattern::exact("ftp.Bank.example.");
        assert!(exact.matches("FTP.bank.EXAMPLE") && exact.matches("ftp.bank.example."));
        assert!(!exact.matches("a.ftp.bank.example") && !exact.matches("bank.example"));
        let below = NamePattern::below("bank.example");
        assert!(below.matches("ftp.bank.example") && below.matches("a.b.BANK.example."));
        for other in ["bank.example", ".bank.example", "notbank.example", "bank.example.org", ""] {
            assert!(!below.matches(other), "{other}");
        }
        assert_eq!((exact.to_string(), below.to_string()), {
            ("ftp.bank.example".to_owned(), "*.bank.example".to_owned())
        });
    }

    #[test]
    fn an_entry_is_about_the_address_or_the_name() {
        let address = "192.0.2.1".parse().unwrap();
        let by_address = BypassEntry::Network(network("192.0.2.0", 24));
        let by_name = BypassEntry::Name(NamePattern::exact("ftp.example"));
        assert!(by_address.matches(address, None) && !by_name.matches(address, None));
        let other = "198.51.100.1".parse().unwrap();
        assert!(by_name.matches(other, Some("ftp.example")));
        assert!(!by_address.matches(other, Some("ftp.example")));
    }
}
