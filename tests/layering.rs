//! Holds the layers: who may name whom, what a pure module may not touch, and the sizes of files.
//!
//! The layers as designed, and where and why this table differs: `docs/decisions/0004-layers.md`.

#![allow(clippy::unwrap_used, reason = "a test tells by panicking")]

#[path = "support/source.rs"]
#[allow(unreachable_pub, reason = "a module of a test")]
mod source;

use source::{Source, paths, sources, words};
use std::collections::{BTreeMap, BTreeSet};

/// What a module may name besides itself and `terms`.
const LAYERS: &[(&str, &[&str])] = &[
    ("addr", &[]),
    ("terms", &[]),
    ("limits", &[]),
    ("ftp", &["addr"]),
    ("pinhole", &["addr"]),
    ("tls", &["addr", "report"]),
    ("net", &["addr"]),
    ("firewall", &["addr", "pinhole"]),
    ("report", &["addr", "pinhole"]),
    ("policy", &["addr", "pinhole", "report"]),
    ("session", &["addr", "ftp", "pinhole", "policy", "report", "tls"]),
    ("telemetry", &["addr", "limits", "pinhole", "report"]),
    ("admin", &["addr", "telemetry"]),
    (
        "relay",
        &[
            "addr",
            "firewall",
            "ftp",
            "limits",
            "net",
            "pinhole",
            "policy",
            "report",
            "session",
            "telemetry",
            "tls",
        ],
    ),
    ("confinement", &[]),
    ("config", &["addr", "confinement", "ftp", "limits", "pinhole", "policy", "telemetry"]),
    (
        "app",
        &[
            "addr",
            "admin",
            "config",
            "confinement",
            "firewall",
            "ftp",
            "net",
            "pinhole",
            "policy",
            "relay",
            "report",
            "session",
            "telemetry",
            "tls",
        ],
    ),
    ("observe", &["addr", "ftp", "pinhole", "policy", "report", "session", "telemetry", "tls"]),
    (
        "demo",
        &["addr", "app", "config", "firewall", "ftp", "net", "report", "session", "telemetry"],
    ),
    (
        "cli",
        &[
            "addr",
            "admin",
            "app",
            "config",
            "confinement",
            "demo",
            "firewall",
            "net",
            "observe",
            "telemetry",
            "tls",
        ],
    ),
];

/// Modules without socket, clock, file or randomness.
const PURE: &[&str] = &["addr", "ftp", "limits", "pinhole", "policy", "report", "session", "terms"];

/// Files of other modules that are held to the same.
const PURE_FILES: &[&str] = &[
    "net/proxy_protocol.rs",
    "net/proxy_protocol/v1.rs",
    "net/proxy_protocol/v2.rs",
    "observe/conversation.rs",
    "observe/conversation/lines.rs",
    "observe/conversation/transfers.rs",
    "observe/data.rs",
    "observe/packet.rs",
    "observe/stream.rs",
    "observe/stream/half.rs",
    "tls/record.rs",
];

/// What a pure module may not name: paths by their beginning, and words anywhere in a path.
const IMPURE_PATHS: &[&[&str]] = &[
    &["getrandom"],
    &["libc"],
    &["rustix"],
    &["socket2"],
    &["std", "env"],
    &["std", "fs"],
    &["std", "io"],
    &["std", "process"],
    &["std", "thread"],
    &["tokio"],
];

/// The only part of an impure module that a pure one may name.
const PURE_PART: (&str, &str) = ("tls", "record");
const IMPURE_WORDS: &[&str] = &["SystemTime", "TcpListener", "TcpStream", "UdpSocket"];

/// Words of nftables that no identifier outside `firewall` bears.
const NFTABLES: &[&str] = &[
    "conntrack",
    "dnat",
    "iptables",
    "netfilter",
    "nft",
    "nftables",
    "prerouting",
    "snat",
    "tproxy",
];

/// Where such a word stands all the same, and why.
const NFTABLES_ELSEWHERE: &[(&str, &str, &str)] = &[
    ("app.rs", "nftables", "hands a value of the configuration on"),
    ("app/confinement.rs", "nftables", "a value of the configuration that takes a right"),
    ("app/reload.rs", "tproxy", "the socket of such a listener is another one"),
    ("app/settings.rs", "tproxy", "hands a value of the configuration on"),
    ("cli/check.rs", "nftables", "says which backend is configured"),
    ("cli/doctor.rs", "tproxy", "tries out each kind of capture"),
    ("cli/observe.rs", "tproxy", "a value of `--capture`"),
    ("config/check.rs", "tproxy", "a value of `capture`"),
    ("config/file.rs", "nftables", "a value of `firewall.backend`"),
    ("config/file.rs", "tproxy", "a value of `capture`"),
    ("config/types.rs", "nftables", "a value of `firewall.backend`"),
    ("config/types.rs", "tproxy", "a value of `capture`"),
    ("relay/listener.rs", "tproxy", "its socket is transparent for this kind of capture"),
];

