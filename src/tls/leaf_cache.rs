//! Leaves that were issued, by the server certificate that they stand for, or the name they are for.
//!
//! Bounded in number and time. However many clients wait for the leaf of one server, it is issued
//! once, on a thread for blocking work, and goes on being issued if the first of them leaves.
//!
//! Not here: metrics; who asks is told where the leaf came from.

use super::ca::{BACKDATING, DAY};
use super::leaf::own_name::OwnName;
use super::leaf::{LONGEST_CERTIFICATE, Leaf, LeafError, LeafFactory, SignedBy};
use super::words::sha256;
use rustls::pki_types::CertificateDer;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// The most leaves that are kept: servers that the clients of one gateway use within a week.
pub const MOST_LEAVES: usize = 1024;

/// The most leaves for names that clients asked for: the names of one gateway, and what clients of
/// untrusted servers make of them.
pub const MOST_OWN: usize = 128;

/// How long a leaf is kept: one day less than it lives, so that no session is given one that is
/// about to end.
pub const KEPT: Duration = Duration::from_secs(6 * DAY.as_secs());

/// Where a leaf came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// It was issued for whoever asked.
    Issued,
    /// It was there, or was being issued for somebody else.
    Cache,
}

impl Source {
    /// The value of the label `source`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Cache => "cache",
        }
    }
}

/// What a leaf is for.
#[derive(Debug, Clone)]
enum Wanted {
    /// In place of a server's certificate.
    InPlaceOf(CertificateDer<'static>, SignedBy),
    /// The gateway's own, signed by the local CA.
    Own(OwnName),
}

type Issue = dyn Fn(&Wanted, SystemTime) -> Result<Leaf, LeafError> + Send + Sync;

type Outcome = Option<Result<Leaf, LeafError>>;

/// SHA-256 of the server's certificate, and who signs; or of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    InPlaceOf([u8; 32], SignedBy),
    Own([u8; 32]),
}

impl Key {
    fn of(wanted: &Wanted) -> Self {
        match wanted {
            Wanted::InPlaceOf(server, by) => Self::InPlaceOf(sha256(server), *by),
            // A name is never written as an address is: its last label is not a number.
            Wanted::Own(name) => Self::Own(sha256(name.to_string().as_bytes())),
        }
    }
}

enum State {
    Ready(Leaf),
    /// Being issued; the sender is with the thread that does it.
    Awaited(watch::Receiver<Outcome>),
}

struct Place {
    state: State,
    /// When it was last asked for, in questions.
    used: u64,
}

impl Place {
    /// True if it still is, or will be, a leaf worth handing out.
    fn is_good(&self, now: SystemTime) -> bool {
        match &self.state {
            State::Ready(leaf) => is_fresh(leaf, now),
            // Without a sender nothing comes any more: the thread has panicked.
            State::Awaited(receiver) => receiver.has_changed().is_ok(),
        }
    }
}

/// True if issuing anew would give nothing better than this leaf.
fn is_fresh(leaf: &Leaf, now: SystemTime) -> bool {
    // A leaf whose server's certificate had expired when it was issued does not get worse.
    let ended = leaf.not_after < now && leaf.issued <= leaf.not_after;
    match now.duration_since(leaf.issued) {
        Ok(age) => age < KEPT && !ended,
        // The clock was set back. As far as leaves are dated back they are valid even so.
        Err(ahead) => ahead.duration() < BACKDATING,
    }
}

struct Places {
    by_key: HashMap<Key, Place>,
    questions: u64,
    /// The most of them.
    most: usize,
}

impl Places {
    fn shared(most: usize) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { by_key: HashMap::new(), questions: 0, most }))
    }
}

/// The leaves of a process. Cloning gives another handle on the same ones.
#[derive(Clone)]
pub struct LeafCache {
    issue: Arc<Issue>,
    in_place: Arc<Mutex<Places>>,
    own: Arc<Mutex<Places>>,
}

impl std::fmt::Debug for LeafCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeafCache").field("leaves", &self.len()).finish_non_exhaustive()
    }
}

impl LeafCache {
    /// An empty cache of what `factory` issues.
    pub fn new(factory: LeafFactory) -> Self {
        Self::issuing(Arc::new(move |wanted: &Wanted, now| match wanted {
            Wanted::InPlaceOf(server, by) => factory.issue(server, *by, now),
            Wanted::Own(name) => factory.issue_own(name, now),
        }))
    }

    fn issuing(issue: Arc<Issue>) -> Self {
        Self { issue, in_place: Places::shared(MOST_LEAVES), own: Places::shared(MOST_OWN) }
    }

