//! What the sessions of one gateway share: the port pool, the pipes, and the guard against control
//! connections that lead back here.
//!
//! Not here: who may have a session (see `admission`).

use super::admission::{Counts, Limits, count_of, count_out};
use super::intake::Intake;
use super::splice::PipePool;
use crate::addr::canonical;
use crate::firewall::Firewall;
use crate::limits::ClientKey;
use crate::net::{self, Dialled, Dialling};
use crate::pinhole::{PortPool, PortRange};
use crate::report::CloseCause;
use crate::telemetry::Telemetry;
use crate::terms::SessionId;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{Notify, oneshot};

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
    ports: Mutex<Ports>,
    pub(super) sessions: Mutex<Counts>,
    own_ends: Mutex<HashMap<End, usize>>,
    /// Wakes those that wait for an own end to be forgotten.
    own_ends_fewer: Notify,
    /// Who is told that its session is to end.
    closers: Mutex<HashMap<SessionId, oneshot::Sender<CloseCause>>>,
    last_session: AtomicU64,
    /// No session is to run now.
    held: AtomicBool,
}

/// Both ends of a control connection of the gateway's own: the near one, and the server's.
pub(super) type End = (SocketAddr, SocketAddr);

/// The gateway's own data ports.
struct Ports {
    pool: PortPool,
    /// Ports that are taken, by whom.
    per_client: HashMap<ClientKey, usize>,
}

impl Shared {
    /// `firewall` and `intake` are `None` where the gateway has no hold on the kernel's packet path.
    pub fn new(
        settings: SharedSettings,
        firewall: Option<Firewall>,
        intake: Option<Intake>,
        telemetry: Telemetry,
    ) -> Arc<Self> {
        let pool = PortPool::new(settings.ports);
        telemetry.set_limits(settings.ports.len(), settings.limits.sessions);
        telemetry.set_ports_free(pool.free());
        Arc::new(Self {
            settings: Mutex::new(settings),
            firewall,
            intake,
            telemetry,
            pipes: PipePool::default(),
            ports: Mutex::new(Ports { pool, per_client: HashMap::new() }),
            sessions: Mutex::default(),
            own_ends: Mutex::default(),
            own_ends_fewer: Notify::new(),
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
        ports.pool.change_range(settings.ports);
        self.telemetry.set_limits(settings.ports.len(), settings.limits.sessions);
        self.telemetry.set_ports_free(ports.pool.free());
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

    /// A port of the pool, until the lease is dropped, for one of `client`'s data connections
    /// (case 43).
    pub(super) fn lease_port(self: &Arc<Self>, client: ClientKey) -> Result<PortLease, NoPort> {
        // A port that can be guessed can be raced to (case 10).
        let random = getrandom::u32().map_err(|_| NoPort::Free)?;
        let share = self.settings().limits.ports_per_client;
        let mut ports = lock(&self.ports);
        let (own, free) = (count_of(&ports.per_client, client), ports.pool.free());
        if free > 0 && !share.allows(own, free) {
            return Err(NoPort::Share);
        }
        let port = ports.pool.take(random).ok_or(NoPort::Free)?;
        *ports.per_client.entry(client).or_default() += 1;
        self.telemetry.set_ports_free(ports.pool.free());
        drop(ports);
        Ok(PortLease { shared: Arc::clone(self), client, port })
    }

    /// Dials a server, and remembers that the connection is the gateway's own until the returned end
    /// is dropped: when the server has spoken, or the connection is over.
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

    /// True if a client with one of these pairs of ends is the gateway itself (case 48). Its address
    /// alone does not tell: the kernel gives one port to several connections if they lead to different
    /// places, and one of them may be that of a client on this host. Both ends do not tell at once:
    /// where the gateway dials in a client's name, that client may choose the same port. But a
    /// connection that leads here hears nothing while this waits, and another one hears its server:
    /// there is no loop where that comes within `patience`.
    pub(super) async fn leads_back(&self, ends: &[End], patience: Duration) -> bool {
        let is_own = || {
            let own = lock(&self.own_ends);
            ends.iter().any(|end| own.contains_key(end))
        };
        let are_others = async {
            loop {
                let fewer = self.own_ends_fewer.notified();
                if !is_own() {
                    return;
                }
                fewer.await;
            }
        };
        tokio::time::timeout(patience, are_others).await.is_err()
    }
}

/// A panic elsewhere must not take every later session with it: the maps stay consistent, since
/// nothing panics between two changes.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why there is no port.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPort {
    #[error("no port of data.ports is free: widen the range or lower limits.sessions")]
    Free,
    #[error(
        "the client holds as many ports of data.ports as limits.ports_per_client lets it: widen the \
         range, or raise the share"
    )]
    Share,
}

