//! The firewall against the real kernel, in namespaces of its own: client – gateway – server, and
//! a stranger. Needs root or user namespaces; skips loudly where there are neither.

#[path = "support/netns.rs"]
mod netns;

use ftpgate::firewall::{Firewall, FlowEvent, Opening, Settings};
use ftpgate::pinhole::Pinhole;
use netns::{Lab, at, privileged};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use tokio::sync::mpsc;

const MARK: u32 = 0x2100;
const OPEN: Duration = Duration::from_secs(10);
/// Longer than a handshake takes in the lab by orders of magnitude, shorter than a second SYN.
const REFUSED_AFTER: Duration = Duration::from_millis(500);

fn settings() -> Settings {
    Settings {
        table: "ftpgate".to_owned(),
        mark: MARK,
        captures: Vec::new(),
        intake: None,
        transparent: false,
    }
}

/// Dials from an address of the calling namespace and says a word.
fn say_hello(to: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&to, REFUSED_AFTER)?;
    stream.write_all(b"hello")?;
    Ok(stream)
}

#[test]
fn case_10_first_connection_passes_and_is_translated_both_ways() {
    privileged("case_10_first_connection_passes_and_is_translated_both_ways", || {
        let lab = Lab::build();
        for plan in [at::v4(), at::v6()] {
            let target = SocketAddr::new(plan.server, 5001);
            let listener = lab.server.run(|| TcpListener::bind(target).unwrap());
            let entry = SocketAddr::new(plan.gateway_client, 50_000);
            let opening = Opening::Forward {
                pinhole: Pinhole { peer: plan.client, entry },
                target,
                source: plan.gateway_server,
            };
            lab.gateway.block_on(async || {
                let firewall = Firewall::start(&settings()).unwrap();
                let (sender, _receiver) = mpsc::unbounded_channel::<FlowEvent>();
                firewall.open(opening, OPEN, sender).await.unwrap();
                assert!(lab.stranger.run(|| say_hello(entry)).is_err());
                let stream = lab.client.run(|| say_hello(entry)).unwrap();
                assert_eq!(stream.peer_addr().unwrap(), entry);
                let (mut accepted, from) = listener.accept().unwrap();
                assert_eq!(from.ip(), plan.gateway_server);
                let mut word = [0; 5];
                accepted.read_exact(&mut word).unwrap();
                assert_eq!(&word, b"hello");
                assert!(lab.client.run(|| say_hello(entry)).is_err());
                firewall.close(opening).await.unwrap();
                firewall.close(opening).await.unwrap();
            });
        }
    });
}