/// Words of FTP that no identifier inside `firewall` bears.
const FTP: &[&str] = &[
    "abor", "appe", "eprt", "epsv", "feat", "ftp", "lprt", "lpsv", "mlsd", "nlst", "pasv", "rein",
    "retr", "stor", "stou", "verb",
];

/// Who asks for the time of day, which somebody may set, and what for. Every timer of the gateway runs
/// by the monotonic clock, so that a step of that time ends no session and keeps none alive.
const TIME_OF_DAY: &[(&str, &str)] = &[
    ("app/reload.rs", "the notice of a CA that expires, and when the configuration was read"),
    ("app/tls.rs", "whether the local CA is valid"),
    ("app.rs", "as a reload"),
    ("cli/ca.rs", "the dates in a certificate"),
    ("observe/live.rs", "the stamp of a packet"),
    ("relay/termination.rs", "the dates in a leaf"),
    ("telemetry/live.rs", "stamps for people"),
    ("telemetry/session.rs", "the stamp of a line of the audit"),
];

/// The most lines of a file, tests in it included.
const MAX_LINES: usize = 450;

fn starts_with(path: &[String], beginning: &[&str]) -> bool {
    path.len() >= beginning.len() && path.iter().zip(beginning).all(|(a, b)| a == b)
}

/// The modules at the top that a file names.
fn named(source: &Source) -> BTreeSet<String> {
    let depth = source.module.len();
    let of = |path: Vec<String>| {
        let supers = path.iter().take_while(|segment| *segment == "super").count();
        let from_root = match path.first().map(String::as_str) {
            Some("crate") => 1,
            Some("super") if supers >= depth => supers,
            _ => return None,
        };
        path.get(from_root).cloned()
    };
    let modules = |name: &String| LAYERS.iter().any(|(module, _)| module == name);
    paths(&source.code).into_iter().filter_map(of).filter(modules).collect()
}

fn in_layers(sources: &[Source]) -> impl Iterator<Item = (&str, &Source)> {
    sources.iter().filter_map(|source| Some((source.module.first()?.as_str(), source)))
}

#[test]
fn every_module_has_its_layer() {
    let sources = sources();
    let modules: BTreeSet<_> = in_layers(&sources).map(|(module, _)| module).collect();
    let layers: BTreeSet<_> = LAYERS.iter().map(|(module, _)| *module).collect();
    assert_eq!(modules, layers);
}

