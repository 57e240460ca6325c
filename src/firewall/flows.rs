//! Who waits for which connection, and what is known of those that have come: plain values.

use super::conntrack::{Flow, State};
use super::quiet::Quiet;
use super::{BlindRange, FlowBytes, FlowEvent};
use crate::pinhole::{Pinhole, PortRange};
use crate::terms::FlowId;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long a closed pinhole or range is still watched: a first packet may have passed while the
/// news of it is on the way.
const NEWS_TAKES: Duration = Duration::from_secs(1);

type Watcher = mpsc::UnboundedSender<FlowEvent>;

/// The connections that somebody wants to hear of.
///
/// Conntrack's id tells two successive connections through the same pinhole apart: only the first
/// packet of a connection pairs it with the watcher of its pinhole. A connection that no pinhole
/// waits for is the newest session's that holds a range open where it came through.
#[derive(Debug, Default)]
pub(super) struct Flows {
    /// Each in the order of opening; only the last one's pinhole may still be open.
    waiting: HashMap<Pinhole, VecDeque<Waiting>>,
    /// Who holds a range open, by its client and entry, in the order of opening.
    holding: HashMap<(IpAddr, IpAddr), Vec<Holding>>,
    running: HashMap<u32, Running>,
    /// Ended, but still an entry of conntrack's.
    ended: HashSet<u32>,
    /// What is closed in the order of time, with the turn of its watcher.
    closed: VecDeque<(Instant, Way, u64)>,
    turn: u64,
}

#[derive(Debug)]
struct Waiting {
    watcher: Watcher,
    turn: u64,
    /// The pinhole is gone; what came through it may still become known.
    closed: bool,
}

#[derive(Debug)]
struct Holding {
    watcher: Watcher,
    ports: PortRange,
    turn: u64,
    /// The session holds it no longer; what came through it may still become known.
    closed: bool,
}

#[derive(Debug)]
struct Running {
    /// `None` for a range.
    pinhole: Option<Pinhole>,
    watcher: Watcher,
    quiet: Option<Quiet>,
}

impl Running {
    fn new(pinhole: Option<Pinhole>, watcher: Watcher) -> Self {
        Self { pinhole, watcher, quiet: None }
    }

    fn is_quiet(&mut self, flow: &Flow, limit: Duration, now: Instant) -> bool {
        self.quiet.get_or_insert_with(|| Quiet::new(flow, now)).lasts(flow, limit, now)
    }
}

/// What a connection may come through.
#[derive(Debug, Clone, Copy)]
enum Way {
    Pinhole(Pinhole),
    /// From this client to this entry.
    Range(IpAddr, IpAddr),
}

impl Flows {
    /// Tells `watcher` of the next connection through this pinhole, after those through earlier
    /// pinholes of the same key. Where such a one is still open, it is opened anew for `watcher`, and
    /// its own watcher waits in vain.
    pub(super) fn watch(&mut self, pinhole: Pinhole, watcher: Watcher) {
        if let Some(replaced) = self.take_open(pinhole) {
            tell(&replaced.watcher, FlowEvent::Missed(pinhole));
        }
        self.turn += 1;
        let waiting = Waiting { watcher, turn: self.turn, closed: false };
        self.waiting.entry(pinhole).or_default().push_back(waiting);
    }

    /// The pinhole could not be opened, or was closed unused: nothing has come through it.
    pub(super) fn abandon(&mut self, pinhole: Pinhole) {
        self.take_open(pinhole);
    }

    /// The pinhole is gone. A connection that has begun is watched to its end. True if nothing was
    /// due to be forgotten, so that [`forget_closed`](Self::forget_closed) has to be asked again.
    pub(super) fn close(&mut self, pinhole: Pinhole, now: Instant) -> bool {
        let last = self.waiting.get_mut(&pinhole).and_then(VecDeque::back_mut);
        let Some(waiting) = last.filter(|waiting| !waiting.closed) else { return false };
        waiting.closed = true;
        self.closed.push_back((now + NEWS_TAKES, Way::Pinhole(pinhole), waiting.turn));
        self.closed.len() == 1
    }

