//! Bytes as a conversation. Every input is one, so that a fuzzer's changes keep their meaning.
//!
//! Three bytes of settings, and one more where TLS ends at the gateway, then steps. A step is a byte,
//! its low six bits saying what happens (see [`Script::step`]) and its high bit that it comes in one
//! segment with what the same peer said just before; then its operands.

use super::rules::{self, Rules};
use ftpgate::addr::{Addresses, External, OriginalDst};
use ftpgate::policy::Policy;
use ftpgate::policy::bypass::{BypassEntry, NamePattern};
use ftpgate::report::{DataOutcome, TlsFault};
use ftpgate::session::{
    ModeChoice, Parties, PathChoice, ServerCcc, Settings, Source, TlsMode, TlsStart,
};
use ftpgate::terms::Side;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Stands for everything that a user keeps to himself.
pub(super) const SECRET: &str = "s3cr3t";

/// Who logs in: told of the login, and of nothing else.
pub(super) const USER: &str = "daniel";

/// What the clients of the plays say; `%n` is the client's address as in PORT, `%e` as in EPRT.
const CLIENT_LINES: &[&str] = &[
    "USER daniel\r\n",
    "PASS s3cr3t\r\n",
    "ACCT s3cr3t\r\n",
    "PASV\r\n",
    "EPSV\r\n",
    "EPSV 1\r\n",
    "EPSV 2\r\n",
    "EPSV ALL\r\n",
    "PORT %n,19,137\r\n",
    "port  %n,19,138 \n",
    "PORT 198,51,100,77,19,137\r\n",
    "PORT %n,0,20\r\n",
    "PORT 1,2,3\r\n",
    "EPRT %e|5001|\r\n",
    "EPRT |2|2001:db8::77|5001|\r\n",
    "EPRT |3|x|5001|\r\n",
    "RETR file\r\n",
    "stor \u{e9}\r\n",
    "LIST\r\n",
    "ABOR\r\n",
    "\u{f4}\u{f2}ABOR\r\n",
    "REIN\r\n",
    "QUIT\r\n",
    "FEAT\r\n",
    "NOOP\r\n",
    "AUTH TLS\r\n",
    "AUTH GSSAPI\r\n",
    "LPRT 6,16,1\r\n",
    "SITE %n,19,137\r\n",
    "227 ok (1,2,3,4,5,6)\r\n",
    "GET / HTTP/1.1\r\n",
    "XYZZY\r\n",
];

/// What the servers of the plays say; `%n` is the server's address as in 227.
const SERVER_LINES: &[&str] = &[
    "220 ready\r\n",
    "120 wait\r\n",
    "331 password\r\n",
    "230 in\r\n",
    "530 no\r\n",
    "227 Entering Passive Mode (%n,195,80).\r\n",
    "227 =%n,195,81\r\n",
    "227-Passive (%n,195,82)\r\n",
    " mind (%n,195,82)\r\n",
    "227 End\r\n",
    "227 End (%n,195,82)\r\n",
    "227 (10,99,0,5,195,83)\r\n",
    "227 (%n,195,84) (%n,195,84)\r\n",
    "227 (%n,0,21)\r\n",
    "229 Extended (|||50007|)\r\n",
    "229 Extended (|1|10.0.0.5|50008|)\r\n",
    "229 (|||0|)\r\n",
    "229-\r\n",
    "229 (|||50009|)\r\n",
    "200 ok\r\n",
    "150 here\r\n",
    "226 done\r\n",
    "426 cut\r\n",
    "225 nothing to abort\r\n",
    "500 what\r\n",
    "211-Features:\r\n",
    " LPRT\r\n",
    " EPSV\r\n",
    "211 End\r\n",
    "234 go\r\n",
    "stray\r\n",
    "PORT 10,0,0,5,1,2\r\n",
];

/// What clients say besides where TLS ends at the gateway.
const CLIENT_TLS_LINES: &[&str] = &[
    "AUTH TLS\r\n",
    "PBSZ 0\r\n",
    "PROT P\r\n",
    "PROT C\r\n",
    "CCC\r\n",
    "AUTH TLS-P\r\n",
    "auth ssl\n",
    "prot p\r\n",
    "PROT S\r\n",
    "PROT x\r\n",
    "PBSZ x\r\n",
    "SSCN ON\r\n",
    "CPSV\r\n",
    "ADAT abcd\r\n",
    "ENC abcd\r\n",
    "PASV\r\n",
];

