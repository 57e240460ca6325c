//! Addresses: what is read is what stands there, what is written is read back, and a rewrite
//! changes nothing else.

use bytes::Bytes;
use ftpgate::ftp::{
    format_eprt, format_port, parse_227, parse_229, parse_eprt, parse_epsv, parse_port, splice,
};
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::ops::Range;

/// The input is an argument, a reply, and the octets of addresses.
pub fn host_port(input: &[u8]) {
    arguments(input);
    passive_reply(input);
    extended_passive_reply(input);
    written(input);
    parse_epsv(input);
}

fn arguments(argument: &[u8]) {
    if let Ok(address) = parse_port(argument) {
        assert_eq!(format_port(address).as_bytes(), argument);
    }
    if let Ok(eprt) = parse_eprt(argument) {
        assert!((33..=126).contains(&eprt.delimiter));
        assert_eq!(argument.first(), Some(&eprt.delimiter));
        let again = parse_eprt(format_eprt(eprt.address, eprt.delimiter).as_bytes()).unwrap();
        assert_eq!(again.address, eprt.address);
    }
}

fn passive_reply(text: &[u8]) {
    let Ok(reply) = parse_227(text) else { return };
    assert!(reply.span.start >= 3, "the code is no part of the address");
    assert_eq!(&text[reply.span.clone()], format_port(reply.address).as_bytes());
    let other = SocketAddrV4::new([203, 0, 113, 7].into(), 50_000);
    let spliced = changed_only(text, reply.span, format_port(other).as_bytes());
    assert_eq!(parse_227(&spliced).unwrap().address, other);
}

fn extended_passive_reply(text: &[u8]) {
    let Ok(reply) = parse_229(text) else { return };
    assert_ne!(reply.port, 0);
    assert_eq!(&text[reply.port_span.clone()], reply.port.to_string().as_bytes());
    let group = &text[reply.span.clone()];
    assert_eq!((group.first(), group.last()), (Some(&reply.delimiter), Some(&reply.delimiter)));
    assert_eq!(group.iter().filter(|&&b| b == reply.delimiter).count(), 4);
    assert_eq!(reply.port_span.end + 1, reply.span.end);
    assert_eq!(reply.blank, group[..3].iter().all(|&b| b == reply.delimiter));
    let spliced = changed_only(text, reply.port_span, b"50000");
    let again = parse_229(&spliced).unwrap();
    assert_eq!((again.port, again.blank), (50_000, reply.blank));
}

fn changed_only(text: &[u8], span: Range<usize>, with: &[u8]) -> Bytes {
    let spliced = splice(&Bytes::copy_from_slice(text), span.clone(), with);
    assert_eq!(spliced[..span.start], text[..span.start]);
    assert_eq!(&spliced[span.start..span.start + with.len()], with);
    assert_eq!(spliced[span.start + with.len()..], text[span.end..]);
    spliced
}

fn written(octets: &[u8]) {
    let Some((&[delimiter, p1, p2], ip)) = octets.split_first_chunk() else { return };
    let port = u16::from_be_bytes([p1, p2]);
    let v4 = ip.first_chunk::<4>().map(|&ip| IpAddr::from(ip));
    let v6 = ip.first_chunk::<16>().map(|&ip| IpAddr::from(ip));
    for ip in [v4, v6].into_iter().flatten() {
        let address = SocketAddr::new(ip, port);
        let eprt = parse_eprt(format_eprt(address, delimiter).as_bytes()).unwrap();
        assert_eq!(eprt.address, address);
        assert!(eprt.delimiter == delimiter || eprt.delimiter == b'|');
        if let SocketAddr::V4(address) = address {
            assert_eq!(parse_port(format_port(address).as_bytes()), Ok(address));
        }
    }
}
