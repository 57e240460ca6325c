use super::*;
use crate::pinhole::PortRange;
use crate::relay::SharedSettings;
use crate::relay::shared::tests::limits;
use crate::relay::tests::peers::{BOTH, End, Party, Peer};
use crate::report::TlsFault;
use crate::telemetry::Telemetry;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const ID: TransferId = TransferId(1);
/// Bounds every wait for something that has to come.
const COMES_WITHIN: Duration = Duration::from_secs(5);

fn shared() -> Arc<Shared> {
    let settings = SharedSettings {
        ports: PortRange::new(50_000, 50_999).unwrap(),
        limits: limits(),
        open_timeout: COMES_WITHIN,
        data_idle_timeout: COMES_WITHIN,
    };
    Shared::new(settings, None, None, Telemetry::new())
}

async fn peer() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn dialled(to: SocketAddr) -> PlannedLeg {
    let source = LegSource::Dialled(Dial { to, from: to.ip(), foreign: false, third: false });
    PlannedLeg { source, tls: None }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    timeout(COMES_WITHIN, listener.accept()).await.unwrap().unwrap().0
}

/// What a peer sees at the end: all that came before it, and whether it was a reset.
async fn end_of(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let end = timeout(COMES_WITHIN, stream.read_to_end(&mut bytes)).await.unwrap();
    (bytes, end.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset))
}

/// Both peers, joined by a running task.
async fn joined() -> (DataTask, TcpStream, TcpStream, mpsc::UnboundedReceiver<DataEvent>) {
    let (client, server) = (peer().await, peer().await);
    let (events, mut told) = mpsc::unbounded_channel();
    let task =
        DataTask::start(ID, dialled(client.1), dialled(server.1), shared(), Arc::default(), events);
    task.dial(Side::Server);
    task.dial(Side::Client);
    let (client, server) = (accept(&client.0).await, accept(&server.0).await);
    let event = timeout(COMES_WITHIN, told.recv()).await.unwrap();
    assert!(matches!(event, Some(DataEvent::Joined { id: ID })));
    (task, client, server, told)
}

#[tokio::test]
async fn case_46_a_server_whose_client_cannot_be_reached_sees_no_complete_upload() {
    let (client, server) = (peer().await, peer().await);
    drop(client.0);
    let (events, mut told) = mpsc::unbounded_channel();
    let task =
        DataTask::start(ID, dialled(client.1), dialled(server.1), shared(), Arc::default(), events);
    task.dial(Side::Server);
    let mut stream = accept(&server.0).await;
    task.dial(Side::Client);
    let event = timeout(COMES_WITHIN, told.recv()).await.unwrap();
    assert!(matches!(event, Some(DataEvent::Ended { outcome: DataOutcome::ConnectFailed, .. })));
    assert_eq!(end_of(&mut stream).await, (vec![], true));
}

#[tokio::test]
async fn case_46_a_transfer_that_is_cut_off_is_seen_as_complete_by_neither_side() {
    let (task, mut client, mut server, _told) = joined().await;
    client.write_all(b"half of it").await.unwrap();
    let mut half = [0; 10];
    timeout(COMES_WITHIN, server.read_exact(&mut half)).await.unwrap().unwrap();
    task.cancel().await;
    assert_eq!(end_of(&mut server).await, (vec![], true));
    assert_eq!(end_of(&mut client).await, (vec![], true));
}

#[tokio::test]
async fn case_46_an_end_in_order_stays_one() {
    let (_task, mut client, mut server, mut told) = joined().await;
    client.write_all(b"all of it").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(end_of(&mut server).await, (b"all of it".to_vec(), false));
    server.shutdown().await.unwrap();
    assert_eq!(end_of(&mut client).await, (vec![], false));
    let event = timeout(COMES_WITHIN, told.recv()).await.unwrap();
    assert!(matches!(event, Some(DataEvent::Ended { outcome: DataOutcome::Completed, .. })));
}

