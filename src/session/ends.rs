//! Which addresses a data connection enters by, leads to, and comes from: DESIGN §1 as code.
//!
//! Two facts decide everything: what the client dialled (the gateway or the server), and what the
//! server sees as its client (the gateway or the client). No case here knows the other side's mode.

use super::action::{BlindRange, Dial, Leg};
use super::settings::{Parties, PathChoice, Settings, Source};
use crate::addr::canonical;
use crate::pinhole::Expectation;
use crate::terms::DataPath;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The two ends of a session whose control connections both stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    client: IpAddr,
    /// Where the client's connections arrive: the address that it dialled, unless a balancer stands in
    /// between.
    dialled: IpAddr,
    dials_gateway: bool,
    /// By a PROXY header.
    introduced: bool,
    server: IpAddr,
    seen_as: IpAddr,
    source: Source,
}

impl Ends {
    pub(super) fn new(
        parties: &Parties,
        source: Source,
        server: SocketAddr,
        seen_as: SocketAddr,
    ) -> Self {
        Self {
            client: parties.client.ip().to_canonical(),
            dialled: parties.introduced_at.unwrap_or(parties.original_dst.0.ip()).to_canonical(),
            dials_gateway: parties.dials_gateway,
            introduced: parties.introduced_at.is_some(),
            server: server.ip().to_canonical(),
            seen_as: seen_as.ip().to_canonical(),
            source,
        }
    }

    pub(super) fn server(&self) -> IpAddr {
        self.server
    }

    /// The address that the client dialled.
    pub(super) fn dialled(&self) -> IpAddr {
        self.dialled
    }

    /// Whom the server sees.
    pub(super) fn seen_as(&self) -> IpAddr {
        self.seen_as
    }

    /// True if both peers' control connections are of one address family.
    pub(super) fn same_family(&self) -> bool {
        self.client.is_ipv4() == self.seen_as.is_ipv4()
    }

    /// Awaits the client: at the gateway's address if it dialled that, else at the server's, where
    /// `server_port` is what the server listens on (unknown when the server is in active mode).
    pub(super) fn await_client(&self, server_port: Option<u16>) -> Leg {
        Leg::Await(Expectation {
            peer: self.client,
            address: self.dialled,
            port: if self.dials_gateway { None } else { server_port },
            foreign: !self.dials_gateway,
        })
    }

    /// Awaits the server: at the gateway's address if it sees that, else at the client's, where
    /// `listens` is where the client, or a third host in its place, listens (unknown when the client is
    /// in passive mode).
    pub(super) fn await_server(&self, listens: Option<SocketAddr>) -> Leg {
        let foreign = self.source == Source::Client;
        let listens = listens.filter(|_| foreign);
        let third = listens.map(|listens| listens.ip()).filter(|ip| *ip != self.client);
        Leg::Await(Expectation {
            peer: self.server,
            address: third.unwrap_or(self.seen_as),
            port: listens.map(|listens| listens.port()),
            foreign,
        })
    }

    /// Dials the client, or a third host in its place, from the address that the client dialled. A
    /// balancer is not on this way: where it has translated between the families, or has dialled the
    /// loopback of its own host, the gateway's address is any that leads there.
    pub(super) fn dial_client(&self, to: SocketAddr) -> Leg {
        let leads_there = self.client.is_ipv4() == self.dialled.is_ipv4()
            && (self.client.is_loopback() || !self.dialled.is_loopback());
        let from = match self.client {
            _ if leads_there => self.dialled,
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let to = canonical(to);
        let third = to.ip() != self.client;
        Leg::Dial(Dial { to, from, foreign: !self.dials_gateway, third })
    }

    /// Dials the server, from the address that the server sees.
    pub(super) fn dial_server(&self, port: u16) -> Leg {
        Leg::Dial(Dial {
            to: SocketAddr::new(self.server, port),
            from: self.seen_as,
            foreign: self.source == Source::Client,
            third: false,
        })
    }

    /// Between whom ports are opened for data connections whose agreement cannot be read. `None`
    /// where the kernel cannot translate: between the families, and on the gateway itself; and where a
    /// balancer stands in front of the range.
    pub(super) fn blind_range(&self) -> Option<BlindRange> {
        let Self { client, dialled: entry, server, seen_as: source, .. } = *self;
        let kernel = self.same_family() && !self.on_the_gateway() && !self.introduced;
        kernel.then_some(BlindRange { client, entry, server, source })
    }

    /// Who can carry a data connection with these legs; `None` if the settings leave nobody.
    /// `untouched` says that no byte has to be changed.
    pub(super) fn path(
        &self,
        settings: &Settings,
        untouched: bool,
        client: &Leg,
        server: &Leg,
    ) -> Option<DataPath> {
        let headed = self.is_headed(settings, client, server);
        let kernel = untouched
            && settings.kernel
            && !headed
            && !self.on_the_gateway()
            && joinable(client, server);
        match (settings.path, kernel) {
            (PathChoice::Auto | PathChoice::Kernel, true) => Some(DataPath::Kernel),
            (PathChoice::Kernel, false) => None,
            (PathChoice::Auto, false) | (PathChoice::Relay, _) => Some(DataPath::Relay),
        }
    }

    /// True if a PROXY header stands, or may stand, ahead of the data: the client comes through its
    /// balancer, or the server is told of it.
    fn is_headed(&self, settings: &Settings, client: &Leg, server: &Leg) -> bool {
        let awaits = matches!(client, Leg::Await(_)) && self.introduced;
        let dials = matches!(server, Leg::Dial(_)) && settings.send_data_header;
        awaits || dials
    }

    /// A peer on the gateway itself: its packets are not forwarded, so that the kernel would
    /// translate only one of the two addresses.
    fn on_the_gateway(&self) -> bool {
        let client = self.client.is_loopback() || self.client == self.dialled;
        let server = self.server.is_loopback() || self.server == self.seen_as;
        client || server
    }
}

/// The kernel joins one leg that awaits with one that dials, in one family.
fn joinable(client: &Leg, server: &Leg) -> bool {
    match (client, server) {
        (Leg::Await(expected), Leg::Dial(dial)) | (Leg::Dial(dial), Leg::Await(expected)) => {
            let family = expected.peer.is_ipv4();
            let ours = [expected.address, dial.to.ip(), dial.from];
            ours.iter().all(|a| a.is_ipv4() == family && !a.is_unspecified())
        }
        (Leg::Await(_), Leg::Await(_)) | (Leg::Dial(_), Leg::Dial(_)) => false,
    }
}
