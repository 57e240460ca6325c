//! Case 10: one connection of the rightful peer passes a pinhole, and nothing else does. What no
//! pinhole can be is refused.

use crate::hello::{hear_hello, listen, say_hello};
use crate::netns::{Lab, Namespace, at, privileged};
use crate::opening::{OPEN, through_nat, watcher};
use crate::table::{policy, settings};
use ftpgate::firewall::{Firewall, FirewallError, Opening, Settings};
use ftpgate::pinhole::Pinhole;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

fn first_connection_only(drop: bool) {
    let lab = Lab::build();
    let _policy = drop.then(|| policy(&lab));
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
}

#[test]
fn case_10_first_connection_only_forward_policy_accept() {
    privileged("pinholes::case_10_first_connection_only_forward_policy_accept", || {
        first_connection_only(false);
    });
}

#[test]
fn case_10_first_connection_only_forward_policy_drop() {
    privileged("pinholes::case_10_first_connection_only_forward_policy_drop", || {
        first_connection_only(true);
    });
}

#[test]
fn case_10_an_opening_without_translation_passes_once() {
    privileged("pinholes::case_10_an_opening_without_translation_passes_once", || {
        let lab = Lab::build();
        let _policy = policy(&lab);
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
    privileged("pinholes::case_10_unused_pinholes_expire_and_closed_ones_are_closed", || {
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
fn openings_that_the_kernel_cannot_carry_are_refused_before_it_is_asked() {
    privileged(
        "pinholes::openings_that_the_kernel_cannot_carry_are_refused_before_it_is_asked",
        || {
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
        },
    );
}
