//! `ftpgate doctor`: what this host has for a gateway, what it lacks, and how to get it.
//!
//! Nothing is changed: settings are read, and the gateway's own table is tried in a network
//! namespace that ends with the process.
//!
//! Not here: whether a given configuration is right (`ftpgate check`).

mod confinement;
mod host;
mod show;

use crate::app;
use crate::config::Config;
use crate::confinement::Right;
use crate::demo;
use crate::firewall::{Capture, CaptureKind, Firewall, Intake, Settings};
use host::{Capability, Host, version_of};
use show::Verdict;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// Open files that a gateway of some size wants: two control connections a session, and on the
/// relay path two data connections and two pipes a transfer.
const OPEN_FILES_WANTED: u64 = 65_536;

/// Pages of pipe buffer that one transfer on the relay path takes at most: 1 MiB of 4 KiB pages, in the
/// one direction that it goes.
const PIPE_PAGES_PER_TRANSFER: i64 = 256;

/// How a finding bears on the use as a NAT gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There.
    Ok,
    /// Not there, and a NAT gateway needs it.
    Missing,
    /// Worth knowing; a NAT gateway works without it.
    Note,
}

impl State {
    fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "MISSING",
            Self::Note => "note",
        }
    }
}

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    state: State,
    /// What was looked at and what was found.
    what: String,
    /// What it is needed for.
    purpose: &'static str,
    /// How to get it, where it is not [`State::Ok`].
    remedy: String,
}

impl Finding {
    fn ok(what: impl Into<String>, purpose: &'static str) -> Self {
        Self { state: State::Ok, what: what.into(), purpose, remedy: String::new() }
    }

    fn missing(what: impl Into<String>, purpose: &'static str, remedy: impl Into<String>) -> Self {
        Self { state: State::Missing, what: what.into(), purpose, remedy: remedy.into() }
    }

    fn note(what: impl Into<String>, purpose: &'static str, remedy: impl Into<String>) -> Self {
        Self { state: State::Note, what: what.into(), purpose, remedy: remedy.into() }
    }
}

/// Prints the table, with what `config`, from the file beside it, needs. True if everything is there that
/// it needs, or else a NAT gateway.
///
/// To be called before any thread or runtime is started: as an ordinary user the trial of the
/// table takes a user namespace, which a process with several threads may not enter.
pub fn run(config: Option<(&Config, &Path)>) -> bool {
    let host = Host::this();
    let mut findings = vec![kernel(&host)];
    findings.extend(capabilities(&host));
    findings.extend(settings(&host));
    findings.extend(disturbances(&host));
    findings.extend(limits(&host));
    findings.push(namespaces(&host));
    findings.extend(confinement::of_host());
    // Last, since it moves this thread into another namespace.
    findings.insert(1, rules(&host, try_rules()));
    let own = config.map_or_else(Vec::new, |(config, file)| confinement::of_config(config, file));
    let takes_nat = config.is_none_or(|(config, file)| takes_nat(config, file));
    let verdict = Verdict::of(&findings, &own, takes_nat);
    findings.extend(own);
    // A reader that has gone away is no reason to fail.
    let _ = write!(std::io::stdout(), "{}\n{verdict}", show::table(&findings));
    verdict.is_well()
}

/// True if a configuration is one of a NAT gateway: the other kind gets by with the relay path.
fn takes_nat(config: &Config, file: &Path) -> bool {
    app::needs(config, Some(file)).rights.contains(&Right::NetAdmin)
}

fn kernel(host: &Host) -> Finding {
    const PURPOSE: &str = "a table that vanishes with its owner (5.12 or newer)";
    let Some(release) = host.kernel_release() else {
        return Finding::note("kernel release unknown", PURPOSE, "mount /proc");
    };
    let what = format!("kernel {release}");
    match version_of(&release) {
        None => Finding::note(what, PURPOSE, "the number cannot be read"),
        Some(version) if version < (5, 12) => {
            Finding::missing(what, PURPOSE, "a newer kernel; the relay path works with this one")
        }
        Some(version) if version < (6, 12) => Finding::ok(
            format!("{what} (before 6.12 an element's timeout is renewed by replacing it)"),
            PURPOSE,
        ),
        Some(_) => Finding::ok(what, PURPOSE),
    }
}

