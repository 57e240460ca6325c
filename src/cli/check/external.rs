//! What `check` says about external addresses: what each side is told, and what that is here and now.

use crate::addr::ByOwn;
use crate::app;
use crate::config::{AdvertiseChoice, Config, Listener};

/// What is told instead of the gateway's own address; nothing where that is what is told.
pub(super) fn sides(listener: &Listener) -> Vec<String> {
    let advertise = &listener.advertise;
    let mut lines = told("clients", "that dial", &advertise.client);
    lines.extend(told("servers", "that see", &advertise.server));
    lines
}

fn told(peers: &str, whose: &str, side: &ByOwn<AdvertiseChoice>) -> Vec<String> {
    let each = side.of.iter().map(|(own, choice)| (format!("{peers} {whose} {own}"), choice));
    let all = [(peers.to_owned(), &side.others)];
    let lines = each.chain(all).filter_map(|(who, choice)| {
        let what = match choice {
            AdvertiseChoice::Auto => return None,
            AdvertiseChoice::Address(address) => address.to_string(),
            AdvertiseChoice::Interface(name) => {
                format!("the address of interface {name}, which is followed")
            }
            AdvertiseChoice::Name(name) => {
                format!("the address of the name {name}, which is asked for again and again")
            }
        };
        Some(format!("{who} are told {what}"))
    });
    lines.collect()
}

/// What interfaces and names have on this host now: a word for the margin and a sentence each.
pub(super) fn found(config: &Config) -> Vec<(&'static str, String)> {
    let found =
        app::look_up_external(config).into_iter().map(|(keys, source, answer)| match answer {
            Ok(addresses) => {
                let all: Vec<String> = addresses.iter().map(|ip| ip.to_string()).collect();
                ("here", format!("{source} has {}", all.join(", ")))
            }
            Err(error) => ("missing", format!("{keys}: {source}: {error}")),
        });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::report;
    use crate::config;

    #[test]
    fn what_is_told_and_what_is_followed_is_said() {
        let text = "listeners:\n  - server: 'h:21'\n    advertise:\n      client: { 10.0.0.5: \
                    203.0.113.7, 10.0.0.6: gw.example.com }\n      server: lo\n";
        let report = report("x.yaml", text).unwrap();
        for line in [
            "clients that dial 10.0.0.5 are told 203.0.113.7\n",
            "clients that dial 10.0.0.6 are told the address of the name gw.example.com, which is",
            "servers are told the address of interface lo, which is followed\n",
        ] {
            assert!(report.contains(line), "{line}\n{report}");
        }
        assert_eq!(report.matches("are told").count(), 3, "{report}");
    }

    #[test]
    fn what_is_not_there_is_told_with_its_key() {
        let text =
            "listeners:\n  - server: 'h:21'\n    advertise: { client: lo, server: nosuch0 }\n";
        let found = found(&config::parse("x.yaml", text).unwrap());
        assert!(
            found
                .iter()
                .any(|(what, told)| *what == "here"
                    && told.starts_with("interface lo has 127.0.0.1"))
        );
        assert!(found.iter().any(|(what, told)| *what == "missing"
            && told.starts_with("listeners[main].advertise.server: interface nosuch0: ")));
    }
}
