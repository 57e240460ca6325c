//! The PROXY protocol of HAProxy, versions 1 and 2: a header ahead of everything else on a connection,
//! by which a load balancer tells whose connection it really is. Bytes in, values out; no I/O.
//!
//! The source is HAProxy's specification, "The PROXY protocol Versions 1 & 2" (doc/proxy-protocol.txt).
//!
//! | file | what it holds |
//! |---|---|
//! | this one | the header as a value, and [`parse`], which tells the two versions apart |
//! | `v1` | the line of text |
//! | `v2` | the binary form, with its checksum |
//!
//! Not here: who may send one, and how long one is waited for (see `relay/introduction`).

mod v1;
mod v2;

use crate::addr::canonical;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use thiserror::Error;

/// The longest header that is read. Version 1 has 107 bytes at most (section 2.1). In version 2 the
/// two addresses take 52 bytes; what follows are TLVs that are skipped: certificates' names, ids of a
/// cloud's networks. nginx and others read 4 KiB.
pub const LONGEST_HEADER: usize = 4096;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// The connection is the balancer's own, a health check as a rule, or its origin cannot be said
    /// (`LOCAL`, `UNKNOWN`, `UNSPEC`): it is taken for what the kernel reports.
    Own,
    /// The balancer carries somebody's connection. Both ends are of one address family, with
    /// IPv4-mapped addresses taken as IPv4.
    Proxied {
        /// Who dialled the balancer.
        source: SocketAddr,
        /// Where it dialled.
        destination: SocketAddr,
    },
}

/// Why bytes are no header that is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderFault {
    /// Neither version begins so.
    #[error("the connection begins with something else")]
    Absent,
    /// It is longer than any header may be.
    #[error("it is longer than a header may be")]
    TooLong,
    /// It breaks the grammar of its version.
    #[error("it is malformed")]
    Malformed,
    /// Its version or its command is none that exists.
    #[error("its version or command is unknown")]
    UnknownVersion,
    /// It speaks of UDP or of a Unix socket, or of a family that does not exist.
    #[error("it is not about TCP over IPv4 or IPv6")]
    NotTcp,
    /// An address that no TCP connection can have: unspecified, multicast, broadcast, or port 0.
    #[error("it names an address or port that no connection can have")]
    ImpossibleAddress,
    /// Its two ends are of different address families.
    #[error("its source and destination are of different address families")]
    MixedFamilies,
    /// Its checksum (CRC-32c) is not that of its bytes.
    #[error("its checksum is wrong")]
    WrongChecksum,
}

/// Reads the header that `bytes` begin with. `Some` has the header and its length in bytes; what
/// follows is not looked at. `None`: all of `bytes` belong to a header that is not whole yet, so that
/// they may be taken from the socket.
///
/// # Errors
/// Why they are no header; more bytes would not change it.
pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, HeaderFault> {
    if begins(bytes, v2::SIGNATURE) {
        v2::parse(bytes)
    } else if begins(bytes, v1::SIGNATURE) {
        v1::parse(bytes)
    } else {
        Err(HeaderFault::Absent)
    }
}

/// True if `bytes` begin with `signature`, as far as they have come.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(byte, wanted)| byte == wanted)
}

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl Version {
    /// The header for a connection of `source` that was made to `destination`. Where the two are of
    /// different families, which neither version can say, the IPv4 address stands as an IPv4-mapped
    /// IPv6 address, as HAProxy does it.
    pub fn encode(self, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
        let (source, destination) = (canonical(source), canonical(destination));
        match self {
            Self::V1 => v1::encode(source, destination),
            Self::V2 => v2::encode(source, destination),
        }
    }
}

/// Both ends as the header is believed to mean them.
fn proxied(source: SocketAddr, destination: SocketAddr) -> Result<Header, HeaderFault> {
    let (source, destination) = (canonical(source), canonical(destination));
    if is_impossible(source) || is_impossible(destination) {
        return Err(HeaderFault::ImpossibleAddress);
    }
    if source.is_ipv4() != destination.is_ipv4() {
        return Err(HeaderFault::MixedFamilies);
    }
    Ok(Header::Proxied { source, destination })
}

fn is_impossible(end: SocketAddr) -> bool {
    let ip = end.ip();
    let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    end.port() == 0 || ip.is_unspecified() || ip.is_multicast() || broadcast
}

/// The IPv6 address of this end, IPv4-mapped if need be (RFC 4291 §2.5.5.2).
fn as_v6(ip: IpAddr) -> std::net::Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests;
