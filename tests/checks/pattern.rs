//! Patterns and paths of the owner's rules: a pattern matches just what a matcher matches that tries
//! everything, and a path leads where its parts say, never out of the root.

use ftpgate::policy::{LONGEST_PATTERN, Pattern, PatternError, change_directory};

/// Trying everything takes this many steps at most; what takes more is not compared.
const MOST_STEPS: u32 = 200_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u8),
    One,
    Part,
    Any,
}

/// The input is a pattern, and in the next line what is held against it; or a directory and a name.
pub fn pattern(input: &[u8]) {
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (first, second) = (&input[..at], input.get(at + 1..).unwrap_or_default());
    if let Ok(text) = std::str::from_utf8(first) {
        let named = |tokens: &mut Vec<Token>| {
            for token in tokens {
                *token = if *token == Token::Part { Token::Any } else { *token };
            }
        };
        let lies_anywhere = |tokens: &mut Vec<Token>| {
            if !text.contains('/') {
                tokens.splice(0..0, [Token::Any, Token::Byte(b'/')]);
            }
        };
        compare(text, second, Pattern::name(text), named, true);
        compare(text, second, Pattern::path(text), lies_anywhere, false);
        compare(text, second, Pattern::path_in_any_case(text), lies_anywhere, true);
    }
    changes(first, second);
}

fn compare(
    text: &str,
    bytes: &[u8],
    pattern: Result<Pattern, PatternError>,
    adapt: impl Fn(&mut Vec<Token>),
    any_case: bool,
) {
    let read = read(text);
    assert_eq!(pattern.as_ref().err(), read.as_ref().err());
    let (Ok(pattern), Ok(mut tokens)) = (pattern, read) else { return };
    assert_eq!(pattern.to_string(), text);
    adapt(&mut tokens);
    let mut left = MOST_STEPS;
    if let Some(expected) = tries(&tokens, bytes, any_case, &mut left) {
        assert_eq!(pattern.matches(bytes), expected, "{pattern:?} {:?}", bytes.escape_ascii());
    }
    // It costs the same whatever the peer writes: the worst there is, of the length of a line.
    pattern.matches(&[b'a'; 64]);
}

fn read(text: &str) -> Result<Vec<Token>, PatternError> {
    let mut tokens = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let (token, after) = match (byte, after) {
            (b'*', [b'*', after @ ..]) => (Token::Any, after),
            (b'*', after) => (Token::Part, after),
            (b'?', after) => (Token::One, after),
            (b'\\', [b'x', high, low, after @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).map_err(|_| PatternError::Escape)?;
                if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return Err(PatternError::Escape);
                }
                (Token::Byte(u8::from_str_radix(digits, 16).unwrap()), after)
            }
            (b'\\', [b'x', ..] | []) => return Err(PatternError::Escape),
            (b'\\', [other, after @ ..]) => (Token::Byte(*other), after),
            (byte, after) => (Token::Byte(*byte), after),
        };
        tokens.push(token);
        rest = after;
    }
    match tokens.len() {
        0 => Err(PatternError::Empty),
        1..=LONGEST_PATTERN => Ok(tokens),
        _ => Err(PatternError::TooLong),
    }
}

/// `None` if it takes too long.
fn tries(tokens: &[Token], bytes: &[u8], any_case: bool, left: &mut u32) -> Option<bool> {
    *left = left.checked_sub(1)?;
    let Some((token, later)) = tokens.split_first() else { return Some(bytes.is_empty()) };
    let stays = match (token, bytes.first()) {
        (Token::Any, Some(_)) => true,
        (Token::Part, Some(byte)) => *byte != b'/',
        _ => false,
    };
    match token {
        Token::Byte(wanted) => match bytes.split_first() {
            Some((byte, rest)) if byte == wanted => tries(later, rest, any_case, left),
            Some((byte, rest)) if any_case && byte.eq_ignore_ascii_case(wanted) => {
                tries(later, rest, any_case, left)
            }
            _ => Some(false),
        },
        Token::One => match bytes.split_first() {
            Some((byte, rest)) if *byte != b'/' => tries(later, rest, any_case, left),
            _ => Some(false),
        },
        Token::Part | Token::Any => {
            if tries(later, bytes, any_case, left)? {
                return Some(true);
            }
            if stays { tries(tokens, &bytes[1..], any_case, left) } else { Some(false) }
        }
    }
}

fn changes(directory: &[u8], name: &[u8]) {
    let path = change_directory(directory, name);
    assert_eq!(path.first(), Some(&b'/'));
    let parts: Vec<_> = path[1..].split(|byte| *byte == b'/').collect();
    for part in &parts {
        let root = path == b"/";
        assert!(root || !matches!(*part, b"" | b"." | b".."), "{:?}", path.escape_ascii());
    }
    if !path.starts_with(b"/'") {
        assert_eq!(change_directory(&path, b"."), path);
        assert_eq!(change_directory(b"/elsewhere", &path), path, "it is absolute");
    }
    let above = [&b"/"[..], &parts[..parts.len() - 1].join(&b'/')].concat();
    assert_eq!(change_directory(&path, b".."), above);
}
