//! Where TLS records end and text begins again, without a key (RFC 8446 §5.1, RFC 5246 §6.2.1).
//!
//! TLS that the gateway passes through can end in the middle of a connection: after `CCC`
//! (RFC 4217 §5) the dialogue goes on as text. Peers announce that end with a close_notify of
//! both sides, of one, or of none, and TLS 1.3 hides even the alert in a record that looks like
//! data. The headers of the records are in the clear in every version: a [`RecordFollower`] walks
//! from header to header, one for each direction, and a line of FTP never begins with one of the
//! five octets that a record begins with. So the first octet at a boundary says which of them it is.
//!
//! **The rules of a header.** Content type 20 to 24, version 3.0 (SSL 3.0) to 3.4, at most
//! 2^14 + 2048 bytes of body; a body without bytes only for application data, which alone may be
//! empty (RFC 5246 §6.2.1). As the very first record of a direction also a ClientHello in the form
//! of SSL 2.0 with a version 3.x in it (RFC 5246 §E.2), as OpenSSL 0.9 sends it. One that asks for
//! SSL 2.0 itself is garbled: the records after it would be of SSL 2.0 too, whose headers begin as
//! text may.
//!
//! **Nothing is held back.** A header is judged byte by byte as it comes, and what is good so far
//! is TLS and goes on at once. If a header turns out bad in its third byte, the two before it may
//! be gone already; the far side's TLS ends on them as it would without a gateway.
//!
//! The memory is one place in a record; no byte is kept.
//!
//! Not here: what the text means, whether TLS may end where it does, and an alert that arrives
//! after the text has begun (see [`crate::session`]).

/// The most bytes of a record's body: RFC 5246 §6.2.3. TLS 1.3 allows fewer (RFC 8446 §5.2).
const MAX_BODY: u16 = (1 << 14) + 2048;

/// The bytes of a record's header.
const HEADER: usize = 5;

/// The length of a ClientHello of SSL 2.0: message type, version and three lengths at the least
/// (RFC 5246 §E.2), and what a server of OpenSSL 0.9 takes at the most.
const MIN_V2_HELLO: u16 = 9;
const MAX_V2_HELLO: u16 = 4096;

/// True if a record can begin with this octet, and so no line of text: its content type.
pub fn begins_record(octet: u8) -> bool {
    Content::of(octet).is_some()
}

/// What stands at the front of bytes that begin at a boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// More bytes are needed to tell, or the record is not complete.
    Incomplete,
    /// A whole record of so many bytes, its header included.
    Record(usize),
    /// No content type of TLS.
    Text,
    /// A header that no version of TLS has.
    Garbled,
}

/// Looks at the front of `bytes`, which begin at a boundary: for whoever has to take TLS record by
/// record, so as not to take what comes behind it.
pub fn front(bytes: &[u8]) -> Front {
    match *bytes {
        [] => Front::Incomplete,
        [content, ..] if !begins_record(content) => Front::Text,
        [_, major, ..] if major != 3 => Front::Garbled,
        [_, _, _, high, low, ..] => {
            let body = u16::from_be_bytes([high, low]);
            let whole = HEADER + usize::from(body);
            match body {
                _ if body > MAX_BODY => Front::Garbled,
                _ if bytes.len() < whole => Front::Incomplete,
                _ => Front::Record(whole),
            }
        }
        _ => Front::Incomplete,
    }
}

/// What [`RecordFollower::follow`] finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Followed {
    /// How many bytes at the front are TLS, to be passed on as they are.
    pub tls: usize,
    /// What comes after them.
    pub then: Then,
}

/// What comes after the bytes that are TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Then {
    /// All of the bytes are TLS so far.
    More,
    /// At a record boundary, the next byte is no content type of TLS: text begins.
    Text,
    /// A header that no version of TLS has: what follows can be neither text nor TLS.
    Garbled,
}

/// Follows the records of one direction of a connection, from its first byte of TLS on.
///
/// Call [`follow`](Self::follow) with the bytes as they arrive, in any pieces: the places found are
/// the same. Once it has said [`Then::Text`] or [`Then::Garbled`] it says so for ever and takes no
/// more bytes; another negotiation needs a new follower.
#[derive(Debug, Clone, Default)]
pub struct RecordFollower {
    place: Place,
    has_begun: bool,
    application_records: u32,
    handshake: Handshake,
}

