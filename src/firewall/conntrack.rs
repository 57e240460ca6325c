//! What conntrack says of the connections that bear the mark (`linux/netfilter/nfnetlink_conntrack.h`).
//!
//! Not here: what follows from it (see [`super::flows`]) and the thread (see [`super::watcher`]).

use super::FlowBytes;
use super::netlink::{
    Answer, GENERIC, NLMSG_DONE, NLMSG_ERROR, Requests, Socket, answers, attribute, flag, number,
};
use crate::pinhole::Pinhole;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SUBSYSTEM: u16 = 1 << 8;
/// A new entry, or news of one.
const NEW: u16 = SUBSYSTEM;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
/// `NFNLGRP_CONNTRACK_NEW`, `_UPDATE`, `_DESTROY`.
const GROUPS: [i32; 3] = [1, 2, 3];
/// Room for some ten thousand events; a burst beyond that is repaired by a dump.
const EVENT_ROOM: usize = 8 << 20;
/// `IPPROTO_TCP`.
const TCP: u8 = 6;

/// Attributes of a conntrack entry.
mod cta {
    pub(super) const TUPLE_ORIG: u16 = 1;
    pub(super) const PROTOINFO: u16 = 4;
    pub(super) const TIMEOUT: u16 = 7;
    pub(super) const MARK: u16 = 8;
    pub(super) const COUNTERS_ORIG: u16 = 9;
    pub(super) const COUNTERS_REPLY: u16 = 10;
    pub(super) const ID: u16 = 12;
    pub(super) const MARK_MASK: u16 = 21;
    pub(super) const TUPLE_IP: u16 = 1;
    pub(super) const TUPLE_PROTO: u16 = 2;
    pub(super) const PROTOINFO_TCP: u16 = 1;
    pub(super) const TCP_STATE: u16 = 1;
}

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// The first packet has passed.
    Began,
    /// Something about it changed.
    Changed,
    /// The entry is gone.
    Gone,
}

/// A TCP connection that bears the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Tells two successive connections with the same addresses apart.
    pub id: u32,
    /// Who dialled, and from which port.
    pub from: SocketAddr,
    /// Where it dialled, before translation.
    pub to: SocketAddr,
    /// The state that conntrack sees the connection in, where it says so.
    pub state: Option<State>,
    /// `None` in most events, and without `net.netfilter.nf_conntrack_acct`.
    pub bytes: Option<FlowBytes>,
    /// Seconds until conntrack forgets it if nothing moves; `None` in events.
    pub expires: Option<u32>,
}

/// As far as it matters here: whether the connection is over, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Opening, open or closing.
    Alive,
    /// Both sides have sent and acknowledged FIN.
    Finished,
    /// Reset by one side.
    Reset,
}

impl Flow {
    /// The pinhole it came through.
    pub(super) fn pinhole(&self) -> Pinhole {
        Pinhole::between(self.from, self.to)
    }

    /// Reads an entry; `None` unless it is a TCP connection with this mark.
    fn read(payload: &[u8], mark: u32) -> Option<Self> {
        let entry = payload.get(GENERIC..)?;
        if attribute(entry, cta::MARK).and_then(number) != Some(mark) {
            return None;
        }
        let tuple = attribute(entry, cta::TUPLE_ORIG)?;
        let addresses = attribute(tuple, cta::TUPLE_IP)?;
        let protocol = attribute(tuple, cta::TUPLE_PROTO)?;
        if attribute(protocol, 1)?.first() != Some(&TCP) {
            return None;
        }
        let address = |v4, v6| -> Option<IpAddr> {
            if let Some(bytes) = attribute(addresses, v4) {
                return Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into());
            }
            Some(Ipv6Addr::from(*attribute(addresses, v6)?.first_chunk::<16>()?).into())
        };
        let port = |kind| -> Option<u16> {
            Some(u16::from_be_bytes(*attribute(protocol, kind)?.first_chunk()?))
        };
        let counter = |kind| -> Option<u64> {
            let counters = attribute(entry, kind)?;
            Some(u64::from_be_bytes(*attribute(counters, 2)?.first_chunk()?))
        };
        let bytes = counter(cta::COUNTERS_ORIG)
            .zip(counter(cta::COUNTERS_REPLY))
            .map(|(original, reply)| FlowBytes { original, reply });
        Some(Self {
            id: attribute(entry, cta::ID).and_then(number)?,
            from: SocketAddr::new(address(1, 3)?, port(2)?),
            to: SocketAddr::new(address(2, 4)?, port(3)?),
            state: State::read(entry),
            bytes,
            expires: attribute(entry, cta::TIMEOUT).and_then(number),
        })
    }
}

