//! What may happen in a play, and the bytes that say so.

use super::rules;
use super::script::Script;
use super::vocabulary::{
    CLIENT_LINES, CLIENT_TLS_LINES, NAMES, SERVER_LINES, SERVER_TLS_LINES, record,
};
use ftpgate::report::{DataOutcome, TlsFault};
use ftpgate::terms::Side;
use std::time::Duration;

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

/// What is left of the input.
pub(super) struct Rest<'a>(pub(super) std::slice::Iter<'a, u8>);

impl Rest<'_> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        self.0.next().copied()
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        self.byte().map(|byte| choices[usize::from(byte) % choices.len()])
    }
}

impl Script {
    pub(super) fn step(&self, code: u8, rest: &mut Rest<'_>) -> Option<Step> {
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

    pub(super) fn step_with_rules(&self, code: u8, rest: &mut Rest<'_>) -> Option<Step> {
        let mut line =
            |side, lines| Some(Step::Say(side, self.spoken(side, rest.pick::<&str>(lines)?)));
        match code {
            4..=13 => line(Side::Client, rules::CLIENT_LINES),
            20 | 21 => line(Side::Server, rules::SERVER_LINES),
            22..=28 => Some(Step::Reply(rest.byte()?)),
            _ => self.step(code, rest),
        }
    }

    pub(super) fn tls_step(&self, step: TlsStep, rest: &mut Rest<'_>) -> Option<Step> {
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
pub(super) enum TlsStep {
    ClientLine,
    ServerLine,
    News,
    Secure,
    Reply,
}

impl TlsStep {
    pub(super) fn of(code: u8) -> Option<Self> {
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
