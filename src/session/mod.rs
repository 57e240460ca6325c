//! The state machine of one session: pure.
//!
//! A [`Session`] is one control connection through the gateway with its data connections. It knows
//! no socket, clock, file or randomness: an [`Event`] and the time go in, an [`Action`] comes out,
//! and what the executor could not do comes back as one more event.
//!
//! | file | what it holds |
//! |---|---|
//! | `client_side` | what a line of the client leads to |
//! | `server_side` | what a line of the server leads to |
//! | `connecting` | the server, once it is connected |
//! | `judgement` | what the owner's rules say to each line of the client, and what they are asked with |
//! | `directory` | the directory that the client is in, for rules about paths: how the server is asked |
//! | `unsure` | commands that no rule can be asked about for certain |
//! | `features` | the reply to FEAT |
//! | `data_command` | what PORT, EPRT, PASV or EPSV leads to |
//! | `data_reply` | what the server's reply to one of them leads to, and what both sides are told |
//! | `data` | the life of transfers: opened, used, ended, withdrawn |
//! | `data_tls` | the TLS of data connections, and transfers that came to none |
//! | `deadlines` | every time that is over, and what then |
//! | `early_reply` | the reply that would outrun its data connection |
//! | `ends` | which addresses a data connection enters by, leads to and comes from |
//! | `pending` | the commands that await their reply |
//! | `negotiation` | the words of PORT, EPRT, 227 and 229 on either side |
//! | `transfer` | one transfer from the first pinhole to the last byte |
//! | `security` | what is agreed about protection: AUTH, PROT and their kin |
//! | `named` | the users and files that the client names, for the audit |
//! | `blind` | the range that is open for connections nobody can see being agreed, and these |
//! | `tunnel` | TLS that is carried end to end, and the way back to text after CCC |
//! | `first_line` | the time that each peer has for its first line |
//! | `greeting` | the greeting that has to wait for TLS |
//! | `lost` | bytes that were not seen, where a session is only observed |
//! | `termination` | TLS that ends at the gateway: which side begins when |
//! | `protection` | PBSZ, PROT and CCC where TLS ends at the gateway |
//! | `own_command` | what the gateway says to the server by itself |
//! | `closing` | how a session ends, and when by itself |
//! | `drain` | how it ends in a gateway that takes no more |
//! | `replies` | the gateway's own replies |
//!
//! Order is safety: a line that speaks of a pinhole leaves after the pinhole is open, and a refused
//! or withdrawn pinhole is closed before the refusal leaves. The actions are in that order, and the
//! executor keeps it.

mod action;
mod blind;
mod client_side;
mod closing;
mod connecting;
mod data;
mod data_command;
mod data_reply;
mod data_tls;
mod deadlines;
mod directory;
mod drain;
mod early_reply;
mod ends;
mod event;
mod features;
mod first_line;
mod greeting;
mod judgement;
mod lost;
mod named;
mod negotiation;
mod own_command;
mod pending;
mod protection;
mod replies;
mod security;
mod server_side;
mod settings;
mod termination;
#[cfg(test)]
mod tests;
mod transfer;
mod tunnel;
mod unsure;

pub use action::{Action, BlindRange, Certificate, Dial, Leg, TransferPlan};
pub use event::Event;
pub use replies::{
    NO_DESCRIPTORS, network_protocol as network_protocol_reply, refusal as refusal_reply,
};
pub use settings::{
    ModeChoice, Parties, PathChoice, ServerCcc, Settings, Source, TlsMode, TlsStart,
};
pub use unsure::unsure_reply;

use crate::ftp::{Line, LineReader, ReplyReader};
use crate::report::{CloseCause, Report};
use crate::terms::{Side, TransferId};
use blind::Blind;
use bytes::Bytes;
use data_tls::Failed;
use drain::Drain;
use early_reply::EarlyReply;
use ends::Ends;
use judgement::Judgement;
use named::Named;
use negotiation::Negotiation;
use pending::{Pending, PendingQueue};
use protection::Protection;
use security::Security;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use termination::Termination;
use transfer::Transfer;
use tunnel::Tunnel;

/// Bytes of one peer that are kept while its lines may not be read yet. A pipelining client sends
/// some hundred bytes ahead; the rest waits in its own send buffer.
const READ_AHEAD: usize = 16 * 1024;

