//! How far TLS that ends at the gateway has come, on either side.

use crate::report::CloseCause;
use bytes::Bytes;

/// How far TLS towards the client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::session) enum ClientTls {
    /// Text.
    #[default]
    None,
    /// Its hello is awaited.
    Hello,
    /// Its hello has been read and is not answered yet.
    Waiting,
    /// It has been answered.
    Handshake,
    /// Established.
    Secured,
    /// Text again, after CCC.
    Cleared,
}

/// How far TLS towards the server has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::session) enum ServerTls {
    /// Text.
    #[default]
    None,
    /// AUTH is on its way.
    Asked,
    /// The server awaits the hello.
    Agreed,
    /// The hello is sent.
    Handshake,
    /// Established.
    Secured,
    /// Text again, after CCC.
    Cleared,
}

/// TLS of one session that ends at the gateway.
#[derive(Debug, Default)]
pub(in crate::session) struct Termination {
    pub(in crate::session) client: ClientTls,
    pub(in crate::session) server: ServerTls,
    /// This session is carried unread although its listener terminates.
    pub(super) bypassed: bool,
    /// The server has greeted.
    pub(in crate::session) greeted: bool,
    /// A greeting that the client is not ready for.
    pub(in crate::session) greeting: Vec<u8>,
    /// The server's certificate verified, or nobody asked for that.
    pub(super) trusted: bool,
    /// What the client is told as soon as it can be, before the end.
    pub(super) refusal: Option<(Bytes, CloseCause)>,
    pub(super) unknown_verbs: u8,
}

impl Termination {
    /// True from the first byte of a client's TLS that is due until it is established.
    pub(super) fn client_negotiates(&self) -> bool {
        matches!(self.client, ClientTls::Hello | ClientTls::Waiting | ClientTls::Handshake)
    }

    pub(super) fn server_negotiates(&self) -> bool {
        matches!(self.server, ServerTls::Asked | ServerTls::Agreed | ServerTls::Handshake)
    }

    /// True while a handshake is due that a peer may delay.
    pub(in crate::session) fn is_negotiating(&self) -> bool {
        self.client_negotiates() || self.server_negotiates()
    }

    pub(in crate::session) fn is_client_secured(&self) -> bool {
        matches!(self.client, ClientTls::Secured | ClientTls::Cleared)
    }

    /// True while words of refusal wait for the client's handshake.
    pub(in crate::session) fn refuses(&self) -> bool {
        self.refusal.is_some()
    }

    pub(in crate::session) fn is_server_secured(&self) -> bool {
        matches!(self.server, ServerTls::Secured | ServerTls::Cleared)
    }

    /// True if the client can be told something.
    pub(in crate::session) fn client_reads(&self) -> bool {
        !self.client_negotiates()
    }

    pub(in crate::session) fn keeps_greeting(&self) -> bool {
        !self.greeting.is_empty()
    }
}
