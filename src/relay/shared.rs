//! What the sessions of one gateway share: the port pool, the pipes, the counts, and the guard
//! against control connections that lead back here.

use super::intake::Intake;
use super::splice::PipePool;
use crate::addr::canonical;
use crate::firewall::Firewall;
use crate::net::{self, Dialled, Dialling};
use crate::pinhole::{PortPool, PortRange};
use crate::report::CloseCause;
use crate::telemetry::Telemetry;
use crate::terms::SessionId;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// How much may be going on at once (`limits`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sessions in all.
    pub sessions: usize,
    /// Sessions of one client address.
    pub sessions_per_client: usize,
}

/// What all sessions of a gateway have in common.
#[derive(Debug, Clone, Copy)]
pub struct SharedSettings {
    /// The gateway's own data ports.
    pub ports: PortRange,
    /// See [`Limits`].
    pub limits: Limits,
    /// How long a pinhole may stay open unused.
    pub open_timeout: Duration,
    /// How long a data connection on the relay path may move nothing.
    pub data_idle_timeout: Duration,
}

/// What the sessions of one gateway share.
pub struct Shared {
    settings: Mutex<SharedSettings>,
    pub(super) firewall: Option<Firewall>,
    pub(super) intake: Option<Intake>,
    pub(super) telemetry: Telemetry,
    pub(super) pipes: PipePool,
    ports: Mutex<PortPool>,
    sessions: Mutex<Counts>,
    own_ends: Mutex<HashMap<End, usize>>,
    /// Who is told that its session is to end.
    closers: Mutex<HashMap<SessionId, oneshot::Sender<CloseCause>>>,
    last_session: AtomicU64,
    /// No session is to run now.
    held: AtomicBool,
}

/// Both ends of a control connection of the gateway's own: the near one, and the server's.
pub(super) type End = (SocketAddr, SocketAddr);

/// The sessions that are admitted.
#[derive(Debug, Default)]
struct Counts {
    all: usize,
    per_client: HashMap<IpAddr, usize>,
}

impl Shared {
    /// `firewall` and `intake` are `None` where the gateway has no hold on the kernel's packet path.
    pub fn new(
        settings: SharedSettings,
        firewall: Option<Firewall>,
        intake: Option<Intake>,
        telemetry: Telemetry,
    ) -> Arc<Self> {
        let ports = PortPool::new(settings.ports);
        telemetry.set_limits(settings.ports.len(), settings.limits.sessions);
        telemetry.set_ports_free(ports.free());
        Arc::new(Self {
            settings: Mutex::new(settings),
            firewall,
            intake,
            telemetry,
            pipes: PipePool::default(),
            ports: Mutex::new(ports),
            sessions: Mutex::default(),
            own_ends: Mutex::default(),
            closers: Mutex::default(),
            last_session: AtomicU64::new(0),
            held: AtomicBool::new(false),
        })
    }

    /// What is in force now.
    pub(super) fn settings(&self) -> SharedSettings {
        *lock(&self.settings)
    }

    /// From now on these are in force: at once for new sessions and new ports.
    pub fn change(&self, settings: SharedSettings) {
        *lock(&self.settings) = settings;
        let mut ports = lock(&self.ports);
        ports.change_range(settings.ports);
        self.telemetry.set_limits(settings.ports.len(), settings.limits.sessions);
        self.telemetry.set_ports_free(ports.free());
    }