/// What servers say besides where TLS ends at the gateway.
const SERVER_TLS_LINES: &[&str] = &[
    "234 go\r\n",
    "234-go\r\n",
    " on\r\n",
    "200 PBSZ=0 too\r\n",
    "502 what\r\n",
    "533 no\r\n",
    "536 no\r\n",
    "421 too many\r\n",
    "200-clear\r\n",
    "150 hm\r\n",
    "334 ADAT=abcd\r\n",
    "631 abcd\r\n",
    "633 abcd\r\n",
    "220-ready\r\n",
    "220 steady\r\n",
    "\u{fd}\u{6}",
];

/// The names that clients ask for; the last one is on the list of those that are carried unread.
const NAMES: &[Option<&str>] = &[None, Some("ftp.example"), Some("ftp.bank.example")];

/// What is said in a play at most, in bytes: eight times what fills what is read ahead, or what is held
/// of a reply. Two bytes of an input may stand for a burst of a thousand lines, and the work of a play
/// grows with its lines.
const MOST_SAID: usize = 128 * 1024;

/// The step that is a whole handshake.
const SECURE: u8 = 44;

/// What an interface or a name was found to have.
const FOUND: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 10));

/// A record of TLS.
pub(super) fn record(content: &str) -> &'static [u8] {
    match content {
        "handshake" => b"\x16\x03\x01\x00\x04abcd",
        "change" => b"\x14\x03\x03\x00\x01\x01",
        "data" => b"\x17\x03\x03\x00\x04efgh",
        _ => b"\x15\x03\x03\x00\x02\x01\x00",
    }
}

/// What an executor tells of TLS that ends at the gateway, if it can be told then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsNews {
    /// The client's hello, with the name in it.
    Hello(Option<&'static str>),
    /// TLS stands on this side, with a peer that is trusted or not.
    Established(Side, bool),
    /// It failed there.
    Failed(Side, TlsFault),
}

/// One thing that happens in a play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A peer sends this.
    Say(Side, Vec<u8>),
    /// The executor answers what it has been asked to open.
    Answer {
        /// That it is open, or else that it could not be opened.
        opened: bool,
    },
    /// A connection came in. The transfer is counted back from the latest one.
    Use(usize, Side),
    /// Both legs of a transfer stand.
    Join(usize),
    /// A data connection ended.
    End(usize, DataOutcome),
    /// A connection comes through the range that stands open, and is named so.
    BlindStart(u32),
    /// It is over.
    BlindEnd(u32, DataOutcome),
    /// Time passes.
    Wait(Duration),
    /// A peer ends its connection: in order, or by a reset.
    Close(Side, bool),
    /// The server is connected to.
    Connect,
    /// It could not be connected to.
    FailToConnect,
    /// It would be the gateway itself.
    Loop,
    /// The owner of the gateway ends the session.
    OwnerCloses,
    /// The gateway takes no more.
    Drain,
    /// The gateway shuts down.
    Shutdown,
    /// News of TLS that ends at the gateway.
    Tls(TlsNews),
    /// All handshakes that are due succeed, as far as they get; the client asks for this name.
    Secure(Option<&'static str>),
    /// The server answers the oldest command that it has not answered, in the manner of this number.
    Reply(u8),
}

/// A conversation.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) settings: Settings,
    pub(super) parties: Parties,
    pub(super) server: SocketAddr,
    pub(super) seen_as: SocketAddr,
    /// The executor opens what it is asked for at once.
    pub(super) prompt: bool,
    /// The kernel's news of a connection are overtaken: a withdrawal finds that it has come.
    pub(super) overtaken: bool,
    /// At the end the peers stay, and only time goes on.
    pub(super) ends_by_time: bool,
    /// The server is known to want a certificate of its client.
    pub(super) wants_certificate: bool,
    /// The owner's rules, where the play is about them.
    pub(super) rules: Option<Rules>,
    pub(super) steps: Vec<Step>,
}

/// What is left of the input.
struct Rest<'a>(std::slice::Iter<'a, u8>);

impl Rest<'_> {
    fn byte(&mut self) -> Option<u8> {
        self.0.next().copied()
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        self.byte().map(|byte| choices[usize::from(byte) % choices.len()])
    }
}

impl Script {
    /// `None` if not even the settings are there.
    pub(super) fn read(input: &[u8]) -> Option<Self> {
        Self::read_with(input, None)
    }

    /// A byte that chooses the owner's rules stands ahead of the settings. Further lines of both peers
    /// are steps then, and replies of a server that answers in order, as where TLS ends at the gateway.
    pub(super) fn read_with_rules(input: &[u8]) -> Option<Self> {
        let (choice, input) = input.split_first()?;
        Self::read_with(input, Some(Rules::of(*choice)))
    }

