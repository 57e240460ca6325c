//! The firewall against the real kernel, in namespaces of its own: client – gateway – server, and
//! a stranger. Needs root or user namespaces; skips loudly where there are neither.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

#[path = "support/hello.rs"]
mod hello;
#[path = "support/netns.rs"]
mod netns;

use ftpgate::firewall::{
    Capture, CaptureKind, Closed, DemoPolicy, Firewall, FirewallError, FlowEvent, Intake, Opening,
    Settings, install_demo_policy, render,
};
use ftpgate::net::routing::PolicyRouting;
use ftpgate::pinhole::Pinhole;
use hello::{COMES_WITHIN, accept, hear_hello, listen, say_hello};
use netns::{Lab, Namespace, at, privileged};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::sync::mpsc;

const MARK: u32 = 0x2100;
const ROUTES: u32 = 2100;
const OPEN: Duration = Duration::from_secs(10);

fn settings() -> Settings {
    Settings {
        table: "ftpgate".to_owned(),
        mark: MARK,
        captures: Vec::new(),
        intake: None,
        transparent: false,
        blind_ports: None,
    }
}

/// A passive transfer through NAT: the client dials the gateway's port 50000, and the server's port
/// 5001 sees the gateway.
fn through_nat(plan: &at::Plan) -> Opening {
    Opening::Forward {
        pinhole: Pinhole { peer: plan.client, entry: SocketAddr::new(plan.gateway_client, 50_000) },
        target: SocketAddr::new(plan.server, 5001),
        source: plan.gateway_server,
    }
}

fn watcher() -> (mpsc::UnboundedSender<FlowEvent>, mpsc::UnboundedReceiver<FlowEvent>) {
    mpsc::unbounded_channel()
}

async fn next(events: &mut mpsc::UnboundedReceiver<FlowEvent>) -> FlowEvent {
    tokio::time::timeout(COMES_WITHIN, events.recv()).await.expect("an event in time").unwrap()
}

fn policy(lab: &Lab, drop: bool) -> Option<DemoPolicy> {
    drop.then(|| lab.gateway.run(|| install_demo_policy(MARK).unwrap()))
}

fn first_connection_only(name: &str, drop: bool) {
    privileged(name, || {
        let lab = Lab::build();
        let _policy = policy(&lab, drop);
        for plan in [at::v4(), at::v6()] {
            let opening = through_nat(&plan);
            let entry = opening.pinhole().entry;
            let listener = listen(&lab.server, SocketAddr::new(plan.server, 5001));
            lab.gateway.block_on(async || {
                let firewall = Firewall::start(&settings()).unwrap();
                assert!(lab.client.run(|| say_hello(entry)).is_err(), "before it is open");
                firewall.open(opening, OPEN, watcher().0).await.unwrap();
                assert!(lab.stranger.run(|| say_hello(entry)).is_err(), "a stranger");
                let mut stream = lab.client.run(|| say_hello(entry)).unwrap();
                assert_eq!(stream.peer_addr().unwrap(), entry);
                let (mut accepted, from) = hear_hello(&listener);
                assert_eq!(from.ip(), plan.gateway_server);
                assert_eq!(from.port(), stream.local_addr().unwrap().port(), "the port is kept");
                accepted.write_all(b"back").unwrap();
                let mut word = [0; 4];
                stream.read_exact(&mut word).unwrap();
                assert!(lab.client.run(|| say_hello(entry)).is_err(), "a second connection");
                assert!(lab.stranger.run(|| say_hello(entry)).is_err(), "a stranger, later");
                firewall.close(opening).await.unwrap();
                firewall.close(opening).await.unwrap();
                stream.write_all(b"on").unwrap();
                accepted.read_exact(&mut word[..2]).unwrap();
            });
        }
    });
}

#[test]
fn case_10_first_connection_only_forward_policy_accept() {
    first_connection_only("case_10_first_connection_only_forward_policy_accept", false);
}

#[test]
fn case_10_first_connection_only_forward_policy_drop() {
    first_connection_only("case_10_first_connection_only_forward_policy_drop", true);
}