/// One FTP session: a control connection through the gateway and its data connections.
///
/// Call [`handle_event`](Self::handle_event) or [`handle_timeout`](Self::handle_timeout), then
/// drain [`poll_action`](Self::poll_action) to `None`, executing each action before the next is
/// taken, then re-arm from [`poll_timeout`](Self::poll_timeout), and read from a peer only while
/// [`wants_bytes`](Self::wants_bytes). After [`Action::CloseSession`] only the ends of data
/// connections that are still running are of interest; [`is_over`](Self::is_over) says when there
/// are none.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    parties: Parties,
    started: Instant,
    last_activity: Instant,
    /// Since when the login is due: the start, or the last REIN.
    login_since: Instant,
    ends: Option<Ends>,
    phase: Phase,
    logged_in: bool,
    /// Who logs in.
    named: Named,
    /// What the owner's rules are asked with.
    judgement: Option<Box<Judgement>>,
    first_line_seen: bool,
    /// Since when the greeting, or the client's first line, is due.
    first_line_since: Option<Instant>,
    epsv_only: bool,
    client_has_quit: bool,
    client_reader: LineReader,
    server_reader: LineReader,
    replies: ReplyReader,
    reply_bytes: usize,
    /// The client has been sent a line of the reply under way.
    reply_shown: bool,
    /// The server has said 421: the client knows why it goes.
    server_has_quit: bool,
    /// The client's first line, read ahead of the greeting to see whether it is FTP at all.
    early_line: Option<Line>,
    /// A line of the server that has to wait for its data connection.
    early_reply: Option<EarlyReply>,
    client_ended: bool,
    drain: Drain,
    /// TLS end to end, where there is any.
    tunnel: Tunnel,
    /// Since when TLS is due.
    secured_since: Instant,
    /// TLS ended before a login inside it can have been.
    cleared_early: bool,
    security: Security,
    /// TLS that ends here, where any does.
    termination: Termination,
    /// What is agreed about data connections where TLS ends here.
    protection: Protection,
    /// What passes within `data.blind_ports`.
    blind: Blind,
    /// The last data connection that came to no TLS, and why.
    failed: Option<Failed>,
    /// The lines of the reply under way are replaced by one of the gateway's own.
    replaces_reply: bool,
    /// Bytes have not been seen.
    lost: bool,
    pending: PendingQueue,
    /// The negotiation whose transfer the executor is opening.
    opening: Option<Negotiation>,
    transfers: Vec<Transfer>,
    last_transfer: u32,
    /// Not one that was seen within `data.blind_ports`.
    last_negotiated: TransferId,
    actions: VecDeque<Action>,
}

/// What the control connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The server is being dialled.
    Connecting,
    /// Both control connections stand.
    Open,
    /// [`Action::CloseSession`] has been said.
    Closed,
}

impl Session {
    /// A session whose client has just been accepted and whose server is being dialled.
    pub fn new(settings: Arc<Settings>, parties: Parties, now: Instant) -> Self {
        let limit = settings.line_limit;
        let Parties { client, original_dst, .. } = parties;
        let judgement = Judgement::of(&settings);
        let mut session = Self {
            settings,
            parties,
            started: now,
            last_activity: now,
            login_since: now,
            ends: None,
            phase: Phase::Connecting,
            logged_in: false,
            named: Named::default(),
            judgement,
            first_line_seen: false,
            first_line_since: None,
            epsv_only: false,
            client_has_quit: false,
            client_reader: LineReader::new(limit),
            server_reader: LineReader::new(limit),
            replies: ReplyReader::new(),
            reply_bytes: 0,
            reply_shown: false,
            server_has_quit: false,
            early_line: None,
            early_reply: None,
            client_ended: false,
            drain: Drain::default(),
            tunnel: Tunnel::default(),
            secured_since: now,
            cleared_early: false,
            security: Security::new(),
            termination: Termination::default(),
            protection: Protection::default(),
            blind: Blind::default(),
            failed: None,
            replaces_reply: false,
            lost: false,
            pending: PendingQueue::default(),
            opening: None,
            transfers: Vec::new(),
            last_transfer: 0,
            last_negotiated: TransferId(0),
            actions: VecDeque::new(),
        };
        session.pending.push(Pending::Greeting);
        session.report(Report::SessionStarted { client, original_dst });
        session
    }

