//! What has to hold where TLS ends at the gateway: the order of handshakes, what may be said around
//! them and to whom, and what data connections are given.

mod agreed;

use super::script::Script;
use super::stage::index;
use super::text::{command, is_telnet};
use ftpgate::ftp::{self, ReplyReader, Verb};
use ftpgate::session::{Action, Certificate, TlsMode, TlsStart};
use ftpgate::terms::Side;

/// The gateway's answers to PROT while TLS stands.
const PROT_ACCEPTED: &[u8] = b"200 Protection level accepted.\r\n";
const PROT_REFUSED: &[&[u8]] = &[
    b"503 PBSZ first.\r\n",
    b"536 TLS knows the levels C and P only.\r\n",
    b"504 No such protection level.\r\n",
    b"536 The server does not protect its data.\r\n",
];

/// How far TLS of one side has come, as the session was told or has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    None,
    Hello,
    HelloRead,
    Handshake,
    Secured,
    Cleared,
    Failed,
}

/// Watches TLS of one play.
pub(super) struct EndedTls {
    mode: TlsMode,
    client_start: TlsStart,
    server_start: TlsStart,
    /// No login outside TLS with the client.
    required: bool,
    /// Nothing ends here after all.
    carried: bool,
    client: Tls,
    server: Tls,
    trusted: bool,
    /// What each side had said when TLS with it was established.
    marks: [Option<usize>; 2],
    /// The server says nothing but one reply to each command, which names whom it is for.
    tidy: bool,
    last_for_client: u32,
    last_told: Vec<u8>,
    told: ReplyReader,
    /// What the client has been told since the server was given up; `None` before that.
    finals: Option<u32>,
    /// It has to be told.
    final_is_due: bool,
    own_auths: usize,
    /// What the server had said when it was asked for CCC, and for PROT P.
    ccc_at: Option<usize>,
    prot_at: Option<usize>,
    /// Answers to PROT: true if accepted.
    prot_answers: Vec<bool>,
}

impl EndedTls {
    pub(super) fn new(script: &Script) -> Self {
        Self {
            mode: script.settings.tls,
            client_start: script.settings.client_start,
            server_start: script.settings.server_start,
            required: script.settings.tls_required,
            carried: !script.ends_tls(),
            client: Tls::None,
            server: Tls::None,
            trusted: false,
            marks: [None; 2],
            tidy: true,
            last_for_client: 0,
            last_told: Vec::new(),
            told: ReplyReader::new(),
            finals: None,
            final_is_due: false,
            own_auths: 0,
            ccc_at: None,
            prot_at: None,
            prot_answers: Vec::new(),
        }
    }

    fn ends(&self, side: Side) -> bool {
        match side {
            Side::Client => matches!(self.mode, TlsMode::Intercept | TlsMode::Offload),
            Side::Server => matches!(self.mode, TlsMode::Intercept | TlsMode::Originate),
        }
    }

    /// True if TLS with the server begins without a word of the client's.
    fn is_unasked(&self) -> bool {
        let by_client = self.mode == TlsMode::Intercept
            && self.client_start == TlsStart::Explicit
            && self.server_start == TlsStart::Explicit;
        self.ends(Side::Server) && !by_client
    }

    /// The session is carried unread.
    pub(super) fn on_carried(&mut self) {
        self.carried = true;
    }

    /// The server says more than it is asked, or something else.
    pub(super) fn on_unasked(&mut self) {
        self.tidy = false;
    }

    pub(super) fn on_hello(&mut self) {
        self.client = Tls::HelloRead;
    }

    pub(super) fn on_established(&mut self, side: Side, trusted: bool, said: usize) {
        self.marks[index(side)] = Some(said);
        match side {
            Side::Client => {
                self.client = Tls::Secured;
                self.final_is_due |= self.finals.is_some();
            }
            Side::Server => (self.server, self.trusted) = (Tls::Secured, trusted),
        }
    }

    pub(super) fn on_failed(&mut self, side: Side) {
        match side {
            Side::Client => {
                self.client = Tls::Failed;
                self.final_is_due = false;
            }
            Side::Server => {
                self.server = Tls::Failed;
                self.finals.get_or_insert(0);
                // In the midst of a reply nothing can be told, be it one that the client does not hear.
                self.final_is_due = self.client_reads() && self.told.at_boundary() && self.tidy;
            }
        }
    }

    fn client_reads(&self) -> bool {
        matches!(self.client, Tls::None | Tls::Secured | Tls::Cleared)
    }

