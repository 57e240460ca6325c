//! What has to hold: some of it at every action, some of it when all is over.

mod told;

use super::ended_tls::EndedTls;
use super::script::Script;
use super::stage::{READ_SIZE, index};
use super::vocabulary::{SECRET, USER};
use ftpgate::addr::ByOwn;
use ftpgate::report::{ControlProtection, PinholeOutcome, Report, RewrittenLine};
use ftpgate::session::{Action, Leg, ModeChoice, TransferPlan};
use ftpgate::terms::{DataMode, DataPath, ProtectionLevel, Side, TransferId};
use ftpgate::tls::record::RecordFollower;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use told::Sent;

/// What a session reads ahead of a peer whose lines have to wait.
const READ_AHEAD: usize = 16 * 1024;

/// Stands for an address that is not known: no line names it.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What the far sides may be told of the latest transfer.
#[derive(Debug, Clone, Copy)]
struct Named {
    id: TransferId,
    client: Option<SocketAddr>,
    server: Option<SocketAddr>,
}

#[derive(Debug, Default)]
struct Count {
    opened: usize,
    closed: usize,
    failed: usize,
}

/// Watches one play.
pub(super) struct Judge {
    dials_gateway: bool,
    server: IpAddr,
    /// Whom the server sees.
    seen_as: IpAddr,
    external: [ByOwn; 2],
    /// True if every line passes as it came, unless something is refused or rewritten.
    converts: bool,
    /// The gateway may ask for the client's directory.
    asks: bool,
    connected: bool,
    ended: bool,
    closed: bool,
    /// The lines could not be read, for a time at least.
    secured: bool,
    /// TLS that ends at the gateway.
    ended_tls: EndedTls,
    /// Follows what one side is sent for as long as it is TLS.
    tls: [Option<RecordFollower>; 2],
    /// Something was refused or rewritten.
    intervened: bool,
    opening: bool,
    last_transfer: u32,
    read_while_opening: [usize; 2],
    named: Option<Named>,
    /// The next bytes to the client are the reply of a server that has listened.
    passive_reply_due: bool,
    pinholes: BTreeMap<TransferId, Count>,
    withdrawn: BTreeSet<TransferId>,
    /// Transfers whose upload may move.
    uploads: BTreeSet<TransferId>,
    started: BTreeSet<TransferId>,
    finished: BTreeSet<TransferId>,
    delivered: [Vec<u8>; 2],
    sent: Vec<Sent>,
    /// What one side was sent of TLS, once for each time.
    sent_through: [Vec<Vec<u8>>; 2],
    range_is_open: bool,
    /// Connections that have come through the range since it was opened.
    passed: u32,
    /// Transfers that nobody asked to be opened.
    seen: BTreeSet<TransferId>,
}

