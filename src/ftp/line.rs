//! Framing of the control connection: bytes in, lines out (RFC 959 §5.3.1, RFC 854).
//!
//! One [`LineReader`] serves one direction. It is pulled: bytes stay undecoded until
//! [`LineReader::next_item`] asks for them, so that whatever follows the last line of text (the TLS
//! records after `AUTH TLS`) can still be taken as it came.
//!
//! **The line rule.** A line ends with LF, and one CR ahead of that LF belongs to the terminator.
//! Any other CR (alone, doubled, with NUL) and any NUL is a [`LineViolation::ForbiddenByte`]: peers
//! disagree on what such a line means, and a line that two readers understand differently is how
//! commands are smuggled.
//!
//! **The Telnet rule.** The gateway is a Telnet peer of its own towards each side and does without
//! every option (RFC 1123 §4.1.2.12, RFC 6384 §5): DO and WILL are answered with WONT and DONT,
//! nothing of the negotiation is passed on, and every other command is removed, also from within a
//! verb. IP and Data Mark are remembered on the line that follows them, because ABOR has to be sent
//! on as urgent too. IAC IAC is one byte of data and stays doubled for the far side. IAC ahead of
//! anything below 240 is no command at all but a file name in Latin-1, and is left alone. The
//! urgent byte of a Synch must be in the stream (`SO_OOBINLINE`), otherwise the IAC ahead of it
//! finds the wrong neighbour.
//!
//! Not here: what a line means (see [`super::Command`], [`super::ReplyReader`]).

use super::telnet::{self, Sequence};
use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memchr2};

const LF: u8 = b'\n';
const CR: u8 = b'\r';
const NUL: u8 = 0;

/// One line as it is to be forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    raw: Bytes,
    synch: bool,
}

impl Line {
    /// A line that the gateway makes itself: `raw` with its terminator.
    pub fn from_bytes(raw: Bytes) -> Self {
        debug_assert_eq!(raw.last(), Some(&LF), "a line ends with LF");
        Self { raw, synch: false }
    }

    /// The bytes to forward: terminator included, Telnet commands removed, IAC IAC still doubled.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The line without its terminator.
    pub fn text(&self) -> &[u8] {
        let text = self.raw.strip_suffix(&[LF]).unwrap_or(&self.raw);
        text.strip_suffix(&[CR]).unwrap_or(text)
    }

    /// True if a Telnet Interrupt Process or Data Mark came before the end of this line and after
    /// the line before it.
    pub fn synch(&self) -> bool {
        self.synch
    }
}

/// What [`LineReader::next_item`] finds, in the order of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineItem {
    /// A complete line.
    Line(Line),
    /// The answer to a Telnet negotiation, to be sent back to the peer that began it.
    Answer(Bytes),
    /// The peer broke a rule; nothing follows.
    Violation(LineViolation),
}

/// How a peer broke the rules of framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LineViolation {
    /// A line, or the Telnet commands ahead of and within one, exceed the limit.
    TooLong,
    /// A NUL, or a CR that does not belong to a terminator.
    ForbiddenByte,
}

/// Cuts the bytes of one direction into lines.
///
/// Call [`push`](Self::push), then [`next_item`](Self::next_item) to `None`; or stop earlier and
/// [`take_rest`](Self::take_rest). However the bytes are split over pushes, the items are the same.
/// Every byte is looked at a bounded number of times, also when each comes alone.
#[derive(Debug)]
pub struct LineReader {
    limit: usize,
    /// Not yet handed out. Up to `scanned` known to be text of the line under way.
    raw: BytesMut,
    scanned: usize,
    /// The beginning of the line under way, once a Telnet command had to be cut out of it.
    begun: BytesMut,
    after_cr: bool,
    synch: bool,
    in_subnegotiation: bool,
    /// Bytes of Telnet commands since the last line.
    swallowed: usize,
    failed: bool,
}

/// One step of the decoding.
enum Step {
    Item(LineItem),
    Again,
    NeedMore,
}

