//! Addresses as FTP writes them: PORT, EPRT, and the replies 227 and 229 (RFC 959 §4.1.2, RFC
//! 2428).
//!
//! Reading is lenient where peers differ (words, parentheses, delimiters) and strict in the
//! numbers, since a number that two readers understand differently leads past the gateway. What is
//! rewritten is replaced in place ([`splice`]); every other byte stays.
//!
//! Not here: whether an address is acceptable (see [`crate::addr::Advertised`]).

use bytes::{Bytes, BytesMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::ops::Range;
use thiserror::Error;

/// Why a text bears no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HostPortError {
    /// Numbers are missing, too many, out of range or not plainly written.
    #[error("malformed address or port")]
    Malformed,
}

/// Reads the argument of PORT, `h1,h2,h3,h4,p1,p2`: six decimal numbers up to 255 without signs,
/// blanks or leading zeros (case 8). Port 0 is read; policy judges it.
pub fn parse_port(argument: &[u8]) -> Result<SocketAddrV4, HostPortError> {
    let mut numbers = argument.split(|&b| b == b',').map(decimal::<u8>);
    let mut next = || numbers.next().flatten().ok_or(HostPortError::Malformed);
    let ip = Ipv4Addr::new(next()?, next()?, next()?, next()?);
    let port = u16::from_be_bytes([next()?, next()?]);
    match numbers.next() {
        None => Ok(SocketAddrV4::new(ip, port)),
        Some(_) => Err(HostPortError::Malformed),
    }
}

/// Writes an address as PORT and 227 do: `h1,h2,h3,h4,p1,p2`.
pub fn format_port(address: SocketAddrV4) -> String {
    let [h1, h2, h3, h4] = address.ip().octets();
    let [p1, p2] = address.port().to_be_bytes();
    format!("{h1},{h2},{h3},{h4},{p1},{p2}")
}

/// The argument of EPRT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eprt {
    /// As written; an IPv4-mapped address stays one.
    pub address: SocketAddr,
    /// What the client puts between the fields.
    pub delimiter: u8,
}

/// Why an argument of EPRT cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EprtError {
    /// Not of the form `|family|address|port|`, or the address is none of that family: 501.
    #[error("malformed EPRT argument")]
    Malformed,
    /// A family other than 1 (IPv4) and 2 (IPv6): 522.
    #[error("unknown network protocol")]
    UnknownProtocol,
}

/// Reads the argument of EPRT (RFC 2428 §2), with any delimiter from 33 to 126 that occurs in none of the
/// fields: with one that does, as `.` in IPv4 and digits do, two readers may see two ports. The scope of an
/// IPv6 address (`%eth0`) means nothing to anyone but its writer and is dropped. Port 0 is read;
/// policy judges it.
pub fn parse_eprt(argument: &[u8]) -> Result<Eprt, EprtError> {
    let &delimiter = argument.first().ok_or(EprtError::Malformed)?;
    let [b"", family, address, port, b""] =
        fields(argument, delimiter).ok_or(EprtError::Malformed)?
    else {
        return Err(EprtError::Malformed);
    };
    let port = decimal(port).ok_or(EprtError::Malformed)?;
    let text = std::str::from_utf8(address).map_err(|_| EprtError::Malformed)?;
    let ip = match family {
        b"1" => text.parse::<Ipv4Addr>().map(IpAddr::V4),
        b"2" => {
            let unscoped = text.split_once('%').map_or(text, |(address, _)| address);
            unscoped.parse::<Ipv6Addr>().map(IpAddr::V6)
        }
        other if !other.is_empty() && other.iter().all(u8::is_ascii_digit) => {
            return Err(EprtError::UnknownProtocol);
        }
        _ => return Err(EprtError::Malformed),
    };
    let ip = ip.map_err(|_| EprtError::Malformed)?;
    Ok(Eprt { address: SocketAddr::new(ip, port), delimiter })
}

/// Writes the argument of EPRT with the given delimiter, or with `|` where that one is no delimiter
/// or occurs in a field (a colon and IPv6).
pub fn format_eprt(address: SocketAddr, delimiter: u8) -> String {
    let family = if address.is_ipv4() { 1 } else { 2 };
    let write = |d: char| format!("{d}{family}{d}{}{d}{}{d}", address.ip(), address.port());
    let written = write(char::from(delimiter));
    match fields(written.as_bytes(), delimiter) {
        Some(_) => written,
        None => write('|'),
    }
}

/// The address in a 227 reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassiveReply {
    /// As written.
    pub address: SocketAddrV4,
    /// Where the six numbers stand in the line.
    pub span: Range<usize>,
}

/// Reads a 227 reply; `text` is the whole line without its terminator. RFC 959 fixes neither the
/// words nor the parentheses (RFC 1123 §4.1.2.6), so the one list of numbers in the line is taken
/// wherever it stands. Two lists are malformed: clients differ in which one they take.
pub fn parse_227(text: &[u8]) -> Result<PassiveReply, HostPortError> {
    let mut lists = number_lists(text);
    let (Some(span), None) = (lists.next(), lists.next()) else {
        return Err(HostPortError::Malformed);
    };
    let (before, rest) = text.split_at_checked(span.start).ok_or(HostPortError::Malformed)?;
    let (list, after) = rest.split_at_checked(span.len()).ok_or(HostPortError::Malformed)?;
    if runs_on_before(before) || runs_on_after(after) {
        return Err(HostPortError::Malformed);
    }
    Ok(PassiveReply { address: parse_port(list)?, span })
}

