//! The facts worth telling, and the reasons: each told once by the session or its executor, and
//! turned into log line and metric by [`crate::telemetry`].
//!
//! A report never carries the content of PASS or ACCT. What it has of a peer's text is a
//! [`PeerText`], which goes to the audit; of these only the subject of a client's certificate that is
//! trusted goes to the log as well. Every other field is an address, a number or a word from a closed set,
//! so that each may become a label or a log field without escaping.

mod peer_text;
mod words;

pub use peer_text::PeerText;
pub use words::{
    Answer, CccOutcome, CloseCause, Connection, ControlProtection, DataOutcome, Distrust,
    LeafSource, PinholeOutcome, Refusal, RewrittenLine, TlsFault, TlsVersion,
};

use crate::addr::OriginalDst;
use crate::pinhole::Pinhole;
use crate::terms::{ByteCounts, DataMode, DataPath, ProtectionLevel, Side, TransferId};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// One fact about one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A client was accepted.
    SessionStarted {
        /// The client as the kernel reports it, or its balancer's PROXY header.
        client: SocketAddr,
        /// Where it dialled; likewise.
        original_dst: OriginalDst,
    },
    /// The control connection to the server stands.
    ServerConnected {
        /// The server as the kernel reports it.
        server: SocketAddr,
        /// The address and port that the server sees as its client.
        seen_as: SocketAddr,
        /// From the attempt to the established connection.
        elapsed: Duration,
    },
    /// The server accepted the login (230, 232).
    LoginAccepted {
        /// The argument of the USER that it answers; `None` if there was none.
        user: Option<PeerText>,
    },
    /// The server refused a login: a negative reply to USER, PASS or ACCT.
    LoginRefused {
        /// Who tried: the argument of the USER that it answers; `None` if there was none.
        user: Option<PeerText>,
        /// The code of the reply.
        code: u16,
    },
    /// A command of the client was read.
    CommandReceived {
        /// The verb, from the closed set of known ones; `OTHER` for the rest.
        verb: &'static str,
    },
    /// Something was answered by the gateway itself with a refusal and not forwarded.
    Refused {
        /// The verb of the command that it answers, from the closed set of known ones; `CONNECT` where
        /// the client may not use this server at all.
        verb: &'static str,
        /// Why.
        reason: Refusal,
        /// The name of the owner's rule that refuses it, if one does.
        rule: Option<Arc<str>>,
    },
    /// A command that changes what the server keeps, without a data connection, has been answered; or
    /// the session is over before it was.
    ChangeEnded {
        /// From the closed set of known ones. RNFR only if the server has refused it.
        verb: &'static str,
        /// The argument as the client gave it; `None` if there was none. Of SITE only the word, where
        /// more of it may be a password.
        path: Option<PeerText>,
        /// What RNTO gives another name: the argument of the RNFR before it.
        renamed: Option<PeerText>,
        /// The code of the reply; `None`: there was none.
        code: Option<u16>,
    },
    /// A line left with another address, port or list than it came with.
    LineRewritten {
        /// Which kind of line.
        line: RewrittenLine,
    },
    /// A line that is forwarded, but whose meaning is not trusted.
    LineDistrusted {
        /// Why.
        reason: Distrust,
        /// Who sent it.
        from: Side,
    },
    /// A pinhole is open.
    PinholeOpened {
        /// Of which transfer.
        transfer: TransferId,
        /// Who carries the bytes.
        path: DataPath,
        /// The mode of the leg that the pinhole belongs to.
        mode: DataMode,
        /// The opening.
        pinhole: Pinhole,
        /// From the request to the acknowledgement.
        elapsed: Duration,
    },
    /// A pinhole is no longer open, or could not be opened.
    PinholeClosed {
        /// Of which transfer.
        transfer: TransferId,
        /// Who carries the bytes.
        path: DataPath,
        /// The mode of the leg that the pinhole belongs to.
        mode: DataMode,
        /// What became of it.
        outcome: PinholeOutcome,
    },
    /// The data connection was established, or is being so.
    DataConnectionStarted {
        /// Of which transfer.
        transfer: TransferId,
        /// Who carries the bytes.
        path: DataPath,
        /// The mode towards the client.
        mode: DataMode,
    },
    /// What a data connection that runs is for, as soon as that is known, and when it changes. None
    /// is told of one whose agreement is not read.
    TransferNamed {
        /// Which transfer.
        transfer: TransferId,
        /// What the client asks for; `None` before it does, and if the server refuses it.
        command: Option<TransferCommand>,
        /// The protection of the data connection.
        protection: ProtectionLevel,
    },
    /// The data connection is over.
    DataConnectionEnded {
        /// Of which transfer.
        transfer: TransferId,
        /// What the client asked for; `None` if that was not read, or if the server refused it.
        command: Option<TransferCommand>,
        /// Who carried the bytes.
        path: DataPath,
        /// The mode towards the client.
        mode: DataMode,
        /// The protection of the data connection.
        protection: ProtectionLevel,
        /// How it ended.
        outcome: DataOutcome,
        /// The bytes, where they are known: on the kernel path only with conntrack accounting on.
        bytes: Option<ByteCounts>,
        /// From start to end.
        duration: Duration,
    },
    /// The protection of the control connection changed.
    ProtectionChanged {
        /// What it is now.
        state: ControlProtection,
    },
    /// SSCN was agreed between client and server: who begins TLS on the data connections of RETR,
    /// STOR, APPE and STOU. The gateway carries them as they are.
    TlsRoleTurned {
        /// The server with SSCN ON, the client with SSCN OFF.
        begun_by: Side,
    },
    /// A secured control connection came back to text, or ended without.
    CccObserved {
        /// Which of them.
        outcome: CccOutcome,
        /// How many data connections have passed within `data.blind_ports`; `None` if they were not
        /// open for it.
        passed: Option<u32>,
    },
    /// The range of `data.blind_ports` is open between these two.
    BlindRangeOpened {
        /// Who may dial.
        client: IpAddr,
        /// Where the client dials.
        entry: IpAddr,
        /// Who is reached.
        server: IpAddr,
    },
    /// The range of `data.blind_ports` could not be opened between these two.
    BlindRangeFailed {
        /// Who would have dialled.
        client: IpAddr,
        /// Where the client would have dialled.
        entry: IpAddr,
        /// Who would have been reached.
        server: IpAddr,
    },
    /// A client whose TLS ends here asks for a name (SNI, RFC 6066 §3).
    NameAsked {
        /// The name.
        name: PeerText,
    },
    /// The server has shown its certificate, on a control connection whose TLS ends here.
    ServerCertificateShown {
        /// Its subject (RFC 4514).
        subject: PeerText,
        /// False if it is not verified at all.
        checked: bool,
        /// Why it is not trusted, if it is not.
        fault: Option<TlsFault>,
    },
    /// A TLS handshake of the gateway's own is over.
    HandshakeEnded {
        /// With whom.
        side: Side,
        /// On which connection.
        connection: Connection,
        /// What was agreed on; `None` if it did not come to that.
        version: Option<TlsVersion>,
        /// True if it resumed an earlier session.
        resumed: bool,
        /// Why it failed, if it did.
        fault: Option<TlsFault>,
    },
    /// A client is shown a certificate in place of its server's.
    LeafShown {
        /// Where it came from.
        source: LeafSource,
    },
    /// A client has shown a certificate that is trusted.
    ClientCertificateAccepted {
        /// Its subject (RFC 4514).
        subject: PeerText,
    },
    /// A client was accepted, and has no session.
    SessionRefused {
        /// The client, or who should have introduced it.
        client: SocketAddr,
        /// Where it dialled.
        original_dst: OriginalDst,
        /// Why.
        cause: CloseCause,
        /// From accept to the refusal.
        duration: Duration,
    },
    /// The session is over.
    SessionEnded {
        /// Why.
        cause: CloseCause,
        /// From accept to end.
        duration: Duration,
    },
}

/// A command that moves data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferCommand {
    /// From the closed set of known ones.
    pub verb: &'static str,
    /// The argument as the client gave it; `None` if there was none.
    pub path: Option<PeerText>,
}
