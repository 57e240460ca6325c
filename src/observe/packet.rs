//! One packet as captured, decoded down to the TCP segment in it: pure.
//!
//! Lengths come from the headers and are held against what was captured; no checksum is looked at,
//! since a network card may fill it in behind the capture. Fragments of IP are not put together: a
//! control connection has no packets that need it.

use crate::addr::canonical;
use pnet::packet::ethernet::{EtherType, EtherTypes, EthernetPacket};
use pnet::packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols};
use pnet::packet::ipv4::{Ipv4Flags, Ipv4Packet};
use pnet::packet::ipv6::Ipv6Packet;
use pnet::packet::tcp::{TcpFlags, TcpPacket};
use std::net::{IpAddr, SocketAddr};

/// VLAN tags that are looked through: two of 802.1ad, and as many again for whoever nests them.
const MAX_TAGS: usize = 4;

/// Extension headers of IPv6 that are looked through. RFC 8200 §4.1 knows seven, each once.
const MAX_EXTENSIONS: usize = 8;

/// What stands in front of the IP header (<https://www.tcpdump.org/linktypes.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkType {
    /// Ethernet, with VLAN tags or without.
    Ethernet,
    /// The IP header itself.
    RawIp,
    /// Four bytes with an address family: the loopback interface of BSD, in either byte order.
    Loopback,
    /// Linux "cooked" capture, of `tcpdump -i any`.
    Cooked,
    /// The second version of it.
    Cooked2,
}

impl LinkType {
    /// The link type of a capture file's number; `None` for one that is not read.
    pub fn from_number(number: i32) -> Option<Self> {
        match number {
            1 => Some(Self::Ethernet),
            // DLT_RAW has two numbers of operating systems besides LINKTYPE_RAW, _IPV4 and _IPV6.
            12 | 14 | 101 | 228 | 229 => Some(Self::RawIp),
            0 | 108 => Some(Self::Loopback),
            113 => Some(Self::Cooked),
            276 => Some(Self::Cooked2),
            _ => None,
        }
    }
}

/// One TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// The sequence number of the SYN, or of the first byte.
    pub sequence: u32,
    /// The acknowledgement number, where the segment bears one.
    pub acknowledges: Option<u32>,
    /// SYN.
    pub syn: bool,
    /// FIN.
    pub fin: bool,
    /// RST.
    pub rst: bool,
    /// What was captured of its bytes.
    pub payload: &'a [u8],
    /// How many bytes behind these were sent and not captured (`snaplen`).
    pub cut: usize,
}

/// Why a packet is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// Not TCP over IP.
    NotTcp,
    /// A fragment of an IP packet.
    Fragment,
    /// Shorter than its headers say, or with headers that contradict each other.
    Garbled,
}

/// Decodes `bytes`, a packet that begins with the header of `link`.
///
/// # Errors
/// Why there is no segment to look at.
pub fn decode(link: LinkType, bytes: &[u8]) -> Result<Segment<'_>, Skipped> {
    match link {
        LinkType::Ethernet => {
            let frame = EthernetPacket::new(bytes).ok_or(Skipped::Garbled)?;
            decode_ether(frame.get_ethertype(), tail(bytes, 14)?)
        }
        LinkType::Cooked => decode_ether(EtherType(be16(bytes, 14)?), tail(bytes, 16)?),
        LinkType::Cooked2 => decode_ether(EtherType(be16(bytes, 0)?), tail(bytes, 20)?),
        LinkType::Loopback => decode_ip(tail(bytes, 4)?),
        LinkType::RawIp => decode_ip(bytes),
    }
}

fn decode_ether(mut kind: EtherType, mut bytes: &[u8]) -> Result<Segment<'_>, Skipped> {
    for _ in 0..=MAX_TAGS {
        match kind {
            EtherTypes::Ipv4 => return decode_v4(bytes),
            EtherTypes::Ipv6 => return decode_v6(bytes),
            EtherTypes::Vlan | EtherTypes::PBridge | EtherTypes::QinQ => {
                (kind, bytes) = (EtherType(be16(bytes, 2)?), tail(bytes, 4)?);
            }
            _ => return Err(Skipped::NotTcp),
        }
    }
    Err(Skipped::Garbled)
}

fn decode_ip(bytes: &[u8]) -> Result<Segment<'_>, Skipped> {
    match bytes.first().ok_or(Skipped::Garbled)? >> 4 {
        4 => decode_v4(bytes),
        6 => decode_v6(bytes),
        _ => Err(Skipped::NotTcp),
    }
}

