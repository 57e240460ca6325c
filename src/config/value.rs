//! Single values: what a scalar of the file means, or what to write instead.

use super::tree::{Node, Value};
use super::types::{Server, Slice};
use crate::pinhole::PortRange;
use std::fmt::Display;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// The longest duration that is taken for meant: what is longer is a slip of the unit.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// The longest DNS name in presentation form (RFC 1035 §2.3.4, less the root).
const DNS_NAME_BYTES: usize = 253;

/// The longest name of a listener, policy or table: enough for people, and below nftables' 256.
const NAME_BYTES: usize = 63;

/// What was written, for a complaint that is about its kind.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "keys and values".to_owned(),
        scalar @ (Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_)) => {
            format!("`{}`", shown(scalar))
        }
    }
}

/// A value in YAML's flow form.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(value) => value.escape_debug().to_string(),
        Value::List(items) => {
            let items: Vec<_> = items.iter().map(|item| shown(&item.value)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(entries) => {
            let entry = |entry: &super::tree::Entry| {
                format!("{}: {}", entry.key.escape_debug(), shown(&entry.node.value))
            };
            let entries: Vec<_> = entries.iter().map(entry).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// A scalar as text: numbers and booleans as they are shown.
pub(super) fn scalar(node: &Node, wanted: &str) -> Result<String, String> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        number @ (Value::Bool(_) | Value::Integer(_) | Value::Float(_)) => Ok(shown(number)),
        other @ (Value::Null | Value::List(_) | Value::Map(_)) => {
            Err(format!("needs {wanted}, not {}", describe(other)))
        }
    }
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node) -> Result<bool, String> {
    match &node.value {
        Value::Bool(value) => Ok(*value),
        other => Err(format!("needs true or false, not {}", describe(other))),
    }
}

/// One word of a closed set.
pub(super) fn choice<T: Copy>(
    words: &'static [(&'static str, T)],
) -> impl FnOnce(&Node) -> Result<T, String> {
    move |node| {
        let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
        let list = one_of(&names);
        let text = scalar(node, &list)?;
        match words.iter().find(|(name, _)| *name == text) {
            Some((_, value)) => Ok(*value),
            None => Err(format!("`{}` is not known here: write {list}", text.escape_debug())),
        }
    }
}

/// Words of a closed set, in a list.
pub(super) fn choices<T: Copy + PartialEq>(
    words: &'static [(&'static str, T)],
) -> impl FnOnce(&Node) -> Result<Vec<T>, String> {
    move |node| match &node.value {
        Value::List(items) => {
            let mut values = Vec::new();
            for item in items {
                let value = choice(words)(item)?;
                if !values.contains(&value) {
                    values.push(value);
                }
            }
            Ok(values)
        }
        _ => choice(words)(node).map(|value| vec![value]),
    }
}

/// `a, b or c`.
pub(super) fn one_of(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// A name for labels: letters, digits, `-`, `_` and `.`.
pub(super) fn name(node: &Node) -> Result<String, String> {
    let text = scalar(node, "a name")?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > NAME_BYTES || !text.chars().all(good) {
        return Err(format!(
            "`{}` is not a name: write 1 to {NAME_BYTES} letters, digits, `-`, `_` or `.`",
            text.escape_debug()
        ));
    }
    Ok(text)
}

/// The name of an nftables table.
pub(super) fn table(node: &Node) -> Result<String, String> {
    let text = scalar(node, "a table name")?;
    let first = text.starts_with(|c: char| c.is_ascii_lowercase());
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !first || text.len() > NAME_BYTES || !text.chars().all(good) {
        return Err(format!(
            "`{}` is not a table name: write a small letter, then up to {} small letters, digits \
             or `_`, for example ftpgate",
            text.escape_debug(),
            NAME_BYTES - 1
        ));
    }
    Ok(text)
}

/// What a duration looks like.
const WANTED_TIME: &str = "a time such as 500ms, 30s, 5m or 1h";

/// A duration, see [`parse_duration`].
pub(super) fn duration(node: &Node) -> Result<Duration, String> {
    parse_duration(&scalar(node, WANTED_TIME)?)
}

/// A duration: a whole number with `ms`, `s`, `m`, `h` or `d`; longer than 0.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const WANTED: &str = WANTED_TIME;
    let shown = text.escape_debug();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!("`{shown}` is not a time: write {WANTED}"));
    }
    if number.bytes().all(|digit| digit == b'0') {
        return Err(format!("a time of 0 would end everything at once: write {WANTED}"));
    }
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => {
            return Err(format!("`{shown}` has no unit: write {number}s, {number}m or {number}h"));
        }
        _ => return Err(format!("`{shown}` is not a time: write {WANTED}")),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(milliseconds))
        .map(Duration::from_millis)
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| format!("`{shown}` is over a year: write {WANTED}"))
}

