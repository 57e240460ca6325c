//! The ports of sessions that cannot be read, against the real kernel: client – gateway – server, and
//! a stranger, in namespaces of their own, behind an owner's policy that drops what bears no mark.
//! Needs root or user namespaces; skips loudly where there are neither.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

#[path = "support/hello.rs"]
mod hello;
#[path = "support/netns.rs"]
#[allow(dead_code, reason = "shared with tests of more")]
mod netns;

use ftpgate::firewall::{
    BlindRange, Closed, DemoPolicy, Firewall, FirewallError, FlowEvent, Opening, Settings,
    install_demo_policy,
};
use ftpgate::pinhole::Pinhole;
use ftpgate::terms::FlowId;
use hello::{COMES_WITHIN, hear_hello, listen, say_hello};
use netns::{Lab, Namespace, at, privileged};
use socket2::Socket;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::sync::mpsc;

const MARK: u32 = 0x2100;
/// Inside the range.
const PORT: u16 = 60_042;
/// Longer than used pinholes are left to be swept.
const SWEPT_WITHIN: Duration = Duration::from_millis(500);

fn settings() -> Settings {
    Settings {
        table: "ftpgate".to_owned(),
        mark: MARK,
        captures: Vec::new(),
        intake: None,
        transparent: false,
        blind_ports: "60000-60100".parse().ok(),
    }
}

fn policy(lab: &Lab) -> DemoPolicy {
    lab.gateway.run(|| install_demo_policy(MARK).unwrap())
}

/// The client dials the server's own address, and the server sees the gateway.
fn through_nat(plan: &at::Plan) -> BlindRange {
    let at::Plan { client, server, gateway_server, .. } = *plan;
    BlindRange { client, entry: server, server, source: gateway_server }
}

/// The client dials the gateway, each port of which leads to the same port of the server.
fn one_to_one(plan: &at::Plan) -> BlindRange {
    BlindRange { entry: plan.gateway_client, ..through_nat(plan) }
}

/// Holds a range and does not listen.
fn nobody() -> mpsc::UnboundedSender<FlowEvent> {
    mpsc::unbounded_channel().0
}

async fn next(events: &mut mpsc::UnboundedReceiver<FlowEvent>) -> FlowEvent {
    tokio::time::timeout(COMES_WITHIN, events.recv()).await.expect("an event in time").unwrap()
}

async fn next_started(events: &mut mpsc::UnboundedReceiver<FlowEvent>) -> FlowId {
    match next(events).await {
        FlowEvent::StartedInRange(flow) => flow,
        other => panic!("{other:?}"),
    }
}

fn dial(from: &Namespace, entry: IpAddr, port: u16) -> std::io::Result<TcpStream> {
    from.run(|| say_hello(SocketAddr::new(entry, port)))
}

/// Both ends hear each other.
fn talk(client: &mut TcpStream, server: &mut TcpStream) {
    let mut word = [0; 4];
    client.write_all(b"more").unwrap();
    server.read_exact(&mut word).unwrap();
    server.write_all(b"back").unwrap();
    client.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"back");
}

