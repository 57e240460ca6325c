//! The headers that the gateway writes itself: to servers, and to itself in a loop.

use crate::site::{
    BALANCER, HEADER, Site, binary, connect, hear, log_in, passive, rest, say, within,
};
use ftpgate::config::{Network, SendHeader};
use ftpgate::report::CloseCause;
use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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