    /// How many leaves there are, with those that are being issued.
    pub fn len(&self) -> usize {
        lock(&self.in_place).by_key.len() + lock(&self.own).by_key.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The leaf in place of `server`, a server's end-entity certificate (DER), and where it came from.
    /// Has to be called within a tokio runtime. Whoever stops waiting takes nothing from the others.
    ///
    /// # Errors
    /// Why there is none. Errors are not kept: the next to ask tries again.
    pub async fn get(
        &self,
        server: &CertificateDer<'_>,
        by: SignedBy,
        now: SystemTime,
    ) -> Result<(Leaf, Source), LeafError> {
        if server.len() > LONGEST_CERTIFICATE {
            return Err(LeafError::TooLong);
        }
        self.wanted(Wanted::InPlaceOf(server.clone().into_owned(), by), now).await
    }

    /// A leaf of the gateway's own for a name that a client asked for; otherwise as [`Self::get`]. The
    /// names that clients ask for take places from each other, and not from servers.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_own(
        &self,
        name: &OwnName,
        now: SystemTime,
    ) -> Result<(Leaf, Source), LeafError> {
        self.wanted(Wanted::Own(name.clone()), now).await
    }

    async fn wanted(&self, wanted: Wanted, now: SystemTime) -> Result<(Leaf, Source), LeafError> {
        let (source, mut outcome) = match self.look_up(wanted, now) {
            Found::Leaf(leaf) => return Ok((leaf, Source::Cache)),
            Found::Awaited(receiver) => (Source::Cache, receiver),
            Found::Nothing(receiver) => (Source::Issued, receiver),
        };
        let outcome = outcome.wait_for(Option::is_some).await;
        match outcome.ok().and_then(|outcome| outcome.clone()) {
            Some(result) => result.map(|leaf| (leaf, source)),
            None => Err(LeafError::Abandoned),
        }
    }

    fn look_up(&self, wanted: Wanted, now: SystemTime) -> Found {
        let key = Key::of(&wanted);
        let shared = match &wanted {
            Wanted::InPlaceOf(..) => &self.in_place,
            Wanted::Own(_) => &self.own,
        };
        let mut places = lock(shared);
        places.questions += 1;
        let used = places.questions;
        if let Some(place) = places.by_key.get_mut(&key).filter(|place| place.is_good(now)) {
            place.used = used;
            return match &place.state {
                State::Ready(leaf) => Found::Leaf(leaf.clone()),
                State::Awaited(receiver) => Found::Awaited(receiver.clone()),
            };
        }
        places.by_key.remove(&key);
        let (sender, receiver) = watch::channel(None);
        if places.make_room(now) {
            let state = State::Awaited(receiver.clone());
            places.by_key.insert(key, Place { state, used });
        }
        drop(places);
        self.start(Arc::clone(shared), key, wanted, now, sender);
        Found::Nothing(receiver)
    }

    /// Issues on a thread for blocking work, which nobody's leaving stops.
    fn start(
        &self,
        places: Arc<Mutex<Places>>,
        key: Key,
        wanted: Wanted,
        now: SystemTime,
        sender: watch::Sender<Outcome>,
    ) {
        let issue = Arc::clone(&self.issue);
        tokio::task::spawn_blocking(move || {
            let result = issue(&wanted, now);
            // First the place, then the news: whoever asks from now on finds the leaf.
            lock(&places).settle(key, &result, &sender);
            sender.send_replace(Some(result));
        });
    }
}

enum Found {
    Leaf(Leaf),
    Awaited(watch::Receiver<Outcome>),
    Nothing(watch::Receiver<Outcome>),
}

impl Places {
    /// Makes a place free if all are taken: of what is no good any more, else of what was not asked
    /// for the longest. False if every one is being issued.
    fn make_room(&mut self, now: SystemTime) -> bool {
        if self.by_key.len() < self.most {
            return true;
        }
        self.by_key.retain(|_, place| place.is_good(now));
        if self.by_key.len() < self.most {
            return true;
        }
        let ready = |place: &Place| matches!(place.state, State::Ready(_));
        let oldest = self.by_key.iter().filter(|(_, place)| ready(place));
        let oldest = oldest.min_by_key(|(_, place)| place.used).map(|(key, _)| *key);
        oldest.is_some_and(|key| self.by_key.remove(&key).is_some())
    }

    /// Puts what was issued into the place that awaits it: this issue, not a later one.
    fn settle(
        &mut self,
        key: Key,
        result: &Result<Leaf, LeafError>,
        sender: &watch::Sender<Outcome>,
    ) {
        let Entry::Occupied(mut place) = self.by_key.entry(key) else { return };
        let State::Awaited(receiver) = &place.get().state else { return };
        if !receiver.same_channel(&sender.subscribe()) {
            return;
        }
        match result {
            Ok(leaf) => place.get_mut().state = State::Ready(leaf.clone()),
            Err(_) => {
                place.remove();
            }
        }
    }
}

/// No holder of the lock can leave the places half changed.
fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