    /// Tells the session what happened.
    pub fn handle_event(&mut self, event: Event<'_>, now: Instant) {
        match event {
            Event::ServerFound { server } => self.on_server_found(server, now),
            Event::ServerConnected { server, seen_as, wants_certificate } => {
                self.on_server_connected(server, seen_as, wants_certificate, now);
            }
            Event::ServerConnectFailed => {
                self.close(Some(replies::UNREACHABLE), CloseCause::ConnectFailed, now);
            }
            Event::ServerLimitReached => {
                self.close(Some(replies::SERVER_FULL), CloseCause::ServerFull, now);
            }
            Event::DescriptorsScarce => {
                self.close(Some(replies::NO_DESCRIPTORS), CloseCause::NoDescriptors, now);
            }
            Event::LoginLimitReached => {
                self.close(Some(replies::FAILED_LOGINS), CloseCause::FailedLogins, now);
            }
            Event::LoopDetected => self.close(Some(replies::LOOP), CloseCause::Loop, now),
            Event::BytesReceived { from, bytes } => self.on_bytes(from, bytes, now),
            Event::BytesLost { from } => self.on_bytes_lost(from),
            Event::ConnectionClosed { side, orderly } => self.on_closed(side, orderly, now),
            Event::TransferOpened { id, client_entry, server_entry } => {
                self.on_transfer_opened(id, client_entry, server_entry, now);
            }
            Event::TransferFailed { id } => self.on_transfer_failed(id),
            Event::TransferWithdrawn { id, in_use } => self.on_transfer_withdrawn(id, in_use, now),
            Event::PinholeUsed { id, side } => self.on_pinhole_used(id, side, now),
            Event::DataHandshakeEnded { id, side, outcome } => {
                self.on_data_tls(id, side, outcome, now);
            }
            Event::DataConnectionJoined { id } => self.on_data_joined(id),
            Event::DataConnectionEnded { id, outcome, bytes } => {
                self.on_data_ended(id, outcome, bytes, now);
            }
            Event::HelloReceived { name } => self.on_hello(name, now),
            Event::TlsEstablished { side, trusted } => self.on_tls_established(side, trusted, now),
            Event::TlsFailed { side, fault } => self.on_tls_failed(side, fault, now),
            Event::BlindRangeOpened { range } => self.on_blind_range_opened(range),
            Event::BlindRangeFailed { range } => self.on_blind_range_failed(range),
            Event::BlindConnectionStarted { flow } => self.on_blind_started(flow, now),
            Event::BlindConnectionEnded { flow, outcome, bytes } => {
                self.on_blind_ended(flow, outcome, bytes, now);
            }
            Event::CloseRequested => {
                self.close(Some(replies::CLOSED_BY_OWNER), CloseCause::ClosedByOwner, now);
            }
            Event::AuditFailed => {
                self.close(Some(replies::AUDIT_FAILED), CloseCause::AuditFailed, now);
            }
            Event::DrainRequested => self.on_drain(),
            Event::ShutdownRequested => {
                self.close(Some(replies::SHUTDOWN), CloseCause::Shutdown, now);
            }
        }
        self.pump(now);
        self.settle_drain(now);
    }

    /// The client.
    pub fn client(&self) -> std::net::SocketAddr {
        self.parties.client
    }

    /// The next thing to do, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if action.is_none() {
            // An idle session keeps no room for actions.
            self.actions = VecDeque::new();
        }
        action
    }

    /// True if bytes of this peer may be read now. False holds the peer back by TCP's own window.
    pub fn wants_bytes(&self, from: Side) -> bool {
        let reader = match from {
            Side::Client => &self.client_reader,
            Side::Server => &self.server_reader,
        };
        // A line at its limit has to fit, or its end would never be read.
        let room = READ_AHEAD.max(reader.limit());
        let early = from == Side::Client && self.client_is_early();
        self.phase != Phase::Closed && reader.buffered() < room && !early
    }

    /// True once the session is closed and every data connection has ended.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Closed && self.transfers.is_empty() && !self.blind.runs()
    }

    fn on_bytes(&mut self, from: Side, bytes: &[u8], now: Instant) {
        self.last_activity = now;
        if self.phase == Phase::Closed {
            return;
        }
        if self.is_injected(from) {
            return self.close(Some(replies::SERVER_FAULT), CloseCause::PlaintextInHandshake, now);
        }
        self.begins_unseen_tls(from, bytes, now);
        let text = self.carry_records(from, bytes, now);
        match from {
            Side::Client => self.client_reader.push(text),
            Side::Server => self.server_reader.push(text),
        }
    }

    /// Works off what the two readers hold, as far as it may be read now. What the client may say
    /// comes ahead of the server's next line: whether that line came with the one before or a
    /// moment later must make no difference (cases 14, 15).
    fn pump(&mut self, now: Instant) {
        loop {
            while self.pump_client(now) {}
            self.ask_for_directory();
            let idle =
                self.pending.is_empty() && !self.is_opening() && !self.termination_holds_client();
            if self.client_ended && self.phase == Phase::Open && idle {
                self.close(None, self.cause_of_client_end(), now);
            }
            if !self.pump_server(now) {
                return;
            }
        }
    }

    /// True while what the client says is not read.
    fn hides_lines(&self) -> bool {
        self.tunnel.hides(Side::Client) || self.security.encloses_lines()
    }

    fn send(&mut self, to: Side, bytes: Bytes) {
        self.actions.push_back(Action::SendBytes { to, bytes });
    }

    fn report(&mut self, report: Report) {
        self.actions.push_back(Action::Report(report));
    }

    fn next_transfer_id(&mut self) -> TransferId {
        self.last_transfer += 1;
        TransferId(self.last_transfer)
    }
}
