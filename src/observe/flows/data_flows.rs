//! The data connections among the flows: which are awaited, whose they are, and what is told of them.

use super::{ControlFlow, Flows, IDLE_WAIT, Key, LATE_WAIT, MAX_CONTROL};
use crate::observe::conversation::DataNews;
use crate::observe::data::DataConnection;
use crate::observe::packet::Segment;
use crate::observe::record::Outcome;
use crate::terms::{DataMode, Side};
use std::net::SocketAddr;
use std::time::Duration;

/// Data connections at a time: four for each control connection.
const MAX_DATA: usize = 4 * MAX_CONTROL;

/// Addresses at which a data connection is awaited.
const MAX_AWAITED: usize = 2 * MAX_DATA;

/// How long a data connection is awaited, and an answer to its SYN: twice `data.open_timeout`.
const DATA_WAIT: Duration = Duration::from_secs(60);

/// A data connection, and whose it is.
#[derive(Debug)]
pub(super) struct DataFlow {
    connection: DataConnection,
    control: Key,
    serial: u64,
    number: u64,
}

/// Where a data connection is to come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Awaited {
    control: Key,
    serial: u64,
    number: u64,
    mode: DataMode,
    until: Duration,
}

/// Who dials in this mode.
fn dialler_side(mode: DataMode) -> Side {
    match mode {
        DataMode::Passive => Side::Client,
        DataMode::Active => Side::Server,
    }
}

impl Flows {
    /// Looks for each data connection that is agreed, and listens on.
    pub(super) fn match_awaits(&mut self, key: Key) {
        while let Some(flow) = self.controls.get_mut(&key)
            && flow.awaits_any()
        {
            self.note_awaits(key);
            let Some(flow) = self.controls.get_mut(&key) else { return };
            flow.listen(&self.pretended, self.clock.instant());
        }
    }

    /// What a control connection awaits, from now on or since it came: packets of several connections
    /// may be captured out of order.
    fn note_awaits(&mut self, key: Key) {
        let Some(flow) = self.controls.get_mut(&key) else { return };
        let serial = flow.serial;
        let until = self.clock.now + DATA_WAIT;
        let mut found = Vec::new();
        for (mode, awaits) in flow.take_awaits() {
            for listener in awaits.listeners {
                let awaited = Awaited { control: key, serial, number: awaits.number, mode, until };
                // A port may have been used before: the oldest is the one that was meant.
                let early = self
                    .candidates
                    .iter()
                    .filter_map(|(key, flow)| Some((flow.serial, *key, flow.dialler_of(listener)?)))
                    .min()
                    .map(|(_, key, dialler)| (key, dialler));
                if let Some((early, dialler)) = early {
                    found.push((early, dialler, awaited));
                    break;
                }
                if self.awaited.len() < MAX_AWAITED {
                    self.awaited.insert(listener, awaited);
                }
            }
        }
        for (early, dialler, awaited) in found {
            let Some(flow) = self.candidates.remove(&early) else { continue };
            let mut connection = flow.into_data();
            let news = connection.adopt(dialler, dialler_side(awaited.mode));
            self.insert_data(early, connection, awaited);
            news.into_iter().for_each(|news| self.tell_data(early, news));
        }
    }

    pub(super) fn awaited_by(&self, segment: &Segment<'_>) -> Option<(Awaited, SocketAddr)> {
        let at = |end: SocketAddr| Some((*self.awaited.get(&end)?, end));
        match (segment.syn, segment.acknowledges) {
            (true, None) => at(segment.to),
            (true, Some(_)) => at(segment.from),
            (false, _) => at(segment.to).or_else(|| at(segment.from)),
        }
    }

    pub(super) fn begin_data(
        &mut self,
        key: Key,
        segment: &Segment<'_>,
        awaited: Awaited,
        at: SocketAddr,
    ) {
        // Where it was awaited at two addresses, it has come to one of them.
        self.awaited.remove(&at);
        let other = |other: &mut Awaited| {
            (other.control, other.serial, other.number)
                != (awaited.control, awaited.serial, awaited.number)
        };
        self.awaited.retain(|_, awaited| other(awaited));
        let dialler = if at == segment.to { segment.from } else { segment.to };
        let connection = DataConnection::new(dialler, dialler_side(awaited.mode), self.clock.now);
        self.insert_data(key, connection, awaited);
        self.on_data(key, segment);
    }

