//! The rules as `nft` tells them, and beside the owner's. Skips loudly where there is no `nft`.

use crate::hello::{hear_hello, listen, say_hello};
use crate::netns::{Lab, Namespace, at, privileged};
use crate::nft::{masquerade, nft};
use crate::opening::{OPEN, watcher};
use crate::table::settings;
use ftpgate::firewall::{Capture, CaptureKind, Firewall, Intake, Opening, Settings, render};
use ftpgate::pinhole::Pinhole;
use std::net::SocketAddr;

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
    privileged("ruleset::the_owners_masquerade_leaves_these_connections_alone", || {
        let lab = Lab::build();
        if lab.gateway.run(masquerade).is_none() {
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
    privileged("ruleset::nothing_stays_behind_where_nothing_runs", || {
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
    privileged("ruleset::the_rendered_text_is_what_is_installed", || {
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
