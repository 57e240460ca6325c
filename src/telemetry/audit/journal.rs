//! How a line of the audit comes into the journal: one datagram for each, in the native protocol of
//! systemd-journald (systemd's docs/JOURNAL_NATIVE_PROTOCOL.md).
//!
//! The protocol has a way for entries that fit into no datagram (a file descriptor). The longest line
//! of the audit is far below the datagrams that a socket takes by default (net.core.wmem_default), so
//! that such a line is counted as lost.

use super::MOST_QUEUED;
use crate::telemetry::metrics::AuditOutcomes;
use prometheus::IntCounter;
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where systemd-journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// How long a journal that takes nothing is waited for. What is in hand is lost then, so that the file
/// has to wait for the next attempt only that long.
const PATIENCE: Duration = Duration::from_secs(1);

/// Information (RFC 5424 §6.2.1): which lines matter says the field of the event.
const PRIORITY: &str = "6";

/// The journal.
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    counts: AuditOutcomes,
    /// It has been told that it takes nothing.
    failing: bool,
    /// What it does not take is kept for another attempt.
    keeps: bool,
    /// What is kept, each with its event.
    kept: Vec<(&'static str, Vec<u8>)>,
    /// How long that is.
    kept_bytes: usize,
}

impl Journal {
    /// Sends to the socket at `path`. A journal that is started anew there is found again.
    pub(super) fn open(path: &Path, counts: AuditOutcomes) -> io::Result<Self> {
        // Somebody listens.
        UnixDatagram::unbound()?.connect(path)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let (failing, keeps, kept, kept_bytes) = (false, false, Vec::new(), 0);
        Ok(Self { socket, path: path.to_owned(), counts, failing, keeps, kept, kept_bytes })
    }

    /// Keeps what it does not take, or loses it.
    pub(super) fn keeping(self, keeps: bool) -> Self {
        Self { keeps, ..self }
    }

    /// True if lines are kept for another attempt.
    pub(super) fn is_behind(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Counts what it did not get.
    pub(super) fn lost(&self) -> IntCounter {
        self.counts.lost.clone()
    }

    /// Sends lines, each with its event and its line end.
    pub(super) fn send<'a>(&mut self, lines: impl Iterator<Item = (&'static str, &'a [u8])>) {
        let mut stuck = false;
        self.kept_bytes = 0;
        for (event, line) in std::mem::take(&mut self.kept) {
            stuck = self.offer(event, &line, stuck);
        }
        for (event, line) in lines {
            stuck = self.offer(event, line, stuck);
        }
    }

    /// Sends a line, unless the journal is `stuck`; true if it is afterwards, so that what follows need
    /// not be tried.
    fn offer(&mut self, event: &'static str, line: &[u8], stuck: bool) -> bool {
        if stuck {
            self.give_up(event, line);
            return true;
        }
        let message = line.strip_suffix(b"\n").unwrap_or(line);
        match self.send_one(&entry(event, message)) {
            Ok(()) => {
                self.counts.written.inc();
                self.counts.failing.set(0);
                if std::mem::replace(&mut self.failing, false) {
                    let lines =
                        if self.keeps { "no line was given up" } else { "lines are missing in it" };
                    tracing::warn!("the journal takes the audit again; {lines}");
                }
                false
            }
            // No later attempt would help.
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                self.counts.lost.inc();
                tracing::error!("telemetry.audit.journald: a line is too long for the journal");
                false
            }
            Err(error) => {
                self.give_up(event, line);
                self.counts.failing.set(1);
                if !std::mem::replace(&mut self.failing, true) {
                    let lines = if self.keeps { "no session goes on" } else { "lines are lost" };
                    tracing::error!(
                        %error,
                        "telemetry.audit.journald: the journal does not take the audit: {lines}"
                    );
                }
                self.keeps || error.kind() == ErrorKind::WouldBlock
            }
        }
    }

    /// Keeps a line for another attempt, if it is to and there is room, or loses it.
    fn give_up(&mut self, event: &'static str, line: &[u8]) {
        if self.keeps && self.kept_bytes + line.len() <= MOST_QUEUED {
            self.kept_bytes += line.len();
            self.kept.push((event, line.to_vec()));
        } else {
            self.counts.lost.inc();
        }
    }

    fn send_one(&self, entry: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send_to(entry, &self.path) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result.map(|_| ()),
            }
        }
    }
}

/// One entry: fields, of which the message has its length ahead of it, so that no byte in it could end
/// it.
fn entry(event: &str, message: &[u8]) -> Vec<u8> {
    let length = u64::try_from(message.len()).unwrap_or(u64::MAX).to_le_bytes();
    let fields =
        format!("\nPRIORITY={PRIORITY}\nSYSLOG_IDENTIFIER=ftpgate\nFTPGATE_EVENT={event}\n");
    [b"MESSAGE\n", &length[..], message, fields.as_bytes()].concat()
}

#[cfg(test)]
mod tests;