/// A port of the pool; given back when dropped.
pub(super) struct PortLease {
    shared: Arc<Shared>,
    client: ClientKey,
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
        ports.pool.give(self.port);
        count_out(&mut ports.per_client, self.client);
        self.shared.telemetry.set_ports_free(ports.pool.free());
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

/// A control connection of the gateway's own that may still turn out to lead back; forgotten when
/// dropped.
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
        drop(ends);
        self.shared.own_ends_fewer.notify_waiters();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::limits::Share;
    use std::net::IpAddr;

    /// Limits that nothing here meets.
    pub(in crate::relay) fn limits() -> Limits {
        Limits {
            sessions: 1000,
            sessions_per_client: 1000,
            sessions_per_server: None,
            new_sessions_per_client: None,
            failed_logins_per_client: None,
            ports_per_client: Share::default(),
        }
    }

    fn settings(limits: Limits) -> SharedSettings {
        SharedSettings {
            ports: PortRange::new(50_000, 50_099).unwrap(),
            limits,
            open_timeout: Duration::from_secs(30),
            data_idle_timeout: Duration::from_secs(30),
        }
    }

    pub(in crate::relay) fn shared(limits: Limits) -> Arc<Shared> {
        Shared::new(settings(limits), None, None, Telemetry::new())
    }

    impl Shared {
        pub(in crate::relay) fn change_limits(&self, limits: Limits) {
            self.change(settings(limits));
        }
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn case_43_one_client_cannot_drain_the_ports() {
        let shared = shared(limits());
        let client = |text: &str| ClientKey::from(text.parse::<IpAddr>().unwrap());
        let (greedy, other) = (client("192.0.2.1"), client("192.0.2.2"));
        let mut held = Vec::new();
        let refusal = loop {
            match shared.lease_port(greedy) {
                Ok(lease) => held.push(lease),
                Err(refusal) => break refusal,
            }
        };
        assert_eq!((held.len(), refusal), (75, NoPort::Share));
        let theirs = shared.lease_port(other).ok().unwrap();
        held.truncate(10);
        assert!(shared.lease_port(greedy).is_ok(), "what is given back may be taken again");
        drop((held, theirs));
        assert!(lock(&shared.ports).per_client.is_empty());
        assert_eq!(lock(&shared.ports).pool.free(), 100);
        let mut all = Vec::new();
        for number in 0..=100_u8 {
            match shared.lease_port(client(&format!("203.0.113.{number}"))) {
                Ok(lease) => all.push(lease),
                Err(refusal) => assert_eq!((number, refusal), (100, NoPort::Free)),
            }
        }
    }

    #[tokio::test]
    async fn case_48_own_ends_are_known_until_each_of_their_servers_has_spoken() {
        let shared = shared(limits());
        let (gateway, client) = (at("198.51.100.1:40000"), at("192.0.2.2:40000"));
        let (server, other) = (at("198.51.100.5:21"), at("198.51.100.6:21"));
        for end in [gateway, client] {
            let first = shared.remember(&mut lock(&shared.own_ends), (end, server));
            let second = shared.remember(&mut lock(&shared.own_ends), (end, server));
            drop(first);
            let (soon, late) = (Duration::from_millis(1), Duration::from_secs(60));
            assert!(shared.leads_back(&[(other, end), (end, server)], soon).await);
            assert!(!shared.leads_back(&[(end, other)], soon).await, "a client with the same port");
            let ends = [(end, server)];
            let asked = shared.leads_back(&ends, late);
            let (leads_back, ()) = tokio::join!(biased; asked, async { drop(second) });
            assert!(!leads_back, "a client with the same port that dials the same server");
            assert!(!shared.leads_back(&ends, soon).await);
        }
    }
}
