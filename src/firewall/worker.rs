//! The thread that changes the firewall, one batch after the other.

use super::conntrack::{Flow, Query, State};
use super::error::FirewallError;
use super::nftables::Nftables;
use super::ruleset::Element;
use std::io;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// What is asked of the thread.
enum Request {
    Add { elements: Vec<Element>, timeout: Duration, done: Done },
    Delete { elements: Vec<Element>, done: Done },
}

type Done = oneshot::Sender<Result<(), FirewallError>>;

/// The thread `ftpgate-nft`; ends, and removes the table, with [`Worker::stop`] or when dropped.
#[derive(Debug)]
pub(super) struct Worker {
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Hands the table to a new thread; connections that it lets in bear `mark`.
    pub(super) fn start(nftables: Nftables, mark: u32) -> Result<Self, FirewallError> {
        let (sender, receiver) = mpsc::channel();
        let query = Query::open(mark);
        let thread = std::thread::Builder::new()
            .name("ftpgate-nft".to_owned())
            .spawn(move || {
                let mut nftables = nftables;
                serve(&mut nftables, &receiver);
                clean_up(&mut nftables, query);
            })
            .map_err(|error| FirewallError::Kernel {
                doing: "start the thread ftpgate-nft",
                reason: error.to_string(),
            })?;
        Ok(Self { requests: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) })
    }

    /// Adds elements, all or none; returns when the kernel has committed them.
    pub(super) async fn add(
        &self,
        elements: Vec<Element>,
        timeout: Duration,
    ) -> Result<(), FirewallError> {
        self.ask(|done| Request::Add { elements, timeout, done }).await
    }

    /// Deletes elements, whether they exist or not.
    pub(super) async fn delete(&self, elements: Vec<Element>) -> Result<(), FirewallError> {
        self.ask(|done| Request::Delete { elements, done }).await
    }

    async fn ask(&self, request: impl FnOnce(Done) -> Request) -> Result<(), FirewallError> {
        let (done, answer) = oneshot::channel();
        {
            let requests = lock(&self.requests);
            let sender = requests.as_ref().ok_or(FirewallError::Stopped)?;
            sender.send(request(done)).map_err(|_| FirewallError::Stopped)?;
        }
        answer.await.map_err(|_| FirewallError::Stopped)?
    }

    /// Removes the table and waits for the thread, some 20 ms. Further requests fail.
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

fn serve(nftables: &mut Nftables, requests: &mpsc::Receiver<Request>) {
    for request in requests {
        match request {
            Request::Add { elements, timeout, done } => {
                let result = nftables.add(&elements, timeout);
                // Nobody waits any longer: nobody will close it either.
                if let Err(Ok(())) = done.send(result)
                    && let Err(error) = nftables.delete(&elements)
                {
                    tracing::warn!(%error, "a pinhole nobody waits for stays until it expires");
                }
            }
            Request::Delete { elements, done } => {
                let _ = done.send(nftables.delete(&elements));
            }
        }
    }
}

/// Takes the table away, and with it every unused pinhole; what keeps running connections translated
/// goes only where none runs.
fn clean_up(nftables: &mut Nftables, query: io::Result<Query>) {
    let mut result = nftables.remove();
    let runs = |flow: &Flow| flow.state == Some(State::Alive);
    match query.and_then(|mut query| query.all()) {
        Ok(flows) if !flows.iter().any(runs) => result = result.and(nftables.remove_keeper()),
        Ok(_) | Err(_) => {}
    }
    if let Err(error) = result {
        tracing::warn!(%error, "the nftables table is left to the kernel to remove");
    }
}

/// A poisoned lock guards plain values, which no panic leaves half changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
