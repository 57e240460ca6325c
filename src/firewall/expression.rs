//! Rules as nf_tables expressions (`linux/netfilter/nf_tables.h`).
//!
//! Registers: 1 to 4 hold 16 bytes each; 8 to 23 are the same room in pieces of 4. A concatenated
//! key lies in consecutive pieces from register 1 (= 8) on.

use super::netlink::Requests;
use super::rule::{Family, Holds, Key, Rule, SetName, Term};
use std::net::IpAddr;

const VERDICT_REGISTER: u32 = 0;
const FIRST: u32 = 1;
/// `NFT_CMP_EQ`, `_NEQ`, `_LTE`, `_GTE`.
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const AT_MOST: u32 = 3;
const AT_LEAST: u32 = 5;
/// `NF_NAT_RANGE_PROTO_SPECIFIED`, as nft sets it where a port is given as a constant.
const PORT_GIVEN: u32 = 2;

/// Writes the expressions of a rule, in order.
pub(super) fn encode_rule(r: &mut Requests, rule: &Rule) {
    for term in &rule.terms {
        encode_term(&mut Expressions(r), *term);
    }
}

fn encode_term(e: &mut Expressions<'_>, term: Term) {
    /// `NFT_META_*`, `NFT_CT_*`, `NFT_SOCKET_*` and bits of the conntrack state.
    const META_MARK: u32 = 3;
    const META_FAMILY: u32 = 15;
    const META_PROTOCOL: u32 = 16;
    const CT_STATE: u32 = 0;
    const CT_MARK: u32 = 3;
    const SOCKET_TRANSPARENT: u32 = 0;
    const SOCKET_WILDCARD: u32 = 2;
    const STATE_ESTABLISHED_RELATED: u32 = 0x6;
    const STATE_NEW_RELATED: u32 = 0xc;
    const TCP: u8 = 6;
    const TRANSPORT: u32 = 2;
    const TCP_FLAGS: (u32, u32, u32) = (TRANSPORT, 13, 1);
    const TCP_PORT: (u32, u32, u32) = (TRANSPORT, 2, 2);
    const SYN: u8 = 0x02;
    const FIN_SYN_RST_ACK: u8 = 0x17;
    match term {
        Term::Is(family) => {
            e.meta(META_FAMILY);
            e.compare(EQUAL, &[nfproto(family)]);
        }
        Term::Tcp => {
            e.meta(META_PROTOCOL);
            e.compare(EQUAL, &[TCP]);
        }
        Term::Syn => {
            e.payload(TCP_FLAGS, FIRST);
            e.mask(&[FIN_SYN_RST_ACK]);
            e.compare(EQUAL, &[SYN]);
        }
        Term::Port(port) => {
            e.payload(TCP_PORT, FIRST);
            e.compare(EQUAL, &port.to_be_bytes());
        }
        Term::PortIn(range) => {
            e.payload(TCP_PORT, FIRST);
            e.compare(AT_LEAST, &range.first().to_be_bytes());
            e.compare(AT_MOST, &range.last().to_be_bytes());
        }
        Term::New | Term::Established => {
            let state =
                if term == Term::New { STATE_NEW_RELATED } else { STATE_ESTABLISHED_RELATED };
            e.conntrack(CT_STATE, FIRST, None);
            e.mask(&state.to_ne_bytes());
            e.compare(NOT_EQUAL, &0u32.to_ne_bytes());
        }
        Term::ConnectionMark(mark) => {
            e.conntrack(CT_MARK, FIRST, None);
            e.compare(EQUAL, &mark.to_ne_bytes());
        }
        Term::OwnSocket => {
            e.socket(SOCKET_TRANSPARENT);
            e.compare(EQUAL, &[1]);
            e.socket(SOCKET_WILDCARD);
            e.compare(EQUAL, &[0]);
        }
        Term::KeyIn(set, family) => {
            e.packet_key(set, family);
            e.lookup(set.of(family), None);
        }
        Term::DeleteKey(set, family) => {
            e.packet_key(set, family);
            e.delete_key(set.of(family));
        }
        Term::MarkConnection(mark) => {
            e.constant(FIRST, &mark.to_ne_bytes());
            e.set_connection_mark(CT_MARK);
        }
        Term::MarkPacket(mark) => {
            e.constant(FIRST, &mark.to_ne_bytes());
            e.set_packet_mark(META_MARK);
        }
        Term::Tproxy(family, address, port) => {
            if let Some(address) = address {
                e.address(FIRST, address);
                e.constant(FIRST + 1, &port.to_be_bytes());
                e.tproxy(family, Some(FIRST), FIRST + 1);
            } else {
                e.constant(FIRST, &port.to_be_bytes());
                e.tproxy(family, None, FIRST);
            }
        }
        Term::Redirect(port) => {
            e.constant(FIRST, &port.to_be_bytes());
            e.redirect(FIRST);
        }
        Term::Dnat(to) => {
            e.address(FIRST, to.ip());
            e.constant(FIRST + 1, &to.port().to_be_bytes());
            e.nat(Nat::Destination(Some(FIRST + 1)), Family::of(to.ip()), PORT_GIVEN);
        }
        Term::DnatByKey(map, family) => {
            e.packet_key(map, family);
            e.lookup(map.of(family), Some(FIRST));
            let port = (map.holds() == Holds::Endpoint).then(|| after_address(family));
            e.nat(Nat::Destination(port), family, 0);
        }
        Term::SnatByKey(map, family) => {
            e.connection_key(map, family);
            e.lookup(map.of(family), Some(FIRST));
            e.nat(Nat::Source, family, 0);
        }
        Term::Accept => e.accept(),
    }
}

/// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
fn nfproto(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

/// The register piece that follows an address in [`FIRST`].
fn after_address(family: Family) -> u32 {
    match family {
        Family::V4 => 9,
        Family::V6 => 2,
    }
}

enum Nat {
    Source,
    /// With the port in this register; kept where there is none.
    Destination(Option<u32>),
}

/// Writes the expressions of one rule.
struct Expressions<'a>(&'a mut Requests);

impl Expressions<'_> {
    fn expression(&mut self, name: &str, body: impl FnOnce(&mut Requests)) {
        self.0.nest(1, |r| {
            r.text(1, name);
            r.nest(2, body);
        });
    }

    fn meta(&mut self, key: u32) {
        self.expression("meta", |r| {
            r.number(1, FIRST);
            r.number(2, key);
        });
    }

    fn set_packet_mark(&mut self, key: u32) {
        self.expression("meta", |r| {
            r.number(2, key);
            r.number(3, FIRST);
        });
    }

    fn compare(&mut self, operator: u32, value: &[u8]) {
        self.expression("cmp", |r| {
            r.number(1, FIRST);
            r.number(2, operator);
            r.nest(3, |r| r.bytes(1, value));
        });
    }

    fn mask(&mut self, mask: &[u8]) {
        let length = if mask.len() == 4 { 4 } else { 1 };
        self.expression("bitwise", |r| {
            r.number(1, FIRST);
            r.number(2, FIRST);
            r.number(3, length);
            r.nest(4, |r| r.bytes(1, mask));
            r.nest(5, |r| r.bytes(1, [0; 4].get(..mask.len()).unwrap_or_default()));
        });
    }

    fn payload(&mut self, (base, offset, length): (u32, u32, u32), register: u32) {
        self.expression("payload", |r| {
            for (kind, number) in (1..).zip([register, base, offset, length]) {
                r.number(kind, number);
            }
        });
    }

    /// Peer and entry address, and the entry port where the set's key has it, as the packet has
    /// them.
    fn packet_key(&mut self, set: SetName, family: Family) {
        const NETWORK: u32 = 1;
        const TRANSPORT: u32 = 2;
        let (source, destination, registers) = match family {
            Family::V4 => ((12, 4), (16, 4), [1, 9, 10]),
            Family::V6 => ((8, 16), (24, 16), [1, 2, 3]),
        };
        self.payload((NETWORK, source.0, source.1), registers[0]);
        self.payload((NETWORK, destination.0, destination.1), registers[1]);
        if set.key() == Key::Endpoint {
            self.payload((TRANSPORT, 2, 2), registers[2]);
        }
    }

    /// The same of the connection's first packet, before any translation.
    fn connection_key(&mut self, set: SetName, family: Family) {
        /// `IP_CT_DIR_ORIGINAL`.
        const ORIGINAL: u8 = 0;
        const CT_PORT: u32 = 12;
        let (source, destination, registers) = match family {
            Family::V4 => (19, 20, [1, 9, 10]),
            Family::V6 => (21, 22, [1, 2, 3]),
        };
        self.conntrack(source, registers[0], Some(ORIGINAL));
        self.conntrack(destination, registers[1], Some(ORIGINAL));
        if set.key() == Key::Endpoint {
            self.conntrack(CT_PORT, registers[2], Some(ORIGINAL));
        }
    }

    fn conntrack(&mut self, key: u32, register: u32, direction: Option<u8>) {
        self.expression("ct", |r| {
            r.number(1, register);
            r.number(2, key);
            if let Some(direction) = direction {
                r.bytes(3, &[direction]);
            }
        });
    }

    fn set_connection_mark(&mut self, key: u32) {
        self.expression("ct", |r| {
            r.number(2, key);
            r.number(4, FIRST);
        });
    }

    fn socket(&mut self, key: u32) {
        self.expression("socket", |r| {
            r.number(1, key);
            r.number(2, FIRST);
        });
    }

    fn lookup(&mut self, set: &str, into: Option<u32>) {
        self.expression("lookup", |r| {
            r.text(1, set);
            r.number(2, FIRST);
            if let Some(register) = into {
                r.number(3, register);
            }
        });
    }

    fn delete_key(&mut self, set: &str) {
        /// `NFT_DYNSET_OP_DELETE`.
        const DELETE: u32 = 2;
        self.expression("dynset", |r| {
            r.text(1, set);
            r.number(3, DELETE);
            r.number(4, FIRST);
        });
    }

    fn constant(&mut self, register: u32, value: &[u8]) {
        self.expression("immediate", |r| {
            r.number(1, register);
            r.nest(2, |r| r.bytes(1, value));
        });
    }

    fn address(&mut self, register: u32, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.constant(register, &address.octets()),
            IpAddr::V6(address) => self.constant(register, &address.octets()),
        }
    }

    fn accept(&mut self) {
        /// `NF_ACCEPT`.
        const ACCEPT: u32 = 1;
        self.expression("immediate", |r| {
            r.number(1, VERDICT_REGISTER);
            r.nest(2, |r| r.nest(2, |r| r.number(1, ACCEPT)));
        });
    }

    fn tproxy(&mut self, family: Family, address: Option<u32>, port: u32) {
        self.expression("tproxy", |r| {
            r.number(1, nfproto(family).into());
            if let Some(register) = address {
                r.number(2, register);
            }
            r.number(3, port);
        });
    }

    fn redirect(&mut self, port: u32) {
        self.expression("redir", |r| {
            r.number(1, port);
            r.number(3, PORT_GIVEN);
        });
    }

    fn nat(&mut self, nat: Nat, family: Family, flags: u32) {
        let (kind, port) = match nat {
            Nat::Source => (0, None),
            Nat::Destination(port) => (1, port),
        };
        self.expression("nat", |r| {
            r.number(1, kind);
            r.number(2, nfproto(family).into());
            r.number(3, FIRST);
            if let Some(register) = port {
                r.number(5, register);
            }
            if flags != 0 {
                r.number(7, flags);
            }
        });
    }
}