#[test]
fn case_10_an_opening_without_translation_passes_once() {
    privileged("case_10_an_opening_without_translation_passes_once", || {
        let lab = Lab::build();
        let _policy = policy(&lab, true);
        for plan in [at::v4(), at::v6()] {
            let target = SocketAddr::new(plan.server, 5001);
            let listener = listen(&lab.server, target);
            let pinhole = Pinhole { peer: plan.client, entry: target };
            let opening = Opening::Forward { pinhole, target, source: plan.client };
            lab.gateway.block_on(async || {
                let firewall = Firewall::start(&settings()).unwrap();
                firewall.open(opening, OPEN, watcher().0).await.unwrap();
                let stream = lab.client.run(|| say_hello(target)).unwrap();
                let (_, from) = hear_hello(&listener);
                assert_eq!(from, stream.local_addr().unwrap());
                assert!(lab.client.run(|| say_hello(target)).is_err());
            });
        }
    });
}

#[test]
fn case_10_unused_pinholes_expire_and_closed_ones_are_closed() {
    privileged("case_10_unused_pinholes_expire_and_closed_ones_are_closed", || {
        let lab = Lab::build();
        let plan = at::v4();
        let opening = through_nat(&plan);
        let entry = opening.pinhole().entry;
        let listener = listen(&lab.server, SocketAddr::new(plan.server, 5001));
        lab.gateway.block_on(async || {
            let firewall = Firewall::start(&settings()).unwrap();
            firewall.open(opening, Duration::from_millis(300), watcher().0).await.unwrap();
            tokio::time::sleep(Duration::from_millis(400)).await;
            assert!(lab.client.run(|| say_hello(entry)).is_err(), "after its time");
            firewall.close(opening).await.unwrap();
            firewall.open(opening, OPEN, watcher().0).await.unwrap();
            firewall.close(opening).await.unwrap();
            assert!(lab.client.run(|| say_hello(entry)).is_err(), "closed unused");
            // The same key again, over what is still there, with another target and a longer time.
            let elsewhere = Opening::Forward {
                pinhole: opening.pinhole(),
                target: SocketAddr::new(plan.server, 5999),
                source: plan.client,
            };
            firewall.open(elsewhere, Duration::from_millis(300), watcher().0).await.unwrap();
            firewall.open(opening, OPEN, watcher().0).await.unwrap();
            tokio::time::sleep(Duration::from_millis(400)).await;
            let _stream = lab.client.run(|| say_hello(entry)).unwrap();
            let (_, from) = hear_hello(&listener);
            assert_eq!(from.ip(), plan.gateway_server);
            firewall.shutdown();
        });
    });
}

#[test]
fn flows_are_told_with_their_bytes_when_they_start_and_end() {
    privileged("flows_are_told_with_their_bytes_when_they_start_and_end", || {
        const SIZE: u64 = 1 << 20;
        let lab = Lab::build();
        let _policy = policy(&lab, true);
        for plan in [at::v4(), at::v6()] {
            let opening = through_nat(&plan);
            let pinhole = opening.pinhole();
            let listener = listen(&lab.server, SocketAddr::new(plan.server, 5001));
            lab.gateway.block_on(async || {
                let firewall = Firewall::start(&settings()).unwrap();
                assert!(firewall.counts_flows());
                let (sender, mut events) = watcher();
                firewall.open(opening, OPEN, sender).await.unwrap();
                let mut stream = lab.client.run(|| say_hello(pinhole.entry)).unwrap();
                assert_eq!(next(&mut events).await, FlowEvent::Started(pinhole));
                firewall.close(opening).await.unwrap();
                let (mut accepted, _) = hear_hello(&listener);
                let download = lab.server.spawn(move || {
                    accepted.write_all(&vec![7; 1 << 20]).unwrap();
                });
                let read = io::copy(&mut stream, &mut io::sink()).unwrap();
                assert_eq!(read, SIZE);
                download.join().unwrap();
                drop(stream);
                let FlowEvent::Ended { pinhole: ended, orderly, bytes } = next(&mut events).await
                else {
                    panic!("started twice");
                };
                assert_eq!((ended, orderly), (pinhole, true));
                let bytes = bytes.expect("accounting is on");
                assert!((SIZE..SIZE + SIZE / 8).contains(&bytes.reply), "{bytes:?}");
                assert!((200..SIZE / 8).contains(&bytes.original), "{bytes:?}");
                assert_eq!(events.recv().await, None, "nothing more is told");
            });
        }
    });
}

