//! A gateway on loopback behind a load balancer that is played by the test: whose header is believed,
//! what comes of it, and what strangers reach.
//!
//! 127.0.0.2 is the balancer; 127.0.0.1 and the others are not.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

use ftpgate::app::{self, RunningGateway};
use ftpgate::config::{Config, Network, SendHeader};
use ftpgate::report::{CloseCause, Report};
use ftpgate::terms::SessionId;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Bounds every wait for something that has to come; above the time that a header may take.
const COMES_WITHIN: Duration = Duration::from_secs(15);

const BALANCER: [u8; 4] = [127, 0, 0, 2];
const HEADER: &str = "PROXY TCP4 192.0.2.2 203.0.113.7 40000 21\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

type Reports = mpsc::UnboundedReceiver<(SessionId, Report)>;
type Lines = BufReader<TcpStream>;

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(COMES_WITHIN, what).await.expect("in time")
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The gateway, the server behind it, and what is told.
struct Site {
    gateway: RunningGateway,
    address: SocketAddr,
    server: TcpListener,
    reports: Reports,
}

impl Site {
    async fn start(change: impl FnOnce(&mut Config)) -> Self {
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
    async fn connect(&self, from: [u8; 4]) -> Lines {
        BufReader::new(connect(from, self.address).await)
    }

    /// The next session at the server.
    async fn arrives(&self) -> Lines {
        BufReader::new(within(self.server.accept()).await.unwrap().0)
    }

    /// A client that is introduced with these words, and the server that has greeted it.
    async fn introduced(&self, words: &[u8]) -> (Lines, Lines) {
        let mut client = self.connect(BALANCER).await;
        client.write_all(words).await.unwrap();
        let mut server = self.arrives().await;
        say(&mut server, "220 ready\r\n").await;
        hear(&mut client, "220 ready").await;
        (client, server)
    }

    /// Who is told to have begun a session, and where.
    async fn begun(&mut self) -> (SocketAddr, SocketAddr) {
        loop {
            let (_, report) = within(self.reports.recv()).await.unwrap();
            if let Report::SessionStarted { client, original_dst } = report {
                return (client, original_dst.0);
            }
        }
    }

    async fn ended(&mut self) -> CloseCause {
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
    async fn stop(self, peers: impl Sized) {
        drop(peers);
        within(self.gateway.shutdown()).await;
    }
}

async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    try_connect(from, to).await.unwrap()
}

/// An error may be the reset of a connection that stood for a moment.
async fn try_connect(from: [u8; 4], to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    within(socket.connect(to)).await
}

async fn say(to: &mut Lines, line: &str) {
    within(to.write_all(line.as_bytes())).await.unwrap();
}

async fn hear(from: &mut Lines, start: &str) -> String {
    let mut line = String::new();
    within(from.read_line(&mut line)).await.unwrap();
    assert!(line.starts_with(start), "{line:?} instead of {start}");
    line
}

/// All that still comes, however it ends.
async fn rest(mut of: impl AsyncReadExt + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = within(of.read_to_end(&mut bytes)).await;
    bytes
}

async fn log_in(client: &mut Lines, server: &mut Lines) {
    say(client, "USER a\r\n").await;
    hear(server, "USER a").await;
    say(server, "230 in\r\n").await;
    hear(client, "230 in").await;
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, body].concat()
}

#[tokio::test]
async fn the_client_of_the_header_is_the_client_of_the_session() {
    let mut site = Site::start(|_| {}).await;
    let v4 = [192, 0, 2, 2, 203, 0, 113, 7, 0x9c, 0x40, 0, 21];
    for header in [HEADER.as_bytes().to_vec(), binary(0x21, 0x11, &v4)] {
        // The first command stands in the same segment.
        let (client, mut server) = site.introduced(&[&header[..], b"USER a\r\n"].concat()).await;
        assert_eq!(site.begun().await, (at("192.0.2.2:40000"), at("203.0.113.7:21")));
        assert_eq!(hear(&mut server, "USER").await, "USER a\r\n");
        drop((client, server));
        site.ended().await;
    }
    // One byte at a time.
    let mut client = site.connect(BALANCER).await;
    for byte in HEADER.as_bytes() {
        client.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut server = site.arrives().await;
    say(&mut server, "220 ready\r\n").await;
    hear(&mut client, "220").await;
    log_in(&mut client, &mut server).await;
    assert_eq!(site.begun().await, (at("192.0.2.2:40000"), at("203.0.113.7:21")));
    site.stop((client, server)).await;
}

#[tokio::test]
async fn what_the_balancer_does_for_itself_is_its_own() {
    let mut site = Site::start(|_| {}).await;
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), binary(0x20, 0, &[])] {
        let (mut client, mut server) = site.introduced(&header).await;
        let (who, dialled) = site.begun().await;
        assert_eq!((who.ip(), dialled), (IpAddr::from(BALANCER), site.address));
        log_in(&mut client, &mut server).await;
        drop((client, server));
        site.ended().await;
    }
    site.stop(()).await;
}

