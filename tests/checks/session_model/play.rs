//! Plays a conversation to the session and to the model at once, and compares them at every step.
//!
//! The first byte is the settings, each further step is one of [`Step`]: a byte, whose low six bits say
//! what happens and whose high bit joins what a peer says to what it said just before, and an operand
//! where one is needed. Every input is a conversation.

use super::model::{Done, Model, Phase, Rules, Told};
use super::words::{
    Answer, CLIENT, CLIENT_LINES, GATEWAY, GATEWAY_INSIDE, SERVER, SERVER_LINES, Said, answered,
    spoken,
};
use ftpgate::addr::{External, OriginalDst};
use ftpgate::policy::Policy;
use ftpgate::report::{CloseCause, DataOutcome, Report};
use ftpgate::session::{
    Action, Event, Leg, Parties, Session, Settings, Source, TlsMode, TransferPlan,
};
use ftpgate::terms::{DataPath, Side, TransferId};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// More lines than wait for an answer at a time, and fewer than fill what is read ahead.
const MOST_STEPS: usize = 400;

/// What happens.
#[derive(Debug, Clone)]
enum Step {
    ClientSays(Vec<Said>),
    ServerSays(Vec<Answer>),
    /// What is being opened is open, or else cannot be.
    Answer(bool),
    Use,
    End,
    Wait(Duration),
    ClientEnds(bool),
    ServerEnds,
    Connect,
    FailToConnect,
    OwnerCloses,
}

fn read(input: &[u8]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut bytes = input.iter().copied();
    for _ in 0..MOST_STEPS {
        let Some(code) = bytes.next() else { break };
        let mut operand = || bytes.next().map(usize::from);
        let step = match code & 0x3f {
            0..=19 => {
                operand().map(|n| Step::ClientSays(vec![CLIENT_LINES[n % CLIENT_LINES.len()]]))
            }
            20..=39 => {
                operand().map(|n| Step::ServerSays(vec![SERVER_LINES[n % SERVER_LINES.len()]]))
            }
            40..=44 => Some(Step::Answer(true)),
            45 => Some(Step::Answer(false)),
            46 | 47 => Some(Step::Use),
            48 | 49 => Some(Step::End),
            50..=52 => operand()
                .map(|n| Step::Wait(Duration::from_secs([1, 29, 31, 59, 61, 899, 901][n % 7]))),
            53 => Some(Step::ClientEnds(true)),
            54 => Some(Step::ClientEnds(false)),
            55 => Some(Step::ServerEnds),
            56 => Some(Step::Connect),
            57 => Some(Step::FailToConnect),
            58 => Some(Step::OwnerCloses),
            // Who pipelines says more than one line at a time.
            59 => Some(Step::ClientSays(CLIENT_LINES[24..27].to_vec())),
            _ => Some(Step::Answer(true)),
        };
        let Some(step) = step else { break };
        match (steps.last_mut(), step) {
            (Some(Step::ClientSays(said)), Step::ClientSays(more)) if code & 0x80 != 0 => {
                said.extend(more);
            }
            (Some(Step::ServerSays(said)), Step::ServerSays(more)) if code & 0x80 != 0 => {
                said.extend(more);
            }
            (_, step) => steps.push(step),
        }
    }
    steps
}

struct Play {
    rules: Rules,
    session: Session,
    model: Model,
    start: Instant,
    opening: Option<TransferPlan>,
    /// Which side the pinhole that stands open awaits.
    awaits: Side,
    next_port: u16,
    ended: [bool; 2],
    done: Vec<Done>,
    told: Vec<Told>,
}

/// `split`: what peers say comes byte by byte.
pub(super) fn play(input: &[u8], split: bool) {
    let Some((flags, steps)) = input.split_first() else { return };
    let flag = |bit: u8| flags & (1 << bit) != 0;
    let rules = Rules {
        dials_gateway: flag(0),
        shows_client: flag(1),
        strict: flag(2),
        low_ports: flag(3),
        refuses_tls: flag(4),
    };
    let start = Instant::now();
    let mut play = Play {
        rules,
        session: session(rules, start),
        model: Model::new(rules),
        start,
        opening: None,
        awaits: Side::Client,
        next_port: 50_000,
        ended: [false; 2],
        done: Vec::new(),
        told: Vec::new(),
    };
    play.compare(None);
    let prompt = flag(5);
    let mut steps = read(steps);
    if flag(6) {
        let login = [
            Step::Connect,
            Step::ServerSays(vec![SERVER_LINES[0]]),
            Step::ClientSays(vec![CLIENT_LINES[0]]),
            Step::ServerSays(vec![SERVER_LINES[3]]),
        ];
        steps.splice(0..0, login);
    }
    for step in &steps {
        play.step(step, split);
        play.compare(Some(step));
        while prompt && play.opening.is_some() {
            play.step(&Step::Answer(true), split);
            play.compare(Some(step));
        }
    }
    play.finish();
}

