//! What is told of one control connection, and of a whole capture: the objects of `--json`, whose
//! fields are a contract (`docs/observe.md`). Everything that a peer wrote is made visible already.

use super::finding::Finding;
use serde::Serialize;
use std::collections::BTreeMap;

/// Rows of each list that are kept of one control connection. The counts beside them are of all.
pub const MAX_ROWS: usize = 64;

/// One control connection.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Control {
    /// When its first packet was captured (RFC 3339).
    pub started: String,
    /// From the first packet to the last, in seconds.
    pub seconds: f64,
    /// The client's address and port.
    pub client: String,
    /// The server's.
    pub server: String,
    /// Whether the capture has its beginning.
    pub from_start: bool,
    /// How it ended.
    pub ended: Ended,
    /// Who logged in, where that could be read.
    pub user: Option<String>,
    /// The protection of the control connection at the end: `clear`, `passthrough`, `cleared`.
    pub protection: &'static str,
    /// TLS began with the first byte.
    pub implicit_tls: bool,
    /// What became of it: `cleared`, `early`, `halfway`, `none`; absent without TLS.
    pub ccc: Option<&'static str>,
    /// Negotiations by the command that they began with.
    pub negotiations: BTreeMap<&'static str, u64>,
    /// Lines that the gateway would replace, and how many there were.
    pub rewrites: Vec<Rewrite>,
    /// All of them.
    pub rewrites_total: u64,
    /// Openings that the gateway would make.
    pub openings: Vec<Opening>,
    /// All of them.
    pub openings_total: u64,
    /// The transfers that were agreed, and their data connections.
    pub transfers: Vec<Transfer>,
    /// All of them.
    pub transfers_total: u64,
    /// Transfers by what became of their data connection.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Bytes of all of them, from the client to the server.
    pub upload: u64,
    /// And from the server to the client.
    pub download: u64,
    /// What would fail, or did.
    pub findings: Vec<Found>,
    /// Why the session ended, or would have; a word of `sessions_total` in `docs/metrics.md`.
    pub close: Option<&'static str>,
    /// Holes in the capture.
    pub gaps: u64,
    /// Bytes of the control connection that are missing in it.
    pub lost_bytes: u64,
}

/// How a connection ended, as seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The capture ended first.
    #[default]
    CaptureEnd,
    /// Both sides said FIN.
    Fin,
    /// One side said RST.
    Rst,
    /// Nothing came for too long, or others needed the room.
    Idle,
}

/// A line that the gateway would replace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rewrite {
    /// Which: `port`, `eprt`, `pasv`, `epsv`, `feat`.
    pub line: &'static str,
    /// As it was sent.
    pub from: String,
    /// As the gateway would send it on.
    pub to: String,
}

/// A pinhole that the gateway would open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Opening {
    /// The mode of the data connection on this side.
    pub mode: &'static str,
    /// The one host that may come through.
    pub peer: String,
    /// Where it dials.
    pub entry: String,
}

/// A transfer that was agreed, or a data connection of a session that cannot be read.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Transfer {
    /// `passive` or `active`.
    pub mode: &'static str,
    /// The line that names the listening address; absent where it was not read.
    pub line: Option<String>,
    /// Who listens.
    pub listener: String,
    /// The command that it was for, where that was read.
    pub command: Option<String>,
    /// The server's last word on it.
    pub reply: Option<u16>,
    /// What became of the data connection.
    pub outcome: Outcome,
    /// Bytes from the client to the server, by sequence numbers.
    pub upload: u64,
    /// Bytes from the server to the client.
    pub download: u64,
    /// From its first packet to its last, in seconds.
    pub seconds: f64,
    /// Who ended it: `client` or `server`.
    pub closed_by: Option<&'static str>,
}

/// What became of a data connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was not seen.
    #[default]
    NotSeen,
    /// Its SYN was seen and no answer.
    Unanswered,
    /// Its SYN was answered with RST.
    Refused,
    /// It was seen and has not ended.
    Open,
    /// It ended in order.
    Completed,
    /// It was broken off.
    Reset,
}

impl Outcome {
    /// The word in the output.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotSeen => "not_seen",
            Self::Unanswered => "unanswered",
            Self::Refused => "refused",
            Self::Open => "open",
            Self::Completed => "completed",
            Self::Reset => "reset",
        }
    }
}

/// A finding, once for each word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The word.
    pub finding: &'static str,
    /// How often.
    pub count: u64,
    /// The first occasion: a line, an address, a reason.
    pub detail: Option<String>,
    /// What it means.
    pub meaning: &'static str,
    /// What helps.
    pub helps: &'static str,
}

/// All of a capture.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// Packets read.
    pub packets: u64,
    /// Their bytes, as captured.
    pub bytes: u64,
    /// Packets that are not TCP over IP.
    pub not_tcp: u64,
    /// Fragments of IP, which are not put together.
    pub fragments: u64,
    /// Packets that contradict themselves, or were cut too short.
    pub garbled: u64,
    /// From the first packet to the last, in seconds.
    pub seconds: f64,
    /// Control connections.
    pub control_connections: u64,
    /// Hosts that were clients of one, as far as they were counted.
    pub clients: u64,
    /// Hosts that were servers of one.
    pub servers: u64,
    /// Control connections by their protection at the end.
    pub protection: BTreeMap<&'static str, u64>,
    /// Secured control connections by what became of it.
    pub ccc: BTreeMap<&'static str, u64>,
    /// Negotiations by command.
    pub negotiations: BTreeMap<&'static str, u64>,
    /// Lines that the gateway would replace.
    pub rewrites: u64,
    /// Openings that it would make.
    pub openings: u64,
    /// Transfers by what became of their data connection.
    pub transfers: BTreeMap<&'static str, u64>,
    /// Bytes of the data connections, from clients to servers.
    pub upload: u64,
    /// And from servers to clients.
    pub download: u64,
    /// Control connections with each finding.
    pub findings: BTreeMap<&'static str, u64>,
    /// Control connections given up for want of room.
    pub evicted: u64,
    /// The capture ends in the middle of a packet.
    pub cut_short: bool,
}

impl Control {
    /// Tells a finding, with the first occasion kept.
    pub fn find(&mut self, finding: Finding, detail: Option<String>) {
        let label = finding.label();
        if let Some(found) = self.findings.iter_mut().find(|found| found.finding == label) {
            found.count = found.count.saturating_add(1);
            return;
        }
        self.findings.push(Found {
            finding: label,
            count: 1,
            detail,
            meaning: finding.meaning(),
            helps: finding.helps(),
        });
    }
}

impl Summary {
    /// Counts a control connection that is over.
    pub fn add(&mut self, control: &Control) {
        self.control_connections += 1;
        *self.protection.entry(control.protection).or_default() += 1;
        if let Some(ccc) = control.ccc {
            *self.ccc.entry(ccc).or_default() += 1;
        }
        for (&command, count) in &control.negotiations {
            *self.negotiations.entry(command).or_default() += count;
        }
        self.rewrites += control.rewrites_total;
        self.openings += control.openings_total;
        for (&outcome, count) in &control.outcomes {
            *self.transfers.entry(outcome).or_default() += count;
        }
        self.upload = self.upload.saturating_add(control.upload);
        self.download = self.download.saturating_add(control.download);
        for found in &control.findings {
            *self.findings.entry(found.finding).or_default() += 1;
        }
    }
}
