//! A firewall that only remembers: for tests of what uses [`super::Firewall`].

use super::error::FirewallError;
use super::range::Ranges;
use super::worker::lock;
use super::{BlindRange, Closed, FlowEvent, Opening};
use crate::pinhole::Pinhole;
use crate::terms::FlowId;
use std::collections::HashMap;
use std::net::IpAddr;
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
    ranges: Ranges,
    /// Who holds a range, in the order of opening.
    holders: Vec<(BlindRange, Watcher)>,
    /// Connections through ranges.
    running: HashMap<FlowId, Watcher>,
    last_flow: u32,
    failure: Option<FirewallError>,
    opened: usize,
    stopped: bool,
}

impl Memory {
    pub(super) fn open(&self, opening: Opening, watcher: Watcher) -> Result<(), FirewallError> {
        let mut state = lock(&self.state);
        state.may_open()?;
        state.open.retain(|other| other.pinhole() != opening.pinhole());
        state.open.push(opening);
        state.opened += 1;
        if let Opening::Forward { pinhole, .. } = opening {
            state.watchers.insert(pinhole, watcher);
        }
        Ok(())
    }

    pub(super) fn close(&self, opening: Opening) -> Closed {
        let mut state = lock(&self.state);
        let before = state.open.len();
        state.open.retain(|other| other.pinhole() != opening.pinhole());
        if state.open.len() < before { Closed::Unused } else { Closed::Gone }
    }

    pub(super) fn open_range(
        &self,
        range: BlindRange,
        watcher: Watcher,
    ) -> Result<(), FirewallError> {
        let range = range.canonical()?;
        let mut state = lock(&self.state);
        state.may_open()?;
        state.ranges.hold(range)?;
        state.holders.push((range, watcher));
        Ok(())
    }

    pub(super) fn close_range(
        &self,
        range: BlindRange,
        watcher: &Watcher,
    ) -> Result<(), FirewallError> {
        let range = range.canonical()?;
        let mut state = lock(&self.state);
        if state.stopped {
            return Err(FirewallError::Stopped);
        }
        state.ranges.release(range);
        let own =
            |(held, holder): &(BlindRange, Watcher)| *held == range && holder.same_channel(watcher);
        if let Some(at) = state.holders.iter().rposition(own) {
            state.holders.remove(at);
        }
        Ok(())
    }

    pub(super) fn stop(&self) {
        let mut state = lock(&self.state);
        state.stopped = true;
        state.open.clear();
        state.ranges.clear();
        state.holders.clear();
    }
}

