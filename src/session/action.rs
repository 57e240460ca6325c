//! What a session wants done: the only way out. Executed in order by the driver, and nowhere else.

use crate::pinhole::Expectation;
use crate::report::Report;
use crate::terms::{DataMode, DataPath, ProtectionLevel, Side, TransferId};
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};

/// One thing to do, from [`super::Session::poll_action`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes on the control connection of `to`.
    SendBytes {
        /// To whom.
        to: Side,
        /// Exactly these.
        bytes: Bytes,
    },
    /// Send these bytes, the last one as TCP urgent data: the Telnet Synch ahead of ABOR
    /// (RFC 854, RFC 959 §4.1.3).
    SendUrgent {
        /// To whom.
        to: Side,
        /// Exactly these.
        bytes: Bytes,
    },
    /// Open what the transfer awaits, then tell [`super::Event::TransferOpened`] or
    /// [`super::Event::TransferFailed`].
    OpenTransfer(TransferPlan),
    /// Dial the given side of a transfer in which both legs dial.
    DialData {
        /// Which transfer.
        id: TransferId,
        /// Which leg.
        side: Side,
    },
    /// What the client sends on a data connection with TLS may move: the server has heard the
    /// client's next command. Some clients send as soon as their connection stands (FileZilla), some
    /// servers connect before they know what for (pyftpdlib) and drop what comes then.
    TakeUpload {
        /// Of which transfer.
        id: TransferId,
    },
    /// Close what the transfer still awaits, then tell [`super::Event::TransferWithdrawn`]. A data
    /// connection whose news are only on the way is left alone.
    WithdrawTransfer {
        /// Which.
        id: TransferId,
    },
    /// Open the ports of `data.blind_ports` between these two, then tell
    /// [`super::Event::BlindRangeOpened`] or [`super::Event::BlindRangeFailed`]. There is one for a
    /// session at a time.
    OpenBlindRange(BlindRange),
    /// Close them. Connections that run go on.
    CloseBlindRange,
    /// TLS is due from the client: read its hello, then tell [`super::Event::HelloReceived`] or
    /// [`super::Event::TlsFailed`].
    AcceptTls,
    /// Begin TLS towards the server, then tell [`super::Event::TlsEstablished`] or
    /// [`super::Event::TlsFailed`].
    ConnectTls,
    /// Go on with the handshake of a client whose hello has been read.
    PresentCertificate(Certificate),
    /// The client's hello is not for the gateway: tell its bytes as received, and go on in text.
    CarryTls,
    /// End TLS on the control connection of `side` and go on in text in place: CCC has been agreed.
    /// The peer ends its own with a close_notify or without.
    EndTls {
        /// Which.
        side: Side,
    },
    /// Tell the world.
    Report(Report),
    /// Send what is still to be sent, then close both control connections. Nothing but reports of
    /// data connections that are still running comes after it.
    CloseSession,
}

/// What a client is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// A leaf in place of the server's certificate.
    Mirrored {
        /// False if that did not verify: the leaf is signed so that the client's own check fails.
        trusted: bool,
    },
    /// The gateway's own.
    Own,
    /// The gateway's own, for a client that is only told why there is no session.
    Refusal,
}

/// Between whom data connections may pass that the gateway cannot see being agreed: the client
/// dials a port of `data.blind_ports` at `entry` and reaches the same port of the server, which sees
/// `source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlindRange {
    /// Who may dial.
    pub client: IpAddr,
    /// Where: the address that its control connection went to.
    pub entry: IpAddr,
    /// Who is reached.
    pub server: IpAddr,
    /// Whom the server sees: the address that its control connection came from.
    pub source: IpAddr,
}

/// A data connection to be carried: two legs, each with its own mode, address and family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferPlan {
    /// Names the transfer.
    pub id: TransferId,
    /// Who carries the bytes. The kernel joins one leg that awaits with one that dials.
    pub path: DataPath,
    /// The leg on the client's side.
    pub client: Leg,
    /// The leg on the server's side.
    pub server: Leg,
    /// What the gateway's own end of the client's leg has to give: [`ProtectionLevel::Private`] is
    /// TLS. Clear where the two peers protect the bytes between themselves.
    pub client_protection: ProtectionLevel,
    /// The same of the server's leg.
    pub server_protection: ProtectionLevel,
}

/// One half of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    /// The peer connects to us (or through us).
    Await(Expectation),
    /// We connect to the peer.
    Dial(Dial),
}

/// A connection to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dial {
    /// The peer's listening address.
    pub to: SocketAddr,
    /// The address that the peer has to see: the one it knows from the control connection.
    pub from: IpAddr,
    /// True if `from` is not the gateway's own address, so that binding to it takes IP_TRANSPARENT.
    pub foreign: bool,
    /// True if the client has named another host than itself (`fxp`): never an address of this one.
    pub third: bool,
}

impl TransferPlan {
    /// The leg of one side.
    pub fn leg(&self, side: Side) -> &Leg {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    /// True if the leg of one side is TLS that ends at the gateway.
    pub fn is_protected(&self, side: Side) -> bool {
        let level = match side {
            Side::Client => self.client_protection,
            Side::Server => self.server_protection,
        };
        level == ProtectionLevel::Private
    }

    /// The mode of one side's leg: the client awaits us in active mode, the server in passive mode.
    pub fn mode(&self, side: Side) -> DataMode {
        match (side, self.leg(side)) {
            (Side::Client, Leg::Await(_)) | (Side::Server, Leg::Dial(_)) => DataMode::Passive,
            (Side::Client, Leg::Dial(_)) | (Side::Server, Leg::Await(_)) => DataMode::Active,
        }
    }
}