/// A whole number within bounds, both included.
pub(super) fn count(
    least: usize,
    most: usize,
    what: &'static str,
) -> impl FnOnce(&Node) -> Result<usize, String> {
    move |node| {
        let wanted = format!("a whole number of {what} from {least} to {most}");
        let text = scalar(node, &wanted)?;
        text.parse()
            .ok()
            .filter(|count| (least..=most).contains(count))
            .ok_or_else(|| format!("`{}` is not possible: write {wanted}", text.escape_debug()))
    }
}

/// A value that has a form of its own.
pub(super) fn parsed<T: FromStr<Err: Display>>(node: &Node, wanted: &str) -> Result<T, String> {
    scalar(node, wanted)?.parse().map_err(|error: T::Err| error.to_string())
}

/// `none`, or what `read` takes.
pub(super) fn or_none<T>(
    read: impl FnOnce(&Node) -> Result<T, String>,
) -> impl FnOnce(&Node) -> Result<Option<T>, String> {
    move |node| match &node.value {
        Value::Text(text) if text == "none" => Ok(None),
        _ => read(node).map(Some),
    }
}

/// A list of different ports.
pub(super) fn ports(node: &Node) -> Result<Vec<u16>, String> {
    const WANTED: &str = "a list of ports from 1 to 65535, for example [21]";
    let Value::List(items) = &node.value else {
        return Err(format!("needs {WANTED}, not {}", describe(&node.value)));
    };
    let mut ports = Vec::with_capacity(items.len());
    for item in items {
        let port = scalar(item, WANTED)?.parse().ok().filter(|port| *port != 0);
        let Some(port) = port else {
            return Err(format!("{} is not a port: write {WANTED}", describe(&item.value)));
        };
        if ports.contains(&port) {
            return Err(format!("port {port} stands here twice: write it once"));
        }
        ports.push(port);
    }
    Ok(ports)
}

/// A port range `A-B`.
pub(super) fn port_range(node: &Node) -> Result<PortRange, String> {
    scalar(node, "a port range such as 50000-50999")?
        .parse()
        .map_err(|error: crate::pinhole::PortRangeError| error.to_string())
}

/// Into how many parts a port range is cut.
pub(super) fn slices(node: &Node) -> Result<u16, String> {
    const WANTED: &str = "a whole number of replicas from 1 to 65535";
    let text = scalar(node, WANTED)?;
    let slices = text.parse().ok().filter(|slices| *slices > 0);
    slices.ok_or_else(|| format!("`{}` is not possible: write {WANTED}", text.escape_debug()))
}

/// A number from 0, or `hostname`.
pub(super) fn slice(node: &Node) -> Result<Slice, String> {
    const WANTED: &str = "a number from 0, or hostname";
    let text = scalar(node, WANTED)?;
    if text == "hostname" {
        return Ok(Slice::Hostname);
    }
    let number = text.parse().map(Slice::Number);
    number.map_err(|_| format!("`{}` is no slice: write {WANTED}", text.escape_debug()))
}

