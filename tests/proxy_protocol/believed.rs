//! Whom the gateway takes for the client of a session: the one in the balancer's header, and nobody
//! in anybody else's.

use crate::site::{BALANCER, HEADER, Site, binary, hear, log_in, rest, say};
use ftpgate::report::CloseCause;
use std::net::{IpAddr, SocketAddr};
use tokio::io::AsyncWriteExt;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
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
