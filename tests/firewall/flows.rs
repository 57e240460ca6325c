//! What is told of connections that came through a pinhole: their beginning, their end and their bytes.

use crate::hello::{hear_hello, listen, say_hello};
use crate::netns::{Lab, at, privileged};
use crate::opening::{OPEN, through_nat, watcher};
use crate::table::{MARK, counted, download, next, policy, settings};
use ftpgate::firewall::{Closed, Firewall, FlowEvent, install_demo_policy};
use socket2::Socket;
use std::net::SocketAddr;
use std::time::Duration;

#[test]
fn flows_are_told_with_their_bytes_when_they_start_and_end() {
    privileged("flows::flows_are_told_with_their_bytes_when_they_start_and_end", || {
        let lab = Lab::build();
        let _policy = policy(&lab);
        for plan in [at::v4(), at::v6()] {
            let opening = through_nat(&plan);
            let pinhole = opening.pinhole();
            let listener = listen(&lab.server, SocketAddr::new(plan.server, 5001));
            lab.gateway.block_on(async || {
                let firewall = Firewall::start(&settings()).unwrap();
                assert!(firewall.counts_flows());
                let (sender, mut events) = watcher();
                firewall.open(opening, OPEN, sender).await.unwrap();
                let stream = lab.client.run(|| say_hello(pinhole.entry)).unwrap();
                assert_eq!(next(&mut events).await, FlowEvent::Started(pinhole));
                firewall.close(opening).await.unwrap();
                let (accepted, _) = hear_hello(&listener);
                download(&lab, stream, accepted);
                let FlowEvent::Ended { pinhole: ended, orderly, bytes } = next(&mut events).await
                else {
                    panic!("started twice");
                };
                assert_eq!((ended, orderly), (pinhole, true));
                counted(bytes);
                assert_eq!(events.recv().await, None, "nothing more is told");
            });
        }
    });
}

/// Conntrack tells nothing of a first packet that the owner's policy drops, and a gateway where every
/// one is dropped hears nothing at all.
#[test]
fn a_used_pinhole_whose_connection_is_dropped_is_told_as_missed() {
    privileged("flows::a_used_pinhole_whose_connection_is_dropped_is_told_as_missed", || {
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
    privileged("flows::case_46_a_reset_is_told_as_no_orderly_end", || {
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
