//! The part of the nftables language that the gateway needs, as data.
//!
//! A [`Table`] is written once and read twice: [`super::encode`] turns it into netlink messages and
//! [`super::render()`] into text, so that what `ftpgate rules` prints is what is installed.
//!
//! The key of a set or map is the address of the peer and the address that it dials, for a pinhole
//! with the port ([`Term::KeyIn`] takes them from the packet).

use crate::pinhole::PortRange;
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

/// A set or a map.
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
    /// Between whom a whole range of ports is open.
    Blind,
    /// Where connections to that range go.
    BlindDnat,
    /// Whom the far side of such a connection sees.
    BlindSnat,
}

/// What of a packet is looked up in a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// Peer, address and port dialled.
    Endpoint,
    /// Peer and address dialled.
    Pair,
}

/// What a set holds besides its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// Nothing.
    Keys,
    /// Address and port.
    Endpoint,
    /// Address.
    Address,
}

impl SetName {
    pub(super) fn holds(self) -> Holds {
        match self {
            Self::Pin | Self::Cap | Self::Blind => Holds::Keys,
            Self::Dnat => Holds::Endpoint,
            Self::Snat | Self::BlindDnat | Self::BlindSnat => Holds::Address,
        }
    }

    pub(super) fn key(self) -> Key {
        match self {
            Self::Pin | Self::Cap | Self::Dnat | Self::Snat => Key::Endpoint,
            Self::Blind | Self::BlindDnat | Self::BlindSnat => Key::Pair,
        }
    }

    /// True if every element has its time; else elements stand until they are deleted.
    pub(super) fn expires(self) -> bool {
        match self {
            Self::Pin | Self::Cap | Self::Dnat | Self::Snat => true,
            Self::Blind | Self::BlindDnat | Self::BlindSnat => false,
        }
    }

    /// True if the packet path deletes elements.
    pub(super) fn is_used_up(self) -> bool {
        match self {
            Self::Pin | Self::Cap => true,
            Self::Dnat | Self::Snat | Self::Blind | Self::BlindDnat | Self::BlindSnat => false,
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
            (Self::Blind, Family::V4) => "blind4",
            (Self::Blind, Family::V6) => "blind6",
            (Self::BlindDnat, Family::V4) => "blind_dnat4",
            (Self::BlindDnat, Family::V6) => "blind_dnat6",
            (Self::BlindSnat, Family::V4) => "blind_snat4",
            (Self::BlindSnat, Family::V6) => "blind_snat6",
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
    /// The TCP destination port is one of several.
    PortIn(PortRange),
    /// The packet begins a connection, or is an ICMP error about one. Where the kernel's own FTP
    /// helper reads the control connection too, the data connections that it announces begin as
    /// `related`.
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
    /// Translates the destination to what the map holds for the packet's key; the port is kept
    /// where the map holds none.
    DnatByKey(SetName, Family),
    /// Translates the source to what the map holds for the key of the connection's first packet;
    /// the port is kept where it is free.
    SnatByKey(SetName, Family),
    /// Done; in this chain nothing more is asked.
    Accept,
}