fn decode_v4(bytes: &[u8]) -> Result<Segment<'_>, Skipped> {
    let packet = Ipv4Packet::new(bytes).ok_or(Skipped::Garbled)?;
    let header = usize::from(packet.get_header_length()) * 4;
    if packet.get_version() != 4 || header < Ipv4Packet::minimum_packet_size() {
        return Err(Skipped::Garbled);
    }
    if packet.get_next_level_protocol() != IpNextHeaderProtocols::Tcp {
        return Err(Skipped::NotTcp);
    }
    if packet.get_fragment_offset() != 0 || packet.get_flags() & Ipv4Flags::MoreFragments != 0 {
        return Err(Skipped::Fragment);
    }
    let whole = match usize::from(packet.get_total_length()) {
        // A card that cuts segments itself is handed packets longer than the field can say.
        0 => bytes.len(),
        length => length,
    };
    let (from, to) = (packet.get_source().into(), packet.get_destination().into());
    let length = whole.checked_sub(header).ok_or(Skipped::Garbled)?;
    decode_tcp(from, to, tail(bytes, header)?, length)
}

fn decode_v6(bytes: &[u8]) -> Result<Segment<'_>, Skipped> {
    let packet = Ipv6Packet::new(bytes).ok_or(Skipped::Garbled)?;
    if packet.get_version() != 6 {
        return Err(Skipped::Garbled);
    }
    let (from, to) = (packet.get_source().into(), packet.get_destination().into());
    let mut rest = tail(bytes, Ipv6Packet::minimum_packet_size())?;
    let mut length = match usize::from(packet.get_payload_length()) {
        // A jumbogram (RFC 2675), or as above.
        0 => rest.len(),
        length => length,
    };
    let mut next = packet.get_next_header();
    for _ in 0..=MAX_EXTENSIONS {
        let header = match next {
            IpNextHeaderProtocols::Tcp => return decode_tcp(from, to, rest, length),
            IpNextHeaderProtocols::Hopopt
            | IpNextHeaderProtocols::Ipv6Route
            | IpNextHeaderProtocols::Ipv6Opts => 8 + 8 * usize::from(byte(rest, 1)?),
            // Its length counts in another unit (RFC 4302 §2.2).
            IpNextHeaderProtocols::Ah => 8 + 4 * usize::from(byte(rest, 1)?),
            // Offset, two reserved bits, and whether more follow (RFC 8200 §4.5).
            IpNextHeaderProtocols::Ipv6Frag if be16(rest, 2)? & 0xfff9 != 0 => {
                return Err(Skipped::Fragment);
            }
            IpNextHeaderProtocols::Ipv6Frag => 8,
            _ => return Err(Skipped::NotTcp),
        };
        next = IpNextHeaderProtocol(byte(rest, 0)?);
        rest = tail(rest, header)?;
        length = length.checked_sub(header).ok_or(Skipped::Garbled)?;
    }
    Err(Skipped::Garbled)
}

/// `length` is what the IP header says of the bytes from the TCP header on.
fn decode_tcp(
    from: IpAddr,
    to: IpAddr,
    bytes: &[u8],
    length: usize,
) -> Result<Segment<'_>, Skipped> {
    let packet = TcpPacket::new(bytes).ok_or(Skipped::Garbled)?;
    let header = usize::from(packet.get_data_offset()) * 4;
    if header < TcpPacket::minimum_packet_size() || header > length {
        return Err(Skipped::Garbled);
    }
    let captured = bytes.get(..length).unwrap_or(bytes);
    // Options may be cut off as well.
    let payload = captured.get(header..).unwrap_or_default();
    let flags = packet.get_flags();
    let bears = |flag: u8| flags & flag != 0;
    Ok(Segment {
        from: canonical(SocketAddr::new(from, packet.get_source())),
        to: canonical(SocketAddr::new(to, packet.get_destination())),
        sequence: packet.get_sequence(),
        acknowledges: bears(TcpFlags::ACK).then(|| packet.get_acknowledgement()),
        syn: bears(TcpFlags::SYN),
        fin: bears(TcpFlags::FIN),
        rst: bears(TcpFlags::RST),
        payload,
        cut: length - header - payload.len(),
    })
}

fn tail(bytes: &[u8], from: usize) -> Result<&[u8], Skipped> {
    bytes.get(from..).ok_or(Skipped::Garbled)
}

fn byte(bytes: &[u8], at: usize) -> Result<u8, Skipped> {
    bytes.get(at).copied().ok_or(Skipped::Garbled)
}

