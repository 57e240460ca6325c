//! A table that outlives its firewall, against the real kernel: client – gateway – server in
//! namespaces of their own. Needs root or user namespaces; skips loudly where there are neither.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

#[path = "support/hello.rs"]
mod hello;
#[path = "support/netns.rs"]
#[allow(dead_code, reason = "shared with tests of more")]
mod netns;

use ftpgate::firewall::{
    BlindRange, Capture, CaptureKind, Firewall, FirewallError, FlowEvent, Opening, Predecessor,
    Settings,
};
use ftpgate::net::routing::PolicyRouting;
use ftpgate::pinhole::Pinhole;
use hello::{hear_hello, listen, say_hello};
use netns::{Lab, Namespace, at, privileged};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

const OPEN: Duration = Duration::from_secs(30);
/// More than enough for one of them to meet a client that dials without a pause.
const RESTARTS: usize = 20;

/// Control connections to port 21 are translated to port 2121 of the gateway.
fn settings() -> Settings {
    let capture = Capture {
        kind: CaptureKind::Redirect,
        ports: vec![21],
        to: "0.0.0.0:2121".parse().unwrap(),
        dual: false,
    };
    Settings {
        table: "ftpgate".to_owned(),
        mark: 0x2100,
        captures: vec![capture],
        intake: None,
        transparent: false,
        blind_ports: "60000-60100".parse().ok(),
    }
}

fn watcher() -> mpsc::UnboundedSender<FlowEvent> {
    mpsc::unbounded_channel().0
}

fn passive(plan: &at::Plan, port: u16) -> Opening {
    Opening::Forward {
        pinhole: Pinhole { peer: plan.client, entry: SocketAddr::new(plan.gateway_client, port) },
        target: SocketAddr::new(plan.server, 5001),
        source: plan.gateway_server,
    }
}

fn left_by(socket: OwnedFd) -> Option<Predecessor> {
    Some(Predecessor { table: "ftpgate".to_owned(), socket })
}

/// The gateway's own listener, and a server that must not be reached past it.
fn control(lab: &Lab, plan: &at::Plan) -> (TcpListener, TcpListener, SocketAddr) {
    let at = SocketAddr::new(plan.server, 21);
    let own = listen(&lab.gateway, "0.0.0.0:2121".parse().unwrap());
    (own, listen(&lab.server, at), at)
}

fn nobody_came(listener: &TcpListener) -> bool {
    listener.set_nonblocking(true).unwrap();
    listener.accept().is_err()
}

#[test]
fn a_table_handed_over_captures_while_nobody_runs_and_lets_nothing_else_in() {
    privileged("a_table_handed_over_captures_while_nobody_runs_and_lets_nothing_else_in", || {
        let lab = Lab::build();
        let plan = at::v4();
        let (own, past, server) = control(&lab, &plan);
        let data = listen(&lab.server, SocketAddr::new(plan.server, 5001));
        let blind = listen(&lab.server, SocketAddr::new(plan.server, 60_042));
        let entry = plan.gateway_client;
        let range = BlindRange {
            client: plan.client,
            entry,
            server: plan.server,
            source: plan.gateway_server,
        };
        lab.gateway.block_on(async || {
            let firewall = Firewall::start(&settings()).unwrap();
            for port in [50_000, 50_001] {
                firewall.open(passive(&plan, port), OPEN, watcher()).await.unwrap();
            }
            firewall.open_range(range, watcher()).await.unwrap();
            let running = SocketAddr::new(entry, 50_000);
            let mut stream = lab.client.run(|| say_hello(running)).unwrap();
            let (mut accepted, _) = hear_hello(&data);

            let socket = firewall.hand_over().await.unwrap();
            firewall.shutdown();
            let _captured = lab.client.run(|| say_hello(server)).unwrap();
            hear_hello(&own);
            for port in [50_001, 60_042] {
                let unused = SocketAddr::new(entry, port);
                assert!(lab.client.run(|| say_hello(unused)).is_err(), "{port} is open");
            }
            let mut word = [0; 2];
            stream.write_all(b"on").unwrap();
            accepted.read_exact(&mut word).unwrap();

            let firewall = Firewall::start_after(&settings(), left_by(socket)).unwrap();
            let _captured = lab.client.run(|| say_hello(server)).unwrap();
            hear_hello(&own);
            firewall.open(passive(&plan, 50_001), OPEN, watcher()).await.unwrap();
            let _other = lab.client.run(|| say_hello(SocketAddr::new(entry, 50_001))).unwrap();
            hear_hello(&data);
            accepted.write_all(b"on").unwrap();
            stream.read_exact(&mut word).unwrap();
            // Nobody keeps the second one.
            firewall.shutdown();
            let _past = lab.client.run(|| say_hello(server)).unwrap();
            hear_hello(&past);
        });
        assert!(nobody_came(&own) && nobody_came(&blind));
    });
}