    /// Tells `watcher` of the connections through this canonical range to one of `ports`, until
    /// somebody else holds it as well.
    pub(super) fn hold(&mut self, range: BlindRange, ports: PortRange, watcher: Watcher) {
        self.turn += 1;
        let holding = Holding { watcher, ports, turn: self.turn, closed: false };
        let all = self.holding.entry((range.client, range.entry)).or_default();
        // Of a session that has ended without closing it.
        all.retain(|holding| !holding.watcher.is_closed());
        all.push(holding);
    }

    /// The range could not be opened: nothing has come through it.
    pub(super) fn let_go(&mut self, range: BlindRange, watcher: &Watcher) {
        if let Some(turn) = self.held(range, watcher).map(|holding| holding.turn) {
            self.forget_holding(range.client, range.entry, turn);
        }
    }

    /// The session holds the range no longer. Connections that have begun are watched to their end.
    /// True if nothing was due to be forgotten, as for [`close`](Self::close).
    pub(super) fn close_range(
        &mut self,
        range: BlindRange,
        watcher: &Watcher,
        now: Instant,
    ) -> bool {
        let Some(holding) = self.held(range, watcher) else { return false };
        holding.closed = true;
        let turn = holding.turn;
        let way = Way::Range(range.client, range.entry);
        self.closed.push_back((now + NEWS_TAKES, way, turn));
        self.closed.len() == 1
    }

    fn held(&mut self, range: BlindRange, watcher: &Watcher) -> Option<&mut Holding> {
        let all = self.holding.get_mut(&(range.client, range.entry))?;
        let own = |holding: &&mut Holding| !holding.closed && holding.watcher.same_channel(watcher);
        all.iter_mut().rev().find(own)
    }

    fn forget_holding(&mut self, client: IpAddr, entry: IpAddr, turn: u64) {
        if let Some(all) = self.holding.get_mut(&(client, entry)) {
            all.retain(|holding| holding.turn != turn);
            if all.is_empty() {
                self.holding.remove(&(client, entry));
            }
        }
    }

    fn take_open(&mut self, pinhole: Pinhole) -> Option<Waiting> {
        self.take(pinhole, |queue| {
            queue.back().is_some_and(|waiting| !waiting.closed).then(|| queue.len() - 1)
        })
    }

    /// Takes the one of those that wait at this pinhole which `find` points to.
    fn take(
        &mut self,
        pinhole: Pinhole,
        find: impl FnOnce(&VecDeque<Waiting>) -> Option<usize>,
    ) -> Option<Waiting> {
        let queue = self.waiting.get_mut(&pinhole)?;
        let taken = find(queue).and_then(|at| queue.remove(at));
        if queue.is_empty() {
            self.waiting.remove(&pinhole);
        }
        taken
    }

    /// Forgets the watchers of what has been closed for long enough; says when to ask again.
    pub(super) fn forget_closed(&mut self, now: Instant) -> Option<Duration> {
        while let Some((at, way, turn)) = self.closed.front().copied() {
            if at > now {
                return Some(at - now);
            }
            self.closed.pop_front();
            match way {
                Way::Pinhole(pinhole) => {
                    let own = |queue: &VecDeque<Waiting>| queue.iter().position(|w| w.turn == turn);
                    if let Some(Waiting { watcher, .. }) = self.take(pinhole, own) {
                        tell(&watcher, FlowEvent::Missed(pinhole));
                    }
                }
                Way::Range(client, entry) => self.forget_holding(client, entry, turn),
            }
        }
        None
    }

