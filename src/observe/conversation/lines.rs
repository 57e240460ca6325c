//! The last lines of either peer as they were sent, and where to read on behind a hole.
//!
//! Only lines that speak of data connections are ever handed out: USER and PASS stand here for a
//! moment like anything else.

use crate::ftp::{self, Verb};
use crate::terms::Side;
use crate::tls::record::{self, Front};

/// Bytes that are kept of each peer: a 227 of several lines, or a command, with some before it.
const MAX_KEPT: usize = 2048;

/// The last lines, and whether the beginning of one is being looked for.
#[derive(Debug, Default)]
pub(super) struct Lines {
    client: Peer,
    server: Peer,
}

#[derive(Debug, Default)]
struct Peer {
    last: Vec<u8>,
    lost: bool,
}

impl Lines {
    fn peer(&mut self, side: Side) -> &mut Peer {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Keeps what `from` said.
    pub(super) fn keep(&mut self, from: Side, bytes: &[u8]) {
        let last = &mut self.peer(from).last;
        let new = bytes.len().saturating_sub(MAX_KEPT);
        let bytes = bytes.get(new..).unwrap_or_default();
        let old = (last.len() + bytes.len()).saturating_sub(MAX_KEPT);
        last.drain(..old.min(last.len()));
        last.extend_from_slice(bytes);
    }

    /// Something of `from` is missing.
    pub(super) fn lose(&mut self, from: Side) {
        let peer = self.peer(from);
        peer.last.clear();
        peer.lost = true;
    }

    /// What of `bytes` can be read: all of them, or behind a hole from where a line or a record
    /// begins. A line begins behind the end of another one, or, like a record, with a segment that
    /// looks like one; while lines are `hidden`, their ends mean nothing.
    pub(super) fn read_on<'a>(
        &mut self,
        from: Side,
        bytes: &'a [u8],
        starts_segment: bool,
        hidden: bool,
    ) -> Option<&'a [u8]> {
        let peer = self.peer(from);
        if !peer.lost {
            return Some(bytes);
        }
        if starts_segment && (begins_record(bytes) || begins_line(from, bytes)) {
            peer.lost = false;
            return Some(bytes);
        }
        if hidden {
            return None;
        }
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        peer.lost = false;
        bytes.get(end + 1..).filter(|rest| !rest.is_empty())
    }

    /// The last PORT or EPRT.
    pub(super) fn active(&self) -> Option<&[u8]> {
        last_line(&self.client.last, |line| matches!(verb_of(line), Verb::Port | Verb::Eprt))
    }

    /// The last command about a data connection.
    pub(super) fn data_command(&self) -> Option<&[u8]> {
        last_line(&self.client.last, |line| {
            let verb = verb_of(line);
            verb.negotiates_data() || matches!(verb, Verb::Lprt | Verb::Lpsv)
        })
    }

    /// The last command that moves data.
    pub(super) fn transfer_command(&self) -> Option<&[u8]> {
        last_line(&self.client.last, |line| verb_of(line).transfers_data())
    }

    /// The last line of the server that tells an address.
    pub(super) fn passive(&self) -> Option<&[u8]> {
        last_line(&self.server.last, tells_address)
    }

    /// The last 227 or 229, whatever it says.
    pub(super) fn any_passive(&self) -> Option<&[u8]> {
        last_line(&self.server.last, |line| line.starts_with(b"227") || line.starts_with(b"229"))
    }
}

/// The line among these that tells an address.
pub(super) fn telling(bytes: &[u8]) -> Option<&[u8]> {
    last_line(bytes, tells_address)
}

fn tells_address(line: &[u8]) -> bool {
    ftp::parse_227(line).is_ok() || ftp::parse_229(line).is_ok()
}

fn last_line(bytes: &[u8], is_it: impl Fn(&[u8]) -> bool) -> Option<&[u8]> {
    bytes.rsplit(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).find(|line| is_it(line))
}

/// The verb of a line without its end.
pub(super) fn verb_of(line: &[u8]) -> Verb {
    Verb::parse(line.split(|byte| *byte == b' ').next().unwrap_or_default())
}

/// True for the header of a record of TLS.
fn begins_record(bytes: &[u8]) -> bool {
    bytes.len() >= 5 && matches!(record::front(bytes), Front::Incomplete | Front::Record(_))
}

/// True for what a line of this peer begins with.
fn begins_line(from: Side, bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    match from {
        Side::Client => verb_of(line) != Verb::Other,
        Side::Server => ftp::reply_code(line).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_kind_is_found_as_it_was_sent() {
        let mut lines = Lines::default();
        lines.keep(Side::Client, b"PASS secret\r\nPORT 1,2,3,4,5,6\r\nRETR a\r\n");
        lines.keep(Side::Server, b"227 (10,0,0,5,1,2)\r\n150 here\r\n");
        assert_eq!(lines.active(), Some(&b"PORT 1,2,3,4,5,6"[..]));
        assert_eq!(lines.passive(), Some(&b"227 (10,0,0,5,1,2)"[..]));
        lines.keep(Side::Client, &[b'x'; 5000]);
        assert_eq!((lines.active(), lines.client.last.len()), (None, MAX_KEPT));
    }

    #[test]
    fn behind_a_hole_it_reads_on_where_a_line_or_a_record_begins() {
        let record = b"\x17\x03\x03\0\x05hello";
        for (from, bytes, segment, hidden, expected) in [
            (
                Side::Server,
                &b"tory listing\r\n226 done\r\n"[..],
                true,
                false,
                Some(&b"226 done\r\n"[..]),
            ),
            (Side::Server, b"226 done\r\n", true, false, Some(b"226 done\r\n")),
            (Side::Server, b"226 done\r\n", false, false, None),
            (Side::Client, b"EPSV\r\n", true, false, Some(b"EPSV\r\n")),
            (Side::Client, b"le name\r\n", true, false, None),
            (Side::Client, record, true, true, Some(record)),
            (Side::Client, record, false, true, None),
            (Side::Client, b"\x99\n\x17\x03\x03", true, true, None),
            // Back to text: CCC stood in the hole.
            (Side::Client, b"EPSV\r\n", true, true, Some(b"EPSV\r\n")),
        ] {
            let mut lines = Lines::default();
            lines.lose(from);
            assert_eq!(lines.read_on(from, bytes, segment, hidden), expected, "{bytes:?}");
        }
    }
}
