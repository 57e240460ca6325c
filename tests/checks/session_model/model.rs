//! The rules of a session in the clear, in one place and in the order in which they are asked, with
//! the cases of hostile input that each is there for.
//!
//! Nothing is read here: what a line means is given. Nothing is shared with the session but the words
//! for reasons.

use super::words::{Answer, Means, Said, spoken};
use ftpgate::report::{CloseCause, PinholeOutcome};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Commands without an answer, beyond which the client is not read.
const MOST_AWAITED: usize = 256;
/// For the greeting, and behind it for the client's first line.
const FIRST_LINE: Duration = Duration::from_secs(30);
/// From accept, or the REIN of one who was logged in, to an accepted login.
const LOGIN: Duration = Duration::from_secs(60);
/// Without a word and without a running data connection.
const IDLE: Duration = Duration::from_secs(900);
/// The same behind the end of what the client sends.
const HALF_CLOSED: Duration = Duration::from_secs(30);

/// What one listener's sessions may do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// The client dials the gateway, not the server.
    pub(super) dials_gateway: bool,
    /// The server sees the client's own address, not the gateway's.
    pub(super) shows_client: bool,
    pub(super) strict: bool,
    pub(super) low_ports: bool,
    pub(super) refuses_tls: bool,
}

/// What has to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Done {
    /// The client is told these very bytes.
    ToClient(Vec<u8>),
    /// The client is told something with this code by the gateway itself.
    Own(u16),
    /// The server is told these very bytes.
    ToServer(Vec<u8>),
    /// A pinhole for the client (or else for the server), to the other one's port if it must be that.
    Open { id: u32, for_client: bool, port: Option<u16> },
    /// What was opened is closed.
    Withdraw(u32),
    /// All is over.
    Closed(CloseCause),
}

/// What is told of pinholes and data connections, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Opened(u32),
    Closed(u32, PinholeOutcome),
    Started(u32),
    Ended(u32),
}

/// What the server's next reply answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Awaited {
    Greeting,
    Login,
    /// PASV, or else EPSV, and what has been said of it so far.
    Passive {
        pasv: bool,
        held: Vec<Answer>,
    },
    /// PORT or EPRT, what was opened for it, and what has been said of it so far.
    Active {
        opened: Option<u32>,
        held: Vec<Answer>,
    },
    EpsvAll,
    Feat,
    Rein,
    Abor,
    Auth,
    Plain,
    /// The gateway's own reply waits for its turn.
    Own(u16),
}

/// Why something is being opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// The client has said this.
    Line(Said),
    /// The server has said this, and the client is to be told.
    Reply { pasv: bool, lines: Vec<Answer> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Open,
    Closed,
}

/// A session as it has to be.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) rules: Rules,
    pub(super) now: Duration,
    pub(super) phase: Phase,
    pub(super) from_client: VecDeque<Said>,
    pub(super) from_server: VecDeque<Answer>,
    first_seen: bool,
    early: Option<Said>,
    pub(super) awaited: VecDeque<Awaited>,
    /// The code of the reply of several lines that the server is in the midst of.
    pub(super) within: Option<u16>,
    /// The client has been told a part of it.
    pub(super) shown: bool,
    /// The last reply was the server's good-bye.
    pub(super) server_quit: bool,
    pub(super) logged_in: bool,
    pub(super) epsv_only: bool,
    pub(super) login_since: Duration,
    /// Since when the greeting or the client's first line is due.
    pub(super) first_line_since: Duration,
    quit: bool,
    client_done: bool,
    pub(super) active_at: Duration,
    /// What is being opened, and for what.
    pub(super) opening: Option<(u32, Asked)>,
    /// What stands open, and until when.
    pub(super) offered: Option<(u32, Duration)>,
    pub(super) running: BTreeSet<u32>,
    pub(super) last_id: u32,
    pub(super) done: Vec<Done>,
    pub(super) told: Vec<Told>,
}

