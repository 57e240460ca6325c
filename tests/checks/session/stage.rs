//! Plays a script: the executor, the two peers and the clock around one session.

mod executor;
mod peers;

use super::judge::Judge;
use super::layer::Layers;
use super::ruled::Ruled;
use super::script::Script;
use super::server::Server;
use super::step::Step;
use ftpgate::report::{CloseCause, DataOutcome, Report, TlsFault};
use ftpgate::session::{Action, Event, Session, TransferPlan};
use ftpgate::terms::{FlowId, Side, TransferId};
use peers::Inbound;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One read of the executor.
pub(super) const READ_SIZE: usize = 4096;

/// Replies that a server may owe: as many as commands may wait for one, and some of the gateway's own.
const MOST_ANSWERS: usize = 400;

/// Timeouts that may follow each other after the last event until a session is over: a pinhole, a
/// handshake, the login, the silence.
const MAX_TIMEOUTS: usize = 5;

/// How what a peer sends is cut into reads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Splits {
    /// As it is said.
    Whole,
    /// Byte by byte, but a burst in pieces.
    Bytes,
    /// At places that follow from a seed.
    Random(u32),
}

/// What was seen of a session, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// What one side was sent, as far as nothing came in between.
    Sent(Side, Vec<u8>),
    /// Any other action.
    Did(Action),
}

/// A session with everything around it.
pub(super) struct Play<'a> {
    script: &'a Script,
    session: Session,
    now: Instant,
    splits: Splits,
    /// What the client and the server have sent and the session has not read.
    inbox: [VecDeque<Inbound>; 2],
    ended: [bool; 2],
    /// What the executor has been asked to open and has not answered.
    opening: VecDeque<TransferPlan>,
    /// Transfers that the kernel carries.
    kernel: BTreeSet<TransferId>,
    /// Transfers of which the executor has closed all.
    withdrawn: BTreeSet<TransferId>,
    /// A range has been open.
    had_range: bool,
    /// Connections that run through it.
    flows: BTreeSet<FlowId>,
    next_port: u16,
    last_transfer: u32,
    /// TLS that ends at the gateway.
    pub(super) layers: Layers,
    /// What it is asked, and answers if the script leaves that to it.
    server: Server,
    judge: Judge,
    /// Where there are rules of the owner's.
    ruled: Option<Ruled>,
    /// True if a peer had to wait at the end of a step.
    pub(super) held_back: bool,
    pub(super) trace: Vec<Seen>,
    /// What was told of pinholes and data connections: it follows the executor's answers, and may
    /// stand before or behind what else is under way.
    pub(super) news: Vec<Action>,
}

impl<'a> Play<'a> {
    /// Plays the script to its end and the session to its own.
    pub(super) fn of(script: &'a Script, splits: Splits) -> Self {
        let now = Instant::now();
        let mut play = Self {
            script,
            session: Session::new(Arc::new(script.settings.clone()), script.parties.clone(), now),
            now,
            splits,
            inbox: Default::default(),
            ended: [false; 2],
            opening: VecDeque::new(),
            kernel: BTreeSet::new(),
            withdrawn: BTreeSet::new(),
            had_range: false,
            flows: BTreeSet::new(),
            next_port: 50000,
            last_transfer: 0,
            layers: Layers::default(),
            server: Server::new(script),
            judge: Judge::new(script),
            ruled: Ruled::of(script),
            held_back: false,
            trace: Vec::new(),
            news: Vec::new(),
        };
        play.drain();
        for step in &script.steps {
            play.step(step);
            play.deliver();
            play.held_back |= play.inbox.iter().any(|inbox| !inbox.is_empty());
        }
        if script.rules.is_some() {
            play.answer_all();
        }
        play.finish();
        play
    }

    /// True if a peer has sent bytes in the clear where TLS was due.
    pub(super) fn was_injected(&self) -> bool {
        let plaintext = CloseCause::PlaintextInHandshake;
        self.layers.was_injected
            || self.trace.iter().any(|seen| {
                matches!(seen, Seen::Did(Action::Report(Report::SessionEnded { cause, .. })) if *cause == plaintext)
            })
    }

