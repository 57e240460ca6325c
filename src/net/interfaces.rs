//! The addresses of this host's own interfaces.
//!
//! Read afresh with each call, since interfaces come and go; a caller that asks often keeps the
//! answer itself. Not here: routes, and telling when something changes ([`super::Follower`]).

use pnet::datalink;
use std::io;
use std::net::IpAddr;

/// Every address of every interface of this network namespace.
pub fn local_addresses() -> Vec<IpAddr> {
    datalink::interfaces()
        .iter()
        .flat_map(|interface| interface.ips.iter().map(|network| network.ip()))
        .collect()
}

/// The addresses of the named interface that a peer can be told: not those that mean something on
/// their own link only (169.254.0.0/16, fe80::/10). None if there is no such interface.
///
/// # Errors
/// No descriptor or no memory is left to ask the kernel: what there is, is not known.
pub fn addresses_of(interface: &str) -> io::Result<Vec<IpAddr>> {
    let all = datalink::interfaces();
    if all.is_empty() {
        // No network namespace is without its loopback: the kernel has not been asked.
        return Err(io::Error::other("the interfaces cannot be read"));
    }
    let found = all
        .iter()
        .filter(|candidate| candidate.name == interface)
        .flat_map(|interface| interface.ips.iter().map(|network| network.ip()))
        .filter(|&address| !is_link_local(address));
    Ok(found.collect())
}

/// True if `address` is this host's own: one of an interface, or any of the loopback network,
/// which is this host's as a whole.
pub fn is_local(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || local_addresses().contains(&address)
}

/// True for an address that means something on its own link only.
pub(super) fn is_link_local(address: IpAddr) -> bool {
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
        assert!(addresses_of("lo").unwrap().contains(&"127.0.0.1".parse().unwrap()));
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
        assert!(addresses_of("no such interface").unwrap().is_empty());
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
