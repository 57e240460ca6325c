//! A look from aside: who speaks FTP here, to whom, in which mode and with which protection; what a
//! gateway would rewrite and open for it; and what would fail behind a NAT or a firewall, and why.
//!
//! For `ftpgate observe`, which reads an interface or a capture file. The conversations go through the
//! same [`crate::session`] as those of the gateway; nothing is sent, opened or changed.
//!
//! | file | what it holds |
//! |---|---|
//! | `file` | capture files, pcap and pcapng, as streams |
//! | `live` | an interface |
//! | `packet` | *pure*: a packet, down to its TCP segment |
//! | `stream` | *pure*: segments in any order, with holes, to two byte streams |
//! | `flows` | which connections are followed, as what, and for how long |
//! | `data` | *pure*: a data connection: how it went, and how many bytes |
//! | `conversation` | *pure*: a control connection through the session, and what is noted of it |
//! | `finding` | the closed set of what is worth knowing, and what helps |
//! | `record` | the objects of `--json` |
//! | `row` | a control connection in one line |
//!
//! Time is that of the capture everywhere. Everything a peer wrote is shown as a
//! [`crate::report::PeerText`]; passwords are never shown.

mod conversation;
mod data;
mod file;
pub mod finding;
mod flows;
mod live;
pub mod packet;
pub mod record;
mod row;
pub mod stream;

pub use conversation::Pretended;
pub use file::{FileCapture, Stop};
pub use live::{LiveCapture, now};
pub use row::Row;

use flows::Flows;
use packet::{LinkType, Skipped};
use record::{Control, Summary};
use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Hosts of each side that are told apart in the summary.
const MAX_HOSTS: usize = 65_536;

/// The ports where FTP is taken for granted: RFC 959, and implicit TLS.
pub const KNOWN_PORTS: [u16; 2] = [21, 990];

/// A packet of a capture.
#[derive(Debug, Clone, Copy)]
pub struct Captured<'a> {
    /// What it begins with; `None` for a kind that is not read.
    pub link: Option<LinkType>,
    /// When it was captured, since 1970.
    pub time: Duration,
    /// As far as it was captured.
    pub bytes: &'a [u8],
}

/// What a capture had to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A packet.
    Packet,
    /// Nothing for the moment.
    Idle,
    /// Nothing more.
    End,
}

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// There is no such interface.
    #[error("there is no interface {name:?}; there are: {others}")]
    NoInterface {
        /// As asked for.
        name: String,
        /// Those there are.
        others: String,
    },
    /// The right is missing.
    #[error(
        "packets of {name} may not be read: that takes CAP_NET_RAW. Start ftpgate as root, or give the \
         binary the right: setcap cap_net_raw=ep FTPGATE; a capture file (--read) takes none"
    )]
    NoRight {
        /// The interface.
        name: String,
    },
    /// The interface has frames of another kind.
    #[error(
        "the packets of {name} are of a kind that is not read (ARPHRD {kind}): Ethernet, loopback, tunnels and PPP are"
    )]
    KindOfInterface {
        /// The interface.
        name: String,
        /// Its kind (`/sys/class/net/NAME/type`).
        kind: u32,
    },
    /// The file has frames of another kind.
    #[error(
        "link type {0} is not read: Ethernet, Linux cooked (SLL, SLL2), raw IP and loopback are"
    )]
    LinkType(i32),
    /// It is no capture.
    #[error("this is neither a pcap nor a pcapng file")]
    NotACapture,
    /// It breaks off in a way that is no mere end.
    #[error("the capture is damaged {0} bytes behind its beginning; what came before is told")]
    Damaged(usize),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// Everything that is seen in one capture.
#[derive(Debug)]
pub struct Observer {
    flows: Flows,
    summary: Summary,
    clients: HashSet<IpAddr>,
    servers: HashSet<IpAddr>,
}

impl Observer {
    /// Nothing seen yet. `ports` are taken for FTP's besides [`KNOWN_PORTS`].
    pub fn new(pretended: Pretended, ports: &[u16]) -> Self {
        let ports = KNOWN_PORTS.iter().chain(ports).copied().collect();
        Self {
            flows: Flows::new(pretended, ports, Instant::now()),
            summary: Summary::default(),
            clients: HashSet::new(),
            servers: HashSet::new(),
        }
    }

    /// Takes a packet.
    pub fn on_packet(&mut self, packet: &Captured<'_>) {
        self.summary.packets += 1;
        let length = u64::try_from(packet.bytes.len()).unwrap_or(u64::MAX);
        self.summary.bytes = self.summary.bytes.saturating_add(length);
        let decoded = match packet.link {
            Some(link) => packet::decode(link, packet.bytes),
            None => Err(Skipped::NotTcp),
        };
        self.flows.advance(packet.time);
        match decoded {
            Ok(segment) => self.flows.on_segment(&segment, packet.time),
            Err(Skipped::NotTcp) => self.summary.not_tcp += 1,
            Err(Skipped::Fragment) => self.summary.fragments += 1,
            Err(Skipped::Garbled) => self.summary.garbled += 1,
        }
    }

    /// Time has passed without packets.
    pub fn advance(&mut self, time: Duration) {
        self.flows.advance(time);
    }

    /// Control connections that are over since the last call.
    pub fn take_done(&mut self) -> Vec<Control> {
        let done = self.flows.take_done();
        for control in &done {
            self.summary.add(control);
            for (hosts, end) in
                [(&mut self.clients, &control.client), (&mut self.servers, &control.server)]
            {
                let end = end.parse().map(|end: std::net::SocketAddr| end.ip());
                if let Ok(host) = end
                    && hosts.len() < MAX_HOSTS
                {
                    hosts.insert(host);
                }
            }
        }
        done
    }

    /// The control connections that run, the oldest first.
    pub fn rows(&self) -> Vec<Row> {
        self.flows.rows()
    }

    /// Ends everything that runs; what came of it is in [`take_done`](Self::take_done).
    pub fn finish(&mut self) {
        self.flows.finish_all();
    }

    /// What was seen until now.
    pub fn summary(&self) -> Summary {
        let count = |hosts: &HashSet<IpAddr>| u64::try_from(hosts.len()).unwrap_or(u64::MAX);
        Summary {
            seconds: self.flows.elapsed().as_secs_f64(),
            clients: count(&self.clients),
            servers: count(&self.servers),
            evicted: self.flows.evicted,
            ..self.summary.clone()
        }
    }
}
