//! Tables as nftables text, for `ftpgate rules` and for owners who want to see what is installed.

use super::rule::{Chain, Family, Holds, Hook, Policy, Rule, SET_SIZE, Set, SetName, Table, Term};
use super::ruleset;
use super::settings::{CaptureKind, Settings};
use std::fmt::{self, Write};

/// The table that [`super::Firewall::start`] installs for these settings, as text that
/// `nft -c -f` accepts.
pub fn render(settings: &Settings) -> String {
    let mut text = String::from(
        "# Installed by ftpgate itself while it runs, and owned by it: it sets marks and translates\n\
         # addresses. What may pass is decided by the owner's own rules.\n",
    );
    // Writing to a String cannot fail.
    let _ = write_table(&mut text, &ruleset::gateway(settings));
    text.push('\n');
    let _ = write_table(&mut text, &ruleset::keeper(settings));
    text
}

/// The lines that the owner of the firewall adds, so that what ftpgate has marked may pass; with
/// nft commands for a table `inet filter` with chains `forward` and `input`.
pub fn owner_rules(settings: &Settings) -> String {
    let mark = settings.mark;
    let mut text = format!(
        "# In the chain that filters forwarded packets, ahead of any drop:\n\
         #     ct state established,related accept\n\
         #     ct mark {mark:#x} accept\n\
         add rule inet filter forward ct state established,related accept\n\
         add rule inet filter forward ct mark {mark:#x} accept\n"
    );
    let tproxy = settings.captures.iter().any(|capture| capture.kind == CaptureKind::Tproxy);
    if tproxy || settings.transparent || settings.intake.is_some() {
        let _ = write!(
            text,
            "# In the chain that filters packets to this host (captured connections keep their\n\
             # destination and bear the packet mark):\n\
             add rule inet filter input meta mark {mark:#x} accept\n"
        );
    }
    for capture in settings.captures.iter().filter(|c| c.kind == CaptureKind::Redirect) {
        let _ = write!(
            text,
            "# Redirected control connections:\n\
             add rule inet filter input tcp dport {} ct status dnat accept\n",
            capture.to.port()
        );
    }
    text
}

fn write_table(out: &mut String, table: &Table) -> fmt::Result {
    writeln!(out, "table inet {} {{", table.name)?;
    for set in &table.sets {
        write_set(out, set)?;
    }
    for (index, chain) in table.chains.iter().enumerate() {
        if index > 0 || !table.sets.is_empty() {
            writeln!(out)?;
        }
        write_chain(out, chain)?;
    }
    writeln!(out, "}}")
}

fn write_set(out: &mut String, set: &Set) -> fmt::Result {
    let purpose = match set.name {
        SetName::Pin => "who may come in, once: peer . address dialled . port dialled",
        SetName::Cap => "likewise, for connections that the gateway itself carries",
        SetName::Dnat => "where it goes",
        SetName::Snat => "whom the far side sees",
    };
    let address = match set.family {
        Family::V4 => "ipv4_addr",
        Family::V6 => "ipv6_addr",
    };
    let (word, data, flags) = match set.name.holds() {
        Holds::Keys => ("set", String::new(), "dynamic, timeout"),
        Holds::Endpoint => ("map", format!(" : {address} . inet_service"), "timeout"),
        Holds::Address => ("map", format!(" : {address}"), "timeout"),
    };
    let name = set.name.of(set.family);
    writeln!(out, "\t{word} {name} {{ # {purpose}")?;
    writeln!(out, "\t\ttype {address} . {address} . inet_service{data}")?;
    writeln!(out, "\t\tsize {SET_SIZE}\n\t\tflags {flags}\n\t}}")
}

fn write_chain(out: &mut String, chain: &Chain) -> fmt::Result {
    let hook = match chain.hook {
        Hook::Prerouting => "prerouting",
        Hook::Forward => "forward",
        Hook::Postrouting => "postrouting",
    };
    let policy = match chain.policy {
        Policy::Accept => "accept",
        Policy::Drop => "drop",
    };
    let (kind, priority) = (chain.kind.name(), chain.priority);
    writeln!(out, "\tchain {} {{ # {}", chain.name, chain.purpose)?;
    writeln!(out, "\t\ttype {kind} hook {hook} priority {priority}; policy {policy};")?;
    let mut purpose = "";
    for rule in &chain.rules {
        if rule.purpose != purpose && !rule.purpose.is_empty() {
            purpose = rule.purpose;
            writeln!(out, "\t\t# {purpose}")?;
        }
        write_rule(out, rule)?;
    }
    writeln!(out, "\t}}")
}

fn write_rule(out: &mut String, rule: &Rule) -> fmt::Result {
    out.push_str("\t\t");
    for (index, term) in rule.terms.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        write_term(out, *term)?;
    }
    out.push('\n');
    Ok(())
}

fn write_term(out: &mut String, term: Term) -> fmt::Result {
    match term {
        Term::Is(Family::V4) => write!(out, "meta nfproto ipv4"),
        Term::Is(Family::V6) => write!(out, "meta nfproto ipv6"),
        Term::Tcp => write!(out, "meta l4proto tcp"),
        Term::Syn => write!(out, "tcp flags & (fin | syn | rst | ack) == syn"),
        Term::Port(port) => write!(out, "tcp dport {port}"),
        Term::New => write!(out, "ct state new"),
        Term::Established => write!(out, "ct state established,related"),
        Term::ConnectionMark(mark) => write!(out, "ct mark {mark:#x}"),
        Term::OwnSocket => write!(out, "socket transparent 1 socket wildcard 0"),
        Term::KeyIn(set, family) => write!(out, "{} @{}", packet_key(family), set.of(family)),
        Term::DeleteKey(set, family) => {
            write!(out, "delete @{} {{ {} }}", set.of(family), packet_key(family))
        }
        Term::MarkConnection(mark) => write!(out, "ct mark set {mark:#x}"),
        Term::MarkPacket(mark) => write!(out, "meta mark set {mark:#x}"),
        Term::Tproxy(family, None, port) => write!(out, "tproxy {} to :{port}", ip(family)),
        Term::Tproxy(family, Some(address), port) => {
            let to = std::net::SocketAddr::new(address, port);
            write!(out, "tproxy {} to {to}", ip(family))
        }
        Term::Redirect(port) => write!(out, "redirect to :{port}"),
        Term::Dnat(to) => write!(out, "dnat {} to {to}", ip(Family::of(to.ip()))),
        Term::DnatByKey(family) => {
            let map = SetName::Dnat.of(family);
            write!(out, "dnat {} to {} map @{map}", ip(family), packet_key(family))
        }
        Term::SnatByKey(family) => {
            let (ip, map) = (ip(family), SetName::Snat.of(family));
            write!(
                out,
                "snat {ip} to ct original {ip} saddr . ct original {ip} daddr . \
                 ct original proto-dst map @{map}"
            )
        }
        Term::Accept => write!(out, "accept"),
    }
}

fn packet_key(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip saddr . ip daddr . tcp dport",
        Family::V6 => "ip6 saddr . ip6 daddr . tcp dport",
    }
}

fn ip(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}
