//! Single values about TLS: paths, fingerprints, servers to be carried unread.

use super::tls::Roots;
use super::tree::{Node, Value};
use super::value::{self, describe, scalar};
use crate::policy::bypass::{BypassEntry, NamePattern, Network};
use std::net::IpAddr;
use std::path::PathBuf;

/// The most entries of a list that is walked for every session.
const MOST_ENTRIES: usize = 4096;

/// Linux PATH_MAX without its closing NUL.
const PATH_BYTES: usize = 4095;

/// The bytes of a SHA-256.
const SHA_256: usize = 32;

fn is_null(node: &Node) -> bool {
    matches!(node.value, Value::Null)
}

/// One word of a closed set, or `null` for none.
pub(super) fn optional_choice<T: Copy>(
    words: &'static [(&'static str, T)],
) -> impl FnOnce(&Node) -> Result<Option<T>, String> {
    move |node| if is_null(node) { Ok(None) } else { value::choice(words)(node).map(Some) }
}

/// The path of a file.
pub(super) fn path(node: &Node) -> Result<PathBuf, String> {
    const WANTED: &str = "the path of a file";
    let text = scalar(node, WANTED)?;
    if text.is_empty() || text.len() > PATH_BYTES || text.contains('\0') || text.ends_with('/') {
        return Err(format!("`{}` is not a path: write {WANTED}", text.escape_debug()));
    }
    Ok(PathBuf::from(text))
}

/// The path of a file, or `null` for none.
pub(super) fn optional_path(node: &Node) -> Result<Option<PathBuf>, String> {
    if is_null(node) { Ok(None) } else { path(node).map(Some) }
}

/// `system`, or the path of a PEM file.
pub(super) fn roots(node: &Node) -> Result<Roots, String> {
    match scalar(node, "system, or the path of a PEM file")?.as_str() {
        "system" => Ok(Roots::System),
        _ => path(node).map(Roots::File),
    }
}

/// The items of a list that is walked for every session or command.
pub(super) fn list<'a>(node: &'a Node, wanted: &str) -> Result<&'a [Node], String> {
    match &node.value {
        Value::List(items) if items.len() <= MOST_ENTRIES => Ok(items),
        Value::List(items) => {
            Err(format!("has {} entries: write at most {MOST_ENTRIES}", items.len()))
        }
        other => Err(format!("needs {wanted}, not {}", describe(other))),
    }
}

/// A list of SHA-256 fingerprints, in hexadecimal with colons or without.
pub(super) fn fingerprints(node: &Node) -> Result<Vec<[u8; SHA_256]>, String> {
    const WANTED: &str = "a list of SHA-256 fingerprints in quotes, each of 64 hexadecimal digits, \
                          with colons or without";
    let mut fingerprints = Vec::new();
    for item in list(node, WANTED)? {
        let Value::Text(text) = &item.value else {
            return Err(format!("needs {WANTED}, not {}", describe(&item.value)));
        };
        let fingerprint = hexadecimal(text)
            .ok_or_else(|| format!("`{}` is none: write {WANTED}", text.escape_debug()))?;
        if fingerprints.contains(&fingerprint) {
            let shown = text.escape_debug();
            return Err(format!("`{shown}` stands here twice: write it once"));
        }
        fingerprints.push(fingerprint);
    }
    Ok(fingerprints)
}

fn hexadecimal(text: &str) -> Option<[u8; SHA_256]> {
    let mut bytes = Vec::with_capacity(SHA_256);
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.get(..2).filter(|two| two.bytes().all(|c| c.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = rest.get(2..)?;
        // A colon stands between two bytes, and nowhere else.
        rest = match rest.strip_prefix(':') {
            Some("") => return None,
            Some(more) => more,
            None => rest,
        };
    }
    bytes.try_into().ok()
}

/// Networks and names of servers.
pub(super) fn bypass(node: &Node) -> Result<Vec<BypassEntry>, String> {
    const WANTED: &str = "a list of networks and names, for example [192.0.2.0/24, \
                          \"2001:db8::1\", ftp.bank.example, \"*.bank.example\"]";
    each(node, WANTED, |text| bypass_entry(text, WANTED))
}

/// Networks.
pub(super) fn networks(node: &Node) -> Result<Vec<Network>, String> {
    const WANTED: &str = "a list of addresses and networks, for example [192.0.2.7, \
                          \"2001:db8::/64\"]";
    each(node, WANTED, |text| {
        network(text, WANTED)?.ok_or_else(|| {
            let shown = text.escape_debug();
            format!("`{shown}` is no address and no network: write {WANTED}")
        })
    })
}

/// The items of a list, none of them twice; every problem with them in one message.
pub(super) fn each<T: PartialEq>(
    node: &Node,
    wanted: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let (mut values, mut problems) = (Vec::new(), Vec::new());
    for item in list(node, wanted)? {
        match scalar(item, wanted).and_then(|text| Ok((parse(&text)?, text))) {
            Ok((value, text)) if values.contains(&value) => {
                let shown = text.escape_debug();
                problems.push(format!("`{shown}` stands here twice: write it once"));
            }
            Ok((value, _)) => values.push(value),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(problems.join("; ")) }
}

/// An address, or a network in CIDR notation; `None` if it is neither.
fn network(text: &str, wanted: &str) -> Result<Option<Network>, String> {
    let shown = text.escape_debug();
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else { return Ok(None) };
    let plain = address.to_canonical();
    if plain != address {
        // Peers are looked for in their plain form.
        return Err(format!("`{shown}` is IPv4 in the form of IPv6: write it as IPv4, as {plain}"));
    }
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let network = prefix.map_or(Ok(bits), str::parse).ok().and_then(|p| Network::new(address, p));
    let Some(network) = network else {
        return Err(format!("`{shown}` has no prefix from 0 to {bits}: write {wanted}"));
    };
    if network.address() != address {
        return Err(format!(
            "`{shown}` has bits behind its prefix: write {network}, or {address}/{bits} for the one \
             address"
        ));
    }
    Ok(Some(network))
}

fn bypass_entry(text: &str, wanted: &str) -> Result<BypassEntry, String> {
    if let Some(network) = network(text, wanted)? {
        return Ok(BypassEntry::Network(network));
    }
    if !text.contains('/') {
        let pattern = match text.strip_prefix("*.") {
            Some(name) if value::is_name(name) => Some(NamePattern::below(name)),
            None if value::is_name(text) => Some(NamePattern::exact(text)),
            Some(_) | None => None,
        };
        if let Some(pattern) = pattern {
            return Ok(BypassEntry::Name(pattern));
        }
    }
    let shown = text.escape_debug();
    Err(format!("`{shown}` is neither a network nor a name: write {wanted}"))
}