fn capabilities(host: &Host) -> [Finding; 2] {
    const ADMIN: &str = "nftables, transparent sockets, policy routes";
    const BIND: &str = "listening on port 21 and others below 1024";
    let admin = if host.has_capability(Capability::NetAdmin) {
        Finding::ok("CAP_NET_ADMIN", ADMIN)
    } else {
        Finding::missing(
            "no CAP_NET_ADMIN",
            ADMIN,
            "run as root, or: setcap cap_net_admin,cap_net_bind_service+ep ftpgate",
        )
    };
    let first_free = host.sysctl("net/ipv4/ip_unprivileged_port_start").unwrap_or(1024);
    let bind = if host.has_capability(Capability::NetBindService) {
        Finding::ok("CAP_NET_BIND_SERVICE", BIND)
    } else if first_free <= 21 {
        Finding::ok(format!("ports from {first_free} up are free for all"), BIND)
    } else {
        Finding::note(
            "no CAP_NET_BIND_SERVICE",
            BIND,
            "not needed where listeners use high ports (capture tproxy, redirect)",
        )
    };
    [admin, bind]
}

/// What trying the gateway's own table brought.
#[derive(Debug, PartialEq, Eq)]
enum Trial {
    /// The kernel took it.
    Works,
    /// The kernel refused it.
    Refused(String),
    /// There was no namespace to try it in.
    NotTried(String),
}

fn rules(host: &Host, trial: Trial) -> Finding {
    const PURPOSE: &str = "pinholes, NAT, tproxy capture, conntrack events";
    /// The parts of the kernel that the gateway's table and its conntrack socket use.
    const MODULES: [&str; 6] =
        ["nf_tables", "nft_ct", "nft_nat", "nft_tproxy", "nft_socket", "nf_conntrack_netlink"];
    let reason = match trial {
        Trial::Works => {
            return Finding::ok("nf_tables takes the gateway's table (tried)", PURPOSE);
        }
        Trial::Refused(why) => {
            let remedy = format!("a kernel with {}", MODULES.join(", "));
            return Finding::missing(format!("nf_tables: {why}"), PURPOSE, remedy);
        }
        Trial::NotTried(reason) => reason,
    };
    let absent: Vec<&str> = MODULES.into_iter().filter(|module| !host.has_module(module)).collect();
    if absent.is_empty() {
        Finding::ok("nf_tables and what it takes are there (not tried)", PURPOSE)
    } else {
        Finding::note(
            format!("nf_tables not tried: {reason}"),
            PURPOSE,
            format!("as root it is tried; no sign of {}", absent.join(", ")),
        )
    }
}

fn settings(host: &Host) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, family, needed) in
        [("net/ipv4/ip_forward", "IPv4", true), ("net/ipv6/conf/all/forwarding", "IPv6", false)]
    {
        let purpose = match needed {
            true => "IPv4 data connections on the kernel path",
            false => "IPv6 data connections on the kernel path",
        };
        let dotted = key.replace('/', ".");
        let remedy = format!("sysctl -w {dotted}=1   (and in /etc/sysctl.d)");
        findings.push(match host.sysctl(key) {
            Some(1..) => Finding::ok(format!("{dotted} is on"), purpose),
            Some(_) if needed => Finding::missing(format!("{dotted} is off"), purpose, remedy),
            Some(_) => Finding::note(format!("{dotted} is off"), purpose, remedy),
            None => Finding::note(format!("this host has no {family}"), purpose, "nothing to do"),
        });
    }
    for (key, purpose, needed) in [
        ("net/netfilter/nf_conntrack_acct", "byte counts on the kernel path", false),
        ("net/netfilter/nf_conntrack_events", "the end of transfers on the kernel path", true),
    ] {
        let dotted = key.replace('/', ".");
        let remedy = format!("sysctl -w {dotted}=1   (and in /etc/sysctl.d)");
        findings.push(match host.sysctl(key) {
            Some(1..) => Finding::ok(format!("{dotted} is on"), purpose),
            Some(_) if needed => Finding::missing(format!("{dotted} is off"), purpose, remedy),
            Some(_) => Finding::note(format!("{dotted} is off"), purpose, remedy),
            None => Finding::note(
                format!("{dotted} is not there"),
                purpose,
                "it appears with conntrack: modprobe nf_conntrack",
            ),
        });
    }
    findings
}

