//! Addresses by the role they play, as types, so that what a peer *wrote* is never taken for what
//! the kernel *saw*.
//!
//! | role | where it comes from |
//! |---|---|
//! | [`OriginalDst`] | where the client dialled, before any capture |
//! | [`Observed`] | the address of a peer as the kernel reports it for the control connection |
//! | [`Advertised`] | what a peer wrote into PORT, EPRT, 227 or 229 |
//! | [`External`] | what the far side is told to use instead, [`ByOwn`] by the gateway's own address |
//!
//! Every IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) is taken as the IPv4 address that it means,
//! since one peer may be seen in either form on a dual-stack socket.

mod external;

pub use external::{Addresses, ByOwn, External};

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Takes an IPv4-mapped IPv6 address as IPv4 and forgets scope and flow label.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

macro_rules! role {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

role! {
    /// Where the client dialled: the destination of its first packet, before tproxy or redirect.
    OriginalDst(SocketAddr)
}
role! {
    /// The address of a peer as the kernel reports it for the control connection.
    Observed(IpAddr)
}
role! {
    /// What a peer wrote into its own line. Never used to connect unless it agrees with [`Observed`].
    Advertised(SocketAddr)
}

impl Observed {
    /// The observed address of `peer`, in canonical form.
    pub fn of(peer: SocketAddr) -> Self {
        Self(peer.ip().to_canonical())
    }
}

impl Advertised {
    /// True if the peer names an address other than its own: the FTP bounce of RFC 2577 §2, or
    /// the server-chosen target of CVE-2020-8284.
    pub fn names_third_party(self, observed: Observed) -> bool {
        self.0.ip().to_canonical() != observed.0
    }

    /// True for a port that no FTP peer of good will listens on for data: 0, or one of the
    /// well-known ports below 1024 (RFC 2577 §3).
    pub fn names_low_port(self) -> bool {
        self.0.port() < 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_the_ipv4_address_they_mean() {
        let mapped: SocketAddr = "[::ffff:192.0.2.2]:21".parse().unwrap();
        assert_eq!(canonical(mapped), "192.0.2.2:21".parse().unwrap());
        let advertised = Advertised("[::ffff:192.0.2.2]:5001".parse().unwrap());
        assert!(!advertised.names_third_party(Observed("192.0.2.2".parse().unwrap())));
        assert!(advertised.names_third_party(Observed("192.0.2.3".parse().unwrap())));
    }

    #[test]
    fn case_7_low_ports() {
        for (port, low) in [(0, true), (1023, true), (1024, false), (65535, false)] {
            let advertised = Advertised(SocketAddr::new("192.0.2.2".parse().unwrap(), port));
            assert_eq!(advertised.names_low_port(), low, "{port}");
        }
    }
}
