//! Transfers between two servers, of which the client names the other one in PORT or EPRT (FXP).
//!
//! Not here: addresses of this host, which only the executor knows for certain.

use super::bypass::Network;
use std::net::IpAddr;

/// Whom else than itself a client may name (`fxp`, RFC 2577 §2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Fxp {
    /// Nobody.
    #[default]
    Never,
    /// Its neighbours: addresses in its own /24, or /64 with IPv6.
    SameNet,
    /// Addresses in one of these networks.
    Listed(Vec<Network>),
}

/// The networks of neighbours, in bits.
const NEIGHBOURS: (u8, u8) = (24, 64);

impl Fxp {
    /// True if `client` may name `third`, in whatever form both are written: an address of its own
    /// family that can be another host's.
    pub(super) fn allows(&self, client: IpAddr, third: IpAddr) -> bool {
        let (client, third) = (client.to_canonical(), third.to_canonical());
        let possible = client.is_ipv4() == third.is_ipv4() && is_some_hosts(third);
        possible
            && match self {
                Self::Never => false,
                Self::SameNet => {
                    let prefix = if client.is_ipv4() { NEIGHBOURS.0 } else { NEIGHBOURS.1 };
                    Network::new(client, prefix).is_some_and(|network| network.contains(third))
                }
                Self::Listed(networks) => networks.iter().any(|network| network.contains(third)),
            }
    }
}

/// False for addresses that lead to no host, to many, to this one, or to another one on each link.
fn is_some_hosts(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            // 0.0.0.0/8 is "this network", 240.0.0.0/4 reserved (RFC 6890), with the broadcast.
            let first = v4.octets()[0];
            !(v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || first == 0
                || first >= 240)
        }
        IpAddr::V6(v6) => {
            // `::1.2.3.4`, which no host has any more (RFC 4291 §2.5.5.1), is of the same network.
            let lowest = v6.segments().iter().take(6).all(|segment| *segment == 0);
            !(v6.is_loopback() || v6.is_unicast_link_local() || v6.is_multicast() || lowest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(fxp: &Fxp, client: &str, third: &str) -> bool {
        fxp.allows(client.parse().unwrap(), third.parse().unwrap())
    }

    fn everybody() -> Fxp {
        let all = ["0.0.0.0", "::"].map(|all| Network::new(all.parse().unwrap(), 0).unwrap());
        Fxp::Listed(all.to_vec())
    }

    #[test]
    fn neighbours_share_their_network() {
        for (client, third, allowed) in [
            ("192.0.2.2", "192.0.2.250", true),
            ("192.0.2.2", "::ffff:192.0.2.250", true),
            ("192.0.2.2", "192.0.3.2", false),
            ("2001:db8::2", "2001:db8::ffff:3", true),
            ("2001:db8::2", "2001:db8:0:1::3", false),
        ] {
            assert_eq!(allows(&Fxp::SameNet, client, third), allowed, "{client} {third}");
            assert!(!allows(&Fxp::Never, client, third));
        }
    }

    #[test]
    fn listed_networks_are_those_and_no_other() {
        let network = Network::new("198.51.100.0".parse().unwrap(), 25).unwrap();
        let fxp = Fxp::Listed(vec![network]);
        assert!(allows(&fxp, "192.0.2.2", "198.51.100.1"));
        assert!(!allows(&fxp, "192.0.2.2", "198.51.100.200"));
        assert!(!allows(&fxp, "192.0.2.2", "192.0.2.3"), "a neighbour is not listed");
    }

    #[test]
    fn case_6_no_list_makes_a_special_address_a_third_host() {
        for third in [
            "127.0.0.1",
            "169.254.1.1",
            "224.0.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "240.0.0.1",
        ] {
            assert!(!allows(&everybody(), "192.0.2.2", third), "{third}");
        }
        for third in ["::1", "fe80::1", "ff02::1", "::", "::192.0.2.3"] {
            assert!(!allows(&everybody(), "2001:db8::2", third), "{third}");
        }
        assert!(!allows(&everybody(), "192.0.2.2", "2001:db8::3"), "of the other family");
        assert!(allows(&everybody(), "192.0.2.2", "198.51.100.1"));
    }
}
