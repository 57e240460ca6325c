//! Who waits for which connection, and what is known of those that have come: plain values.

use super::conntrack::{Flow, State};
use super::{FlowBytes, FlowEvent};
use crate::pinhole::Pinhole;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long a closed pinhole is still watched: its first packet may have passed while the news of
/// it is on the way.
const NEWS_TAKES: Duration = Duration::from_secs(1);

type Watcher = mpsc::UnboundedSender<FlowEvent>;

/// The connections that somebody wants to hear of.
///
/// Conntrack's id tells two successive connections through the same pinhole apart: only the first
/// packet of a connection pairs it with the watcher of its pinhole.
#[derive(Debug, Default)]
pub(super) struct Flows {
    /// Each in the order of opening; only the last one's pinhole may still be open.
    waiting: HashMap<Pinhole, VecDeque<Waiting>>,
    running: HashMap<u32, Running>,
    /// Ended, but still an entry of conntrack's.
    ended: HashSet<u32>,
    /// Closed pinholes in the order of time, with the turn of their watcher.
    closed: VecDeque<(Instant, Pinhole, u64)>,
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
struct Running {
    pinhole: Pinhole,
    watcher: Watcher,
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
        self.closed.push_back((now + NEWS_TAKES, pinhole, waiting.turn));
        self.closed.len() == 1
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

