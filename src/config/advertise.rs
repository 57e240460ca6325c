//! `advertise`: what stands in front of the gateway, and how it is written.

use super::section::Section;
use super::tree::Node;
use super::value;
use crate::addr::ByOwn;
use std::fmt;
use std::net::IpAddr;

/// Linux IFNAMSIZ without its closing NUL.
const INTERFACE_NAME_BYTES: usize = 15;

const WANTED: &str = "auto, an IP address, the name of an interface or a DNS name";

/// What the gateway calls itself, per side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advertise {
    /// Towards clients, by the address that the client dialled.
    pub client: ByOwn<AdvertiseChoice>,
    /// Towards servers, by the address that the server sees.
    pub server: ByOwn<AdvertiseChoice>,
}

/// What the gateway calls itself towards one side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AdvertiseChoice {
    /// Its own address, which the peer's control connection shows.
    #[default]
    Auto,
    /// This one: another NAT or a load balancer stands in front.
    Address(IpAddr),
    /// The address that this interface has.
    Interface(String),
    /// The address that this DNS name has; a dot may end it.
    Name(String),
}

impl fmt::Display for AdvertiseChoice {
    /// As in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Address(address) => address.fmt(f),
            Self::Interface(name) | Self::Name(name) => f.write_str(name),
        }
    }
}

/// One side as in the file: a choice, or one for each of the gateway's own addresses.
pub fn shown(side: &ByOwn<AdvertiseChoice>) -> String {
    if side.of.is_empty() {
        return side.others.to_string();
    }
    let each = side.of.iter().map(|(own, choice)| format!("{own}: {choice}"));
    format!("{{ {} }}", each.collect::<Vec<_>>().join(", "))
}

pub(super) fn advertise(mut section: Section<'_>) -> Advertise {
    let client = side(&mut section, "client");
    let server = side(&mut section, "server");
    section.finish();
    Advertise { client, server }
}

fn side(section: &mut Section<'_>, name: &'static str) -> ByOwn<AdvertiseChoice> {
    match section.pairs(name, own, |own, node| external(*own, node)) {
        Some(pairs) => ByOwn { of: pairs.into_iter().collect(), ..ByOwn::default() },
        None => section.read(name, choice, AdvertiseChoice::Auto).value.into(),
    }
}

/// An address of the gateway's own, in canonical form.
fn own(text: &str) -> Result<IpAddr, String> {
    let shown = text.escape_debug();
    match text.parse::<IpAddr>().map(|own| own.to_canonical()) {
        Ok(own) if own.is_unspecified() || own.is_multicast() => {
            Err(format!("nobody dials `{shown}`: write an address of the gateway's own"))
        }
        Ok(own) => Ok(own),
        Err(_) => Err(format!(
            "`{shown}` is no address: write one of the gateway's own and what stands in front of \
             it, for example {{ 10.0.0.5: 203.0.113.7 }}"
        )),
    }
}

/// What stands in front of one address of the gateway's own.
fn external(own: IpAddr, node: &Node) -> Result<AdvertiseChoice, String> {
    let chosen = choice(node)?;
    match chosen {
        AdvertiseChoice::Address(external) if external.is_ipv4() != own.is_ipv4() => Err(format!(
            "`{external}` cannot stand in front of {own}, which is of another family: write one of \
             the same"
        )),
        AdvertiseChoice::Auto
        | AdvertiseChoice::Address(_)
        | AdvertiseChoice::Interface(_)
        | AdvertiseChoice::Name(_) => Ok(chosen),
    }
}

/// `auto`, an IP address, the name of an interface or a DNS name. A name with a dot is a DNS name,
/// unless digits stand behind its last one: `eth0.100` is how VLAN interfaces are called, and no
/// top-level domain is a number. A dot at its end makes a DNS name of a single label.
fn choice(node: &Node) -> Result<AdvertiseChoice, String> {
    let text = value::scalar(node, WANTED)?;
    let shown = text.escape_debug().to_string();
    let wrong = || Err(format!("`{shown}` is none of these: write {WANTED}"));
    if text == "auto" {
        return Ok(AdvertiseChoice::Auto);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        if address.is_unspecified() || address.is_multicast() {
            return Err(format!("nobody can connect to `{address}`: write {WANTED}"));
        }
        return Ok(AdvertiseChoice::Address(address.to_canonical()));
    }
    let digits = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    match text.strip_suffix('.').unwrap_or(&text).rsplit_once('.') {
        // A mistyped address would be waited for in vain.
        Some((before, last)) if digits(last) && before.split('.').all(digits) => wrong(),
        Some((_, last)) if !digits(last) => name(text).map_or_else(wrong, Ok),
        None if text.ends_with('.') => name(text).map_or_else(wrong, Ok),
        Some(_) | None => {
            let good = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':');
            let fits = (1..=INTERFACE_NAME_BYTES).contains(&text.len());
            if fits && text.chars().all(good) && !text.ends_with('.') {
                return Ok(AdvertiseChoice::Interface(text));
            }
            wrong()
        }
    }
}