#[tokio::test]
async fn what_is_no_header_from_the_balancer_is_refused() {
    let mut site = Site::start(|_| {}).await;
    let line = |text: &str| format!("{text}\r\n").into_bytes();
    let v4 = |source: [u8; 4], port: u8| {
        binary(0x21, 0x11, &[&source[..], &[203, 0, 113, 7, 0, port, 0, 21]].concat())
    };
    let mapped = "PROXY TCP6 ::ffff:0.0.0.0 ::ffff:203.0.113.7 40000 21";
    for bytes in [
        line("USER anonymous"),
        line("PROXY TCP4 192.0.2.2 203.0.113.7 0 21"),
        line("PROXY TCP4 224.0.0.1 203.0.113.7 40000 21"),
        line(mapped),
        b"PROXY TCP4 ".repeat(10),
        [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(),
        v4([0; 4], 1),
        v4([192, 0, 2, 2], 0),
        binary(0x21, 0x12, &[1; 12]),
        b"\x16\x03\x01\0\x04abcd".to_vec(),
    ] {
        let mut client = site.connect(BALANCER).await;
        client.write_all(&bytes).await.unwrap();
        assert_eq!(rest(client).await, b"", "{}", bytes.escape_ascii());
        assert_eq!(site.ended().await, CloseCause::NoProxyHeader, "{}", bytes.escape_ascii());
    }
    // A port that is only knocked at, as some balancers do it to see who lives.
    drop(site.connect(BALANCER).await);
    assert_eq!(site.ended().await, CloseCause::ClientClosed);
    let mut cut = site.connect(BALANCER).await;
    cut.write_all(b"PROXY TCP4").await.unwrap();
    drop(cut);
    assert_eq!(site.ended().await, CloseCause::NoProxyHeader);
    let nobody = timeout(Duration::from_millis(100), site.server.accept()).await;
    assert!(nobody.is_err(), "the server was dialled");
    site.stop(()).await;
}

#[tokio::test]
async fn who_is_slow_with_the_header_holds_nobody_up() {
    let mut site = Site::start(|_| {}).await;
    let began = Instant::now();
    let silent = site.connect(BALANCER).await;
    let slow = site.connect(BALANCER).await;
    let (slow_in, mut slow_out) = slow.into_inner().into_split();
    let dripping = tokio::spawn(async move {
        for byte in HEADER.as_bytes() {
            if slow_out.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let (mut client, mut server) = site.introduced(HEADER.as_bytes()).await;
    log_in(&mut client, &mut server).await;
    assert!(began.elapsed() < Duration::from_secs(3), "it waited for others");
    assert_eq!(rest(silent).await, b"");
    assert_eq!(rest(slow_in).await, b"");
    assert!(began.elapsed() > Duration::from_secs(4), "they had some time");
    for _ in 0..2 {
        assert_eq!(site.ended().await, CloseCause::NoProxyHeader);
    }
    // They do not outlive a gateway that stops.
    let _late = site.connect(BALANCER).await;
    dripping.abort();
    let stopping = Instant::now();
    site.stop((client, server)).await;
    assert!(stopping.elapsed() < Duration::from_secs(4), "it waited for a header");
}

#[tokio::test]
async fn nobody_elses_header_is_believed() {
    let mut site = Site::start(|_| {}).await;
    // As it comes, and behind one that was believed.
    let mut stranger = site.connect([127, 0, 0, 1]).await;
    let mut server = site.arrives().await;
    say(&mut server, "220 ready\r\n").await;
    hear(&mut stranger, "220").await;
    assert_eq!(site.begun().await.0.ip(), IpAddr::from([127, 0, 0, 1]));
    say(&mut stranger, HEADER).await;
    hear(&mut stranger, "500 ").await;
    assert_eq!(rest(stranger).await, b"");
    assert_eq!(site.ended().await, CloseCause::NotFtp);
    assert_eq!(rest(server).await, b"", "the header reached the server");

    let other = "PROXY TCP4 192.0.2.9 203.0.113.7 40000 21\r\n";
    let mut client = site.connect(BALANCER).await;
    client.write_all(format!("{HEADER}{other}").as_bytes()).await.unwrap();
    assert_eq!(site.begun().await.0, at("192.0.2.2:40000"));
    hear(&mut client, "500 ").await;
    assert_eq!(site.ended().await, CloseCause::NotFtp);
    site.stop(()).await;
}

#[tokio::test]
async fn clients_are_counted_and_not_their_balancer() {
    let mut site = Site::start(|config| {
        config.limits.sessions_per_client = 1;
        config.limits.sessions = 3;
    })
    .await;
    let (first, _its_server) = site.introduced(HEADER.as_bytes()).await;
    let second = site.introduced(&HEADER.replace("0.2.2", "0.2.3").into_bytes()).await;
    let mut again = site.connect(BALANCER).await;
    again.write_all(HEADER.as_bytes()).await.unwrap();
    hear(&mut again, "421 Too many").await;
    for client in ["192.0.2.2:40000", "192.0.2.3:40000"] {
        assert_eq!(site.begun().await.0, at(client));
    }
    assert_eq!(site.ended().await, CloseCause::TooManySessions);
    // Who has not said yet whom it brings counts as a session.
    let waiting = site.connect(BALANCER).await;
    let mut one_more = site.connect(BALANCER).await;
    hear(&mut one_more, "421 Too many").await;
    assert_eq!(site.ended().await, CloseCause::TooManySessions);
    drop((waiting, first));
    for _ in 0..2 {
        assert_eq!(site.ended().await, CloseCause::ClientClosed);
    }
    let third = site.introduced(HEADER.as_bytes()).await;
    site.stop((second, third)).await;
}

/// PASV of a client that is introduced. Returns where its data connections are awaited, and where the
/// server awaits its own.
async fn passive(site: &Site, client: &mut Lines, server: &mut Lines) -> (SocketAddr, TcpListener) {
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

#[tokio::test]
async fn case_10_only_the_rightful_clients_data_passes_the_balancer() {
    let site = Site::start(|_| {}).await;
    let (mut client, mut server) = site.introduced(HEADER.as_bytes()).await;
    log_in(&mut client, &mut server).await;
    let (entry, data) = passive(&site, &mut client, &mut server).await;

    // A stranger, the balancer with somebody else, with a check of its own, with no header, and with
    // more silent connections than are read at a time.
    if let Ok(stranger) = try_connect([127, 0, 0, 3], entry).await {
        assert_eq!(rest(stranger).await, b"");
    }
    for header in [
        HEADER.replace("0.2.2", "0.2.3").into_bytes(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        binary(0x20, 0, &[]),
        b"STOR a\r\n".to_vec(),
    ] {
        let mut other = connect(BALANCER, entry).await;
        other.write_all(&header).await.unwrap();
        assert_eq!(rest(other).await, b"", "{}", header.escape_ascii());
    }
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(connect(BALANCER, entry).await);
    }
    let nobody = timeout(Duration::from_millis(100), data.accept()).await;
    assert!(nobody.is_err(), "the server was dialled for a stranger");

    let mut rightful = connect(BALANCER, entry).await;
    let header = HEADER.replace("40000 21", "40001 50000");
    rightful.write_all(format!("{header}a file").as_bytes()).await.unwrap();
    rightful.shutdown().await.unwrap();
    let (mut arriving, _) = within(data.accept()).await.unwrap();
    let mut stored = String::new();
    within(arriving.read_to_string(&mut stored)).await.unwrap();
    assert_eq!(stored, "a file");
    for one in silent {
        assert_eq!(rest(one).await, b"");
    }
    // It was the only one.
    assert!(TcpStream::connect(entry).await.is_err(), "the port is still open");
    site.stop((client, server)).await;
}

#[tokio::test]
async fn data_may_come_from_the_client_itself() {
    let site = Site::start(|_| {}).await;
    let header = "PROXY TCP4 127.0.0.4 203.0.113.7 40000 21\r\n";
    let (mut client, mut server) = site.introduced(header.as_bytes()).await;
    log_in(&mut client, &mut server).await;
    let (entry, data) = passive(&site, &mut client, &mut server).await;
    // A balancer on the network layer leaves the client's address on the packets; there is no header.
    let mut direct = connect([127, 0, 0, 4], entry).await;
    direct.write_all(HEADER.as_bytes()).await.unwrap();
    direct.shutdown().await.unwrap();
    let (arriving, _) = within(data.accept()).await.unwrap();
    assert_eq!(rest(arriving).await, HEADER.as_bytes(), "what looks like a header is a file");
    site.stop((client, server)).await;
}

#[tokio::test]
async fn servers_are_told_of_the_client() {
    for (send, send_data) in
        [(SendHeader::V1, true), (SendHeader::V2, false), (SendHeader::V2, true)]
    {
        let site = Site::start(|config| {
            let section = &mut config.listeners[0].proxy_protocol;
            (section.send, section.send_data) = (send, send_data);
        })
        .await;
        let mut client = site.connect(BALANCER).await;
        client.write_all(HEADER.as_bytes()).await.unwrap();
        let mut server = site.arrives().await;
        let header = |port: u16| match send {
            SendHeader::V1 => HEADER.replace(" 21\r", &format!(" {port}\r")).into_bytes(),
            _ => {
                let ends = [192, 0, 2, 2, 203, 0, 113, 7, 0x9c, 0x40];
                binary(0x21, 0x11, &[&ends[..], &port.to_be_bytes()].concat())
            }
        };
        let expected = header(21);
        let mut header_sent = vec![0; expected.len()];
        within(server.read_exact(&mut header_sent)).await.unwrap();
        assert_eq!(header_sent, expected);
        say(&mut server, "220 ready\r\n").await;
        hear(&mut client, "220").await;
        log_in(&mut client, &mut server).await;
        let (entry, data) = passive(&site, &mut client, &mut server).await;
        let mut upload = connect(BALANCER, entry).await;
        upload.write_all(format!("{HEADER}a file").as_bytes()).await.unwrap();
        upload.shutdown().await.unwrap();
        let (arriving, _) = within(data.accept()).await.unwrap();
        let ahead = if send_data { header(data.local_addr().unwrap().port()) } else { Vec::new() };
        assert_eq!(rest(arriving).await, [&ahead[..], b"a file"].concat());
        site.stop((client, server)).await;
    }
}

#[tokio::test]
async fn clients_that_nobody_introduces_are_told_of_as_they_are() {
    let site = Site::start(|config| config.listeners[0].proxy_protocol.send = SendHeader::V1).await;
    let client = site.connect([127, 0, 0, 5]).await;
    let near = client.get_ref().local_addr().unwrap();
    let mut server = site.arrives().await;
    let header = hear(&mut server, "PROXY").await;
    let to = site.address;
    let expected = format!("PROXY TCP4 127.0.0.5 127.0.0.1 {} {}\r\n", near.port(), to.port());
    assert_eq!(header, expected);
    drop(client);
    site.stop(()).await;
}

/// Two gateways in a row would be a loop if the second were the first (case 48).
#[tokio::test]
async fn case_48_a_header_does_not_hide_a_loop() {
    let mut site = Site::start(|config| {
        let listener = &mut config.listeners[0];
        let itself = Network::new(Ipv4Addr::LOCALHOST.into(), 32).unwrap();
        listener.proxy_protocol.accept_from.push(itself);
        listener.proxy_protocol.send = SendHeader::V2;
        listener.server = ftpgate::config::Server::Address {
            host: "127.0.0.1".to_owned(),
            port: listener.listen.port(),
        };
    })
    .await;
    let mut client = site.connect(BALANCER).await;
    client.write_all(HEADER.as_bytes()).await.unwrap();
    assert_eq!(site.ended().await, CloseCause::Loop);
    drop(client);
    site.stop(()).await;
}
