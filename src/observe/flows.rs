//! Which connections are followed, as what, and for how long. Every table has a bound, and whatever a
//! capture holds, what is kept of it stays within a few hundred MiB at the very most.
//!
//! A connection is one of FTP if it goes to a known port, or if the server greets like one of FTP and
//! the client answers with a command that no other protocol with such a greeting knows (SMTP greets with
//! 220 as well). A data connection is one because a control connection spoke of it, or because it runs
//! between the two hosts of one whose lines cannot be read.
//!
//! Time is that of the capture: a sweep a second, told by packets.

mod control;
mod data_flows;
#[cfg(test)]
mod tests;

use super::conversation::Pretended;
use super::packet::Segment;
use super::record::{Control, Ended};
use super::row::Row;
use control::{ControlFlow, Step};
use data_flows::{Awaited, DataFlow};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Control connections that are followed at a time: with all that each may hold, 400 MiB; with what
/// they hold as a rule, 20.
const MAX_CONTROL: usize = 2048;

/// Connections at a time of which it is not known yet whether they are FTP.
const MAX_CANDIDATES: usize = 1024;

/// Connections without a word that give their places up at a time: a flood of SYN would have the whole
/// table searched for each of its packets.
const ROOM: usize = 64;

/// A server that has not greeted by then is no candidate. Some look up their client's name first.
const GREETING_WAIT: Duration = Duration::from_secs(30);

/// After so long without a packet a connection is forgotten: longer than `limits.idle_timeout` and than
/// what NATs keep.
const IDLE_WAIT: Duration = Duration::from_secs(2 * 3600);

/// How long a connection that is none of FTP's may turn out to be a data connection: a control
/// connection with a hole is read on after one second.
const MATCH_WAIT: Duration = Duration::from_secs(3);

/// How long late packets of a connection that is over are looked out for, so that they begin no other.
const LATE_WAIT: Duration = Duration::from_secs(2);

/// How long a control connection that is over waits for its data connections to be.
const LINGER: Duration = Duration::from_secs(60);

const SWEEP: Duration = Duration::from_secs(1);

/// Capture time that is told apart, from its first packet on: a file may say anything.
const MAX_TIME: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// The two ends of a connection, the lower address first.
type Key = (SocketAddr, SocketAddr);

fn key_of(segment: &Segment<'_>) -> Key {
    (segment.from.min(segment.to), segment.from.max(segment.to))
}

/// The connections of one capture.
#[derive(Debug)]
pub(super) struct Flows {
    pretended: Pretended,
    ports: Vec<u16>,
    controls: HashMap<Key, ControlFlow>,
    candidates: HashMap<Key, ControlFlow>,
    data: HashMap<Key, DataFlow>,
    /// The hosts that have control connections, and how many.
    pairs: HashMap<(IpAddr, IpAddr), usize>,
    awaited: HashMap<SocketAddr, Awaited>,
    clock: Clock,
    swept: Duration,
    serial: u64,
    /// Control connections given up for want of room.
    pub(super) evicted: u64,
    done: Vec<Control>,
}

/// Capture time as the session takes it.
#[derive(Debug)]
struct Clock {
    base: Instant,
    first: Option<Duration>,
    now: Duration,
}

impl Clock {
    fn advance(&mut self, time: Duration) {
        let first = *self.first.get_or_insert(time);
        self.now = self.now.max(time.saturating_sub(first).min(MAX_TIME));
    }

    fn instant(&self) -> Instant {
        self.base + self.now
    }
}

impl Flows {
    /// Nothing yet. `ports` are those where FTP is taken for granted; `base` is any instant.
    pub(super) fn new(pretended: Pretended, ports: Vec<u16>, base: Instant) -> Self {
        Self {
            pretended,
            ports,
            controls: HashMap::new(),
            candidates: HashMap::new(),
            data: HashMap::new(),
            pairs: HashMap::new(),
            awaited: HashMap::new(),
            clock: Clock { base, first: None, now: Duration::ZERO },
            swept: Duration::ZERO,
            serial: 0,
            evicted: 0,
            done: Vec::new(),
        }
    }

