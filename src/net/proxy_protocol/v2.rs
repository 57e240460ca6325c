//! Version 2: sixteen bytes, the addresses, and TLVs, of which only the checksum is looked at
//! (section 2.2).

use super::{Header, HeaderFault, LONGEST_HEADER, as_v6, proxied};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// How it begins: no line of any protocol does.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, version and command, family and protocol, and the length of what follows.
const FIXED: usize = 16;

/// Version 2 in the upper half, the command in the lower.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

/// Family in the upper half, protocol in the lower: `AF_UNSPEC` and `UNSPEC`, TCP over IPv4 and IPv6.
const UNSPEC: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The TLV that holds a CRC-32c of the whole header, computed with zeros in its own place
/// (section 2.2.4).
const CHECKSUM: u8 = 0x03;

/// See [`super::parse`].
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, HeaderFault> {
    let Some(&version_and_command) = bytes.get(SIGNATURE.len()) else { return Ok(None) };
    if !matches!(version_and_command, LOCAL | PROXY) {
        return Err(HeaderFault::UnknownVersion);
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else { return Ok(None) };
    let [.., family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED + length > LONGEST_HEADER {
        return Err(HeaderFault::TooLong);
    }
    let (Some(body), Some(whole)) = (rest.get(..length), bytes.get(..FIXED + length)) else {
        return Ok(None);
    };
    let header = if version_and_command == LOCAL {
        // Whatever it says of addresses is to be ignored.
        Header::Own
    } else {
        let (header, used) = match family {
            UNSPEC => (Header::Own, length),
            TCP_OVER_IPV4 => both::<4>(body)?,
            TCP_OVER_IPV6 => both::<16>(body)?,
            _ => return Err(HeaderFault::NotTcp),
        };
        check(whole, FIXED + used)?;
        header
    };
    Ok(Some((header, FIXED + length)))
}

/// Two addresses of `N` bytes, then two ports. Returns how many bytes they take.
fn both<const N: usize>(body: &[u8]) -> Result<(Header, usize), HeaderFault>
where
    IpAddr: From<[u8; N]>,
{
    let taken = body.split_first_chunk::<N>().and_then(|(source, rest)| {
        let (destination, rest) = rest.split_first_chunk::<N>()?;
        let (ports, _) = rest.split_first_chunk::<4>()?;
        Some((*source, *destination, *ports))
    });
    let (source, destination, [s1, s2, d1, d2]) = taken.ok_or(HeaderFault::Malformed)?;
    let source = SocketAddr::new(source.into(), u16::from_be_bytes([s1, s2]));
    let destination = SocketAddr::new(destination.into(), u16::from_be_bytes([d1, d2]));
    Ok((proxied(source, destination)?, 2 * N + 4))
}

/// Walks the TLVs of a header, which begin at `at`, and verifies its checksum where it has one.
fn check(whole: &[u8], mut at: usize) -> Result<(), HeaderFault> {
    while let Some(left) = whole.get(at..).filter(|left| !left.is_empty()) {
        let [kind, high, low, rest @ ..] = left else { return Err(HeaderFault::Malformed) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let value = rest.get(..length).ok_or(HeaderFault::Malformed)?;
        let begin = at + 3;
        at = begin + length;
        if *kind == CHECKSUM {
            let told = <[u8; 4]>::try_from(value).map_err(|_| HeaderFault::Malformed)?;
            let zeroed = |(place, byte): (usize, &u8)| {
                if (begin..at).contains(&place) { 0 } else { *byte }
            };
            if crc32c(whole.iter().enumerate().map(zeroed)) != u32::from_be_bytes(told) {
                return Err(HeaderFault::WrongChecksum);
            }
        }
    }
    Ok(())
}

/// CRC-32c (RFC 3720 §12.1), bit by bit: a header has some hundred bytes.
pub(super) fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    /// Castagnoli's polynomial, reflected.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            let feedback = if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            crc = (crc >> 1) ^ feedback;
        }
    }
    !crc
}

/// See [`super::Version::encode`].
pub(super) fn encode(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let (family, addresses) = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            (TCP_OVER_IPV4, [from.octets().as_slice(), &to.octets()].concat())
        }
        (from, to) => {
            let octets = [as_v6(from), as_v6(to)].map(|ip: Ipv6Addr| ip.octets());
            (TCP_OVER_IPV6, octets.concat())
        }
    };
    // 12 or 36.
    let length = if family == TCP_OVER_IPV4 { 2 * 4 + 4 } else { 2 * 16 + 4_u16 };
    let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
    let fixed = [SIGNATURE, &[PROXY, family], &length.to_be_bytes()].concat();
    [fixed, addresses, ports].concat()
}
