//! A whole gateway on loopback with the relay path, between a client and a server in one hand:
//! what only shows where sockets are real.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

use ftpgate::app;
use ftpgate::config::Config;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

/// Bounds every wait for something that has to come.
const COMES_WITHIN: Duration = Duration::from_secs(10);

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(COMES_WITHIN, what).await.expect("in time")
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn say(to: &mut BufReader<TcpStream>, line: &str) {
    within(to.write_all(line.as_bytes())).await.unwrap();
}

async fn hear(from: &mut BufReader<TcpStream>, start: &str) -> String {
    let mut line = String::new();
    within(from.read_line(&mut line)).await.unwrap();
    assert!(line.starts_with(start), "{line:?} instead of {start}");
    line
}

/// The port of a 229.
fn port_of(reply: &str) -> u16 {
    reply.split('|').nth(3).unwrap().parse().unwrap()
}

#[tokio::test]
async fn case_45_a_session_that_only_waits_for_its_data_has_hung_up() {
    let (control, server_address) = listen().await;
    let (data, data_address) = listen().await;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = Config::for_server(any, &server_address.to_string()).unwrap();
    let gateway = app::start(&config, None).await.unwrap();
    let free = gateway.listeners()[0];
    let mut client = BufReader::new(within(TcpStream::connect(free)).await.unwrap());
    let mut server = BufReader::new(within(control.accept()).await.unwrap().0);
    for (command, reply) in [
        ("", "220 ready\r\n"),
        ("USER a\r\n", "230 in\r\n"),
        ("EPSV\r\n", &format!("229 ok (|||{}|)\r\n", data_address.port())),
    ] {
        if !command.is_empty() {
            say(&mut client, command).await;
            hear(&mut server, command).await;
        }
        say(&mut server, reply).await;
        if !command.starts_with("EPSV") {
            hear(&mut client, reply).await;
        }
    }
    let entry = SocketAddr::new(free.ip(), port_of(&hear(&mut client, "229").await));
    let mut upload = within(TcpStream::connect(entry)).await.unwrap();
    let mut arriving = within(data.accept()).await.unwrap().0;

    // The client's control connection breaks; its data connection goes on.
    client.get_ref().set_zero_linger().unwrap();
    drop(client);
    assert_eq!(within(server.read(&mut [0; 1])).await.unwrap(), 0);
    let hung_up = async {
        // A gateway that still held this connection would take it all.
        while server.write_all(b"226 done\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(hung_up).await;
    let mut word = [0; 4];
    within(upload.write_all(b"more")).await.unwrap();
    within(arriving.read_exact(&mut word)).await.unwrap();
    assert_eq!(&word, b"more");

    // The gateway ends with the upload half done, and the server must not take it for whole.
    within(gateway.shutdown()).await;
    let end = within(arriving.read(&mut word)).await;
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_gateway_that_stops_hangs_up_when_its_clients_have_had_the_farewell() {
    let (control, server_address) = listen().await;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = Config::for_server(any, &server_address.to_string()).unwrap();
    let gateway = app::start(&config, None).await.unwrap();
    let free = gateway.listeners()[0];
    let mut client = BufReader::new(within(TcpStream::connect(free)).await.unwrap());
    let mut server = BufReader::new(within(control.accept()).await.unwrap().0);
    say(&mut server, "220 ready\r\n").await;
    hear(&mut client, "220 ready").await;
    let stopping = tokio::spawn(gateway.shutdown());
    hear(&mut client, "421 ").await;
    // What the client still says meets no reset, which could overtake the farewell.
    for _ in 0..3 {
        say(&mut client, "NOOP\r\n").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(client);
    within(stopping).await.unwrap();
}

/// A client whose queue is full loses the first SYN of the data connection, so that it is dialled
/// for a second while the server is through with a short listing.
#[tokio::test]
async fn a_short_listing_is_not_reported_done_ahead_of_its_data_connection() {
    let (control, server_address) = listen().await;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let queue = socket.listen(0).unwrap();
    let client_address = queue.local_addr().unwrap();
    let _filler = within(TcpStream::connect(client_address)).await.unwrap();

    let config = Config::for_server(any, &server_address.to_string()).unwrap();
    let gateway = app::start(&config, None).await.unwrap();
    let free = gateway.listeners()[0];
    let mut client = BufReader::new(within(TcpStream::connect(free)).await.unwrap());
    let mut server = BufReader::new(within(control.accept()).await.unwrap().0);
    say(&mut server, "220 ready\r\n").await;
    hear(&mut client, "220").await;
    let eprt = format!("EPRT |1|127.0.0.1|{}|\r\n", client_address.port());
    let mut entry = None;
    for (command, reply) in
        [("USER a\r\n", "230 in\r\n"), (&eprt, "200 ok\r\n"), ("LIST\r\n", "150 here\r\n")]
    {
        say(&mut client, command).await;
        let heard = hear(&mut server, command.split(' ').next().unwrap().trim_end()).await;
        if command.starts_with("EPRT") {
            entry = Some(SocketAddr::new(free.ip(), port_of(&heard)));
        }
        say(&mut server, reply).await;
        hear(&mut client, reply).await;
    }
    let mut listing = within(TcpStream::connect(entry.unwrap())).await.unwrap();
    within(listing.write_all(b"a file\r\n")).await.unwrap();
    drop(listing);
    say(&mut server, "226 done\r\n").await;

    let early = timeout(Duration::from_millis(300), client.fill_buf()).await;
    assert!(early.is_err(), "the client hears {early:?} before it is dialled");
    drop(within(queue.accept()).await.unwrap());
    let mut data = within(queue.accept()).await.unwrap().0;
    hear(&mut client, "226 done").await;
    let mut listed = String::new();
    within(data.read_to_string(&mut listed)).await.unwrap();
    assert_eq!(listed, "a file\r\n");
    within(gateway.shutdown()).await;
}

/// A server that takes no connection, as if it were behind a filter that drops packets.
#[tokio::test]
async fn a_gateway_that_stops_does_not_wait_for_a_server_that_is_being_dialled() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let queue = socket.listen(0).unwrap();
    let server_address = queue.local_addr().unwrap();
    let _filler = within(TcpStream::connect(server_address)).await.unwrap();

    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = Config::for_server(any, &server_address.to_string()).unwrap();
    let gateway = app::start(&config, None).await.unwrap();
    let free = gateway.listeners()[0];
    let mut client = BufReader::new(within(TcpStream::connect(free)).await.unwrap());
    // What a client says ahead of the greeting is heard.
    let mut browser = BufReader::new(within(TcpStream::connect(free)).await.unwrap());
    say(&mut browser, "GET / HTTP/1.1\r\n").await;
    hear(&mut browser, "500 ").await;
    let stopping = tokio::spawn(gateway.shutdown());
    hear(&mut client, "421 ").await;
    drop((client, browser));
    within(stopping).await.unwrap();
}
