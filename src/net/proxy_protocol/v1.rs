//! Version 1: `PROXY TCP4 192.0.2.2 203.0.113.7 40000 21` and CR LF (section 2.1).

use super::{Header, HeaderFault, as_v6, proxied};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// How it begins.
pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// With CR LF: what the longest line takes, `UNKNOWN` with two IPv6 addresses (section 2.1).
pub(super) const LONGEST: usize = 107;

/// See [`super::parse`].
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, HeaderFault> {
    let line = bytes.get(..LONGEST).unwrap_or(bytes);
    let Some(end) = line.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if line.len() < LONGEST { Ok(None) } else { Err(HeaderFault::TooLong) };
    };
    match line.get(end..) {
        Some([b'\r', b'\n', ..]) => {
            let said = line.get(SIGNATURE.len()..end).ok_or(HeaderFault::Malformed)?;
            Ok(Some((ends(said)?, end + 2)))
        }
        Some([b'\r']) if line.len() < LONGEST => Ok(None),
        Some([b'\r']) => Err(HeaderFault::TooLong),
        _ => Err(HeaderFault::Malformed),
    }
}

/// What stands behind `PROXY `.
fn ends(line: &[u8]) -> Result<Header, HeaderFault> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    match words.as_slice() {
        // Whatever follows is to be ignored.
        [b"UNKNOWN", ..] => Ok(Header::Own),
        [b"TCP4", ends @ ..] => both::<Ipv4Addr>(ends),
        [b"TCP6", ends @ ..] => both::<Ipv6Addr>(ends),
        _ => Err(HeaderFault::Malformed),
    }
}

fn both<A: FromStr + Into<IpAddr>>(words: &[&[u8]]) -> Result<Header, HeaderFault> {
    let [source, destination, source_port, destination_port] = words else {
        return Err(HeaderFault::Malformed);
    };
    let end = |address: &[u8], port_digits: &[u8]| {
        let address = std::str::from_utf8(address).ok()?.parse::<A>().ok()?;
        Some(SocketAddr::new(address.into(), port(port_digits)?))
    };
    let source = end(source, source_port).ok_or(HeaderFault::Malformed)?;
    let destination = end(destination, destination_port).ok_or(HeaderFault::Malformed)?;
    proxied(source, destination)
}

/// Decimal digits without a sign or a leading zero.
fn port(digits: &[u8]) -> Option<u16> {
    if !digits.iter().all(u8::is_ascii_digit) || (digits.len() > 1 && digits.starts_with(b"0")) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// See [`super::Version::encode`].
pub(super) fn encode(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let ports = format!("{} {}", source.port(), destination.port());
    let line = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => format!("PROXY TCP4 {from} {to} {ports}\r\n"),
        (from, to) => format!("PROXY TCP6 {} {} {ports}\r\n", as_v6(from), as_v6(to)),
    };
    line.into_bytes()
}
