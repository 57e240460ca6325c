//! What is open, and what the kernel's news of it mean.

use super::*;
use crate::firewall::MemoryView;
use crate::pinhole::PortRange;
use crate::relay::{Limits, SharedSettings};
use crate::session::Dial;
use crate::telemetry::Telemetry;
use crate::terms::ProtectionLevel;
use std::time::Duration;

fn openings() -> (Openings, MemoryView, mpsc::UnboundedReceiver<FlowEvent>) {
    let (firewall, view) = Firewall::memory();
    let settings = SharedSettings {
        ports: PortRange::new(50_000, 50_999).unwrap(),
        limits: Limits { sessions: 1, sessions_per_client: 1 },
        open_timeout: Duration::from_secs(30),
        data_idle_timeout: Duration::from_secs(30),
    };
    let shared = Shared::new(settings, Some(firewall), None, Telemetry::new());
    let (flows, flows_in) = mpsc::unbounded_channel();
    let (events, _) = mpsc::unbounded_channel();
    (Openings::new(shared, flows, events), view, flows_in)
}

/// The client dials the server's own address, where it listens on the same port each time.
fn plan(id: u32) -> TransferPlan {
    let (client, server) = ("192.0.2.2".parse().unwrap(), "198.51.100.5".parse().unwrap());
    let (port, foreign) = (Some(6000), true);
    TransferPlan {
        id: TransferId(id),
        path: DataPath::Kernel,
        client: Leg::Await(Expectation { peer: client, address: server, port, foreign }),
        server: Leg::Dial(Dial { to: SocketAddr::new(server, 6000), from: client, foreign }),
        client_protection: ProtectionLevel::Clear,
        server_protection: ProtectionLevel::Clear,
    }
}

#[tokio::test]
async fn late_news_of_a_used_pinhole_do_not_close_the_next_one() {
    let (mut openings, view, mut flows) = openings();
    openings.open(&plan(1)).await.unwrap();
    let pinhole = view.open().first().unwrap().pinhole();
    assert!(view.connect(pinhole));
    assert!(openings.withdraw(TransferId(1)).await, "it is in use");
    openings.open(&plan(2)).await.unwrap();
    let used = |id| Some(Event::PinholeUsed { id: TransferId(id), side: Side::Client });
    assert_eq!(openings.on_flow(&flows.recv().await.unwrap()), used(1));
    assert_eq!(view.open().len(), 1, "the next one is closed");
    assert!(view.connect(pinhole));
    assert_eq!(openings.on_flow(&flows.recv().await.unwrap()), used(2));
}

#[tokio::test]
async fn who_holds_a_range_is_told_of_the_connections_through_it() {
    let (mut openings, view, mut flows) = openings();
    let [client, entry, server, source] =
        ["192.0.2.2", "203.0.113.7", "198.51.100.2", "198.51.100.1"]
            .map(|address| address.parse().unwrap());
    let range = BlindRange { client, entry, server, source };
    openings.open_range(range).await.unwrap();
    let flow = view.connect_in_range(client, entry).unwrap();
    let started = openings.on_flow(&flows.recv().await.unwrap());
    assert_eq!(started, Some(Event::BlindConnectionStarted { flow }));
    openings.close_range().await;
    assert_eq!(view.connect_in_range(client, entry), None, "it is closed");
    let bytes = Some(FlowBytes { original: 3, reply: 1000 });
    assert!(view.emit(FlowEvent::EndedInRange { flow, orderly: false, bytes }));
    let ended = Event::BlindConnectionEnded {
        flow,
        outcome: DataOutcome::Aborted,
        bytes: Some(ByteCounts { upload: 3, download: 1000 }),
    };
    assert_eq!(openings.on_flow(&flows.recv().await.unwrap()), Some(ended));
}
