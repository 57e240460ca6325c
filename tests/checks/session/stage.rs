//! Plays a script: the executor, the two peers and the clock around one session.

use super::judge::Judge;
use super::layer::{Layer, Layers};
use super::ruled::Ruled;
use super::script::Script;
use super::server::Server;
use super::step::{Step, TlsNews};
use super::vocabulary::record;
use ftpgate::report::{CloseCause, DataOutcome, Report, TlsFault};
use ftpgate::session::{Action, Event, Leg, Session, TlsMode, TransferPlan};
use ftpgate::terms::{DataPath, FlowId, Side, TransferId};
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One read of the executor.
pub(super) const READ_SIZE: usize = 4096;

/// What is sent at once beyond this is a burst: all it is for is to fill buffers.
const BURST: usize = 1024;

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

/// What a peer does.
#[derive(Debug)]
enum Inbound {
    /// Inside TLS that ends at the gateway, or else as they are.
    Bytes {
        bytes: Vec<u8>,
        inside: bool,
    },
    End {
        orderly: bool,
    },
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

    /// A peer says something, inside TLS once that is established.
    fn say(&mut self, side: Side, bytes: &[u8]) {
        let inside = self.layers.is_secured(side);
        for piece in self.pieces(bytes) {
            self.inbox[index(side)].push_back(Inbound::Bytes { bytes: piece, inside });
        }
    }