#[test]
fn nobody_slips_past_while_one_firewall_follows_the_other() {
    privileged("nobody_slips_past_while_one_firewall_follows_the_other", || {
        let lab = Lab::build();
        let (own, past, server) = control(&lab, &at::v4());
        let over = AtomicBool::new(false);
        let dialled = std::thread::scope(|scope| {
            let first = lab.gateway.run(|| Firewall::start(&settings()).unwrap());
            let client = scope.spawn(|| {
                let mut dialled = 0;
                while !over.load(Ordering::Relaxed) {
                    let stream = lab.client.run(|| say_hello(server)).expect("not refused");
                    hear_hello(&own);
                    drop(stream);
                    dialled += 1;
                }
                dialled
            });
            lab.gateway.block_on(async || {
                let mut firewall = first;
                for _ in 0..RESTARTS {
                    let socket = firewall.hand_over().await.unwrap();
                    firewall.shutdown();
                    firewall = Firewall::start_after(&settings(), left_by(socket)).unwrap();
                }
                over.store(true, Ordering::Relaxed);
                // The last dial may still be on its way.
                while !client.is_finished() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
            client.join().unwrap()
        });
        assert!(dialled > RESTARTS, "{dialled} dialled in {RESTARTS} restarts");
        assert!(nobody_came(&past));
    });
}

#[test]
fn a_firewall_that_is_given_up_leaves_what_is_handed_over() {
    privileged("a_firewall_that_is_given_up_leaves_what_is_handed_over", || {
        let lab = Lab::build();
        let (own, past, server) = control(&lab, &at::v4());
        lab.gateway.block_on(async || {
            let firewall = Firewall::start(&settings()).unwrap();
            let socket = firewall.hand_over().await.unwrap();
            // As when a later step of a start fails.
            drop(firewall);
            let _captured = lab.client.run(|| say_hello(server)).unwrap();
            hear_hello(&own);
            let without = Firewall::start(&settings()).map(drop);
            assert!(matches!(without, Err(FirewallError::TableOwned { .. })), "{without:?}");
            // Nobody keeps it any longer.
            drop(socket);
            let _past = lab.client.run(|| say_hello(server)).unwrap();
            hear_hello(&past);
        });
    });
}

#[test]
fn a_table_of_another_name_is_replaced_as_well() {
    privileged("a_table_of_another_name_is_replaced_as_well", || {
        let lab = Lab::build();
        let (own, past, server) = control(&lab, &at::v4());
        lab.gateway.block_on(async || {
            let firewall = Firewall::start(&settings()).unwrap();
            let socket = firewall.hand_over().await.unwrap();
            firewall.shutdown();
            let other = Settings { table: "other".to_owned(), captures: Vec::new(), ..settings() };
            let _firewall = Firewall::start_after(&other, left_by(socket)).unwrap();
            let _past = lab.client.run(|| say_hello(server)).unwrap();
            hear_hello(&past);
        });
        assert!(nobody_came(&own));
    });
}

#[test]
fn a_socket_that_is_of_no_use_does_not_keep_the_firewall_from_starting() {
    privileged("a_socket_that_is_of_no_use_does_not_keep_the_firewall_from_starting", || {
        let lab = Lab::build();
        let (own, _past, server) = control(&lab, &at::v4());
        let elsewhere = Namespace::new();
        let foreign = elsewhere.block_on(async || {
            let firewall = Firewall::start(&settings()).unwrap();
            firewall.hand_over().await.unwrap()
        });
        let no_netlink = TcpListener::bind("127.0.0.1:0").unwrap().into();
        for socket in [foreign, no_netlink] {
            lab.gateway.run(|| {
                let firewall = Firewall::start_after(&settings(), left_by(socket)).unwrap();
                let _captured = lab.client.run(|| say_hello(server)).unwrap();
                hear_hello(&own);
                firewall.shutdown();
            });
        }
    });
}

#[test]
fn routing_that_was_left_behind_is_taken_over() {
    privileged("routing_that_was_left_behind_is_taken_over", || {
        Namespace::new().block_on(async || {
            let left = PolicyRouting::install(0x2100, 0x2100).await.unwrap();
            drop(left);
            let rules = rules().await;
            let next = PolicyRouting::install(0x2100, 0x2100).await.unwrap();
            assert_eq!(self::rules().await, rules);
            next.remove().await.unwrap();
            assert_eq!(self::rules().await, rules - 2, "one for each family");
        });
    });
}

/// How many policy rules there are, of both families.
async fn rules() -> usize {
    use futures_util::TryStreamExt;
    let (connection, handle, _) = rtnetlink::new_connection().unwrap();
    let connection = tokio::spawn(connection);
    let mut count = 0;
    for version in [rtnetlink::IpVersion::V4, rtnetlink::IpVersion::V6] {
        let rules: Vec<_> = handle.rule().get(version).execute().try_collect().await.unwrap();
        count += rules.len();
    }
    connection.abort();
    count
}
