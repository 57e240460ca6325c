//! Another configuration, and the drain, for a gateway on loopback that needs no right.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

use ftpgate::app::{self, RunningGateway};
use ftpgate::config;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Bounds every wait for something that has to come.
const COMES_WITHIN: Duration = Duration::from_secs(10);

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(COMES_WITHIN, what).await.expect("in time")
}

/// A gateway, its file, and its server.
struct Stage {
    gateway: RunningGateway,
    file: PathBuf,
    server: TcpListener,
}

/// A client and its server.
type Session = (BufReader<TcpStream>, BufReader<TcpStream>);

impl Stage {
    async fn new(name: &str, listeners: &[(&str, SocketAddr)]) -> Self {
        let file = std::env::temp_dir().join(format!("ftpgate-{}-{name}.yaml", std::process::id()));
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        write(&file, &server, listeners, "");
        let gateway = app::start(&config::load(&file).unwrap(), None).await.unwrap();
        Self { gateway, file, server }
    }

    async fn reload(
        &mut self,
        listeners: &[(&str, SocketAddr)],
        more: &str,
    ) -> Result<Vec<String>, String> {
        write(&self.file, &self.server, listeners, more);
        self.gateway.reload(&self.file).await
    }

    /// A session that is greeted.
    async fn session(&self, listener: SocketAddr) -> Session {
        let client = within(TcpStream::connect(listener)).await.unwrap();
        let server = within(self.server.accept()).await.unwrap().0;
        let (mut client, mut server) = (BufReader::new(client), BufReader::new(server));
        pass(&mut server, &mut client, "220 ready\r\n").await;
        (client, server)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

fn write(file: &PathBuf, server: &TcpListener, listeners: &[(&str, SocketAddr)], more: &str) {
    let server = server.local_addr().unwrap();
    let mut text = String::from(
        "firewall: { backend: none }\ntelemetry: { listen: null }\ndata: { path: relay }\nlisteners:\n",
    );
    for (name, listen) in listeners {
        text += &format!("  - {{ name: {name}, listen: \"{listen}\", server: \"{server}\" }}\n");
    }
    std::fs::write(file, text + more).unwrap();
}

/// An address that nobody listens on.
async fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap()
}

async fn pass(from: &mut BufReader<TcpStream>, to: &mut BufReader<TcpStream>, line: &str) {
    within(from.write_all(line.as_bytes())).await.unwrap();
    hear(to, line).await;
}

async fn hear(who: &mut BufReader<TcpStream>, start: &str) {
    let mut line = String::new();
    within(who.read_line(&mut line)).await.unwrap();
    assert!(line.starts_with(start), "{line:?} instead of {start}");
}

/// The socket of a listener that stops is closed a moment later.
async fn is_refused(address: SocketAddr) {
    let refused = async {
        loop {
            match TcpStream::connect(address).await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
                Ok(_) | Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    within(refused).await;
}

#[tokio::test]
async fn listeners_come_and_go_beside_sessions_that_go_on() {
    let (a, b) = (free().await, free().await);
    let mut stage = Stage::new("come-and-go", &[("a", a)]).await;
    let (mut client, mut server) = stage.session(a).await;
    let changes = stage.reload(&[("b", b)], "limits: { line: 600 }\n").await.unwrap();
    assert_eq!(
        changes,
        ["limits.line: 4160 -> 600", "listeners[a]: removed", "listeners[b]: added"]
    );
    assert_eq!(stage.gateway.listeners(), [b]);
    is_refused(a).await;
    // The old session takes a line that a new one does not.
    let long = format!("NOOP {}\r\n", "x".repeat(1000));
    pass(&mut client, &mut server, &long).await;
    let (mut new_client, _new_server) = stage.session(b).await;
    within(new_client.write_all(long.as_bytes())).await.unwrap();
    hear(&mut new_client, "500 ").await;
    drop((client, server, new_client));
    within(async { stage.gateway.drain().await }).await;
}

#[tokio::test]
async fn a_new_file_that_cannot_be_had_as_a_whole_changes_nothing() {
    let (a, taken) = (free().await, TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
    let mut stage = Stage::new("bad", &[("a", a)]).await;
    let (mut client, mut server) = stage.session(a).await;
    let refused =
        stage.reload(&[("a", a)], "limits: { lines: 600 }\npolicy: x\n").await.unwrap_err();
    for told in [".yaml:6:", "limits.lines", ".yaml:7:", "policy"] {
        assert!(refused.contains(told), "{refused}");
    }
    let taken = taken.local_addr().unwrap();
    let both = [("b", free().await), ("c", taken)];
    let refused = stage.reload(&both, "").await.unwrap_err();
    assert!(refused.contains("listener c: cannot listen on"), "{refused}");
    is_refused(both[0].1).await;
    let refused = stage.reload(&[("a", a)], "tls: { ca: { key: none } }\n").await;
    assert_eq!(refused.unwrap().len(), 1, "no listener needs it");
    assert_eq!(stage.gateway.listeners(), [a]);
    pass(&mut client, &mut server, "NOOP\r\n").await;
    drop((client, server, stage.session(a).await));
}

/// What a client is answered to PASV.
async fn passive((mut client, mut server): Session) -> String {
    pass(&mut client, &mut server, "USER a\r\n").await;
    pass(&mut server, &mut client, "230 in\r\n").await;
    within(client.write_all(b"PASV\r\n")).await.unwrap();
    let mut answer = String::new();
    tokio::select! {
        read = within(client.read_line(&mut answer)) => { read.unwrap(); }
        () = hear(&mut server, "PASV") => {
            within(server.write_all(b"227 ok (127,0,0,1,195,80)\r\n")).await.unwrap();
            within(client.read_line(&mut answer)).await.unwrap();
        }
    }
    answer
}

#[tokio::test]
async fn an_external_address_that_is_not_known_stops_neither_a_start_nor_a_reload() {
    let a = free().await;
    let unknown = [("a, advertise: { client: nosuch0 }", a)];
    let mut stage = Stage::new("external", &unknown).await;
    let told = |stage: &Stage| stage.gateway.notices().join("\n");
    assert!(told(&stage).contains("listeners[a].advertise.client: interface nosuch0 has no"));
    let answer = passive(stage.session(a).await).await;
    assert!(answer.starts_with("425 "), "{answer}");
    let fixed = [("a, advertise: { client: { 127.0.0.1: 203.0.113.9 } }", a)];
    let changes = stage.reload(&fixed, "").await.unwrap();
    assert_eq!(changes, ["listeners[a].advertise.client: nosuch0 -> { 127.0.0.1: 203.0.113.9 }"]);
    assert!(!told(&stage).contains("nosuch0"));
    let answer = passive(stage.session(a).await).await;
    assert!(answer.starts_with("227 ok (203,0,113,9,"), "{answer}");
    stage.reload(&unknown, "").await.unwrap();
    assert!(told(&stage).contains("nosuch0"));
    let answer = passive(stage.session(a).await).await;
    assert!(answer.starts_with("425 "), "{answer}");
}

#[tokio::test]
async fn a_listener_that_moves_onto_its_own_port_is_told_what_stands_in_its_way() {
    let a = free().await;
    let mut stage = Stage::new("wider", &[("a", a)]).await;
    let wide = SocketAddr::from((Ipv4Addr::UNSPECIFIED, a.port()));
    let refused = stage.reload(&[("a", wide)], "").await.unwrap_err();
    let told = format!("listener a: {wide} cannot be listened on beside {a}, where this gateway");
    assert!(refused.starts_with(&told) && refused.lines().count() == 1, "{refused}");
    drop(stage.session(a).await);
}

#[tokio::test]
async fn a_drain_waits_for_the_reply_that_is_due_and_for_no_client() {
    let a = free().await;
    let stage = Stage::new("drain", &[("a", a)]).await;
    let (mut idle, _server) = stage.session(a).await;
    let (mut client, mut server) = stage.session(a).await;
    pass(&mut client, &mut server, "NOOP\r\n").await;
    let peers = async {
        hear(&mut idle, "421 ").await;
        is_refused(a).await;
        pass(&mut server, &mut client, "200 ok\r\n").await;
        hear(&mut client, "421 ").await;
        assert_eq!(within(client.read(&mut [0; 1])).await.unwrap(), 0);
        drop((idle, client));
    };
    within(async { tokio::join!(stage.gateway.drain(), peers) }).await;
}

#[tokio::test]
async fn proxy_headers_are_a_matter_of_new_sessions() {
    const HEADER: &str = "PROXY TCP4 192.0.2.2 203.0.113.7 40000 21\r\n";
    let a = free().await;
    let mut stage = Stage::new("headers", &[("a", a)]).await;
    let (mut client, mut server) = stage.session(a).await;
    let keys = "proxy_protocol: { accept_from: [127.0.0.1], send: v1 }, server: \"";
    let text = std::fs::read_to_string(&stage.file).unwrap().replace("server: \"", keys);
    std::fs::write(&stage.file, text).unwrap();
    let changes = stage.gateway.reload(&stage.file).await.unwrap();
    let expected = [
        "listeners[a].proxy_protocol.accept_from: [] -> [127.0.0.1/32]",
        "listeners[a].proxy_protocol.send: none -> v1",
    ];
    assert_eq!(changes, expected);
    pass(&mut client, &mut server, "USER a\r\n").await;

    let mut introduced = BufReader::new(within(TcpStream::connect(a)).await.unwrap());
    within(introduced.write_all(HEADER.as_bytes())).await.unwrap();
    let mut server = BufReader::new(within(stage.server.accept()).await.unwrap().0);
    hear(&mut server, HEADER).await;
    pass(&mut server, &mut introduced, "220 ready\r\n").await;
}