/// A task that has dialled both peers, which have not begun TLS yet.
async fn dialled_for_tls(
    client_tls: LegTls,
    server_tls: LegTls,
) -> (DataTask, TcpStream, TcpStream, mpsc::UnboundedReceiver<DataEvent>) {
    let (client, server) = (peer().await, peer().await);
    let (events, told) = mpsc::unbounded_channel();
    let client_leg = PlannedLeg { tls: Some(client_tls), ..dialled(client.1) };
    let server_leg = PlannedLeg { tls: Some(server_tls), ..dialled(server.1) };
    let task = DataTask::start(ID, client_leg, server_leg, shared(), Arc::default(), events);
    task.dial(Side::Server);
    task.dial(Side::Client);
    (task, accept(&client.0).await, accept(&server.0).await, told)
}

async fn next(told: &mut mpsc::UnboundedReceiver<DataEvent>) -> DataEvent {
    timeout(COMES_WITHIN, told.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn both_legs_are_joined_when_tls_stands_on_both() {
    let (near, far) = (Party::new(BOTH), Party::new(BOTH));
    let (task, client, server, mut told) = dialled_for_tls(near.accept(), far.connect()).await;
    let mut server = Peer::accept(server, far.server.clone()).await.unwrap();
    server.send(b"a listing").await;
    server.end().await;
    let stands = |event: &DataEvent, wanted| {
        matches!(event, DataEvent::HandshakeEnded { side, outcome: Ok((TlsVersion::Tls13, false)), .. }
            if *side == wanted)
    };
    let event = next(&mut told).await;
    assert!(stands(&event, Side::Server), "{event:?}");
    assert!(told.try_recv().is_err(), "the client has not begun");
    let mut client = Peer::connect(client, near.client.clone()).await.unwrap();
    let event = next(&mut told).await;
    assert!(stands(&event, Side::Client), "{event:?}");
    assert!(matches!(next(&mut told).await, DataEvent::Joined { id: ID }));
    assert_eq!(client.receive_all().await, (b"a listing".to_vec(), End::Orderly));
    client.end().await;
    task.take_upload();
    let ended = next(&mut told).await;
    assert!(
        matches!(ended, DataEvent::Ended { outcome: DataOutcome::Completed, bytes, .. }
            if bytes == ByteCounts { upload: 0, download: 9 }),
        "{ended:?}"
    );
}

#[tokio::test]
async fn case_37_the_server_of_a_client_that_is_refused_sees_a_reset() {
    let (near, far) = (Party::new(BOTH), Party::new(BOTH));
    let config = Arc::clone(&near.server);
    let require = LegTls::Accept { config, require_resumption: true };
    let (_task, client, server, mut told) = dialled_for_tls(require, far.connect()).await;
    let mut server = Peer::accept(server, far.server.clone()).await.unwrap();
    assert!(matches!(next(&mut told).await, DataEvent::HandshakeEnded { side: Side::Server, .. }));
    let mut client = Peer::connect(client, near.client.clone()).await.unwrap();
    let refused = next(&mut told).await;
    assert!(
        matches!(&refused, DataEvent::HandshakeEnded { side: Side::Client, outcome: Err(failure), .. }
            if failure.fault == TlsFault::NotResumed),
        "{refused:?}"
    );
    let ended = next(&mut told).await;
    assert!(
        matches!(ended, DataEvent::Ended { outcome: DataOutcome::HandshakeFailed, .. }),
        "{ended:?}"
    );
    assert_eq!(server.receive_all().await, (vec![], End::Reset));
    assert_eq!(client.receive_all().await, (vec![], End::Reset));
}

#[tokio::test]
async fn case_46_tls_that_is_cut_off_by_the_gateway_is_no_clean_end() {
    let (near, far) = (Party::new(BOTH), Party::new(BOTH));
    let (task, client, server, mut told) = dialled_for_tls(near.accept(), far.connect()).await;
    let (client, server) = tokio::join!(
        Peer::connect(client, near.client.clone()),
        Peer::accept(server, far.server.clone()),
    );
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    while !matches!(next(&mut told).await, DataEvent::Joined { .. }) {}
    client.send(b"half of it").await;
    task.take_upload();
    assert_eq!(server.receive(10).await, b"half of it");
    task.cancel().await;
    assert_eq!(server.receive_all().await, (vec![], End::Reset));
    assert_eq!(client.receive_all().await, (vec![], End::Reset));
}
