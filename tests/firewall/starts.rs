//! What a start takes, what it finds of an earlier process, and what it leaves when it fails.

use crate::ROUTES;
use crate::hello::{hear_hello, listen, say_hello};
use crate::netns::{self, Lab, Namespace, at, privileged};
use crate::table::{MARK, policy, settings};
use ftpgate::firewall::{Firewall, FirewallError, Settings};
use ftpgate::net::routing::PolicyRouting;
use std::net::{SocketAddr, TcpListener};

#[test]
fn policy_routing_replaces_what_a_killed_process_left() {
    privileged("starts::policy_routing_replaces_what_a_killed_process_left", || {
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
    privileged("starts::a_gateway_that_cannot_start_leaves_nothing_behind", || {
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

#[test]
fn case_47_a_table_left_behind_is_replaced() {
    privileged("starts::case_47_a_table_left_behind_is_replaced", || {
        let lab = Lab::build();
        let plan = at::v4();
        let target = SocketAddr::new(plan.server, 5001);
        let listener = listen(&lab.server, target);
        std::mem::forget(policy(&lab));
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
    privileged("starts::without_the_capability_the_error_says_what_to_do", || {
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
