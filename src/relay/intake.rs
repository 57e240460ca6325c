//! Receives the data connections that the firewall captures for the relay: their peers dial an
//! address that is not the gateway's, and are recognised by just that.

use crate::addr::canonical;
use crate::net::{self, Acceptor, NetError, reset_on_close};
use crate::pinhole::Pinhole;
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// After an `accept` that failed for lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type Awaited = Arc<Mutex<HashMap<Pinhole, oneshot::Sender<std::net::TcpStream>>>>;

/// The transparent listeners for captured data connections, one per address family.
#[derive(Debug)]
pub struct Intake {
    awaited: Awaited,
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
        Ok(Self { awaited, ports: [port_v4, port_v6], tasks })
    }

    /// Where the firewall has to deliver captured IPv4 packets.
    pub fn port_v4(&self) -> Option<u16> {
        self.ports[0]
    }

    /// Where the firewall has to deliver captured IPv6 packets.
    pub fn port_v6(&self) -> Option<u16> {
        self.ports[1]
    }

    /// Awaits the one connection that comes through `pinhole`. Dropping the ticket forgets it.
    pub(super) fn register(&self, pinhole: Pinhole) -> Ticket {
        let (sender, receiver) = oneshot::channel();
        lock(&self.awaited).insert(pinhole, sender);
        Ticket { awaited: Arc::clone(&self.awaited), pinhole, receiver }
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
        lock(&self.awaited).remove(&self.pinhole);
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
            Some(sender) => sender.send(stream).err(),
            None => Some(stream),
        };
        if let Some(stream) = refused {
            reset_on_close(&stream);
        }
    }
}
