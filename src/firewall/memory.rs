//! A firewall that only remembers: for tests of what uses [`super::Firewall`].

use super::error::FirewallError;
use super::worker::lock;
use super::{FlowEvent, Opening};
use crate::pinhole::Pinhole;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

type Watcher = mpsc::UnboundedSender<FlowEvent>;

#[derive(Debug, Default)]
pub(super) struct Memory {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: Vec<Opening>,
    watchers: HashMap<Pinhole, Watcher>,
    failure: Option<FirewallError>,
    opened: usize,
    stopped: bool,
}

impl Memory {
    pub(super) fn open(&self, opening: Opening, watcher: Watcher) -> Result<(), FirewallError> {
        let mut state = lock(&self.state);
        if state.stopped {
            return Err(FirewallError::Stopped);
        }
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        state.open.retain(|other| other.pinhole() != opening.pinhole());
        state.open.push(opening);
        state.opened += 1;
        if let Opening::Forward { pinhole, .. } = opening {
            state.watchers.insert(pinhole, watcher);
        }
        Ok(())
    }

    pub(super) fn close(&self, opening: Opening) {
        lock(&self.state).open.retain(|other| other.pinhole() != opening.pinhole());
    }

    pub(super) fn stop(&self) {
        let mut state = lock(&self.state);
        state.stopped = true;
        state.open.clear();
    }
}

/// The other side of [`super::Firewall::memory`]: what the kernel would see, and play its part.
#[derive(Debug, Clone)]
pub struct MemoryView {
    memory: Arc<Memory>,
}

impl MemoryView {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        Self { memory }
    }

    /// What is open, in the order of opening.
    pub fn open(&self) -> Vec<Opening> {
        lock(&self.memory.state).open.clone()
    }

    /// How many openings there have been.
    pub fn opened(&self) -> usize {
        lock(&self.memory.state).opened
    }

    /// Lets every `open` from now on fail, or succeed again with `None`.
    pub fn fail_with(&self, failure: Option<FirewallError>) {
        lock(&self.memory.state).failure = failure;
    }

    /// A connection comes: true if a pinhole let it in, which then is used up; the watcher of a
    /// [`Opening::Forward`] is told.
    pub fn connect(&self, pinhole: Pinhole) -> bool {
        let mut state = lock(&self.memory.state);
        let before = state.open.len();
        state.open.retain(|opening| opening.pinhole() != pinhole);
        let used = state.open.len() < before;
        if used && let Some(watcher) = state.watchers.get(&pinhole) {
            let _ = watcher.send(FlowEvent::Started(pinhole));
        }
        used
    }

    /// Tells the watcher of the event's pinhole; false if there is none or it has gone.
    pub fn emit(&self, event: FlowEvent) -> bool {
        let pinhole = match event {
            FlowEvent::Started(pinhole) | FlowEvent::Ended { pinhole, .. } => pinhole,
        };
        let state = lock(&self.memory.state);
        state.watchers.get(&pinhole).is_some_and(|watcher| watcher.send(event).is_ok())
    }
}
