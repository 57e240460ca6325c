//! What runs now: every session with what it is at, for `ftpgate sessions`, `top` and the status
//! page.
//!
//! Each session keeps what its own reports tell, behind a lock of its own; the gateway's list is
//! touched when a session begins and when its last data connection has ended. Whoever looks takes
//! one session after the other, so that no session waits for a look at all of them.

mod session;
#[cfg(test)]
mod tests;

pub(super) use session::LiveSession;

use super::snapshot::{
    ListenerSnapshot, Ports, RefusalSnapshot, Refusals, SessionSnapshot, Snapshot, View, Word,
};
use crate::terms::{ByteCounts, Direction, SessionId};
use session::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Refusals that are kept: a few screens, so that a burst of one client does not hide all others.
const MOST_REFUSALS: usize = 100;

/// What one data connection has moved so far, while it runs: counted by who moves the bytes, read by
/// whoever looks.
#[derive(Debug, Default)]
pub struct RunningBytes {
    upload: AtomicU64,
    download: AtomicU64,
}

impl RunningBytes {
    /// More bytes have moved.
    pub fn add(&self, direction: Direction, count: u64) {
        match direction {
            Direction::Upload => &self.upload,
            Direction::Download => &self.download,
        }
        .fetch_add(count, Ordering::Relaxed);
    }

    /// So many bytes have moved in all.
    pub fn set(&self, bytes: ByteCounts) {
        self.upload.store(bytes.upload, Ordering::Relaxed);
        self.download.store(bytes.download, Ordering::Relaxed);
    }

    /// What has moved so far.
    pub fn counts(&self) -> ByteCounts {
        ByteCounts {
            upload: self.upload.load(Ordering::Relaxed),
            download: self.download.load(Ordering::Relaxed),
        }
    }
}

/// What runs now in one gateway.
pub(super) struct Live {
    started: (SystemTime, Instant),
    /// Bounded by `limits.sessions`, and by the data connections that outlive theirs.
    sessions: Mutex<BTreeMap<SessionId, Arc<Mutex<Entry>>>>,
    refused: Mutex<Refused>,
    listeners: Mutex<Vec<ListenerSnapshot>>,
    ports_free: AtomicUsize,
    ports_total: AtomicUsize,
}

#[derive(Default)]
struct Refused {
    /// By reason: a closed set.
    total: BTreeMap<&'static str, u64>,
    /// The oldest first.
    recent: VecDeque<Refusal>,
}

struct Refusal {
    time: SystemTime,
    session: SessionId,
    listener: Arc<str>,
    client: Option<SocketAddr>,
    reason: &'static str,
}

impl Live {
    pub(super) fn new() -> Self {
        Self {
            started: (SystemTime::now(), Instant::now()),
            sessions: Mutex::default(),
            refused: Mutex::default(),
            listeners: Mutex::default(),
            ports_free: AtomicUsize::new(0),
            ports_total: AtomicUsize::new(0),
        }
    }

    pub(super) fn set_listeners(&self, listeners: Vec<ListenerSnapshot>) {
        *lock(&self.listeners) = listeners;
    }

    pub(super) fn set_ports_free(&self, free: usize) {
        self.ports_free.store(free, Ordering::Relaxed);
    }

    pub(super) fn set_ports_total(&self, total: usize) {
        self.ports_total.store(total, Ordering::Relaxed);
    }

    fn refuse(
        &self,
        session: SessionId,
        listener: &Arc<str>,
        client: Option<SocketAddr>,
        reason: &'static str,
    ) {
        let (time, listener) = (SystemTime::now(), Arc::clone(listener));
        let mut refused = lock(&self.refused);
        *refused.total.entry(reason).or_default() += 1;
        if refused.recent.len() >= MOST_REFUSALS {
            refused.recent.pop_front();
        }
        refused.recent.push_back(Refusal { time, session, listener, client, reason });
    }

    /// The gateway at this moment.
    pub(super) fn snapshot(&self, view: View) -> Snapshot {
        let entries: Vec<_> =
            lock(&self.sessions).iter().map(|(id, entry)| (*id, Arc::clone(entry))).collect();
        let now = Instant::now();
        let sessions = entries.iter().filter_map(|(id, entry)| lock(entry).show(*id, view, now));
        let sessions: Vec<SessionSnapshot> = sessions.collect();
        let (started, since) = self.started;
        Snapshot {
            version: Word::Borrowed(env!("CARGO_PKG_VERSION")),
            time: unix_time(SystemTime::now()),
            started: unix_time(started),
            uptime: seconds(since, now),
            listeners: lock(&self.listeners).clone(),
            ports: Ports {
                free: self.ports_free.load(Ordering::Relaxed),
                total: self.ports_total.load(Ordering::Relaxed),
            },
            sessions,
            refusals: lock(&self.refused).show(),
        }
    }
}

impl Refused {
    fn show(&self) -> Refusals {
        let shown = |refusal: &Refusal| RefusalSnapshot {
            time: unix_time(refusal.time),
            session: refusal.session.0,
            listener: refusal.listener.to_string(),
            client: refusal.client,
            reason: Word::Borrowed(refusal.reason),
        };
        Refusals {
            total: self.total.iter().map(|(reason, n)| ((*reason).to_owned(), *n)).collect(),
            recent: self.recent.iter().rev().map(shown).collect(),
        }
    }
}

/// Seconds, to the millisecond.
fn seconds(since: Instant, now: Instant) -> f64 {
    let elapsed = now.saturating_duration_since(since);
    (elapsed.as_secs_f64() * 1000.0).round() / 1000.0
}

fn unix_time(time: SystemTime) -> u64 {
    // A clock before 1970 is not set at all.
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A panic elsewhere must not blind the gateway: what is kept stays consistent, since nothing panics
/// between two changes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
