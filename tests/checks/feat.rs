//! The reply to FEAT: what must not be offered is not, in whatever case or place, and nothing else is
//! taken out.

use super::lines;
use ftpgate::ftp::{Features, is_offered};

/// The input is the lines of a reply.
pub fn feat(input: &[u8]) {
    for line in lines(input) {
        let text = line.text();
        for features in
            [Features::EndToEnd, Features::Clear, Features::ServersTls, Features::OwnTls]
        {
            assert_eq!(is_offered(text, features), may_stand(text, features), "{features:?}");
            let upper = text.to_ascii_uppercase();
            // The word counts in any case; the mechanisms behind AUTH are written in capitals.
            if !is_offered(text, features) {
                let auth = String::from_utf8_lossy(&upper).contains("AUTH");
                assert!(auth || !is_offered(&upper, features));
            }
        }
        // The more is secured here, the less is left of what a server says of it.
        assert!(is_offered(text, Features::EndToEnd) || !is_offered(text, Features::ServersTls));
        assert!(is_offered(text, Features::ServersTls) || !is_offered(text, Features::OwnTls));
    }
}

/// The same by lists of words.
fn may_stand(line: &[u8], features: Features) -> bool {
    let line = line.strip_prefix(b"211-").unwrap_or(line);
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let word = words.next().unwrap_or_default().to_ascii_uppercase();
    let left_out: &[&[u8]] = match features {
        Features::EndToEnd => &[b"LPRT", b"LPSV"],
        Features::Clear => {
            &[b"LPRT", b"LPSV", b"SSCN", b"CPSV", b"ADAT", b"AUTH", b"PBSZ", b"PROT", b"CCC"]
        }
        Features::ServersTls => &[b"LPRT", b"LPSV", b"SSCN", b"CPSV", b"ADAT", b"REIN"],
        Features::OwnTls => &[
            b"LPRT", b"LPSV", b"SSCN", b"CPSV", b"ADAT", b"AUTH", b"PBSZ", b"PROT", b"CCC", b"REIN",
        ],
    };
    if word == b"AUTH" && features == Features::ServersTls {
        return words.any(|word| word.starts_with(b"TLS") || word.starts_with(b"SSL"));
    }
    !left_out.contains(&&word[..])
}
