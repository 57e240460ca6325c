//! Two hosts that send segments to each other.

use crate::observe::packet::Segment;
use crate::terms::Side;
use std::net::SocketAddr;

pub(super) const CLIENT: &str = "192.0.2.2:40000";
pub(super) const SERVER: &str = "198.51.100.10:21";

pub(super) const HELLO: &[u8] = b"\x16\x03\x01\x00\x04abcd";
pub(super) const CHANGE: &[u8] = b"\x14\x03\x03\x00\x01\x01";
pub(super) const DATA: &[u8] = b"\x17\x03\x03\x00\x04e\nfg";

/// A segment that owns its bytes, and when it was captured.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) sequence: u32,
    pub(super) acknowledges: Option<u32>,
    pub(super) flags: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) at: u64,
}

impl Sent {
    pub(super) fn segment(&self) -> Segment<'_> {
        Segment {
            from: self.from,
            to: self.to,
            sequence: self.sequence,
            acknowledges: self.acknowledges,
            syn: self.flags.contains('S'),
            fin: self.flags.contains('F'),
            rst: self.flags.contains('R'),
            payload: &self.bytes,
            cut: 0,
        }
    }
}

/// Two hosts that send segments to each other, a millisecond apart.
pub(super) struct Wire {
    pub(super) ends: [SocketAddr; 2],
    pub(super) next: [u32; 2],
    pub(super) sent: Vec<Sent>,
    pub(super) at: u64,
}

impl Wire {
    /// Sequence numbers run over soon.
    pub(super) fn new(client: &str, server: &str) -> Self {
        let ends = [client.parse().unwrap(), server.parse().unwrap()];
        Self { ends, next: [u32::MAX - 20, u32::MAX - 40], sent: Vec::new(), at: 0 }
    }

    pub(super) fn opened(client: &str, server: &str) -> Self {
        let mut wire = Self::new(client, server);
        wire.send(Side::Client, "S", b"").send(Side::Server, "SA", b"").send(
            Side::Client,
            "A",
            b"",
        );
        wire
    }

    pub(super) fn send(&mut self, from: Side, flags: &'static str, bytes: &[u8]) -> &mut Self {
        let (own, other) = if from == Side::Client { (0, 1) } else { (1, 0) };
        self.at += 1;
        self.sent.push(Sent {
            from: self.ends[own],
            to: self.ends[other],
            sequence: self.next[own],
            acknowledges: flags.contains('A').then_some(self.next[other]),
            flags,
            bytes: bytes.to_vec(),
            at: self.at,
        });
        let counted = usize::from(flags.contains('S')) + usize::from(flags.contains('F'));
        self.next[own] = self.next[own].wrapping_add(u32::try_from(bytes.len() + counted).unwrap());
        self
    }

    pub(super) fn client(&mut self, line: &str) -> &mut Self {
        self.send(Side::Client, "A", format!("{line}\r\n").as_bytes())
    }

    pub(super) fn server(&mut self, line: &str) -> &mut Self {
        self.send(Side::Server, "A", format!("{line}\r\n").as_bytes())
    }

    pub(super) fn logged_in(client: &str, server: &str) -> Self {
        let mut wire = Self::opened(client, server);
        wire.server("220 hello").client("USER lab").server("331 password");
        wire.client("PASS xyzzy").server("230 in");
        wire
    }

    pub(super) fn quit(&mut self) -> &mut Self {
        self.client("QUIT").server("221 bye").send(Side::Server, "FA", b"").send(
            Side::Client,
            "FA",
            b"",
        )
    }

    /// A whole data connection, captured now.
    pub(super) fn data(
        &mut self,
        dialler: &str,
        listener: &str,
        bytes: &[u8],
        by_dialler: bool,
    ) -> &mut Self {
        let mut data = Wire::opened(dialler, listener);
        let from = if by_dialler { Side::Client } else { Side::Server };
        data.send(from, "A", bytes).send(from, "FA", b"").send(from.other(), "FA", b"");
        for sent in &mut data.sent {
            self.at += 1;
            sent.at = self.at;
        }
        self.sent.append(&mut data.sent);
        self
    }
}

pub(super) fn secured(wire: &mut Wire) {
    wire.client("AUTH TLS").server("234 go");
    in_tls(wire);
}

/// A handshake of TLS 1.3, a login, PBSZ, PROT and CCC.
pub(super) fn in_tls(wire: &mut Wire) {
    wire.send(Side::Client, "A", HELLO).send(Side::Server, "A", &[HELLO, CHANGE, DATA].concat());
    wire.send(Side::Client, "A", &[CHANGE, DATA].concat());
    for _ in 0..5 {
        wire.send(Side::Client, "A", DATA).send(Side::Server, "A", DATA);
    }
}
