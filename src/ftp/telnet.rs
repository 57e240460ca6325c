//! The Telnet sequences that may stand in a control connection (RFC 854, RFC 959 §5.3).
//!
//! For [`super::LineReader`]. Options are never agreed to.

/// Interpret As Command: starts every sequence.
pub(super) const IAC: u8 = 255;
/// Ends a subnegotiation.
pub(super) const SE: u8 = 240;
const DATA_MARK: u8 = 242;
const INTERRUPT_PROCESS: u8 = 244;
const SB: u8 = 250;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DO: u8 = 253;
const DONT: u8 = 254;

/// True if `line`, which is free of Telnet commands, has an IAC that is not doubled. It is a letter to
/// some servers; those that come from BSD drop it with the byte behind it, also if that ends the line.
pub fn has_single_iac(line: &[u8]) -> bool {
    let mut bytes = line.iter();
    while bytes.any(|byte| *byte == IAC) {
        if bytes.next() != Some(&IAC) {
            return true;
        }
    }
    false
}

/// What an IAC turned out to be. Every `len` counts from that IAC.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sequence {
    /// Text that stays: IAC IAC, or an IAC that starts no command.
    Data { len: usize },
    /// A command of two bytes; `synch` for those that go with the urgent ABOR.
    Command { len: usize, synch: bool },
    /// An option asked for, offered or declined, and what is to be answered.
    Negotiation { len: usize, answer: Option<[u8; 3]> },
    /// The start of a subnegotiation.
    Subnegotiation { len: usize },
}

impl Sequence {
    /// Reads the sequence at the start of `bytes`, which begin with IAC; `None` if more bytes are
    /// needed.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let command = *bytes.get(1)?;
        Some(match command {
            IAC => Self::Data { len: 2 },
            ..SE => Self::Data { len: 1 },
            SB => Self::Subnegotiation { len: 2 },
            WILL | WONT | DO | DONT => {
                let option = *bytes.get(2)?;
                let answer = match command {
                    WILL => Some([IAC, DONT, option]),
                    DO => Some([IAC, WONT, option]),
                    _ => None,
                };
                Self::Negotiation { len: 3, answer }
            }
            _ => Self::Command { len: 2, synch: matches!(command, INTERRUPT_PROCESS | DATA_MARK) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iac_is_doubled_or_single() {
        for line in [&b"RETR a"[..], b"RETR \xff\xff", b"RETR \xff\xff\xff\xffa", b""] {
            assert!(!has_single_iac(line), "{line:?}");
        }
        for line in [&b"DE\xffXLE"[..], b"RETR \xff", b"RETR \xff\xff\xff", b"\xffa\xff\xff"] {
            assert!(has_single_iac(line), "{line:?}");
        }
    }
}