    fn read_with(input: &[u8], rules: Option<Rules>) -> Option<Self> {
        let mut rest = Rest(input.iter());
        let [flags, choices, more] = [rest.byte()?, rest.byte()?, rest.byte()?];
        let flag = |bit: u8| flags & (1 << bit) != 0;
        let (client_v4, server_v4) = (choices & 1 == 0, choices & 2 == 0);
        let same_family = client_v4 == server_v4;
        let ip =
            |v4: bool, texts: [&str; 2]| -> IpAddr { texts[usize::from(!v4)].parse().unwrap() };
        let client = ip(client_v4, ["192.0.2.2", "2001:db8:1::2"]);
        let server = ip(server_v4, ["10.0.0.5", "2001:db8:2::5"]);
        let dials_gateway = flag(0) || !same_family;
        let source = if flag(1) && same_family { Source::Client } else { Source::Gateway };
        let gateway = ip(client_v4, ["203.0.113.7", "2001:db8:1::1"]);
        let own = ip(server_v4, ["10.0.0.1", "2001:db8:2::1"]);
        let advertise = |bits: u8| match bits & 3 {
            1 => External::Address(ip(true, ["198.51.100.9", "::"])),
            2 => External::Address(ip(false, ["", "2001:db8:9::9"])),
            // What is followed has no address of IPv4.
            3 => External::Found(Addresses::default().keep_or_take(&[FOUND])),
            _ => External::Own,
        };
        let dialled = if dials_gateway { gateway } else { server };
        let seen_as = if source == Source::Client { client } else { own };
        let ended = if choices & 0x80 != 0 { Some(rest.byte()?) } else { None };
        let mut settings = Settings {
            policy: Policy { strict: flag(2), low_ports: flag(3), ..Policy::default() },
            path: [PathChoice::Auto, PathChoice::Kernel, PathChoice::Relay, PathChoice::Auto]
                [usize::from(choices >> 2 & 3)],
            mode: [ModeChoice::Keep, ModeChoice::Passive, ModeChoice::Active, ModeChoice::Keep]
                [usize::from(choices >> 4 & 3)],
            tls: if flag(4) { TlsMode::Refuse } else { TlsMode::Passthrough },
            tls_required: more & 0x20 != 0,
            client_start: [
                TlsStart::Explicit,
                TlsStart::Explicit,
                TlsStart::Implicit,
                TlsStart::ImplicitAfterGreeting,
            ][usize::from(more >> 6)],
            blind_ports: flag(3),
            source,
            kernel: choices & 0x40 != 0,
            ..Settings::default()
        };
        if let Some(bits) = ended {
            end_tls_here(&mut settings, bits);
        }
        if let Some(rules) = rules {
            settings.policy = Policy { low_ports: flag(3), ..rules.policy() };
        }
        let parties = Parties {
            client: SocketAddr::new(client, 40000),
            original_dst: OriginalDst(SocketAddr::new(dialled, 21)),
            dials_gateway,
            external_client: advertise(more).into(),
            external_server: advertise(more >> 2).into(),
            introduced_at: None,
        };
        let mut script = Self {
            parties,
            server: SocketAddr::new(server, 21),
            seen_as: SocketAddr::new(seen_as, 33000),
            prompt: flag(5),
            overtaken: more & 0x10 != 0,
            ends_by_time: flag(6),
            // Only where it may be carried unread.
            wants_certificate: ended.is_some_and(|bits| bits & 0xf0 == 0xb0)
                && settings.tls == TlsMode::Intercept,
            rules,
            settings,
            steps: Vec::new(),
        };
        if flag(7) {
            script.log_in();
        }
        let mut said = 0;
        while let Some(code) = rest.byte() {
            if code & 0x3f == SECURE {
                let Some(records) = rest.byte() else { break };
                script.secure(usize::from(records % 8));
                continue;
            }
            let step = match (ended.and_then(|_| TlsStep::of(code & 0x3f)), rules) {
                (Some(step), _) => script.tls_step(step, &mut rest),
                (None, Some(_)) => script.step_with_rules(code & 0x3f, &mut rest),
                (None, None) => script.step(code & 0x3f, &mut rest),
            };
            let Some(step) = step else { break };
            if let Step::Say(_, bytes) = &step {
                said += bytes.len();
            }
            if said > MOST_SAID {
                break;
            }
            script.add(step, code & 0x80 != 0);
        }
        Some(script)
    }