    /// Where what this side said inside TLS begins.
    pub(super) fn mark(&self, side: Side) -> Option<usize> {
        self.marks[index(side)]
    }

    /// Records may come late on a side that is back to text.
    pub(super) fn is_cleared(&self, side: Side) -> bool {
        match side {
            Side::Client => self.client == Tls::Cleared,
            Side::Server => self.server == Tls::Cleared,
        }
    }

    /// A command that the gateway sends by itself, and no client's.
    pub(super) fn is_own_command(&self, line: &[u8]) -> bool {
        match line {
            b"AUTH TLS\r\n" => self.is_unasked(),
            b"PBSZ 0\r\n" | b"PROT P\r\n" | b"CCC\r\n" => !self.carried && self.ends(Side::Server),
            _ => false,
        }
    }

    /// A line to the client that the gateway says by itself.
    pub(super) fn is_own_reply(&self, line: &[u8]) -> bool {
        let own = [&b"234 AUTH TLS accepted.\r\n"[..], b"211-Features:\r\n", b"211 End\r\n"];
        let mut features = ftp::OWN_FEATURES.split_inclusive(|byte| *byte == b'\n');
        self.ends(Side::Client) && (own.contains(&line) || features.any(|feature| feature == line))
    }

    /// `said` is what the session has been told of both sides.
    pub(super) fn on_action(&mut self, action: &Action, said: &[Vec<u8>; 2]) {
        if self.carried {
            let ended = matches!(
                action,
                Action::AcceptTls
                    | Action::ConnectTls
                    | Action::PresentCertificate(_)
                    | Action::CarryTls
                    | Action::EndTls { .. }
            );
            assert!(!ended, "{action:?} although nothing ends here");
            return;
        }
        match action {
            Action::SendBytes { to: Side::Client, bytes } => self.on_told_client(bytes),
            Action::SendBytes { to: Side::Server, bytes } => self.on_told_server(bytes, said),
            Action::SendUrgent { .. } => self.may_tell_server(b"urgent"),
            Action::AcceptTls => self.on_accept(),
            Action::ConnectTls => self.on_connect(),
            Action::PresentCertificate(certificate) => self.on_presented(*certificate),
            Action::CarryTls => {
                assert_eq!((self.mode, self.client), (TlsMode::Intercept, Tls::HelloRead));
                assert_eq!(self.server, Tls::None, "the hello is for a server that has had one");
                self.client = Tls::None;
                self.carried = true;
            }
            Action::EndTls { side: Side::Client } => {
                assert_eq!(self.client, Tls::Secured, "no TLS to end");
                assert!(self.last_told.starts_with(b"200 "), "{:?}", self.last_told);
                self.client = Tls::Cleared;
            }
            Action::EndTls { side: Side::Server } => {
                assert_eq!(self.server, Tls::Secured, "no TLS to end");
                let at = self.ccc_at.take().expect("nobody asked for CCC");
                assert!(self.has_agreed(at, said), "CCC was not agreed to");
                self.server = Tls::Cleared;
            }
            Action::OpenTransfer(plan) => self.on_plan(plan, said),
            Action::CloseSession => {
                let told = self.finals.unwrap_or_default();
                assert!(!self.final_is_due || told == 1, "the client is not told why");
            }
            Action::DialData { .. }
            | Action::TakeUpload { .. }
            | Action::WithdrawTransfer { .. }
            | Action::OpenBlindRange(_)
            | Action::CloseBlindRange
            | Action::Report(_) => {}
        }
    }