    /// From the first packet to the last.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.now
    }

    /// Takes a segment captured at `time`, since 1970.
    pub(super) fn on_segment(&mut self, segment: &Segment<'_>, time: Duration) {
        self.advance(time);
        let key = key_of(segment);
        if self.data.contains_key(&key) {
            return self.on_data(key, segment);
        }
        let opens = segment.syn && segment.acknowledges.is_none();
        let known = self.controls.contains_key(&key) || self.candidates.contains_key(&key);
        if known && opens && self.is_reused(key, segment) {
            self.finish(key, Ended::Idle);
            self.candidates.remove(&key);
        } else if known {
            let late = opens && self.candidates.contains_key(&key);
            if !(late && self.begin_blind_data(key, segment)) {
                self.on_control(key, segment);
            }
            return;
        }
        if let Some((awaited, listener)) = self.awaited_by(segment) {
            return self.begin_data(key, segment, awaited, listener);
        }
        if !segment.syn && self.known_server(segment).is_none() {
            return self.begin_late(key, segment, time);
        }
        if segment.rst || self.begin_blind_data(key, segment) {
            return;
        }
        self.begin_control(key, segment, time);
    }

    /// Time has passed without packets.
    pub(super) fn advance(&mut self, time: Duration) {
        self.clock.advance(time);
        if self.clock.now >= self.swept + SWEEP {
            self.swept = self.clock.now;
            self.sweep();
        }
    }

    /// The capture is over.
    pub(super) fn finish_all(&mut self) {
        let mut keys: Vec<(u64, Key)> =
            self.controls.iter().map(|(key, flow)| (flow.serial, *key)).collect();
        keys.sort_unstable();
        for (_, key) in keys {
            self.finish(key, Ended::CaptureEnd);
        }
        self.give_up_data_of(None);
        self.candidates.clear();
    }

    /// Control connections that are over, in the order of their ends.
    pub(super) fn take_done(&mut self) -> Vec<Control> {
        std::mem::take(&mut self.done)
    }

    /// Those that run.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<(u64, Row)> = self
            .controls
            .values()
            .filter_map(|flow| Some((flow.serial, Row::of(flow.control()?))))
            .collect();
        rows.sort_unstable_by_key(|(serial, _)| *serial);
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// The side of the segment that has a known port: the sender's or the other.
    fn known_server(&self, segment: &Segment<'_>) -> Option<SocketAddr> {
        [segment.to, segment.from].into_iter().find(|end| self.ports.contains(&end.port()))
    }

    fn begin_control(&mut self, key: Key, segment: &Segment<'_>, time: Duration) {
        let opener = match (segment.syn, segment.acknowledges) {
            (true, None) => Some(segment.from),
            (true, Some(_)) => Some(segment.to),
            (false, _) => None,
        };
        let known = self.known_server(segment);
        let server = match (opener, known) {
            (Some(client), _) if client == segment.from => segment.to,
            (Some(_), _) => segment.from,
            (None, Some(server)) => server,
            (None, None) => return,
        };
        let client = if server == segment.to { segment.from } else { segment.to };
        let certain = self.ports.contains(&server.port());
        self.serial += 1;
        let flow = ControlFlow::new(self.serial, client, server, certain, self.clock.now, time);
        if certain {
            self.insert_control(key, flow);
        } else {
            self.insert_candidate(key, flow);
        }
        self.on_control(key, segment);
    }

    /// A connection without a SYN between two hosts that speak FTP: a data connection perhaps, whose
    /// SYN or whose announcement is captured late.
    fn begin_late(&mut self, key: Key, segment: &Segment<'_>, time: Duration) {
        if self.pairs.contains_key(&(key.0.ip(), key.1.ip())) {
            self.serial += 1;
            let flow = ControlFlow::late(self.serial, segment, self.clock.now, time);
            self.insert_candidate(key, flow);
            self.on_control(key, segment);
        }
    }

    fn insert_candidate(&mut self, key: Key, flow: ControlFlow) {
        if self.candidates.len() >= MAX_CANDIDATES {
            for oldest in oldest(&self.candidates) {
                self.candidates.remove(&oldest);
            }
        }
        self.candidates.insert(key, flow);
    }

    fn insert_control(&mut self, key: Key, flow: ControlFlow) {
        if self.controls.len() >= MAX_CONTROL {
            for oldest in oldest(&self.controls) {
                let talks = self.controls.get(&oldest).is_some_and(|flow| flow.control().is_some());
                self.evicted += u64::from(talks);
                self.finish(oldest, Ended::Idle);
            }
        }
        *self.pairs.entry((key.0.ip(), key.1.ip())).or_default() += 1;
        self.controls.insert(key, flow);
    }

    /// A SYN of its own number on a connection that is over or long idle begins another one. Any
    /// other would get no connection from the peer either (RFC 5961 §4).
    fn is_reused(&self, key: Key, segment: &Segment<'_>) -> bool {
        let flow = self.controls.get(&key).or_else(|| self.candidates.get(&key));
        flow.is_some_and(|flow| flow.may_be_reused(segment, self.clock.now))
    }

    fn on_control(&mut self, key: Key, segment: &Segment<'_>) {
        let (now, instant) = (self.clock.now, self.clock.instant());
        let flow = self.controls.get_mut(&key).or_else(|| self.candidates.get_mut(&key));
        let Some(flow) = flow else { return };
        let step = flow.on_segment(segment, &self.pretended, now, instant);
        self.after(key, step);
    }

    fn after(&mut self, key: Key, step: Step) {
        match step {
            Step::Undecided => {}
            // A data connection perhaps, of which its control connection speaks in a moment.
            Step::NotFtp => {}
            Step::Ftp => {
                if let Some(flow) = self.candidates.remove(&key) {
                    self.insert_control(key, flow);
                }
                self.match_awaits(key);
            }
        }
    }

    fn finish(&mut self, key: Key, ended: Ended) {
        if let Some(flow) = self.controls.get_mut(&key) {
            flow.end_streams();
            flow.listen(&self.pretended, self.clock.instant());
            self.match_awaits(key);
            self.give_up_data_of(Some(key));
        }
        let Some(mut flow) = self.controls.remove(&key) else { return };
        let pair = (key.0.ip(), key.1.ip());
        let left = self.pairs.get(&pair).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            self.pairs.remove(&pair);
        } else {
            self.pairs.insert(pair, left);
        }
        if let Some(control) = flow.finish(ended, self.clock.instant()) {
            self.done.push(control);
        }
    }

    fn sweep(&mut self) {
        let (now, instant) = (self.clock.now, self.clock.instant());
        self.sweep_data();
        let both = self.controls.iter_mut().chain(self.candidates.iter_mut());
        let steps: Vec<(Key, Step)> =
            both.map(|(key, flow)| (*key, flow.settle(&self.pretended, now, instant))).collect();
        steps.into_iter().for_each(|(key, step)| self.after(key, step));
        self.candidates.retain(|_, flow| !flow.is_stale(now));
        let mut ends: Vec<(Duration, Key, Ended)> = self
            .controls
            .iter()
            .filter_map(|(key, flow)| {
                let idle = now.saturating_sub(flow.last);
                let late = idle >= LINGER || (idle >= LATE_WAIT && !self.runs_data(*key));
                let over = flow.has_ended().filter(|_| late);
                let patience = if flow.control().is_some() { IDLE_WAIT } else { GREETING_WAIT };
                let ended = over.or((idle >= patience).then_some(Ended::Idle))?;
                Some((flow.last, *key, ended))
            })
            .collect();
        ends.sort_unstable_by_key(|(last, key, _)| (*last, *key));
        ends.into_iter().for_each(|(_, key, ended)| self.finish(key, ended));
    }
}

/// What gives its place up: of the connections in which nothing has been said those that have been
/// silent for longest, so that a flood of SYN takes the place of no conversation. Else the one
/// conversation that has been silent for longest.
fn oldest(table: &HashMap<Key, ControlFlow>) -> Vec<Key> {
    let silent_since = |talks: bool| {
        let flows = table.iter().filter(move |(_, flow)| flow.control().is_some() == talks);
        flows.map(|(key, flow)| (flow.last, *key))
    };
    let mut silent: Vec<(Duration, Key)> = silent_since(false).collect();
    if silent.is_empty() {
        return silent_since(true).min().map(|(_, key)| key).into_iter().collect();
    }
    silent.sort_unstable();
    silent.into_iter().take(ROOM).map(|(_, key)| key).collect()
}
