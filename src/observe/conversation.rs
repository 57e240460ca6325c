//! One control connection through the same [`Session`] as a live gateway's: what was said goes in, and
//! what the gateway would do comes out and is noted instead of done.
//!
//! This is the one place besides `relay/driver.rs` that knows every [`Action`]. It executes none: each
//! is answered as if the network had done it, with the gateway's pretended address and ports. What the
//! peers really did goes on in the capture whatever the session decides, so that a refusal is noted and
//! the server's own reply is taken for one that nobody asked for.
//!
//! | file | what it holds |
//! |---|---|
//! | `facts` | what the session reports, and what is worth noting of it |
//! | `lines` | the last lines of either peer, and where to read on behind a hole |
//! | `transfers` | what was agreed about data connections, and what became of them |
//!
//! Not here: segments and their order (see `stream`), and which connection is one of FTP (see `flows`).

mod facts;
mod lines;
mod transfers;

use super::finding::Finding;
use super::record::{Control, MAX_ROWS, Rewrite};
use super::stream::Piece;
use crate::addr::{ByOwn, OriginalDst};
use crate::ftp;
use crate::report::{ControlProtection, PeerText, RewrittenLine};
use crate::session::{
    Action, Event, Leg, Parties, Session, Settings, Source, TlsMode, TlsStart, TransferPlan,
};
use crate::terms::{DataMode, Side};
use lines::Lines;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use transfers::Agreed;
pub(super) use transfers::{Await, DataNews};

/// Bytes of one peer that wait for the session to read on, after which they count as lost: four times
/// what a gateway reads ahead before TCP holds the peer back.
const MAX_BACKLOG: usize = 64 * 1024;

/// What a gateway would end for want of news is left to run: a capture shows how it went on.
const PATIENCE: Duration = Duration::from_secs(366 * 24 * 3600);

/// The ports that are pretended, as those of `data.ports` by default.
const FIRST_PORT: u16 = 50000;
const LAST_PORT: u16 = 50999;

/// Expired pinholes are told one by one; a session offers one at a time.
const MAX_TIMEOUTS: usize = 16;

/// The gateway that is pretended.
#[derive(Debug, Clone)]
pub struct Pretended {
    /// Its settings.
    pub settings: Arc<Settings>,
    /// Its address as the far side sees it; IPv4 and IPv6.
    pub external: (Ipv4Addr, Ipv6Addr),
    /// True if clients dial the gateway and not the server (`capture: direct`).
    pub direct: bool,
    /// What clients are told instead of that address.
    pub external_client: ByOwn,
    /// What servers are told instead.
    pub external_server: ByOwn,
}

impl Pretended {
    /// A gateway with the settings of an empty configuration.
    pub fn by_default(external: Option<IpAddr>, direct: bool) -> Self {
        Self::new(Settings::default(), external, direct)
    }