/// What may do the gateway's work behind its back, or drop its packets.
fn disturbances(host: &Host) -> [Finding; 2] {
    const ROUTES: &str = "asymmetric routes";
    const HELPER: &str = "FTP lines rewritten once, by the gateway alone";
    let strict = host.strict_reverse_path();
    let routes = if strict.is_empty() {
        Finding::ok("no strict reverse path filter", ROUTES)
    } else {
        Finding::note(
            format!("strict reverse path filter: {}", strict.join(", ")),
            ROUTES,
            "where routes are asymmetric: sysctl -w net.ipv4.conf.IF.rp_filter=2",
        )
    };
    let helper = if host.sysctl("net/netfilter/nf_conntrack_helper") == Some(1) {
        Finding::note(
            "the kernel's own FTP helper may be assigned to port 21 by itself",
            HELPER,
            "sysctl -w net.netfilter.nf_conntrack_helper=0",
        )
    } else if host.is_loaded("nf_conntrack_ftp") {
        Finding::note(
            "nf_conntrack_ftp is loaded",
            HELPER,
            "see that no rule assigns it: nft list ruleset | grep helper; iptables -t raw -S",
        )
    } else {
        Finding::ok("the kernel assigns no FTP helper by itself", HELPER)
    };
    [routes, helper]
}

fn limits(host: &Host) -> [Finding; 2] {
    const PIPES: &str = "splice(2) on the relay path, in full-size pipes";
    const FILES: &str = "sessions: two sockets each, and more on the relay path";
    let pages = host.sysctl("fs/pipe-user-pages-soft").unwrap_or(0);
    // CAP_SYS_RESOURCE would lift it; a gateway gives that up.
    let pipes = if pages == 0 {
        Finding::ok("pipe buffers are not limited", PIPES)
    } else {
        Finding::note(
            format!("pipe buffers for {} transfers at once", pages / PIPE_PAGES_PER_TRANSFER),
            PIPES,
            "more of them work, at several times the processor time: sysctl -w fs.pipe-user-pages-soft=0",
        )
    };
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    // `run` raises the limit in force to the highest.
    let files = match limit.maximum {
        Some(most) if most < OPEN_FILES_WANTED => Finding::note(
            format!("{most} open files at most"),
            FILES,
            "ulimit -n 65536, or LimitNOFILE=65536 in the systemd unit",
        ),
        Some(most) => Finding::ok(format!("{most} open files at most"), FILES),
        None => Finding::ok("open files are not limited", FILES),
    };
    [pipes, files]
}

fn namespaces(host: &Host) -> Finding {
    const PURPOSE: &str = "ftpgate demo as an ordinary user";
    for (key, forbids, wanted) in [
        ("user/max_user_namespaces", 0, "15000"),
        ("kernel/unprivileged_userns_clone", 0, "1"),
        ("kernel/apparmor_restrict_unprivileged_userns", 1, "0"),
    ] {
        if host.sysctl(key) == Some(forbids) {
            let dotted = key.replace('/', ".");
            return Finding::note(
                format!("user namespaces are shut: {dotted} = {forbids}"),
                PURPOSE,
                format!("sysctl -w {dotted}={wanted}, or run the demo as root"),
            );
        }
    }
    match host.sysctl("user/max_user_namespaces") {
        Some(_) => Finding::ok("user namespaces", PURPOSE),
        None => Finding::note(
            "this kernel has no user namespaces",
            PURPOSE,
            "run the demo as root; else it falls back to loopback",
        ),
    }
}

/// Starts a gateway's table in a namespace of this thread's own, with everything that a gateway
/// may put into it.
fn try_rules() -> Trial {
    if let Err(why) = demo::enter_namespace() {
        return Trial::NotTried(why.to_string());
    }
    let everywhere = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    let captures = [(CaptureKind::Tproxy, 2121), (CaptureKind::Redirect, 2122)];
    let settings = Settings {
        table: "ftpgate_doctor".to_owned(),
        mark: 0x2100,
        captures: captures
            .map(|(kind, port)| Capture {
                kind,
                ports: vec![port - 2100],
                to: everywhere(port),
                dual: true,
            })
            .to_vec(),
        intake: Some(Intake { v4: Some(2123), v6: Some(2124) }),
        transparent: true,
        blind_ports: "60000-60100".parse().ok(),
    };
    match Firewall::start(&settings) {
        Ok(firewall) => {
            firewall.shutdown();
            Trial::Works
        }
        Err(why) => Trial::Refused(why.to_string()),
    }
}

#[cfg(test)]
mod tests;
