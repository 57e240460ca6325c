//! Real sockets, real TLS: what each side sees of what the other one does.

use super::*;
use crate::net::reset_on_close;
use crate::relay::data_tls::{HANDSHAKE_TIMEOUT, LegTls};
use crate::relay::tests::peers::{BOTH, COMES_WITHIN, End, ONLY_12, Party, Peer, connection};
use crate::terms::Side;
use rstest::rstest;
use rustls::SupportedProtocolVersion;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

mod ends;
mod tls;

type Versions = &'static [&'static SupportedProtocolVersion];

/// Which legs are TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Legs {
    /// Both.
    Tls,
    /// The client's.
    Offload,
    /// The server's.
    Originate,
}

impl Legs {
    fn is_tls(self, side: Side) -> bool {
        match (self, side) {
            (Self::Tls, _) | (Self::Offload, Side::Client) | (Self::Originate, Side::Server) => {
                true
            }
            (Self::Offload, Side::Server) | (Self::Originate, Side::Client) => false,
        }
    }
}

/// Two peers and what joins them.
struct Joined {
    client: Peer,
    server: Peer,
    pump: JoinHandle<(DataOutcome, ByteCounts)>,
}

impl Joined {
    async fn with(legs: Legs) -> Self {
        Self::over(legs, BOTH, COMES_WITHIN).await
    }

    async fn over(legs: Legs, versions: Versions, idle: Duration) -> Self {
        let (client, client_leg) = client_side(&Party::new(versions), legs).await;
        let (server, server_leg) = server_side(&Party::new(versions), legs).await;
        Self::by((client, client_leg), (server, server_leg), idle)
    }

    fn by(client: (Peer, Leg), server: (Peer, Leg), idle: Duration) -> Self {
        let ((client, client_leg), (server, server_leg)) = (client, server);
        let told = std::future::ready(());
        let pump = tokio::spawn(join(client_leg, server_leg, told, idle, Arc::default()));
        Self { client, server, pump }
    }

    /// The peer of one side, and the other one.
    fn both(&mut self, first: Side) -> (&mut Peer, &mut Peer) {
        match first {
            Side::Client => (&mut self.client, &mut self.server),
            Side::Server => (&mut self.server, &mut self.client),
        }
    }

    async fn ended(self) -> (DataOutcome, ByteCounts) {
        timeout(COMES_WITHIN, self.pump).await.unwrap().unwrap()
    }
}

async fn secure(stream: TcpStream, tls: LegTls) -> Leg {
    tls.shake_hands(stream, HANDSHAKE_TIMEOUT).await.unwrap().0
}

async fn client_side(party: &Party, legs: Legs) -> (Peer, Leg) {
    let (ours, theirs) = connection().await;
    reset_on_close(&ours);
    if !legs.is_tls(Side::Client) {
        return (Peer::Clear(theirs), Leg::clear(ours));
    }
    let leg = tokio::spawn(secure(ours, party.accept()));
    let peer = Peer::connect(theirs, party.client.clone()).await.unwrap();
    (peer, leg.await.unwrap())
}

async fn server_side(party: &Party, legs: Legs) -> (Peer, Leg) {
    let (theirs, ours) = connection().await;
    reset_on_close(&ours);
    if !legs.is_tls(Side::Server) {
        return (Peer::Clear(theirs), Leg::clear(ours));
    }
    let leg = tokio::spawn(secure(ours, party.connect()));
    let peer = Peer::accept(theirs, party.server.clone()).await.unwrap();
    (peer, leg.await.unwrap())
}

/// A file in which nothing repeats where a record or a read might.
fn file(size: usize) -> Vec<u8> {
    let low = |number: usize| number.to_le_bytes()[0];
    (0..size).map(|at| low(at % 251) ^ low(at / 65_521)).collect()
}

fn counts(from: Side, bytes: usize) -> ByteCounts {
    let bytes = bytes as u64;
    match from {
        Side::Client => ByteCounts { upload: bytes, download: 0 },
        Side::Server => ByteCounts { upload: 0, download: bytes },
    }
}