    /// A gateway with these settings, as far as it can be one that only looks on: TLS that it would
    /// end cannot be read in a capture.
    pub fn new(mut settings: Settings, external: Option<IpAddr>, direct: bool) -> Self {
        // RFC 5737 and RFC 3849: addresses of no host.
        let (mut v4, mut v6) =
            (Ipv4Addr::new(203, 0, 113, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
        match external {
            Some(IpAddr::V4(address)) => v4 = address,
            Some(IpAddr::V6(address)) => v6 = address,
            None => {}
        }
        settings.tls = match settings.tls {
            TlsMode::Refuse => TlsMode::Refuse,
            TlsMode::Passthrough | TlsMode::Intercept | TlsMode::Offload | TlsMode::Originate => {
                TlsMode::Passthrough
            }
        };
        settings.kernel = true;
        settings.first_line_timeout = PATIENCE;
        settings.login_timeout = PATIENCE;
        settings.idle_timeout = PATIENCE;
        Self {
            settings: Arc::new(settings),
            external: (v4, v6),
            direct,
            external_client: ByOwn::default(),
            external_server: ByOwn::default(),
        }
    }

    fn address_like(&self, other: IpAddr) -> IpAddr {
        if other.is_ipv4() { self.external.0.into() } else { self.external.1.into() }
    }
}

/// A control connection under observation.
#[derive(Debug)]
pub(super) struct Conversation {
    session: Session,
    client: SocketAddr,
    server: SocketAddr,
    /// What is told of it.
    pub(super) control: Control,
    lines: Lines,
    /// What the session does not read yet.
    backlog: [Vec<u8>; 2],
    rewriting: Option<RewrittenLine>,
    next_port: u16,
    agreed: Vec<Agreed>,
    last_number: u64,
    /// Data connections that are to be looked out for.
    pub(super) awaits: Vec<(DataMode, Await)>,
    protection: ControlProtection,
    over: bool,
}

impl Conversation {
    /// A conversation between these two. `implicit`: TLS begins with the first byte. Without its
    /// beginning, what was said before is taken as lost.
    pub(super) fn new(
        pretended: &Pretended,
        client: SocketAddr,
        server: SocketAddr,
        (from_start, implicit): (bool, bool),
        now: Instant,
    ) -> Self {
        let mut settings = Arc::clone(&pretended.settings);
        if implicit {
            Arc::make_mut(&mut settings).client_start = TlsStart::Implicit;
        }
        let dialled = if pretended.direct {
            SocketAddr::new(pretended.address_like(server.ip()), server.port())
        } else {
            server
        };
        let seen_as = match settings.source {
            Source::Client => client,
            Source::Gateway => SocketAddr::new(pretended.address_like(server.ip()), client.port()),
        };
        let configured = pretended.settings.client_start;
        let parties = Parties {
            client,
            original_dst: OriginalDst(dialled),
            dials_gateway: pretended.direct,
            external_client: pretended.external_client.clone(),
            external_server: pretended.external_server.clone(),
            introduced_at: None,
        };
        let mut conversation = Self {
            session: Session::new(settings, parties, now),
            client,
            server,
            control: Control {
                client: client.to_string(),
                server: server.to_string(),
                from_start,
                implicit_tls: implicit,
                protection: ControlProtection::Clear.label(),
                ..Control::default()
            },
            lines: Lines::default(),
            backlog: [Vec::new(), Vec::new()],
            rewriting: None,
            next_port: FIRST_PORT,
            agreed: Vec::new(),
            last_number: 0,
            awaits: Vec::new(),
            protection: ControlProtection::Clear,
            over: false,
        };
        if implicit && configured == TlsStart::Explicit {
            conversation.control.find(Finding::ImplicitTls, None);
        }
        conversation
            .tell(Event::ServerConnected { server, seen_as, wants_certificate: false }, now);
        if !from_start {
            for from in [Side::Client, Side::Server] {
                conversation.tell(Event::BytesLost { from }, now);
                conversation.lines.lose(from);
            }
        }
        conversation
    }

    /// What `from` said next.
    pub(super) fn on_piece(&mut self, from: Side, piece: &Piece, now: Instant) {
        self.on_time(now);
        match piece {
            Piece::Bytes { bytes, starts_segment } => {
                let hidden = self.is_hidden();
                if let Some(bytes) = self.lines.read_on(from, bytes, *starts_segment, hidden) {
                    self.hear(from, bytes, now);
                }
            }
            Piece::Lost(bytes) => {
                self.control.gaps += 1;
                self.control.lost_bytes = self.control.lost_bytes.saturating_add(*bytes);
                self.control.find(Finding::CaptureLoss, None);
                self.lose(from, now);
            }
            Piece::Ended { orderly } => {
                self.tell(Event::ConnectionClosed { side: from, orderly: *orderly }, now);
            }
        }
    }

    /// The time has come to `now`.
    pub(super) fn on_time(&mut self, now: Instant) {
        for _ in 0..MAX_TIMEOUTS {
            if self.session.poll_timeout().is_none_or(|due| due > now) {
                return;
            }
            self.session.handle_timeout(now);
            self.note_all(now);
        }
    }

    /// Nothing more comes. `seen`: both peers, or one of them, were seen to end it.
    pub(super) fn finish(&mut self, seen: bool, now: Instant) {
        if !self.over {
            self.tell(Event::ConnectionClosed { side: Side::Server, orderly: false }, now);
            if !seen {
                self.control.close = None;
            }
        }
        self.conclude_all();
    }

    /// True while lines cannot be read.
    pub(super) fn is_hidden(&self) -> bool {
        self.protection == ControlProtection::Passthrough
    }

    /// What of the two peers is known as hosts: the client's address and the server's.
    pub(super) fn hosts(&self) -> (IpAddr, IpAddr) {
        (self.client.ip(), self.server.ip())
    }

    fn lose(&mut self, from: Side, now: Instant) {
        self.lines.lose(from);
        backlog_of(&mut self.backlog, from).clear();
        self.tell(Event::BytesLost { from }, now);
    }

    fn hear(&mut self, from: Side, bytes: &[u8], now: Instant) {
        if self.over {
            return;
        }
        let waits = !backlog_of(&mut self.backlog, from).is_empty();
        if waits || !self.session.wants_bytes(from) {
            let backlog = backlog_of(&mut self.backlog, from);
            backlog.extend_from_slice(bytes);
            if backlog.len() > MAX_BACKLOG {
                self.lose(from, now);
            }
        } else {
            self.lines.keep(from, bytes);
            self.tell(Event::BytesReceived { from, bytes }, now);
        }
        for from in [Side::Client, Side::Server] {
            if self.session.wants_bytes(from) {
                let bytes = std::mem::take(backlog_of(&mut self.backlog, from));
                if !bytes.is_empty() {
                    self.lines.keep(from, &bytes);
                    self.tell(Event::BytesReceived { from, bytes: &bytes }, now);
                }
            }
        }
    }

    fn tell(&mut self, event: Event<'_>, now: Instant) {
        self.session.handle_event(event, now);
        self.note_all(now);
    }

    /// Answers what the session wants done, and notes it.
    fn note_all(&mut self, now: Instant) {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::SendBytes { to, bytes } => self.note_sent(to, &bytes),
                Action::OpenTransfer(plan) => {
                    self.note_plan(&plan);
                    let (id, client, server) = (plan.id, &plan.client, &plan.server);
                    let (client_entry, server_entry) = (self.entry(client), self.entry(server));
                    let opened = Event::TransferOpened { id, client_entry, server_entry };
                    self.session.handle_event(opened, now);
                    // No reply waits for a data connection that is not joined here.
                    self.session.handle_event(Event::DataConnectionJoined { id }, now);
                }
                Action::WithdrawTransfer { id } => {
                    let in_use = self.is_in_use(id);
                    self.session.handle_event(Event::TransferWithdrawn { id, in_use }, now);
                }
                Action::OpenBlindRange(range) => {
                    self.session.handle_event(Event::BlindRangeOpened { range }, now);
                }
                Action::Report(report) => self.note_report(report),
                Action::CloseSession => self.over = true,
                // Nothing of this is in a capture: urgent data is in its stream, the peers dial each
                // other, and their TLS is their own.
                Action::SendUrgent { .. }
                | Action::DialData { .. }
                | Action::TakeUpload { .. }
                | Action::CloseBlindRange
                | Action::AcceptTls
                | Action::ConnectTls
                | Action::PresentCertificate(_)
                | Action::CarryTls
                | Action::EndTls { .. } => {}
            }
        }
    }

