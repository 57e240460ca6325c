//! Host and port as FTP writes them, until the language module has them.

use std::net::{SocketAddr, SocketAddrV4};

pub(super) struct Told227 {
    pub(super) address: SocketAddrV4,
}
pub(super) struct Told229 {
    pub(super) port: u16,
}

pub(super) fn parse_port(argument: &[u8]) -> Result<SocketAddrV4, ()> {
    let text = std::str::from_utf8(argument).map_err(|_| ())?;
    let numbers: Vec<u8> =
        text.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| ())?;
    let [a, b, c, d, high, low] = numbers[..] else { return Err(()) };
    Ok(SocketAddrV4::new([a, b, c, d].into(), u16::from_be_bytes([high, low])))
}
pub(super) fn format_port(address: SocketAddrV4) -> String {
    let [a, b, c, d] = address.ip().octets();
    let [high, low] = address.port().to_be_bytes();
    format!("{a},{b},{c},{d},{high},{low}")
}
pub(super) fn parse_eprt(argument: &[u8]) -> Result<SocketAddr, ()> {
    let text = std::str::from_utf8(argument).map_err(|_| ())?;
    let parts: Vec<&str> = text.split('|').collect();
    let [_, _, ip, port, _] = parts[..] else { return Err(()) };
    Ok(SocketAddr::new(ip.parse().map_err(|_| ())?, port.parse().map_err(|_| ())?))
}
pub(super) fn format_eprt(address: SocketAddr, _: u8) -> String {
    let family = if address.is_ipv4() { 1 } else { 2 };
    format!("|{family}|{}|{}|", address.ip(), address.port())
}
pub(super) fn parse_227(reply: &str) -> Result<Told227, ()> {
    let inner = reply.split_once('(').ok_or(())?.1.split_once(')').ok_or(())?.0;
    parse_port(inner.as_bytes()).map(|address| Told227 { address })
}
pub(super) fn parse_229(reply: &str) -> Result<Told229, ()> {
    let inner = reply.split_once("(|||").ok_or(())?.1.split_once('|').ok_or(())?.0;
    inner.parse().map(|port| Told229 { port }).map_err(|_| ())
}
