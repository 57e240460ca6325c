//! Patterns on bytes: names of users, paths of files. Pure, and bounded in the work that a peer can
//! make them do.

use std::fmt;

/// The longest pattern, in tokens. Matching costs at most this many steps for each byte of what a
/// peer wrote, which is itself no longer than a line.
pub const LONGEST_PATTERN: usize = 256;

/// A pattern: `*` stands for any bytes within one part of a path, `**` for any bytes, `?` for one byte,
/// `\` takes the meaning from the byte behind it, and `\xE4` is the byte with that number. Everything
/// else is itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
    text: String,
    ignores_case: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// One byte that separates nothing.
    One,
    /// Any bytes that separate nothing.
    Part,
    /// Any bytes.
    Any,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing stands there.
    #[error("is empty")]
    Empty,
    /// `\` at the end, or `\x` without two hexadecimal digits.
    #[error("has a `\\` without anything to stand for: write `\\\\` for a backslash")]
    Escape,
    /// More than [`LONGEST_PATTERN`] tokens.
    #[error("is longer than {LONGEST_PATTERN} bytes")]
    TooLong,
}

impl Pattern {
    /// A pattern on names that have no parts: `*` stands for any bytes. ASCII letters count the same
    /// in either case, since it is the server who decides whether they do.
    pub fn name(text: &str) -> Result<Self, PatternError> {
        let mut pattern = Self::parse(text)?;
        pattern.ignores_case = true;
        for token in &mut pattern.tokens {
            match token {
                Token::Part => *token = Token::Any,
                Token::Byte(byte) => byte.make_ascii_lowercase(),
                Token::One | Token::Any => {}
            }
        }
        Ok(pattern)
    }

    /// A pattern on paths with `/` between their parts. One without `/` is about the last part alone,
    /// wherever the file lies.
    pub fn path(text: &str) -> Result<Self, PatternError> {
        let mut pattern = Self::parse(text)?;
        if !text.contains('/') {
            pattern.tokens.splice(0..0, [Token::Any, Token::Byte(b'/')]);
        }
        Ok(pattern)
    }

    /// As [`Self::path`], for servers to which the case of ASCII letters says nothing.
    pub fn path_in_any_case(text: &str) -> Result<Self, PatternError> {
        let mut pattern = Self::path(text)?;
        pattern.ignores_case = true;
        for token in &mut pattern.tokens {
            if let Token::Byte(byte) = token {
                byte.make_ascii_lowercase();
            }
        }
        Ok(pattern)
    }

    fn parse(text: &str) -> Result<Self, PatternError> {
        let mut tokens = Vec::new();
        let mut bytes = text.bytes().peekable();
        while let Some(byte) = bytes.next() {
            tokens.push(match byte {
                b'*' if bytes.next_if_eq(&b'*').is_some() => Token::Any,
                b'*' => Token::Part,
                b'?' => Token::One,
                b'\\' => match bytes.next().ok_or(PatternError::Escape)? {
                    b'x' => {
                        let mut digit = || hexadecimal(bytes.next()?);
                        let value = digit().zip(digit()).ok_or(PatternError::Escape)?;
                        Token::Byte(value.0 << 4 | value.1)
                    }
                    other => Token::Byte(other),
                },
                other => Token::Byte(other),
            });
        }
        match tokens.len() {
            0 => Err(PatternError::Empty),
            1..=LONGEST_PATTERN => Ok(Self { tokens, text: text.to_owned(), ignores_case: false }),
            _ => Err(PatternError::TooLong),
        }
    }

    /// True for a pattern on paths without `/`: the directory that the file lies in is all the same.
    pub(super) fn is_about_last_part(&self) -> bool {
        !self.text.contains('/')
    }

    /// True if all that is meant lies below the folder `path`, as far as the pattern says so without a
    /// wildcard.
    pub(super) fn lies_below(&self, path: &[u8]) -> bool {
        let below = path.iter().copied().chain((path != b"/").then_some(b'/'));
        let mut tokens = self.tokens.iter();
        below
            .map(|byte| if self.ignores_case { byte.to_ascii_lowercase() } else { byte })
            .all(|byte| tokens.next() == Some(&Token::Byte(byte)))
    }