    fn on_told_client(&mut self, bytes: &[u8]) {
        assert!(self.client_reads(), "{bytes:?} to a client that is {:?}", self.client);
        if is_telnet(bytes) {
            return;
        }
        if let Some(finals) = &mut self.finals {
            *finals += 1;
            // The gateway's own words, or a greeting of a server that says no in whatever code.
            let last = bytes.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
            let refuses = last.is_some_and(|line| !line.starts_with(b"2"));
            let in_reply = self.tidy && !self.told.at_boundary();
            assert!(*finals == 1 && refuses && !in_reply, "{bytes:?}");
        }
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.told.classify(line.trim_ascii_end());
            if self.tidy {
                self.is_for_client(line);
            }
        }
        self.last_told = bytes.to_vec();
        match bytes {
            bytes if bytes == PROT_ACCEPTED => self.prot_answers.push(true),
            bytes if PROT_REFUSED.contains(&bytes) => self.prot_answers.push(false),
            _ => {}
        }
    }

    /// The client hears no answer to another one's command, and its own in order.
    fn is_for_client(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        assert!(!line.contains("for gateway"), "the client is told {line:?}");
        let Some((_, number)) = line.split_once("for client ") else { return };
        let number = number.trim_end().parse().expect("a number");
        assert!(number >= self.last_for_client, "{line:?} behind {}", self.last_for_client);
        self.last_for_client = number;
    }

    fn may_tell_server(&mut self, bytes: &[u8]) {
        assert!(self.finals.is_none(), "{bytes:?} to a server that was given up");
        assert_ne!(self.client, Tls::Failed, "{bytes:?} of a client without TLS");
        let secured = matches!(self.server, Tls::Secured | Tls::Cleared);
        assert!(secured || self.server == Tls::None, "{bytes:?} in the midst of a handshake");
        if self.is_unasked() && !secured && !is_telnet(bytes) {
            let asks = self.server_start == TlsStart::Explicit && bytes == b"AUTH TLS\r\n";
            assert!(asks && self.own_auths == 0, "{bytes:?} outside TLS");
            self.own_auths += 1;
        }
    }

    fn on_told_server(&mut self, bytes: &[u8], said: &[Vec<u8>; 2]) {
        self.may_tell_server(bytes);
        if is_telnet(bytes) {
            return;
        }
        let said = &said[index(Side::Server)];
        if let Some(at) = self.ccc_at.take()
            && self.tidy
        {
            assert!(said[at..].contains(&b'\n'), "{bytes:?} behind a CCC without its answer");
        }
        match command(bytes).verb() {
            Verb::User | Verb::Pass | Verb::Acct if self.required => {
                let secured = matches!(self.client, Tls::Secured | Tls::Cleared);
                assert!(secured, "a login outside TLS");
            }
            Verb::Ccc => self.ccc_at = Some(said.len()),
            Verb::Prot => self.prot_at = Some(said.len()),
            Verb::Auth if self.ends(Side::Client) => {
                assert!(self.mode == TlsMode::Intercept, "AUTH to a server in the clear");
            }
            Verb::Sscn | Verb::Cpsv | Verb::Adat | Verb::Mic | Verb::Conf | Verb::Enc => {
                panic!("{bytes:?} is nobody's here")
            }
            _ => {}
        }
        let own = matches!(command(bytes).verb(), Verb::Pbsz | Verb::Prot | Verb::Ccc);
        assert!(!own || self.is_own_command(bytes), "{bytes:?} is the gateway's own to answer");
        assert!(!own || self.server == Tls::Secured, "{bytes:?} outside TLS");
    }

    fn on_accept(&mut self) {
        assert!(self.ends(Side::Client) && self.finals.is_none());
        assert_eq!(self.client, Tls::None, "TLS is due twice");
        let begins = match self.client_start {
            TlsStart::Explicit => self.last_told.starts_with(b"234"),
            TlsStart::Implicit => self.last_told.is_empty(),
            TlsStart::ImplicitAfterGreeting => !self.last_told.is_empty(),
        };
        let in_reply = self.tidy && !self.told.at_boundary();
        assert!(begins && !in_reply, "TLS behind {:?}", self.last_told);
        self.client = Tls::Hello;
    }

    fn on_connect(&mut self) {
        assert!(self.ends(Side::Server) && self.finals.is_none());
        assert_eq!(self.server, Tls::None, "TLS is begun twice");
        if !self.is_unasked() {
            assert_eq!(self.client, Tls::HelloRead, "the name is not known yet");
        } else if self.server_start == TlsStart::Explicit {
            assert_eq!(self.own_auths, 1, "not asked for");
        }
        self.server = Tls::Handshake;
    }

    fn on_presented(&mut self, certificate: Certificate) {
        assert_eq!(self.client, Tls::HelloRead, "nothing to answer");
        match certificate {
            Certificate::Mirrored { trusted } => {
                let shown = matches!(self.server, Tls::Secured | Tls::Cleared);
                assert!(shown && trusted == self.trusted, "{:?}", self.server);
            }
            Certificate::Own => assert_eq!(self.mode, TlsMode::Offload),
            Certificate::Refusal => {
                // Nothing but the words of refusal follows.
                self.finals.get_or_insert(0);
            }
        }
        self.client = Tls::Handshake;
    }
}
