//! What is being agreed about one data connection: what the client asked for, what the server is
//! asked, and the words for both.
//!
//! The two sides are independent: where mode or family differ, the server is asked with another
//! verb than the client used, and the client is answered in the words of its own.

use crate::ftp::{self, Command, Verb};
use crate::terms::{DataMode, TransferId};
use bytes::Bytes;
use std::net::SocketAddr;

/// A data connection being negotiated.
#[derive(Debug)]
pub(super) struct Negotiation {
    /// The client's command as it came.
    pub(super) command: Command,
    /// Where the client listens, in active mode.
    pub(super) client_listens: Option<SocketAddr>,
    /// The verb that the server is asked with.
    pub(super) server_verb: Verb,
    /// What has been opened for a server that is told to connect. It may do so, and even end the
    /// transfer, before it answers (pyftpdlib connects first). `None` again if nobody came in time.
    pub(super) opened: Option<Opened>,
    /// The lines of the server's reply so far, each with its terminator.
    pub(super) reply: Vec<Bytes>,
    /// Bytes in `reply`.
    pub(super) reply_size: usize,
}

/// A transfer that is open while the server is being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) id: TransferId,
    /// Where the client dials, if its leg awaits: told to it once the server has agreed.
    pub(super) client_entry: Option<SocketAddr>,
}

impl Negotiation {
    pub(super) fn new(
        command: Command,
        client_listens: Option<SocketAddr>,
        server_verb: Verb,
    ) -> Self {
        Self {
            command,
            client_listens,
            server_verb,
            opened: None,
            reply: Vec::new(),
            reply_size: 0,
        }
    }

    /// Keeps a line of the server's reply.
    pub(super) fn hold(&mut self, line: Bytes) {
        self.reply_size += line.len();
        self.reply.push(line);
    }

    /// Lets go of the reply, which was an answer to something else.
    pub(super) fn release(&mut self) -> Bytes {
        let whole = self.whole_reply();
        self.reply.clear();
        self.reply_size = 0;
        whole
    }

    /// True if the server's reply, once its address is replaced, is also the reply to the client.
    pub(super) fn reply_passes(&self) -> bool {
        self.server_verb == self.command.verb()
    }

    /// The whole reply of the server as it came.
    pub(super) fn whole_reply(&self) -> Bytes {
        match self.reply.as_slice() {
            [line] => line.clone(),
            lines => lines.concat().into(),
        }
    }
}

/// The mode that a verb of RFC 959 or RFC 2428 asks for.
pub(super) fn mode_of(verb: Verb) -> DataMode {
    match verb {
        Verb::Port | Verb::Eprt => DataMode::Active,
        _ => DataMode::Passive,
    }
}

/// True for PASV and for CPSV, by which the server begins TLS on the data connection (SSCN
/// specification, CPSV): their reply is 227.
pub(super) fn answered_by_227(verb: Verb) -> bool {
    matches!(verb, Verb::Pasv | Verb::Cpsv)
}

/// The verb to ask the server with: the client's own where mode and family agree on both sides,
/// else the oldest verb that can say it (RFC 959 for IPv4, RFC 2428 for IPv6).
pub(super) fn server_verb(
    client_verb: Verb,
    mode: DataMode,
    same_family: bool,
    server_is_ipv4: bool,
) -> Verb {
    if mode == mode_of(client_verb) && same_family {
        return client_verb;
    }
    match (mode, server_is_ipv4) {
        (DataMode::Passive, true) => Verb::Pasv,
        (DataMode::Passive, false) => Verb::Epsv,
        (DataMode::Active, true) => Verb::Port,
        (DataMode::Active, false) => Verb::Eprt,
    }
}

/// The line that asks the server to connect to `external`. The client's own line is kept where it
/// says the same, and only its address is replaced where it has the right form.
pub(super) fn active_line(negotiation: &Negotiation, external: SocketAddr) -> Bytes {
    let own_line = negotiation.reply_passes();
    if own_line && negotiation.client_listens == Some(external) {
        return negotiation.command.line().raw().clone();
    }
    let (verb, argument) = match (negotiation.server_verb, external) {
        (Verb::Port, SocketAddr::V4(v4)) => ("PORT", ftp::format_port(v4)),
        _ => {
            let delimiter =
                ftp::parse_eprt(negotiation.command.argument()).map_or(b'|', |eprt| eprt.delimiter);
            ("EPRT", ftp::format_eprt(external, delimiter))
        }
    };
    if own_line {
        negotiation.command.with_argument(argument.as_bytes())
    } else {
        format!("{verb} {argument}\r\n").into()
    }
}

/// The gateway's own words for what the server's reply does not say in the client's terms.
/// `None` if `entry` cannot be said: 227 has no room for an IPv6 address.
pub(super) fn own_reply(client_verb: Verb, entry: Option<SocketAddr>) -> Option<Bytes> {
    let text = match (client_verb, entry) {
        (Verb::Pasv, Some(SocketAddr::V4(v4))) => {
            format!("227 Entering Passive Mode ({}).\r\n", ftp::format_port(v4))
        }
        (Verb::Epsv, Some(entry)) => {
            format!("229 Entering Extended Passive Mode (|||{}|)\r\n", entry.port())
        }
        (Verb::Port, None) => "200 PORT command successful.\r\n".to_owned(),
        (Verb::Eprt, None) => "200 EPRT command successful.\r\n".to_owned(),
        _ => return None,
    };
    Some(text.into())
}
