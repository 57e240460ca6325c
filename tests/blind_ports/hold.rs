//! How long a range is open, which are refused, and what SIGKILL leaves of them.

use crate::hello::listen;
use crate::netns::{Lab, Namespace, at, privileged};
use crate::range::{
    PORT, connect, dial, for_each_range, nobody, one_to_one, settings, talk, through_nat,
};
use crate::table::policy;
use crate::victim::{self, be_killed};
use ftpgate::firewall::{BlindRange, Firewall, FirewallError, Settings};
use std::net::SocketAddr;

#[test]
fn what_runs_goes_on_after_the_last_session_has_closed_the_range() {
    privileged("hold::what_runs_goes_on_after_the_last_session_has_closed_the_range", || {
        let lab = Lab::build();
        let _policy = policy(&lab);
        for_each_range(&lab, async |firewall, range, listener| {
            let holder = nobody();
            firewall.open_range(range, holder.clone()).await.unwrap();
            firewall.open_range(range, holder.clone()).await.unwrap();
            let mut first = connect(&lab, range.entry, PORT, listener);
            firewall.close_range(range, &holder).await.unwrap();
            let mut second = connect(&lab, range.entry, PORT, listener);
            firewall.close_range(range, &holder).await.unwrap();
            assert!(dial(&lab.client, range.entry, PORT).is_err(), "nobody holds it open");
            firewall.close_range(range, &holder).await.unwrap();
            for (stream, accepted, _) in [&mut first, &mut second] {
                talk(stream, accepted);
            }
            firewall.open_range(range, holder.clone()).await.unwrap();
            let mut third = connect(&lab, range.entry, PORT, listener);
            let clone = firewall.clone();
            firewall.shutdown();
            assert!(dial(&lab.client, range.entry, PORT).is_err(), "the table has gone");
            talk(&mut third.0, &mut third.1);
            let stopped = Err(FirewallError::Stopped);
            assert_eq!(clone.open_range(range, holder.clone()).await, stopped);
            assert_eq!(clone.close_range(range, &holder).await, stopped);
        });
    });
}

#[test]
fn a_range_that_would_lead_elsewhere_is_refused_and_the_first_stays() {
    privileged("hold::a_range_that_would_lead_elsewhere_is_refused_and_the_first_stays", || {
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
fn ranges_that_cannot_be_are_refused() {
    privileged("hold::ranges_that_cannot_be_are_refused", || {
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

/// Not a test by itself: what the child process of the next one does.
#[test]
fn victim() {
    be_killed(async || {
        let firewall = Firewall::start(&settings()).unwrap();
        let holder = nobody();
        for plan in [at::v4(), at::v6()] {
            firewall.open_range(through_nat(&plan), holder.clone()).await.unwrap();
            firewall.open_range(one_to_one(&plan), holder.clone()).await.unwrap();
        }
        (firewall, holder)
    });
}

#[test]
fn case_47_a_killed_gateway_leaves_no_range_open() {
    privileged("hold::case_47_a_killed_gateway_leaves_no_range_open", || {
        let lab = Lab::build();
        let _policy = policy(&lab);
        let mut child = victim::start(&lab.gateway, "hold::victim");
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