impl Judge {
    pub(super) fn new(script: &Script) -> Self {
        let same_family = script.parties.client.is_ipv4() == script.server.is_ipv4();
        Self {
            dials_gateway: script.parties.dials_gateway,
            server: script.server.ip(),
            seen_as: script.seen_as.ip(),
            external: [
                script.parties.external_client.clone(),
                script.parties.external_server.clone(),
            ],
            converts: script.settings.mode != ModeChoice::Keep
                || !same_family
                || script.ends_tls()
                || script.rules.is_some(),
            asks: script.rules.is_some(),
            connected: false,
            ended: false,
            closed: false,
            secured: false,
            ended_tls: EndedTls::new(script),
            tls: [None, None],
            intervened: false,
            opening: false,
            last_transfer: 0,
            read_while_opening: [0; 2],
            named: None,
            passive_reply_due: false,
            pinholes: BTreeMap::new(),
            withdrawn: BTreeSet::new(),
            uploads: BTreeSet::new(),
            started: BTreeSet::new(),
            finished: BTreeSet::new(),
            delivered: Default::default(),
            sent: Vec::new(),
            sent_through: Default::default(),
            range_is_open: false,
            passed: 0,
            seen: BTreeSet::new(),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn was_secured(&self) -> bool {
        self.secured
    }

    /// TLS with the client ends, or has ended, at the gateway.
    pub(super) fn ends_clients_tls(&self) -> bool {
        self.ended_tls.mark(Side::Client).is_some()
    }

    pub(super) fn on_delivered(&mut self, from: Side, bytes: &[u8]) {
        self.delivered[index(from)].extend_from_slice(bytes);
        if self.opening {
            let read = &mut self.read_while_opening[index(from)];
            *read += bytes.len();
            assert!(*read <= READ_AHEAD + READ_SIZE, "{read} bytes read ahead of {from:?}");
        }
    }

    pub(super) fn on_carried(&mut self) {
        self.ended_tls.on_carried();
    }

    pub(super) fn on_unasked(&mut self) {
        self.ended_tls.on_unasked();
    }

    pub(super) fn on_hello(&mut self) {
        self.ended_tls.on_hello();
    }

    pub(super) fn on_established(&mut self, side: Side, trusted: bool) {
        let said = self.delivered[index(side)].len();
        self.ended_tls.on_established(side, trusted, said);
    }

    pub(super) fn on_tls_failed(&mut self, side: Side) {
        self.ended_tls.on_failed(side);
    }

    /// The executor is about to tell what became of opening a transfer.
    pub(super) fn on_answer(&mut self) {
        self.opening = false;
    }

    /// The executor is about to tell that a connection has come through the range.
    pub(super) fn on_blind_started(&mut self) {
        self.passed += 1;
    }

    /// The executor is about to tell that a transfer is open.
    pub(super) fn on_opened(
        &mut self,
        plan: &TransferPlan,
        client: Option<SocketAddr>,
        server: Option<SocketAddr>,
    ) {
        let [client, server] =
            [(client, &self.external[0]), (server, &self.external[1])].map(|(entry, external)| {
                let entry = entry?;
                if Some(entry) == server && entry.ip() != self.seen_as {
                    // A third host's is told as it is.
                    return Some(entry);
                }
                let ip = external.get(entry.ip()).instead_of(entry.ip());
                // 229 tells the port alone; a line that would name this address is not the one due.
                Some(SocketAddr::new(ip.unwrap_or(NOWHERE), entry.port()))
            });
        self.named = Some(Named { id: plan.id, client, server });
        self.passive_reply_due =
            matches!((&plan.client, &plan.server), (Leg::Await(_), Leg::Dial(_)));
    }

    pub(super) fn on_action(&mut self, action: &Action) {
        self.ended_tls.on_action(action, &self.delivered);
        match action {
            Action::SendBytes { to, bytes } => self.on_sent(*to, bytes),
            Action::SendUrgent { to, .. } => {
                assert!(*to == Side::Server && !self.closed && !self.opening);
            }
            Action::OpenTransfer(plan) => {
                assert!(!self.closed && !self.opening);
                self.is_next(plan.id);
                for (id, count) in &self.pinholes {
                    let over = count.opened == count.closed || self.withdrawn.contains(id);
                    assert!(over, "{id} is still offered");
                }
                self.opening = true;
                self.read_while_opening = [0; 2];
            }
            Action::DialData { id, .. } => {
                assert!(!self.closed && !self.opening);
                assert_eq!(self.named.map(|named| named.id), Some(*id), "dialled unopened");
            }
            Action::TakeUpload { id } => {
                assert!(!self.closed && id.0 <= self.last_transfer, "{id} was never opened");
                assert!(self.uploads.insert(*id), "{id} is told twice");
            }
            Action::WithdrawTransfer { id } => {
                assert!(id.0 <= self.last_transfer, "{id} was never opened");
                assert!(self.withdrawn.insert(*id), "{id} is withdrawn twice");
                self.named = self.named.filter(|named| named.id != *id);
            }
            Action::OpenBlindRange(range) => {
                assert!(!self.closed && !self.range_is_open);
                assert_eq!(range.server, self.server);
                self.range_is_open = true;
                self.passed = 0;
            }
            Action::CloseBlindRange => {
                assert!(std::mem::take(&mut self.range_is_open), "closed twice");
            }
            Action::AcceptTls
            | Action::ConnectTls
            | Action::PresentCertificate(_)
            | Action::CarryTls
            | Action::EndTls { .. } => {
                assert!(!self.closed, "TLS begins or ends behind the end");
            }
            Action::Report(report) => self.on_report(report),
            Action::CloseSession => {
                assert!(self.ended && !self.closed, "closed without a cause, or twice");
                self.closed = true;
            }
        }
    }

    /// Transfers are numbered, whether opened or only seen.
    fn is_next(&mut self, id: TransferId) {
        assert_eq!(id.0, self.last_transfer + 1, "transfers are numbered");
        self.last_transfer = id.0;
    }

    fn on_report(&mut self, report: &Report) {
        let told = format!("{report:?}");
        assert!(!told.contains(SECRET), "{told}");
        let login = matches!(report, Report::LoginAccepted { .. } | Report::LoginRefused { .. });
        assert!(login || !told.contains(USER), "{told}");
        match report {
            Report::PinholeOpened { transfer, .. } => {
                self.pinholes.entry(*transfer).or_default().opened += 1;
            }
            Report::PinholeClosed { transfer, outcome, .. } => {
                let count = self.pinholes.entry(*transfer).or_default();
                if *outcome == PinholeOutcome::Failed {
                    count.failed += 1;
                    assert!(count.failed == 1 && count.opened == 0, "{count:?}");
                } else {
                    count.closed += 1;
                    assert!(count.closed <= count.opened, "{count:?}");
                }
            }
            Report::DataConnectionStarted { transfer, path, mode } => {
                assert!(self.started.insert(*transfer), "{transfer} started twice");
                if transfer.0 > self.last_transfer {
                    assert_eq!((*path, *mode), (DataPath::Kernel, DataMode::Passive));
                    self.is_next(*transfer);
                    self.seen.insert(*transfer);
                }
            }
            Report::TransferNamed { transfer, .. } => {
                let runs = self.started.contains(transfer) && !self.finished.contains(transfer);
                assert!(runs, "{transfer} is named and does not run");
            }
            Report::DataConnectionEnded { transfer, protection, .. } => {
                assert!(self.started.contains(transfer) && self.finished.insert(*transfer));
                let unknown = *protection == ProtectionLevel::Unknown;
                assert!(unknown || !self.seen.contains(transfer), "{transfer}: {protection:?}");
            }
            Report::SessionEnded { .. } => {
                assert!(!self.ended, "ended twice");
                self.ended = true;
            }
            other => {
                assert!(!self.ended, "after the end: {other:?}");
                self.connected |= matches!(other, Report::ServerConnected { .. });
                if let Report::CccObserved { passed, .. } = other {
                    assert_eq!(*passed, self.range_is_open.then_some(self.passed));
                }
                if let Report::ProtectionChanged { state: ControlProtection::Passthrough } = other {
                    self.secured = true;
                    self.tls = [Some(RecordFollower::new()), Some(RecordFollower::new())];
                    self.sent_through.iter_mut().for_each(|through| through.push(Vec::new()));
                }
                if let Report::ProtectionChanged { state: ControlProtection::Cleared } = other {
                    self.tls = [None, None];
                }
                self.intervened |=
                    matches!(other, Report::Refused { .. } | Report::LineRewritten { .. });
                if let Report::LineRewritten { line } = other {
                    let open = self.named.is_some() && !self.opening;
                    assert!(*line == RewrittenLine::Feat || open, "rewritten without a pinhole");
                }
            }
        }
    }

    pub(super) fn at_the_end(&self) {
        assert!(self.ended && self.closed && !self.range_is_open);
        for (id, count) in &self.pinholes {
            assert_eq!(count.opened, count.closed, "pinholes of {id}");
        }
        assert_eq!(self.started, self.finished, "data connections");
        for side in [Side::Client, Side::Server] {
            self.lines_are_kept(side);
        }
    }
}
