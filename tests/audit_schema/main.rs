//! The lines of the audit are as `docs/audit.schema.json` says, whatever peers send, and no password is
//! in them.
//!
//! | file | what it holds |
//! |---|---|
//! | `schema` | the schema, and lines held against it |
//! | `reports` | reports of every kind |
//! | `told` | what a session tells, and the lines that it leads to |
//! | `hostile` | lines of what hostile peers send |

#![allow(clippy::unwrap_used, reason = "a test tells by panicking")]

mod hostile;
mod reports;
mod schema;
mod told;

use ftpgate::report::{
    Answer, CccOutcome, CloseCause, Connection, ControlProtection, DataOutcome, Refusal, Report,
    TlsFault, TlsVersion,
};
use ftpgate::terms::{DataMode, DataPath, Side};
use reports::everything;
use schema::{SCHEMA, document, words};
use std::collections::BTreeSet;
use told::{lines_of, talk};

/// What no line may have.
const SECRET: &str = "s3cr3t";

#[test]
fn every_kind_of_line_is_as_the_schema_says_and_the_schema_has_nothing_else() {
    let schema = &*SCHEMA;
    let mut seen = BTreeSet::new();
    for line in lines_of(&everything()) {
        seen.extend(schema.check(&line));
    }
    assert_eq!(seen, schema.keys());
}

#[test]
fn the_words_of_the_schema_are_the_codes() {
    fn labels<T: Copy>(all: &[T], label: impl Fn(T) -> &'static str) -> BTreeSet<&'static str> {
        all.iter().map(|word| label(*word)).collect()
    }
    let with = |mut all: BTreeSet<&'static str>, more: &[&'static str]| {
        all.extend(more);
        all
    };
    let schema = &*SCHEMA;
    let of = |event: &str, key: &str| words(&schema.event(event)["properties"][key]);
    let answers = labels(Answer::ALL, Answer::label);
    assert_eq!(
        words(&schema.0["properties"]["control"]),
        labels(ControlProtection::ALL, ControlProtection::label)
    );
    assert_eq!(with(of("login", "outcome"), &["unanswered"]), answers);
    assert_eq!(of("change", "outcome"), answers);
    assert_eq!(of("refusal", "reason"), labels(Refusal::ALL, Refusal::label));
    assert_eq!(of("session_end", "reason"), labels(CloseCause::ALL, CloseCause::label));
    assert_eq!(of("ccc", "outcome"), labels(CccOutcome::ALL, CccOutcome::label));
    let faults = labels(TlsFault::ALL, TlsFault::label);
    assert_eq!(of("tls", "outcome"), with(faults.clone(), &["completed"]));
    assert!(of("tls", "verification").is_subset(&with(faults, &["verified", "unchecked"])));
    assert_eq!(of("tls", "version"), labels(TlsVersion::ALL, TlsVersion::label));
    assert_eq!(of("tls", "connection"), labels(Connection::ALL, Connection::label));
    assert_eq!(of("tls", "side"), labels(&[Side::Client, Side::Server], Side::label));
    assert_eq!(of("transfer", "outcome"), labels(DataOutcome::ALL, DataOutcome::label));
    assert_eq!(
        of("transfer", "mode"),
        labels(&[DataMode::Active, DataMode::Passive], DataMode::label)
    );
    assert_eq!(
        of("transfer", "data_path"),
        labels(&[DataPath::Kernel, DataPath::Relay], DataPath::label)
    );
    let verbs = ftpgate::ftp::Verb::ALL;
    let moving: BTreeSet<_> =
        verbs.iter().filter(|verb| verb.transfers_data()).map(|verb| verb.label()).collect();
    assert_eq!(of("transfer", "verb"), moving);
    // Those that change something are what a session tells as changes.
    let changing: BTreeSet<_> = verbs
        .iter()
        .filter(|verb| {
            let line = format!("{} 20261121113000 a\r\n", verb.label());
            let reports = talk(&[(Side::Client, line.as_bytes()), (Side::Server, b"550 no\r\n")]);
            reports.iter().any(|report| matches!(report, Report::ChangeEnded { .. }))
        })
        .map(|verb| verb.label())
        .collect();
    assert_eq!(of("change", "verb"), changing);
}

#[test]
fn the_documentation_names_every_event_and_key() {
    let (schema, text) = (&*SCHEMA, document("audit.md"));
    for event in schema.events() {
        assert!(text.contains(&format!("| `{event}` |")), "{event}");
    }
    for key in schema.keys() {
        let key = key.split('/').nth(1).unwrap();
        assert!(text.contains(&format!("`{key}`")), "{key}");
    }
}

#[test]
fn what_the_documentation_says_of_site_is_so() {
    let text = document("audit.md");
    let list = text.split("is told of ").nth(1).unwrap().split("; of any other").next().unwrap();
    let words = list.split(|c: char| !c.is_ascii_uppercase()).filter(|word| !word.is_empty());
    let told_of = |word: &str| {
        let line = format!("SITE {word} a {SECRET}\r\n");
        let lines =
            lines_of(&talk(&[(Side::Client, line.as_bytes()), (Side::Server, b"200 ok\r\n")]));
        let line = lines.iter().find(|line| line["event"] == "change").unwrap();
        line["path"].as_str().unwrap().to_owned()
    };
    let whole: Vec<_> =
        words.filter(|word| told_of(word) == format!("{word} a {SECRET}")).collect();
    assert_eq!(whole.len(), 16, "{whole:?}");
    for word in ["PSWD", "ADDUSER", "HELP", "CHMODX"] {
        assert_eq!(told_of(word), word);
    }
}
