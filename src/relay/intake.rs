//! Receives the data connections that the firewall captures for the relay: their peers dial an
//! address that is not the gateway's, and are recognised by just that.

use crate::addr::canonical;
use crate::net::{self, Acceptor, NetError, reset_on_close};
use crate::pinhole::Pinhole;
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// After an `accept` that failed for lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type Awaited = Arc<Mutex<HashMap<Pinhole, Place>>>;

/// Who awaits the connection through a pinhole.
#[derive(Debug)]
struct Place {
    sender: oneshot::Sender<std::net::TcpStream>,
    /// Tells the ticket's own place from one that was taken later for the same pinhole.
    turn: u64,
}

/// The transparent listeners for captured data connections, one per address family.
#[derive(Debug)]
pub struct Intake {
    awaited: Awaited,
    turns: AtomicU64,
    ports: [Option<u16>; 2],
    tasks: Vec<JoinHandle<()>>,
}

impl Intake {
    /// Binds the listeners on ports that the kernel chooses. A host without IPv6 has only the
    /// first.
    pub fn start() -> Result<Self, NetError> {
        let awaited = Awaited::default();
        let mut tasks = Vec::new();
        let v4 = listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
        let port_v4 = port_of(&v4);
        tasks.push(tokio::spawn(receive(v4, Arc::clone(&awaited))));
        let v6 = listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).ok();
        let port_v6 = v6.as_ref().and_then(port_of);
        tasks.extend(v6.map(|listener| tokio::spawn(receive(listener, Arc::clone(&awaited)))));
        Ok(Self { awaited, turns: AtomicU64::new(0), ports: [port_v4, port_v6], tasks })
    }

    /// Where the firewall has to deliver captured IPv4 packets.
    pub fn port_v4(&self) -> Option<u16> {
        self.ports[0]
    }

    /// Where the firewall has to deliver captured IPv6 packets.
    pub fn port_v6(&self) -> Option<u16> {
        self.ports[1]
    }

    /// Awaits the one connection that comes through `pinhole`. Dropping the ticket forgets it. The
    /// newest ticket for a pinhole is the one that counts.
    pub(super) fn register(&self, pinhole: Pinhole) -> Ticket {
        let (sender, receiver) = oneshot::channel();
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        lock(&self.awaited).insert(pinhole, Place { sender, turn });
        Ticket { awaited: Arc::clone(&self.awaited), pinhole, turn, receiver }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A place in the intake for one connection.
#[derive(Debug)]
pub(super) struct Ticket {
    awaited: Awaited,
    pinhole: Pinhole,
    turn: u64,
    receiver: oneshot::Receiver<std::net::TcpStream>,
}

impl Ticket {
    /// The connection, when it has come, for the runtime that asks. `None` if the gateway stops.
    pub(super) async fn connection(mut self) -> Option<TcpStream> {
        TcpStream::from_std((&mut self.receiver).await.ok()?).ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut awaited = lock(&self.awaited);
        if awaited.get(&self.pinhole).is_some_and(|place| place.turn == self.turn) {
            awaited.remove(&self.pinhole);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(address: SocketAddr) -> Result<Acceptor, NetError> {
    let socket = net::listen(address, true, false)?;
    Acceptor::new(socket).map_err(|reason| NetError::Listen { address, reason })
}

fn port_of(listener: &Acceptor) -> Option<u16> {
    listener.local_addr().ok().map(|address| address.port())
}

async fn receive(listener: Acceptor, awaited: Awaited) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(entry) = stream.local_addr() else { continue };
        let waiting = lock(&awaited).remove(&Pinhole::between(peer, canonical(entry)));
        let refused = match waiting {
            Some(place) => place.sender.send(stream).err(),
            None => Some(stream),
        };
        if let Some(stream) = refused {
            reset_on_close(&stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_that_goes_leaves_the_place_of_a_newer_one() {
        let intake = Intake {
            awaited: Awaited::default(),
            turns: AtomicU64::new(0),
            ports: [None; 2],
            tasks: Vec::new(),
        };
        let entry = "203.0.113.7:50000".parse().unwrap();
        let pinhole = Pinhole { peer: "192.0.2.2".parse().unwrap(), entry };
        let older = intake.register(pinhole);
        let newer = intake.register(pinhole);
        drop(older);
        assert!(lock(&intake.awaited).contains_key(&pinhole));
        drop(newer);
        assert!(lock(&intake.awaited).is_empty());
    }
}
