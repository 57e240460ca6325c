//! Replies: codes, and where a reply of several lines ends (RFC 959 §4.2).
//!
//! A reply that is acted on is told from text by its place: only a line at a reply boundary counts,
//! so `227 …` in the midst of a longer reply is text (VU#328867).
//!
//! Not here: which command a reply answers, and the addresses in 227 and 229 (see
//! [`super::parse_227`]).

use super::Verb;
use super::command::word_and_argument;
use super::host_port::{EpsvArgument, parse_epsv};
use std::fmt;

/// A reply code: 100 to 599, or one of 631, 632, 633 (RFC 2228 §5: a reply under protection).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(u16);

impl Code {
    /// The three digits as a number.
    pub fn value(self) -> u16 {
        self.0
    }

    /// 1xx: another reply follows.
    pub fn is_preliminary(self) -> bool {
        self.0 / 100 == 1
    }

    /// 2xx: done.
    pub fn is_positive(self) -> bool {
        self.0 / 100 == 2
    }

    /// 3xx: another command is expected.
    pub fn is_intermediate(self) -> bool {
        self.0 / 100 == 3
    }

    /// 4xx, 5xx: not done.
    pub fn is_negative(self) -> bool {
        matches!(self.0 / 100, 4 | 5)
    }

    /// 6xx: the reply proper is enclosed and cannot be read (RFC 2228).
    pub fn is_protected(self) -> bool {
        self.0 / 100 == 6
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What one line is to the reply that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyLine {
    /// A reply of one line.
    Whole(Code),
    /// The first of several lines.
    First(Code),
    /// Between the first and the last line; whatever it looks like.
    Text,
    /// The last of several lines.
    Last(Code),
    /// Where a reply should begin, but without a code. The boundary stays where it is (case 24).
    Stray,
}

/// Follows the boundaries of replies over the lines of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplyReader {
    open: Option<Code>,
}

impl ReplyReader {
    /// A reader at the start of a connection, which is a reply boundary.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the next line is; `line` is its text without the terminator.
    pub fn classify(&mut self, line: &[u8]) -> ReplyLine {
        match (self.open, read_code(line)) {
            (None, None) => ReplyLine::Stray,
            (None, Some((code, Continues::No))) => ReplyLine::Whole(code),
            (None, Some((code, Continues::Yes))) => {
                self.open = Some(code);
                ReplyLine::First(code)
            }
            (Some(open), Some((code, Continues::No))) if open == code => {
                self.open = None;
                ReplyLine::Last(code)
            }
            (Some(_), _) => ReplyLine::Text,
        }
    }

    /// The code of the reply of several lines that is under way.
    pub fn open_code(&self) -> Option<Code> {
        self.open
    }

    /// True if the next line begins a reply.
    pub fn at_boundary(&self) -> bool {
        self.open.is_none()
    }
}

/// Whether a code is followed by `-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Continues {
    Yes,
    No,
}

/// The code of a line at a reply boundary, if it bears one.
pub fn reply_code(line: &[u8]) -> Option<Code> {
    read_code(line).map(|(code, _)| code)
}

/// The code that a line starts with, and whether its reply goes on: three digits, then a space, `-` or the end.
fn read_code(line: &[u8]) -> Option<(Code, Continues)> {
    let (&[a, b, c], rest) = line.split_first_chunk()?;
    if ![a, b, c].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = [a, b, c].iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
    let continues = match rest.first() {
        None | Some(b' ') => Continues::No,
        Some(b'-') => Continues::Yes,
        Some(_) => return None,
    };
    matches!(value, 100..=599 | 631..=633).then_some((Code(value), continues))
}

/// True if a server's line reads like PORT, PASV, EPRT or EPSV: a server that plays the client
/// (case 5). Prose that happens to begin with such a word ("Port 21 is …") is not meant.
pub fn looks_like_command(line: &[u8]) -> bool {
    let (word, argument) = word_and_argument(line);
    let argument = line.get(argument).unwrap_or_default();
    match Verb::parse(line.get(word).unwrap_or_default()) {
        Verb::Port => {
            argument.contains(&b',') && argument.iter().all(|&b| b.is_ascii_digit() || b == b',')
        }
        Verb::Eprt => argument.first().is_some_and(u8::is_ascii_punctuation),
        Verb::Pasv => argument.is_empty(),
        Verb::Epsv => parse_epsv(argument) != EpsvArgument::Unknown,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