    fn insert_data(&mut self, key: Key, connection: DataConnection, awaited: Awaited) {
        let Awaited { control, serial, number, .. } = awaited;
        if self.data.len() >= MAX_DATA {
            return;
        }
        self.data.insert(key, DataFlow { connection, control, serial, number });
    }

    /// A SYN between the hosts of a control connection whose lines cannot be read. True if it is one.
    pub(super) fn begin_blind_data(&mut self, key: Key, segment: &Segment<'_>) -> bool {
        if !segment.syn || segment.acknowledges.is_some() || self.ports.contains(&segment.to.port())
        {
            return false;
        }
        let hosts = (segment.from.ip(), segment.to.ip());
        let hidden = self.controls.iter_mut().find_map(|(key, flow)| {
            let conversation = flow.hidden_conversation()?;
            let (client, server) = conversation.hosts();
            let mode = match hosts {
                _ if hosts == (client, server) => DataMode::Passive,
                _ if hosts == (server, client) => DataMode::Active,
                _ => return None,
            };
            let number = conversation.blind(mode, segment.to, segment.from.ip());
            Some((*key, flow.serial, number, mode))
        });
        let Some((control, serial, number, mode)) = hidden else { return false };
        let until = self.clock.now;
        // Its other packets may have been captured ahead of the SYN.
        let late = self.candidates.remove(&key).map(ControlFlow::into_data);
        let seen = late.is_some();
        let mut connection = late.unwrap_or_else(|| {
            DataConnection::new(segment.from, dialler_side(mode), self.clock.now)
        });
        let news = connection.adopt(segment.from, dialler_side(mode));
        self.insert_data(key, connection, Awaited { control, serial, number, mode, until });
        for news in news.into_iter().filter(|_| seen) {
            self.tell_data(key, news);
        }
        self.on_data(key, segment);
        true
    }

    pub(super) fn on_data(&mut self, key: Key, segment: &Segment<'_>) {
        let Some(flow) = self.data.get_mut(&key) else { return };
        for news in flow.connection.on_segment(segment, self.clock.now) {
            self.tell_data(key, news);
        }
    }

    fn tell_data(&mut self, key: Key, news: DataNews) {
        let Some(flow) = self.data.get(&key) else { return };
        let (control, serial, number) = (flow.control, flow.serial, flow.number);
        let now = self.clock.instant();
        let owner = self.controls.get_mut(&control).filter(|flow| flow.serial == serial);
        if let Some(owner) = owner {
            owner.on_data(number, news, now);
        }
    }

    /// True while a data connection of this control connection runs. One that nobody has answered is not
    /// waited for.
    pub(super) fn runs_data(&self, control: Key) -> bool {
        let runs = |flow: &DataFlow| flow.control == control && flow.connection.runs();
        self.data.values().any(runs)
    }

    /// Gives up what has been silent for too long.
    pub(super) fn sweep_data(&mut self) {
        let now = self.clock.now;
        self.awaited.retain(|_, awaited| awaited.until > now);
        let overdue = |flow: &DataFlow| {
            let wait = match flow.connection.give_up() {
                _ if flow.connection.is_over() => LATE_WAIT,
                DataNews::Over { outcome: Outcome::Open, .. } => IDLE_WAIT,
                _ => DATA_WAIT,
            };
            now.saturating_sub(flow.connection.last()) >= wait
        };
        let data = self.data.iter().filter(|(_, flow)| overdue(flow));
        let data: Vec<Key> = data.map(|(key, _)| *key).collect();
        data.into_iter().for_each(|key| self.give_up_data(key));
    }

    /// Gives up the data connections of one control connection, or all.
    pub(super) fn give_up_data_of(&mut self, control: Option<Key>) {
        let of = |flow: &DataFlow| control.is_none_or(|control| flow.control == control);
        let mut data: Vec<Key> =
            self.data.iter().filter(|(_, flow)| of(flow)).map(|(key, _)| *key).collect();
        data.sort_unstable();
        data.into_iter().for_each(|key| self.give_up_data(key));
    }

    fn give_up_data(&mut self, key: Key) {
        let over =
            self.data.get(&key).map(|flow| (flow.connection.is_over(), flow.connection.give_up()));
        if let Some((false, news)) = over {
            self.tell_data(key, news);
        }
        self.data.remove(&key);
    }
}
