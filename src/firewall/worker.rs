//! The thread that changes the firewall, one batch after the other.

use super::conntrack::Query;
use super::error::FirewallError;
use super::nftables::{Nftables, Used};
use super::repairs::Tally;
use super::rule::Table;
use super::ruleset::{Element, Layout};
use super::{BlindRange, Closed};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long the remains of used pinholes are gathered. Each batch that deletes wakes a thread of the
/// kernel, which waits for a grace period: one batch for many pinholes is what keeps a session of
/// small files quick.
const SWEEP_AFTER: Duration = Duration::from_millis(100);
/// Pinholes swept in one batch: with three elements each it stays far below what the receive buffer
/// takes in acknowledgements, should all of them fail.
const SWEPT_AT_ONCE: usize = 32;

/// What is asked of the thread.
enum Request {
    Add {
        elements: Vec<Element>,
        timeout: Duration,
        done: Done<()>,
    },
    Close {
        elements: Vec<Element>,
        done: Done<Closed>,
    },
    OpenRange {
        range: BlindRange,
        done: Done<()>,
    },
    CloseRange {
        range: BlindRange,
        done: Done<()>,
    },
    ReplaceRules {
        table: Table,
        done: Done<()>,
    },
    /// There are remains to be swept.
    Sweep,
    /// Somebody may have changed what has to stand.
    Check,
    /// The table is to outlive this process.
    HandOver {
        done: Done<OwnedFd>,
    },
}

/// How long a session waits for the kernel: longer than another program holds it up, and shorter
/// than the patience of a client.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked whether all stands that should, besides when somebody changes rules: the
/// news of that may be lost.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// After the news that somebody has changed them: news come in swarms, and one look is enough for all.
const CHECK_SOON: Duration = Duration::from_millis(5);
/// After a check that failed.
const CHECK_AGAIN: Duration = Duration::from_secs(1);

/// The elements of used pinholes by the key that all elements of a pinhole share.
pub(super) type Remains = Arc<Mutex<HashMap<Layout, Vec<Element>>>>;

type Done<T> = oneshot::Sender<Result<T, FirewallError>>;

/// The thread `ftpgate-nft`; ends, and removes the table, with [`Worker::stop`] or when dropped.
#[derive(Debug)]
pub(super) struct Worker {
    requests: Arc<Mutex<Option<mpsc::Sender<Request>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    remains: Remains,
}

impl Worker {
    /// Hands the table to a new thread; connections that it lets in bear `mark`.
    pub(super) fn start(
        mut nftables: Nftables,
        mark: u32,
        tally: Arc<Tally>,
    ) -> Result<Self, FirewallError> {
        let (sender, receiver) = mpsc::channel();
        let remains = Remains::default();
        let query = Query::open(mark).ok();
        nftables.on_duty(Used { remains: Arc::clone(&remains), query }, tally);
        let swept = Arc::clone(&remains);
        let thread = std::thread::Builder::new()
            .name("ftpgate-nft".to_owned())
            .spawn(move || {
                let mut nftables = nftables;
                let handed_over = serve(&mut nftables, &receiver, &swept);
                clean_up(&mut nftables, handed_over);
            })
            .map_err(|error| FirewallError::Kernel {
                doing: "start the thread ftpgate-nft",
                reason: error.to_string(),
            })?;
        let (requests, thread) = (Arc::new(Mutex::new(Some(sender))), Mutex::new(Some(thread)));
        Ok(Self { requests, thread, remains })
    }

    /// Adds elements, all or none; returns when the kernel has committed them.
    pub(super) async fn add(
        &self,
        elements: Vec<Element>,
        timeout: Duration,
    ) -> Result<(), FirewallError> {
        self.ask(|done| Request::Add { elements, timeout, done }).await
    }

    /// Deletes the elements of one pinhole, and tells whether it was still open.
    pub(super) async fn close(&self, elements: Vec<Element>) -> Result<Closed, FirewallError> {
        self.ask(|done| Request::Close { elements, done }).await
    }

    /// One more session holds a canonical range open; returns when the kernel has committed it.
    pub(super) async fn open_range(&self, range: BlindRange) -> Result<(), FirewallError> {
        self.ask(|done| Request::OpenRange { range, done }).await
    }

    /// One session fewer holds a canonical range open.
    pub(super) async fn close_range(&self, range: BlindRange) -> Result<(), FirewallError> {
        self.ask(|done| Request::CloseRange { range, done }).await
    }

    /// Puts other rules into the table; the elements stay.
    pub(super) async fn replace_rules(&self, table: Table) -> Result<(), FirewallError> {
        self.ask(|done| Request::ReplaceRules { table, done }).await
    }

    /// The socket that owns the table; from now on [`Worker::stop`] empties the table instead of
    /// removing it.
    pub(super) async fn hand_over(&self) -> Result<OwnedFd, FirewallError> {
        self.ask(|done| Request::HandOver { done }).await
    }

    /// Deletes elements some time soon, whether they exist or not; nobody waits for it. They are
    /// swept together with others, and forgotten where the same key is opened anew before that.
    pub(super) fn sweep(&self, elements: Vec<Element>) {
        let Some(first) = elements.first() else { return };
        let mut remains = lock(&self.remains);
        let wake = remains.is_empty();
        remains.insert(first.key, elements);
        drop(remains);
        if wake && let Some(requests) = lock(&self.requests).as_ref() {
            // An error means that the table goes, and everything with it.
            let _ = requests.send(Request::Sweep);
        }
    }

