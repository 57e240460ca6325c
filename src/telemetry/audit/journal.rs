//! How a line of the audit comes into the journal: one datagram for each, in the native protocol of
//! systemd-journald (systemd's docs/JOURNAL_NATIVE_PROTOCOL.md).
//!
//! The protocol has a way for entries that fit into no datagram (a file descriptor). The longest line
//! of the audit is far below the datagrams that a socket takes by default (net.core.wmem_default), so
//! that such a line is counted as lost.

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
}

impl Journal {
    /// Sends to the socket at `path`. A journal that is started anew there is found again.
    pub(super) fn open(path: &Path, counts: AuditOutcomes) -> io::Result<Self> {
        // Somebody listens.
        UnixDatagram::unbound()?.connect(path)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket, path: path.to_owned(), counts, failing: false })
    }

    /// Counts what it did not get.
    pub(super) fn lost(&self) -> IntCounter {
        self.counts.lost.clone()
    }

    /// Sends lines, each with its event and its line end.
    pub(super) fn send<'a>(&mut self, lines: impl Iterator<Item = (&'static str, &'a [u8])>) {
        let mut waited = false;
        for (event, line) in lines {
            if waited {
                self.counts.lost.inc();
                continue;
            }
            let message = line.strip_suffix(b"\n").unwrap_or(line);
            match self.send_one(&entry(event, message)) {
                Ok(()) => {
                    self.counts.written.inc();
                    if std::mem::replace(&mut self.failing, false) {
                        tracing::warn!(
                            "the journal takes the audit again; lines are missing in it"
                        );
                    }
                }
                Err(error) => {
                    self.counts.lost.inc();
                    waited = error.kind() == ErrorKind::WouldBlock;
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::error!(
                            %error,
                            "telemetry.audit.journald: the journal does not take the audit: lines are lost"
                        );
                    }
                }
            }
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
