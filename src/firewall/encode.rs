//! Tables and elements as nf_tables messages (`linux/netfilter/nf_tables.h`).
//!
//! Registers: 1 to 4 hold 16 bytes each; 8 to 23 are the same room in pieces of 4. A concatenated
//! key lies in consecutive pieces from register 1 (= 8) on.

use super::netlink::{Requests, flag};
use super::rule::{Chain, Family, Holds, Hook, Policy, Rule, SET_SIZE, Set, SetName, Table, Term};
use super::ruleset::Element;
use std::net::IpAddr;
use std::time::Duration;

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NFPROTO_INET: u8 = 1;
/// The kernel removes the table when the socket that made it is closed (since 5.12).
pub(super) const TABLE_OWNER: u32 = 2;
const VERDICT_REGISTER: u32 = 0;
const FIRST: u32 = 1;
/// `CMP_EQ`, `CMP_NEQ`.
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
/// `NF_NAT_RANGE_PROTO_SPECIFIED`, as nft sets it where a port is given as a constant.
const PORT_GIVEN: u32 = 2;

/// Message kinds within the subsystem.
mod kind {
    pub(super) const NEWTABLE: u16 = 0;
    pub(super) const DELTABLE: u16 = 2;
    pub(super) const NEWCHAIN: u16 = 3;
    pub(super) const NEWRULE: u16 = 6;
    pub(super) const DELRULE: u16 = 8;
    pub(super) const NEWSET: u16 = 9;
    pub(super) const NEWSETELEM: u16 = 12;
    pub(super) const DELSETELEM: u16 = 14;
}

/// Requests that the kernel carries out together or not at all.
#[derive(Debug, Default)]
pub(super) struct Batch {
    requests: Requests,
    /// Sequence number of the message that begins the batch.
    pub(super) first: u32,
    /// Sequence number of the last message within, the only one to be acknowledged.
    pub(super) last: u32,
}

impl Batch {
    /// Starts over with an empty batch.
    pub(super) fn begin(&mut self) {
        self.requests.clear();
        self.first = self.requests.message(BATCH_BEGIN, 0, (0, SUBSYSTEM), |_| {});
        self.last = self.first;
    }

    /// Ends the batch; these are the bytes to send. Errors come unasked, so one acknowledgement, of
    /// the last message, suffices; several hundred would overflow the receive buffer.
    pub(super) fn end(&mut self) -> &[u8] {
        self.requests.acknowledge();
        self.requests.message(BATCH_END, 0, (0, SUBSYSTEM), |_| {});
        self.requests.as_bytes()
    }

    /// The message with this sequence number, its header included.
    pub(super) fn message(&self, sequence: u32) -> Option<&[u8]> {
        let mut rest = self.requests.as_bytes();
        loop {
            let length = usize::try_from(u32::from_ne_bytes(*rest.first_chunk()?)).ok()?;
            let (message, after) = rest.split_at_checked(length)?;
            if message.get(8..12)? == sequence.to_ne_bytes() {
                return Some(message);
            }
            rest = after;
        }
    }

