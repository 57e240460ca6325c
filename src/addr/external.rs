//! What the far side is told in place of the gateway's own address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an interface or a DNS name stands for at one time: one address of each family at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Addresses {
    /// IPv4.
    pub v4: Option<Ipv4Addr>,
    /// IPv6.
    pub v6: Option<Ipv6Addr>,
}

impl Addresses {
    /// What is used of `found`, where `self` was used before: of each family the address in use for as
    /// long as it is among them, else the first. An answer in another order changes nothing.
    #[must_use]
    pub fn keep_or_take(self, found: &[IpAddr]) -> Self {
        let mut v4 = found.iter().filter_map(|ip| match ip {
            IpAddr::V4(ip) => Some(*ip),
            IpAddr::V6(_) => None,
        });
        let mut v6 = found.iter().filter_map(|ip| match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(*ip),
        });
        let stays = |ip: IpAddr| found.contains(&ip);
        Self {
            v4: self.v4.filter(|ip| stays((*ip).into())).or_else(|| v4.next()),
            v6: self.v6.filter(|ip| stays((*ip).into())).or_else(|| v6.next()),
        }
    }

    /// True if there is none of either family.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Those that there are, IPv4 first.
    pub fn iter(self) -> impl Iterator<Item = IpAddr> {
        self.v4.map(IpAddr::from).into_iter().chain(self.v6.map(IpAddr::from))
    }
}

/// The external address of one side: what its peer is told instead of the gateway's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum External {
    /// The gateway's own: nothing stands in front of it.
    #[default]
    Own,
    /// This one. It says nothing about the other family, for which the gateway's own is told.
    Address(IpAddr),
    /// What an interface or a name stands for now. A family that it has no address of is unknown: the
    /// address may still come, and the gateway's own would be a wrong one.
    Found(Addresses),
}

impl External {
    /// What is told instead of `own`; `None` if it is not known.
    pub fn instead_of(self, own: IpAddr) -> Option<IpAddr> {
        match (self, own) {
            (Self::Own, own) => Some(own),
            (Self::Address(ip), own) => Some(if ip.is_ipv4() == own.is_ipv4() { ip } else { own }),
            (Self::Found(found), IpAddr::V4(_)) => found.v4.map(IpAddr::V4),
            (Self::Found(found), IpAddr::V6(_)) => found.v6.map(IpAddr::V6),
        }
    }
}

/// A value for each of the gateway's own addresses: several of them may each have another one in front.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ByOwn<T = External> {
    /// By own address, in canonical form.
    pub of: BTreeMap<IpAddr, T>,
    /// For every other own address.
    pub others: T,
}

impl<T> ByOwn<T> {
    /// The value for `own`.
    pub fn get(&self, own: IpAddr) -> &T {
        self.of.get(&own.to_canonical()).unwrap_or(&self.others)
    }

    /// The same with other values.
    pub fn map<U>(&self, mut to: impl FnMut(&T) -> U) -> ByOwn<U> {
        ByOwn {
            of: self.of.iter().map(|(own, value)| (*own, to(value))).collect(),
            others: to(&self.others),
        }
    }
}

impl<T> From<T> for ByOwn<T> {
    /// The same for every own address.
    fn from(others: T) -> Self {
        Self { of: BTreeMap::new(), others }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(text: &str) -> Vec<IpAddr> {
        text.split_whitespace().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn an_address_stays_in_use_while_it_is_in_the_answer() {
        let first = Addresses::default().keep_or_take(&ips("192.0.2.1 192.0.2.2 2001:db8::1"));
        assert_eq!(first.iter().collect::<Vec<_>>(), ips("192.0.2.1 2001:db8::1"));
        let turned = first.keep_or_take(&ips("2001:db8::2 2001:db8::1 192.0.2.2 192.0.2.1"));
        assert_eq!(turned, first);
        let gone = first.keep_or_take(&ips("192.0.2.3 192.0.2.2"));
        assert_eq!(gone.iter().collect::<Vec<_>>(), ips("192.0.2.3"));
        assert!(gone.keep_or_take(&[]).is_empty());
    }

    #[test]
    fn each_family_is_told_its_own() {
        let [v4, v6]: [IpAddr; 2] = ips("10.0.0.5 2001:db8::5").try_into().unwrap();
        let ip: IpAddr = "203.0.113.7".parse().unwrap();
        assert_eq!(External::Own.instead_of(v4), Some(v4));
        assert_eq!(External::Address(ip).instead_of(v4), Some(ip));
        assert_eq!(External::Address(ip).instead_of(v6), Some(v6));
        let found = External::Found(Addresses::default().keep_or_take(&[ip]));
        assert_eq!(found.instead_of(v4), Some(ip));
        assert_eq!(found.instead_of(v6), None, "it may have one tomorrow");
    }

    #[test]
    fn own_addresses_are_found_in_either_form() {
        let [a, b]: [IpAddr; 2] = ips("10.0.0.5 203.0.113.7").try_into().unwrap();
        let by_own = ByOwn { of: BTreeMap::from([(a, External::Address(b))]), ..ByOwn::default() };
        assert_eq!(*by_own.get("::ffff:10.0.0.5".parse().unwrap()), External::Address(b));
        assert_eq!(*by_own.get(b), External::Own);
    }
}