impl State {
    fn may_open(&self) -> Result<(), FirewallError> {
        match &self.failure {
            _ if self.stopped => Err(FirewallError::Stopped),
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
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

    /// The ranges that stand open, each once, in the order of the addresses.
    pub fn ranges(&self) -> Vec<BlindRange> {
        lock(&self.memory.state).ranges.standing()
    }

    /// Lets every `open` and `open_range` from now on fail, or succeed again with `None`.
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

    /// A connection comes to one of the open ports of a range: its name if a range let it in; who
    /// holds the range since last is told.
    pub fn connect_in_range(&self, client: IpAddr, entry: IpAddr) -> Option<FlowId> {
        let mut state = lock(&self.memory.state);
        let leads =
            |(range, _): &&(BlindRange, Watcher)| range.client == client && range.entry == entry;
        let watcher = state.holders.iter().rev().find(leads).map(|(_, watcher)| watcher.clone())?;
        state.last_flow += 1;
        let flow = FlowId(state.last_flow);
        let _ = watcher.send(FlowEvent::StartedInRange(flow));
        state.running.insert(flow, watcher);
        Some(flow)
    }

    /// Tells the watcher of the event's pinhole or connection; false if there is none or it has gone.
    pub fn emit(&self, event: FlowEvent) -> bool {
        let mut state = lock(&self.memory.state);
        let watcher = match event {
            FlowEvent::Started(pinhole)
            | FlowEvent::Ended { pinhole, .. }
            | FlowEvent::Missed(pinhole) => state.watchers.get(&pinhole).cloned(),
            FlowEvent::StartedInRange(flow) => state.running.get(&flow).cloned(),
            FlowEvent::EndedInRange { flow, .. } => state.running.remove(&flow),
        };
        watcher.is_some_and(|watcher| watcher.send(event).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Firewall;
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_pinhole_lets_in_one_connection_and_its_watcher_hears_of_it() {
        let (firewall, view) = Firewall::memory();
        let entry = "203.0.113.7:50000".parse().unwrap();
        let pinhole = Pinhole { peer: "192.0.2.2".parse().unwrap(), entry };
        let opening = Opening::Forward { pinhole, target: entry, source: pinhole.peer };
        let (sender, mut events) = mpsc::unbounded_channel();
        let timeout = Duration::from_secs(1);
        firewall.open(opening, timeout, sender.clone()).await.unwrap();
        assert_eq!(view.open(), [opening]);
        assert!(view.connect(pinhole));
        assert!(!view.connect(pinhole), "a second connection");
        assert_eq!(events.recv().await, Some(FlowEvent::Started(pinhole)));
        let end = FlowEvent::Ended { pinhole, orderly: true, bytes: None };
        assert!(view.emit(end));
        assert_eq!(events.recv().await, Some(end));
        view.fail_with(Some(FirewallError::Full { limit: 1 }));
        let result = firewall.open(opening, timeout, sender.clone()).await;
        assert_eq!(result, Err(FirewallError::Full { limit: 1 }));
        view.fail_with(None);
        firewall.clone().shutdown();
        let result = firewall.open(opening, timeout, sender).await;
        assert_eq!(result, Err(FirewallError::Stopped));
        assert_eq!((view.open(), view.opened()), (vec![], 1));
    }

    #[tokio::test]
    async fn a_range_stands_until_as_many_sessions_have_closed_it_as_opened_it() {
        let (firewall, view) = Firewall::memory();
        let [client, entry, server, source] =
            ["192.0.2.2", "203.0.113.7", "198.51.100.2", "198.51.100.1"]
                .map(|address| address.parse().unwrap());
        let range = BlindRange { client, entry, server, source };
        let (sender, _events) = mpsc::unbounded_channel();
        firewall.open_range(range, sender.clone()).await.unwrap();
        firewall.open_range(range, sender.clone()).await.unwrap();
        let elsewhere = BlindRange { server: source, ..range };
        let taken = Err(FirewallError::RangeTaken { client, entry });
        assert_eq!(firewall.open_range(elsewhere, sender.clone()).await, taken);
        firewall.close_range(range, &sender).await.unwrap();
        assert_eq!(view.ranges(), [range]);
        firewall.close_range(range, &sender).await.unwrap();
        assert_eq!(view.ranges(), []);
        firewall.close_range(range, &sender).await.unwrap();
        let full = FirewallError::Full { limit: 1 };
        view.fail_with(Some(full.clone()));
        assert_eq!(firewall.open_range(range, sender.clone()).await, Err(full));
        assert_eq!(view.ranges(), []);
        view.fail_with(None);
        let mixed = BlindRange { source: "2001:db8::1".parse().unwrap(), ..range };
        assert_eq!(
            firewall.open_range(mixed, sender.clone()).await,
            Err(FirewallError::MixedFamilies)
        );
        firewall.open_range(range, sender.clone()).await.unwrap();
        firewall.clone().shutdown();
        assert_eq!(view.ranges(), []);
        assert_eq!(firewall.open_range(range, sender.clone()).await, Err(FirewallError::Stopped));
        assert_eq!(firewall.close_range(range, &sender).await, Err(FirewallError::Stopped));
    }

    #[tokio::test]
    async fn the_newest_holder_hears_of_the_connections_through_a_range() {
        let (firewall, view) = Firewall::memory();
        let [client, entry, server, source] =
            ["192.0.2.2", "203.0.113.7", "198.51.100.2", "198.51.100.1"]
                .map(|address| address.parse().unwrap());
        let range = BlindRange { client, entry, server, source };
        assert_eq!(view.connect_in_range(client, entry), None, "nobody holds it");
        let (older, mut older_events) = mpsc::unbounded_channel();
        let (newer, mut newer_events) = mpsc::unbounded_channel();
        firewall.open_range(range, older.clone()).await.unwrap();
        firewall.open_range(range, newer.clone()).await.unwrap();
        assert_eq!(view.connect_in_range(server, entry), None, "another client");
        let first = view.connect_in_range(client, entry).unwrap();
        assert_eq!(newer_events.recv().await, Some(FlowEvent::StartedInRange(first)));
        firewall.close_range(range, &newer).await.unwrap();
        let second = view.connect_in_range(client, entry).unwrap();
        assert_eq!(older_events.recv().await, Some(FlowEvent::StartedInRange(second)));
        let end = FlowEvent::EndedInRange { flow: first, orderly: true, bytes: None };
        assert!(view.emit(end));
        assert_eq!(newer_events.recv().await, Some(end));
        assert!(!view.emit(end), "it is over");
    }
}
