//! Who passes a range, which ports it has, and what the server sees.

use crate::hello::listen;
use crate::netns::{Lab, at, privileged};
use crate::nft::masquerade;
use crate::range::{PORT, connect, dial, nobody, one_to_one, settings, talk, through_nat};
use crate::table::policy;
use ftpgate::firewall::{BlindRange, Firewall};
use std::net::SocketAddr;

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
    privileged("reach::the_servers_own_address_is_reached_through_nat", || {
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
    privileged("reach::the_gateways_address_leads_to_the_same_port_of_the_server", || {
        let lab = Lab::build();
        let _policy = policy(&lab);
        for plan in [at::v4(), at::v6()] {
            passes_the_range_only(&lab, &plan, one_to_one(&plan));
        }
    });
}

#[test]
fn the_owners_masquerade_leaves_the_clients_address_alone() {
    privileged("reach::the_owners_masquerade_leaves_the_clients_address_alone", || {
        let lab = Lab::build();
        if lab.gateway.run(masquerade).is_none() {
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
