//! Tables and elements as nf_tables messages (`linux/netfilter/nf_tables.h`).
//!
//! Not here: what a rule is made of (see `expression`).

use super::expression::encode_rule;
use super::netlink::{Requests, flag};
use super::rule::{Chain, Family, Holds, Hook, Key, Policy, SET_SIZE, Set, Table};
use super::ruleset::Element;
use std::time::Duration;

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NFPROTO_INET: u8 = 1;
/// The kernel removes the table when the socket that made it is closed (since 5.12).
pub(super) const TABLE_OWNER: u32 = 2;

/// Message kinds within the subsystem.
mod kind {
    pub(super) const NEWTABLE: u16 = 0;
    pub(super) const DELTABLE: u16 = 2;
    pub(super) const NEWCHAIN: u16 = 3;
    pub(super) const NEWRULE: u16 = 6;
    pub(super) const GETRULE: u16 = 7;
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

    /// Starts over with a single message, which asks for all rules of a table: its sequence number,
    /// and the bytes to send.
    pub(super) fn ask_for_rules(&mut self, table: &str) -> (u32, &[u8]) {
        self.requests.clear();
        let kind = (SUBSYSTEM << 8) | kind::GETRULE;
        let sequence = self.requests.message(kind, flag::DUMP, (NFPROTO_INET, 0), |r| {
            r.text(1, table);
        });
        (sequence, self.requests.as_bytes())
    }

    fn push(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Requests)) {
        let kind = (SUBSYSTEM << 8) | kind;
        self.last = self.requests.message(kind, flags, (NFPROTO_INET, 0), body);
    }

    /// Makes the table, in place of any of the same name.
    pub(super) fn replace_table(&mut self, table: &Table, flags: u32) {
        self.delete_table_if_there(&table.name);
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
        self.replace_rules(table);
    }

    /// Puts these rules into the chains of a table, in place of those that are there. Its sets and
    /// what they hold stay.
    pub(super) fn replace_rules(&mut self, table: &Table) {
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

    /// Deletes the table, whether it exists or not.
    pub(super) fn delete_table_if_there(&mut self, name: &str) {
        // Deleting what may not exist is an error; making what exists is none.
        self.push(kind::NEWTABLE, flag::CREATE, |r| r.text(1, name));
        self.delete_table(name);
    }

    /// Deletes the table.
    pub(super) fn delete_table(&mut self, name: &str) {
        self.push(kind::DELTABLE, 0, |r| r.text(1, name));
    }

    /// Adds an element that lives for `timeout`; fails if it exists.
    pub(super) fn add(&mut self, table: &str, element: &Element, timeout: Duration) {
        self.put(table, element, Some(timeout), flag::CREATE | flag::EXCL);
    }

    /// Adds an element that stands until it is deleted; fails if it exists with another value.
    pub(super) fn ensure(&mut self, table: &str, element: &Element) {
        self.put(table, element, None, flag::CREATE);
    }

    /// Deletes an element, whether it exists or not.
    ///
    /// Deleting what does not exist fails the batch, and a message that forgives it exists only
    /// since Linux 6.3. Adding what exists is no failure, so the element is added first; within one
    /// batch it never takes effect.
    pub(super) fn delete_if_there(&mut self, table: &str, element: &Element) {
        let timeout = element.set.expires().then_some(Duration::from_secs(1));
        self.put(table, element, timeout, flag::CREATE);
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

    fn put(&mut self, table: &str, element: &Element, timeout: Option<Duration>, flags: u16) {
        let milliseconds =
            timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1));
        self.push(kind::NEWSETELEM, flags, |r| {
            encode_element(r, table, element, |r| {
                r.nest(1, |r| r.bytes(1, element.key.as_bytes()));
                if !element.data.as_bytes().is_empty() {
                    r.nest(2, |r| r.bytes(1, element.data.as_bytes()));
                }
                if let Some(milliseconds) = milliseconds {
                    r.bytes(4, &milliseconds.to_be_bytes());
                }
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
    let pair = concatenated(address, address);
    let key = match set.name.key() {
        Key::Endpoint => (concatenated(pair, PORT), 2 * length + 4),
        Key::Pair => (pair, 2 * length),
    };
    let (map, data) = match set.name.holds() {
        Holds::Keys => (0, None),
        Holds::Endpoint => (MAP, Some((concatenated(address, PORT), length + 4))),
        Holds::Address => (MAP, Some((address, length))),
    };
    let timeout = if set.name.expires() { TIMEOUT } else { 0 };
    let dynamic = if set.name.is_used_up() { DYNAMIC } else { 0 };
    r.number(3, map | timeout | dynamic);
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
