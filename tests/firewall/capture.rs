//! Connections that are delivered to listeners of the gateway: data connections by a pinhole, control
//! connections by their port.

use crate::ROUTES;
use crate::hello::{COMES_WITHIN, accept, hear_hello, listen, say_hello};
use crate::netns::{Lab, at, privileged};
use crate::opening::{OPEN, watcher};
use crate::table::{MARK, settings};
use ftpgate::firewall::{Capture, CaptureKind, Firewall, Intake, Opening, Settings};
use ftpgate::net::routing::PolicyRouting;
use ftpgate::pinhole::Pinhole;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener};

fn transparent(domain: Domain, at: SocketAddr) -> TcpListener {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).unwrap();
    if at.is_ipv4() {
        socket.set_ip_transparent_v4(true).unwrap();
    } else {
        socket.set_ip_transparent_v6(true).unwrap();
    }
    socket.bind(&at.into()).unwrap();
    socket.listen(16).unwrap();
    socket.into()
}

#[test]
fn a_capture_delivers_the_first_connection_to_the_data_listener() {
    privileged("capture::a_capture_delivers_the_first_connection_to_the_data_listener", || {
        let lab = Lab::build();
        let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
        let intake = lab.gateway.run(|| transparent(Domain::IPV6, both));
        let port = intake.local_addr().unwrap().port();
        let settings = Settings {
            intake: Some(Intake { v4: Some(port), v6: Some(port) }),
            transparent: true,
            ..settings()
        };
        for plan in [at::v4(), at::v6()] {
            // The data listener's own port, too, dialled on the server's address.
            for entry_port in [5001, port] {
                let entry = SocketAddr::new(plan.server, entry_port);
                let server = listen(&lab.server, entry);
                let pinhole = Pinhole { peer: plan.client, entry };
                let opening = Opening::Capture { pinhole };
                lab.gateway.block_on(async || {
                    let routing = PolicyRouting::install(MARK, ROUTES).await.unwrap();
                    let firewall = Firewall::start(&settings).unwrap();
                    firewall.open(opening, OPEN, watcher().0).await.unwrap();
                    let mut stream = lab.client.run(|| say_hello(entry)).unwrap();
                    let (mut accepted, from) = hear_hello(&intake);
                    let local = accepted.local_addr().unwrap();
                    assert_eq!(Pinhole::between(from, local), pinhole);
                    accepted.write_all(b"back").unwrap();
                    let mut word = [0; 4];
                    stream.read_exact(&mut word).unwrap();
                    // Nothing else is captured: the server itself answers.
                    let _second = lab.client.run(|| say_hello(entry)).unwrap();
                    hear_hello(&server);
                    let _third = lab.stranger.run(|| say_hello(entry)).unwrap();
                    hear_hello(&server);
                    firewall.close(opening).await.unwrap();
                    routing.remove().await.unwrap();
                });
            }
        }
    });
}

#[test]
fn a_forwarded_connection_to_the_port_of_a_data_listener_is_not_captured() {
    privileged(
        "capture::a_forwarded_connection_to_the_port_of_a_data_listener_is_not_captured",
        || {
            let lab = Lab::build();
            let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 5001);
            let _intake = lab.gateway.run(|| transparent(Domain::IPV6, both));
            let settings = Settings {
                intake: Some(Intake { v4: Some(5001), v6: Some(5001) }),
                captures: vec![Capture {
                    kind: CaptureKind::Tproxy,
                    ports: vec![5001],
                    to: both,
                    dual: true,
                }],
                transparent: true,
                ..settings()
            };
            for plan in [at::v4(), at::v6()] {
                let target = SocketAddr::new(plan.server, 5001);
                let server = listen(&lab.server, target);
                let pinhole = Pinhole { peer: plan.client, entry: target };
                let opening = Opening::Forward { pinhole, target, source: plan.client };
                lab.gateway.block_on(async || {
                    let routing = PolicyRouting::install(MARK, ROUTES).await.unwrap();
                    let firewall = Firewall::start(&settings).unwrap();
                    firewall.open(opening, OPEN, watcher().0).await.unwrap();
                    let _stream = lab.client.run(|| say_hello(target)).unwrap();
                    hear_hello(&server);
                    routing.remove().await.unwrap();
                });
            }
        },
    );
}

#[test]
fn control_connections_are_steered_to_their_listeners() {
    privileged("capture::control_connections_are_steered_to_their_listeners", || {
        let lab = Lab::build();
        let any = |port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let [tproxy, redirect] =
            [2121, 2122].map(|port| lab.gateway.run(|| transparent(Domain::IPV6, any(port))));
        let settings = Settings {
            captures: vec![
                Capture {
                    kind: CaptureKind::Tproxy,
                    ports: vec![21, 990],
                    to: any(2121),
                    dual: true,
                },
                Capture {
                    kind: CaptureKind::Redirect,
                    ports: vec![2021],
                    to: any(2122),
                    dual: true,
                },
            ],
            transparent: true,
            ..settings()
        };
        for plan in [at::v4(), at::v6()] {
            lab.gateway.block_on(async || {
                let routing = PolicyRouting::install(MARK, ROUTES).await.unwrap();
                let _firewall = Firewall::start(&settings).unwrap();
                for port in [21, 990] {
                    let dialled = SocketAddr::new(plan.server, port);
                    let _stream = lab.client.run(|| say_hello(dialled)).unwrap();
                    let (accepted, _) = hear_hello(&tproxy);
                    assert_eq!(
                        ftpgate::addr::canonical(accepted.local_addr().unwrap()),
                        dialled,
                        "the original destination"
                    );
                    // The way back to a connection with another host's address.
                    let server = listen(&lab.server, SocketAddr::new(plan.server, 2100));
                    let from = SocketAddr::new(plan.client, 0);
                    let socket = Socket::new(Domain::for_address(from), Type::STREAM, None);
                    let socket = socket.unwrap();
                    match from {
                        SocketAddr::V4(_) => socket.set_ip_transparent_v4(true).unwrap(),
                        SocketAddr::V6(_) => socket.set_ip_transparent_v6(true).unwrap(),
                    }
                    socket.bind(&from.into()).unwrap();
                    let to = server.local_addr().unwrap();
                    socket.connect_timeout(&to.into(), COMES_WITHIN).unwrap();
                    let (_, seen) = accept(&server).unwrap();
                    assert_eq!(seen.ip(), plan.client);
                }
                let dialled = SocketAddr::new(plan.server, 2021);
                let _stream = lab.client.run(|| say_hello(dialled)).unwrap();
                let (accepted, _) = hear_hello(&redirect);
                let accepted = socket2::SockRef::from(&accepted).original_dst_v4_or_v6(dialled);
                assert_eq!(accepted, dialled);
                routing.remove().await.unwrap();
            });
        }
    });
}

trait OriginalDst {
    fn original_dst_v4_or_v6(&self, like: SocketAddr) -> SocketAddr;
}

impl OriginalDst for socket2::SockRef<'_> {
    fn original_dst_v4_or_v6(&self, like: SocketAddr) -> SocketAddr {
        match like {
            SocketAddr::V4(_) => self.original_dst_v4(),
            SocketAddr::V6(_) => self.original_dst_v6(),
        }
        .unwrap()
        .as_socket()
        .unwrap()
    }
}
