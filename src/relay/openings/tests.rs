//! What is open, and what the kernel's news of it mean.

use super::*;
use crate::firewall::FlowBytes;
use crate::firewall::MemoryView;
use crate::pinhole::PortRange;
use crate::relay::SharedSettings;
use crate::relay::shared::tests::limits;
use crate::relay::tests::peers::{BOTH, COMES_WITHIN, Party, Peer};
use crate::report::{DataOutcome, TlsFault, TlsVersion};
use crate::session::Dial;
use crate::session::{BlindRange, Event};
use crate::telemetry::Telemetry;
use crate::terms::ProtectionLevel;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::time::timeout;

fn openings() -> (Openings, MemoryView) {
    let (firewall, view) = Firewall::memory();
    let settings = SharedSettings {
        ports: PortRange::new(50_000, 50_999).unwrap(),
        limits: limits(),
        open_timeout: Duration::from_secs(30),
        data_idle_timeout: Duration::from_secs(30),
    };
    let shared = Shared::new(settings, Some(firewall), None, Telemetry::new());
    let client = ClientKey::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    (Openings::new(shared, client), view)
}

/// What the session is told next.
async fn told(openings: &mut Openings) -> Option<Event<'static>> {
    timeout(COMES_WITHIN, poll_fn(|cx| openings.poll_news(cx))).await.unwrap()
}

/// The client dials the server's own address, where it listens on the same port each time.
fn plan(id: u32) -> TransferPlan {
    let (client, server) = ("192.0.2.2".parse().unwrap(), "198.51.100.5".parse().unwrap());
    let (port, foreign) = (Some(6000), true);
    TransferPlan {
        id: TransferId(id),
        path: DataPath::Kernel,
        client: Leg::Await(Expectation { peer: client, address: server, port, foreign }),
        server: Leg::Dial(Dial {
            to: SocketAddr::new(server, 6000),
            from: client,
            foreign,
            third: false,
        }),
        client_protection: ProtectionLevel::Clear,
        server_protection: ProtectionLevel::Clear,
    }
}

#[tokio::test]
async fn late_news_of_a_used_pinhole_do_not_close_the_next_one() {
    let (mut openings, view) = openings();
    openings.open(&plan(1)).await.unwrap();
    let pinhole = view.open().first().unwrap().pinhole();
    assert!(view.connect(pinhole));
    assert!(openings.withdraw(TransferId(1)).await, "it is in use");
    openings.open(&plan(2)).await.unwrap();
    let used = |id| Some(Event::PinholeUsed { id: TransferId(id), side: Side::Client });
    assert_eq!(told(&mut openings).await, used(1));
    assert_eq!(view.open().len(), 1, "the next one is closed");
    assert!(view.connect(pinhole));
    assert_eq!(told(&mut openings).await, used(2));
}

#[tokio::test]
async fn who_holds_a_range_is_told_of_the_connections_through_it() {
    let (mut openings, view) = openings();
    let [client, entry, server, source] =
        ["192.0.2.2", "203.0.113.7", "198.51.100.2", "198.51.100.1"]
            .map(|address| address.parse().unwrap());
    let range = BlindRange { client, entry, server, source };
    openings.open_range(range).await.unwrap();
    let flow = view.connect_in_range(client, entry).unwrap();
    let started = told(&mut openings).await;
    assert_eq!(started, Some(Event::BlindConnectionStarted { flow }));
    openings.close_range().await;
    assert_eq!(view.connect_in_range(client, entry), None, "it is closed");
    assert!(!openings.has_told_all(), "of what runs there are still news");
    let bytes = Some(FlowBytes { original: 3, reply: 1000 });
    assert!(view.emit(FlowEvent::EndedInRange { flow, orderly: false, bytes }));
    let ended = Event::BlindConnectionEnded {
        flow,
        outcome: DataOutcome::Aborted,
        bytes: Some(ByteCounts { upload: 3, download: 1000 }),
    };
    assert_eq!(told(&mut openings).await, Some(ended));
    assert_eq!(told(&mut openings).await, None);
    assert!(openings.has_told_all(), "and then no more");
}