    fn log_in(&mut self) {
        self.steps.push(Step::Connect);
        if self.ends_tls() {
            return self.log_in_secured();
        }
        if self.rules.is_some() {
            let say = Step::Say(Side::Client, b"USER daniel\r\n".into());
            return self.steps.extend([Step::Reply(0), say, Step::Reply(0)]);
        }
        for (side, line) in
            [(Side::Server, "220 ready"), (Side::Client, "USER daniel"), (Side::Server, "230 in")]
        {
            self.steps.push(Step::Say(side, format!("{line}\r\n").into()));
        }
    }

    /// True if TLS ends at the gateway on either side.
    pub(super) fn ends_tls(&self) -> bool {
        !matches!(self.settings.tls, TlsMode::Passthrough | TlsMode::Refuse)
    }

    /// What has nothing to do in the mode at hand does nothing.
    fn log_in_secured(&mut self) {
        let secure = |script: &mut Self| script.steps.push(Step::Secure(None));
        let reply = |script: &mut Self| script.steps.push(Step::Reply(0));
        let say = |script: &mut Self, line: &str| {
            script.steps.push(Step::Say(Side::Client, line.into()));
        };
        secure(self);
        for _ in 0..2 {
            reply(self);
            secure(self);
        }
        if self.settings.tls != TlsMode::Originate
            && self.settings.client_start == TlsStart::Explicit
        {
            say(self, "AUTH TLS\r\n");
            reply(self);
            secure(self);
        }
        say(self, "USER daniel\r\n");
        reply(self);
    }

    /// Both sides begin with TLS, and each sends so many records of data inside it.
    fn secure(&mut self, records: usize) {
        for name in ["handshake", "change"].into_iter().chain(std::iter::repeat_n("data", records))
        {
            for side in [Side::Client, Side::Server] {
                self.steps.push(Step::Say(side, record(name).to_vec()));
            }
        }
    }

    fn add(&mut self, step: Step, joined: bool) {
        match (self.steps.last_mut(), &step) {
            (Some(Step::Say(earlier, said)), Step::Say(side, bytes))
                if joined && earlier == side =>
            {
                said.extend_from_slice(bytes);
            }
            _ => self.steps.push(step),
        }
    }

    fn step(&self, code: u8, rest: &mut Rest<'_>) -> Option<Step> {
        Some(match code {
            0..=15 => Step::Say(Side::Client, self.spoken(Side::Client, rest.pick(CLIENT_LINES)?)),
            16..=31 => Step::Say(Side::Server, self.spoken(Side::Server, rest.pick(SERVER_LINES)?)),
            32 => {
                let length = rest.byte()?;
                let bytes = (0..length % 24).map_while(|_| rest.byte()).collect();
                Step::Say(if length < 128 { Side::Client } else { Side::Server }, bytes)
            }
            33 => {
                let choice = rest.byte()?;
                let name = ["handshake", "change", "data", "alert"][usize::from(choice >> 1 & 3)];
                Step::Say(
                    [Side::Client, Side::Server][usize::from(choice & 1)],
                    record(name).to_vec(),
                )
            }
            // More than is read ahead.
            34 => Step::Say(
                Side::Client,
                b"NOOP and so on\r\n".repeat(24 * usize::from(rest.byte()? % 64)),
            ),
            35 => Step::Say(
                Side::Server,
                b"200 ok and so on\r\n".repeat(24 * usize::from(rest.byte()? % 64)),
            ),
            // Longer than what is held of a reply.
            36 => Step::Say(
                Side::Server,
                b"150 so and so on\r\n".repeat(24 * usize::from(rest.byte()? % 64)),
            ),
            37..=41 => Step::Answer { opened: code != 41 },
            42 | 43 => Step::Use(usize::from(rest.byte()? % 4), Side::Client),
            45 | 46 => Step::Use(usize::from(rest.byte()? % 4), Side::Server),
            47 => Step::Join(usize::from(rest.byte()? % 4)),
            48..=50 => Step::End(usize::from(rest.byte()? % 4), rest.pick(DataOutcome::ALL)?),
            51..=53 => Step::Wait(Duration::from_secs(rest.pick(&[1, 29, 31, 61, 899, 901])?)),
            54 => Step::Close(Side::Client, true),
            55 => Step::Close(Side::Client, false),
            56 => Step::Close(Side::Server, true),
            57 => Step::Close(Side::Server, false),
            58 => Step::Connect,
            59 => Step::BlindStart(u32::from(rest.byte()? % 4)),
            60 => Step::BlindEnd(u32::from(rest.byte()? % 4), rest.pick(DataOutcome::ALL)?),
            61 => Step::FailToConnect,
            62 => Step::Loop,
            63 => Step::OwnerCloses,
            _ if rest.byte().is_some_and(|choice| choice & 1 == 1) => Step::Drain,
            _ => Step::Shutdown,
        })
    }

