//! The reply to FEAT (RFC 2389): what the gateway does not let a server offer, and what it offers in
//! the server's place.

use super::Verb;

/// What of protection may stand in the reply to FEAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Features {
    /// Whatever the server offers: TLS runs end to end.
    EndToEnd,
    /// Nothing: clients are in the clear.
    Clear,
    /// What the server offers and the gateway carries over: TLS ends here on both sides, and begins
    /// when the server agrees.
    ServersTls,
    /// Nothing of the server's: TLS towards clients is the gateway's own.
    OwnTls,
}

/// What the gateway offers where TLS is its own (RFC 4217 §6).
pub const OWN_FEATURES: &[u8] = b" AUTH TLS\r\n PBSZ\r\n PROT\r\n CCC\r\n";

/// False for a line of the FEAT reply that offers what the gateway does not let pass: LPRT and LPSV
/// (RFC 1639), and of protection what `features` leaves out. `feature_line` is the line without its
/// terminator, ` LPRT` or `211-LPRT`.
pub fn is_offered(feature_line: &[u8], features: Features) -> bool {
    let feature = feature_line.strip_prefix(b"211-").unwrap_or(feature_line).trim_ascii();
    let mut words = feature.split(u8::is_ascii_whitespace);
    let verb = Verb::parse(words.next().unwrap_or_default());
    match verb {
        Verb::Lprt | Verb::Lpsv => false,
        // The two change who begins TLS on data connections, each of which ends here.
        Verb::Sscn | Verb::Cpsv | Verb::Adat => features == Features::EndToEnd,
        Verb::Auth if features == Features::ServersTls => {
            words.any(|mechanism| mechanism.starts_with(b"TLS") || mechanism.starts_with(b"SSL"))
        }
        Verb::Auth | Verb::Pbsz | Verb::Prot | Verb::Ccc => {
            matches!(features, Features::EndToEnd | Features::ServersTls)
        }
        Verb::Rein => matches!(features, Features::EndToEnd | Features::Clear),
        _ => true,
    }
}

/// The commands that a line of the FEAT reply offers, each with the beginning of its argument where the
/// line has more than the verb: `SITE CHMOD`, `AUTH TLS`. None for words that are no known command's.
pub fn offered_commands(feature_line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let feature = feature_line.strip_prefix(b"211-").unwrap_or(feature_line).trim_ascii();
    let end = feature.iter().position(u8::is_ascii_whitespace).unwrap_or(feature.len());
    let (word, rest) = feature.split_at(end);
    let verb = Verb::parse(word);
    let argument = match verb {
        Verb::Site | Verb::Auth => rest.trim_ascii_start(),
        _ => &[],
    };
    let first = (verb != Verb::Other).then_some((word, argument));
    // RFC 3659 §7.8: one line stands for both.
    let second = (verb == Verb::Mlst).then_some((&b"MLSD"[..], &b""[..]));
    first.into_iter().chain(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_from_their_features() {
        let offered = |line: &'static [u8]| offered_commands(line).collect::<Vec<_>>();
        assert_eq!(offered(b" MDTM"), [(&b"MDTM"[..], &b""[..])]);
        assert_eq!(offered(b" REST STREAM"), [(&b"REST"[..], &b""[..])]);
        assert_eq!(offered(b" SITE CHMOD"), [(&b"SITE"[..], &b"CHMOD"[..])]);
        assert_eq!(offered(b"211-AUTH TLS"), [(&b"AUTH"[..], &b"TLS"[..])]);
        let facts = [(&b"MLST"[..], &b""[..]), (b"MLSD", b"")];
        assert_eq!(offered(b" MLST type*;size*;"), facts);
        for other in [&b" UTF8"[..], b"211-Features:", b"211 End", b""] {
            assert_eq!(offered(other), []);
        }
    }

    #[test]
    fn long_addresses_are_not_offered() {
        for line in [&b" LPRT"[..], b" lpsv", b"LPRT", b" LPRT with words", b"211-LPSV"] {
            assert!(!is_offered(line, Features::EndToEnd), "{line:?}");
        }
        for line in [&b" EPRT"[..], b" MLST type*;size*;", b"211-Features:", b"211 End", b"", b" "]
        {
            assert!(is_offered(line, Features::Clear), "{line:?}");
        }
    }

    #[test]
    fn protection_is_offered_where_sessions_may_be_secured() {
        for line in [&b" AUTH TLS"[..], b" AUTH TLS-C;TLS-P;", b" pbsz", b" PROT C;P", b"211-CCC"] {
            assert!(is_offered(line, Features::EndToEnd), "{line:?}");
            assert!(is_offered(line, Features::ServersTls), "{line:?}");
            assert!(!is_offered(line, Features::Clear), "{line:?}");
            assert!(!is_offered(line, Features::OwnTls), "{line:?}");
        }
    }

    #[test]
    fn case_40_what_turns_the_roles_in_tls_is_offered_only_end_to_end() {
        for line in [&b" SSCN"[..], b" CPSV", b" AUTH GSSAPI"] {
            assert!(is_offered(line, Features::EndToEnd), "{line:?}");
            assert!(!is_offered(line, Features::ServersTls), "{line:?}");
            assert!(!is_offered(line, Features::OwnTls), "{line:?}");
        }
    }
}
