//! What is known of one session while it runs.

use super::super::snapshot::{
    Moved, PinholeSnapshot, SessionSnapshot, SessionState, TransferSnapshot, View, Word,
};
use super::{Live, RunningBytes, lock, seconds};
use crate::pinhole::Pinhole;
use crate::report::{ControlProtection, PeerText, Report, TransferCommand};
use crate::terms::{ByteCounts, DataMode, DataPath, ProtectionLevel, SessionId, TransferId};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Data connections of one session that are listed: more than any client has use for. The kernel path
/// may hold a thousand whose end has not been told yet.
const MOST_LISTED: usize = 32;

/// One session's place among those that run. With the last holder it is given up.
pub(in crate::telemetry) struct LiveSession {
    id: SessionId,
    listener: Arc<str>,
    live: Arc<Live>,
    entry: Arc<Mutex<Entry>>,
}

/// What has been told of it.
#[derive(Default)]
pub(super) struct Entry {
    listener: String,
    begun: Option<Begun>,
    server: Option<SocketAddr>,
    control: Option<ControlProtection>,
    logged_in: bool,
    user: Option<PeerText>,
    last_verb: Option<&'static str>,
    commands: u64,
    over: bool,
    /// By data connections that are over.
    moved: ByteCounts,
    transfers_done: u64,
    transfers: Vec<Transfer>,
    pinholes: Vec<OpenPinhole>,
}

#[derive(Clone, Copy)]
struct Begun {
    client: SocketAddr,
    dialled: SocketAddr,
    since: Instant,
}

struct Transfer {
    id: TransferId,
    command: Option<TransferCommand>,
    path: DataPath,
    mode: DataMode,
    protection: ProtectionLevel,
    bytes: Option<Arc<RunningBytes>>,
    since: Instant,
}

struct OpenPinhole {
    transfer: TransferId,
    path: DataPath,
    mode: DataMode,
    pinhole: Pinhole,
    since: Instant,
}

impl LiveSession {
    pub(in crate::telemetry) fn new(id: SessionId, listener: &Arc<str>, live: &Arc<Live>) -> Self {
        let entry = Entry { listener: listener.to_string(), ..Entry::default() };
        Self {
            id,
            listener: Arc::clone(listener),
            live: Arc::clone(live),
            entry: Arc::new(Mutex::new(entry)),
        }
    }

    /// Takes in one fact.
    pub(in crate::telemetry) fn tell(&self, report: &Report) {
        lock(&self.entry).learn(report);
        if let Report::SessionStarted { .. } = report {
            lock(&self.live.sessions).insert(self.id, Arc::clone(&self.entry));
        }
        if let Some(reason) = refused_by(report) {
            let client = match report {
                Report::SessionRefused { client, .. } => Some(*client),
                _ => lock(&self.entry).begun.map(|begun| begun.client),
            };
            self.live.refuse(self.id, &self.listener, client, reason);
        }
    }

    /// The data connection counts its bytes there while it runs.
    pub(in crate::telemetry) fn follow(&self, id: TransferId, bytes: Arc<RunningBytes>) {
        if let Some(transfer) = lock(&self.entry).transfer_mut(id) {
            transfer.bytes = Some(bytes);
        }
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        lock(&self.live.sessions).remove(&self.id);
    }
}

/// The word for what was refused: a command or reply, or a whole session for what a peer did.
fn refused_by(report: &Report) -> Option<&'static str> {
    match report {
        Report::Refused { reason, .. } => Some(reason.label()),
        Report::SessionEnded { cause, .. } | Report::SessionRefused { cause, .. } => {
            let refused = cause.is_limit() || cause.is_violation();
            refused.then(|| cause.label())
        }
        _ => None,
    }
}