impl Model {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            now: Duration::ZERO,
            phase: Phase::Connecting,
            from_client: VecDeque::new(),
            from_server: VecDeque::new(),
            first_seen: false,
            early: None,
            awaited: VecDeque::from([Awaited::Greeting]),
            within: None,
            shown: false,
            server_quit: false,
            logged_in: false,
            epsv_only: false,
            login_since: Duration::ZERO,
            first_line_since: Duration::ZERO,
            quit: false,
            client_done: false,
            active_at: Duration::ZERO,
            opening: None,
            offered: None,
            running: BTreeSet::new(),
            last_id: 0,
            done: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Bytes have come, from whomever.
    pub(super) fn hears(&mut self) {
        self.active_at = self.now;
        self.work();
    }

    pub(super) fn connected(&mut self) {
        if self.phase == Phase::Connecting {
            self.phase = Phase::Open;
            self.first_line_since = self.now;
        }
        self.work();
    }

    /// The client's lines go first, one line of the server's, then the client's again.
    pub(super) fn work(&mut self) {
        loop {
            while self.read_client() {}
            let idle = self.awaited.is_empty() && self.opening.is_none();
            if self.client_done && self.phase == Phase::Open && idle {
                self.close(None, self.cause_of_client());
            }
            if self.phase != Phase::Open || self.opening.is_some() {
                return;
            }
            let Some(line) = self.from_server.pop_front() else { return };
            self.on_server_line(line);
        }
    }

    fn read_client(&mut self) -> bool {
        let greeted = self.phase == Phase::Open && !self.is_ungreeted();
        if !greeted {
            return self.phase != Phase::Closed && self.read_early();
        }
        let held = self.awaited.iter().any(|awaited| {
            // What comes behind these depends on the answer to them.
            matches!(
                awaited,
                Awaited::Passive { .. }
                    | Awaited::Active { .. }
                    | Awaited::EpsvAll
                    | Awaited::Rein
                    | Awaited::Auth
            )
        });
        if held || self.awaited.len() >= MOST_AWAITED || self.opening.is_some() {
            return false;
        }
        let Some(line) = self.early.take().or_else(|| self.from_client.pop_front()) else {
            return false;
        };
        self.on_client_line(line);
        true
    }

    /// Ahead of the greeting one line is looked at, and waits (case 3).
    fn read_early(&mut self) -> bool {
        if self.early.is_some() {
            return false;
        }
        let Some(line) = self.from_client.pop_front() else { return false };
        if self.is_ftp(line.0) {
            self.early = Some(line);
        }
        true
    }

    /// False if the session ends with this line (cases 3, 5).
    fn is_ftp(&mut self, means: Means) -> bool {
        let first = !std::mem::replace(&mut self.first_seen, true);
        match means {
            Means::Reply => self.close(Some(500), CloseCause::RolesReversed),
            Means::Unknown if first => self.close(Some(500), CloseCause::NotFtp),
            Means::Http if first || !self.logged_in => {
                self.close(Some(500), CloseCause::NotFtp);
            }
            _ => return true,
        }
        false
    }

    fn on_client_line(&mut self, line: Said) {
        if !self.is_ftp(line.0) {
            return;
        }
        match line.0 {
            Means::Pasv
            | Means::Epsv
            | Means::Port(_)
            | Means::Eprt(_)
            | Means::Foreign
            | Means::Malformed
            | Means::Family => match self.refusal(line) {
                Some(code) => self.answer(code),
                None => self.negotiate(line),
            },
            // Case 4.
            Means::Transfer if !self.logged_in => self.answer(530),
            Means::LongAddress => self.answer(502),
            Means::Auth if self.rules.refuses_tls => self.answer(502),
            Means::Auth => self.forward(line, Awaited::Auth),
            Means::Login => self.forward(line, Awaited::Login),
            Means::EpsvAll => self.forward(line, Awaited::EpsvAll),
            Means::Feat => self.forward(line, Awaited::Feat),
            Means::Rein => self.forward(line, Awaited::Rein),
            Means::Abor => self.forward(line, Awaited::Abor),
            Means::Quit => {
                self.quit = true;
                self.forward(line, Awaited::Plain);
            }
            Means::Transfer | Means::Plain | Means::Unknown | Means::Http | Means::Reply => {
                self.forward(line, Awaited::Plain);
            }
        }
    }

