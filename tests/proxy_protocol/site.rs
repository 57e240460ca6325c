//! The gateway, the server behind it, the balancer before it, and what they say to each other.
//!
//! 127.0.0.2 is the balancer; 127.0.0.1 and the others are not.

use ftpgate::app::{self, RunningGateway};
use ftpgate::config::{Config, Network};
use ftpgate::report::{CloseCause, Report};
use ftpgate::terms::SessionId;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Bounds every wait for something that has to come; above the time that a header may take.
const COMES_WITHIN: Duration = Duration::from_secs(15);

pub(crate) const BALANCER: [u8; 4] = [127, 0, 0, 2];
pub(crate) const HEADER: &str = "PROXY TCP4 192.0.2.2 203.0.113.7 40000 21\r\n";
pub(crate) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

type Reports = mpsc::UnboundedReceiver<(SessionId, Report)>;
pub(crate) type Lines = BufReader<TcpStream>;

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(COMES_WITHIN, what).await.expect("in time")
}

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The gateway, the server behind it, and what is told.
pub(crate) struct Site {
    gateway: RunningGateway,
    pub(crate) address: SocketAddr,
    pub(crate) server: TcpListener,
    reports: Reports,
}

impl Site {
    pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let (server, server_address) = listen().await;
        let address = listen().await.1;
        let mut config = Config::for_server(address, &server_address.to_string()).unwrap();
        let balancer = Network::new(IpAddr::from(BALANCER), 32).unwrap();
        config.listeners[0].proxy_protocol.accept_from = vec![balancer];
        config.admin.socket = None;
        change(&mut config);
        let (observer, reports) = mpsc::unbounded_channel();
        let gateway = app::start(&config, Some(observer)).await.unwrap();
        Self { gateway, address, server, reports }
    }

    /// A connection to the gateway from this address.
    pub(crate) async fn connect(&self, from: [u8; 4]) -> Lines {
        BufReader::new(connect(from, self.address).await)
    }

    /// The next session at the server.
    pub(crate) async fn arrives(&self) -> Lines {
        BufReader::new(within(self.server.accept()).await.unwrap().0)
    }

    /// A client that is introduced with these words, and the server that has greeted it.
    pub(crate) async fn introduced(&self, words: &[u8]) -> (Lines, Lines) {
        let mut client = self.connect(BALANCER).await;
        client.write_all(words).await.unwrap();
        let mut server = self.arrives().await;
        say(&mut server, "220 ready\r\n").await;
        hear(&mut client, "220 ready").await;
        (client, server)
    }

    /// Who is told to have begun a session, and where.
    pub(crate) async fn begun(&mut self) -> (SocketAddr, SocketAddr) {
        loop {
            let (_, report) = within(self.reports.recv()).await.unwrap();
            if let Report::SessionStarted { client, original_dst } = report {
                return (client, original_dst.0);
            }
        }
    }

    pub(crate) async fn ended(&mut self) -> CloseCause {
        loop {
            let (_, report) = within(self.reports.recv()).await.unwrap();
            if let Report::SessionEnded { cause, .. } | Report::SessionRefused { cause, .. } =
                report
            {
                return cause;
            }
        }
    }

    /// Peers that stayed would be waited for.
    pub(crate) async fn stop(self, peers: impl Sized) {
        drop(peers);
        within(self.gateway.shutdown()).await;
    }
}

pub(crate) async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    try_connect(from, to).await.unwrap()
}

/// An error may be the reset of a connection that stood for a moment.
pub(crate) async fn try_connect(from: [u8; 4], to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    within(socket.connect(to)).await
}

pub(crate) async fn say(to: &mut Lines, line: &str) {
    within(to.write_all(line.as_bytes())).await.unwrap();
}

pub(crate) async fn hear(from: &mut Lines, start: &str) -> String {
    let mut line = String::new();
    within(from.read_line(&mut line)).await.unwrap();
    assert!(line.starts_with(start), "{line:?} instead of {start}");
    line
}

/// All that still comes, however it ends.
pub(crate) async fn rest(mut of: impl AsyncReadExt + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = within(of.read_to_end(&mut bytes)).await;
    bytes
}

pub(crate) async fn log_in(client: &mut Lines, server: &mut Lines) {
    say(client, "USER a\r\n").await;
    hear(server, "USER a").await;
    say(server, "230 in\r\n").await;
    hear(client, "230 in").await;
}

/// PASV of a client that is introduced. Returns where its data connections are awaited, and where the
/// server awaits its own.
pub(crate) async fn passive(
    site: &Site,
    client: &mut Lines,
    server: &mut Lines,
) -> (SocketAddr, TcpListener) {
    let (data, data_address) = listen().await;
    say(client, "PASV\r\n").await;
    hear(server, "PASV").await;
    let [high, low] = data_address.port().to_be_bytes();
    say(server, &format!("227 ok (127,0,0,1,{high},{low})\r\n")).await;
    let reply = hear(client, "227 ok (203,0,113,7,").await;
    let numbers: Vec<u8> = reply
        .trim_end_matches(")\r\n")
        .rsplit(',')
        .take(2)
        .map(|number| number.parse().unwrap())
        .collect();
    let port = u16::from_be_bytes([numbers[1], numbers[0]]);
    (SocketAddr::new(site.address.ip(), port), data)
}

pub(crate) fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, body].concat()
}