fn be16(bytes: &[u8], at: usize) -> Result<u16, Skipped> {
    let pair = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>());
    pair.map(|pair| u16::from_be_bytes(*pair)).ok_or(Skipped::Garbled)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TCP header and its payload.
    fn tcp(payload: &[u8]) -> Vec<u8> {
        let mut bytes =
            vec![0x9c, 0x40, 0, 21, 0, 0, 1, 0, 0, 0, 2, 0, 0x50, 0x18, 1, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(payload);
        bytes
    }

    fn v4(fragment: u16, tcp: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(tcp.len() + 20).unwrap().to_be_bytes();
        let [more, offset] = fragment.to_be_bytes();
        let mut bytes = vec![0x45, 0, high, low, 0, 0, more, offset, 64, 6, 0, 0];
        bytes.extend_from_slice(&[192, 0, 2, 2, 198, 51, 100, 10]);
        bytes.extend_from_slice(tcp);
        bytes
    }

    fn v6(next: u8, rest: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(rest.len()).unwrap().to_be_bytes();
        let mut bytes = vec![0x60, 0, 0, 0, high, low, next, 64];
        for last in [2, 10] {
            bytes.extend_from_slice(&[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        bytes.extend_from_slice(rest);
        bytes
    }

    fn ether(kind: &[u8], rest: &[u8]) -> Vec<u8> {
        [&[2; 12], kind, rest].concat()
    }

    #[test]
    fn every_link_type_leads_to_the_segment() {
        let (four, six) = (v4(0, &tcp(b"NOOP\r\n")), v6(6, &tcp(b"NOOP\r\n")));
        let cooked = |kind: &[u8], rest: &[u8]| [&[0; 14], kind, rest].concat();
        let cooked2 = |kind: &[u8], rest: &[u8]| [kind, &[0; 18], rest].concat();
        for (link, bytes) in [
            (1, ether(&[8, 0], &four)),
            (1, ether(&[0x86, 0xdd], &six)),
            (1, ether(&[0x81, 0, 0, 7, 8, 0], &four)),
            (1, ether(&[0x88, 0xa8, 0, 7, 0x81, 0, 0, 8, 0x86, 0xdd], &six)),
            // A frame of 60 bytes is filled up.
            (1, [ether(&[8, 0], &four), vec![0; 20]].concat()),
            (101, four.clone()),
            (101, six.clone()),
            (0, [&[2, 0, 0, 0], &four[..]].concat()),
            (108, [&[0, 0, 0, 30], &six[..]].concat()),
            (113, cooked(&[8, 0], &four)),
            (276, cooked2(&[0x86, 0xdd], &six)),
        ] {
            let segment = decode(LinkType::from_number(link).unwrap(), &bytes).unwrap();
            assert_eq!(segment.payload, b"NOOP\r\n", "{link}");
            assert_eq!((segment.from.port(), segment.to.port()), (40000, 21));
            assert_eq!((segment.sequence, segment.acknowledges), (256, Some(512)));
            assert_eq!(
                (segment.syn, segment.fin, segment.rst, segment.cut),
                (false, false, false, 0)
            );
        }
        assert_eq!(LinkType::from_number(147), None);
    }

    #[test]
    fn headers_of_ipv6_are_looked_through() {
        let options = [&[60, 0, 0, 0, 0, 0, 0, 0, 6, 1][..], &[0; 14], &tcp(b"x")].concat();
        assert_eq!(decode(LinkType::RawIp, &v6(0, &options)).unwrap().payload, b"x");
        // A fragment that is the whole, and one that is not.
        let atomic = [&[6, 0, 0, 0, 0, 0, 0, 1][..], &tcp(b"x")].concat();
        assert_eq!(decode(LinkType::RawIp, &v6(44, &atomic)).unwrap().payload, b"x");
        let first = [&[6, 0, 0, 1, 0, 0, 0, 1][..], &tcp(b"x")].concat();
        assert_eq!(decode(LinkType::RawIp, &v6(44, &first)), Err(Skipped::Fragment));
        assert_eq!(decode(LinkType::RawIp, &v6(58, &tcp(b"x"))), Err(Skipped::NotTcp));
        // Headers that lead back to themselves.
        let endless = [0; 400];
        assert_eq!(decode(LinkType::RawIp, &v6(0, &endless)), Err(Skipped::Garbled));
    }

    #[test]
    fn fragments_and_what_is_cut_are_told() {
        for fragment in [0x2000, 0x0001, 0x3fff] {
            let bytes = v4(fragment, &tcp(b"x"));
            assert_eq!(decode(LinkType::RawIp, &bytes), Err(Skipped::Fragment));
        }
        let whole = v4(0x4000, &tcp(b"227 Entering"));
        let cut = decode(LinkType::RawIp, &whole[..whole.len() - 9]).unwrap();
        assert_eq!((cut.payload, cut.cut), (&b"227"[..], 9));
        let none = decode(LinkType::RawIp, &whole[..40]).unwrap();
        assert_eq!((none.payload, none.cut), (&b""[..], 12));
        assert_eq!(decode(LinkType::RawIp, &whole[..39]), Err(Skipped::Garbled));
    }

    /// What makes the rest look like IP.
    const FRONTS: &[&[u8]] = &[b"", b"\x45", b"\x60", b"\x4f", b"\0\0\0\0\x45"];

    proptest::proptest! {
        #[test]
        fn any_bytes_are_taken(
            link in proptest::sample::select(&[0, 1, 101, 113, 276][..]),
            header in proptest::sample::select(FRONTS),
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120),
        ) {
            let bytes = [header, &bytes].concat();
            let _ = decode(LinkType::from_number(link).unwrap(), &bytes);
        }
    }
}
