//! Bytes as a conversation. Every input is one, so that a fuzzer's changes keep their meaning.
//!
//! Three bytes of settings, and one more where TLS ends at the gateway, then steps. A step is a byte,
//! its low six bits saying what happens (see [`Script::step`]) and its high bit that it comes in one
//! segment with what the same peer said just before; then its operands.

use super::rules::Rules;
use super::step::{Rest, Step, TlsStep};
use super::vocabulary::{NAMES, record};
use ftpgate::addr::{Addresses, External, OriginalDst};
use ftpgate::policy::Policy;
use ftpgate::policy::bypass::{BypassEntry, NamePattern};
use ftpgate::session::{
    ModeChoice, Parties, PathChoice, ServerCcc, Settings, Source, TlsMode, TlsStart,
};
use ftpgate::terms::Side;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What is said in a play at most, in bytes: eight times what fills what is read ahead, or what is held
/// of a reply. Two bytes of an input may stand for a burst of a thousand lines, and the work of a play
/// grows with its lines.
const MOST_SAID: usize = 128 * 1024;

/// The step that is a whole handshake.
const SECURE: u8 = 44;

/// What an interface or a name was found to have.
const FOUND: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 10));

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