/// What a record carries, by its first octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    ChangeCipherSpec,
    Alert,
    Handshake,
    ApplicationData,
    /// RFC 6520.
    Heartbeat,
}

impl Content {
    fn of(octet: u8) -> Option<Self> {
        match octet {
            20 => Some(Self::ChangeCipherSpec),
            21 => Some(Self::Alert),
            22 => Some(Self::Handshake),
            23 => Some(Self::ApplicationData),
            24 => Some(Self::Heartbeat),
            _ => None,
        }
    }
}

/// Where in a record the next byte stands.
#[derive(Debug, Clone, Copy, Default)]
enum Place {
    /// Its content type, or the first byte of text.
    #[default]
    Boundary,
    MajorVersion(Content),
    MinorVersion(Content),
    LengthHigh(Content),
    LengthLow(Content, u8),
    /// The second octet of the length of a ClientHello of SSL 2.0; the first without its mark.
    V2LengthLow(u8),
    V2MessageType(u16),
    V2MajorVersion(u16),
    V2MinorVersion(u16),
    /// `left` is never 0.
    Body {
        content: Content,
        length: u16,
        left: u16,
    },
    Text,
    Garbled,
}

impl Place {
    /// The place after a byte of a header, or `Text` or `Garbled` if the byte belongs to none; a
    /// body of `length` bytes if the header ends with it.
    fn after(self, byte: u8, has_begun: bool) -> Self {
        let good = |is_good: bool, next: Self| if is_good { next } else { Self::Garbled };
        match self {
            Self::Boundary => match Content::of(byte) {
                Some(content) => Self::MajorVersion(content),
                None if !has_begun && may_begin_v2(byte) => Self::V2LengthLow(byte & 0x7f),
                None => Self::Text,
            },
            Self::MajorVersion(content) => good(byte == 3, Self::MinorVersion(content)),
            Self::MinorVersion(content) => good(byte <= 4, Self::LengthHigh(content)),
            Self::LengthHigh(content) => {
                good(u16::from_be_bytes([byte, 0]) <= MAX_BODY, Self::LengthLow(content, byte))
            }
            Self::LengthLow(content, high) => {
                let length = u16::from_be_bytes([high, byte]);
                let may_be_empty = content == Content::ApplicationData;
                let fits = length <= MAX_BODY && (length > 0 || may_be_empty);
                good(fits, Self::Body { content, length, left: length })
            }
            Self::V2LengthLow(high) => {
                let length = u16::from_be_bytes([high, byte]);
                let fits = (MIN_V2_HELLO..=MAX_V2_HELLO).contains(&length);
                good(fits, Self::V2MessageType(length))
            }
            Self::V2MessageType(length) => good(byte == 1, Self::V2MajorVersion(length)),
            Self::V2MajorVersion(length) => good(byte == 3, Self::V2MinorVersion(length)),
            Self::V2MinorVersion(length) => {
                // The length counts the message type and the version, which have been read.
                let length = length.saturating_sub(3);
                good(byte <= 4, Self::Body { content: Content::Handshake, length, left: length })
            }
            Self::Body { .. } | Self::Text | Self::Garbled => self,
        }
    }
}

/// Whether the first octet of a length of SSL 2.0 can stand here: the high bit set, and a length
/// in bounds. Above them lies what Telnet commands begin with.
fn may_begin_v2(byte: u8) -> bool {
    let [high, _] = MAX_V2_HELLO.to_be_bytes();
    (0x80..=0x80 | high).contains(&byte)
}

/// How far the handshake of this direction shows which version it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Handshake {
    /// Neither ChangeCipherSpec nor application data.
    #[default]
    InClear,
    /// A ChangeCipherSpec has come.
    Changed,
    /// After it a handshake record that is no hello: Finished, up to TLS 1.2.
    Finished,
    /// Application data without one.
    Tls13,
}

