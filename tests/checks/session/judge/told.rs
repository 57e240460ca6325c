//! What one side is told: no text ahead of its pinhole, TLS that goes through as it came, and lines that
//! the other side said or that name what is open.

use super::super::super::lines;
use super::super::server::OWN_PWD;
use super::super::stage::index;
use super::super::text::{command, greeting, is_telnet};
use super::{Judge, Named};
use ftpgate::ftp::{self, Line};
use ftpgate::terms::Side;
use ftpgate::tls::record::{self, RecordFollower};
use std::net::{IpAddr, SocketAddr};

/// What was sent while the control connection was text.
pub(super) struct Sent {
    to: Side,
    bytes: Vec<u8>,
    named: Option<Named>,
    /// TLS that ends at the gateway stood with the other side.
    inside: bool,
}

impl Judge {
    pub(super) fn on_sent(&mut self, to: Side, bytes: &[u8]) {
        assert!(!self.ended, "{to:?} is sent something after the end");
        if self.passes_tls(to, bytes) {
            return;
        }
        if self.opening {
            // Of text only a farewell may leave now.
            let farewell = [b"421 ", b"500 ", b"530 "].iter().any(|code| bytes.starts_with(*code));
            assert!(to == Side::Client && farewell, "sent before its pinhole is open: {bytes:?}");
        }
        if to == Side::Client && std::mem::take(&mut self.passive_reply_due) {
            self.names_no_server(bytes);
        }
        let inside = self.ended_tls.mark(to.other()).is_some();
        self.sent.push(Sent { to, bytes: bytes.to_vec(), named: self.named, inside });
    }

    /// True if these bytes are TLS that goes through. Text ends it, or is the gateway's own in between:
    /// a client that is back to text is answered, also while its server is not.
    fn passes_tls(&mut self, to: Side, bytes: &[u8]) -> bool {
        let Some(follower) = &mut self.tls[index(to)] else { return false };
        let mut ahead = follower.clone();
        let through = &mut self.sent_through[index(to)];
        if ahead.follow(bytes).tls < bytes.len() {
            through.push(Vec::new());
            return false;
        }
        *follower = ahead;
        through.last_mut().unwrap().extend_from_slice(bytes);
        true
    }

    /// The reply to a client that dialled the gateway: nothing in it leads to the server itself.
    fn names_no_server(&self, reply: &[u8]) {
        if !self.dials_gateway {
            return;
        }
        let numbers = format!("{},", self.server).replace('.', ",");
        let lines: Vec<_> = reply.split_inclusive(|b| *b == b'\n').collect();
        for (at, line) in lines.iter().enumerate() {
            let text = line.trim_ascii_end();
            let has_code = at == 0 || at + 1 == lines.len();
            let holds = text.windows(numbers.len()).any(|w| w == numbers.as_bytes());
            let numbered = reply.starts_with(b"227");
            assert!(!(numbered && has_code && holds), "the server's own address: {text:?}");
            if numbered && let Ok(read) = ftp::parse_227(text) {
                assert_ne!(IpAddr::from(*read.address.ip()), self.server, "{text:?}");
            }
            if let Ok(read) = ftp::parse_229(text) {
                assert!(read.blank, "{text:?}");
            }
        }
    }

    /// What was said to one side without the TLS, which went through byte for byte and in one piece,
    /// and without the records that came late.
    fn text_for(&self, to: Side) -> Vec<u8> {
        let mut rest = &self.delivered[index(to.other())][..];
        let mut text = Vec::new();
        for through in self.sent_through[index(to)].iter().filter(|through| !through.is_empty()) {
            let at = rest.windows(through.len()).position(|window| window == through);
            let at = at.expect("what went through as TLS was said so");
            text.extend_from_slice(&rest[..at]);
            rest = &rest[at + through.len()..];
        }
        text.extend_from_slice(rest);
        self.without_late(to.other(), text)
    }

    /// What one side has said since TLS that ends at the gateway stood with it; nothing of before,
    /// but a server's greeting that may have been kept.
    fn said_inside(&self, from: Side) -> Vec<Line> {
        let mark = self.ended_tls.mark(from).unwrap_or_default();
        let (before, inside) = self.delivered[index(from)].split_at(mark);
        let mut said = match from {
            Side::Client => Vec::new(),
            Side::Server => greeting(&lines(before)).to_vec(),
        };
        said.extend(lines(&self.without_late(from, inside.to_vec())));
        said
    }