/// Conntrack tells nothing of a first packet that the owner's policy drops, and a gateway where every
/// one is dropped hears nothing at all.
#[test]
fn a_used_pinhole_whose_connection_is_dropped_is_told_as_missed() {
    privileged("a_used_pinhole_whose_connection_is_dropped_is_told_as_missed", || {
        let lab = Lab::build();
        let _policy = lab.gateway.run(|| install_demo_policy(MARK + 2).unwrap());
        let opening = through_nat(&at::v4());
        let pinhole = opening.pinhole();
        lab.gateway.block_on(async || {
            let firewall = Firewall::start(&settings()).unwrap();
            let (sender, mut events) = watcher();
            firewall.open(opening, OPEN, sender).await.unwrap();
            assert!(lab.client.run(|| say_hello(pinhole.entry)).is_err(), "dropped");
            assert_eq!(firewall.close(opening).await, Ok(Closed::Gone));
            assert_eq!(next(&mut events).await, FlowEvent::Missed(pinhole));
        });
    });
}

#[test]
fn case_46_a_reset_is_told_as_no_orderly_end() {
    privileged("case_46_a_reset_is_told_as_no_orderly_end", || {
        let lab = Lab::build();
        let plan = at::v4();
        let opening = through_nat(&plan);
        let pinhole = opening.pinhole();
        let listener = listen(&lab.server, SocketAddr::new(plan.server, 5001));
        lab.gateway.block_on(async || {
            let firewall = Firewall::start(&settings()).unwrap();
            // Twice through the same pinhole: the first connection's late news are not the second's.
            for _ in 0..2 {
                let (sender, mut events) = watcher();
                firewall.open(opening, OPEN, sender).await.unwrap();
                let stream = lab.client.run(|| say_hello(pinhole.entry)).unwrap();
                let (accepted, _) = hear_hello(&listener);
                firewall.close(opening).await.unwrap();
                assert_eq!(next(&mut events).await, FlowEvent::Started(pinhole));
                let accepted = Socket::from(accepted);
                accepted.set_linger(Some(Duration::ZERO)).unwrap();
                drop(accepted);
                let FlowEvent::Ended { orderly, bytes, .. } = next(&mut events).await else {
                    panic!("started twice");
                };
                assert!(!orderly);
                assert!(bytes.is_some_and(|bytes| bytes.original > 5 && bytes.reply > 0));
                drop(stream);
            }
        });
    });
}

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
    privileged("a_capture_delivers_the_first_connection_to_the_data_listener", || {
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
    privileged("a_forwarded_connection_to_the_port_of_a_data_listener_is_not_captured", || {
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
    });
}

#[test]
fn control_connections_are_steered_to_their_listeners() {
    privileged("control_connections_are_steered_to_their_listeners", || {
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

#[test]
fn policy_routing_replaces_what_a_killed_process_left() {
    privileged("policy_routing_replaces_what_a_killed_process_left", || {
        let namespace = Namespace::new();
        namespace.block_on(async || {
            let left = PolicyRouting::install(MARK, ROUTES).await.unwrap();
            drop(left);
            let again = PolicyRouting::install(MARK, ROUTES + 1).await.unwrap();
            assert_eq!(rules().await, [ROUTES + 1; 2]);
            again.remove().await.unwrap();
            assert!(rules().await.is_empty());
        });
        netns_without_ipv6().block_on(async || {
            let routing = PolicyRouting::install(MARK, ROUTES).await.unwrap();
            routing.remove().await.unwrap();
        });
    });
}

#[test]
fn a_gateway_that_cannot_start_leaves_nothing_behind() {
    privileged("a_gateway_that_cannot_start_leaves_nothing_behind", || {
        let text = "listeners: [{ name: main, listen: \"0.0.0.0:2121\", capture: tproxy }]\n\
                    telemetry: { listen: null }\n";
        let config = ftpgate::config::parse("test", text).unwrap();
        let namespace = Namespace::new();
        namespace.block_on(async || {
            let taken = TcpListener::bind("0.0.0.0:2121").unwrap();
            let error = ftpgate::app::start(&config, None).await.err().unwrap();
            assert!(format!("{error:#}").contains("another process listens there"), "{error:#}");
            assert!(rules().await.is_empty(), "a rule is left behind");
            drop(taken);
            let gateway = ftpgate::app::start(&config, None).await.unwrap();
            assert_eq!(rules().await, [MARK; 2]);
            gateway.shutdown().await;
            assert!(rules().await.is_empty());
        });
    });
}

fn netns_without_ipv6() -> Namespace {
    let namespace = Namespace::new();
    namespace.run(|| {
        netns::set("net/ipv6/conf/all/disable_ipv6", "1");
        netns::set("net/ipv6/conf/lo/disable_ipv6", "1");
    });
    namespace
}

/// The tables that rules with the mark lead to.
async fn rules() -> Vec<u32> {
    use futures_util::TryStreamExt;
    use rtnetlink::packet_route::rule::RuleAttribute;
    let (connection, handle, _) = rtnetlink::new_connection().unwrap();
    tokio::spawn(connection);
    let mut tables = Vec::new();
    for version in [rtnetlink::IpVersion::V4, rtnetlink::IpVersion::V6] {
        let rules: Vec<_> = handle.rule().get(version).execute().try_collect().await.unwrap();
        for rule in rules {
            if rule.attributes.contains(&RuleAttribute::FwMark(MARK)) {
                tables.extend(rule.attributes.iter().filter_map(|attribute| match attribute {
                    RuleAttribute::Table(table) => Some(*table),
                    _ => None,
                }));
            }
        }
    }
    tables
}

/// Set for the child process that is killed.
const VICTIM: &str = "FTPGATE_TEST_VICTIM";

/// Not a test by itself: what the child process of the next one does.
#[test]
fn victim() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let firewall = Firewall::start(&settings()).unwrap();
        let mut second = through_nat(&at::v4());
        if let Opening::Forward { pinhole, .. } = &mut second {
            pinhole.entry.set_port(50_001);
        }
        firewall.open(through_nat(&at::v4()), OPEN, watcher().0).await.unwrap();
        firewall.open(second, OPEN, watcher().0).await.unwrap();
        println!("\nvictim is ready");
        std::thread::sleep(Duration::from_secs(60));
    });
}

#[test]
fn case_47_a_killed_gateway_leaves_transfers_running_and_nothing_open() {
    privileged("case_47_a_killed_gateway_leaves_transfers_running_and_nothing_open", || {
        let lab = Lab::build();
        let _policy = policy(&lab, true);
        let plan = at::v4();
        let listener = listen(&lab.server, SocketAddr::new(plan.server, 5001));
        let mut child = lab.gateway.run(|| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "victim", "--nocapture"])
                .env(VICTIM, "1")
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "victim is ready"));
        let refused = lab.gateway.run(|| Firewall::start(&settings()).map(drop));
        assert_eq!(refused, Err(FirewallError::TableOwned { table: "ftpgate".to_owned() }));
        let entry = through_nat(&plan).pinhole().entry;
        let mut stream = lab.client.run(|| say_hello(entry)).unwrap();
        let (mut accepted, _) = hear_hello(&listener);
        child.kill().unwrap();
        child.wait().unwrap();
        stream.write_all(b"still").unwrap();
        let mut word = [0; 5];
        accepted.read_exact(&mut word).unwrap();
        let unused = SocketAddr::new(entry.ip(), 50_001);
        assert!(lab.client.run(|| say_hello(unused)).is_err(), "open after its owner's death");
        // A restart takes over, beside the running transfer.
        lab.gateway.block_on(async || {
            let firewall = Firewall::start(&settings()).unwrap();
            assert!(lab.client.run(|| say_hello(unused)).is_err());
            firewall.open(through_nat(&plan), OPEN, watcher().0).await.unwrap();
            let _second = lab.client.run(|| say_hello(entry)).unwrap();
            hear_hello(&listener);
            accepted.write_all(b"on").unwrap();
            stream.read_exact(&mut word[..2]).unwrap();
        });
    });
}