    pub(super) fn forward(&mut self, line: Said, awaited: Awaited) {
        self.done.push(Done::ToServer(spoken(line)));
        self.awaited.push_back(awaited);
    }

    /// Once, and in its turn.
    pub(super) fn answer(&mut self, code: u16) {
        self.awaited.push_back(Awaited::Own(code));
        self.settle();
    }

    /// The gateway's own replies leave when nothing ahead of them is due any more.
    pub(super) fn settle(&mut self) {
        while let Some(Awaited::Own(code)) = self.awaited.front() {
            self.done.push(Done::Own(*code));
            self.awaited.pop_front();
        }
    }

    pub(super) fn client_ends(&mut self, orderly: bool) {
        if self.phase == Phase::Closed {
            return;
        }
        if !orderly {
            return self.close(None, self.cause_of_client());
        }
        self.client_done = true;
        self.active_at = self.now;
        self.work();
    }

    pub(super) fn server_ends(&mut self) {
        if self.quit {
            return self.close(None, CloseCause::Quit);
        }
        // Who waits for a reply is told that there is none, unless the server has said so itself.
        let waits = !self.awaited.is_empty() || self.opening.is_some();
        let farewell = (waits && !self.server_quit).then_some(421);
        self.close(farewell, CloseCause::ServerClosed);
    }

    fn cause_of_client(&self) -> CloseCause {
        if self.quit { CloseCause::Quit } else { CloseCause::ClientClosed }
    }

    /// The one exit. No farewell stands in the midst of a reply, as the client sees it.
    pub(super) fn close(&mut self, farewell: Option<u16>, cause: CloseCause) {
        if self.phase == Phase::Closed {
            return;
        }
        self.withdraw(PinholeOutcome::Withdrawn);
        if self.within.is_none() || !self.shown {
            self.done.extend(farewell.map(Done::Own));
        }
        self.phase = Phase::Closed;
        self.done.push(Done::Closed(cause));
    }

    /// When something is due by itself.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let open = self.phase != Phase::Closed;
        let deadlines = [self.first_line_deadline(), self.login_deadline(), self.idle_deadline()];
        let control = deadlines.into_iter().flatten().min();
        let unused = self.offered.map(|(_, until)| until);
        unused.into_iter().chain(control.filter(|_| open)).min()
    }

    /// Case 22: one byte a minute holds nothing.
    fn first_line_deadline(&self) -> Option<Duration> {
        let due = self.is_ungreeted() || !self.first_seen;
        (self.phase == Phase::Open && due).then(|| self.first_line_since + FIRST_LINE)
    }

    fn is_ungreeted(&self) -> bool {
        self.awaited.front() == Some(&Awaited::Greeting)
    }

    fn login_deadline(&self) -> Option<Duration> {
        (!self.logged_in).then(|| self.login_since + LOGIN)
    }

    /// Silence ends nothing while a transfer runs (case 44).
    fn idle_deadline(&self) -> Option<Duration> {
        let limit = if self.client_done { HALF_CLOSED } else { IDLE };
        self.running.is_empty().then(|| self.active_at + limit)
    }

    pub(super) fn on_time(&mut self) {
        let now = self.now;
        let over = |deadline: Option<Duration>| deadline.is_some_and(|at| at <= now);
        if over(self.offered.map(|(_, until)| until)) {
            self.withdraw(PinholeOutcome::Expired);
        }
        if over(self.first_line_deadline()) {
            let greeting = self.is_ungreeted();
            let cause =
                if greeting { CloseCause::GreetingTimeout } else { CloseCause::FirstLineTimeout };
            self.close(Some(421), cause);
        } else if over(self.login_deadline()) {
            self.close(Some(421), CloseCause::LoginTimeout);
        } else if over(self.idle_deadline()) {
            let gone = self.client_done.then(|| self.cause_of_client());
            self.close(Some(421), gone.unwrap_or(CloseCause::IdleTimeout));
        }
        self.work();
    }
}