/// Dials, and returns both ends of the connection and whom the server sees.
#[track_caller]
fn connect(
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

/// Any number of connections of this client to every port of the range, and of nobody else to any.
fn passes_the_range_only(lab: &Lab, plan: &at::Plan, range: BlindRange) {
    let listeners = [59_999, 60_000, PORT, 60_100, 60_101]
        .map(|port| (port, listen(&lab.server, SocketAddr::new(plan.server, port))));
    let strangers = [range.entry, plan.gateway_stranger];
    lab.gateway.block_on(async || {
        let firewall = Firewall::start(&settings()).unwrap();
        let holder = nobody();
        assert!(dial(&lab.client, range.entry, PORT).is_err(), "before it is open");
        firewall.open_range(range, holder.clone()).await.unwrap();
        let mut running = Vec::new();
        for (port, listener) in &listeners {
            if !(60_000..=60_100).contains(port) {
                assert!(dial(&lab.client, range.entry, *port).is_err(), "{port} is outside");
                continue;
            }
            for _ in 0..2 {
                let (stream, accepted, from) = connect(lab, range.entry, *port, listener);
                assert_eq!(stream.peer_addr().unwrap(), SocketAddr::new(range.entry, *port));
                assert_eq!(accepted.local_addr().unwrap(), SocketAddr::new(plan.server, *port));
                assert_eq!(
                    from,
                    SocketAddr::new(range.source, stream.local_addr().unwrap().port())
                );
                running.push((stream, accepted));
            }
        }
        for entry in strangers {
            assert!(dial(&lab.stranger, entry, PORT).is_err(), "a stranger at {entry}");
        }
        assert_eq!(running.len(), 6);
        running.iter_mut().for_each(|(stream, accepted)| talk(stream, accepted));
    });
}

#[test]
fn the_servers_own_address_is_reached_through_nat() {
    privileged("the_servers_own_address_is_reached_through_nat", || {
        let lab = Lab::build();
        let _policy = policy(&lab);
        for plan in [at::v4(), at::v6()] {
            passes_the_range_only(&lab, &plan, through_nat(&plan));
            passes_the_range_only(
                &lab,
                &plan,
                BlindRange { source: plan.client, ..through_nat(&plan) },
            );
        }
    });
}

#[test]
fn the_gateways_address_leads_to_the_same_port_of_the_server() {
    privileged("the_gateways_address_leads_to_the_same_port_of_the_server", || {
        let lab = Lab::build();
        let _policy = policy(&lab);
        for plan in [at::v4(), at::v6()] {
            passes_the_range_only(&lab, &plan, one_to_one(&plan));
        }
    });
}

#[test]
fn what_runs_goes_on_after_the_last_session_has_closed_the_range() {
    privileged("what_runs_goes_on_after_the_last_session_has_closed_the_range", || {
        let lab = Lab::build();
        let _policy = policy(&lab);
        for plan in [at::v4(), at::v6()] {
            let listener = listen(&lab.server, SocketAddr::new(plan.server, PORT));
            for range in [through_nat(&plan), one_to_one(&plan)] {
                lab.gateway.block_on(async || {
                    let firewall = Firewall::start(&settings()).unwrap();
                    let holder = nobody();
                    firewall.open_range(range, holder.clone()).await.unwrap();
                    firewall.open_range(range, holder.clone()).await.unwrap();
                    let mut first = connect(&lab, range.entry, PORT, &listener);
                    firewall.close_range(range, &holder).await.unwrap();
                    let mut second = connect(&lab, range.entry, PORT, &listener);
                    firewall.close_range(range, &holder).await.unwrap();
                    assert!(dial(&lab.client, range.entry, PORT).is_err(), "nobody holds it open");
                    firewall.close_range(range, &holder).await.unwrap();
                    for (stream, accepted, _) in [&mut first, &mut second] {
                        talk(stream, accepted);
                    }
                    firewall.open_range(range, holder.clone()).await.unwrap();
                    let mut third = connect(&lab, range.entry, PORT, &listener);
                    let clone = firewall.clone();
                    firewall.shutdown();
                    assert!(dial(&lab.client, range.entry, PORT).is_err(), "the table has gone");
                    talk(&mut third.0, &mut third.1);
                    let stopped = Err(FirewallError::Stopped);
                    assert_eq!(clone.open_range(range, holder.clone()).await, stopped);
                    assert_eq!(clone.close_range(range, &holder).await, stopped);
                });
            }
        }
    });
}

#[test]
fn a_range_that_would_lead_elsewhere_is_refused_and_the_first_stays() {
    privileged("a_range_that_would_lead_elsewhere_is_refused_and_the_first_stays", || {
        let lab = Lab::build();
        let _policy = policy(&lab);
        let plan = at::v4();
        let listener = listen(&lab.server, SocketAddr::new(plan.server, PORT));
        let other = listen(&lab.stranger, SocketAddr::new(plan.stranger, PORT));
        let range = one_to_one(&plan);
        let elsewhere =
            BlindRange { server: plan.stranger, source: plan.gateway_stranger, ..range };
        lab.gateway.block_on(async || {
            let firewall = Firewall::start(&settings()).unwrap();
            let holder = nobody();
            firewall.open_range(range, holder.clone()).await.unwrap();
            let taken = FirewallError::RangeTaken { client: range.client, entry: range.entry };
            assert_eq!(firewall.open_range(elsewhere, holder.clone()).await, Err(taken));
            firewall.close_range(elsewhere, &holder).await.unwrap();
            let _running = connect(&lab, range.entry, PORT, &listener);
            firewall.close_range(range, &holder).await.unwrap();
            firewall.open_range(elsewhere, holder.clone()).await.unwrap();
            let (_, _, from) = connect(&lab, range.entry, PORT, &other);
            assert_eq!(from.ip(), plan.gateway_stranger);
        });
    });
}

#[test]
fn a_pinhole_inside_the_range_goes_before_and_is_watched_alone() {
    privileged("a_pinhole_inside_the_range_goes_before_and_is_watched_alone", || {
        let lab = Lab::build();
        let _policy = policy(&lab);
        for plan in [at::v4(), at::v6()] {
            let range = through_nat(&plan);
            let pinhole = Pinhole { peer: plan.client, entry: SocketAddr::new(range.entry, PORT) };
            // Elsewhere than the range leads, so that the two are told apart.
            let target = SocketAddr::new(plan.server, 5001);
            let opening = Opening::Forward { pinhole, target, source: plan.client };
            let by_range = listen(&lab.server, pinhole.entry);
            let beside = listen(&lab.server, SocketAddr::new(range.entry, PORT + 1));
            let by_pinhole = listen(&lab.server, target);
            lab.gateway.block_on(async || {
                let firewall = Firewall::start(&settings()).unwrap();
                let (holder, mut by_range_events) = mpsc::unbounded_channel();
                let (sender, mut events) = mpsc::unbounded_channel();
                firewall.open_range(range, holder.clone()).await.unwrap();
                // At a port of its own: the late news of a connection at the pinhole's would be taken
                // for the pinhole's.
                let _before = connect(&lab, range.entry, PORT + 1, &beside);
                firewall.open(opening, Duration::from_secs(10), sender).await.unwrap();
                let (stream, accepted, from) = connect(&lab, range.entry, PORT, &by_pinhole);
                assert_eq!(from.ip(), plan.client);
                assert_eq!(firewall.close(opening).await, Ok(Closed::Gone), "it is used up");
                firewall.clear_away(opening);
                tokio::time::sleep(SWEPT_WITHIN).await;
                let (_, _, from) = connect(&lab, range.entry, PORT, &by_range);
                assert_eq!(from.ip(), plan.gateway_server);
                drop((stream, accepted));
                let mut told = Vec::new();
                // The sender is gone with the end of the one connection that is watched.
                while let Some(event) =
                    tokio::time::timeout(COMES_WITHIN, events.recv()).await.unwrap()
                {
                    told.push(event);
                }
                let [FlowEvent::Started(started), FlowEvent::Ended { pinhole: ended, .. }] =
                    told[..]
                else {
                    panic!("{told:?}");
                };
                assert_eq!([started, ended], [pinhole; 2]);
                // The one before the pinhole, and the one after it.
                let first = next_started(&mut by_range_events).await;
                assert_ne!(next_started(&mut by_range_events).await, first);
            });
        }
    });
}

#[test]
fn connections_are_told_with_their_bytes_when_they_start_and_end() {
    privileged("connections_are_told_with_their_bytes_when_they_start_and_end", || {
        const SIZE: u64 = 1 << 20;
        let lab = Lab::build();
        let _policy = policy(&lab);
        for plan in [at::v4(), at::v6()] {
            let listener = listen(&lab.server, SocketAddr::new(plan.server, PORT));
            for range in [through_nat(&plan), one_to_one(&plan)] {
                lab.gateway.block_on(async || {
                    let firewall = Firewall::start(&settings()).unwrap();
                    let (holder, mut events) = mpsc::unbounded_channel();
                    firewall.open_range(range, holder.clone()).await.unwrap();
                    let (mut stream, mut accepted, _) = connect(&lab, range.entry, PORT, &listener);
                    let first = next_started(&mut events).await;
                    let (reset, _accepted, _) = connect(&lab, range.entry, PORT, &listener);
                    let second = next_started(&mut events).await;
                    assert_ne!(first, second, "both run");
                    // What runs is told to its end, also after the range is closed.
                    firewall.close_range(range, &holder).await.unwrap();
                    drop(holder);
                    let reset = Socket::from(reset);
                    reset.set_linger(Some(Duration::ZERO)).unwrap();
                    drop(reset);
                    let FlowEvent::EndedInRange { flow, orderly, bytes } = next(&mut events).await
                    else {
                        panic!("started twice");
                    };
                    assert_eq!((flow, orderly), (second, false));
                    assert!(bytes.is_some_and(|bytes| bytes.original > 5 && bytes.reply > 0));
                    let download = lab.server.spawn(move || {
                        accepted.write_all(&vec![7; 1 << 20]).unwrap();
                    });
                    assert_eq!(io::copy(&mut stream, &mut io::sink()).unwrap(), SIZE);
                    download.join().unwrap();
                    drop(stream);
                    let FlowEvent::EndedInRange { flow, orderly, bytes } = next(&mut events).await
                    else {
                        panic!("started twice");
                    };
                    assert_eq!((flow, orderly), (first, true));
                    let bytes = bytes.expect("accounting is on");
                    assert!((SIZE..SIZE + SIZE / 8).contains(&bytes.reply), "{bytes:?}");
                    assert!((200..SIZE / 8).contains(&bytes.original), "{bytes:?}");
                    // The holder is forgotten a little while after the range was closed.
                    let rest = tokio::time::timeout(COMES_WITHIN, events.recv()).await;
                    assert_eq!(rest, Ok(None), "nothing more is told");
                });
            }
        }
    });
}

#[test]
fn the_owners_masquerade_leaves_the_clients_address_alone() {
    privileged("the_owners_masquerade_leaves_the_clients_address_alone", || {
        let lab = Lab::build();
        let rules = "add table inet owner\n\
                     add chain inet owner nat { type nat hook postrouting priority srcnat; }\n\
                     add rule inet owner nat masquerade\n";
        let there = lab.gateway.run(|| {
            let mut nft =
                Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().ok()?;
            nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
            assert!(nft.wait().unwrap().success());
            Some(())
        });
        if there.is_none() {
            eprintln!("SKIPPED the_owners_masquerade_leaves_the_clients_address_alone: no `nft`");
            return;
        }
        for plan in [at::v4(), at::v6()] {
            let listener = listen(&lab.server, SocketAddr::new(plan.server, PORT));
            let range = BlindRange { source: plan.client, ..through_nat(&plan) };
            lab.gateway.block_on(async || {
                let firewall = Firewall::start(&settings()).unwrap();
                let holder = nobody();
                firewall.open_range(range, holder.clone()).await.unwrap();
                let (_, _, from) = connect(&lab, range.entry, PORT, &listener);
                assert_eq!(from.ip(), plan.client);
                firewall.close_range(range, &holder).await.unwrap();
                let (_, _, from) = connect(&lab, range.entry, PORT, &listener);
                assert_eq!(from.ip(), plan.gateway_server, "the owner's");
            });
        }
    });
}

#[test]
fn ranges_that_cannot_be_are_refused() {
    privileged("ranges_that_cannot_be_are_refused", || {
        Namespace::new().block_on(async || {
            let range = through_nat(&at::v4());
            let mixed = BlindRange { source: at::v6().gateway_server, ..range };
            let firewall = Firewall::start(&settings()).unwrap();
            let holder = nobody();
            assert_eq!(
                firewall.open_range(mixed, holder.clone()).await,
                Err(FirewallError::MixedFamilies)
            );
            firewall.shutdown();
            let without = Settings { blind_ports: None, ..settings() };
            let firewall = Firewall::start(&without).unwrap();
            assert_eq!(
                firewall.open_range(range, holder.clone()).await,
                Err(FirewallError::NoBlindPorts)
            );
            firewall.close_range(range, &holder).await.unwrap();
        });
    });
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
        let holder = nobody();
        for plan in [at::v4(), at::v6()] {
            firewall.open_range(through_nat(&plan), holder.clone()).await.unwrap();
            firewall.open_range(one_to_one(&plan), holder.clone()).await.unwrap();
        }
        println!("\nvictim is ready");
        std::thread::sleep(Duration::from_secs(60));
    });
}

