//! Two layers, a client's and a server's, with nothing but memory between them.

use super::*;
use crate::relay::tests::peers::{Party, name};
use crate::tls::server_side::{ServerRoots, ServerSide, ServerSideSettings, Verify};
use rstest::rstest;
use rustls::server::ServerSessionMemoryCache;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, SupportedProtocolVersion};

/// More steps than any dialogue here takes.
const MOST_STEPS: usize = 100_000;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// One side, what has come to it, and what it has to send.
struct End {
    layer: Layer,
    wire: BytesMut,
    unsent: BytesMut,
    text: Vec<u8>,
    news: Vec<News>,
}

impl End {
    fn new(layer: Layer, unsent: BytesMut) -> Self {
        Self { layer, wire: BytesMut::new(), unsent, text: Vec::new(), news: Vec::new() }
    }

    /// Takes what has come, as far as it goes.
    fn take(&mut self) {
        let mut buffer = [0; 64];
        for _ in 0..MOST_STEPS {
            match self.layer.step(&mut self.wire, &mut buffer, &mut self.unsent) {
                Step::More => return,
                Step::Text(count) => self.text.extend_from_slice(&buffer[..count]),
                Step::Clear => {
                    self.text.extend_from_slice(&self.wire.split());
                    return;
                }
                Step::News(news) => self.news.push(news),
            }
        }
        panic!("no end of steps");
    }

    fn send(&mut self, text: &[u8]) {
        self.layer.send(text, &mut self.unsent);
    }

    fn has(&self, wanted: fn(&News) -> bool) -> bool {
        self.news.iter().any(wanted)
    }
}

/// A client and a server that have not met yet.
struct Pair {
    client: End,
    server: End,
    answers: Arc<ServerConfig>,
}