/// `none` or a port range `A-B`.
pub(super) fn optional_port_range(node: &Node) -> Result<Option<PortRange>, String> {
    match scalar(node, "none, or a port range such as 60000-60100")?.as_str() {
        "none" => Ok(None),
        _ => port_range(node).map(Some),
    }
}

/// A packet mark: a number from 1 to 0xffffffff.
pub(super) fn mark(node: &Node) -> Result<u32, String> {
    const WANTED: &str = "a number from 1 to 0xffffffff, for example 0x2100";
    let text = scalar(node, WANTED)?;
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    match number {
        Ok(0) => Err(format!("a mark of 0 means no mark at all: write {WANTED}")),
        Ok(number) => Ok(number),
        Err(_) => Err(format!("`{}` is not a mark: write {WANTED}", text.escape_debug())),
    }
}

/// A socket address to listen on, port included.
pub(super) fn socket_address(node: &Node) -> Result<SocketAddr, String> {
    const WANTED: &str = "an IP address with a port, for example \"0.0.0.0:2121\" or \"[::]:2121\"";
    let text = scalar(node, WANTED)?;
    let shown = text.escape_debug();
    if let Ok(address) = text.parse::<SocketAddr>() {
        if address.port() == 0 {
            return Err(format!("`{shown}` has port 0: write the port that is to be listened on"));
        }
        return Ok(address);
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("`{shown}` has no port: write for example \"[{shown}]:2121\""));
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!("`{shown}` has no port: write for example \"{shown}:2121\""));
    }
    Err(format!("`{shown}` is not an address to listen on: write {WANTED}"))
}

/// A socket address, or `null` for none.
pub(super) fn optional_socket_address(node: &Node) -> Result<Option<SocketAddr>, String> {
    match node.value {
        Value::Null => Ok(None),
        Value::Bool(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Map(_) => socket_address(node).map(Some),
    }
}

/// `original` or HOST:PORT, from the file.
pub(super) fn server_node(node: &Node) -> Result<Server, String> {
    server(&scalar(node, "original or HOST:PORT")?)
}

/// `original` or HOST:PORT.
pub(super) fn server(text: &str) -> Result<Server, String> {
    let shown = text.escape_debug();
    if text == "original" {
        return Ok(Server::Original);
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("`{shown}` has no brackets and no port: write \"[{shown}]:21\""));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(format!("`{shown}` has no port: write \"{shown}:21\""));
    };
    let Some(port) = port.parse::<u16>().ok().filter(|port| *port != 0) else {
        return Err(format!("`{shown}` has no port from 1 to 65535: write \"{host}:21\""));
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(|address| address.to_string()),
        None => is_host(host).then(|| host.to_owned()),
    };
    match host {
        Some(host) => Ok(Server::Address { host, port }),
        None => Err(format!(
            "`{shown}` names no host: write an IP address or a DNS name with a port, for example \
             \"192.0.2.10:21\", \"[2001:db8::10]:21\" or \"ftp.example.com:21\""
        )),
    }
}

/// True for an IPv4 address or a DNS name.
fn is_host(host: &str) -> bool {
    host.parse::<std::net::Ipv4Addr>().is_ok() || is_name(host)
}

/// True for a DNS name (RFC 1123 §2.1, and `_` as container platforms use it).
pub(super) fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (1..=63).contains(&label.len()) && label.chars().all(good) && !label.starts_with('-')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let numeric = name.chars().all(|c| c.is_ascii_digit() || c == '.');
    !numeric && name.len() <= DNS_NAME_BYTES && name.split('.').all(label)
}

/// The known word that `text` was probably meant to be.
pub(super) fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = |word: &&str| (distance(text, word), word.len());
    let best = known.iter().copied().min_by_key(near)?;
    (distance(text, best) <= (best.len() / 3).clamp(1, 3)).then_some(best)
}

/// How many letters to insert, delete or replace to make `b` of `a`; a swap of neighbours counts 2.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