#[test]
fn case_47_a_killed_gateway_leaves_no_range_open() {
    privileged("case_47_a_killed_gateway_leaves_no_range_open", || {
        let lab = Lab::build();
        let _policy = policy(&lab);
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
        let plans = [at::v4(), at::v6()];
        let ranges = plans.each_ref().map(|plan| [through_nat(plan), one_to_one(plan)]).concat();
        let listeners =
            plans.each_ref().map(|plan| listen(&lab.server, SocketAddr::new(plan.server, PORT)));
        let of = |range: &BlindRange| &listeners[usize::from(range.entry.is_ipv6())];
        let mut running: Vec<_> =
            ranges.iter().map(|range| connect(&lab, range.entry, PORT, of(range))).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        for ((stream, accepted, _), range) in running.iter_mut().zip(&ranges) {
            talk(stream, accepted);
            assert!(dial(&lab.client, range.entry, PORT).is_err(), "open after its owner's death");
        }
        // A restart knows nothing of them.
        lab.gateway.block_on(async || {
            let firewall = Firewall::start(&settings()).unwrap();
            let holder = nobody();
            for range in &ranges {
                assert!(dial(&lab.client, range.entry, PORT).is_err(), "open after a restart");
                firewall.open_range(*range, holder.clone()).await.unwrap();
                connect(&lab, range.entry, PORT, of(range));
            }
            running.iter_mut().for_each(|(stream, accepted, _)| talk(stream, accepted));
        });
    });
}