#[test]
fn case_47_an_orderly_end_leaves_transfers_running_and_translated() {
    privileged("case_47_an_orderly_end_leaves_transfers_running_and_translated", || {
        let lab = Lab::build();
        for plan in [at::v4(), at::v6()] {
            let opening = through_nat(&plan);
            let listener = listen(&lab.server, SocketAddr::new(plan.server, 5001));
            lab.gateway.block_on(async || {
                // No rule of an owner asks for conntrack or NAT here.
                let firewall = Firewall::start(&settings()).unwrap();
                firewall.open(opening, OPEN, watcher().0).await.unwrap();
                let mut stream = lab.client.run(|| say_hello(opening.pinhole().entry)).unwrap();
                let (mut accepted, from) = hear_hello(&listener);
                assert_eq!(from.ip(), plan.gateway_server);
                firewall.shutdown();
                let mut word = [0; 4];
                for _ in 0..3 {
                    stream.write_all(b"on").unwrap();
                    accepted.read_exact(&mut word[..2]).unwrap();
                    accepted.write_all(b"back").unwrap();
                    stream.read_exact(&mut word).unwrap();
                }
            });
        }
    });
}

#[test]
fn case_47_a_table_left_behind_is_replaced() {
    privileged("case_47_a_table_left_behind_is_replaced", || {
        let lab = Lab::build();
        let plan = at::v4();
        let target = SocketAddr::new(plan.server, 5001);
        let listener = listen(&lab.server, target);
        lab.gateway.run(|| std::mem::forget(install_demo_policy(MARK).unwrap()));
        assert!(lab.client.run(|| say_hello(target)).is_err(), "the policy drops");
        let settings = Settings { table: "demo_owner".to_owned(), ..settings() };
        let firewall = lab.gateway.run(|| Firewall::start(&settings).unwrap());
        let _stream = lab.client.run(|| say_hello(target)).expect("the policy is replaced");
        hear_hello(&listener);
        // The last handle takes the table along, so that another process can have it.
        drop(firewall);
        lab.gateway.run(|| Firewall::start(&settings).unwrap()).shutdown();
    });
}

