//! Holds the checks against input made at random, out of the pieces that matter to each.
//!
//! | file | what it holds |
//! |---|---|
//! | `pieces` | the pieces, and input made of them |
//! | `conversations` | whole conversations for the checks of sessions |
//! | `wire` | streams of TLS records, and packets |

#[path = "../checks/mod.rs"]
mod checks;
mod conversations;
mod pieces;
mod wire;

use conversations::{conversation, judged_conversation, ruled_conversation};
use pieces::{
    ADDRESSES, ATTRIBUTES, COMMANDS, FEATURES, HEADERS, PATTERNS, REPLIES, SETTINGS, TELNET,
    made_of,
};
use proptest::prelude::*;
use wire::{packet, records};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn line(limit in prop_oneof![0..24u8, any::<u8>()], stream in made_of(TELNET)) {
        checks::line(&[&[limit], &stream[..]].concat());
    }

    #[test]
    fn command(stream in made_of(COMMANDS)) {
        checks::command(&[&stream[..], b"\n"].concat());
    }

    #[test]
    fn reply(stream in made_of(REPLIES)) {
        checks::reply(&[&stream[..], b"\n"].concat());
    }

    #[test]
    fn session(conversation in conversation()) {
        checks::session(&conversation);
    }

    #[test]
    fn session_policy(conversation in judged_conversation()) {
        checks::session_policy(&conversation);
    }

    #[test]
    fn session_model(conversation in ruled_conversation()) {
        checks::session_model(&conversation);
    }

    #[test]
    fn certificate(plan in made_of(ATTRIBUTES)) {
        checks::certificate(&plan);
    }

    #[test]
    fn client_hello(plan in prop::collection::vec(any::<u8>(), 0..80)) {
        checks::client_hello(&plan);
    }

    #[test]
    fn conntrack(plan in prop::collection::vec(prop_oneof![0..10u8, any::<u8>()], 0..80)) {
        checks::conntrack(&plan);
    }

    #[test]
    fn config(text in made_of(SETTINGS)) {
        checks::config(&text);
    }

    #[test]
    fn feat(stream in made_of(FEATURES)) {
        checks::feat(&[&stream[..], b"\n"].concat());
    }

    #[test]
    fn pattern(text in made_of(PATTERNS)) {
        checks::pattern(&text);
    }

    #[test]
    fn observe(packets in prop::collection::vec(packet(), 0..60)) {
        checks::observe(&packets.concat());
    }

    #[test]
    fn observe_any(stream in prop::collection::vec(any::<u8>(), 0..200)) {
        checks::observe(&stream);
    }

    #[test]
    fn proxy_header(stream in made_of(HEADERS)) {
        checks::proxy_header(&stream);
    }

    #[test]
    fn tls_record(stream in records()) {
        checks::tls_record(&stream);
    }

    #[test]
    fn tls_record_any(stream in prop::collection::vec(any::<u8>(), 0..64)) {
        checks::tls_record(&stream);
        checks::tls_record(&[b"\x17\x03\x03\0\x01a", &stream[..]].concat());
    }

    #[test]
    fn host_port(text in made_of(ADDRESSES)) {
        checks::host_port(&text);
    }

    #[test]
    fn host_port_written(octets in prop::collection::vec(any::<u8>(), 19)) {
        checks::host_port(&octets);
    }

    #[test]
    fn host_port_read(
        words in "[A-Za-z ]{0,12}[(=]?", octets in any::<[u8; 6]>(), port in 1..=u16::MAX,
        delimiter in 33..=126u8,
    ) {
        let [a, b, c, d, e, f] = octets;
        let passive = format!("227 {words}{a},{b},{c},{d},{e},{f})");
        let joined = words.ends_with(|c: char| c.is_ascii_alphanumeric()) ;
        prop_assert_eq!(ftpgate::ftp::parse_227(passive.as_bytes()).is_ok(), !joined);
        checks::host_port(passive.as_bytes());

        let x = char::from(delimiter);
        let extended = format!("229 {words} ({x}{x}{x}{port}{x})");
        let readable = !x.is_ascii_digit() && x != ')';
        prop_assert_eq!(ftpgate::ftp::parse_229(extended.as_bytes()).is_ok(), readable);
        checks::host_port(extended.as_bytes());
    }
}
