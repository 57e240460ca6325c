//! Sessions that data connections resume: one store for each control connection and side, so that no
//! connection resumes what another control connection has agreed on (case 37).
//!
//! | type | what it keeps |
//! |---|---|
//! | [`ClientSessions`] | what clients may come back with; the gateway is the TLS server |
//! | [`ServerSessions`] | what servers have given; the gateway is the TLS client |
//!
//! Both are bounded, and die with the session.

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::server::StoresServerSessions;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// How many of the first sessions stay: those of the control connection, which many clients resume
/// again and again. It earns this many tickets in TLS 1.3, and one session in TLS 1.2.
pub(super) const LASTING: usize = 2;

/// The most later sessions: a client that takes a new ticket with each data connection uses the
/// newest, or one a few transfers old.
const MOST_LATER: usize = 8;

/// The most bytes of all of them. One is some 150 bytes, and the client's chain of certificates more
/// if it has shown one.
const MOST_BYTES: usize = 24 * 1024;

/// What was agreed with the client of one control connection.
///
/// A ticket of TLS 1.3 may be used many times, since clients built on OpenSSL and GnuTLS offer the
/// control connection's for every data connection. What single use is for, the replay of early data
/// (RFC 8446 §8), cannot happen: none is accepted.
#[derive(Default)]
pub(super) struct ClientSessions(Mutex<VecDeque<ClientSession>>);

struct ClientSession {
    key: Vec<u8>,
    value: Zeroizing<Vec<u8>>,
}

impl ClientSession {
    fn length(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

impl ClientSessions {
    fn sessions(&self) -> MutexGuard<'_, VecDeque<ClientSession>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many, and nothing of what is in them.
impl fmt::Debug for ClientSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientSessions").field(&self.sessions().len()).finish()
    }
}

impl StoresServerSessions for ClientSessions {
    /// False if there is no room beside the lasting ones: the client is then given no ticket.
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let added = ClientSession { key, value: Zeroizing::new(value) };
        let mut sessions = self.sessions();
        let lasting: usize = sessions.iter().take(LASTING).map(ClientSession::length).sum();
        if lasting + added.length() > MOST_BYTES {
            return false;
        }
        while sessions.len() >= LASTING + MOST_LATER
            || sessions.iter().map(ClientSession::length).sum::<usize>() + added.length()
                > MOST_BYTES
        {
            // The oldest of the later ones; there is one, or there would be room.
            if sessions.remove(LASTING).is_none() {
                return false;
            }
        }
        sessions.push_back(added);
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let sessions = self.sessions();
        sessions.iter().find(|session| session.key == key).map(|session| session.value.to_vec())
    }

    /// What [`get`](Self::get) gives: it stays.
    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// The most tickets of TLS 1.3 from one server. OpenSSL gives two with the control connection, and
/// one with each connection that resumes.
const MOST_TICKETS: usize = 8;

/// What the tickets may take. Each has a copy of the server's chain of certificates with it.
const MOST_TICKET_BYTES: usize = 24 * 1024;

/// A ticket without the chain.
const TICKET_BYTES: usize = 512;

/// What was agreed with the server of one control connection.
///
/// A ticket of TLS 1.3 is used once (RFC 8446 §C.4), the newest first: a server that forgets tickets
/// forgets the oldest, and one that wants the control connection's own session takes whatever
/// descends from it. In TLS 1.2 the control connection's session is resumed each time; see
/// [`freeze`](Self::freeze).
#[derive(Default)]
pub(super) struct ServerSessions(Mutex<FromServer>);

#[derive(Default)]
struct FromServer {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    is_frozen: bool,
    tickets: VecDeque<Tls13ClientSessionValue>,
    chain_bytes: usize,
}

impl FromServer {
    /// One at least, however long the chain.
    fn most_tickets(&self) -> usize {
        (MOST_TICKET_BYTES / (self.chain_bytes + TICKET_BYTES)).clamp(1, MOST_TICKETS)
    }
}

impl ServerSessions {
    fn kept(&self) -> MutexGuard<'_, FromServer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The control connection is established: its session of TLS 1.2 stays, and data connections do
    /// not replace it. A server that demands reuse compares with the control connection's.
    pub(super) fn freeze(&self) {
        self.kept().is_frozen = true;
    }

    /// How long the server's chain of certificates is, in bytes, of which every ticket has a copy.
    pub(super) fn note_chain(&self, bytes: usize) {
        self.kept().chain_bytes = bytes;
    }

    /// How many connections of TLS 1.3 can still resume.
    pub(super) fn tickets(&self) -> usize {
        self.kept().tickets.len()
    }
}

/// How many, and nothing of what is in them.
impl fmt::Debug for ServerSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept();
        f.debug_struct("ServerSessions")
            .field("tls12", &kept.tls12.is_some())
            .field("tickets", &kept.tickets.len())
            .finish()
    }
}

/// The name is that of the control connection's server, always.
impl ClientSessionStore for ServerSessions {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.kept().group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.kept().group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        let mut kept = self.kept();
        if !kept.is_frozen {
            kept.tls12 = Some(value);
        }
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.kept().tls12.clone()
    }

    /// Called when what was resumed does not decrypt, and for every connection of TLS 1.3.
    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.kept().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut kept = self.kept();
        while kept.tickets.len() >= kept.most_tickets() {
            kept.tickets.pop_front();
        }
        kept.tickets.push_back(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.kept().tickets.pop_back()
    }
}

#[cfg(test)]
mod tests;