    fn push(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Requests)) {
        let kind = (SUBSYSTEM << 8) | kind;
        self.last = self.requests.message(kind, flags, (NFPROTO_INET, 0), body);
    }

    /// Makes the table, in place of any of the same name.
    pub(super) fn replace_table(&mut self, table: &Table, flags: u32) {
        // Deleting what may not exist is an error; making what exists is none.
        self.push(kind::NEWTABLE, flag::CREATE, |r| r.text(1, &table.name));
        self.push(kind::DELTABLE, 0, |r| r.text(1, &table.name));
        self.push(kind::NEWTABLE, flag::CREATE, |r| {
            r.text(1, &table.name);
            r.number(2, flags);
        });
        for (set, id) in table.sets.iter().zip(1..) {
            self.push(kind::NEWSET, flag::CREATE, |r| encode_set(r, &table.name, set, id));
        }
        for chain in &table.chains {
            self.chain(&table.name, chain);
        }
    }

    /// Makes the table, which has no sets, unless it is there; it is never gone in between.
    pub(super) fn ensure_table(&mut self, table: &Table) {
        self.push(kind::NEWTABLE, flag::CREATE, |r| r.text(1, &table.name));
        for chain in &table.chains {
            self.push(kind::NEWCHAIN, flag::CREATE, |r| encode_chain(r, &table.name, chain));
            // Without a handle: every rule of the chain.
            self.push(kind::DELRULE, 0, |r| {
                r.text(1, &table.name);
                r.text(2, chain.name);
            });
            self.chain(&table.name, chain);
        }
    }

    fn chain(&mut self, table: &str, chain: &Chain) {
        self.push(kind::NEWCHAIN, flag::CREATE, |r| encode_chain(r, table, chain));
        for rule in &chain.rules {
            self.push(kind::NEWRULE, flag::CREATE | flag::APPEND, |r| {
                r.text(1, table);
                r.text(2, chain.name);
                r.nest(4, |r| encode_rule(r, rule));
            });
        }
    }

    /// Deletes the table.
    pub(super) fn delete_table(&mut self, name: &str) {
        self.push(kind::DELTABLE, 0, |r| r.text(1, name));
    }

    /// Adds an element that lives for `timeout`; fails if it exists.
    pub(super) fn add(&mut self, table: &str, element: &Element, timeout: Duration) {
        self.put(table, element, timeout, flag::CREATE | flag::EXCL);
    }

    /// Deletes an element, whether it exists or not.
    ///
    /// Deleting what does not exist fails the batch, and a message that forgives it exists only
    /// since Linux 6.3. Adding what exists is no failure, so the element is added first; within one
    /// batch it never takes effect.
    pub(super) fn delete_if_there(&mut self, table: &str, element: &Element) {
        self.put(table, element, Duration::from_secs(1), flag::CREATE);
        self.delete(table, element);
    }

    /// Deletes an element; fails if it does not exist.
    pub(super) fn delete(&mut self, table: &str, element: &Element) {
        self.push(kind::DELSETELEM, 0, |r| {
            encode_element(r, table, element, |r| {
                r.nest(1, |r| r.bytes(1, element.key.as_bytes()))
            });
        });
    }

    fn put(&mut self, table: &str, element: &Element, timeout: Duration, flags: u16) {
        let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1);
        self.push(kind::NEWSETELEM, flags, |r| {
            encode_element(r, table, element, |r| {
                r.nest(1, |r| r.bytes(1, element.key.as_bytes()));
                if !element.data.as_bytes().is_empty() {
                    r.nest(2, |r| r.bytes(1, element.data.as_bytes()));
                }
                r.bytes(4, &milliseconds.to_be_bytes());
            });
        });
    }
}

fn encode_element(
    r: &mut Requests,
    table: &str,
    element: &Element,
    body: impl FnOnce(&mut Requests),
) {
    r.text(1, table);
    r.text(2, element.set.of(element.family));
    r.nest(3, |r| r.nest(1, body));
}

/// Data types as nft numbers them; the kernel keeps them for whoever lists the table.
mod data_type {
    pub(super) const ADDRESS4: u32 = 7;
    pub(super) const ADDRESS6: u32 = 8;
    pub(super) const PORT: u32 = 13;

    /// A concatenation is its parts' numbers, six bits each.
    pub(super) const fn concatenated(first: u32, second: u32) -> u32 {
        (first << 6) | second
    }
}

