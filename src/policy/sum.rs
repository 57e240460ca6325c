//! What servers take for the name in a command that asks for the sum of a file (XCRC, XMD5, HASH). No RFC
//! says where it ends: ProFTPD's mod_digest takes the first word, which may stand in quotes, and numbers
//! behind it; others take all, or all up to the numbers. Pure.

use std::borrow::Cow;

/// Numbers behind the name: where the range begins, and where it ends.
const NUMBERS: usize = 2;

/// Every name that a server may find in `argument`, each of them once.
pub(super) fn names(argument: &[u8]) -> Vec<Cow<'_, [u8]>> {
    let mut names = vec![Cow::Borrowed(argument)];
    let mut add = |name: Cow<'_, [u8]>| {
        if !names.contains(&name) {
            names.push(Cow::Owned(name.into_owned()));
        }
    };
    add(first_word(argument));
    let mut rest = argument;
    for _ in 0..NUMBERS {
        add(between_quotes(rest).into());
        let Some(shorter) = without_number(rest) else { break };
        rest = shorter;
        add(rest.into());
    }
    add(between_quotes(rest).into());
    names
}

/// Up to a blank, or to the closing quote; a backslash takes the meaning from the byte behind it there.
fn first_word(argument: &[u8]) -> Cow<'_, [u8]> {
    let Some(quoted) = argument.strip_prefix(b"\"") else {
        return argument.split(u8::is_ascii_whitespace).next().unwrap_or_default().into();
    };
    let mut word = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next().filter(|byte| **byte != b'"') {
        word.push(match byte {
            b'\\' => *bytes.next().unwrap_or(byte),
            other => *other,
        });
    }
    word.into()
}

/// What stands between a quote at the beginning and the last one; all if there are none.
fn between_quotes(text: &[u8]) -> &[u8] {
    let Some(quoted) = text.strip_prefix(b"\"") else { return text };
    let end = quoted.iter().rposition(|byte| *byte == b'"').unwrap_or(quoted.len());
    quoted.get(..end).unwrap_or_default()
}

/// What stands ahead of the last word, if that is a number.
fn without_number(text: &[u8]) -> Option<&[u8]> {
    let blank = text.iter().rposition(u8::is_ascii_whitespace)?;
    let (name, number) = text.split_at_checked(blank)?;
    let number = number.trim_ascii();
    let is_number = number.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-');
    (is_number && !number.is_empty()).then(|| name.trim_ascii_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(argument: &str) -> Vec<String> {
        names(argument.as_bytes())
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    }

    #[test]
    fn a_name_alone_is_one() {
        assert_eq!(read("/pub/a.key"), ["/pub/a.key"]);
        assert_eq!(read(""), [""]);
    }

    #[test]
    fn numbers_and_quotes_may_be_part_of_it_or_not() {
        assert_eq!(read("b.key 0 1"), ["b.key 0 1", "b.key", "b.key 0"]);
        assert_eq!(read("a b.key 0 1"), ["a b.key 0 1", "a", "a b.key 0", "a b.key"]);
        assert_eq!(read("\"b.key\""), ["\"b.key\"", "b.key"]);
        assert!(read("\"a b.key\" 0 1").contains(&"a b.key".to_owned()));
        assert!(read(r#""a\".key" x"#).contains(&"a\".key".to_owned()));
        assert!(read(r#""/priv\ate/a" 0"#).contains(&"/private/a".to_owned()));
        assert!(read("b.key 0 1 2 3").contains(&"b.key".to_owned()));
        assert!(read("\"b.key").contains(&"b.key".to_owned()));
    }

    #[test]
    fn no_argument_has_many_names() {
        for argument in ["\" \" 1 2 3 4 5", "\"\\\"a\" b \"c\" 1 2", &"\" 1 ".repeat(1000)] {
            assert!(read(argument).len() <= 8, "{argument}");
        }
    }
}
