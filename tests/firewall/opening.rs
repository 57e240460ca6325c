//! What most tests of the firewall open, for how long, and who is told of it.

use crate::netns::at;
use ftpgate::firewall::{FlowEvent, Opening};
use ftpgate::pinhole::Pinhole;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;

pub(crate) const OPEN: Duration = Duration::from_secs(10);

/// A passive transfer through NAT: the client dials the gateway's port 50000, and the server's port
/// 5001 sees the gateway.
pub(crate) fn through_nat(plan: &at::Plan) -> Opening {
    Opening::Forward {
        pinhole: Pinhole { peer: plan.client, entry: SocketAddr::new(plan.gateway_client, 50_000) },
        target: SocketAddr::new(plan.server, 5001),
        source: plan.gateway_server,
    }
}

pub(crate) fn watcher() -> (mpsc::UnboundedSender<FlowEvent>, mpsc::UnboundedReceiver<FlowEvent>) {
    mpsc::unbounded_channel()
}
