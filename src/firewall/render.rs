//! Tables as nftables text, for `ftpgate rules` and for owners who want to see what is installed.

use super::rule::{
    Chain, Family, Holds, Hook, Key, Policy, Rule, SET_SIZE, Set, SetName, Table, Term,
};
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
        SetName::Blind => "between whom a range of ports is open: client . address dialled",
        SetName::BlindDnat => "where connections to that range go",
        SetName::BlindSnat => "and whom the far side then sees",
    };
    let address = match set.family {
        Family::V4 => "ipv4_addr",
        Family::V6 => "ipv6_addr",
    };
    let port = match set.name.key() {
        Key::Endpoint => " . inet_service",
        Key::Pair => "",
    };
    let (word, data) = match set.name.holds() {
        Holds::Keys => ("set", String::new()),
        Holds::Endpoint => ("map", format!(" : {address} . inet_service")),
        Holds::Address => ("map", format!(" : {address}")),
    };
    let name = set.name.of(set.family);
    writeln!(out, "\t{word} {name} {{ # {purpose}")?;
    writeln!(out, "\t\ttype {address} . {address}{port}{data}")?;
    writeln!(out, "\t\tsize {SET_SIZE}")?;
    match (set.name.is_used_up(), set.name.expires()) {
        (true, _) => writeln!(out, "\t\tflags dynamic, timeout")?,
        (false, true) => writeln!(out, "\t\tflags timeout")?,
        (false, false) => {}
    }
    writeln!(out, "\t}}")
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
        Term::PortIn(range) => write!(out, "tcp dport {range}"),
        Term::New => write!(out, "ct state new,related"),
        Term::Established => write!(out, "ct state established,related"),
        Term::ConnectionMark(mark) => write!(out, "ct mark {mark:#x}"),
        Term::OwnSocket => write!(out, "socket transparent 1 socket wildcard 0"),
        Term::KeyIn(set, family) => write!(out, "{} @{}", packet_key(set, family), set.of(family)),
        Term::DeleteKey(set, family) => {
            write!(out, "delete @{} {{ {} }}", set.of(family), packet_key(set, family))
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
        Term::DnatByKey(map, family) => {
            let (key, name) = (packet_key(map, family), map.of(family));
            write!(out, "dnat {} to {key} map @{name}", ip(family))
        }
        Term::SnatByKey(map, family) => {
            let (ip, name) = (ip(family), map.of(family));
            let port = match map.key() {
                Key::Endpoint => " . ct original proto-dst",
                Key::Pair => "",
            };
            write!(
                out,
                "snat {ip} to ct original {ip} saddr . ct original {ip} daddr{port} map @{name}"
            )
        }
        Term::Accept => write!(out, "accept"),
    }
}

fn packet_key(set: SetName, family: Family) -> &'static str {
    match (set.key(), family) {
        (Key::Endpoint, Family::V4) => "ip saddr . ip daddr . tcp dport",
        (Key::Endpoint, Family::V6) => "ip6 saddr . ip6 daddr . tcp dport",
        (Key::Pair, Family::V4) => "ip saddr . ip daddr",
        (Key::Pair, Family::V6) => "ip6 saddr . ip6 daddr",
    }
}

fn ip(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(blind_ports: &str) -> Settings {
        Settings {
            table: "ftpgate".to_owned(),
            mark: 0x2100,
            captures: Vec::new(),
            intake: None,
            transparent: false,
            blind_ports: blind_ports.parse().ok(),
        }
    }

    /// The lines of `with` that are not in `without`, in order.
    fn added<'a>(with: &'a str, without: &str) -> Vec<&'a str> {
        let mut rest = without.lines().peekable();
        with.lines().filter(|line| rest.next_if_eq(line).is_none()).collect()
    }

    #[test]
    fn a_range_is_open_between_two_ends_after_all_pinholes() {
        let (with, without) = (render(&settings("60000-60100")), render(&settings("none")));
        assert!(!without.contains("blind"), "{without}");
        let added = added(&with, &without);
        let rules: Vec<_> = added.iter().filter(|line| line.contains("nfproto ipv6")).collect();
        assert_eq!(
            rules,
            [
                &"\t\tmeta nfproto ipv6 meta l4proto tcp ct state new,related \
                  tcp flags & (fin | syn | rst | ack) == syn tcp dport 60000-60100 \
                  ip6 saddr . ip6 daddr @blind6 ct mark set 0x2100 accept",
                &"\t\tmeta nfproto ipv6 meta l4proto tcp ct mark 0x2100 tcp dport 60000-60100 \
                  dnat ip6 to ip6 saddr . ip6 daddr map @blind_dnat6",
                &"\t\tmeta nfproto ipv6 meta l4proto tcp ct mark 0x2100 \
                  snat ip6 to ct original ip6 saddr . ct original ip6 daddr map @blind_snat6",
            ]
        );
        let set = "\tset blind4 { # between whom a range of ports is open: client . address dialled\n\
                   \t\ttype ipv4_addr . ipv4_addr\n\t\tsize 65536\n\t}\n";
        assert!(with.contains(set), "{with}");
        let map = "\t\ttype ipv6_addr . ipv6_addr : ipv6_addr\n\t\tsize 65536\n\t}\n";
        assert_eq!(with.matches(map).count(), 2, "{with}");
        let pinhole = with.find("delete @pin6").unwrap();
        assert!(pinhole < with.find("@blind4 ct mark set").unwrap(), "{with}");
    }

    #[test]
    fn a_range_of_one_port_is_a_port() {
        assert!(
            render(&settings("60000-60000")).contains(" tcp dport 60000 ip saddr . ip daddr @")
        );
    }
}
