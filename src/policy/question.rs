//! What policies are asked, and what is known when they are.

use std::net::IpAddr;

/// What is known of a session at the time of a question.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The client, as the kernel or an allowed balancer reports it.
    pub client: IpAddr,
    /// The server that it is carried to; `None` while that is not known.
    pub server: Option<IpAddr>,
    /// What the owner, or the client in its ClientHello, calls the server.
    pub server_name: Option<&'a str>,
    /// Whom the client calls itself: the argument of its last USER that was forwarded, or of the one
    /// that is asked about.
    pub user: Option<&'a [u8]>,
    /// True from the server's acceptance of the login on.
    pub logged_in: bool,
    /// How the client's control connection is protected; `None` while that is open.
    pub tls: Option<TlsState>,
    /// True if data connections are private (PROT P); `None` where nobody could see it agreed.
    pub data_private: Option<bool>,
    /// The directory that the client is in, absolute; `None` if that is not known.
    pub directory: Option<&'a [u8]>,
}

/// How the client's control connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsState {
    /// Not at all, up to now.
    Clear,
    /// By TLS that ends here.
    Secured,
    /// Not any more, since CCC.
    Cleared,
}

/// What a policy is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question<'a> {
    /// May this client use this server? Asked once, when the server is known.
    Connect,
    /// May this command go to the server? `verb` in any case, both as the client wrote them.
    Command {
        /// The first word of the line.
        verb: &'a [u8],
        /// What stands behind it, without the blanks around.
        argument: &'a [u8],
    },
}