    /// Where a peer would have to dial.
    fn entry(&mut self, leg: &Leg) -> Option<SocketAddr> {
        let Leg::Await(expected) = leg else { return None };
        let port = expected.port.unwrap_or_else(|| {
            let port = self.next_port;
            self.next_port = if port >= LAST_PORT { FIRST_PORT } else { port + 1 };
            port
        });
        Some(SocketAddr::new(expected.address, port))
    }

    /// What would leave the gateway: the line that was rewritten, or the server's word on a transfer.
    fn note_sent(&mut self, to: Side, bytes: &[u8]) {
        if let Some(line) = self.rewriting.take() {
            let from = match line {
                RewrittenLine::Port | RewrittenLine::Eprt => self.lines.active(),
                RewrittenLine::Pasv | RewrittenLine::Epsv => self.lines.passive(),
                RewrittenLine::Feat => None,
            };
            if let Some(from) = from.filter(|_| self.control.rewrites.len() < MAX_ROWS) {
                let to = lines::telling(bytes).unwrap_or(bytes);
                let to = PeerText::new(to.trim_ascii_end()).to_string();
                let from = PeerText::new(from).to_string();
                self.control.rewrites.push(Rewrite { line: line.label(), from, to });
            }
        }
        if to == Side::Client
            && !self.is_hidden()
            && let Some(code) = ftp::reply_code(bytes.trim_ascii_end())
        {
            self.note_reply(code);
        }
    }

    fn note_plan(&mut self, plan: &TransferPlan) {
        match plan.mode(Side::Client) {
            DataMode::Active => self.agree_active(Some(plan)),
            DataMode::Passive => self.agree_passive(Some(plan)),
        }
    }
}

fn backlog_of(backlog: &mut [Vec<u8>; 2], side: Side) -> &mut Vec<u8> {
    let [client, server] = backlog;
    match side {
        Side::Client => client,
        Side::Server => server,
    }
}
