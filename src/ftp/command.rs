//! Commands: a line of the client as verb and argument (RFC 959 §5.3).
//!
//! Arguments are bytes, not UTF-8: file names come in any encoding. A command that is not rewritten
//! is forwarded as the line that it came in.
//!
//! Not here: the arguments of PORT, EPRT and EPSV (see [`super::parse_port`] and its neighbours).

use super::{Line, Verb, splice};
use bytes::Bytes;
use std::ops::Range;

/// A line of the client, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    line: Line,
    verb: Verb,
    /// Where the verb stands in the line.
    word: Range<usize>,
    /// Where the argument stands in the line; empty at the place where one would stand.
    argument: Range<usize>,
}

impl Command {
    /// Takes a line apart; every line is a command, with [`Verb::Other`] at worst. Blanks (space,
    /// tab) ahead of the verb are passed over, as servers do.
    pub fn parse(line: Line) -> Self {
        let (word, argument) = word_and_argument(line.text());
        let verb = Verb::parse(line.text().get(word.clone()).unwrap_or_default());
        Self { line, verb, word, argument }
    }

    /// The verb.
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// The verb as the client wrote it.
    pub fn word(&self) -> &[u8] {
        self.line.text().get(self.word.clone()).unwrap_or_default()
    }

    /// The whole line.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// The argument without the blanks around it; empty if there is none.
    pub fn argument(&self) -> &[u8] {
        self.line.text().get(self.argument.clone()).unwrap_or_default()
    }

    /// Everything behind the one blank that ends the verb (RFC 959 §5.3.1). Further ones, and those at
    /// the end, are part of a file's name to servers that split there.
    pub fn name(&self) -> &[u8] {
        self.line.text().get(self.word.end + 1..).unwrap_or_default()
    }

    /// The line to forward with another argument. Every other byte stays: the spelling of the verb,
    /// the blanks, the terminator (case 42). A verb that stood alone gets one space.
    pub fn with_argument(&self, argument: &[u8]) -> Bytes {
        if self.argument.start == self.word.end && !argument.is_empty() {
            return splice(self.line.raw(), self.argument.clone(), &[b" ", argument].concat());
        }
        splice(self.line.raw(), self.argument.clone(), argument)
    }

    /// True for the request line of HTTP: a browser was made to talk to the control port (case 3).
    pub fn is_http(&self) -> bool {
        const METHODS: [&[u8]; 10] = [
            b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"DELETE", b"PATCH",
            b"TRACE", b"PRI",
        ];
        if self.verb != Verb::Other || self.argument.is_empty() {
            return false;
        }
        METHODS.iter().any(|method| self.word().eq_ignore_ascii_case(method))
            || ends_in_http_version(self.argument())
    }

    /// True if the line ends as a request line of HTTP does, whatever its first word: a page may choose
    /// the method, and choose a verb of FTP (case 3). A file can be called so as well, which leaves this
    /// to where no name of a file can stand.
    pub fn ends_as_http(&self) -> bool {
        ends_in_http_version(self.argument())
    }

    /// True if the line could be taken for a reply: a client that plays the server (case 5).
    pub fn looks_like_reply(&self) -> bool {
        matches!(
            self.line.text(),
            [a, b, c, b' ' | b'-', ..] if [a, b, c].iter().all(|d| d.is_ascii_digit())
        )
    }
}

/// Where the verb and the argument stand in `text`. Whatever is not visible ASCII ends a verb and may stand
/// ahead of it, as for servers that go by the `isspace` of their locale: what they take for PORT is not to
/// be another verb here.
pub(super) fn word_and_argument(text: &[u8]) -> (Range<usize>, Range<usize>) {
    let end = text.iter().rposition(|&b| !is_blank(b)).map_or(0, |last| last + 1);
    let find = |from: usize, wanted: fn(u8) -> bool| {
        let rest = text.get(from..end).unwrap_or_default();
        from + rest.iter().position(|&b| wanted(b)).unwrap_or(rest.len())
    };
    let word_start = find(0, |b| !is_gap(b));
    let word_end = find(word_start, is_gap);
    if word_end == end {
        // No argument: one would stand behind the blanks that are there.
        return (word_start..word_end, text.len()..text.len());
    }
    // One byte parts the two, whatever it is, and blanks besides.
    (word_start..word_end, find(word_end + 1, |b| !is_blank(b))..end)
}

/// What separates verb and argument.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// What no verb holds and a lenient server may skip.
fn is_gap(byte: u8) -> bool {
    !byte.is_ascii_graphic()
}

fn ends_in_http_version(argument: &[u8]) -> bool {
    let last = argument.rsplit(|&b| is_blank(b)).next().unwrap_or_default();
    matches!(last, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

#[cfg(test)]
mod tests;