/// A DNS name, if it can be one.
fn name(text: String) -> Option<AdvertiseChoice> {
    value::is_name(&text).then_some(AdvertiseChoice::Name(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Problems, parse};
    use rstest::rstest;

    fn config(client: &str) -> Result<Config, Problems> {
        let text =
            format!("listeners:\n  - server: 'h:21'\n    advertise:\n      client: {client}\n");
        parse("x.yaml", &text)
    }

    fn client(text: &str) -> ByOwn<AdvertiseChoice> {
        config(text).unwrap().listeners[0].advertise.client.clone()
    }

    #[rstest]
    #[case("auto", AdvertiseChoice::Auto)]
    #[case("203.0.113.7", AdvertiseChoice::Address("203.0.113.7".parse().unwrap()))]
    #[case("\"::ffff:203.0.113.7\"", AdvertiseChoice::Address("203.0.113.7".parse().unwrap()))]
    #[case("ppp0", AdvertiseChoice::Interface("ppp0".to_owned()))]
    #[case("eth0.100", AdvertiseChoice::Interface("eth0.100".to_owned()))]
    #[case("gw.example.com", AdvertiseChoice::Name("gw.example.com".to_owned()))]
    #[case("gw.example.com.", AdvertiseChoice::Name("gw.example.com.".to_owned()))]
    #[case("gateway.", AdvertiseChoice::Name("gateway.".to_owned()))]
    #[case("br.lan", AdvertiseChoice::Name("br.lan".to_owned()))]
    fn a_choice_is_known_by_its_form(#[case] text: &str, #[case] expected: AdvertiseChoice) {
        let side = client(text);
        assert_eq!(side, expected.into());
        let shown = shown(&side);
        assert_eq!(client(&format!("'{shown}'")), side, "{shown} means the same");
    }

    #[rstest]
    #[case("203.0.113.300", "is none of these")]
    #[case("203.0.113", "is none of these")]
    #[case("203.0.113.7.", "is none of these")]
    #[case("a/b", "is none of these")]
    #[case("a..b", "is none of these")]
    #[case(".", "is none of these")]
    #[case("eth0.100.", "is none of these")]
    #[case("a_name_that_is_long", "is none of these")]
    #[case("0.0.0.0", "nobody can connect")]
    #[case("[ppp0]", "not a list")]
    fn what_is_wrong_is_told(#[case] text: &str, #[case] expected: &str) {
        let problems = config(text).unwrap_err();
        let problem = problems.iter().next().unwrap();
        assert_eq!((problem.key(), problem.line()), ("listeners[0].advertise.client", 4));
        assert!(problem.message().contains(expected), "{}", problem.message());
    }

    #[test]
    fn each_own_address_has_its_own() {
        let side = client("{ 10.0.0.5: 203.0.113.7, 10.0.0.6: ppp0, '2001:db8::5': gw.example }");
        assert_eq!(side.others, AdvertiseChoice::Auto);
        let ip = |text: &str| text.parse().unwrap();
        assert_eq!(*side.get(ip("10.0.0.5")), AdvertiseChoice::Address(ip("203.0.113.7")));
        assert_eq!(*side.get(ip("10.0.0.6")), AdvertiseChoice::Interface("ppp0".to_owned()));
        assert_eq!(*side.get(ip("2001:db8::5")), AdvertiseChoice::Name("gw.example".to_owned()));
        let shown = shown(&side);
        assert_eq!(shown, "{ 10.0.0.5: 203.0.113.7, 10.0.0.6: ppp0, 2001:db8::5: gw.example }");
    }

    #[test]
    fn all_that_is_wrong_with_a_map_is_told_with_its_key_and_line() {
        let entries = [
            "10.0.0.5: a/b",
            "ppp0: 203.0.113.7",
            "10.0.0.6: '2001:db8::1'",
            "'::ffff:10.0.0.7': 203.0.113.8",
            "10.0.0.7: 203.0.113.9",
            "0.0.0.0: 203.0.113.9",
        ];
        let entries: String = entries.iter().map(|entry| format!("\n        {entry}")).collect();
        let problems = config(&entries).unwrap_err();
        let told: Vec<_> = problems.iter().map(|p| (p.line(), p.key(), p.message())).collect();
        let expected = [
            (5, "10.0.0.5", "is none of these"),
            (6, "ppp0", "is no address"),
            (7, "10.0.0.6", "another family"),
            (9, "10.0.0.7", "twice"),
            (10, "0.0.0.0", "nobody dials"),
        ];
        assert_eq!(told.len(), expected.len(), "{problems}");
        for ((line, key, message), (on, own, about)) in told.into_iter().zip(expected) {
            assert_eq!((line, key), (on, &*format!("listeners[0].advertise.client.{own}")));
            assert!(message.contains(about), "{message}");
        }
    }

    #[test]
    fn an_empty_map_is_auto() {
        assert_eq!(client("{}"), ByOwn::default());
    }
}
