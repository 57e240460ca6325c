//! What a session is told: the only way in.

use super::action::BlindRange;
use crate::report::{DataOutcome, TlsFault, TlsVersion};
use crate::terms::{ByteCounts, FlowId, Side, TransferId};
use std::net::SocketAddr;

/// One thing that happened, told to [`super::Session::handle_event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// This is the server that would be dialled next: it is not if the session ends by that.
    ServerFound {
        /// Its control port.
        server: SocketAddr,
    },
    /// The control connection to the server stands.
    ServerConnected {
        /// The server as the kernel reports it.
        server: SocketAddr,
        /// The address and port that the server sees as its client.
        seen_as: SocketAddr,
        /// True if it is known to ask its clients for a certificate that the gateway has not, so
        /// that the session has to be carried unread.
        wants_certificate: bool,
    },
    /// The server could not be reached.
    ServerConnectFailed,
    /// The server has as many sessions as it may have.
    ServerLimitReached,
    /// A descriptor for the connection to the server would be taken from the data connections of other
    /// sessions.
    DescriptorsScarce,
    /// The client has failed to log in too often, here or in other sessions.
    LoginLimitReached,
    /// The server that would be dialled is this gateway itself (case 48).
    LoopDetected,
    /// Bytes arrived on a control connection; any split is good.
    BytesReceived {
        /// From whom.
        from: Side,
        /// As received, Telnet sequences included.
        bytes: &'a [u8],
    },
    /// Bytes of a control connection were sent and are not in the capture that is observed: what
    /// comes next begins a line, or a record of TLS. Never told of a session that runs here.
    BytesLost {
        /// From whom.
        from: Side,
    },
    /// A peer ended its control connection.
    ConnectionClosed {
        /// Whose.
        side: Side,
        /// True for a FIN: the peer will send nothing more, but may still read.
        orderly: bool,
    },
    /// The transfer asked for by [`super::Action::OpenTransfer`] is open.
    TransferOpened {
        /// Which.
        id: TransferId,
        /// Where the client has to dial, if its leg awaits.
        client_entry: Option<SocketAddr>,
        /// Where the server has to dial, if its leg awaits.
        server_entry: Option<SocketAddr>,
    },
    /// The transfer could not be opened; nothing of it is open.
    TransferFailed {
        /// Which.
        id: TransferId,
    },
    /// [`super::Action::WithdrawTransfer`] is done.
    TransferWithdrawn {
        /// Which.
        id: TransferId,
        /// True if every connection that it awaited had come before, so that it goes on; false if
        /// nothing of it is open any more.
        in_use: bool,
    },
    /// A connection came through a pinhole of the transfer.
    PinholeUsed {
        /// Which transfer.
        id: TransferId,
        /// Whose connection.
        side: Side,
    },
    /// A TLS handshake on one leg of a transfer on the relay path is over.
    DataHandshakeEnded {
        /// Which transfer.
        id: TransferId,
        /// With whom.
        side: Side,
        /// What was agreed on, and whether an earlier session was resumed; or why it failed, which
        /// ends the transfer.
        outcome: Result<(TlsVersion, bool), TlsFault>,
    },
    /// Both legs of a transfer on the relay path stand, with TLS where they are protected.
    DataConnectionJoined {
        /// Which transfer.
        id: TransferId,
    },
    /// The data connection is over.
    DataConnectionEnded {
        /// Which transfer.
        id: TransferId,
        /// How.
        outcome: DataOutcome,
        /// Bytes, where they are known.
        bytes: Option<ByteCounts>,
    },
    /// The client's hello, awaited since [`super::Action::AcceptTls`], is here.
    HelloReceived {
        /// The DNS name that it asks for (RFC 6066 §3).
        name: Option<&'a str>,
    },
    /// TLS stands on the control connection of this side.
    TlsEstablished {
        /// Which.
        side: Side,
        /// False for a server whose certificate did not verify, while that is to be shown to the
        /// client.
        trusted: bool,
    },
    /// TLS failed on the control connection of this side; nothing more comes from there.
    TlsFailed {
        /// Which.
        side: Side,
        /// Why.
        fault: TlsFault,
    },
    /// [`super::Action::OpenBlindRange`] is done.
    BlindRangeOpened {
        /// Between whom.
        range: BlindRange,
    },
    /// [`super::Action::OpenBlindRange`] failed; nothing is open.
    BlindRangeFailed {
        /// Between whom.
        range: BlindRange,
    },
    /// The client's connection has come through the range of `data.blind_ports`.
    BlindConnectionStarted {
        /// Which; no other one that runs bears this name.
        flow: FlowId,
    },
    /// A connection through the range is over. It may have outlived the range.
    BlindConnectionEnded {
        /// Which.
        flow: FlowId,
        /// How.
        outcome: DataOutcome,
        /// Bytes, where they are known.
        bytes: Option<ByteCounts>,
    },
    /// The owner wants this session to end.
    CloseRequested,
    /// The audit cannot be written, and no session is to go on without it.
    AuditFailed,
    /// The gateway takes no more sessions: this one ends as soon as nothing of it is under way.
    DrainRequested,
    /// The gateway shuts down: the session ends now.
    ShutdownRequested,
}