#[tokio::test]
async fn the_kernel_is_not_asked_for_a_leg_with_tls() {
    let (mut openings, view) = openings();
    for side in [Side::Client, Side::Server] {
        let mut plan = plan(1);
        match side {
            Side::Client => plan.client_protection = ProtectionLevel::Private,
            Side::Server => plan.server_protection = ProtectionLevel::Private,
        }
        assert!(matches!(openings.open(&plan).await, Err(OpenError::NotJoinable)));
    }
    assert_eq!(view.open(), []);
}

/// Both legs dial, to these.
async fn dialling_plan() -> (TransferPlan, [TcpListener; 2]) {
    let loopback = std::net::Ipv4Addr::LOCALHOST;
    let listen = async || TcpListener::bind((loopback, 0)).await.unwrap();
    let listeners = [listen().await, listen().await];
    let [client, server] = listeners.each_ref().map(|listener| {
        let to = listener.local_addr().unwrap();
        Leg::Dial(Dial { to, from: to.ip(), foreign: false, third: false })
    });
    let protection = ProtectionLevel::Private;
    let plan = TransferPlan {
        id: TransferId(1),
        path: DataPath::Relay,
        client,
        server,
        client_protection: protection,
        server_protection: protection,
    };
    (plan, listeners)
}

#[tokio::test]
async fn the_session_is_told_of_each_handshake_ahead_of_the_joined_transfer() {
    let (mut openings, _view) = openings();
    let (near, far) = (Party::new(BOTH), Party::new(BOTH));
    openings.set_tls(Side::Client, near.accept());
    openings.set_tls(Side::Server, far.connect());
    let (plan, [client, server]) = dialling_plan().await;
    openings.open(&plan).await.unwrap();
    let id = plan.id;
    openings.dial(id, Side::Server);
    openings.dial(id, Side::Client);
    let (client, server) = (client.accept().await.unwrap().0, server.accept().await.unwrap().0);
    let _server = Peer::accept(server, far.server.clone()).await.unwrap();
    let outcome = Ok((TlsVersion::Tls13, false));
    assert_eq!(
        told(&mut openings).await,
        Some(Event::DataHandshakeEnded { id, side: Side::Server, outcome })
    );
    let _client = Peer::connect(client, near.client.clone()).await.unwrap();
    assert_eq!(
        told(&mut openings).await,
        Some(Event::DataHandshakeEnded { id, side: Side::Client, outcome })
    );
    assert_eq!(told(&mut openings).await, Some(Event::DataConnectionJoined { id }));
}

#[tokio::test]
async fn the_session_is_told_why_there_is_no_tls() {
    let (mut openings, _view) = openings();
    openings.set_tls(Side::Client, Party::new(BOTH).accept());
    let (mut plan, [client, server]) = dialling_plan().await;
    plan.server_protection = ProtectionLevel::Clear;
    openings.open(&plan).await.unwrap();
    let id = plan.id;
    openings.dial(id, Side::Server);
    openings.dial(id, Side::Client);
    let _server = server.accept().await.unwrap();
    drop(client.accept().await.unwrap());
    let outcome = Err(TlsFault::Closed);
    assert_eq!(
        told(&mut openings).await,
        Some(Event::DataHandshakeEnded { id, side: Side::Client, outcome })
    );
    let (outcome, bytes) = (DataOutcome::HandshakeFailed, Some(ByteCounts::default()));
    assert_eq!(told(&mut openings).await, Some(Event::DataConnectionEnded { id, outcome, bytes }));
}

#[tokio::test]
async fn nothing_is_held_for_news_that_cannot_come() {
    let (mut openings, view) = openings();
    let holds_none = |openings: &Openings| openings.flows.is_over() && openings.data.is_over();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(holds_none(&openings), "ahead of the first data connection");
    openings.open(&plan(1)).await.unwrap();
    assert!(openings.poll_news(&mut cx).is_pending());
    assert!(!holds_none(&openings), "while one is awaited");
    openings.withdraw(TransferId(1)).await;
    assert!(openings.poll_news(&mut cx).is_pending());
    assert!(holds_none(&openings), "behind the last");
    openings.open(&plan(2)).await.unwrap();
    assert!(view.connect(view.open().first().unwrap().pinhole()));
    let used = Event::PinholeUsed { id: TransferId(2), side: Side::Client };
    assert_eq!(told(&mut openings).await, Some(used), "and the next is told of again");
}