    fn without_late(&self, from: Side, text: Vec<u8>) -> Vec<u8> {
        if !self.secured && !self.ended_tls.is_cleared(from) {
            return text;
        }
        let late = |line: &[u8]| match line.first() {
            Some(first) if record::begins_record(*first) => RecordFollower::new().follow(line).tls,
            _ => 0,
        };
        let mut without = Vec::new();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let late = late(line);
            if late > 0 && lines(line).len() == 1 {
                // It may have been text, before the end of TLS.
                without.extend_from_slice(line);
            }
            without.extend_from_slice(&line[late..]);
        }
        without
    }

    /// What one side was told is what the other one said, line for line and byte for byte; what is
    /// not, names what is open for it, or is a reply of the gateway.
    pub(super) fn lines_are_kept(&self, to: Side) {
        let (before, inside) = (lines(&self.text_for(to)), self.said_inside(to.other()));
        let (mut said, mut unsaid) = (&before, before.iter());
        let mut is_inside = false;
        let mut told: Vec<&[u8]> = Vec::new();
        for sent in self.sent.iter().filter(|sent| sent.to == to && !is_telnet(&sent.bytes)) {
            if sent.inside && !is_inside && !self.secured {
                is_inside = true;
                (said, unsaid) = (&inside, inside.iter());
            }
            for line in sent.bytes.split_inclusive(|b| *b == b'\n') {
                told.push(line);
                let own = match to {
                    Side::Client => self.ended_tls.is_own_reply(line),
                    Side::Server => {
                        self.ended_tls.is_own_command(line) || self.asks && line == OWN_PWD
                    }
                };
                if own {
                    continue;
                }
                if bears_address(to, line) {
                    // These may be the gateway's own without being said by anyone, or be said later.
                    let verbatim = said.iter().any(|said| said.raw() == line);
                    if to == Side::Server && is_active(line) || !verbatim {
                        is_own(to, line, sent.named);
                    }
                } else {
                    let mut ahead = unsaid.clone();
                    if ahead.any(|said| said.raw() == line) {
                        unsaid = ahead;
                    } else {
                        is_own(to, line, sent.named);
                    }
                }
            }
        }
        if !self.intervened && !self.converts && !self.secured {
            let farewell = |line: &&[u8]| line.starts_with(b"421 ") || line.starts_with(b"500 ");
            let passed = match told.split_last() {
                Some((last, passed))
                    if farewell(last) && said.get(passed.len()).is_none_or(|l| l.raw() != last) =>
                {
                    passed
                }
                _ => &told[..],
            };
            let whole = said.iter().map(|line| &line.raw()[..]);
            assert!(whole.take(passed.len()).eq(passed.iter().copied()), "to {to:?}: {told:?}");
        }
    }
}

/// PORT or EPRT.
fn is_active(line: &[u8]) -> bool {
    matches!(command(line).verb(), ftp::Verb::Port | ftp::Verb::Eprt)
}

/// A line about a data connection.
fn bears_address(to: Side, line: &[u8]) -> bool {
    match to {
        Side::Server => command(line).verb().negotiates_data(),
        Side::Client => {
            line.starts_with(b"227") || line.starts_with(b"229") || ftp::parse_227(line).is_ok()
        }
    }
}

/// A line of the gateway's own: it names what is open, if anything.
fn is_own(to: Side, line: &[u8], named: Option<Named>) {
    let text = line.trim_ascii_end();
    let command = command(line);
    let told = match (to, text) {
        (Side::Server, b"PASV" | b"EPSV") => return,
        (Side::Server, _) => {
            let port = ftp::parse_port(command.argument()).map(SocketAddr::V4).ok();
            let eprt = ftp::parse_eprt(command.argument()).map(|eprt| eprt.address).ok();
            let address = match command.verb() {
                ftp::Verb::Port => port,
                ftp::Verb::Eprt => eprt,
                _ => None,
            };
            (address, named.and_then(|named| named.server))
        }
        (Side::Client, [b'2', b'2', b'9', ..]) => {
            let port = ftp::parse_229(text).map(|reply| reply.port).ok();
            let client = named.and_then(|named| named.client);
            (client.filter(|client| Some(client.port()) == port), client)
        }
        // Also a line within a reply to PASV.
        (Side::Client, _) if ftp::parse_227(text).is_ok() => {
            let address = ftp::parse_227(text).map(|reply| SocketAddr::V4(reply.address)).ok();
            (address, named.and_then(|named| named.client))
        }
        (Side::Client, [b'4' | b'5', ..] | [b'2', b'0', b'0', ..]) => return,
        (Side::Client, other) => {
            panic!("the client is told {:?}, and nobody said so", other.escape_ascii().to_string())
        }
    };
    let words = text.escape_ascii();
    assert!(told.0.is_some() && told.0 == told.1, "{to:?} is told {words}, open is {named:?}");
}