#[test]
fn without_the_capability_the_error_says_what_to_do() {
    privileged("without_the_capability_the_error_says_what_to_do", || {
        let namespace = Namespace::new();
        let (firewall, routing) = namespace.block_on(async || {
            drop_capabilities();
            let firewall = Firewall::start(&settings()).map(drop);
            (firewall.unwrap_err(), PolicyRouting::install(MARK, ROUTES).await.map(drop))
        });
        assert!(matches!(firewall, FirewallError::Permission { .. }), "{firewall:?}");
        let routing = routing.unwrap_err();
        for text in [firewall.to_string(), routing.to_string()] {
            assert!(text.contains("CAP_NET_ADMIN"), "{text}");
            assert!(text.contains("run as root"), "{text}");
        }
    });
}

/// Takes every capability from the calling thread, and from it alone.
fn drop_capabilities() {
    // struct __user_cap_header_struct of version 3, for this thread; three words for each half.
    let header: [u32; 2] = [0x2008_0522, 0];
    let data = [0u32; 6];
    // SAFETY: both arrays have the layout and size that version 3 asks for.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
    assert_eq!(result, 0);
}

#[test]
fn openings_that_the_kernel_cannot_carry_are_refused_before_it_is_asked() {
    privileged("openings_that_the_kernel_cannot_carry_are_refused_before_it_is_asked", || {
        Namespace::new().block_on(async || {
            let firewall = Firewall::start(&settings()).unwrap();
            let (v4, v6) = (at::v4(), at::v6());
            let pinhole =
                Pinhole { peer: v4.client, entry: SocketAddr::new(v4.gateway_client, 50_000) };
            let mixed = Opening::Forward {
                pinhole,
                target: SocketAddr::new(v6.server, 5001),
                source: v6.gateway_server,
            };
            let result = firewall.open(mixed, OPEN, watcher().0).await;
            assert_eq!(result, Err(FirewallError::MixedFamilies));
            let capture = Opening::Capture { pinhole };
            let result = firewall.open(capture, OPEN, watcher().0).await;
            assert_eq!(result, Err(FirewallError::NoIntake));
            let clone = firewall.clone();
            firewall.shutdown();
            let result = clone.open(through_nat(&v4), OPEN, watcher().0).await;
            assert_eq!(result, Err(FirewallError::Stopped));
            let named = Settings { table: "a b".to_owned(), ..settings() };
            assert!(matches!(Firewall::start(&named), Err(FirewallError::TableName { .. })));
        });
    });
}