    fn step_with_rules(&self, code: u8, rest: &mut Rest<'_>) -> Option<Step> {
        let mut line =
            |side, lines| Some(Step::Say(side, self.spoken(side, rest.pick::<&str>(lines)?)));
        match code {
            4..=13 => line(Side::Client, rules::CLIENT_LINES),
            20 | 21 => line(Side::Server, rules::SERVER_LINES),
            22..=28 => Some(Step::Reply(rest.byte()?)),
            _ => self.step(code, rest),
        }
    }

    fn tls_step(&self, step: TlsStep, rest: &mut Rest<'_>) -> Option<Step> {
        Some(match step {
            TlsStep::ClientLine => {
                Step::Say(Side::Client, self.spoken(Side::Client, rest.pick(CLIENT_TLS_LINES)?))
            }
            TlsStep::ServerLine => {
                Step::Say(Side::Server, self.spoken(Side::Server, rest.pick(SERVER_TLS_LINES)?))
            }
            TlsStep::News => {
                let operand = rest.byte()?;
                let fault = TlsFault::ALL[usize::from(operand >> 3) % TlsFault::ALL.len()];
                Step::Tls(match operand & 7 {
                    name @ 0..=2 => TlsNews::Hello(NAMES[usize::from(name)]),
                    3 => TlsNews::Established(Side::Client, true),
                    4 => TlsNews::Established(Side::Server, true),
                    5 => TlsNews::Established(Side::Server, false),
                    6 => TlsNews::Failed(Side::Client, fault),
                    _ => TlsNews::Failed(Side::Server, fault),
                })
            }
            TlsStep::Secure => Step::Secure(rest.pick(NAMES)?),
            TlsStep::Reply => Step::Reply(rest.byte()?),
        })
    }

    fn spoken(&self, side: Side, line: &str) -> Vec<u8> {
        let ip = match side {
            Side::Client => self.parties.client.ip(),
            Side::Server => self.server.ip(),
        };
        let numbers =
            if ip.is_ipv4() { ip.to_string().replace('.', ",") } else { "10,0,0,5".into() };
        let extended = format!("|{}|{ip}", if ip.is_ipv4() { 1 } else { 2 });
        let line = line.replace("%n", &numbers).replace("%e", &extended);
        // The vocabulary is written in Latin-1; IAC stands ahead of each Telnet command.
        line.chars()
            .flat_map(|c| match u8::try_from(u32::from(c)).unwrap() {
                command @ 0xf0.. => vec![0xff, command],
                byte => vec![byte],
            })
            .collect()
    }
}

/// Steps that are in the place of others where TLS ends at the gateway.
enum TlsStep {
    ClientLine,
    ServerLine,
    News,
    Secure,
    Reply,
}

impl TlsStep {
    fn of(code: u8) -> Option<Self> {
        match code {
            8..=11 => Some(Self::ClientLine),
            12 | 13 => Some(Self::News),
            14 => Some(Self::Secure),
            24..=28 => Some(Self::Reply),
            29..=31 => Some(Self::ServerLine),
            _ => None,
        }
    }
}

/// The settings of a listener where TLS ends at the gateway, as far as a configuration can say them.
fn end_tls_here(settings: &mut Settings, bits: u8) {
    let [mode, start, ccc] = [bits, bits >> 2, bits >> 4].map(|bits| usize::from(bits & 3));
    settings.tls =
        [TlsMode::Intercept, TlsMode::Offload, TlsMode::Originate, TlsMode::Intercept][mode];
    if settings.tls != TlsMode::Offload {
        settings.server_start = [
            TlsStart::Explicit,
            TlsStart::Implicit,
            TlsStart::ImplicitAfterGreeting,
            TlsStart::Explicit,
        ][start];
        settings.server_ccc =
            [ServerCcc::Follow, ServerCcc::Never, ServerCcc::Always, ServerCcc::Follow][ccc];
    }
    if settings.tls == TlsMode::Originate {
        settings.client_start = TlsStart::Explicit;
        settings.tls_required = false;
    }
    if settings.tls == TlsMode::Intercept && bits & 0x80 != 0 {
        // What may be carried unread starts on both sides alike.
        settings.server_start = settings.client_start;
        let listed = NAMES[2].map(NamePattern::exact);
        settings.bypass = listed.map(BypassEntry::Name).into_iter().collect();
    }
}