fn session(rules: Rules, now: Instant) -> Session {
    let address = |ip: &str, port| SocketAddr::new(ip.parse::<IpAddr>().unwrap(), port);
    let settings = Settings {
        policy: Policy { strict: rules.strict, low_ports: rules.low_ports, ..Policy::default() },
        tls: if rules.refuses_tls { TlsMode::Refuse } else { TlsMode::Passthrough },
        source: if rules.shows_client { Source::Client } else { Source::Gateway },
        kernel: true,
        ..Settings::default()
    };
    let dialled = if rules.dials_gateway { GATEWAY } else { SERVER };
    let parties = Parties {
        client: address(CLIENT, 40_000),
        original_dst: OriginalDst(address(dialled, 21)),
        dials_gateway: rules.dials_gateway,
        introduced_at: None,
        external_client: External::Own.into(),
        external_server: External::Own.into(),
    };
    Session::new(Arc::new(settings), parties, now)
}

impl Play {
    fn step(&mut self, step: &Step, split: bool) {
        match step {
            Step::ClientSays(said) if !self.ended[0] => {
                self.model.from_client.extend(said);
                self.model.hears();
                self.say(
                    Side::Client,
                    &said.iter().flat_map(|line| spoken(*line)).collect::<Vec<_>>(),
                    split,
                );
            }
            Step::ServerSays(said) if !self.ended[1] && self.model.phase != Phase::Connecting => {
                self.model.from_server.extend(said);
                self.model.hears();
                self.say(
                    Side::Server,
                    &said.iter().flat_map(|line| answered(*line)).collect::<Vec<_>>(),
                    split,
                );
            }
            Step::ClientSays(_) | Step::ServerSays(_) => {}
            Step::Answer(opened) => self.answer(*opened),
            Step::Use => {
                if let Some((id, _)) = self.model.offered {
                    self.model.used();
                    self.model.work();
                    self.tell(Event::PinholeUsed { id: TransferId(id), side: self.awaits });
                }
            }
            Step::End => {
                if let Some(id) = self.model.running.first().copied() {
                    self.end(id);
                }
            }
            Step::Wait(duration) => self.wait(*duration),
            Step::ClientEnds(orderly) => {
                if !std::mem::replace(&mut self.ended[0], true) {
                    self.model.client_ends(*orderly);
                    self.tell(Event::ConnectionClosed { side: Side::Client, orderly: *orderly });
                }
            }
            Step::ServerEnds => {
                let there = self.model.phase != Phase::Connecting;
                if there && !std::mem::replace(&mut self.ended[1], true) {
                    self.model.server_ends();
                    self.tell(Event::ConnectionClosed { side: Side::Server, orderly: true });
                }
            }
            Step::Connect => {
                let seen_as = if self.rules.shows_client { CLIENT } else { GATEWAY_INSIDE };
                let server = SocketAddr::new(SERVER.parse().unwrap(), 21);
                let seen_as = SocketAddr::new(seen_as.parse().unwrap(), 33_000);
                self.model.connected();
                self.tell(Event::ServerConnected { server, seen_as, wants_certificate: false });
            }
            Step::FailToConnect => {
                if self.model.phase == Phase::Connecting {
                    self.model.close(Some(421), CloseCause::ConnectFailed);
                    self.tell(Event::ServerConnectFailed);
                }
            }
            Step::OwnerCloses => {
                self.model.close(Some(421), CloseCause::ClosedByOwner);
                self.tell(Event::CloseRequested);
            }
        }
    }

    fn say(&mut self, from: Side, bytes: &[u8], split: bool) {
        let size = if split { 1 } else { bytes.len().max(1) };
        for bytes in bytes.chunks(size) {
            let closed = self.model.phase == Phase::Closed;
            assert!(closed || self.session.wants_bytes(from), "held back by little");
            self.tell(Event::BytesReceived { from, bytes });
        }
    }

    fn answer(&mut self, opened: bool) {
        let Some(plan) = self.opening.take() else { return };
        if !opened {
            self.model.failed();
            return self.tell(Event::TransferFailed { id: plan.id });
        }
        let (awaits, leg) = match (&plan.client, &plan.server) {
            (Leg::Await(leg), _) => (Side::Client, leg),
            (_, Leg::Await(leg)) => (Side::Server, leg),
            (Leg::Dial(_), Leg::Dial(_)) => panic!("nobody is awaited: {plan:?}"),
        };
        self.next_port += 1;
        let entry = SocketAddr::new(leg.address, leg.port.unwrap_or(self.next_port));
        self.awaits = awaits;
        self.model.opened(entry.port());
        let entries = match awaits {
            Side::Client => (Some(entry), None),
            Side::Server => (None, Some(entry)),
        };
        let (client_entry, server_entry) = entries;
        self.tell(Event::TransferOpened { id: plan.id, client_entry, server_entry });
    }

    fn end(&mut self, id: u32) {
        self.model.ended(id);
        self.model.work();
        let outcome = DataOutcome::Completed;
        self.tell(Event::DataConnectionEnded { id: TransferId(id), outcome, bytes: None });
    }

