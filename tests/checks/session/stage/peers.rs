//! The two peers of a play: what they send, in which pieces, and the news of their TLS.

use super::super::layer::Layer;
use super::super::step::TlsNews;
use super::{Play, READ_SIZE, Splits, index};
use ftpgate::report::TlsFault;
use ftpgate::session::{Event, TlsMode};
use ftpgate::terms::Side;

/// What is sent at once beyond this is a burst: all it is for is to fill buffers.
const BURST: usize = 1024;

/// What a peer does.
#[derive(Debug)]
pub(super) enum Inbound {
    /// Inside TLS that ends at the gateway, or else as they are.
    Bytes {
        bytes: Vec<u8>,
        inside: bool,
    },
    End {
        orderly: bool,
    },
}

impl Play<'_> {
    /// A peer says something, inside TLS once that is established.
    pub(super) fn say(&mut self, side: Side, bytes: &[u8]) {
        let inside = self.layers.is_secured(side);
        for piece in self.pieces(bytes) {
            self.inbox[index(side)].push_back(Inbound::Bytes { bytes: piece, inside });
        }
    }

    fn pieces(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut rest = bytes;
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let length = match &mut self.splits {
                Splits::Whole => READ_SIZE,
                Splits::Bytes if bytes.len() > BURST => 61,
                Splits::Bytes => 1,
                Splits::Random(seed) => {
                    *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    1 + usize::try_from(*seed >> 28).unwrap()
                }
            };
            let (piece, later) = rest.split_at(length.min(rest.len()));
            pieces.push(piece.to_vec());
            rest = later;
        }
        pieces
    }

    /// Reads from the peers as long as the session wants it.
    pub(super) fn deliver(&mut self) {
        loop {
            let mut news = false;
            for side in [Side::Client, Side::Server] {
                // There is no connection to read from before it stands.
                let connected = side == Side::Client || self.judge.is_connected();
                if self.ended[index(side)] || self.judge.is_closed() {
                    self.inbox[index(side)].clear();
                } else if connected && self.session.wants_bytes(side) {
                    news |= self.read(side);
                }
            }
            if !news {
                return;
            }
        }
    }

    fn read(&mut self, from: Side) -> bool {
        let layer = self.layers.of(from);
        if layer == Layer::HelloRead
            && matches!(self.inbox[index(from)].front(), Some(Inbound::Bytes { .. }))
        {
            // Whatever comes ahead of the answer to the hello is kept for it.
            return false;
        }
        match self.inbox[index(from)].pop_front() {
            None => return false,
            Some(Inbound::Bytes { .. }) if layer == Layer::Broken => {}
            Some(Inbound::Bytes { inside, .. }) if layer.is_garbled_by(inside) => {
                self.layers.was_injected = true;
                self.fail_tls(from, TlsFault::Garbled);
            }
            Some(Inbound::Bytes { bytes, .. }) => {
                self.judge.on_delivered(from, &bytes);
                self.tell(Event::BytesReceived { from, bytes: &bytes });
            }
            Some(Inbound::End { .. }) if layer.is_in_handshake() => {
                self.ended[index(from)] = true;
                self.fail_tls(from, TlsFault::Closed);
            }
            Some(Inbound::End { orderly }) => {
                self.ended[index(from)] = true;
                self.tell(Event::ConnectionClosed { side: from, orderly });
            }
        }
        true
    }

    pub(super) fn fail_tls(&mut self, side: Side, fault: TlsFault) {
        self.layers.set(side, Layer::Broken);
        self.judge.on_tls_failed(side);
        self.tell(Event::TlsFailed { side, fault });
        assert!(side == Side::Server || self.judge.is_closed(), "on without TLS");
    }

    /// News of TLS, unless there is nothing that they can be of.
    pub(super) fn on_news(&mut self, news: TlsNews) {
        if self.judge.is_closed() {
            return;
        }
        match news {
            TlsNews::Hello(name) if self.layers.of(Side::Client) == Layer::Hello => {
                self.layers.set(Side::Client, Layer::HelloRead);
                self.judge.on_hello();
                self.tell(Event::HelloReceived { name });
            }
            TlsNews::Established(side, trusted)
                if self.layers.of(side) == Layer::Handshake
                    && (trusted || self.script.settings.tls == TlsMode::Intercept) =>
            {
                self.layers.set(side, Layer::Tls);
                self.judge.on_established(side, trusted);
                self.tell(Event::TlsEstablished { side, trusted });
            }
            TlsNews::Failed(side, fault) if self.layers.of(side).may_fail() => {
                self.fail_tls(side, fault);
            }
            TlsNews::Hello(_) | TlsNews::Established(..) | TlsNews::Failed(..) => {}
        }
    }

    /// All handshakes that are due succeed.
    pub(super) fn secure(&mut self, name: Option<&'static str>) {
        // The hello, the server and the client; what begins first may wait for the other one.
        for _ in 0..2 {
            self.on_news(TlsNews::Hello(name));
            self.on_news(TlsNews::Established(Side::Server, true));
            self.on_news(TlsNews::Established(Side::Client, true));
        }
    }
}