impl Pair {
    fn new(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Self {
        let mut hello = BytesMut::new();
        let layer = Layer::connect(Arc::clone(client), name(), &mut hello).unwrap();
        Self {
            client: End::new(layer, hello),
            server: End::new(Layer::Hello(Box::default()), BytesMut::new()),
            answers: Arc::clone(server),
        }
    }

    /// Carries bytes both ways, so many at a time, until there are none.
    fn carry(&mut self, piece: usize) {
        for _ in 0..MOST_STEPS {
            let (client, server) = (&mut self.client, &mut self.server);
            let there = client.unsent.split_to(piece.min(client.unsent.len()));
            let back = server.unsent.split_to(piece.min(server.unsent.len()));
            if there.is_empty() && back.is_empty() {
                return;
            }
            server.wire.extend_from_slice(&there);
            client.wire.extend_from_slice(&back);
            server.take();
            if server.has(|news| matches!(news, News::Hello)) {
                server.layer.present(Arc::clone(&self.answers), &mut server.unsent).unwrap();
            }
            client.take();
        }
        panic!("no end of bytes");
    }

    fn established(version: &'static SupportedProtocolVersion, piece: usize) -> Self {
        let party = Party::new(&[version]);
        let mut pair = Self::new(&party.client, &party.server);
        pair.carry(piece);
        for end in [&pair.client, &pair.server] {
            assert!(end.has(|news| matches!(news, News::Established)));
        }
        pair
    }

    fn kind(&self) -> HandshakeKind {
        self.client.layer.connection().unwrap().handshake_kind().unwrap()
    }
}

#[rstest]
fn text_goes_both_ways_however_it_is_cut(
    #[values(0, 1)] version: usize,
    #[values(1, 7, 4096)] piece: usize,
) {
    let mut pair = Pair::established(VERSIONS[version], piece);
    let long = vec![b'x'; 20_000];
    pair.client.send(b"USER a\r\n");
    pair.client.send(&long);
    pair.server.send(b"331 go on\r\n");
    pair.carry(piece);
    assert_eq!(pair.server.text, [&b"USER a\r\n"[..], &long].concat());
    assert_eq!(pair.client.text, b"331 go on\r\n");
}

/// Cases 30, 32: text follows in the same segment as the close_notify, or without one.
#[rstest]
fn after_ccc_no_byte_is_lost(
    #[values(0, 1)] version: usize,
    #[values(1, 5, 4096)] piece: usize,
    #[values(false, true)] announced: bool,
) {
    let mut pair = Pair::established(VERSIONS[version], 4096);
    pair.server.send(b"200 clear\r\n");
    pair.server.layer.let_end();
    pair.carry(4096);
    if announced {
        pair.client.layer.end(&mut pair.client.unsent);
        pair.client.send(b"PORT 1,2,3,4,5,6\r\n");
    } else {
        // As a peer without a word of farewell (z/OS: CCCNONOTIFY).
        let Layer::Tls(tls) = &mut pair.client.layer else { panic!() };
        (tls.may_end, tls.ended) = (true, true);
        pair.client.send(b"PORT 1,2,3,4,5,6\r\n");
    }
    pair.carry(piece);
    assert_eq!(pair.server.text, b"PORT 1,2,3,4,5,6\r\n");
    assert!(matches!(pair.server.layer, Layer::Text));
    // The server's close_notify has gone ahead of its text.
    pair.server.send(b"200 open\r\n");
    pair.carry(piece);
    assert_eq!(pair.client.text, b"200 clear\r\n200 open\r\n");
    assert!(matches!(pair.client.layer, Layer::Text));
}

#[rstest]
fn text_that_is_hasty_waits_for_the_agreement(#[values(0, 1)] version: usize) {
    let mut pair = Pair::established(VERSIONS[version], 4096);
    pair.client.unsent.extend_from_slice(b"NOOP\r\n");
    pair.carry(4096);
    assert!(pair.server.has(|news| matches!(news, News::Hasty)) && pair.server.text.is_empty());
    pair.server.layer.let_end();
    pair.server.take();
    assert_eq!(pair.server.text, b"NOOP\r\n");
}

#[rstest]
fn an_end_that_nobody_asked_for_is_told(#[values(0, 1)] version: usize) {
    let mut pair = Pair::established(VERSIONS[version], 4096);
    pair.client.layer.end(&mut pair.client.unsent);
    pair.carry(4096);
    assert!(pair.server.has(|news| matches!(news, News::Ended)));
}

#[rstest]
#[case(b"USER mallory\r\n")]
#[case(b"\x16\x02\x00\x00\x01\x00")]
#[case(b"\x80\x2e\x01\x03\x01")]
fn what_is_no_hello_fails(#[case] bytes: &[u8]) {
    let mut end = End::new(Layer::Hello(Box::default()), BytesMut::new());
    end.wire.extend_from_slice(bytes);
    let mut buffer = [0; 64];
    let step = end.layer.step(&mut end.wire, &mut buffer, &mut end.unsent);
    assert!(matches!(step, Step::News(News::Failed(_))), "{step:?}");
    assert!(end.layer.hello().starts_with(bytes), "kept for the story");
}

/// The gateway's own side towards servers, and a server that gives no tickets on data connections.
fn towards_ticketless() -> (crate::tls::server_side::ServerSession, [Arc<ServerConfig>; 2]) {
    let settings = ServerSideSettings {
        roots: ServerRoots::System,
        verify: Verify::Off,
        ..ServerSideSettings::default()
    };
    let gateway = ServerSide::new(&settings).unwrap();
    let address = "203.0.113.7".parse().unwrap();
    let session = gateway.session(Some("ftp.example"), None, address).unwrap();
    let mut control = ServerConfig::clone(&Party::new(&[&TLS13]).server);
    control.session_storage = ServerSessionMemoryCache::new(1024);
    control.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    let mut data = control.clone();
    data.send_tls13_tickets = 0;
    (session, [Arc::new(control), Arc::new(data)])
}

#[test]
fn case_38_a_ticket_is_used_two_hundred_times_and_the_connection_goes_on() {
    let (session, [control, data]) = towards_ticketless();
    let mut pair = Pair::new(&session.config, &control);
    pair.carry(4096);
    let Some(Connection::Client(client)) = pair.client.layer.connection() else { panic!() };
    let config = session.data(client);
    for number in 0..200 {
        if session.is_short_of_tickets() {
            pair.client.layer.repeat_ticket().unwrap();
        }
        let mut transfer = Pair::new(&config, &data);
        transfer.carry(4096);
        assert_eq!(transfer.kind(), HandshakeKind::Resumed, "{number}");
        // What the server says afterwards is read as ever.
        pair.server.send(b"226 done\r\n");
        pair.carry(4096);
        assert_eq!(std::mem::take(&mut pair.client.text), b"226 done\r\n", "{number}");
    }
}

#[test]
fn a_record_that_somebody_repeats_on_the_way_is_the_end() {
    let (session, [control, _]) = towards_ticketless();
    let mut pair = Pair::new(&session.config, &control);
    // Kept as it goes by: the tickets are the last that the server sends.
    let mut last = BytesMut::new();
    for _ in 0..MOST_STEPS {
        if !pair.server.unsent.is_empty() {
            last = pair.server.unsent.clone();
        }
        if pair.client.unsent.is_empty() && pair.server.unsent.is_empty() {
            break;
        }
        pair.carry(1);
    }
    pair.server.send(b"220 hi\r\n");
    let greeting = pair.server.unsent.clone();
    pair.carry(4096);
    assert_eq!(pair.client.text, b"220 hi\r\n");
    pair.client.wire.extend_from_slice(if last.is_empty() { &greeting } else { &last });
    pair.client.take();
    assert!(pair.client.has(|news| matches!(news, News::Failed(_))));
}
