//! The gateway's own ruleset, and which elements an [`Opening`] or a [`BlindRange`] is made of.
//!
//! The chains run ahead of the owner's (ten before `dstnat` and `srcnat`; the entry at `mangle`, as
//! tproxy wants it), set marks and translate addresses. What may pass is the owner's decision.

use super::error::FirewallError;
use super::rule::{Chain, ChainKind, Family, Hook, Policy, Rule, Set, SetName, Table, Term};
use super::settings::{Capture, CaptureKind, Settings};
use super::{BlindRange, Opening};
use crate::addr::canonical;
use crate::pinhole::{Pinhole, PortRange};
use std::net::{IpAddr, SocketAddr};

/// `NF_IP_PRI_MANGLE`: after conntrack, ahead of dstnat.
const PRIORITY_ENTRY: i32 = -150;
/// `NF_IP_PRI_NAT_DST` − 10: ahead of the owner's destination NAT.
const PRIORITY_DSTNAT: i32 = -110;
/// `NF_IP_PRI_NAT_SRC` − 10: ahead of the owner's masquerade. The first chain that translates a
/// connection decides, so the owner's rules leave it alone.
const PRIORITY_SRCNAT: i32 = 90;
/// `NF_IP_PRI_FILTER`.
const PRIORITY_FILTER: i32 = 0;

/// The table for these settings.
pub(super) fn gateway(settings: &Settings) -> Table {
    Table {
        name: settings.table.clone(),
        sets: sets(settings),
        chains: vec![entry(settings), destination(settings), source(settings)],
    }
}

/// A table that outlives the process, without an owner: an idle chain of type nat.
///
/// The kernel translates the packets of a running connection only while the namespace has some
/// chain of that type, and sees connections only while some rule asks for them. On a host whose
/// owner has neither, running transfers would break with the gateway's own table.
pub(super) fn keeper(settings: &Settings) -> Table {
    Table {
        name: format!("{}_keep", settings.table),
        sets: Vec::new(),
        chains: vec![Chain {
            name: "idle",
            purpose: "Decides nothing: running connections stay translated while it is there.",
            kind: ChainKind::Nat,
            hook: Hook::Prerouting,
            priority: PRIORITY_DSTNAT + 1,
            policy: Policy::Accept,
            rules: vec![Rule {
                purpose: "",
                terms: vec![Term::ConnectionMark(settings.mark), Term::Accept],
            }],
        }],
    }
}

/// A forward policy such as an owner has: only what stands, and what bears the mark.
pub(super) fn demo_owner(mark: u32) -> Table {
    Table {
        name: "demo_owner".to_owned(),
        sets: Vec::new(),
        chains: vec![Chain {
            name: "pass",
            purpose: "The owner's policy: what is not let through here is dropped.",
            kind: ChainKind::Filter,
            hook: Hook::Forward,
            priority: PRIORITY_FILTER,
            policy: Policy::Drop,
            rules: vec![
                Rule { purpose: "", terms: vec![Term::Established, Term::Accept] },
                Rule { purpose: "", terms: vec![Term::ConnectionMark(mark), Term::Accept] },
            ],
        }],
    }
}

fn sets(settings: &Settings) -> Vec<Set> {
    let mut sets = Vec::new();
    for name in [SetName::Pin, SetName::Cap, SetName::Dnat, SetName::Snat] {
        for family in Family::BOTH {
            if name != SetName::Cap || intake(settings, family).is_some() {
                sets.push(Set { name, family });
            }
        }
    }
    if settings.blind_ports.is_some() {
        for name in [SetName::Blind, SetName::BlindDnat, SetName::BlindSnat] {
            sets.extend(Family::BOTH.map(|family| Set { name, family }));
        }
    }
    sets
}

/// The port of the data listener for a family.
pub(super) fn intake(settings: &Settings, family: Family) -> Option<u16> {
    let intake = settings.intake?;
    match family {
        Family::V4 => intake.v4,
        Family::V6 => intake.v6,
    }
}

