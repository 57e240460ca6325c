//! Opens and closes what the transfers of one session await, on either path.

mod news;
mod queue;
mod range;

use super::data::{DataEvent, DataTask, LegSource, PlannedLeg};
use super::data_tls::{LegTls, LegsTls};
use super::introduction::DataHeaders;
use super::shared::{NoPort, PortLease, Shared};
use crate::firewall::{self, Closed, Firewall, FirewallError, FlowEvent, Opening};
use crate::limits::ClientKey;
use crate::net;
use crate::pinhole::{Expectation, Pinhole};
use crate::session::{Dial, Leg, TransferPlan};
use crate::telemetry::RunningBytes;
use crate::terms::{ByteCounts, DataPath, Side, TransferId};
use queue::NewsQueue;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::net::TcpListener;

/// Ports that are tried where one is taken by another process.
const PORT_TRIES: usize = 8;

/// Why a transfer could not be opened.
#[derive(Debug, Error)]
pub(super) enum OpenError {
    #[error("{0}")]
    NoPort(#[from] NoPort),
    #[error("this gateway has no hold on the packet path: set firewall.backend to nftables")]
    NoFirewall,
    #[error("a leg is to be protected and no TLS stands on its side")]
    NotSecured,
    #[error("the kernel joins only one leg that awaits with one that dials, both without TLS")]
    NotJoinable,
    #[error("PORT or EPRT names {0} for a third host, which is this host's own address")]
    OwnAddress(IpAddr),
    #[error("cannot listen on a data port: {0}")]
    Listen(#[from] net::NetError),
    #[error("{0}")]
    Firewall(#[from] FirewallError),
}

/// Where the two sides have to dial, for the legs that await.
pub(super) type Entries = (Option<SocketAddr>, Option<SocketAddr>);

/// What is open for one session.
pub(super) struct Openings {
    shared: Arc<Shared>,
    /// Whose ports they are.
    client: ClientKey,
    /// As the session knows it, whatever is in force for later ones.
    open_timeout: Duration,
    open: Vec<Opened>,
    /// What stands open for data connections that the session cannot see being agreed.
    range: Option<firewall::BlindRange>,
    /// It was open at some time.
    had_range: bool,
    /// What protected legs of later transfers use.
    tls: LegsTls,
    /// What PROXY headers mean for its data connections.
    headers: Arc<DataHeaders>,
    /// The kernel's news.
    flows: NewsQueue<FlowEvent>,
    /// The relay's.
    data: NewsQueue<DataEvent>,
}

enum Opened {
    Kernel {
        id: TransferId,
        dialler: Side,
        opening: Opening,
        /// The port of the pool, for as long as no other pinhole may have it.
        lease: Option<PortLease>,
        /// When the kernel closes the pinhole by itself.
        until: Instant,
        /// The connection has come.
        started: bool,
    },
    Relay {
        id: TransferId,
        task: DataTask,
        captures: Vec<Opening>,
    },
}

impl Opened {
    fn id(&self) -> TransferId {
        match self {
            Self::Kernel { id, .. } | Self::Relay { id, .. } => *id,
        }
    }
}

impl Openings {
    /// Of a session of `client` that has just begun.
    pub(super) fn new(shared: Arc<Shared>, client: ClientKey) -> Self {
        let open_timeout = shared.settings().open_timeout;
        let (open, range, had_range) = (Vec::new(), None, false);
        let (tls, headers) = (LegsTls::default(), Arc::default());
        let (flows, data) = (NewsQueue::default(), NewsQueue::default());
        Self { shared, client, open_timeout, open, range, had_range, tls, headers, flows, data }
    }

    /// What PROXY headers mean for later transfers.
    pub(super) fn set_headers(&mut self, headers: DataHeaders) {
        self.headers = Arc::new(headers);
    }

    /// What later transfers use on the leg of `side`, where it is protected.
    pub(super) fn set_tls(&mut self, side: Side, tls: LegTls) {
        self.tls.set(side, tls);
    }

    /// Opens what `plan` awaits; on failure nothing of it is open.
    pub(super) async fn open(&mut self, plan: &TransferPlan) -> Result<Entries, OpenError> {
        if let Leg::Dial(Dial { to, third: true, .. }) = plan.client
            && net::interfaces::is_local(to.ip())
        {
            return Err(OpenError::OwnAddress(to.ip()));
        }
        match plan.path {
            DataPath::Kernel => self.open_in_kernel(plan).await,
            DataPath::Relay => self.open_relay(plan).await,
        }
    }

    async fn open_in_kernel(&mut self, plan: &TransferPlan) -> Result<Entries, OpenError> {
        let (dialler, expected, dial) = match (plan.client, plan.server) {
            _ if [Side::Client, Side::Server].iter().any(|side| plan.is_protected(*side)) => {
                return Err(OpenError::NotJoinable);
            }
            (Leg::Await(expected), Leg::Dial(dial)) => (Side::Client, expected, dial),
            (Leg::Dial(dial), Leg::Await(expected)) => (Side::Server, expected, dial),
            (Leg::Await(_), Leg::Await(_)) | (Leg::Dial(_), Leg::Dial(_)) => {
                return Err(OpenError::NotJoinable);
            }
        };
        let flows = self.flows.sender();
        let firewall = self.firewall()?;
        let (entry, lease) = self.choose_entry(&expected)?;
        let pinhole = Pinhole { peer: expected.peer, entry };
        let opening = Opening::Forward { pinhole, target: dial.to, source: dial.from };
        let timeout = self.open_timeout;
        let until = Instant::now() + timeout;
        firewall.open(opening, timeout, flows).await?;
        let started = false;
        self.open.push(Opened::Kernel { id: plan.id, dialler, opening, lease, until, started });
        Ok(match dialler {
            Side::Client => (Some(entry), None),
            Side::Server => (None, Some(entry)),
        })
    }

    async fn open_relay(&mut self, plan: &TransferPlan) -> Result<Entries, OpenError> {
        for side in [Side::Client, Side::Server] {
            if plan.is_protected(side) && self.tls.of(plan, side).is_none() {
                return Err(OpenError::NotSecured);
            }
        }
        let mut captures = Vec::new();
        let mut prepare = async |leg: &Leg| self.prepare(leg, &mut captures).await;
        let legs = match prepare(&plan.client).await {
            Ok(client) => prepare(&plan.server).await.map(|server| (client, server)),
            Err(error) => Err(error),
        };
        let ((client, client_entry), (server, server_entry)) = match legs {
            Ok(legs) => legs,
            Err(error) => {
                self.close_captures(captures).await;
                return Err(error);
            }
        };
        let client = PlannedLeg { source: client, tls: self.tls.of(plan, Side::Client) };
        let server = PlannedLeg { source: server, tls: self.tls.of(plan, Side::Server) };
        let (shared, headers) = (Arc::clone(&self.shared), Arc::clone(&self.headers));
        let task = DataTask::start(plan.id, client, server, shared, headers, self.data.sender());
        self.open.push(Opened::Relay { id: plan.id, task, captures });
        Ok((client_entry, server_entry))
    }

    async fn prepare(
        &mut self,
        leg: &Leg,
        captures: &mut Vec<Opening>,
    ) -> Result<(LegSource, Option<SocketAddr>), OpenError> {
        let expected = match leg {
            Leg::Await(expected) => expected,
            Leg::Dial(dial) => return Ok((LegSource::Dialled(*dial), None)),
        };
        if !expected.foreign {
            return self.listen(expected);
        }
        let intake = self.shared.intake.as_ref().ok_or(OpenError::NoFirewall)?;
        let (entry, lease) = self.choose_entry(expected)?;
        let pinhole = Pinhole { peer: expected.peer, entry };
        let opening = Opening::Capture { pinhole };
        let ticket = intake.register(pinhole);
        let (timeout, flows) = (self.open_timeout, self.flows.sender());
        self.firewall()?.open(opening, timeout, flows).await?;
        captures.push(opening);
        Ok((LegSource::Captured { ticket, lease }, Some(entry)))
    }

    fn listen(&self, expected: &Expectation) -> Result<(LegSource, Option<SocketAddr>), OpenError> {
        let mut tries = 0;
        loop {
            let (entry, lease) = self.choose_entry(expected)?;
            match net::listen(entry, false, false) {
                Ok(listener) => {
                    let listener = TcpListener::from_std(listener)
                        .map_err(|reason| net::NetError::Listen { address: entry, reason })?;
                    let peer = expected.peer;
                    return Ok((LegSource::Listening { listener, peer, lease }, Some(entry)));
                }
                Err(error) if tries >= PORT_TRIES || !is_taken(&error) => return Err(error.into()),
                Err(_) => tries += 1,
            }
        }
    }

    fn choose_entry(
        &self,
        expected: &Expectation,
    ) -> Result<(SocketAddr, Option<PortLease>), OpenError> {
        let (port, lease) = match expected.port {
            Some(port) => (port, None),
            None => {
                let lease = self.shared.lease_port(self.client)?;
                (lease.port(), Some(lease))
            }
        };
        Ok((SocketAddr::new(expected.address, port), lease))
    }

    fn firewall(&self) -> Result<&Firewall, OpenError> {
        self.shared.firewall.as_ref().ok_or(OpenError::NoFirewall)
    }

    /// Dials one leg of a transfer in which both legs dial.
    pub(super) fn dial(&self, wanted: TransferId, side: Side) {
        if let Some(task) = self.task(wanted) {
            task.dial(side);
        }
    }

    /// What the client sends may move.
    pub(super) fn take_upload(&self, wanted: TransferId) {
        if let Some(task) = self.task(wanted) {
            task.take_upload();
        }
    }

    /// True while the relay carries or awaits data connections.
    pub(super) fn carries(&self) -> bool {
        self.open.iter().any(|opened| matches!(opened, Opened::Relay { .. }))
    }

    /// Where the bytes of a transfer are counted while it runs; `None` on the kernel path.
    pub(super) fn bytes(&self, wanted: TransferId) -> Option<Arc<RunningBytes>> {
        self.task(wanted).map(DataTask::bytes)
    }

    fn task(&self, wanted: TransferId) -> Option<&DataTask> {
        self.open.iter().find_map(|opened| match opened {
            Opened::Relay { id, task, .. } if *id == wanted => Some(task),
            Opened::Relay { .. } | Opened::Kernel { .. } => None,
        })
    }

    /// Closes what is still open of a transfer, and returns when it is closed. True if there was
    /// nothing to close any more, since all that was awaited has come.
    pub(super) async fn withdraw(&mut self, id: TransferId) -> bool {
        let Some(opened) = self.remove(id) else { return false };
        match opened {
            Opened::Kernel { dialler, opening, lease, until, started, .. } => {
                let gone = self.close(opening).await == Closed::Gone;
                let in_use = started || (gone && Instant::now() < until);
                if in_use {
                    // Its end is still to be told.
                    let lease = lease.filter(|_| keeps_port(dialler));
                    self.open.push(Opened::Kernel { id, dialler, opening, lease, until, started });
                } else if gone && let Some(firewall) = &self.shared.firewall {
                    firewall.clear_away(opening);
                }
                in_use
            }
            Opened::Relay { task, captures, .. } if task.is_complete() => {
                self.open.push(Opened::Relay { id, task, captures });
                true
            }
            Opened::Relay { task, captures, .. } => {
                task.cancel().await;
                self.close_captures(captures).await;
                false
            }
        }
    }

    /// Cuts every data connection that the relay carries or awaits, and returns when they are closed:
    /// which they were, and what they had moved. What the kernel carries is not in reach.
    pub(super) async fn cut(&mut self) -> Vec<(TransferId, ByteCounts)> {
        let of_relay = |opened: &Opened| matches!(opened, Opened::Relay { .. });
        let mut cut = Vec::new();
        while let Some(at) = self.open.iter().position(of_relay) {
            if let Opened::Relay { id, task, captures } = self.open.remove(at) {
                let bytes = task.bytes();
                task.cancel().await;
                self.close_captures(captures).await;
                cut.push((id, bytes.counts()));
            }
        }
        cut
    }

    async fn close_captures(&self, openings: Vec<Opening>) {
        for opening in openings {
            self.close(opening).await;
        }
    }

    async fn close(&self, opening: Opening) -> Closed {
        let Some(firewall) = &self.shared.firewall else { return Closed::Gone };
        firewall.close(opening).await.unwrap_or_else(|error| {
            // The element's own timeout closes it.
            let pinhole = opening.pinhole();
            tracing::warn!(%pinhole, %error, "the pinhole stays open until its timeout");
            Closed::Unused
        })
    }

    fn remove(&mut self, id: TransferId) -> Option<Opened> {
        let at = self.open.iter().position(|opened| opened.id() == id)?;
        // In order: of two with one pinhole, the older one's news come first.
        Some(self.open.remove(at))
    }
}

/// True if a port of the pool stays taken while the connection that was dialled to it runs.
///
/// A server dials every active data connection from its own port 20 (RFC 959 §3.2), so that the
/// gateway's port is all that tells two of them apart. Clients dial from a port for each.
pub(super) fn keeps_port(dialler: Side) -> bool {
    match dialler {
        Side::Client => false,
        Side::Server => true,
    }
}

fn is_taken(error: &net::NetError) -> bool {
    match error {
        net::NetError::Listen { reason, .. } => reason.kind() == io::ErrorKind::AddrInUse,
        net::NetError::Transparent { .. } | net::NetError::OnlyV6 { .. } => false,
    }
}

#[cfg(test)]
mod tests;
