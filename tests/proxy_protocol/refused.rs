//! What is no header of the balancer's, and what comes too slowly to be one.

use crate::site::{BALANCER, HEADER, SIGNATURE, Site, binary, log_in, rest};
use ftpgate::report::CloseCause;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

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