    pub(super) fn next_session_id(&self) -> SessionId {
        SessionId(self.last_session.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Ends one session, and the data connections that the relay carries for it. False if there is
    /// none of this number, or none that has not been told already.
    pub fn close_session(&self, id: SessionId) -> bool {
        let closer = lock(&self.closers).remove(&id);
        closer.is_some_and(|closer| closer.send(CloseCause::ClosedByOwner).is_ok())
    }

    /// Ends every session, with the data connections that the relay carries, and takes none, until
    /// [`Self::release`].
    pub fn hold(&self) {
        let mut closers = lock(&self.closers);
        self.held.store(true, Ordering::Release);
        for (_, closer) in closers.drain() {
            // It is over already.
            let _ = closer.send(CloseCause::AuditFailed);
        }
    }

    /// Takes sessions again.
    pub fn release(&self) {
        self.held.store(false, Ordering::Release);
    }

    /// True from [`Self::hold`] to [`Self::release`].
    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Where the session hears that it is to end.
    pub(super) fn closing(self: &Arc<Self>, id: SessionId) -> Closing {
        let (closer, asked) = oneshot::channel();
        let mut closers = lock(&self.closers);
        // It was taken while the others were told.
        if self.is_held() {
            let _ = closer.send(CloseCause::AuditFailed);
        } else {
            closers.insert(id, closer);
        }
        drop(closers);
        Closing { shared: Arc::clone(self), id, asked: Some(asked) }
    }

    /// A port of the pool, until the lease is dropped; `None` if none is free (case 43).
    pub(super) fn lease_port(self: &Arc<Self>) -> Option<PortLease> {
        // A port that can be guessed can be raced to (case 10).
        let random = getrandom::u32().ok()?;
        let mut ports = lock(&self.ports);
        let port = ports.take(random)?;
        self.telemetry.set_ports_free(ports.free());
        drop(ports);
        Some(PortLease { shared: Arc::clone(self), port })
    }

    /// Counts a session in, until the permit is dropped; `None` if a limit is reached.
    pub(super) fn admit(self: &Arc<Self>, client: IpAddr) -> Option<Permit> {
        self.admit_unnamed()?.name(client)
    }

    /// As [`Self::admit`], for a client that is to be named yet: counted among all so far.
    pub(super) fn admit_unnamed(self: &Arc<Self>) -> Option<Permit> {
        let limit = self.settings().limits.sessions;
        let mut counts = lock(&self.sessions);
        if counts.all >= limit {
            return None;
        }
        counts.all += 1;
        drop(counts);
        Some(Permit { shared: Arc::clone(self), client: None })
    }

    /// Dials a server, and remembers that the connection is the gateway's own until the returned end
    /// is dropped.
    pub(super) fn dial(self: &Arc<Self>, dialling: Dialling) -> io::Result<(Dialled, OwnEnd)> {
        // Locked while the first packet leaves: if it leads back here, whoever accepts it looks for its
        // near end and has to find it.
        let mut ends = lock(&self.own_ends);
        let dialled = net::dial(dialling)?;
        let end = (canonical(dialled.local_addr()?), canonical(dialling.to));
        Ok((dialled, self.remember(&mut ends, end)))
    }

    fn remember(self: &Arc<Self>, ends: &mut HashMap<End, usize>, end: End) -> OwnEnd {
        *ends.entry(end).or_default() += 1;
        OwnEnd { shared: Arc::clone(self), end }
    }

    /// True if a client that dialled `dialled` is the gateway itself (case 48). Its address alone does
    /// not tell: the kernel gives one port to several connections if they lead to different places,
    /// and one of them may be that of a client on this host.
    pub(super) fn is_own_end(&self, client: SocketAddr, dialled: SocketAddr) -> bool {
        lock(&self.own_ends).contains_key(&(client, dialled))
    }
}

/// A panic elsewhere must not take every later session with it: the maps stay consistent, since
/// nothing panics between two changes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A port of the pool; given back when dropped.
pub(super) struct PortLease {
    shared: Arc<Shared>,
    port: u16,
}

impl PortLease {
    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for PortLease {
    fn drop(&mut self) {
        let mut ports = lock(&self.shared.ports);
        ports.give(self.port);
        self.shared.telemetry.set_ports_free(ports.free());
    }
}

/// One counted session; counted out when dropped.
pub(super) struct Permit {
    shared: Arc<Shared>,
    /// `None` until it is known.
    client: Option<IpAddr>,
}

impl Permit {
    /// Counts the session as one of `client`; `None` if that has as many as it may.
    pub(super) fn name(mut self, client: IpAddr) -> Option<Self> {
        let limit = self.shared.settings().limits.sessions_per_client;
        let mut counts = lock(&self.shared.sessions);
        let own = counts.per_client.get(&client).copied().unwrap_or(0);
        if own >= limit {
            // What is dropped then takes the lock.
            drop(counts);
            return None;
        }
        counts.per_client.insert(client, own + 1);
        drop(counts);
        self.client = Some(client);
        Some(self)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = lock(&self.shared.sessions);
        counts.all -= 1;
        let Some(client) = self.client else { return };
        if let Some(own) = counts.per_client.get_mut(&client) {
            *own -= 1;
            if *own == 0 {
                counts.per_client.remove(&client);
            }
        }
    }
}

/// Where one session hears that it is to end.
pub(super) struct Closing {
    shared: Arc<Shared>,
    id: SessionId,
    /// `None` once it has been heard.
    asked: Option<oneshot::Receiver<CloseCause>>,
}

impl Closing {
    /// Why it is to end, once.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Option<CloseCause> {
        let polled = self.asked.as_mut().map(|asked| Pin::new(asked).poll(cx));
        let Some(Poll::Ready(heard)) = polled else { return None };
        self.asked = None;
        heard.ok()
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        lock(&self.shared.closers).remove(&self.id);
    }
}

/// A control connection of the gateway's own; forgotten when dropped.
pub(super) struct OwnEnd {
    shared: Arc<Shared>,
    end: End,
}

impl OwnEnd {
    /// The near end, which is whom the server sees, and the server.
    pub(super) fn end(&self) -> End {
        self.end
    }
}

impl Drop for OwnEnd {
    fn drop(&mut self) {
        let mut ends = lock(&self.shared.own_ends);
        if let Some(count) = ends.get_mut(&self.end) {
            *count -= 1;
            if *count == 0 {
                ends.remove(&self.end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn case_48_own_ends_are_known_while_one_of_their_connections_stands() {
        let settings = SharedSettings {
            ports: PortRange::new(50_000, 50_999).unwrap(),
            limits: Limits { sessions: 1, sessions_per_client: 1 },
            open_timeout: Duration::from_secs(30),
            data_idle_timeout: Duration::from_secs(30),
        };
        let shared = Shared::new(settings, None, None, Telemetry::new());
        let (gateway, client) = (at("198.51.100.1:40000"), at("192.0.2.2:40000"));
        let (server, other) = (at("198.51.100.5:21"), at("198.51.100.6:21"));
        for end in [gateway, client] {
            let first = shared.remember(&mut lock(&shared.own_ends), (end, server));
            let second = shared.remember(&mut lock(&shared.own_ends), (end, server));
            drop(first);
            assert!(shared.is_own_end(end, server));
            assert!(!shared.is_own_end(end, other), "a client with the same port");
            drop(second);
            assert!(!shared.is_own_end(end, server));
        }
    }
}