#[rstest]
#[tokio::test]
async fn a_file_comes_whole_and_ends_in_order(
    #[values(Legs::Tls, Legs::Offload, Legs::Originate)] legs: Legs,
    #[values(BOTH, ONLY_12)] versions: Versions,
    #[values(Side::Client, Side::Server)] from: Side,
    #[values(0, 1, 16_384, 3_000_001)] size: usize,
) {
    let mut joined = Joined::over(legs, versions, COMES_WITHIN).await;
    let (sender, receiver) = joined.both(from);
    let sent = file(size);
    let sending = async {
        sender.send(&sent).await;
        sender.end().await;
    };
    let (received, ()) = tokio::join!(receiver.receive_all(), sending);
    assert!(received.0 == sent, "{} bytes came", received.0.len());
    assert_eq!(received.1, End::Orderly);
    receiver.end().await;
    assert_eq!(sender.receive_all().await, (vec![], End::Orderly));
    assert_eq!(joined.ended().await, (DataOutcome::Completed, counts(from, size)));
}

#[rstest]
#[tokio::test]
async fn both_directions_go_at_the_same_time(
    #[values(Legs::Tls, Legs::Offload, Legs::Originate)] legs: Legs,
) {
    let Joined { client, server, pump } = Joined::with(legs).await;
    let sent = file(2_000_000);
    let echo = |mut peer: Peer, bytes: Vec<u8>| async move {
        for part in bytes.chunks(50_000) {
            peer.send(part).await;
            assert!(peer.receive(part.len()).await == part);
        }
        peer.end().await;
        peer.receive_all().await
    };
    let both = tokio::join!(echo(client, sent.clone()), echo(server, sent));
    assert_eq!(both, ((vec![], End::Orderly), (vec![], End::Orderly)));
    let counts = ByteCounts { upload: 2_000_000, download: 2_000_000 };
    assert_eq!(pump.await.unwrap(), (DataOutcome::Completed, counts));
}

#[rstest]
#[tokio::test]
async fn one_direction_goes_on_when_the_other_has_ended(
    #[values(Legs::Tls, Legs::Offload, Legs::Originate)] legs: Legs,
    #[values(Side::Client, Side::Server)] first: Side,
) {
    let mut joined = Joined::with(legs).await;
    let (early, late) = joined.both(first);
    early.send(b"early").await;
    early.end().await;
    assert_eq!(late.receive_all().await, (b"early".to_vec(), End::Orderly));
    late.send(b"late").await;
    assert_eq!(early.receive(4).await, b"late");
    late.end().await;
    assert_eq!(early.receive_all().await, (vec![], End::Orderly));
    assert_eq!(joined.ended().await.0, DataOutcome::Completed);
}

#[rstest]
#[tokio::test]
async fn a_receiver_that_does_not_read_stops_the_sender(
    #[values(Legs::Tls, Legs::Offload, Legs::Originate)] legs: Legs,
) {
    let Joined { mut client, mut server, pump } = Joined::with(legs).await;
    let part = file(1 << 20);
    let mut sent = 0;
    // What the kernel keeps for three sockets is far below that.
    while sent < 256 {
        match timeout(Duration::from_millis(500), server.try_send(&part)).await {
            Ok(done) => done.unwrap(),
            Err(_) => break,
        }
        sent += 1;
    }
    assert!(sent < 64, "{sent} MiB went nowhere");
    let mut received = client.receive(sent << 20).await;
    assert!(received.chunks(1 << 20).all(|received| received == part));
    server.reset();
    received = client.receive_all().await.0;
    assert!(received.len() <= 1 << 20 && part.starts_with(&received));
    assert_eq!(pump.await.unwrap().0, DataOutcome::Aborted);
}

/// A client may send as soon as its TLS stands; a server that has connected ahead of its command does
/// not know yet what to do with it.
#[tokio::test]
async fn an_upload_waits_for_its_command_and_a_download_does_not() {
    let party = Party::new(BOTH);
    let (mut client, client_leg) = client_side(&party, Legs::Tls).await;
    let (mut server, server_leg) = server_side(&party, Legs::Tls).await;
    let (command, passed) = tokio::sync::oneshot::channel();
    let passed = async { passed.await.unwrap() };
    let pump = tokio::spawn(join(client_leg, server_leg, passed, COMES_WITHIN, Arc::default()));
    client.send(b"up").await;
    server.send(b"down").await;
    assert_eq!(client.receive(4).await, b"down");
    let early = timeout(Duration::from_millis(100), server.receive(1)).await;
    assert!(early.is_err(), "{early:?} came ahead of the command");
    command.send(()).unwrap();
    assert_eq!(server.receive(2).await, b"up");
    pump.abort();
}