    /// Has what must stand looked at, some time soon.
    pub(super) fn alarm(&self) -> impl Fn() + Send + 'static {
        let requests = Arc::clone(&self.requests);
        move || {
            if let Some(requests) = lock(&requests).as_ref() {
                // An error means that the table goes, and everything with it.
                let _ = requests.send(Request::Check);
            }
        }
    }

    async fn ask<T>(&self, request: impl FnOnce(Done<T>) -> Request) -> Result<T, FirewallError> {
        let (done, answer) = oneshot::channel();
        {
            let requests = lock(&self.requests);
            let sender = requests.as_ref().ok_or(FirewallError::Stopped)?;
            sender.send(request(done)).map_err(|_| FirewallError::Stopped)?;
        }
        match tokio::time::timeout(ANSWERED_WITHIN, answer).await {
            Ok(answered) => answered.map_err(|_| FirewallError::Stopped)?,
            // Nobody waits any longer: what is opened all the same is closed again.
            Err(_) => Err(FirewallError::Stalled { limit: ANSWERED_WITHIN }),
        }
    }

    /// Removes or empties the table and waits for the thread, some 20 ms. Further requests fail.
    pub(super) fn stop(&self) {
        *lock(&self.requests) = None;
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread ftpgate-nft has panicked");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Until nobody can ask any longer; true if the table has been handed over.
fn serve(nftables: &mut Nftables, requests: &mpsc::Receiver<Request>, remains: &Remains) -> bool {
    let mut handed_over = false;
    let mut sweep_at: Option<Instant> = None;
    let mut check_at = Instant::now() + CHECK_EVERY;
    loop {
        // Ahead of every request: the queue need never be empty.
        let now = Instant::now();
        if sweep_at.take_if(|at| *at <= now).is_some() {
            sweep(nftables, remains);
        }
        if check_at <= now {
            check_at = now + check(nftables);
        }
        let next = sweep_at.map_or(check_at, |at| at.min(check_at));
        match requests.recv_timeout(next.saturating_duration_since(Instant::now())) {
            // Whoever asked has given up while the kernel did not answer.
            Ok(Request::Add { done, .. } | Request::OpenRange { done, .. }) if done.is_closed() => {
            }
            Ok(Request::Add { elements, timeout, done }) => {
                if let Some(first) = elements.first() {
                    lock(remains).remove(&first.key);
                }
                let result = nftables.add(&elements, timeout);
                // Nobody waits any longer: nobody will close it either.
                if let Err(Ok(())) = done.send(result)
                    && let Err(error) = nftables.delete(&elements)
                {
                    tracing::warn!(%error, "a pinhole nobody waits for stays until it expires");
                }
            }
            Ok(Request::Close { elements, done }) => {
                let _ = done.send(nftables.close(&elements));
            }
            Ok(Request::OpenRange { range, done }) => {
                if let Err(Ok(())) = done.send(nftables.open_range(range))
                    && let Err(error) = nftables.close_range(range)
                {
                    tracing::warn!(%error, "a range nobody waits for stays open");
                }
            }
            Ok(Request::CloseRange { range, done }) => {
                let _ = done.send(nftables.close_range(range));
            }
            Ok(Request::ReplaceRules { table, done }) => {
                let _ = done.send(nftables.replace_rules(table));
            }
            Ok(Request::Sweep) => sweep_at = Some(Instant::now() + SWEEP_AFTER),
            Ok(Request::Check) => check_at = check_at.min(Instant::now() + CHECK_SOON),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Request::HandOver { done }) => {
                let socket = nftables.hand_over();
                handed_over |= socket.is_ok();
                // Where nobody waits any longer, nobody keeps the socket: the table goes with it.
                let _ = done.send(socket);
            }
            Err(RecvTimeoutError::Disconnected) => return handed_over,
        }
    }
}

/// Puts back what has to stand; returns when to look again.
fn check(nftables: &mut Nftables) -> Duration {
    match nftables.check() {
        Ok(()) => CHECK_EVERY,
        Err(error) => {
            tracing::error!(%error, "whether the firewall is in place is not known, or it is not: tried again");
            CHECK_AGAIN
        }
    }
}

fn sweep(nftables: &mut Nftables, remains: &Remains) {
    let swept: Vec<Vec<Element>> = lock(remains).drain().map(|(_, elements)| elements).collect();
    for some in swept.chunks(SWEPT_AT_ONCE) {
        if let Err(error) = nftables.delete(&some.concat()) {
            tracing::warn!(%error, "used pinholes are cleared away by their timeout");
        }
    }
}

/// Takes every unused pinhole away, with the table unless that has been handed over; what keeps
/// running connections translated goes only where none runs.
fn clean_up(nftables: &mut Nftables, handed_over: bool) {
    let result = if handed_over { nftables.empty() } else { nftables.remove() };
    if let Err(error) = result.and_then(|()| nftables.remove_keeper()) {
        tracing::warn!(%error, "the nftables table is left as it is");
    }
}

/// A poisoned lock guards plain values, which no panic leaves half changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
