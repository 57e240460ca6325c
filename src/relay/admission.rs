//! Who may have a session: the limits over all, per client and per server, and what is remembered of
//! clients.
//!
//! Not here: the arithmetic (see [`crate::limits`]); ports, which sessions take later (see `shared`).

use super::shared::{Shared, lock};
use crate::addr::canonical;
use crate::limits::{ClientKey, ClientTable, Rate, Share};
use crate::report::CloseCause;
use crate::session::NO_DESCRIPTORS;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// How much may be going on at once, and how fast it may come (`limits`). `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sessions in all.
    pub sessions: usize,
    /// Sessions of one client.
    pub sessions_per_client: usize,
    /// Sessions that lead to one server.
    pub sessions_per_server: Option<usize>,
    /// New sessions of one client.
    pub new_sessions_per_client: Option<Rate>,
    /// Logins of one client that servers refuse.
    pub failed_logins_per_client: Option<Rate>,
    /// The part of the ports that one client may hold.
    pub ports_per_client: Share,
}

/// Why somebody has no session, and what he is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Denial {
    pub(super) cause: CloseCause,
    pub(super) reply: &'static [u8],
}

impl Denial {
    const ALL: Self = Self {
        cause: CloseCause::TooManySessions,
        reply: b"421 Too many sessions; try again later.\r\n",
    };
    const OF_CLIENT: Self = Self {
        cause: CloseCause::TooManySessions,
        reply: b"421 Too many sessions from your address; end one of them, or try again later.\r\n",
    };
    const ARRIVALS: Self = Self {
        cause: CloseCause::NewSessionRate,
        reply: b"421 Too many new sessions from your address; try again in a while.\r\n",
    };
    const LOGINS: Self = Self {
        cause: CloseCause::FailedLogins,
        reply: b"421 Too many failed logins from your address; try again in some minutes.\r\n",
    };
    pub(super) const AUDIT: Self = Self {
        cause: CloseCause::AuditFailed,
        reply: b"421 Not available: this gateway cannot keep its records; try again later.\r\n",
    };
    pub(super) const DESCRIPTORS: Self =
        Self { cause: CloseCause::NoDescriptors, reply: NO_DESCRIPTORS.as_bytes() };
}

/// The sessions that are admitted, and what is remembered of clients.
#[derive(Debug, Default)]
pub(super) struct Counts {
    all: usize,
    per_client: HashMap<ClientKey, usize>,
    per_server: HashMap<SocketAddr, usize>,
    known: ClientTable,
}

impl Counts {
    /// Counts one session of `client`, if it may have one more.
    fn name(&mut self, client: ClientKey, limits: &Limits, now: Instant) -> Result<(), Denial> {
        let waits = self.known.get(client).is_some_and(|memory| memory.logins.waits(now));
        if waits && limits.failed_logins_per_client.is_some() {
            return Err(Denial::LOGINS);
        }
        if count_of(&self.per_client, client) >= limits.sessions_per_client {
            return Err(Denial::OF_CLIENT);
        }
        if let Some(rate) = limits.new_sessions_per_client
            && !self.known.of(client, now).arrivals.take(rate, now)
        {
            return Err(Denial::ARRIVALS);
        }
        *self.per_client.entry(client).or_default() += 1;
        Ok(())
    }
}

/// How many of them there are.
pub(super) fn count_of<K: Eq + Hash>(counts: &HashMap<K, usize>, key: K) -> usize {
    counts.get(&key).copied().unwrap_or(0)
}

/// One fewer; what has none takes no room.
pub(super) fn count_out<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

impl Shared {
    /// Counts a session in, until the permit is dropped.
    pub(super) fn admit(self: &Arc<Self>, client: IpAddr) -> Result<Permit, Denial> {
        self.admit_unnamed()?.name(client)
    }

    /// As [`Self::admit`], for a client that is to be named yet: counted among all so far.
    pub(super) fn admit_unnamed(self: &Arc<Self>) -> Result<Permit, Denial> {
        let limit = self.settings().limits.sessions;
        let mut counts = lock(&self.sessions);
        if counts.all >= limit {
            return Err(Denial::ALL);
        }
        counts.all += 1;
        drop(counts);
        Ok(Permit { shared: Arc::clone(self), client: None, seat: None })
    }

    /// Counts a session that leads to `server`, until the seat is dropped; `None` if there are as many
    /// as may be.
    pub(super) fn take_seat(self: &Arc<Self>, server: SocketAddr) -> Option<Seat> {
        let server = canonical(server);
        let limit = self.settings().limits.sessions_per_server;
        let mut counts = lock(&self.sessions);
        if limit.is_some_and(|limit| count_of(&counts.per_server, server) >= limit) {
            return None;
        }
        *counts.per_server.entry(server).or_default() += 1;
        drop(counts);
        Some(Seat { shared: Arc::clone(self), server })
    }
}

/// One counted session; counted out when dropped.
pub(super) struct Permit {
    shared: Arc<Shared>,
    /// `None` until it is known.
    client: Option<ClientKey>,
    /// At its server, once that is known.
    seat: Option<Seat>,
}