/// What `nft` prints; `None` where there is no such program.
fn nft(arguments: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new("nft");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().ok()?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "nft {arguments:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// A ruleset as listed, without what differs between a table with and without an owner.
fn comparable(listing: &str) -> String {
    let lines = listing.lines().filter(|line| {
        let line = line.trim_start();
        !line.is_empty() && line != "flags owner" && !line.starts_with('#')
    });
    lines.map(|line| line.split(" # ").next().unwrap_or_default().to_owned() + "\n").collect()
}

#[test]
fn the_owners_masquerade_leaves_these_connections_alone() {
    privileged("the_owners_masquerade_leaves_these_connections_alone", || {
        let lab = Lab::build();
        let rules = "add table inet owner\n\
                     add chain inet owner nat { type nat hook postrouting priority srcnat; }\n\
                     add rule inet owner nat masquerade\n";
        if lab.gateway.run(|| nft(&["-f", "-"], rules)).is_none() {
            eprintln!("SKIPPED the_owners_masquerade_leaves_these_connections_alone: no `nft`");
            return;
        }
        for plan in [at::v4(), at::v6()] {
            let target = SocketAddr::new(plan.server, 5001);
            let listener = listen(&lab.server, target);
            let pinhole = Pinhole { peer: plan.client, entry: target };
            lab.gateway.block_on(async || {
                let firewall = Firewall::start(&settings()).unwrap();
                let opening = Opening::Forward { pinhole, target, source: plan.client };
                firewall.open(opening, OPEN, watcher().0).await.unwrap();
                for seen in [plan.client, plan.gateway_server] {
                    let _stream = lab.client.run(|| say_hello(target)).unwrap();
                    let (_, from) = hear_hello(&listener);
                    assert_eq!(from.ip(), seen, "the second connection is the owner's");
                }
            });
        }
    });
}

#[test]
fn nothing_stays_behind_where_nothing_runs() {
    privileged("nothing_stays_behind_where_nothing_runs", || {
        Namespace::new().run(|| {
            let Some(before) = nft(&["list", "ruleset"], "") else {
                eprintln!(
                    "SKIPPED nothing_stays_behind_where_nothing_runs: there is no `nft` here"
                );
                return;
            };
            let firewall = Firewall::start(&settings()).unwrap();
            assert_ne!(nft(&["list", "ruleset"], "").unwrap(), before);
            drop(firewall);
            assert_eq!(nft(&["list", "ruleset"], "").unwrap(), before);
        });
    });
}

#[test]
fn the_rendered_text_is_what_is_installed() {
    privileged("the_rendered_text_is_what_is_installed", || {
        if nft(&["--version"], "").is_none() {
            eprintln!("SKIPPED the_rendered_text_is_what_is_installed: there is no `nft` here");
            return;
        }
        let to = |text: &str| text.parse::<SocketAddr>().unwrap();
        let capture = |kind, ports: &[u16], at| Capture {
            kind,
            ports: ports.to_vec(),
            to: to(at),
            dual: false,
        };
        let settings = Settings {
            captures: vec![
                capture(CaptureKind::Tproxy, &[21, 990], "[::]:2121"),
                capture(CaptureKind::Tproxy, &[2021], "192.0.2.1:2122"),
                capture(CaptureKind::Tproxy, &[2022], "[2001:db8::1]:2123"),
                capture(CaptureKind::Redirect, &[3021], "0.0.0.0:2124"),
                capture(CaptureKind::Redirect, &[3022], "192.0.2.1:2125"),
                capture(CaptureKind::Redirect, &[3023], "[2001:db8::1]:2126"),
            ],
            intake: Some(Intake { v4: Some(4001), v6: Some(4002) }),
            transparent: true,
            blind_ports: "60000-60100".parse().ok(),
            ..settings()
        };
        let list = ["--stateless", "list", "ruleset"];
        let installed = Namespace::new().run(|| {
            let _firewall = Firewall::start(&settings).unwrap();
            comparable(&nft(&list, "").unwrap())
        });
        let rendered = Namespace::new().run(|| {
            nft(&["-f", "-"], &render(&settings)).unwrap();
            comparable(&nft(&list, "").unwrap())
        });
        assert!(installed.contains("tproxy ip6 to [2001:db8::1]:2123"), "{installed}");
        assert_eq!(installed, rendered);
    });
}