    /// True if all of `bytes` is meant.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        // The places in the pattern at which what was read so far may have led to. A list without
        // repetitions in ascending order, so that each byte costs at most one step for each token.
        let mut places = Vec::new();
        let mut next = Vec::new();
        self.reach(0, &mut places);
        for &byte in bytes {
            let byte = if self.ignores_case { byte.to_ascii_lowercase() } else { byte };
            for &place in &places {
                match self.tokens.get(place) {
                    Some(Token::Byte(wanted)) if *wanted == byte => {
                        self.reach(place + 1, &mut next);
                    }
                    Some(Token::One) if byte != b'/' => self.reach(place + 1, &mut next),
                    Some(Token::Part) if byte != b'/' => self.reach(place, &mut next),
                    Some(Token::Any) => self.reach(place, &mut next),
                    _ => {}
                }
            }
            if next.is_empty() {
                return false;
            }
            std::mem::swap(&mut places, &mut next);
            next.clear();
        }
        places.last() == Some(&self.tokens.len())
    }

    /// Adds `place`, and those behind it that are reached without reading a byte. All places up to the
    /// last of the list that can be reached are in it, since places are added in ascending order.
    fn reach(&self, mut place: usize, places: &mut Vec<usize>) {
        loop {
            if places.last().is_none_or(|last| *last < place) {
                places.push(place);
            }
            match self.tokens.get(place) {
                Some(Token::Part | Token::Any) => place += 1,
                _ => return,
            }
        }
    }
}

fn hexadecimal(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(pattern: &str, path: &str) -> bool {
        Pattern::path(pattern).unwrap().matches(path.as_bytes())
    }

    #[test]
    fn a_star_stays_within_its_part_and_two_do_not() {
        for (pattern, inside, outside) in [
            ("/pub/*", "/pub/a", "/pub/a/b"),
            ("/pub/**", "/pub/a/b", "/public/a"),
            ("/pub/**", "/pub/", "/pub"),
            ("/**/secret/*", "/a/b/secret/x", "/secret/x"),
            ("/a?c", "/abc", "/a/c"),
            ("/*a*b", "/xxaxxaxxb", "/xxaxxaxxbx"),
            ("/**", "/", ""),
            ("/\\*", "/*", "/x"),
        ] {
            assert!(path(pattern, inside), "{pattern} {inside}");
            assert!(!path(pattern, outside), "{pattern} {outside}");
        }
    }

    #[test]
    fn a_pattern_without_slash_is_about_the_last_part() {
        assert!(path("*.exe", "/a/b/c.exe") && path("*.exe", "/c.exe"));
        assert!(!path("*.exe", "/c.exe/d") && !path("*.exe", "/c.EXE"));
        assert!(Pattern::path_in_any_case("*.exe").unwrap().matches(b"/a/C.EXE"));
    }

    #[test]
    fn bytes_are_bytes() {
        let pattern = Pattern::path("/\\xE4\\xfF?").unwrap();
        assert!(pattern.matches(b"/\xe4\xff\x80") && !pattern.matches("/ä".as_bytes()));
        assert!(Pattern::path("/ä").unwrap().matches("/ä".as_bytes()));
    }

    #[test]
    fn names_have_no_parts_and_no_case() {
        let pattern = Pattern::name("Bob*").unwrap();
        assert!(pattern.matches(b"bob") && pattern.matches(b"BOB/x") && !pattern.matches(b"abob"));
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        assert_eq!(Pattern::path(""), Err(PatternError::Empty));
        for text in ["\\", "a\\", "\\x", "\\xg0", "\\x4"] {
            assert_eq!(Pattern::path(text), Err(PatternError::Escape), "{text}");
        }
        let long = "a".repeat(LONGEST_PATTERN + 1);
        assert_eq!(Pattern::path(&long), Err(PatternError::TooLong));
    }

    #[test]
    fn many_stars_cost_no_more_than_their_number() {
        // A matcher that tries each star in turn takes years for this.
        let pattern = Pattern::path(&"*a".repeat(LONGEST_PATTERN / 2)).unwrap();
        assert!(!pattern.matches(&[b'a'; 4000]));
    }
}
