//! The reply to FEAT (RFC 2389): what the gateway does not let a server offer.

use super::Verb;

/// False for a line of the FEAT reply that offers what the gateway does not let pass: LPRT and LPSV
/// (RFC 1639), and all that has to do with protection unless sessions may be `secured`.
/// `feature_line` is the line without its terminator, ` LPRT` or `211-LPRT`.
pub fn is_offered(feature_line: &[u8], secured: bool) -> bool {
    let feature = feature_line.strip_prefix(b"211-").unwrap_or(feature_line).trim_ascii();
    let word = feature.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    match Verb::parse(word) {
        Verb::Lprt | Verb::Lpsv => false,
        Verb::Auth | Verb::Pbsz | Verb::Prot | Verb::Ccc | Verb::Sscn | Verb::Cpsv => secured,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_addresses_are_not_offered() {
        for line in [&b" LPRT"[..], b" lpsv", b"LPRT", b" LPRT with words", b"211-LPSV"] {
            assert!(!is_offered(line, true), "{line:?}");
        }
        for line in [&b" EPRT"[..], b" MLST type*;size*;", b"211-Features:", b"211 End", b"", b" "]
        {
            assert!(is_offered(line, false), "{line:?}");
        }
    }
    #[test]
    fn protection_is_offered_where_sessions_may_be_secured() {
        for line in [&b" AUTH TLS"[..], b" AUTH TLS-C;TLS-P;", b" pbsz", b" PROT C;P", b"211-CCC"] {
            assert!(is_offered(line, true), "{line:?}");
            assert!(!is_offered(line, false), "{line:?}");
        }
    }
}