    /// Forgets the watchers of pinholes closed for long enough; says when to ask again.
    pub(super) fn forget_closed(&mut self, now: Instant) -> Option<Duration> {
        while let Some((at, pinhole, turn)) = self.closed.front().copied() {
            if at > now {
                return Some(at - now);
            }
            self.closed.pop_front();
            let own = |queue: &VecDeque<Waiting>| queue.iter().position(|w| w.turn == turn);
            if let Some(Waiting { watcher, .. }) = self.take(pinhole, own) {
                tell(&watcher, FlowEvent::Missed(pinhole));
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
            self.running.insert(flow.id, Running { pinhole, watcher });
        }
    }

    /// True if the connection runs as far as is known, so that news of it matter.
    pub(super) fn runs(&self, flow: &Flow) -> bool {
        self.running.contains_key(&flow.id)
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
            if !self.runs(flow) && !self.ended.contains(&flow.id) {
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
        let Some(Running { pinhole, watcher }) = self.running.remove(&id) else { return false };
        tell(&watcher, FlowEvent::Ended { pinhole, orderly, bytes });
        true
    }
}

/// The session may be over before its connections are.
fn tell(watcher: &Watcher, event: FlowEvent) {
    let _ = watcher.send(event);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(id: u32, state: State) -> Flow {
        Flow {
            id,
            from: "192.0.2.2:4000".parse().unwrap(),
            to: "203.0.113.7:50000".parse().unwrap(),
            state: Some(state),
            bytes: Some(FlowBytes { original: u64::from(id), reply: 7 }),
        }
    }

    fn watched(flows: &mut Flows) -> (Pinhole, mpsc::UnboundedReceiver<FlowEvent>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let pinhole = flow(0, State::Alive).pinhole();
        flows.watch(pinhole, sender);
        (pinhole, receiver)
    }

    #[test]
    fn successive_connections_through_one_pinhole_are_told_apart() {
        let mut flows = Flows::default();
        let (pinhole, mut first) = watched(&mut flows);
        flows.on_began(&flow(1, State::Alive));
        assert_eq!(first.try_recv(), Ok(FlowEvent::Started(pinhole)));
        let (_, mut second) = watched(&mut flows);
        flows.on_began(&flow(2, State::Alive));
        assert_eq!(second.try_recv(), Ok(FlowEvent::Started(pinhole)));
        let bytes = flow(1, State::Alive).bytes;
        flows.on_ended(&flow(1, State::Finished), State::Finished, bytes);
        assert_eq!(first.try_recv(), Ok(FlowEvent::Ended { pinhole, orderly: true, bytes }));
        flows.on_gone(&flow(1, State::Finished));
        assert!(first.try_recv().is_err(), "told twice");
        flows.on_gone(&flow(2, State::Alive));
        let bytes = flow(2, State::Alive).bytes;
        assert_eq!(second.try_recv(), Ok(FlowEvent::Ended { pinhole, orderly: false, bytes }));
    }

    #[test]
    fn a_closed_pinhole_is_forgotten_after_the_news_had_time() {
        let mut flows = Flows::default();
        let now = Instant::now();
        let (pinhole, mut first) = watched(&mut flows);
        flows.close(pinhole, now);
        assert_eq!(flows.forget_closed(now), Some(NEWS_TAKES));
        flows.on_began(&flow(1, State::Alive));
        assert_eq!(first.try_recv(), Ok(FlowEvent::Started(pinhole)));
        // The same key is opened anew before the old closing is forgotten.
        let (_, mut second) = watched(&mut flows);
        assert_eq!(flows.forget_closed(now + NEWS_TAKES), None);
        flows.on_began(&flow(2, State::Alive));
        assert_eq!(second.try_recv(), Ok(FlowEvent::Started(pinhole)));
        let (_, mut third) = watched(&mut flows);
        flows.close(pinhole, now);
        flows.forget_closed(now + NEWS_TAKES);
        flows.on_began(&flow(3, State::Alive));
        assert_eq!(third.try_recv(), Ok(FlowEvent::Missed(pinhole)));
        assert_eq!(third.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn late_news_of_a_used_pinhole_are_not_taken_for_news_of_the_next() {
        let mut flows = Flows::default();
        let (pinhole, mut used) = watched(&mut flows);
        assert!(flows.close(pinhole, Instant::now()), "somebody has to ask again");
        let (_, mut next) = watched(&mut flows);
        flows.on_began(&flow(1, State::Alive));
        assert_eq!(used.try_recv(), Ok(FlowEvent::Started(pinhole)));
        assert_eq!(next.try_recv(), Err(mpsc::error::TryRecvError::Empty));
        flows.on_began(&flow(2, State::Alive));
        assert_eq!(next.try_recv(), Ok(FlowEvent::Started(pinhole)));
        assert!(flows.waiting.is_empty());
    }

    #[test]
    fn whose_pinhole_is_opened_anew_for_another_waits_in_vain() {
        let mut flows = Flows::default();
        let (pinhole, mut older) = watched(&mut flows);
        let (_, mut newer) = watched(&mut flows);
        assert_eq!(older.try_recv(), Ok(FlowEvent::Missed(pinhole)));
        flows.on_began(&flow(1, State::Alive));
        assert_eq!(newer.try_recv(), Ok(FlowEvent::Started(pinhole)));
        let (_, mut unused) = watched(&mut flows);
        flows.abandon(pinhole);
        assert_eq!(unused.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
        assert!(flows.waiting.is_empty());
    }

    #[test]
    fn after_lost_events_a_dump_tells_what_was_missed() {
        let mut flows = Flows::default();
        let (pinhole, mut lost) = watched(&mut flows);
        flows.on_began(&flow(1, State::Alive));
        let (_, mut ended) = watched(&mut flows);
        flows.on_began(&flow(2, State::Alive));
        let (_, mut begun) = watched(&mut flows);
        flows.on_resync(&[flow(2, State::Reset), flow(3, State::Finished)]);
        let told = |receiver: &mut mpsc::UnboundedReceiver<FlowEvent>| {
            std::iter::from_fn(|| receiver.try_recv().ok()).collect::<Vec<_>>()
        };
        let end = |id: u32, orderly| {
            let bytes = (id != 0).then(|| FlowBytes { original: u64::from(id), reply: 7 });
            FlowEvent::Ended { pinhole, orderly, bytes }
        };
        let started = FlowEvent::Started(pinhole);
        assert_eq!(told(&mut lost), [started, end(0, false)]);
        assert_eq!(told(&mut ended), [started, end(2, false)]);
        assert_eq!(told(&mut begun), [started, end(3, true)]);
        // What has ended is not taken for new by the next dump.
        let (_, mut next) = watched(&mut flows);
        flows.on_resync(&[flow(2, State::Reset), flow(3, State::Finished)]);
        assert_eq!(told(&mut next), []);
    }
}
