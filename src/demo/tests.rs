//! The demo's client and server against each other over loopback, with no gateway between.

use super::client::{Arrangement, Client, ClientError};
use super::dialogue::{PATIENCE, Record, Said};
use super::server::{Files, Server};
use rstest::rstest;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

async fn start(address: SocketAddr) -> (SocketAddr, Files, Record) {
    let (files, record) = (Files::default(), Record::default());
    let server = Server::bind(address, files.clone(), record.clone()).await.unwrap();
    let address = server.address().unwrap();
    tokio::spawn(server.run());
    (address, files, record)
}

async fn start_v4() -> (SocketAddr, Files, Record) {
    start((Ipv4Addr::LOCALHOST, 0).into()).await
}

fn content(length: usize) -> Vec<u8> {
    (0_u8..=250).cycle().take(length).collect()
}

#[rstest]
#[case::pasv(Arrangement::Pasv)]
#[case::epsv(Arrangement::Epsv)]
#[case::port(Arrangement::Port)]
#[case::eprt(Arrangement::Eprt)]
#[tokio::test]
async fn both_directions(#[case] arrangement: Arrangement, #[values(0, 1, 1 << 20)] length: usize) {
    let (address, files, record) = start_v4().await;
    files.put("down", content(length));
    let mut client = Client::login(address, Record::default()).await.unwrap();
    assert_eq!(client.download(arrangement, "down").await.unwrap(), content(length));
    client.upload(arrangement, "up", &content(length)).await.unwrap();
    client.quit().await.unwrap();
    assert_eq!(files.get("up").unwrap().as_slice(), content(length));

    let received: Vec<String> = record
        .take()
        .into_iter()
        .filter_map(|(said, line)| (said == Said::Received).then_some(line))
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    let verb = arrangement.verb();
    assert_eq!(received, ["USER", "PASS", "TYPE", verb, "RETR", verb, "STOR", "QUIT"]);
}

#[rstest]
#[case::epsv(Arrangement::Epsv)]
#[case::eprt(Arrangement::Eprt)]
#[tokio::test]
async fn ipv6(#[case] arrangement: Arrangement) {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_err() {
        eprintln!("SKIPPED: this host has no IPv6 loopback");
        return;
    }
    let (address, files, _) = start((Ipv6Addr::LOCALHOST, 0).into()).await;
    files.put("down", content(70_000));
    let mut client = Client::login(address, Record::default()).await.unwrap();
    assert_eq!(client.download(arrangement, "down").await.unwrap(), content(70_000));
}

#[tokio::test]
async fn a_missing_file_is_an_error_and_the_session_goes_on() {
    let (address, files, _) = start_v4().await;
    let mut client = Client::login(address, Record::default()).await.unwrap();
    let error = client.download(Arrangement::Pasv, "absent").await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { reply, .. } if reply.starts_with("550")));
    client.upload(Arrangement::Pasv, "present", b"x").await.unwrap();
    assert_eq!(files.get("present").unwrap().as_slice(), b"x");
}

/// Speaks to the server line by line, for what the client of the demo never says.
struct Raw(BufReader<TcpStream>);

impl Raw {
    async fn login(address: SocketAddr) -> Self {
        let mut raw = Self(BufReader::new(TcpStream::connect(address).await.unwrap()));
        raw.reply().await;
        assert!(raw.say("USER x").await.starts_with("331"));
        assert!(raw.say("PASS x").await.starts_with("230"));
        raw
    }

    async fn say(&mut self, line: &str) -> String {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        self.reply().await
    }

    async fn reply(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.0.read_line(&mut line)).await.unwrap().unwrap();
        line.trim_end().to_owned()
    }
}

#[tokio::test]
async fn case_6_port_to_a_third_address_is_refused() {
    let (address, _, _) = start_v4().await;
    let mut raw = Raw::login(address).await;
    assert!(raw.say("PORT 192,0,2,9,10,10").await.starts_with("504"));
    assert!(raw.say("EPRT |1|192.0.2.9|2570|").await.starts_with("504"));
    assert!(raw.say("PORT 1,2,3").await.starts_with("501"));
    assert!(raw.say("RETR x").await.starts_with("550"));
}

