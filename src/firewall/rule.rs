//! The part of the nftables language that the gateway needs, as data.
//!
//! A [`Table`] is written once and read twice: [`super::encode`] turns it into netlink messages and
//! [`super::render()`] into text, so that what `ftpgate rules` prints is what is installed.
//!
//! Every set and map has the same key: the address of the peer, the address and the port that it
//! dials ([`Term::KeyIn`] takes them from the packet).

use std::net::{IpAddr, SocketAddr};

/// The most elements that one set or map may hold.
pub(super) const SET_SIZE: u32 = 65536;

/// A table of the family `inet`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) sets: Vec<Set>,
    pub(super) chains: Vec<Chain>,
}

/// A set, or a map from the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) name: SetName,
    pub(super) family: Family,
}

/// The sets and maps of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SetName {
    /// Connections that the kernel may forward, once.
    Pin,
    /// Connections that are captured for the gateway, once.
    Cap,
    /// Where a forwarded connection goes.
    Dnat,
    /// Whom the far side of a forwarded connection sees.
    Snat,
}

/// What a set holds besides its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// Nothing; the packet path may delete elements.
    Keys,
    /// Address and port.
    Endpoint,
    /// Address.
    Address,
}

impl SetName {
    pub(super) fn holds(self) -> Holds {
        match self {
            Self::Pin | Self::Cap => Holds::Keys,
            Self::Dnat => Holds::Endpoint,
            Self::Snat => Holds::Address,
        }
    }

    /// The name in the kernel.
    pub(super) fn of(self, family: Family) -> &'static str {
        match (self, family) {
            (Self::Pin, Family::V4) => "pin4",
            (Self::Pin, Family::V6) => "pin6",
            (Self::Cap, Family::V4) => "cap4",
            (Self::Cap, Family::V6) => "cap6",
            (Self::Dnat, Family::V4) => "dnat4",
            (Self::Dnat, Family::V6) => "dnat6",
            (Self::Snat, Family::V4) => "snat4",
            (Self::Snat, Family::V6) => "snat6",
        }
    }
}

/// Which of the two families of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// A base chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) name: &'static str,
    /// What the chain is for, in words.
    pub(super) purpose: &'static str,
    pub(super) kind: ChainKind,
    pub(super) hook: Hook,
    pub(super) priority: i32,
    pub(super) policy: Policy,
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChainKind {
    Filter,
    Nat,
}

impl ChainKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    Prerouting,
    Forward,
    Postrouting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Accept,
    Drop,
}

/// A rule: terms from left to right, each a condition or a deed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// What the rule is for, in words.
    pub(super) purpose: &'static str,
    pub(super) terms: Vec<Term>,
}

/// One condition or deed of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Term {
    /// The packet is of this family.
    Is(Family),
    /// The packet is TCP. Stands ahead of every term that looks into the TCP header.
    Tcp,
    /// SYN without ACK, RST and FIN.
    Syn,
    /// The TCP destination port.
    Port(u16),
    /// The packet begins a connection.
    New,
    /// The packet belongs, or is related, to a connection that stands.
    Established,
    /// The connection bears this mark.
    ConnectionMark(u32),
    /// A connected transparent socket of this host takes the packet.
    OwnSocket,
    /// The set holds the packet's key.
    KeyIn(SetName, Family),
    /// Takes the packet's key out of the set.
    DeleteKey(SetName, Family),
    /// Marks the connection.
    MarkConnection(u32),
    /// Marks the packet.
    MarkPacket(u32),
    /// Delivers the packet to a transparent socket, unchanged; without an address, to a listener
    /// on the address of the receiving interface or on every address.
    Tproxy(Family, Option<IpAddr>, u16),
    /// Translates the destination to this host.
    Redirect(u16),
    /// Translates the destination.
    Dnat(SocketAddr),
    /// Translates the destination to what [`SetName::Dnat`] holds for the packet's key.
    DnatByKey(Family),
    /// Translates the source to what [`SetName::Snat`] holds for the key of the connection's first
    /// packet; the port is kept where it is free.
    SnatByKey(Family),
    /// Done; in this chain nothing more is asked.
    Accept,
}
