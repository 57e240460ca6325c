//! Case 47: what goes on, and what does not, after an orderly end and after SIGKILL.

use crate::hello::{hear_hello, listen, say_hello};
use crate::netns::{Lab, at, privileged};
use crate::opening::{OPEN, through_nat, watcher};
use crate::table::{policy, settings};
use crate::victim::{self, be_killed};
use ftpgate::firewall::{Firewall, FirewallError, Opening};
use std::io::{Read, Write};
use std::net::SocketAddr;

/// Not a test by itself: what the child process of the next one does.
#[test]
fn victim() {
    be_killed(async || {
        let firewall = Firewall::start(&settings()).unwrap();
        let mut second = through_nat(&at::v4());
        if let Opening::Forward { pinhole, .. } = &mut second {
            pinhole.entry.set_port(50_001);
        }
        firewall.open(through_nat(&at::v4()), OPEN, watcher().0).await.unwrap();
        firewall.open(second, OPEN, watcher().0).await.unwrap();
        firewall
    });
}

#[test]
fn case_47_a_killed_gateway_leaves_transfers_running_and_nothing_open() {
    privileged("ends::case_47_a_killed_gateway_leaves_transfers_running_and_nothing_open", || {
        let lab = Lab::build();
        let _policy = policy(&lab);
        let plan = at::v4();
        let listener = listen(&lab.server, SocketAddr::new(plan.server, 5001));
        let mut child = victim::start(&lab.gateway, "ends::victim");
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
    privileged("ends::case_47_an_orderly_end_leaves_transfers_running_and_translated", || {
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
