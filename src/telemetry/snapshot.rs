//! What a gateway shows of itself at one moment: plain values, in the words and shapes of their JSON.
//!
//! The control socket answers with them, the status page and `ftpgate top` read them.
//! `docs/control.md` has the fields.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// A word of a closed set.
pub type Word = Cow<'static, str>;

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The owner, over the control socket: users and file names too.
    Owner,
    /// Whoever may read metrics: no users and no file names.
    Page,
}

/// A gateway at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Of ftpgate.
    pub version: Word,
    /// The moment, in seconds of Unix time.
    pub time: u64,
    /// When the gateway started, in seconds of Unix time.
    pub started: u64,
    /// Seconds since then.
    pub uptime: f64,
    /// In the order of the configuration.
    pub listeners: Vec<ListenerSnapshot>,
    /// The pool of `data.ports`.
    pub ports: Ports,
    /// The oldest first.
    pub sessions: Vec<SessionSnapshot>,
    /// What was refused.
    pub refusals: Refusals,
}

/// Where clients are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerSnapshot {
    /// Its name in the configuration.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// How clients come: `direct`, `redirect` or `tproxy`.
    pub capture: Word,
    /// Where they go: `original`, or a host and port.
    pub server: String,
}

/// The gateway's own data ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// Not in use.
    pub free: usize,
    /// In the pool.
    pub total: usize,
}

/// What a session is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Its server is being dialled.
    Connecting,
    /// Its client has not logged in.
    Login,
    /// Logged in, and no data moves.
    Idle,
    /// At least one data connection runs.
    Transferring,
    /// Its control connection is encrypted end to end, so that nothing more is known of it.
    Blind,
    /// Its control connection is over; a data connection still runs.
    Ending,
}

impl SessionState {
    /// The word in tables and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Login => "login",
            Self::Idle => "idle",
            Self::Transferring => "transferring",
            Self::Blind => "blind",
            Self::Ending => "ending",
        }
    }
}

/// One session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionSnapshot {
    /// Its number in the log and the audit.
    pub id: u64,
    /// The listener that accepted it.
    pub listener: String,
    /// The client as the kernel reports it.
    pub client: SocketAddr,
    /// Where the client dialled.
    pub dialled: SocketAddr,
    /// The server as the kernel reports it; `null` before it is connected.
    pub server: Option<SocketAddr>,
    /// The protection of the control connection.
    pub control: Word,
    /// What it is at.
    pub state: SessionState,
    /// Seconds since the client was accepted.
    pub seconds: f64,
    /// Who has logged in, made visible; only for the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The verb of the last command that was read; `OTHER` for one that is not known.
    pub last_verb: Option<Word>,
    /// Commands that were read.
    pub commands: u64,
    /// Bytes of all its data connections, as far as they are known.
    pub moved: Moved,
    /// Data connections that are over.
    pub transfers_done: u64,
    /// Data connections that run; more than are listed if there are many.
    pub transfers_running: usize,
    /// The oldest of them.
    pub transfers: Vec<TransferSnapshot>,
    /// What stands open for a data connection that is to come.
    pub pinholes: Vec<PinholeSnapshot>,
}

/// Bytes by direction, seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Moved {
    /// From the client to the server.
    pub upload: u64,
    /// From the server to the client.
    pub download: u64,
}

/// One data connection that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TransferSnapshot {
    /// Its number within the session.
    pub id: u32,
    /// The command that it serves; `null` if that was not read, or has not come yet.
    pub verb: Option<Word>,
    /// The argument of that command, made visible; only for the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Who carries the bytes: `kernel` or `relay`.
    pub data_path: Word,
    /// The mode towards the client: `passive` or `active`.
    pub mode: Word,
    /// The protection of the data connection; `unknown` if it was not agreed where the gateway reads.
    pub protection: Word,
    /// Bytes so far; `null` on the kernel path, where they are known at the end.
    pub moved: Option<Moved>,
    /// Seconds since it started.
    pub seconds: f64,
}

/// One open pinhole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PinholeSnapshot {
    /// Of which transfer of the session.
    pub transfer: u32,
    /// The only address that may connect.
    pub peer: IpAddr,
    /// The address and port that it dials.
    pub entry: SocketAddr,
    /// Who will carry the bytes: `kernel` or `relay`.
    pub data_path: Word,
    /// The mode of the leg that it belongs to: `passive` or `active`.
    pub mode: Word,
    /// Seconds since it was opened.
    pub seconds: f64,
}

/// What the gateway refused, and whom it turned away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Refusals {
    /// How many, by reason, since the start; only reasons that occurred.
    pub total: BTreeMap<String, u64>,
    /// The last of them, the newest first.
    pub recent: Vec<RefusalSnapshot>,
}

/// One refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalSnapshot {
    /// When, in seconds of Unix time.
    pub time: u64,
    /// The session.
    pub session: u64,
    /// Its listener.
    pub listener: String,
    /// Its client.
    pub client: Option<SocketAddr>,
    /// A reason of `refusals_total`, or the outcome of a session that was turned away or cut off.
    pub reason: Word,
}