impl RecordFollower {
    /// A follower at the start of a direction.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes from the front of `bytes` what belongs to TLS records: all of them unless text begins
    /// or a header is bad. The byte at which one of the two shows is not taken.
    pub fn follow(&mut self, bytes: &[u8]) -> Followed {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            match self.place {
                Place::Text | Place::Garbled => break,
                Place::Body { content, length, left } => {
                    let (body, after) = rest.split_at_checked(left.into()).unwrap_or((rest, &[]));
                    self.watch_for_hello(content, length, left, body);
                    // A part is no longer than what is left, which fits.
                    let taken = u16::try_from(body.len()).unwrap_or(left);
                    self.enter(Place::Body { content, length, left: left.saturating_sub(taken) });
                    rest = after;
                }
                header => {
                    let next = header.after(byte, self.has_begun);
                    if let Place::Body { content, length, .. } = next {
                        self.on_header(content, length);
                    }
                    self.enter(next);
                    if !matches!(self.place, Place::Text | Place::Garbled) {
                        rest = after;
                    }
                }
            }
        }
        let then = match self.place {
            Place::Text => Then::Text,
            Place::Garbled => Then::Garbled,
            _ => Then::More,
        };
        Followed { tls: bytes.len() - rest.len(), then }
    }

    /// Goes on at a boundary, because bytes were not seen and the next ones begin a record, or text.
    /// That must not be ahead of the first record.
    pub fn resume(&mut self) {
        self.place = Place::Boundary;
        self.has_begun = true;
    }

    /// True once at least one whole header was read: this direction speaks TLS. Text ahead of that
    /// stands where a handshake is due (RFC 4217 §4).
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// True between two records, ahead of the first, and where text has begun.
    pub fn at_boundary(&self) -> bool {
        matches!(self.place, Place::Boundary | Place::Text)
    }

    /// Records of application data (content type 23) that are complete; stays at the largest
    /// number. In TLS 1.3 the encrypted part of the handshake, session tickets and alerts are among
    /// them.
    pub fn application_records(&self) -> u32 {
        self.application_records
    }

    /// True once this direction is known to be TLS 1.3, which is with its first application data.
    ///
    /// Up to TLS 1.2 ChangeCipherSpec is followed by a handshake record, the encrypted Finished,
    /// before any application data (RFC 5246 §7.4.9). In TLS 1.3 Finished is application data to
    /// look at. Its ChangeCipherSpec, sent for old middleboxes or not at all, is followed by a
    /// handshake record only after a HelloRetryRequest, and that is a hello, which is in the clear
    /// (RFC 8446 §D.4).
    pub fn is_tls13(&self) -> bool {
        self.handshake == Handshake::Tls13
    }

    /// Goes to `place`; past the end of a body to the boundary after it.
    fn enter(&mut self, place: Place) {
        self.place = place;
        if let Place::Body { content, left: 0, .. } = place {
            if content == Content::ApplicationData {
                self.application_records = self.application_records.saturating_add(1);
            }
            self.place = Place::Boundary;
        }
    }

    fn on_header(&mut self, content: Content, length: u16) {
        self.has_begun = true;
        self.handshake = match (self.handshake, content) {
            (Handshake::InClear, Content::ChangeCipherSpec) => Handshake::Changed,
            (Handshake::InClear | Handshake::Changed, Content::ApplicationData) => Handshake::Tls13,
            (Handshake::Changed, Content::Handshake) if length < 4 => Handshake::Finished,
            (unchanged, _) => unchanged,
        };
    }

    /// Compares the head of a handshake record after ChangeCipherSpec with that of a hello that
    /// fills the record: message type 1 or 2 and three octets of its length (RFC 8446 §4). What is
    /// encrypted looks like this once in 2^31.
    fn watch_for_hello(&mut self, content: Content, length: u16, left: u16, body: &[u8]) {
        if (self.handshake, content) != (Handshake::Changed, Content::Handshake) {
            return;
        }
        let [high, low] = length.saturating_sub(4).to_be_bytes();
        let is_hello = (length.saturating_sub(left)..4).zip(body).all(|(at, &byte)| match at {
            0 => byte == 1 || byte == 2,
            1 => byte == 0,
            2 => byte == high,
            _ => byte == low,
        });
        if !is_hello {
            self.handshake = Handshake::Finished;
        }
    }
}

#[cfg(test)]
mod tests;