impl Entry {
    fn learn(&mut self, report: &Report) {
        match report {
            Report::SessionStarted { client, original_dst } => {
                let (client, dialled, since) = (*client, original_dst.0, Instant::now());
                self.begun = Some(Begun { client, dialled, since });
            }
            Report::ServerConnected { server, .. } => self.server = Some(*server),
            Report::LoginAccepted { user } => {
                self.logged_in = true;
                self.user.clone_from(user);
            }
            Report::CommandReceived { verb } => {
                self.last_verb = Some(verb);
                self.commands += 1;
            }
            Report::ProtectionChanged { state } => self.control = Some(*state),
            Report::PinholeOpened { transfer, path, mode, pinhole, .. } => {
                self.pinholes.push(OpenPinhole {
                    transfer: *transfer,
                    path: *path,
                    mode: *mode,
                    pinhole: *pinhole,
                    since: Instant::now(),
                });
            }
            Report::PinholeClosed { transfer, path, mode, .. } => {
                let same = |open: &OpenPinhole| {
                    (open.transfer, open.path, open.mode) == (*transfer, *path, *mode)
                };
                if let Some(at) = self.pinholes.iter().position(same) {
                    self.pinholes.remove(at);
                }
            }
            Report::DataConnectionStarted { transfer, path, mode } => {
                self.transfers.push(Transfer {
                    id: *transfer,
                    command: None,
                    path: *path,
                    mode: *mode,
                    protection: ProtectionLevel::Unknown,
                    bytes: None,
                    since: Instant::now(),
                });
            }
            Report::TransferNamed { transfer, command, protection } => {
                if let Some(transfer) = self.transfer_mut(*transfer) {
                    transfer.command.clone_from(command);
                    transfer.protection = *protection;
                }
            }
            Report::DataConnectionEnded { transfer, bytes, .. } => {
                self.transfers.retain(|running| running.id != *transfer);
                self.transfers_done += 1;
                self.moved = sum(self.moved, bytes.unwrap_or_default());
            }
            Report::SessionEnded { .. } => self.over = true,
            Report::SessionRefused { .. }
            | Report::Refused { .. }
            | Report::LoginRefused { .. }
            | Report::ChangeEnded { .. }
            | Report::NameAsked { .. }
            | Report::ServerCertificateShown { .. }
            | Report::LineRewritten { .. }
            | Report::LineDistrusted { .. }
            | Report::CccObserved { .. }
            | Report::TlsRoleTurned { .. }
            | Report::BlindRangeOpened { .. }
            | Report::BlindRangeFailed { .. }
            | Report::HandshakeEnded { .. }
            | Report::LeafShown { .. }
            | Report::ClientCertificateAccepted { .. } => {}
        }
    }

    fn transfer_mut(&mut self, id: TransferId) -> Option<&mut Transfer> {
        self.transfers.iter_mut().find(|transfer| transfer.id == id)
    }

    fn state(&self) -> SessionState {
        match self.control.unwrap_or(ControlProtection::Clear) {
            _ if self.over => SessionState::Ending,
            _ if self.server.is_none() => SessionState::Connecting,
            _ if !self.transfers.is_empty() => SessionState::Transferring,
            ControlProtection::Passthrough => SessionState::Blind,
            // The login was inside TLS and could not be seen.
            ControlProtection::Cleared => SessionState::Idle,
            _ if self.logged_in => SessionState::Idle,
            ControlProtection::Clear | ControlProtection::Terminated => SessionState::Login,
        }
    }

    /// `None` for one that is over altogether.
    pub(super) fn show(&self, id: SessionId, view: View, now: Instant) -> Option<SessionSnapshot> {
        let Begun { client, dialled, since } = self.begun?;
        if self.over && self.transfers.is_empty() {
            return None;
        }
        let running = self.transfers.iter().filter_map(|transfer| transfer.bytes.as_ref());
        let moved = running.fold(self.moved, |all, bytes| sum(all, bytes.counts()));
        let control = self.control.unwrap_or(ControlProtection::Clear);
        Some(SessionSnapshot {
            id: id.0,
            listener: self.listener.clone(),
            client,
            dialled,
            server: self.server,
            control: Word::Borrowed(control.label()),
            state: self.state(),
            seconds: seconds(since, now),
            user: for_owner(view, self.user.as_ref()),
            last_verb: self.last_verb.map(Word::Borrowed),
            commands: self.commands,
            moved: shown(moved),
            transfers_done: self.transfers_done,
            transfers_running: self.transfers.len(),
            transfers: self
                .transfers
                .iter()
                .take(MOST_LISTED)
                .map(|transfer| transfer.show(view, now))
                .collect(),
            pinholes: self.pinholes.iter().map(|pinhole| pinhole.show(now)).collect(),
        })
    }
}

impl Transfer {
    fn show(&self, view: View, now: Instant) -> TransferSnapshot {
        let command = self.command.as_ref();
        TransferSnapshot {
            id: self.id.0,
            verb: command.map(|command| Word::Borrowed(command.verb)),
            path: for_owner(view, command.and_then(|command| command.path.as_ref())),
            data_path: Word::Borrowed(self.path.label()),
            mode: Word::Borrowed(self.mode.label()),
            protection: Word::Borrowed(self.protection.label()),
            moved: self.bytes.as_ref().map(|bytes| shown(bytes.counts())),
            seconds: seconds(self.since, now),
        }
    }
}

impl OpenPinhole {
    fn show(&self, now: Instant) -> PinholeSnapshot {
        PinholeSnapshot {
            transfer: self.transfer.0,
            peer: self.pinhole.peer,
            entry: self.pinhole.entry,
            data_path: Word::Borrowed(self.path.label()),
            mode: Word::Borrowed(self.mode.label()),
            seconds: seconds(self.since, now),
        }
    }
}

/// Text of a peer, made visible.
fn for_owner(view: View, text: Option<&PeerText>) -> Option<String> {
    match view {
        View::Owner => text.map(PeerText::to_string),
        View::Page => None,
    }
}

fn sum(a: ByteCounts, b: ByteCounts) -> ByteCounts {
    ByteCounts {
        upload: a.upload.saturating_add(b.upload),
        download: a.download.saturating_add(b.download),
    }
}

fn shown(bytes: ByteCounts) -> Moved {
    Moved { upload: bytes.upload, download: bytes.download }
}
