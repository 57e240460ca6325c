//! Replies: a boundary is left only by `ddd-` and reached again only by the same code.

use super::lines;
use ftpgate::ftp::{ReplyLine, ReplyReader};

/// The input is a stream of lines.
pub fn reply(input: &[u8]) {
    let mut reader = ReplyReader::new();
    let mut open = None;
    for line in lines(input) {
        let text = line.text();
        let digits = |code: ftpgate::ftp::Code| {
            assert!(matches!(code.value(), 100..=599 | 631..=633));
            let kinds = [
                code.is_preliminary(),
                code.is_positive(),
                code.is_intermediate(),
                code.is_negative(),
                code.is_protected(),
            ];
            assert_eq!(kinds.iter().filter(|&&kind| kind).count(), 1);
            code.to_string().into_bytes()
        };
        let ends = |code: &[u8]| text == code || text.starts_with(&[code, b" "].concat());
        match reader.classify(text) {
            ReplyLine::Whole(code) => {
                assert!(open.is_none() && ends(&digits(code)));
            }
            ReplyLine::First(code) => {
                assert!(open.is_none());
                assert!(text.starts_with(&[&digits(code)[..], b"-"].concat()));
                open = Some(code);
            }
            ReplyLine::Text => {
                assert!(!ends(&digits(open.expect("text only within a reply"))));
            }
            ReplyLine::Last(code) => {
                assert_eq!(open.take(), Some(code));
                assert!(ends(&digits(code)));
            }
            ReplyLine::Stray => assert!(open.is_none()),
        }
        assert_eq!(reader.at_boundary(), open.is_none());
    }
}