    /// Time passes, and whatever is due meanwhile happens when it is due.
    fn wait(&mut self, duration: Duration) {
        let until = self.model.now + duration;
        while let Some(due) = self.model.deadline().filter(|due| *due <= until) {
            self.model.now = due.max(self.model.now);
            self.on_time();
            self.compare(None);
        }
        self.model.now = until;
    }

    fn on_time(&mut self) {
        self.model.on_time();
        self.session.handle_timeout(self.start + self.model.now);
        self.drain();
    }

    fn tell(&mut self, event: Event<'_>) {
        self.session.handle_event(event, self.start + self.model.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::SendBytes { to: Side::Client, bytes } => {
                    self.done.push(Done::ToClient(bytes.to_vec()));
                }
                Action::SendBytes { to: Side::Server, bytes } => {
                    self.done.push(Done::ToServer(bytes.to_vec()));
                }
                Action::OpenTransfer(plan) => self.on_plan(plan),
                Action::WithdrawTransfer { id } => {
                    self.done.push(Done::Withdraw(id.0));
                    let event = Event::TransferWithdrawn { id, in_use: false };
                    self.session.handle_event(event, self.start + self.model.now);
                }
                Action::CloseSession => {}
                Action::Report(report) => self.on_report(&report),
                other => panic!("nothing leads to {other:?}"),
            }
        }
    }

    /// Each leg leads to its own peer, and to nobody else (cases 6, 9, 10).
    fn on_plan(&mut self, plan: TransferPlan) {
        assert_eq!(plan.path, DataPath::Kernel);
        let [client, server] = [CLIENT, SERVER].map(|ip| ip.parse::<IpAddr>().unwrap());
        let peers = [(&plan.client, client), (&plan.server, server)];
        let mut awaited = peers.iter().filter_map(|(leg, peer)| match leg {
            Leg::Await(expected) => {
                assert_eq!(expected.peer, *peer);
                Some((*peer == client, expected.port))
            }
            Leg::Dial(dial) => {
                assert_eq!(dial.to.ip(), *peer);
                assert!(!self.model.is_low(dial.to.port()));
                None
            }
        });
        let (for_client, port) = awaited.next().expect("somebody is awaited");
        self.done.push(Done::Open { id: plan.id.0, for_client, port });
        assert!(self.opening.replace(plan).is_none(), "two at a time");
    }

    fn on_report(&mut self, report: &Report) {
        match report {
            Report::PinholeOpened { transfer, .. } => self.told.push(Told::Opened(transfer.0)),
            Report::PinholeClosed { transfer, outcome, .. } => {
                self.told.push(Told::Closed(transfer.0, *outcome));
            }
            Report::DataConnectionStarted { transfer, .. } => {
                self.told.push(Told::Started(transfer.0));
            }
            Report::DataConnectionEnded { transfer, .. } => {
                self.told.push(Told::Ended(transfer.0));
            }
            Report::SessionEnded { cause, .. } => self.done.push(Done::Closed(*cause)),
            _ => {}
        }
    }

    /// Nothing is missing, nothing is too much, and the next deadline is the same and yet to come.
    fn compare(&mut self, step: Option<&Step>) {
        while self.model.deadline().is_some_and(|due| due <= self.model.now) {
            self.on_time();
            let due = self.model.deadline();
            assert!(due.is_none_or(|due| due > self.model.now), "a timer that never rests");
        }
        self.drain();
        let expected = std::mem::take(&mut self.model.done);
        let done = std::mem::take(&mut self.done);
        let alike = expected.len() == done.len() && expected.iter().zip(&done).all(is_alike);
        assert!(alike, "after {step:?}\n is {done:?}\n not {expected:?}\n {:?}", self.model);
        let expected = std::mem::take(&mut self.model.told);
        assert_eq!(std::mem::take(&mut self.told), expected, "after {step:?}: {:?}", self.model);
        let due = self.session.poll_timeout().map(|at| at.duration_since(self.start));
        assert_eq!(due, self.model.deadline(), "after {step:?}: {:?}", self.model);
    }

    /// Whatever was left under way comes to its end, and then there is nothing any more.
    fn finish(&mut self) {
        self.answer(true);
        self.compare(None);
        self.step(&Step::OwnerCloses, false);
        while let Some(id) = self.model.running.first().copied() {
            self.end(id);
        }
        self.answer(true);
        self.compare(None);
        assert!(self.session.is_over() && self.session.poll_timeout().is_none());
    }
}

/// The gateway's own words are its own business; their code is not.
fn is_alike((expected, done): (&Done, &Done)) -> bool {
    match (expected, done) {
        (Done::Own(code), Done::ToClient(bytes)) => {
            bytes.starts_with(format!("{code} ").as_bytes())
                && bytes.ends_with(b"\r\n")
                && bytes.iter().filter(|byte| **byte == b'\n').count() == 1
        }
        _ => expected == done,
    }
}
