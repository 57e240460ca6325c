//! What is said, as the checks of a session read it.

use ftpgate::ftp::{Command, Line, ReplyLine, ReplyReader};

/// A line as a command.
pub(super) fn command(line: &[u8]) -> Command {
    Command::parse(Line::from_bytes(line.to_vec().into()))
}

/// The gateway's own answer in a Telnet negotiation.
pub(super) fn is_telnet(bytes: &[u8]) -> bool {
    matches!(bytes, [255, 252 | 254, _])
}

/// The lines up to the end of the first reply that is final.
pub(super) fn greeting(lines: &[Line]) -> &[Line] {
    let mut replies = ReplyReader::new();
    let last = lines.iter().position(|line| match replies.classify(line.text()) {
        ReplyLine::Whole(code) | ReplyLine::Last(code) => !code.is_preliminary(),
        ReplyLine::Stray | ReplyLine::First(_) | ReplyLine::Text => false,
    });
    &lines[..last.map_or(lines.len(), |last| last + 1)]
}
