//! A table that somebody else removes. The kernel lets nobody remove an owned one, so this one has
//! no owner, as on a kernel before 5.12.

use super::super::Settings;
use super::super::ruleset::{elements, gateway};
use super::super::worker::{Remains, lock};
use super::super::{Opening, Pinhole};
use super::*;
use netns::{Namespace, privileged};
use std::net::SocketAddr;

#[path = "../../../tests/support/netns.rs"]
#[allow(dead_code, unsafe_code, reason = "shared with tests of more, which make namespaces")]
mod netns;

const OPEN: Duration = Duration::from_secs(10);

fn install() -> Nftables {
    let settings = Settings {
        table: "ftpgate".to_owned(),
        mark: 0x2100,
        captures: Vec::new(),
        intake: None,
        transparent: false,
        blind_ports: "60000-60100".parse().ok(),
    };
    Nftables::install(gateway(&settings), None, None).unwrap()
}

fn range(client: u8) -> BlindRange {
    let [entry, server, source] =
        ["203.0.113.7", "198.51.100.2", "198.51.100.1"].map(|address| address.parse().unwrap());
    BlindRange { client: [192, 0, 2, client].into(), entry, server, source }
}

fn pinhole() -> Vec<Element> {
    let entry = SocketAddr::new(range(1).entry, 50_000);
    let pinhole = Pinhole { peer: range(1).client, entry };
    elements(&Opening::Forward { pinhole, target: entry, source: range(1).source }).unwrap()
}

/// True if the kernel has every element of the range; they are gone after it.
fn take(nftables: &mut Nftables, range: BlindRange) -> bool {
    let taken = nftables.commit(|batch, table| {
        batch.begin();
        for element in range_elements(&range) {
            batch.delete(&table.name, &element);
        }
    });
    match taken {
        Ok(()) => true,
        Err(failure) if failure.errno() == libc::ENOENT => false,
        Err(failure) => panic!("{failure:?}"),
    }
}

#[test]
fn ranges_come_back_with_a_table_that_has_vanished() {
    privileged(
        "firewall::nftables::tests::ranges_come_back_with_a_table_that_has_vanished",
        || {
            Namespace::new().run(|| {
                let mut nftables = install();
                // More than are restored in one batch.
                let many = 1..=100;
                for client in many.clone() {
                    nftables.open_range(range(client)).unwrap();
                }
                nftables.close_range(range(1)).unwrap();
                nftables.remove().unwrap();
                nftables.add(&pinhole(), OPEN).unwrap();
                assert!(!take(&mut nftables, range(1)), "closed before");
                for client in many.skip(1) {
                    assert!(take(&mut nftables, range(client)), "{client}");
                }
            });
        },
    );
}

#[test]
fn a_range_that_another_session_holds_is_there_after_it_is_opened_again() {
    privileged(
        "firewall::nftables::tests::a_range_that_another_session_holds_is_there_after_it_is_opened_again",
        || {
            Namespace::new().run(|| {
                let mut nftables = install();
                nftables.open_range(range(1)).unwrap();
                nftables.remove().unwrap();
                nftables.open_range(range(1)).unwrap();
                assert!(take(&mut nftables, range(1)));
                nftables.remove().unwrap();
                nftables.close_range(range(1)).unwrap();
                nftables.close_range(range(1)).unwrap();
                nftables.open_range(range(2)).unwrap();
                assert!(!take(&mut nftables, range(1)), "its sessions are over");
                assert!(take(&mut nftables, range(2)));
            });
        },
    );
}

#[test]
fn what_is_left_of_an_earlier_range_gives_way() {
    privileged("firewall::nftables::tests::what_is_left_of_an_earlier_range_gives_way", || {
        Namespace::new().run(|| {
            let mut nftables = install();
            let left = BlindRange { server: range(1).source, ..range(1) };
            nftables.ensure(&range_elements(&left)).unwrap();
            nftables.open_range(range(1)).unwrap();
            nftables.open_range(range(1)).unwrap();
            assert!(take(&mut nftables, range(1)));
            nftables.close_range(range(1)).unwrap();
            assert_eq!(nftables.ranges.standing(), [range(1)]);
        });
    });
}

/// True if the kernel has the pinhole; it is gone after it.
fn is_open(nftables: &mut Nftables) -> bool {
    nftables.close(&pinhole()).unwrap() == Closed::Unused
}

#[test]
fn pinholes_that_are_awaited_come_back_with_a_table_that_has_vanished() {
    privileged(
        "firewall::nftables::tests::pinholes_that_are_awaited_come_back_with_a_table_that_has_vanished",
        || {
            Namespace::new().run(|| {
                let mut nftables = install();
                nftables.add(&pinhole(), OPEN).unwrap();
                nftables.remove().unwrap();
                nftables.check().unwrap();
                assert!(is_open(&mut nftables), "awaited");
                nftables.remove().unwrap();
                nftables.check().unwrap();
                assert!(!is_open(&mut nftables), "closed before");
                nftables.add(&pinhole(), Duration::from_millis(1)).unwrap();
                nftables.remove().unwrap();
                std::thread::sleep(Duration::from_millis(2));
                nftables.check().unwrap();
                assert!(!is_open(&mut nftables), "its time is over");
                assert_eq!(nftables.tally.repairs().table, 3);
            });
        },
    );
}

#[test]
fn a_pinhole_that_is_used_is_not_opened_a_second_time() {
    privileged(
        "firewall::nftables::tests::a_pinhole_that_is_used_is_not_opened_a_second_time",
        || {
            Namespace::new().run(|| {
                let mut nftables = install();
                nftables.add(&pinhole(), OPEN).unwrap();
                // A session has said so, and what is left of it is still to be cleared away.
                let remains = Remains::default();
                lock(&remains).insert(pinhole()[0].key, pinhole());
                nftables.on_duty(Used { remains, query: None }, Arc::default());
                nftables.remove().unwrap();
                nftables.check().unwrap();
                assert!(!is_open(&mut nftables));
            });
        },
    );
}

#[test]
fn a_table_without_its_rules_is_no_table() {
    privileged("firewall::nftables::tests::a_table_without_its_rules_is_no_table", || {
        Namespace::new().run(|| {
            let mut nftables = install();
            nftables.add(&pinhole(), OPEN).unwrap();
            nftables.check().unwrap();
            assert_eq!(nftables.tally.repairs().table, 0, "all is well");
            let bare = Table { chains: Vec::new(), ..nftables.table.clone() };
            let rules = std::mem::replace(&mut nftables.table, bare);
            nftables.install_table(None).unwrap();
            nftables.table = rules;
            nftables.check().unwrap();
            nftables.check().unwrap();
            assert_eq!(nftables.tally.repairs().table, 1);
            assert!(is_open(&mut nftables));
        });
    });
}