    fn step(&mut self, step: &Step) {
        let ahead = |back: usize, last: u32| {
            TransferId(last.saturating_sub(u32::try_from(back).unwrap()).max(1))
        };
        match step {
            Step::Say(side, bytes) => {
                if *side == Side::Server {
                    self.server.speaks_unasked();
                    self.judge.on_unasked();
                }
                self.say(*side, bytes);
            }
            Step::Reply(manner) => {
                if let Some(reply) = self.server.reply(*manner) {
                    if reply.is_odd {
                        self.judge.on_unasked();
                    }
                    self.say(Side::Server, &reply.bytes);
                }
            }
            Step::Tls(news) => self.on_news(*news),
            Step::Secure(name) => self.secure(*name),
            Step::Close(side, orderly) => {
                self.inbox[index(*side)].push_back(Inbound::End { orderly: *orderly });
            }
            Step::Answer { opened } => self.answer(*opened),
            Step::Use(back, side) => {
                let id = ahead(*back, self.last_transfer);
                if self.has_answered(id) {
                    self.tell(Event::PinholeUsed { id, side: *side });
                }
            }
            Step::Join(back) => {
                let id = ahead(*back, self.last_transfer);
                if self.has_answered(id) {
                    self.tell(Event::DataConnectionJoined { id });
                }
            }
            Step::End(back, outcome) => {
                let id = ahead(*back, self.last_transfer);
                if self.has_answered(id) {
                    let outcome = *outcome;
                    self.tell(Event::DataConnectionEnded { id, outcome, bytes: None });
                }
            }
            Step::BlindStart(name) => {
                // The news may come when the range is closed again, but not before it was open.
                let flow = FlowId(*name);
                if self.had_range && self.flows.insert(flow) {
                    self.judge.on_blind_started();
                    self.tell(Event::BlindConnectionStarted { flow });
                }
            }
            Step::BlindEnd(name, outcome) => {
                let flow = FlowId(*name);
                if self.flows.remove(&flow) {
                    let outcome = *outcome;
                    self.tell(Event::BlindConnectionEnded { flow, outcome, bytes: None });
                }
            }
            Step::Wait(duration) => self.wait(*duration),
            Step::Connect => {
                let (server, seen_as) = (self.script.server, self.script.seen_as);
                let wants_certificate = self.script.wants_certificate;
                if wants_certificate {
                    self.judge.on_carried();
                }
                if self.script.rules.is_some() {
                    self.tell(Event::ServerFound { server });
                    if self.judge.is_closed() {
                        return;
                    }
                }
                self.tell(Event::ServerConnected { server, seen_as, wants_certificate });
            }
            Step::FailToConnect => self.tell(Event::ServerConnectFailed),
            Step::Loop => self.tell(Event::LoopDetected),
            Step::OwnerCloses => self.tell(Event::CloseRequested),
            Step::Drain => self.tell(Event::DrainRequested),
            Step::Shutdown => self.tell(Event::ShutdownRequested),
        }
    }

    fn tell(&mut self, event: Event<'_>) {
        self.session.handle_event(event, self.now);
        self.drain();
        let due = self.layers.are_due() && !self.judge.is_closed();
        assert!(!due || self.session.poll_timeout().is_some(), "a handshake without an end");
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.on_time();
    }

    fn on_time(&mut self) {
        if self.session.poll_timeout().is_some_and(|deadline| deadline <= self.now) {
            self.session.handle_timeout(self.now);
            self.drain();
            let next = self.session.poll_timeout();
            assert!(next.is_none_or(|deadline| deadline > self.now), "a timer that never rests");
        }
    }

    /// Everybody answers what he is asked, and then nothing is left without an answer.
    fn answer_all(&mut self) {
        for _ in 0..MOST_ANSWERS {
            while !self.opening.is_empty() {
                self.answer(true);
                self.deliver();
            }
            self.secure(None);
            for id in (1..=self.last_transfer).map(TransferId) {
                // A reply may wait for the end of what it is about.
                let outcome = DataOutcome::Completed;
                self.tell(Event::DataConnectionEnded { id, outcome, bytes: None });
            }
            self.deliver();
            let answered = self.server.truth().is_some() && {
                let waiting = self.server.waits();
                self.step(&Step::Reply(0));
                self.deliver();
                waiting
            };
            if !answered && self.opening.is_empty() {
                break;
            }
        }
        let over = self.judge.is_closed() || self.judge.was_secured() || self.layers.are_due();
        let truth = self.server.truth().is_some() && !self.server.waits();
        let waits = self.inbox.iter().any(|inbox| !inbox.is_empty());
        if let Some(ruled) = &self.ruled
            && truth
            && !over
            && !waits
        {
            ruled.at_rest();
        }
    }

    /// The executor answers, data connections end, and the peers go or are waited for.
    fn finish(&mut self) {
        while !self.opening.is_empty() {
            self.answer(true);
            self.deliver();
        }
        let end = |play: &mut Self| {
            for id in (1..=play.last_transfer).map(TransferId) {
                let outcome = DataOutcome::Aborted;
                play.tell(Event::DataConnectionEnded { id, outcome, bytes: None });
            }
            for flow in std::mem::take(&mut play.flows) {
                let outcome = DataOutcome::Completed;
                play.tell(Event::BlindConnectionEnded { flow, outcome, bytes: None });
            }
        };
        end(self);
        // Where lines are not read silence ends nothing: a transfer may be running there unseen.
        if !self.script.ends_by_time || self.judge.was_secured() {
            for side in [Side::Client, Side::Server] {
                if self.layers.of(side).is_in_handshake() && !self.judge.is_closed() {
                    self.fail_tls(side, TlsFault::Closed);
                }
                self.tell(Event::ConnectionClosed { side, orderly: false });
            }
        }
        for _ in 0..MAX_TIMEOUTS {
            let Some(deadline) = self.session.poll_timeout() else { break };
            self.now = self.now.max(deadline);
            self.on_time();
        }
        end(self);
        assert!(self.session.is_over(), "a session that does not end");
        assert_eq!(self.session.poll_timeout(), None);
        assert!(!self.session.wants_bytes(Side::Client) && !self.session.wants_bytes(Side::Server));
        self.judge.at_the_end();
    }
}

/// Where the arrays of this check keep what belongs to a side.
pub(super) fn index(side: Side) -> usize {
    match side {
        Side::Client => 0,
        Side::Server => 1,
    }
}