    fn pieces(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut rest = bytes;
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let length = match &mut self.splits {
                Splits::Whole => READ_SIZE,
                Splits::Bytes if bytes.len() > BURST => 61,
                Splits::Bytes => 1,
                Splits::Random(seed) => {
                    *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    1 + usize::try_from(*seed >> 28).unwrap()
                }
            };
            let (piece, later) = rest.split_at(length.min(rest.len()));
            pieces.push(piece.to_vec());
            rest = later;
        }
        pieces
    }

    /// Reads from the peers as long as the session wants it.
    fn deliver(&mut self) {
        loop {
            let mut news = false;
            for side in [Side::Client, Side::Server] {
                // There is no connection to read from before it stands.
                let connected = side == Side::Client || self.judge.is_connected();
                if self.ended[index(side)] || self.judge.is_closed() {
                    self.inbox[index(side)].clear();
                } else if connected && self.session.wants_bytes(side) {
                    news |= self.read(side);
                }
            }
            if !news {
                return;
            }
        }
    }

    fn read(&mut self, from: Side) -> bool {
        let layer = self.layers.of(from);
        if layer == Layer::HelloRead
            && matches!(self.inbox[index(from)].front(), Some(Inbound::Bytes { .. }))
        {
            // Whatever comes ahead of the answer to the hello is kept for it.
            return false;
        }
        match self.inbox[index(from)].pop_front() {
            None => return false,
            Some(Inbound::Bytes { .. }) if layer == Layer::Broken => {}
            Some(Inbound::Bytes { inside, .. }) if layer.is_garbled_by(inside) => {
                self.layers.was_injected = true;
                self.fail_tls(from, TlsFault::Garbled);
            }
            Some(Inbound::Bytes { bytes, .. }) => {
                self.judge.on_delivered(from, &bytes);
                self.tell(Event::BytesReceived { from, bytes: &bytes });
            }
            Some(Inbound::End { .. }) if layer.is_in_handshake() => {
                self.ended[index(from)] = true;
                self.fail_tls(from, TlsFault::Closed);
            }
            Some(Inbound::End { orderly }) => {
                self.ended[index(from)] = true;
                self.tell(Event::ConnectionClosed { side: from, orderly });
            }
        }
        true
    }

    fn fail_tls(&mut self, side: Side, fault: TlsFault) {
        self.layers.set(side, Layer::Broken);
        self.judge.on_tls_failed(side);
        self.tell(Event::TlsFailed { side, fault });
        assert!(side == Side::Server || self.judge.is_closed(), "on without TLS");
    }

    /// News of TLS, unless there is nothing that they can be of.
    fn on_news(&mut self, news: TlsNews) {
        if self.judge.is_closed() {
            return;
        }
        match news {
            TlsNews::Hello(name) if self.layers.of(Side::Client) == Layer::Hello => {
                self.layers.set(Side::Client, Layer::HelloRead);
                self.judge.on_hello();
                self.tell(Event::HelloReceived { name });
            }
            TlsNews::Established(side, trusted)
                if self.layers.of(side) == Layer::Handshake
                    && (trusted || self.script.settings.tls == TlsMode::Intercept) =>
            {
                self.layers.set(side, Layer::Tls);
                self.judge.on_established(side, trusted);
                self.tell(Event::TlsEstablished { side, trusted });
            }
            TlsNews::Failed(side, fault) if self.layers.of(side).may_fail() => {
                self.fail_tls(side, fault);
            }
            TlsNews::Hello(_) | TlsNews::Established(..) | TlsNews::Failed(..) => {}
        }
    }

    /// All handshakes that are due succeed.
    fn secure(&mut self, name: Option<&'static str>) {
        // The hello, the server and the client; what begins first may wait for the other one.
        for _ in 0..2 {
            self.on_news(TlsNews::Hello(name));
            self.on_news(TlsNews::Established(Side::Server, true));
            self.on_news(TlsNews::Established(Side::Client, true));
        }
    }

    fn tell(&mut self, event: Event<'_>) {
        self.session.handle_event(event, self.now);
        self.drain();
        let due = self.layers.are_due() && !self.judge.is_closed();
        assert!(!due || self.session.poll_timeout().is_some(), "a handshake without an end");
    }

    /// True if the executor has told what became of opening this transfer: nothing else of it can
    /// be told before.
    fn has_answered(&self, id: TransferId) -> bool {
        id.0 <= self.last_transfer && !self.opening.iter().any(|plan| plan.id == id)
    }

    fn answer(&mut self, opened: bool) {
        let Some(plan) = self.opening.pop_front() else { return };
        self.judge.on_answer();
        if !opened {
            return self.tell(Event::TransferFailed { id: plan.id });
        }
        let client_entry = self.entry(&plan.client);
        let server_entry = self.entry(&plan.server);
        self.judge.on_opened(&plan, client_entry, server_entry);
        self.tell(Event::TransferOpened { id: plan.id, client_entry, server_entry });
    }

    fn entry(&mut self, leg: &Leg) -> Option<SocketAddr> {
        let Leg::Await(expected) = leg else { return None };
        self.next_port += 1;
        Some(SocketAddr::new(expected.address, expected.port.unwrap_or(self.next_port)))
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

    fn drain(&mut self) {
        while let Some(action) = self.session.poll_action() {
            self.judge.on_action(&action);
            if let Some(ruled) = &mut self.ruled {
                ruled.on_action(&action, self.server.truth());
            }
            if let Action::Report(
                Report::PinholeClosed { .. }
                | Report::DataConnectionStarted { .. }
                | Report::DataConnectionEnded { .. },
            ) = action
            {
                self.news.push(action);
                continue;
            }
            if let Action::Report(Report::BlindRangeOpened { .. }) = action {
                // Told unless the session has ended before the executor's answer.
                continue;
            }
            if let Action::Report(Report::TransferNamed { .. }) = action {
                // Told later if the connection comes after the command.
                continue;
            }
            match (&action, self.trace.last_mut()) {
                (Action::SendBytes { to, bytes }, Some(Seen::Sent(side, sent))) if side == to => {
                    sent.extend_from_slice(bytes);
                }
                (Action::SendBytes { to, bytes }, _) => {
                    self.trace.push(Seen::Sent(*to, bytes.to_vec()));
                }
                _ => self.trace.push(Seen::Did(action.clone())),
            }
            self.execute_tls(&action);
            if let Action::SendBytes { to: Side::Server, bytes } = &action
                && !self.judge.was_secured()
            {
                self.server.hears(bytes, self.judge.ends_clients_tls());
            }
            if let Action::OpenBlindRange(range) = action {
                self.had_range = true;
                let opened = Event::BlindRangeOpened { range };
                self.session.handle_event(opened, self.now);
            }
            if let Action::WithdrawTransfer { id } = action {
                let in_use = self.script.overtaken && self.kernel.contains(&id);
                self.session.handle_event(Event::TransferWithdrawn { id, in_use }, self.now);
            }
            if let Action::OpenTransfer(plan) = action {
                if plan.path == DataPath::Kernel {
                    self.kernel.insert(plan.id);
                }
                self.last_transfer = plan.id.0;
                self.opening.push_back(plan);
                if self.script.prompt {
                    self.answer(true);
                }
            }
        }
    }

    fn execute_tls(&mut self, action: &Action) {
        match action {
            Action::AcceptTls => self.layers.set(Side::Client, Layer::Hello),
            Action::ConnectTls => self.layers.set(Side::Server, Layer::Handshake),
            Action::PresentCertificate(_) => self.layers.set(Side::Client, Layer::Handshake),
            Action::CarryTls => {
                self.layers.set(Side::Client, Layer::Text);
                let bytes = record("handshake");
                self.judge.on_delivered(Side::Client, bytes);
                let event = Event::BytesReceived { from: Side::Client, bytes };
                self.session.handle_event(event, self.now);
            }
            Action::EndTls { side } => self.layers.set(*side, Layer::Ended),
            _ => {}
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
