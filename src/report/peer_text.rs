//! Text of a peer that is worth telling: a user, a file, who a certificate is about. For the audit; no
//! label has it, and no log line has users and files.

use std::fmt::{self, Write};

/// Linux PATH_MAX: no file of a server's has a longer name.
const LONGEST: usize = 4096;

/// Bytes of a peer, of any encoding, bounded.
///
/// Shown, it is one line that every terminal can take, and that can be read back: UTF-8 stands as it
/// is; a byte that is not UTF-8, and those of characters that are controls or cannot be seen, as
/// `\x` and two hexadecimal digits; a backslash as two.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerText {
    bytes: Box<[u8]>,
    length: usize,
}

impl PeerText {
    /// The first 4096 of `bytes`, copied.
    pub fn new(bytes: &[u8]) -> Self {
        let kept = bytes.get(..LONGEST).unwrap_or(bytes);
        Self { bytes: kept.into(), length: bytes.len() }
    }

    /// What is kept.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes the peer sent, if not all of them are kept.
    pub fn cut_from(&self) -> Option<usize> {
        (self.length > self.bytes.len()).then_some(self.length)
    }
}

impl fmt::Display for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| {
            bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
        };
        for chunk in self.bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    c if is_invisible(c) => escaped(f, c.encode_utf8(&mut [0; 4]).as_bytes())?,
                    c => f.write_char(c)?,
                }
            }
            escaped(f, chunk.invalid())?;
        }
        Ok(())
    }
}

impl fmt::Debug for PeerText {
    /// As shown, so that whoever looks for a secret in it finds it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Controls, line ends, and what changes how the text around it looks without being seen (Unicode
/// UAX #9 §2: overrides that show a name backwards).
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> String {
        PeerText::new(bytes).to_string()
    }

    #[test]
    fn what_can_be_seen_stands_as_it_is() {
        assert_eq!(shown("/höme/файл 文.txt \"q\"".as_bytes()), "/höme/файл 文.txt \"q\"");
        assert_eq!(shown(b""), "");
    }

    #[test]
    fn everything_else_is_made_visible_and_can_be_told_apart() {
        for (bytes, expected) in [
            (&b"a\\xffb"[..], r"a\\xffb"),
            (b"a\xffb", r"a\xffb"),
            (b"a\r\nb\0", r"a\x0d\x0ab\x00"),
            (b"\x1b[2J\x7f", r"\x1b[2J\x7f"),
            // C1 as a character of UTF-8, and alone.
            (b"\xc2\x9b\x9b", r"\xc2\x9b\x9b"),
            ("a\u{202e}gpj.exe".as_bytes(), r"a\xe2\x80\xaegpj.exe"),
            ("\u{feff}\u{200b}".as_bytes(), r"\xef\xbb\xbf\xe2\x80\x8b"),
            // Cut in the middle of a character, overlong, a surrogate.
            (b"\xc3", r"\xc3"),
            (b"\xc0\xaf", r"\xc0\xaf"),
            (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        ] {
            assert_eq!(shown(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let whole = PeerText::new(&[b'a'; LONGEST]);
        assert_eq!((whole.bytes().len(), whole.cut_from()), (LONGEST, None));
        let cut = PeerText::new(&[b'a'; LONGEST + 1]);
        assert_eq!((cut.bytes().len(), cut.cut_from()), (LONGEST, Some(LONGEST + 1)));
    }

    /// Reads back what is shown.
    fn read_back(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, more @ ..] = rest {
            rest = match (first, more) {
                (b'\\', [b'\\', more @ ..]) => {
                    bytes.push(b'\\');
                    more
                }
                (b'\\', [b'x', high, low, more @ ..]) => {
                    let digits = [*high, *low];
                    let digits = std::str::from_utf8(&digits).unwrap();
                    bytes.push(u8::from_str_radix(digits, 16).unwrap());
                    more
                }
                (byte, more) => {
                    assert_ne!(*byte, b'\\', "{text}");
                    bytes.push(*byte);
                    more
                }
            };
        }
        bytes
    }

    proptest::proptest! {
        #[test]
        fn it_can_be_read_back(bytes in proptest::collection::vec(
            proptest::prop_oneof![proptest::num::u8::ANY, proptest::sample::select(&b"\\x\xe2\x80\xae\xc2"[..])],
            0..64,
        )) {
            let text = shown(&bytes);
            proptest::prop_assert!(!text.chars().any(is_invisible), "{text:?}");
            proptest::prop_assert_eq!(read_back(&text), bytes);
        }
    }
}