impl Permit {
    /// Counts the session as one of `client`.
    pub(super) fn name(mut self, client: IpAddr) -> Result<Self, Denial> {
        let client = ClientKey::from(client);
        let limits = self.shared.settings().limits;
        let counted = lock(&self.shared.sessions).name(client, &limits, Instant::now());
        // A permit that is dropped takes the lock.
        counted?;
        self.client = Some(client);
        Ok(self)
    }

    /// The session has one at its server as well.
    pub(super) fn take_seat(&mut self, seat: Seat) {
        self.seat = Some(seat);
    }

    /// A server has refused a login of this client with `code`. True if it has been one too many.
    pub(super) fn refuse_login(&self, code: u16) -> bool {
        let limit = self.shared.settings().limits.failed_logins_per_client;
        let (Some(client), Some(rate)) = (self.client, limit) else { return false };
        let now = Instant::now();
        is_failed_login(code)
            && lock(&self.shared.sessions).known.of(client, now).logins.fail(rate, now)
    }
}

/// True for the codes that say that user and password do not fit: 530 (RFC 959 §5.4), 430 of servers
/// that follow no standard with it, 535 (RFC 2228 §5). Others say that a command came out of turn, or
/// that the server has no room.
fn is_failed_login(code: u16) -> bool {
    matches!(code, 430 | 530 | 535)
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = lock(&self.shared.sessions);
        counts.all -= 1;
        if let Some(client) = self.client {
            count_out(&mut counts.per_client, client);
        }
    }
}

/// The place of one session at its server; given back when dropped.
pub(super) struct Seat {
    shared: Arc<Shared>,
    server: SocketAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        count_out(&mut lock(&self.shared.sessions).per_server, self.server);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::shared::tests::{limits, shared};

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn cause(admitted: Result<Permit, Denial>) -> Option<CloseCause> {
        admitted.err().map(|denial| denial.cause)
    }

    #[test]
    fn an_ipv6_network_is_one_client_and_what_ends_makes_room() {
        let shared = shared(Limits { sessions: 3, sessions_per_client: 1, ..limits() });
        let first = shared.admit(at("2001:db8::1")).ok().unwrap();
        let refused = shared.admit(at("2001:db8::2")).err().unwrap();
        assert_eq!(refused, Denial::OF_CLIENT);
        let _second = shared.admit(at("2001:db8:0:1::1")).ok().unwrap();
        let _third = shared.admit(at("::ffff:192.0.2.1")).ok().unwrap();
        assert_eq!(shared.admit(at("192.0.2.2")).err(), Some(Denial::ALL));
        drop(first);
        assert_eq!(shared.admit(at("192.0.2.1")).err(), Some(Denial::OF_CLIENT));
        assert!(shared.admit(at("2001:db8::3")).is_ok());
    }

    #[test]
    fn new_sessions_come_no_faster_than_the_rate_and_others_are_not_held_up() {
        let rate = Some(Rate::per_minute(3));
        let shared = shared(Limits { new_sessions_per_client: rate, ..limits() });
        let causes: Vec<_> = (0..5).map(|_| cause(shared.admit(at("192.0.2.1")))).collect();
        let refused = Some(CloseCause::NewSessionRate);
        assert_eq!(causes, [None, None, None, refused, refused]);
        assert!(shared.admit(at("192.0.2.2")).is_ok());
    }

    #[test]
    fn who_fails_to_log_in_too_often_has_to_wait_and_nobody_else_has() {
        let rate = Some(Rate::per_minute(3));
        let limits = Limits { failed_logins_per_client: rate, ..limits() };
        let shared = shared(limits);
        let guesser = shared.admit(at("192.0.2.1")).ok().unwrap();
        let other = shared.admit(at("192.0.2.2")).ok().unwrap();
        // Neither a command out of turn nor a server without room is a guess.
        assert!((0..100).all(|_| !guesser.refuse_login(503) && !guesser.refuse_login(421)));
        let told: Vec<_> = (0..5).map(|_| guesser.refuse_login(530)).collect();
        assert_eq!(told, [false, false, false, true, true]);
        assert!(!other.refuse_login(530));
        assert_eq!(cause(shared.admit(at("192.0.2.1"))), Some(CloseCause::FailedLogins));
        assert!(shared.admit(at("192.0.2.2")).is_ok());
        // In force at once after a reload.
        shared.change_limits(Limits { failed_logins_per_client: None, ..limits });
        assert!(shared.admit(at("192.0.2.1")).is_ok());
        assert!(!guesser.refuse_login(530));
    }

    #[test]
    fn a_server_has_so_many_seats_and_gets_them_back() {
        let shared = shared(Limits { sessions_per_server: Some(1), ..limits() });
        let (one, other) = ("192.0.2.9:21".parse().unwrap(), "192.0.2.9:2121".parse().unwrap());
        let mut permit = shared.admit(at("192.0.2.1")).ok().unwrap();
        permit.take_seat(shared.take_seat(one).unwrap());
        assert!(shared.take_seat(one).is_none());
        assert!(shared.take_seat("[::ffff:192.0.2.9]:21".parse().unwrap()).is_none());
        assert!(shared.take_seat(other).is_some());
        drop(permit);
        assert!(shared.take_seat(one).is_some());
        assert!(lock(&shared.sessions).per_server.is_empty());
    }
}
