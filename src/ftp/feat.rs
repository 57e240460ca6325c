//! The reply to FEAT (RFC 2389): what the gateway does not let a server offer.

use super::Verb;

/// False for a line of the FEAT reply that offers LPRT or LPSV (RFC 1639), which the gateway
/// answers with 502. `feature_line` is the line without its terminator, ` LPRT` or `211-LPRT`.
pub fn is_offered(feature_line: &[u8]) -> bool {
    let feature = feature_line.strip_prefix(b"211-").unwrap_or(feature_line).trim_ascii();
    let word = feature.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    !matches!(Verb::parse(word), Verb::Lprt | Verb::Lpsv)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_addresses_are_not_offered() {
        for line in [&b" LPRT"[..], b" lpsv", b"LPRT", b" LPRT with words", b"211-LPSV"] {
            assert!(!is_offered(line), "{line:?}");
        }
        for line in [&b" EPRT"[..], b" MLST type*;size*;", b"211-Features:", b"211 End", b"", b" "]
        {
            assert!(is_offered(line), "{line:?}");
        }
    }
}
