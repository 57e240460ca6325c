//! What is remembered of clients, bounded; and who is one client.

use super::backoff::Backoff;
use super::rate::{Bucket, Rate};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Who counts as one client: an IPv4 address, or an IPv6 network of 64 bits, whose owner has all of
/// its addresses for the asking (RFC 6177 §2, RFC 8981).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(IpAddr);

/// The bits that tell one IPv6 network from another.
const NETWORK_BITS: u32 = 64;

impl From<IpAddr> for ClientKey {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            v4 @ IpAddr::V4(_) => v4,
            IpAddr::V6(v6) => {
                Ipv6Addr::from_bits(v6.to_bits() >> NETWORK_BITS << NETWORK_BITS).into()
            }
        })
    }
}

/// What is remembered of one client when it has gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Its new sessions.
    pub arrivals: Bucket,
    /// Its failed logins.
    pub logins: Backoff,
}

/// Clients that are remembered in one generation: seven eighths of a table of 64 Ki entries, which
/// would grow beyond; two of them have some 11 MiB. Somebody with more addresses than that, each of
/// which has made a whole connection, makes older ones be forgotten; what all of them may do together
/// is bounded by `limits.sessions`.
const MOST_IN_GENERATION: usize = 57_344;

/// Nobody is forgotten sooner for lack of news, since nothing here matters for longer.
const GENERATION: Duration = if Rate::LONGEST.as_secs() > Backoff::LONGEST.as_secs() {
    Rate::LONGEST
} else {
    Backoff::LONGEST
};

/// What is remembered of clients, in two generations: those of whom something was heard in this one,
/// and those of whom nothing has been heard since the last. A generation ends with its time, or when
/// it is full, and takes the one before it along: no entry is looked for to make room.
#[derive(Debug, Default)]
pub struct ClientTable {
    young: HashMap<ClientKey, Memory>,
    old: HashMap<ClientKey, Memory>,
    since: Option<Instant>,
}

impl ClientTable {
    /// What is remembered of a client of whom something is heard now.
    pub fn of(&mut self, client: ClientKey, now: Instant) -> &mut Memory {
        let since = *self.since.get_or_insert(now);
        let is_over = now.saturating_duration_since(since) >= GENERATION;
        let is_full = self.young.len() >= MOST_IN_GENERATION && !self.young.contains_key(&client);
        if is_over || is_full {
            self.old = std::mem::take(&mut self.young);
            self.since = Some(now);
        }
        let Self { young, old, .. } = self;
        young.entry(client).or_insert_with(|| old.remove(&client).unwrap_or_default())
    }

    /// What is remembered of a client, if anything is.
    pub fn get(&self, client: ClientKey) -> Option<&Memory> {
        self.young.get(&client).or_else(|| self.old.get(&client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> ClientKey {
        ClientKey::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn an_ipv6_network_is_one_client_and_a_mapped_address_is_ipv4() {
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    fn nth(number: usize) -> ClientKey {
        let number = u32::try_from(number).unwrap();
        ClientKey::from(IpAddr::V4(std::net::Ipv4Addr::from_bits(number)))
    }

    #[test]
    fn what_is_remembered_is_bounded_and_who_is_heard_of_stays() {
        let mut table = ClientTable::default();
        let now = Instant::now();
        let rate = Rate::per_minute(1);
        let guesser = key("203.0.113.1");
        while !table.of(guesser, now).logins.fail(rate, now) {}
        for number in 0..10 * MOST_IN_GENERATION {
            table.of(nth(number), now);
            if number % 1000 == 0 {
                assert!(table.of(guesser, now).logins.waits(now), "{number}");
            }
            assert!(table.young.len() + table.old.len() <= 2 * MOST_IN_GENERATION);
        }
    }

    #[test]
    fn who_is_not_heard_of_is_forgotten_when_nothing_of_it_matters() {
        let mut table = ClientTable::default();
        let start = Instant::now();
        table.of(key("203.0.113.1"), start).arrivals.take(Rate::per_minute(1), start);
        table.of(key("203.0.113.2"), start + GENERATION - Duration::from_secs(1));
        table.of(key("203.0.113.2"), start + GENERATION);
        assert!(table.get(key("203.0.113.1")).is_some());
        table.of(key("203.0.113.2"), start + GENERATION * 2);
        assert!(table.get(key("203.0.113.1")).is_none());
        assert!(table.get(key("203.0.113.2")).is_some());
    }
}