impl State {
    /// `TCP_CONNTRACK_TIME_WAIT`.
    const TIME_WAIT: u8 = 7;
    /// `TCP_CONNTRACK_CLOSE`.
    const CLOSE: u8 = 8;

    fn read(entry: &[u8]) -> Option<Self> {
        let tcp = attribute(attribute(entry, cta::PROTOINFO)?, cta::PROTOINFO_TCP)?;
        Some(match *attribute(tcp, cta::TCP_STATE)?.first()? {
            Self::TIME_WAIT => Self::Finished,
            Self::CLOSE => Self::Reset,
            _ => Self::Alive,
        })
    }
}

/// The events in a datagram that are about TCP connections with this mark. What cannot be read is left
/// out.
pub fn events(datagram: &[u8], mark: u32) -> impl Iterator<Item = (Happening, Flow)> {
    answers(datagram).filter_map(move |answer| event(&answer, mark))
}

/// Reads an event; `None` unless it is about a TCP connection with this mark.
fn event(answer: &Answer<'_>, mark: u32) -> Option<(Happening, Flow)> {
    let happening = match answer.kind {
        NEW if answer.flags & (flag::CREATE | flag::EXCL) != 0 => Happening::Began,
        NEW => Happening::Changed,
        DELETE => Happening::Gone,
        _ => return None,
    };
    Some((happening, Flow::read(answer.payload, mark)?))
}

/// A socket that receives what matters of the events about connections with this mark, of the
/// network namespace of the calling thread.
pub(super) fn subscribe(mark: u32) -> io::Result<Socket> {
    let socket = Socket::open()?;
    socket.reserve(EVENT_ROOM);
    // Without it the same events are picked out here, after a wake-up each.
    if let Err(error) = socket.filter(&what_matters(mark)) {
        tracing::warn!(%error, "conntrack events cannot be filtered in the kernel");
    }
    for group in GROUPS {
        socket.subscribe(group)?;
    }
    Ok(socket)
}

