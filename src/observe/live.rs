//! An interface, by a packet socket: what passes it is copied, nothing is held up.

use super::packet::LinkType;
use super::{CaptureError, Captured, Progress};
use pnet::datalink::{self, Channel, Config, DataLinkReceiver, NetworkInterface};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use socket2::{Domain, Socket, Type};
use std::io::ErrorKind;
use std::os::fd::IntoRawFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest packet: what a card puts together of a stream (GRO) stays below it.
const BUFFER: usize = 256 * 1024;

/// Bytes of packets that wait in the kernel while others run: a second at 500 Mbit/s.
const QUEUE: usize = 64 * 1024 * 1024;

/// How long a silent interface is waited for before the table is drawn again.
const WAIT: Duration = Duration::from_millis(100);

/// An interface under observation.
pub struct LiveCapture {
    receiver: Box<dyn DataLinkReceiver>,
    link: LinkType,
}

impl LiveCapture {
    /// Looks at the interface `name`. `promiscuous`: also at frames for others on its segment.
    ///
    /// # Errors
    /// There is none of that name, it may not be read, or has packets of a kind that is not.
    pub fn open(name: &str, promiscuous: bool) -> Result<Self, CaptureError> {
        let interfaces = datalink::interfaces();
        let found = interfaces.iter().find(|interface| interface.name == name);
        let Some(interface) = found else {
            let others: Vec<&str> = interfaces.iter().map(|i| i.name.as_str()).collect();
            let others = others.join(", ");
            return Err(CaptureError::NoInterface { name: name.to_owned(), others });
        };
        let link = link_type(interface)?;
        let refused = |error: std::io::Error| match error.kind() {
            ErrorKind::PermissionDenied => CaptureError::NoRight { name: name.to_owned() },
            _ => error.into(),
        };
        let config = Config {
            // It is closed with the receiver, or if that cannot be had.
            socket_fd: Some(packet_socket().map_err(refused)?.into_raw_fd()),
            read_buffer_size: BUFFER,
            read_timeout: Some(WAIT),
            promiscuous,
            ..Config::default()
        };
        match datalink::channel(interface, config) {
            Ok(Channel::Ethernet(_, receiver)) => Ok(Self { receiver, link }),
            Ok(_) => Err(CaptureError::KindOfInterface { name: name.to_owned(), kind: 0 }),
            Err(error) => Err(refused(error)),
        }
    }

    /// Hands the next packet to `take`, if one comes in time.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn next(&mut self, take: &mut impl FnMut(&Captured<'_>)) -> Result<Progress, CaptureError> {
        match self.receiver.next() {
            Ok(bytes) => {
                take(&Captured { link: Some(self.link), time: now(), bytes });
                Ok(Progress::Packet)
            }
            Err(error) => match error.kind() {
                ErrorKind::TimedOut | ErrorKind::Interrupted | ErrorKind::WouldBlock => {
                    Ok(Progress::Idle)
                }
                _ => Err(error.into()),
            },
        }
    }
}

/// The time of day, since 1970: that of the packets of an interface.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A packet socket (packet(7)) with room for packets that wait.
fn packet_socket() -> std::io::Result<Socket> {
    // Nothing comes before it is bound to the interface, which says which protocols.
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    if set_socket_recv_buffer_size_force(&socket, QUEUE).is_err() {
        // Without CAP_NET_ADMIN as much as net.core.rmem_max allows.
        socket.set_recv_buffer_size(QUEUE)?;
    }
    Ok(socket)
}

/// What its packets begin with, by its hardware type (`if_arp.h`).
fn link_type(interface: &NetworkInterface) -> Result<LinkType, CaptureError> {
    let path = format!("/sys/class/net/{}/type", interface.name);
    let kind = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
    match kind {
        // Ethernet, loopback; without /sys whatever has an address of Ethernet.
        Some(1 | 772) => Ok(LinkType::Ethernet),
        None if interface.mac.is_some() => Ok(LinkType::Ethernet),
        // PPP, IP in IP, IPv6 in IPv6, SIT, GRE, and tun and WireGuard, which have none.
        Some(512 | 768 | 769 | 776 | 778 | 65534) | None => Ok(LinkType::RawIp),
        Some(kind) => Err(CaptureError::KindOfInterface { name: interface.name.clone(), kind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_answered_with_those_that_are() {
        let error = LiveCapture::open("no-such-interface", false).err().unwrap().to_string();
        assert!(error.contains("no-such-interface") && error.contains("there are: "), "{error}");
        assert!(error.contains("lo"), "{error}");
    }
}