/// Decides at a connection's first packet, and deletes what let it in: whatever the owner's policy
/// is, there is no second time.
fn entry(settings: &Settings) -> Chain {
    let mark = settings.mark;
    let mut rules = vec![Rule {
        purpose: "A connection that came through a pinhole: all is decided.",
        terms: vec![Term::ConnectionMark(mark), Term::Accept],
    }];
    if settings.transparent {
        rules.push(Rule {
            purpose: "The gateway's own connections that bear another host's address.",
            terms: vec![Term::Tcp, Term::OwnSocket, Term::MarkPacket(mark), Term::Accept],
        });
    }
    for family in Family::BOTH {
        let deed = Term::MarkConnection(mark);
        let mut terms = through(SetName::Pin, family, deed);
        terms.push(Term::Accept);
        rules.push(Rule {
            purpose: "A pinhole carried by the kernel: the first packet uses it up.",
            terms,
        });
    }
    for family in Family::BOTH {
        let Some(port) = intake(settings, family) else { continue };
        let captured = settings.captured_mark();
        rules.push(Rule {
            purpose: "A pinhole carried by the gateway: the first packet uses it up,",
            terms: through(SetName::Cap, family, Term::MarkConnection(captured)),
        });
        rules.push(Rule {
            purpose: "and the whole connection is delivered to the data listener.",
            terms: vec![
                Term::Is(family),
                Term::Tcp,
                Term::ConnectionMark(captured),
                Term::MarkPacket(mark),
                Term::Tproxy(family, None, port),
                Term::Accept,
            ],
        });
    }
    for (capture, port, family) in captured(settings, CaptureKind::Tproxy) {
        let address = Some(capture.to.ip()).filter(|address| !address.is_unspecified());
        rules.push(Rule {
            purpose: "Control connections, delivered unchanged to a listener.",
            terms: vec![
                Term::Is(family),
                Term::Tcp,
                Term::Port(port),
                Term::MarkPacket(mark),
                Term::Tproxy(family, address, capture.to.port()),
                Term::Accept,
            ],
        });
    }
    // Last, so that a pinhole to one of these ports is used up by the connection it is for.
    for (range, family) in blind(settings) {
        rules.push(Rule {
            purpose: "The ports of sessions that cannot be read, between their two ends only.",
            terms: vec![
                Term::Is(family),
                Term::Tcp,
                Term::New,
                Term::Syn,
                port_in(range),
                Term::KeyIn(SetName::Blind, family),
                Term::MarkConnection(mark),
                Term::Accept,
            ],
        });
    }
    Chain {
        name: "entry",
        purpose: "Who may come in, once.",
        kind: ChainKind::Filter,
        hook: Hook::Prerouting,
        priority: PRIORITY_ENTRY,
        policy: Policy::Accept,
        rules,
    }
}

/// The first packet of a connection whose key is in the set. It has to be a SYN: a late packet of
/// an earlier connection between the same ports would use up the pinhole of the next.
fn through(set: SetName, family: Family, deed: Term) -> Vec<Term> {
    vec![
        Term::Is(family),
        Term::Tcp,
        Term::New,
        Term::Syn,
        Term::KeyIn(set, family),
        Term::DeleteKey(set, family),
        deed,
    ]
}

fn destination(settings: &Settings) -> Chain {
    let mut rules = Vec::new();
    for family in Family::BOTH {
        rules.push(Rule {
            purpose: "Connections through a pinhole go on to their target.",
            terms: vec![
                Term::Is(family),
                Term::Tcp,
                Term::ConnectionMark(settings.mark),
                Term::DnatByKey(SetName::Dnat, family),
            ],
        });
    }
    for (range, family) in blind(settings) {
        rules.push(Rule {
            purpose: "Connections of a session that cannot be read go on to its server.",
            terms: vec![
                Term::Is(family),
                Term::Tcp,
                Term::ConnectionMark(settings.mark),
                port_in(range),
                Term::DnatByKey(SetName::BlindDnat, family),
            ],
        });
    }
    for (capture, port, family) in captured(settings, CaptureKind::Redirect) {
        let to = match capture.to.ip().is_unspecified() {
            true => Term::Redirect(capture.to.port()),
            false => Term::Dnat(capture.to),
        };
        rules.push(Rule {
            purpose: "Control connections, translated to a listener.",
            terms: vec![Term::Is(family), Term::Tcp, Term::Port(port), to],
        });
    }
    Chain {
        name: "destination",
        purpose: "Where it goes.",
        kind: ChainKind::Nat,
        hook: Hook::Prerouting,
        priority: PRIORITY_DSTNAT,
        policy: Policy::Accept,
        rules,
    }
}

fn source(settings: &Settings) -> Chain {
    let translated = |map, family| Rule {
        purpose: "Connections come from the address that the far side knows.",
        terms: vec![
            Term::Is(family),
            Term::Tcp,
            Term::ConnectionMark(settings.mark),
            Term::SnatByKey(map, family),
        ],
    };
    let pinholes = Family::BOTH.map(|family| translated(SetName::Snat, family));
    let blind = blind(settings).map(|(_, family)| translated(SetName::BlindSnat, family));
    let rules = pinholes.into_iter().chain(blind).collect();
    Chain {
        name: "source",
        purpose: "Whom the far side sees.",
        kind: ChainKind::Nat,
        hook: Hook::Postrouting,
        priority: PRIORITY_SRCNAT,
        policy: Policy::Accept,
        rules,
    }
}

