//! The addresses of this host's own interfaces.
//!
//! Read afresh with each call, since interfaces come and go; a caller that asks often keeps the
//! answer itself. Not here: routes, and telling when something changes.

use pnet::datalink;
use std::net::IpAddr;

/// Every address of every interface of this network namespace.
pub fn local_addresses() -> Vec<IpAddr> {
    datalink::interfaces()
        .iter()
        .flat_map(|interface| interface.ips.iter().map(|network| network.ip()))
        .collect()
}

/// The first address of the named interface that a peer can be told: of the given family, and
/// not one that means something on its own link only (169.254.0.0/16, fe80::/10).
pub fn address_of(interface: &str, v6: bool) -> Option<IpAddr> {
    datalink::interfaces()
        .into_iter()
        .find(|candidate| candidate.name == interface)?
        .ips
        .iter()
        .map(|network| network.ip())
        .find(|&address| address.is_ipv6() == v6 && !is_link_local(address))
}

/// True if `address` is this host's own: one of an interface, or any of the loopback network,
/// which is this host's as a whole.
pub fn is_local(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || local_addresses().contains(&address)
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_this_host() {
        assert_eq!(address_of("lo", false), Some("127.0.0.1".parse().unwrap()));
        assert!(local_addresses().contains(&"127.0.0.1".parse().unwrap()));
        for own in ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"] {
            assert!(is_local(own.parse().unwrap()), "{own}");
        }
    }

    #[test]
    fn others_are_not() {
        // RFC 5737 and RFC 3849: addresses of no host.
        for foreign in ["203.0.113.77", "2001:db8:ffff::77", "0.0.0.0"] {
            assert!(!is_local(foreign.parse().unwrap()), "{foreign}");
        }
        assert_eq!(address_of("no such interface", false), None);
    }

    #[test]
    fn link_local_addresses_are_not_told() {
        for (address, expected) in
            [("169.254.1.1", true), ("fe80::1", true), ("192.0.2.1", false), ("2001:db8::1", false)]
        {
            assert_eq!(is_link_local(address.parse().unwrap()), expected, "{address}");
        }
    }
}
