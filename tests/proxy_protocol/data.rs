//! Whose data connections pass the balancer.

use crate::site::{
    BALANCER, HEADER, Site, binary, connect, log_in, passive, rest, try_connect, within,
};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

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
