//! Findings on hosts made of files.

use super::host::tests::Sketch;
use super::*;
use rstest::rstest;

const ALL_CAPABILITIES: &str = "CapEff:\t000001ffffffffff\n";

#[rstest]
#[case("6.18.44", State::Ok)]
#[case("5.12.0", State::Ok)]
#[case("5.10.0-34-amd64", State::Missing)]
#[case("4.19", State::Missing)]
#[case("strange", State::Note)]
fn kernels(#[case] release: &str, #[case] expected: State) {
    let sketch = Sketch::of(&[("proc/sys/kernel/osrelease", release)]);
    assert_eq!(kernel(&sketch.0).state, expected);
}

#[rstest]
#[case(&[("proc/self/status", ALL_CAPABILITIES)], [State::Ok, State::Ok])]
#[case(&[("proc/self/status", "CapEff:\t0000000000001000\n")], [State::Ok, State::Note])]
#[case(&[("proc/sys/net/ipv4/ip_unprivileged_port_start", "0")], [State::Missing, State::Ok])]
#[case(&[], [State::Missing, State::Note])]
fn rights(#[case] files: &[(&str, &str)], #[case] expected: [State; 2]) {
    let sketch = Sketch::of(files);
    assert_eq!(capabilities(&sketch.0).map(|finding| finding.state), expected);
}

#[rstest]
#[case(["1", "1", "1", "2"], [State::Ok; 4])]
#[case(["0", "0", "0", "0"], [State::Missing, State::Note, State::Note, State::Missing])]
fn sysctls(#[case] values: [&str; 4], #[case] expected: [State; 4]) {
    let keys = [
        "proc/sys/net/ipv4/ip_forward",
        "proc/sys/net/ipv6/conf/all/forwarding",
        "proc/sys/net/netfilter/nf_conntrack_acct",
        "proc/sys/net/netfilter/nf_conntrack_events",
    ];
    let files: Vec<(&str, &str)> = keys.into_iter().zip(values).collect();
    let found: Vec<State> =
        settings(&Sketch::of(&files).0).into_iter().map(|finding| finding.state).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_kernels_own_helper_is_noticed() {
    let loaded = Sketch::of(&[("proc/modules", "nf_conntrack_ftp 24576 0 - Live 0x0\n")]);
    assert_eq!(disturbances(&loaded.0)[1].state, State::Note);
    let assigned = Sketch::of(&[("proc/sys/net/netfilter/nf_conntrack_helper", "1\n")]);
    assert_eq!(disturbances(&assigned.0)[1].state, State::Note);
    assert_eq!(disturbances(&Sketch::of(&[]).0)[1].state, State::Ok);
}

#[test]
fn a_refused_table_is_missing_and_an_untried_one_is_looked_for() {
    let bare = Sketch::of(&[]);
    assert_eq!(rules(&bare.0, Trial::Works).state, State::Ok);
    assert_eq!(rules(&bare.0, Trial::Refused("no".into())).state, State::Missing);
    let untried = rules(&bare.0, Trial::NotTried("no namespace".into()));
    assert_eq!(untried.state, State::Note);
    assert!(untried.remedy.contains("nft_tproxy"), "{}", untried.remedy);
}

#[test]
fn user_namespaces_may_be_shut_in_three_ways() {
    for (key, value) in [
        ("proc/sys/user/max_user_namespaces", "0"),
        ("proc/sys/kernel/unprivileged_userns_clone", "0"),
        ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
    ] {
        assert_eq!(namespaces(&Sketch::of(&[(key, value)]).0).state, State::Note, "{key}");
    }
    let open = Sketch::of(&[("proc/sys/user/max_user_namespaces", "1000")]);
    assert_eq!(namespaces(&open.0).state, State::Ok);
}
