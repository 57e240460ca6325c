//! A control connection of the demo's own client or server: lines in, lines out, each recorded.

use crate::addr::canonical;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the demo waits for any single thing: a reply, a connection, the next block of data.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Longest line that is read. Far above any line of the demo's own; a bound against strangers.
const MAX_LINE: usize = 4096;

/// Lines that one [`Record`] keeps; older ones are forgotten.
const MAX_RECORDED: usize = 1000;

/// The Telnet escape byte (RFC 854): it and the byte after it are no part of a command.
const IAC: u8 = 255;

/// Who said a recorded line, seen from the side that keeps the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// This side sent it.
    Sent,
    /// This side received it.
    Received,
    /// Not a line: a data connection as this side sees it, who dialled first (`A -> B`).
    Data,
}

/// What was said on the control connections of one side. Clones share one record.
#[derive(Debug, Clone, Default)]
pub(super) struct Record(Arc<Mutex<VecDeque<(Said, String)>>>);

impl Record {
    /// Adds a line without its end. The argument of PASS is not kept.
    fn add(&self, said: Said, line: &str) {
        let verb_is_pass = line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case("PASS"));
        let line = if verb_is_pass { "PASS ***" } else { line };
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == MAX_RECORDED {
            lines.pop_front();
        }
        lines.push_back((said, line.to_owned()));
    }

    /// Adds a data connection, as this side sees it.
    pub(super) fn add_data(&self, from: SocketAddr, to: SocketAddr) {
        self.add(Said::Data, &format!("{} -> {}", canonical(from), canonical(to)));
    }

    /// Everything recorded since the last call.
    pub(super) fn take(&self) -> Vec<(Said, String)> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.drain(..).collect()
    }
}

/// One control connection.
#[derive(Debug)]
pub(super) struct Dialogue {
    stream: TcpStream,
    unread: Vec<u8>,
    record: Record,
}

impl Dialogue {
    /// Speaks on `stream`. Urgent data stays in line, so that a Telnet Synch (RFC 854) is seen
    /// where it was sent.
    pub(super) fn new(stream: TcpStream, record: Record) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        socket2::SockRef::from(&stream).set_out_of_band_inline(true)?;
        Ok(Self { stream, unread: Vec::new(), record })
    }

    /// The record of this connection.
    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// The peer's address.
    pub(super) fn peer(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// This side's address.
    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// The next line without its end and without Telnet sequences; `None` once the peer has
    /// closed. Nothing is lost if the future is dropped before it is ready.
    ///
    /// # Errors
    ///
    /// What the socket says, and `InvalidData` for a line over [`MAX_LINE`].
    pub(super) async fn read_line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.unread) {
                let raw: Vec<u8> = self.unread.drain(..=end).collect();
                let line = text_of(&raw);
                self.record.add(Said::Received, &line);
                return Ok(Some(line));
            }
            if self.unread.len() > MAX_LINE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line without end"));
            }
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Sends one line; its end is added.
    pub(super) async fn write_line(&mut self, line: &str) -> io::Result<()> {
        self.record.add(Said::Sent, line);
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await
    }
}

/// The text of a raw line: no line end, no Telnet sequence; bytes that are not UTF-8 replaced.
fn text_of(raw: &[u8]) -> String {
    let mut kept = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(&byte) = bytes.next() {
        if byte == IAC {
            bytes.next();
        } else if byte != b'\r' && byte != b'\n' {
            kept.push(byte);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telnet_sequences_and_line_ends_are_no_text() {
        assert_eq!(text_of(b"\xff\xf4\xff\xf2ABOR\r\n"), "ABOR");
        assert_eq!(text_of(b"NOOP\n"), "NOOP");
        assert_eq!(text_of(b"\xff"), "");
    }

    #[test]
    fn a_password_is_not_recorded() {
        let record = Record::default();
        record.add(Said::Received, "pass secret");
        record.add(Said::Sent, "230 Welcome");
        assert_eq!(
            record.take(),
            [(Said::Received, "PASS ***".to_owned()), (Said::Sent, "230 Welcome".to_owned())]
        );
        assert_eq!(record.take(), []);
    }
}