impl LineReader {
    /// A reader for lines of at most `limit` bytes, terminator included. The Telnet commands
    /// between the ends of two lines may take as many bytes again.
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            raw: BytesMut::new(),
            scanned: 0,
            begun: BytesMut::new(),
            after_cr: false,
            synch: false,
            in_subnegotiation: false,
            swallowed: 0,
            failed: false,
        }
    }

    /// Appends bytes as received. After a violation they are dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.failed {
            self.raw.extend_from_slice(bytes);
        }
    }

    /// The next item; `None` until more bytes are pushed, and for ever after a violation.
    pub fn next_item(&mut self) -> Option<LineItem> {
        while !self.failed {
            let step = if self.in_subnegotiation { self.skip_sub() } else { self.read_text() };
            match step {
                Step::Item(item) => return Some(item),
                Step::Again => {}
                Step::NeedMore => return None,
            }
        }
        None
    }

    /// Bytes held, decoded or not: never more than were pushed.
    pub fn buffered(&self) -> usize {
        self.begun.len() + self.raw.len()
    }

    /// The longest line, in bytes with its terminator.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Allows lines of `limit` bytes from now on, if that is more than before.
    pub fn raise_limit(&mut self, limit: usize) {
        self.limit = self.limit.max(limit);
    }

    /// What is buffered, undecoded, if the next line has not begun; `None` within a line.
    pub fn line_start(&self) -> Option<&[u8]> {
        let begun = self.scanned > 0 || !self.begun.is_empty() || self.in_subnegotiation;
        (!begun).then_some(&self.raw)
    }

    /// Drops the first `len` bytes at the start of a line.
    pub fn skip(&mut self, len: usize) {
        debug_assert!(self.line_start().is_some_and(|start| start.len() >= len));
        self.raw.advance(len.min(self.raw.len()));
    }

    /// Takes everything that is not handed out yet and starts afresh, because the connection stops
    /// being text. What follows a line is exactly as received if this is called before the next
    /// [`next_item`](Self::next_item).
    pub fn take_rest(&mut self) -> Bytes {
        let raw = self.raw.split();
        let mut rest = self.begun.split();
        self.scanned = 0;
        self.after_cr = false;
        self.synch = false;
        self.in_subnegotiation = false;
        self.swallowed = 0;
        if rest.is_empty() {
            return raw.freeze();
        }
        rest.extend_from_slice(&raw);
        rest.freeze()
    }

    /// Reads on to the next LF or IAC.
    fn read_text(&mut self) -> Step {
        let window = self.limit - self.begun.len();
        let unread = self.raw.get(self.scanned..self.raw.len().min(window)).unwrap_or_default();
        let stop = memchr2(LF, telnet::IAC, unread);
        let run = unread.get(..stop.unwrap_or(unread.len())).unwrap_or_default();
        let found = stop.and_then(|at| unread.get(at)).copied();
        if !run.is_empty() {
            let bad = match memchr2(CR, NUL, run) {
                None => self.after_cr,
                Some(at) => self.after_cr || at + 1 < run.len() || run.ends_with(&[NUL]),
            };
            if bad {
                return self.fail(LineViolation::ForbiddenByte);
            }
            self.after_cr = run.ends_with(&[CR]);
            self.scanned += run.len();
        }
        match found {
            Some(LF) => self.end_line(),
            Some(_) => self.read_telnet(),
            None if self.scanned >= window => self.fail(LineViolation::TooLong),
            None => Step::NeedMore,
        }
    }

    /// Hands out the line whose LF stands at `scanned`. Where no Telnet command was in it, without
    /// a copy. With the last line the buffer goes too, so that an idle reader holds no memory.
    fn end_line(&mut self) -> Step {
        let len = self.scanned + 1;
        let tail = if len == self.raw.len() {
            std::mem::take(&mut self.raw)
        } else {
            self.raw.split_to(len)
        };
        let raw = if self.begun.is_empty() {
            tail.freeze()
        } else {
            self.begun.extend_from_slice(&tail);
            self.begun.split().freeze()
        };
        let synch = std::mem::take(&mut self.synch);
        self.scanned = 0;
        self.after_cr = false;
        self.swallowed = 0;
        Step::Item(LineItem::Line(Line { raw, synch }))
    }

    /// Deals with the IAC that stands at `scanned`.
    fn read_telnet(&mut self) -> Step {
        let Some(sequence) = Sequence::read(self.raw.get(self.scanned..).unwrap_or_default())
        else {
            return Step::NeedMore;
        };
        match sequence {
            Sequence::Data { len } if self.after_cr => {
                debug_assert!(len > 0);
                self.fail(LineViolation::ForbiddenByte)
            }
            Sequence::Data { len } => {
                self.scanned += len;
                Step::Again
            }
            Sequence::Command { len, synch } => {
                self.synch |= synch;
                self.swallow(len).unwrap_or(Step::Again)
            }
            Sequence::Negotiation { len, answer } => self.swallow(len).unwrap_or_else(|| {
                answer.map_or(Step::Again, |answer| {
                    Step::Item(LineItem::Answer(Bytes::copy_from_slice(&answer)))
                })
            }),
            Sequence::Subnegotiation { len } => {
                self.in_subnegotiation = true;
                self.swallow(len).unwrap_or(Step::Again)
            }
        }
    }

    /// Drops what lies before the IAC SE that ends a subnegotiation, and that itself.
    fn skip_sub(&mut self) -> Step {
        let Some(at) = memchr(telnet::IAC, &self.raw) else {
            return self.swallow(self.raw.len()).unwrap_or(Step::NeedMore);
        };
        let Some(&next) = self.raw.get(at + 1) else {
            return self.swallow(at).unwrap_or(Step::NeedMore);
        };
        self.in_subnegotiation = next != telnet::SE;
        self.swallow(at + 2).unwrap_or(Step::Again)
    }

    /// Cuts `len` bytes of Telnet at `scanned` out of the line.
    fn swallow(&mut self, len: usize) -> Option<Step> {
        if self.scanned > 0 {
            let text = self.raw.split_to(self.scanned);
            self.begun.extend_from_slice(&text);
            self.scanned = 0;
        }
        self.raw.advance(len);
        self.swallowed += len;
        (self.swallowed > self.limit).then(|| self.fail(LineViolation::TooLong))
    }

    fn fail(&mut self, violation: LineViolation) -> Step {
        self.failed = true;
        self.raw = BytesMut::new();
        self.begun = BytesMut::new();
        self.scanned = 0;
        Step::Item(LineItem::Violation(violation))
    }
}

#[cfg(test)]
mod tests;
