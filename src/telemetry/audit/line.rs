//! One line of JSON (RFC 8259): an object whose values are text, numbers and truth values.

use crate::report::PeerText;
use std::fmt::{Display, Write};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;

/// A line under construction.
pub(super) struct Line {
    event: &'static str,
    text: String,
}

impl Line {
    /// A line that begins with the time, in UTC with microseconds (RFC 3339), and the event.
    pub(super) fn new(event: &'static str, now: SystemTime) -> Self {
        let mut line = Self { event, text: String::with_capacity(512) };
        line.text.push('{');
        line.word("time", rfc_3339(now));
        line.word("event", event);
        line
    }

    /// A value that has no control characters, as every address, number and word of a closed set.
    pub(super) fn word(&mut self, key: &'static str, value: impl Display) {
        self.key(key);
        self.text.push('"');
        for c in value.to_string().chars() {
            match c {
                '"' | '\\' => self.text.extend(['\\', c]),
                // JSON knows no bare controls; none comes here.
                c if c.is_control() => self.text.push('\u{fffd}'),
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }

    /// Text of a peer, made visible; where it was cut, its whole length stands beside it.
    pub(super) fn peer_text(&mut self, key: &'static str, length: &'static str, value: &PeerText) {
        self.word(key, value);
        if let Some(bytes) = value.cut_from() {
            self.number(length, bytes);
        }
    }

    /// A number, or a truth value.
    pub(super) fn number(&mut self, key: &'static str, value: impl Display) {
        self.key(key);
        let _ = write!(self.text, "{value}");
    }

    pub(super) fn seconds(&mut self, value: Duration) {
        self.number("seconds", format_args!("{}.{:06}", value.as_secs(), value.subsec_micros()));
    }

    /// What it is about, and the whole line, its end included.
    pub(super) fn end(mut self) -> (&'static str, String) {
        self.text.push_str("}\n");
        (self.event, self.text)
    }

    fn key(&mut self, key: &'static str) {
        let comma = if self.text.len() > 1 { "," } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{comma}\"{key}\":");
    }
}

/// A time in UTC with microseconds (RFC 3339).
pub(crate) fn rfc_3339(time: SystemTime) -> String {
    let utc = OffsetDateTime::from(time);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        utc.year(),
        u8::from(utc.month()),
        utc.day(),
        utc.hour(),
        utc.minute(),
        utc.second(),
        utc.microsecond()
    )
}