    /// The first packet has passed.
    pub(super) fn on_began(&mut self, flow: &Flow) {
        let pinhole = flow.pinhole();
        if let Some(Waiting { watcher, .. }) = self.take(pinhole, |_| Some(0)) {
            self.ended.remove(&flow.id);
            tell(&watcher, FlowEvent::Started(pinhole));
            self.running.insert(flow.id, Running::new(Some(pinhole), watcher));
        } else if !self.is_known(flow)
            && let Some(watcher) = self.holder(flow)
        {
            tell(&watcher, FlowEvent::StartedInRange(FlowId(flow.id)));
            self.running.insert(flow.id, Running::new(None, watcher));
        }
    }

    /// Who is told of a connection that no pinhole waits for: of those who hold a range that it can
    /// have come through, the newest.
    fn holder(&self, flow: &Flow) -> Option<Watcher> {
        let all = self.holding.get(&(flow.from.ip(), flow.to.ip()))?;
        let newest = |closed: bool| {
            let listens = |holding: &&Holding| {
                holding.closed == closed
                    && holding.ports.contains(flow.to.port())
                    && !holding.watcher.is_closed()
            };
            all.iter().rev().find(listens)
        };
        newest(false).or_else(|| newest(true)).map(|holding| holding.watcher.clone())
    }

    /// True if the connection has been told of: a dump may be ahead of the news of the first packet.
    fn is_known(&self, flow: &Flow) -> bool {
        self.runs(flow) || self.ended.contains(&flow.id)
    }

    /// True if the connection runs as far as is known, so that news of it matter.
    pub(super) fn runs(&self, flow: &Flow) -> bool {
        self.running.contains_key(&flow.id)
    }

    /// True if there is any connection to ask [`quiet`](Self::quiet) about.
    pub(super) fn any_runs(&self) -> bool {
        !self.running.is_empty()
    }

    /// Which of the connections that run have moved nothing for `limit`; `entries` is all there is.
    pub(super) fn quiet(&mut self, entries: &[Flow], limit: Duration, now: Instant) -> Vec<Flow> {
        let is_quiet = |flow: &&Flow| {
            let running = self.running.get_mut(&flow.id);
            running.is_some_and(|running| running.is_quiet(flow, limit, now))
        };
        entries.iter().filter(is_quiet).copied().collect()
    }

    /// The connection is over, while conntrack keeps the entry for a while.
    pub(super) fn on_ended(&mut self, flow: &Flow, state: State, bytes: Option<FlowBytes>) {
        if self.end(flow.id, state == State::Finished, bytes) {
            self.ended.insert(flow.id);
        }
    }

    /// Conntrack's entry is gone.
    pub(super) fn on_gone(&mut self, flow: &Flow) {
        self.end(flow.id, flow.state == Some(State::Finished), flow.bytes);
        self.ended.remove(&flow.id);
    }

    /// Events were lost; `entries` is all there is.
    pub(super) fn on_resync(&mut self, entries: &[Flow]) {
        let ids: HashSet<u32> = entries.iter().map(|flow| flow.id).collect();
        self.ended.retain(|id| ids.contains(id));
        for flow in entries {
            if !self.is_known(flow) {
                self.on_began(flow);
            }
            if let Some(state @ (State::Finished | State::Reset)) = flow.state {
                self.on_ended(flow, state, flow.bytes);
            }
        }
        let lost: Vec<u32> = self.running.keys().copied().filter(|id| !ids.contains(id)).collect();
        for id in lost {
            self.end(id, false, None);
        }
    }

    fn end(&mut self, id: u32, orderly: bool, bytes: Option<FlowBytes>) -> bool {
        let Some(Running { pinhole, watcher, .. }) = self.running.remove(&id) else { return false };
        let event = match pinhole {
            Some(pinhole) => FlowEvent::Ended { pinhole, orderly, bytes },
            None => FlowEvent::EndedInRange { flow: FlowId(id), orderly, bytes },
        };
        tell(&watcher, event);
        true
    }
}

/// The session may be over before its connections are.
fn tell(watcher: &Watcher, event: FlowEvent) {
    let _ = watcher.send(event);
}

#[cfg(test)]
mod tests;