#[test]
fn modules_name_only_what_lies_below_them() {
    let sources = sources();
    let mut seen = 0;
    let mut faults = Vec::new();
    for (module, source) in in_layers(&sources) {
        let (_, allowed) = LAYERS.iter().find(|(name, _)| *name == module).unwrap();
        for name in named(source) {
            seen += 1;
            if name != module && name != "terms" && !allowed.contains(&name.as_str()) {
                faults.push(format!("{} names {name}", source.path));
            }
        }
    }
    assert!(seen > 100, "only {seen} names found");
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn pure_modules_touch_nothing() {
    let mut faults = Vec::new();
    let sources = sources();
    for path in PURE_FILES {
        assert!(sources.iter().any(|source| source.path == *path), "no file {path}");
    }
    for (module, source) in in_layers(&sources) {
        if !PURE.contains(&module) && !PURE_FILES.contains(&&source.path[..]) {
            continue;
        }
        for path in paths(&source.code) {
            let (module, part) = PURE_PART;
            let names = |beginning: &[&str]| starts_with(&path, beginning);
            let leaves_it = names(&["crate", module]) && !names(&["crate", module, part]);
            let reads_clock = path.ends_with(&["Instant".to_owned(), "now".to_owned()]);
            if reads_clock
                || leaves_it
                || IMPURE_PATHS.iter().any(|beginning| starts_with(&path, beginning))
                || path.iter().any(|word| IMPURE_WORDS.contains(&word.as_str()))
            {
                faults.push(format!("{} names {}", source.path, path.join("::")));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_time_of_day_is_asked_for_in_few_places() {
    let sources = sources();
    let asks = |source: &&Source| {
        let now = ["SystemTime".to_owned(), "now".to_owned()];
        paths(&source.code).iter().any(|path| path.ends_with(&now))
    };
    let files: Vec<_> = sources.iter().filter(asks).map(|source| &source.path[..]).collect();
    let expected: Vec<_> = TIME_OF_DAY.iter().map(|(path, _)| *path).collect();
    assert_eq!(files, expected);
}

/// Every word of `vocabulary` in the identifiers of the files that `which` picks.
fn bearing(
    vocabulary: &[&str],
    which: impl Fn(&str) -> bool,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources().iter().filter(|source| which(&source.path)) {
        for word in paths(&source.code).iter().flatten().flat_map(|identifier| words(identifier)) {
            if vocabulary.contains(&word.as_str()) {
                found.entry(source.path.clone()).or_default().insert(word);
            }
        }
    }
    found
}

#[test]
fn words_of_nftables_stay_in_the_firewall() {
    let found = bearing(NFTABLES, |path| !path.starts_with("firewall/"));
    let found: Vec<_> = found
        .iter()
        .flat_map(|(path, words)| words.iter().map(move |word| (&path[..], &word[..])))
        .collect();
    let expected: Vec<_> =
        NFTABLES_ELSEWHERE.iter().map(|(path, word, _)| (*path, *word)).collect();
    assert_eq!(found, expected);
}

#[test]
fn words_of_ftp_stay_out_of_the_firewall() {
    assert_eq!(bearing(FTP, |path| path.starts_with("firewall/")), BTreeMap::new());
    assert!(bearing(FTP, |path| path.starts_with("session/")).len() > 5);
}

/// The gateway executes actions; whoever only observes answers them, and does nothing (decision 25).
#[test]
fn actions_are_executed_in_one_place() {
    let sources = sources();
    let names_one = |source: &&Source| {
        paths(&source.code)
            .iter()
            .any(|path| path.iter().rev().nth(1).is_some_and(|s| s == "Action"))
    };
    let files: Vec<_> = sources
        .iter()
        .filter(|source| !source.path.starts_with("session/"))
        .filter(names_one)
        .map(|source| &source.path[..])
        .collect();
    assert_eq!(files, ["observe/conversation.rs", "relay/driver.rs"]);
}

/// Where `unsafe` stands, and what for: no crate in the tree has a safe function for it.
const UNSAFE: &[(&str, &str)] = &[
    ("demo/network.rs", "enters a namespace"),
    ("firewall/handover.rs", "asks for the namespace of a socket"),
    ("firewall/netlink.rs", "sets options of netlink sockets"),
    ("net/inherited.rs", "takes descriptors by their numbers from the environment"),
    ("net/sockets.rs", "leaves the choice of a port to connect"),
];

/// The compiler denies it elsewhere (lib.rs, main.rs).
#[test]
fn unsafe_stands_where_it_is_named_only() {
    let files: Vec<_> = sources()
        .into_iter()
        .filter(|source| source.code.contains("unsafe {"))
        .map(|source| (source.path, source.code.matches("unsafe {").count()))
        .collect();
    let expected: Vec<_> = UNSAFE.iter().map(|(path, _)| ((*path).to_owned(), 1)).collect();
    assert_eq!(files, expected);
}

#[test]
fn nothing_is_unwrapped() {
    let files: Vec<_> =
        sources().into_iter().filter(|s| s.code.contains(".unwrap()")).map(|s| s.path).collect();
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn files_are_of_a_size_to_be_read() {
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|source| source.text.lines().count() > MAX_LINES)
        .map(|source| source.path)
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn the_reader_of_sources_sees_what_is_there() {
    let text = r##"
        //! crate::app
        use crate::{addr::{self, Observed}, terms::Side as S};
        use super::super::ftp;
        fn f<'a>(x: &'a str) -> char { let _ = ("crate::cli \" {", r#"crate::demo"#); '"' }
        /* crate::relay */ const C: u8 = crate::policy::X;
        #[cfg(test)]
        mod tests { use crate::config; fn g() { x.unwrap() } }
        fn h() { std::fs::read("") }
    "##;
    let code = source::without_tests(&source::bare(text));
    let found: Vec<_> = paths(&code).iter().map(|path| path.join("::")).collect();
    for path in [
        "crate::addr::self",
        "crate::addr::Observed",
        "crate::terms::Side",
        "super::super::ftp",
        "crate::policy::X",
        "std::fs::read",
    ] {
        assert!(found.iter().any(|f| f == path), "{path} in {found:?}");
    }
    for word in ["app", "cli", "demo", "relay", "config", "unwrap"] {
        assert!(!code.contains(word), "{word} in {code}");
    }
    assert_eq!(words("TproxyPort"), ["tproxy", "port"]);
    assert_eq!(words("MAX_NFT"), ["max", "nft"]);
}
