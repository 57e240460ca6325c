//! The ranges that these tests open, and connections through them.

use crate::hello::{hear_hello, listen, say_hello};
use crate::netns::{Lab, Namespace, at};
use crate::table;
use ftpgate::firewall::{BlindRange, Firewall, FlowEvent, Settings};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Inside the range.
pub(crate) const PORT: u16 = 60_042;

pub(crate) fn settings() -> Settings {
    Settings { blind_ports: "60000-60100".parse().ok(), ..table::settings() }
}

/// The client dials the server's own address, and the server sees the gateway.
pub(crate) fn through_nat(plan: &at::Plan) -> BlindRange {
    let at::Plan { client, server, gateway_server, .. } = *plan;
    BlindRange { client, entry: server, server, source: gateway_server }
}

/// The client dials the gateway, each port of which leads to the same port of the server.
pub(crate) fn one_to_one(plan: &at::Plan) -> BlindRange {
    BlindRange { entry: plan.gateway_client, ..through_nat(plan) }
}

/// Does this on the gateway for each kind of range in both families, each time with a firewall of its
/// own and a server that listens behind the range.
pub(crate) fn for_each_range(
    lab: &Lab,
    deed: impl AsyncFn(Firewall, BlindRange, &TcpListener) + Sync,
) {
    for plan in [at::v4(), at::v6()] {
        let listener = listen(&lab.server, SocketAddr::new(plan.server, PORT));
        for range in [through_nat(&plan), one_to_one(&plan)] {
            lab.gateway.block_on(async || {
                deed(Firewall::start(&settings()).unwrap(), range, &listener).await;
            });
        }
    }
}

/// Holds a range and does not listen.
pub(crate) fn nobody() -> mpsc::UnboundedSender<FlowEvent> {
    mpsc::unbounded_channel().0
}

pub(crate) fn dial(from: &Namespace, entry: IpAddr, port: u16) -> std::io::Result<TcpStream> {
    from.run(|| say_hello(SocketAddr::new(entry, port)))
}

/// Both ends hear each other.
pub(crate) fn talk(client: &mut TcpStream, server: &mut TcpStream) {
    let mut word = [0; 4];
    client.write_all(b"more").unwrap();
    server.read_exact(&mut word).unwrap();
    server.write_all(b"back").unwrap();
    client.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"back");
}

/// Dials, and returns both ends of the connection and whom the server sees.
#[track_caller]
pub(crate) fn connect(
    lab: &Lab,
    entry: IpAddr,
    port: u16,
    listener: &TcpListener,
) -> (TcpStream, TcpStream, SocketAddr) {
    let mut stream = dial(&lab.client, entry, port).expect("the range is open");
    let (mut accepted, from) = hear_hello(listener);
    talk(&mut stream, &mut accepted);
    (stream, accepted, from)
}