fn encode_set(r: &mut Requests, table: &str, set: &Set, id: u32) {
    use data_type::{ADDRESS4, ADDRESS6, PORT, concatenated};
    /// `NFT_SET_MAP`, `NFT_SET_TIMEOUT`, `NFT_SET_EVAL` (the packet path changes it).
    const MAP: u32 = 0x8;
    const TIMEOUT: u32 = 0x10;
    const DYNAMIC: u32 = 0x20;
    let (address, length) = match set.family {
        Family::V4 => (ADDRESS4, 4),
        Family::V6 => (ADDRESS6, 16),
    };
    r.text(1, table);
    r.text(2, set.name.of(set.family));
    let key = (concatenated(concatenated(address, address), PORT), 2 * length + 4);
    let (flags, data) = match set.name.holds() {
        Holds::Keys => (TIMEOUT | DYNAMIC, None),
        Holds::Endpoint => (TIMEOUT | MAP, Some((concatenated(address, PORT), length + 4))),
        Holds::Address => (TIMEOUT | MAP, Some((address, length))),
    };
    r.number(3, flags);
    r.number(4, key.0);
    r.number(5, key.1);
    if let Some((data_type, length)) = data {
        r.number(6, data_type);
        r.number(7, length);
    }
    r.nest(9, |r| r.number(1, SET_SIZE));
    r.number(10, id);
}

fn encode_chain(r: &mut Requests, table: &str, chain: &Chain) {
    let hook = match chain.hook {
        Hook::Prerouting => 0,
        Hook::Forward => 2,
        Hook::Postrouting => 4,
    };
    let policy = match chain.policy {
        Policy::Drop => 0,
        Policy::Accept => 1,
    };
    r.text(1, table);
    r.text(3, chain.name);
    r.nest(4, |r| {
        r.number(1, hook);
        r.bytes(2, &chain.priority.to_be_bytes());
    });
    r.number(5, policy);
    r.text(7, chain.kind.name());
}

fn encode_rule(r: &mut Requests, rule: &Rule) {
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
    const STATE_NEW: u32 = 0x8;
    const STATE_ESTABLISHED_RELATED: u32 = 0x6;
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
        Term::New | Term::Established => {
            let state = if term == Term::New { STATE_NEW } else { STATE_ESTABLISHED_RELATED };
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
            e.packet_key(family);
            e.lookup(set.of(family), None);
        }
        Term::DeleteKey(set, family) => {
            e.packet_key(family);
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
            e.nat(Nat::Destination(FIRST + 1), Family::of(to.ip()), PORT_GIVEN);
        }
        Term::DnatByKey(family) => {
            e.packet_key(family);
            e.lookup(SetName::Dnat.of(family), Some(FIRST));
            e.nat(Nat::Destination(after_address(family)), family, 0);
        }
        Term::SnatByKey(family) => {
            e.connection_key(family);
            e.lookup(SetName::Snat.of(family), Some(FIRST));
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
    /// With the port in this register.
    Destination(u32),
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

    /// Peer, entry address and entry port, as the packet has them.
    fn packet_key(&mut self, family: Family) {
        const NETWORK: u32 = 1;
        const TRANSPORT: u32 = 2;
        let (source, destination, registers) = match family {
            Family::V4 => ((12, 4), (16, 4), [1, 9, 10]),
            Family::V6 => ((8, 16), (24, 16), [1, 2, 3]),
        };
        self.payload((NETWORK, source.0, source.1), registers[0]);
        self.payload((NETWORK, destination.0, destination.1), registers[1]);
        self.payload((TRANSPORT, 2, 2), registers[2]);
    }

    /// The same of the connection's first packet, before any translation.
    fn connection_key(&mut self, family: Family) {
        /// `IP_CT_DIR_ORIGINAL`.
        const ORIGINAL: u8 = 0;
        const CT_PORT: u32 = 12;
        let (source, destination, registers) = match family {
            Family::V4 => (19, 20, [1, 9, 10]),
            Family::V6 => (21, 22, [1, 2, 3]),
        };
        self.conntrack(source, registers[0], Some(ORIGINAL));
        self.conntrack(destination, registers[1], Some(ORIGINAL));
        self.conntrack(CT_PORT, registers[2], Some(ORIGINAL));
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
            Nat::Destination(port) => (1, Some(port)),
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
