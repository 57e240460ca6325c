//! The language of FTP, without its meaning: bytes to lines, lines to commands and replies,
//! addresses in and out of their written forms. Pure: no socket, clock, file or randomness.
//!
//! | word | what it is |
//! |---|---|
//! | [`Line`] | one line of the control connection, free of Telnet commands, forwarded byte for byte |
//! | [`Command`] | a client's line as [`Verb`] and argument |
//! | [`Code`], [`ReplyLine`] | a reply's three digits; what a server's line is to the reply it belongs to |
//! | [`Eprt`], [`PassiveReply`], [`ExtendedPassiveReply`] | an address as a peer wrote it, and where in the line |
//!
//! In the order of the bytes: [`LineReader`] cuts lines; [`Command::parse`] or
//! [`ReplyReader::classify`] says what they are; [`parse_port`], [`parse_eprt`], [`parse_227`] and
//! [`parse_229`] read the addresses; [`splice`] and [`Command::with_argument`] put others in their
//! place.
//!
//! Not here: which reply answers which command, and what may pass (see [`crate::session`],
//! [`crate::policy`]).

mod command;
mod directory;
mod feat;
mod host_port;
mod line;
mod reply;
mod telnet;
mod verb;

pub use command::Command;
pub use directory::parse_257;
pub use feat::{Features, OWN_FEATURES, is_offered, offered_commands};
pub use host_port::{
    Eprt, EprtError, EpsvArgument, ExtendedPassiveReply, HostPortError, PassiveReply, format_eprt,
    format_port, parse_227, parse_229, parse_eprt, parse_epsv, parse_port, splice,
};
pub use line::{Line, LineItem, LineReader, LineViolation};
pub use reply::{Code, ReplyLine, ReplyReader, looks_like_command, reply_code};
pub use telnet::has_single_iac;
pub use verb::Verb;
