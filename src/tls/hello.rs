//! What a client offers in its ClientHello, in words: for a log that has to name what cannot be served.
//!
//! Reads what rustls may have refused already, SSL 2.0's form of it too (RFC 5246 §E.2). Nothing that
//! is read here decides anything.
//!
//! Pure: no socket, clock, file, randomness.

use super::words::bounded;
use rustls::{CipherSuite, ProtocolVersion};

/// The most bytes that are looked at: the longest handshake message that rustls takes.
const MOST_BYTES: usize = 64 * 1024;

/// The most cipher suites, or protocols, that are named.
const MOST_NAMED: usize = 6;

/// Handshake records (RFC 8446 §5.1), and the message in them (§4).
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// Extensions (RFC 7301, RFC 8446 §4.2.1).
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// Suites that are signals (RFC 5746 §3.3, RFC 7507): they name no cipher.
const SIGNALS: [u16; 2] = [0x00ff, 0x5600];

/// The offer of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    is_in_form_of_ssl2: bool,
    /// The highest, as on the wire.
    version: u16,
    ciphers: Vec<u16>,
    protocols: Vec<String>,
}

impl Offer {
    /// Reads it from the first bytes that a client sends; none if they are not, or not all of, a
    /// ClientHello.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..MOST_BYTES).unwrap_or(bytes);
        match bytes {
            [HANDSHAKE, ..] => Self::read_hello(&joined(bytes)),
            [length, _, CLIENT_HELLO, ..] if length & 0x80 != 0 => Self::read_ssl2(bytes),
            _ => None,
        }
    }

    /// RFC 8446 §4.1.2, which all versions from SSL 3.0 on share.
    fn read_hello(message: &[u8]) -> Option<Self> {
        let mut hello = Reader(message);
        if hello.byte()? != CLIENT_HELLO {
            return None;
        }
        let length = usize::from(hello.byte()?) << 16 | usize::from(hello.number()?);
        let mut hello = Reader(hello.take(length)?);
        let mut version = hello.number()?;
        hello.take(32)?;
        hello.short_list()?;
        let ciphers = numbers(hello.list()?);
        hello.short_list()?;
        let mut protocols = Vec::new();
        let mut extensions = Reader(hello.list().unwrap_or(&[]));
        while let (Some(kind), Some(content)) = (extensions.number(), extensions.list()) {
            let mut content = Reader(content);
            match kind {
                ALPN => {
                    let mut names = Reader(content.list().unwrap_or(&[]));
                    while let Some(name) =
                        names.short_list().filter(|_| protocols.len() < MOST_NAMED)
                    {
                        protocols.push(bounded(&String::from_utf8_lossy(name)));
                    }
                }
                SUPPORTED_VERSIONS => {
                    let versions = numbers(content.short_list().unwrap_or(&[]));
                    let highest = versions.into_iter().filter(|version| !is_grease(*version)).max();
                    version = highest.unwrap_or(version);
                }
                _ => {}
            }
        }
        Some(Self { is_in_form_of_ssl2: false, version, ciphers, protocols })
    }

    /// RFC 5246 §E.2.
    fn read_ssl2(bytes: &[u8]) -> Option<Self> {
        let mut hello = Reader(bytes);
        let length = hello.number()? & 0x7fff;
        let mut hello = Reader(hello.take(length.into())?);
        hello.byte()?;
        let version = hello.number()?;
        let specs = hello.number()?;
        hello.take(4)?;
        let specs = hello.take(specs.into())?.chunks_exact(3);
        let ciphers = specs.filter_map(|spec| match *spec {
            [0, high, low] => Some(u16::from_be_bytes([high, low])),
            // A cipher of SSL 2.0 itself.
            _ => None,
        });
        let ciphers = without_signals(ciphers);
        Some(Self { is_in_form_of_ssl2: true, version, ciphers, protocols: Vec::new() })
    }

    /// True if it goes no higher than versions that are not spoken here.
    pub fn is_too_old(&self) -> bool {
        self.version < u16::from(ProtocolVersion::TLSv1_2) || self.is_in_form_of_ssl2
    }

    /// True if every cipher that has a name here takes RSA key exchange, which has no forward secrecy.
    pub fn is_rsa_only(&self) -> bool {
        let mut named =
            self.ciphers.iter().filter_map(|cipher| CipherSuite::from(*cipher).as_str());
        named.clone().next().is_some() && named.all(|name| name.starts_with("TLS_RSA_"))
    }

    /// As in `TLS 1.0 at most`.
    pub fn versions(&self) -> String {
        let form = if self.is_in_form_of_ssl2 { ", in the form of SSL 2.0" } else { "" };
        format!("{} at most{form}", version_name(self.version))
    }

    /// The first few ciphers by name, or by number where it is not known.
    pub fn ciphers(&self) -> String {
        let named = self.ciphers.iter().map(|cipher| match CipherSuite::from(*cipher).as_str() {
            Some(name) => name.to_owned(),
            None => format!("{cipher:#06x}"),
        });
        listed(named, self.ciphers.len())
    }

    /// The first few protocols asked for (ALPN).
    pub fn protocols(&self) -> String {
        listed(self.protocols.iter().cloned(), self.protocols.len())
    }
}

/// The version that a server chose, from the first bytes that it sends: none if they are no
/// ServerHello. TLS 1.3 says 1.2 there (RFC 8446 §4.1.3).
pub(super) fn chosen_version(bytes: &[u8]) -> Option<String> {
    let mut hello = Reader(bytes);
    if hello.byte()? != HANDSHAKE {
        return None;
    }
    hello.take(4)?;
    if hello.byte()? != SERVER_HELLO {
        return None;
    }
    hello.take(3)?;
    hello.number().map(version_name)
}

fn listed(names: impl Iterator<Item = String>, all: usize) -> String {
    let mut named: Vec<_> = names.take(MOST_NAMED).collect();
    if all > MOST_NAMED {
        named.push(format!("{} more", all - MOST_NAMED));
    }
    if named.is_empty() { "none".to_owned() } else { named.join(", ") }
}

fn version_name(version: u16) -> String {
    match version {
        0x0002 | 0x0200 => "SSL 2.0".to_owned(),
        0x0300 => "SSL 3.0".to_owned(),
        0x0301 => "TLS 1.0".to_owned(),
        0x0302 => "TLS 1.1".to_owned(),
        0x0303 => "TLS 1.2".to_owned(),
        0x0304 => "TLS 1.3".to_owned(),
        other => format!("version {other:#06x}"),
    }
}

/// The bodies of the records at the front, one after the other.
fn joined(mut bytes: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    while let [HANDSHAKE, _, _, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (body, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        message.extend_from_slice(body);
        bytes = after;
    }
    message
}

fn numbers(bytes: &[u8]) -> Vec<u16> {
    let numbers = bytes.chunks_exact(2).filter_map(|pair| <[u8; 2]>::try_from(pair).ok());
    without_signals(numbers.map(u16::from_be_bytes))
}

fn without_signals(numbers: impl Iterator<Item = u16>) -> Vec<u16> {
    numbers.filter(|number| !SIGNALS.contains(number) && !is_grease(*number)).collect()
}

/// Values that mean nothing, sent so that peers stay tolerant (RFC 8701).
fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && high & 0x0f == 0x0a
}

/// Bytes from the front, until there are none.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).and_then(|pair| <[u8; 2]>::try_from(pair).ok()).map(u16::from_be_bytes)
    }

    /// With one octet of length in front.
    fn short_list(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        self.take(length.into())
    }

    /// With two.
    fn list(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length.into())
    }
}

#[cfg(test)]
pub(super) mod tests;