/// The port in a 229 reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedPassiveReply {
    /// Never 0.
    pub port: u16,
    /// What the server puts between the fields.
    pub delimiter: u8,
    /// From the first delimiter to the last one, both included.
    pub span: Range<usize>,
    /// Where the port stands.
    pub port_span: Range<usize>,
    /// True if family and address are left empty, as RFC 2428 §3 wants.
    pub blank: bool,
}

/// Reads a 229 reply; `text` is the whole line without its terminator. Whatever a server fills into
/// the fields of family and address is passed over (RFC 2428 §3). Two such groups are malformed.
pub fn parse_229(text: &[u8]) -> Result<ExtendedPassiveReply, HostPortError> {
    let mut groups = memchr::memchr_iter(b'(', text).filter_map(|at| delimited_group(text, at + 1));
    let (Some(group), None) = (groups.next(), groups.next()) else {
        return Err(HostPortError::Malformed);
    };
    group
}

/// Reads `|family|address|port|` at `from`, up to the closing parenthesis; `None` if the
/// parenthesis holds something else.
fn delimited_group(
    text: &[u8],
    from: usize,
) -> Option<Result<ExtendedPassiveReply, HostPortError>> {
    let rest = text.get(from..)?;
    let group = rest.get(..memchr::memchr(b')', rest)?)?;
    let &delimiter = group.first()?;
    if delimiter.is_ascii_digit() {
        return None;
    }
    let [_, family, address, port, _] = fields(group, delimiter)?;
    let end = from + group.len();
    let port_end = end - 1;
    let Some(number) = decimal::<u16>(port).filter(|&number| number != 0) else {
        return Some(Err(HostPortError::Malformed));
    };
    Some(Ok(ExtendedPassiveReply {
        port: number,
        delimiter,
        span: from..end,
        port_span: port_end - port.len()..port_end,
        blank: family.is_empty() && address.is_empty(),
    }))
}

/// The argument of EPSV (RFC 2428 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpsvArgument {
    /// None: the family of the control connection.
    None,
    /// `1`.
    Ipv4,
    /// `2`.
    Ipv6,
    /// `ALL`: no PORT, PASV or EPRT will follow (RFC 2428 §4).
    All,
    /// Anything else: 522.
    Unknown,
}

/// Reads the argument of EPSV.
pub fn parse_epsv(argument: &[u8]) -> EpsvArgument {
    match argument {
        b"" => EpsvArgument::None,
        b"1" => EpsvArgument::Ipv4,
        b"2" => EpsvArgument::Ipv6,
        all if all.eq_ignore_ascii_case(b"ALL") => EpsvArgument::All,
        _ => EpsvArgument::Unknown,
    }
}

/// `line` with `span` replaced by `with`, every other byte as it was (case 42). A span outside the
/// line stands for its end.
pub fn splice(line: &Bytes, span: Range<usize>, with: &[u8]) -> Bytes {
    let start = span.start.min(line.len());
    let end = span.end.clamp(start, line.len());
    let mut spliced = BytesMut::with_capacity(start + with.len() + line.len() - end);
    spliced.extend_from_slice(line.get(..start).unwrap_or_default());
    spliced.extend_from_slice(with);
    spliced.extend_from_slice(line.get(end..).unwrap_or_default());
    spliced.freeze()
}

/// A number written plainly: digits only, no leading zero, within the range of `N`.
fn decimal<N: TryFrom<u32>>(field: &[u8]) -> Option<N> {
    let plain = matches!(field, [b'0'] | [b'1'..=b'9', ..]);
    if !plain || field.len() > 5 || !field.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = field.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    N::try_from(number).ok()
}

/// Splits `text` at a delimiter from 33 to 126 into the five fields of RFC 2428, the outer two of
/// which are empty; `None` if there are fewer or more.
fn fields(text: &[u8], delimiter: u8) -> Option<[&[u8]; 5]> {
    if !delimiter.is_ascii_graphic() {
        return None;
    }
    let mut split = text.split(|&b| b == delimiter);
    let five = [split.next()?, split.next()?, split.next()?, split.next()?, split.next()?];
    let outer_empty = matches!(five, [b"", _, _, _, b""]);
    (split.next().is_none() && outer_empty).then_some(five)
}

/// Bytes of a reply code.
const CODE: usize = 3;

/// Where runs of digits and commas stand after the code, those with a comma between digits.
fn number_lists(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let in_list = |b: &u8| b.is_ascii_digit() || *b == b',';
    let mut at = CODE;
    std::iter::from_fn(move || {
        loop {
            let rest = text.get(at..)?;
            let start = at + rest.iter().position(in_list)?;
            let run = text.get(start..)?;
            let run = run.get(..run.iter().position(|b| !in_list(b)).unwrap_or(run.len()))?;
            at = start + run.len();
            let joins =
                |w: &[u8]| matches!(w, [a, b',', b] if a.is_ascii_digit() && b.is_ascii_digit());
            if run.windows(3).any(joins) {
                return Some(start..at);
            }
        }
    })
}

/// True if the number that follows `before` has a sign, is part of a word, or is not the first of
/// its list.
fn runs_on_before(before: &[u8]) -> bool {
    let glued = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-');
    let listed = before.trim_ascii_end().strip_suffix(b",");
    before.last().is_some_and(glued)
        || listed.is_some_and(|l| l.trim_ascii_end().last().is_some_and(u8::is_ascii_digit))
}

/// True if the number ahead of `after` is part of a word, or not the last of its list.
fn runs_on_after(after: &[u8]) -> bool {
    let listed = after.trim_ascii_start().strip_prefix(b",");
    after.first().is_some_and(u8::is_ascii_alphanumeric)
        || listed.is_some_and(|l| l.trim_ascii_start().first().is_some_and(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests;