#[tokio::test]
async fn case_10_a_stranger_on_the_data_port_gets_nothing() {
    let (address, files, _) = start_v4().await;
    files.put("file", b"content".to_vec());
    let mut raw = Raw::login(address).await;
    let reply = raw.say("EPSV").await;
    let port: u16 = reply.split('|').nth(3).unwrap().parse().unwrap();

    let stranger = TcpSocket::new_v4().unwrap();
    stranger.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let mut stranger = stranger.connect((Ipv4Addr::LOCALHOST, port).into()).await.unwrap();
    let mut rightful = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();

    assert!(raw.say("RETR file").await.starts_with("150"));
    let mut got = Vec::new();
    timeout(PATIENCE, rightful.read_to_end(&mut got)).await.unwrap().unwrap();
    assert_eq!(got, b"content");
    assert!(raw.reply().await.starts_with("226"));
    let mut stolen = Vec::new();
    let _ = timeout(PATIENCE, stranger.read_to_end(&mut stolen)).await.unwrap();
    assert_eq!(stolen, b"");
}

#[tokio::test]
async fn case_46_abor_ends_a_transfer_and_stores_nothing() {
    let (address, files, _) = start_v4().await;
    let mut raw = Raw::login(address).await;
    let reply = raw.say("EPSV").await;
    let port: u16 = reply.split('|').nth(3).unwrap().parse().unwrap();
    let mut data = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    assert!(raw.say("STOR half").await.starts_with("150"));
    data.write_all(b"half of it").await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(raw.say("ABOR").await.starts_with("426"));
    assert!(raw.reply().await.starts_with("226"));
    assert!(files.get("half").is_none());
    assert!(raw.say("NOOP").await.starts_with("200"));
}

#[tokio::test]
async fn restart_size_and_listing() {
    let (address, files, _) = start_v4().await;
    files.put("file", b"0123456789".to_vec());
    let mut raw = Raw::login(address).await;
    assert_eq!(raw.say("SIZE file").await, "213 10");
    for (before, command, expected) in [
        ("REST 7", "RETR file", "789"),
        ("NOOP", "NLST", "file\r\n"),
        ("NOOP", "LIST", "-rw-r--r-- 1 ftp ftp         10 Jan  1  2026 file\r\n"),
    ] {
        let reply = raw.say("EPSV").await;
        let port: u16 = reply.split('|').nth(3).unwrap().parse().unwrap();
        let mut data = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        raw.say(before).await;
        assert!(raw.say(command).await.starts_with("150"), "{command}");
        let mut got = String::new();
        timeout(PATIENCE, data.read_to_string(&mut got)).await.unwrap().unwrap();
        assert_eq!(got, expected);
        assert!(raw.reply().await.starts_with("226"));
    }
    raw.say("REST 11").await;
    assert!(raw.say("RETR file").await.starts_with("554"));
}

#[tokio::test]
async fn case_13_commands_during_a_transfer_wait_their_turn() {
    let (address, files, _) = start_v4().await;
    files.put("file", b"content".to_vec());
    let mut raw = Raw::login(address).await;
    raw.say("EPSV").await;
    // No data connection is dialled: the transfer waits, and the commands with it.
    assert!(raw.say("RETR file\r\nNOOP\r\nSIZE file\r\nABOR").await.starts_with("150"));
    for expected in ["426", "226", "200", "213 7"] {
        let reply = raw.reply().await;
        assert!(reply.starts_with(expected), "{reply} for {expected}");
    }
}

#[tokio::test]
async fn both_sides_note_the_data_connection() {
    let (address, files, server_record) = start_v4().await;
    files.put("file", b"content".to_vec());
    for arrangement in [Arrangement::Pasv, Arrangement::Port] {
        let client_record = Record::default();
        let mut client = Client::login(address, client_record.clone()).await.unwrap();
        client.download(arrangement, "file").await.unwrap();
        let noted = |record: &Record| -> Vec<String> {
            let all = record.take().into_iter();
            all.filter_map(|(said, text)| (said == Said::Data).then_some(text)).collect()
        };
        let seen = noted(&client_record);
        assert_eq!(seen.len(), 1);
        assert_eq!(seen, noted(&server_record), "no gateway between: both see the same");
    }
}