/// A socket filter that passes, of the events about connections with this mark, the first one, the
/// last one, and those that tell of an end. A connection has some six changes of state, and a gateway
/// has many connections that are none of ours: without the filter each of them wakes the thread.
#[expect(clippy::cast_possible_truncation, reason = "libc widens the codes, which are 16 bits")]
fn what_matters(mark: u32) -> [libc::sock_filter; 27] {
    const ATTRIBUTES: u32 = 16 + 4;
    const KIND: u32 = 4;
    const FLAGS: u32 = 6;
    // `SKF_AD_OFF` + `SKF_AD_NLATTR` or `SKF_AD_NLATTR_NEST` of `linux/filter.h`: the attribute of
    // kind X that starts at A or later, or that lies inside the one at A; 0 if there is none.
    const FIND: u32 = (-0x1000_i32 + 12).cast_unsigned();
    const FIND_INSIDE: u32 = (-0x1000_i32 + 16).cast_unsigned();
    const DROP: u8 = 26;
    const PASS: u8 = 25;
    // Numbers are loaded in network byte order, while netlink headers are in the host's.
    let header = |number: u16| u32::from(number.to_be());
    let op = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    // Jumps are written as places and made relative.
    let jump = |at: u8, test: u32, k: u32, yes: u8, no: u8| libc::sock_filter {
        code: (libc::BPF_JMP | test | libc::BPF_K) as u16,
        jt: yes - at - 1,
        jf: no - at - 1,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_ABS;
    let set_a = |k| op(libc::BPF_LD | libc::BPF_IMM, k);
    let set_x = |k: u16| op(libc::BPF_LDX | libc::BPF_IMM, u32::from(k));
    let find = |k| op(load | libc::BPF_W, k);
    let x_from_a = op(libc::BPF_MISC | libc::BPF_TAX, 0);
    [
        set_a(ATTRIBUTES),
        set_x(cta::MARK),
        find(FIND),
        jump(3, libc::BPF_JEQ, 0, DROP, 4),
        x_from_a,
        op(libc::BPF_LD | libc::BPF_IND | libc::BPF_W, 4),
        jump(6, libc::BPF_JEQ, mark, 7, DROP),
        op(load | libc::BPF_H, KIND),
        jump(8, libc::BPF_JEQ, header(NEW), 9, PASS),
        op(load | libc::BPF_H, FLAGS),
        jump(10, libc::BPF_JSET, header(flag::CREATE | flag::EXCL), PASS, 11),
        set_a(ATTRIBUTES),
        set_x(cta::PROTOINFO),
        find(FIND),
        jump(14, libc::BPF_JEQ, 0, DROP, 15),
        set_x(cta::PROTOINFO_TCP),
        find(FIND_INSIDE),
        jump(17, libc::BPF_JEQ, 0, DROP, 18),
        set_x(cta::TCP_STATE),
        find(FIND_INSIDE),
        jump(20, libc::BPF_JEQ, 0, DROP, 21),
        x_from_a,
        op(libc::BPF_LD | libc::BPF_IND | libc::BPF_B, 4),
        jump(23, libc::BPF_JEQ, u32::from(State::TIME_WAIT), PASS, 24),
        jump(24, libc::BPF_JEQ, u32::from(State::CLOSE), PASS, DROP),
        op(libc::BPF_RET | libc::BPF_K, u32::MAX),
        op(libc::BPF_RET | libc::BPF_K, 0),
    ]
}

/// Asks conntrack about entries, over a socket of its own, so that answers and events do not mix.
#[derive(Debug)]
pub(super) struct Query {
    socket: Socket,
    requests: Requests,
    mark: u32,
}

impl Query {
    pub(super) fn open(mark: u32) -> io::Result<Self> {
        Ok(Self { socket: Socket::open()?, requests: Requests::default(), mark })
    }

    /// The entry as it is now; `None` if it is gone.
    pub(super) fn entry(&mut self, flow: &Flow) -> io::Result<Option<Flow>> {
        self.requests.clear();
        let family = family(flow)?;
        let sequence = self.requests.message(GET, 0, (family, 0), |r| name(r, flow));
        let mut found = None;
        self.ask(sequence, |answer, mark| {
            if answer.kind == NEW {
                found = Flow::read(answer.payload, mark);
            }
            true
        })?;
        Ok(found.filter(|found| found.id == flow.id))
    }

    /// Has conntrack forget the entry; one that is gone is no failure. Its end is told as an event.
    pub(super) fn forget(&mut self, flow: &Flow) -> io::Result<()> {
        self.requests.clear();
        let family = family(flow)?;
        let sequence = self.requests.message(DELETE, 0, (family, 0), |r| {
            name(r, flow);
            r.number(cta::ID, flow.id);
        });
        self.requests.acknowledge();
        let mut errno = 0;
        self.ask(sequence, |answer, _| {
            errno = answer.rejection().map_or(0, |rejection| rejection.errno);
            true
        })?;
        match errno {
            0 | libc::ENOENT => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// All entries with the mark.
    pub(super) fn all(&mut self) -> io::Result<Vec<Flow>> {
        self.requests.clear();
        let mark = self.mark;
        let sequence = self.requests.message(GET, flag::DUMP, (0, 0), |r| {
            r.number(cta::MARK, mark);
            r.number(cta::MARK_MASK, u32::MAX);
        });
        let mut flows = Vec::new();
        self.ask(sequence, |answer, mark| {
            flows.extend(Flow::read(answer.payload, mark));
            matches!(answer.kind, NLMSG_DONE | NLMSG_ERROR)
        })?;
        Ok(flows)
    }

    /// Sends the request and hands its answers over until `done` says that it was the last one.
    fn ask(
        &mut self,
        sequence: u32,
        mut done: impl FnMut(&Answer<'_>, u32) -> bool,
    ) -> io::Result<()> {
        self.socket.send(self.requests.as_bytes())?;
        loop {
            // The answer, or the next part of a dump, is there already: this never waits.
            let datagram = self.socket.receive(false)?;
            for answer in answers(datagram).filter(|answer| answer.sequence == sequence) {
                if done(&answer, self.mark) {
                    return Ok(());
                }
            }
        }
    }
}

fn family(flow: &Flow) -> io::Result<u8> {
    let family = if flow.from.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    u8::try_from(family).map_err(io::Error::other)
}

/// Which entry is meant.
fn name(requests: &mut Requests, flow: &Flow) {
    requests.nest(cta::TUPLE_ORIG, |r| {
        r.nest(cta::TUPLE_IP, |r| match (flow.from.ip(), flow.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                r.bytes(1, &from.octets());
                r.bytes(2, &to.octets());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                r.bytes(3, &from.octets());
                r.bytes(4, &to.octets());
            }
            // Conntrack has no such entry, and says so.
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
        });
        r.nest(cta::TUPLE_PROTO, |r| {
            r.bytes(1, &[TCP]);
            r.bytes(2, &flow.from.port().to_be_bytes());
            r.bytes(3, &flow.to.port().to_be_bytes());
        });
    });
}