/// The range that is opened for sessions that cannot be read, in each family.
fn blind(settings: &Settings) -> impl Iterator<Item = (PortRange, Family)> {
    settings.blind_ports.into_iter().flat_map(|range| Family::BOTH.map(|family| (range, family)))
}

/// A range of one port is no range to nft.
fn port_in(range: PortRange) -> Term {
    match range.len() {
        1 => Term::Port(range.first()),
        _ => Term::PortIn(range),
    }
}

/// Each port and family of the captures of one kind.
fn captured(
    settings: &Settings,
    kind: CaptureKind,
) -> impl Iterator<Item = (&Capture, u16, Family)> {
    settings.captures.iter().filter(move |capture| capture.kind == kind).flat_map(|capture| {
        let families = Family::BOTH
            .into_iter()
            .filter(|family| capture.dual || *family == Family::of(capture.to.ip()));
        families
            .flat_map(move |family| capture.ports.iter().map(move |port| (capture, *port, family)))
    })
}

/// One element of a set or map, in the kernel's own layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) set: SetName,
    pub(super) family: Family,
    pub(super) key: Layout,
    /// Empty for a set.
    pub(super) data: Layout,
}

/// Concatenated values, each padded to four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Layout {
    /// Two IPv6 addresses and a port are the longest.
    bytes: [u8; 36],
    length: usize,
}

impl Layout {
    const EMPTY: Self = Self { bytes: [0; 36], length: 0 };

    fn address(mut self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.push(&address.octets()),
            IpAddr::V6(address) => self.push(&address.octets()),
        }
        self
    }

    fn endpoint(self, endpoint: SocketAddr) -> Self {
        let mut layout = self.address(endpoint.ip());
        let [high, low] = endpoint.port().to_be_bytes();
        layout.push(&[high, low, 0, 0]);
        layout
    }

    fn push(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + bytes.len()) {
            room.copy_from_slice(bytes);
            self.length += bytes.len();
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// What all elements of a pinhole have in common.
pub(super) fn pinhole_key(pinhole: Pinhole) -> Layout {
    let (peer, entry) = (pinhole.peer.to_canonical(), canonical(pinhole.entry));
    Layout::EMPTY.address(peer).endpoint(entry)
}

/// The elements of an opening, the one that lets packets in last: it appears with the others in one
/// atomic step, but where elements are handled one by one the order still is the safe one.
///
/// # Errors
///
/// [`FirewallError::MixedFamilies`] if the opening's addresses are not of one family.
pub(super) fn elements(opening: &Opening) -> Result<Vec<Element>, FirewallError> {
    let pinhole = opening.pinhole();
    let (peer, entry) = (pinhole.peer.to_canonical(), canonical(pinhole.entry));
    let family = Family::of(peer);
    let key = pinhole_key(pinhole);
    let element = |set, data| Element { set, family, key, data };
    let (elements, others) = match *opening {
        Opening::Forward { target, source, .. } => {
            let (target, source) = (canonical(target), source.to_canonical());
            // The maps are always filled, with equal addresses too: a connection that is already
            // translated, even to itself, is left alone by the owner's masquerade.
            let elements = vec![
                element(SetName::Dnat, Layout::EMPTY.endpoint(target)),
                element(SetName::Snat, Layout::EMPTY.address(source)),
                element(SetName::Pin, Layout::EMPTY),
            ];
            (elements, [entry.ip(), target.ip(), source])
        }
        Opening::Capture { .. } => (vec![element(SetName::Cap, Layout::EMPTY)], [entry.ip(); 3]),
    };
    match others.into_iter().all(|address| Family::of(address) == family) {
        true => Ok(elements),
        false => Err(FirewallError::MixedFamilies),
    }
}

/// The elements of a range, the one that lets packets in last. Both maps are filled with equal
/// addresses too, as those of a pinhole. `range` is canonical.
pub(super) fn range_elements(range: &BlindRange) -> [Element; 3] {
    let BlindRange { client, entry, server, source } = *range;
    let family = Family::of(client);
    let key = Layout::EMPTY.address(client).address(entry);
    let element = |set, data| Element { set, family, key, data };
    [
        element(SetName::BlindDnat, Layout::EMPTY.address(server)),
        element(SetName::BlindSnat, Layout::EMPTY.address(source)),
        element(SetName::Blind, Layout::EMPTY),
    ]
}
