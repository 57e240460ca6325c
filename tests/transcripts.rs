//! Runs every conversation of `tests/transcripts/*.ftp` through a `Session`, with no I/O.
//!
//! The first column says who speaks: `C>` the client sends, `s>` the server receives, `S>` the
//! server sends, `c>` the client receives; `!` is what happens around it. Whatever the session does
//! must stand there, in order, before the next input; nothing may be left over.
//!
//! A line ends with CRLF unless it ends with `\` here; `\r`, `\n`, `\0`, `\xHH`, `\\` are escapes.
//! `\{handshake}`, `\{change}`, `\{data}` and `\{alert}` are whole records of TLS.
//!
//! | `@` settings | |
//! |---|---|
//! | `@ client ADDR`, `@ dialled ADDR gateway\|server` | who the client is and what it dialled |
//! | `@ server ADDR seen-as ADDR` | the server and whom it sees; makes the connection |
//! | `@ blind-ports`, `@ tls required`, `@ tls-start S` | |
//! | `@ kernel`, `@ path P`, `@ mode M`, `@ source S`, `@ strict`, `@ low-ports` | |
//! | `@ tls MODE`, `@ tls-required`, `@ tls-start S`, `@ client-start S`, `@ server-start S` | |
//! | `@ server-ccc C`, `@ bypass NAME`, `@ wants-certificate` (the server), `@ blind-ports` | |
//! | `@ advertise client\|server IP\|unknown`, `@ advertise client\|server IP for OWN` | |
//! | `@ rule VERDICT if CONDITIONS`, see `support/rules.rs`; `@ fxp same-net`, `@ fxp NET…`; `@ server-name NAME` | the owner's rules, named by their number |
//! | `@ in-use` | the next withdrawal finds that the connection has come |
//! | `@ logged-in` | greeting and login are taken for done |
//!
//! | `!` in | `!` out |
//! |---|---|
//! | `opened`, `failed`, `used SIDE`, `joined`, `ended OUTCOME` | `open PATH: LEG; LEG`, `dial SIDE`, `withdraw` |
//! | `wait SECONDS`, `SIDE closes`, `SIDE resets`, `SIDE loses` (bytes, where it is only observed) | `refused REASON`, `distrusted REASON`, `urgent` |
//! | `hello [NAME]`, `secured SIDE [untrusted]`, `tls-fails SIDE FAULT`, `data-tls-fails SIDE FAULT` | `accept-tls`, `connect-tls`, `present WHAT`, `carry-tls`, `end-tls SIDE` |
//! | `owner-closes`, `drain`, `shutdown`, `range-fails` (the next one) | `close CAUSE`, `closed OUTCOME` (a pinhole) |
//! | `blind N starts`, `blind N ends OUTCOME` (through the range) | `open-range`, `close-range` |
//! | | `ccc OUTCOME[, N passed]`, `control STATE`, `data LEVEL` (at its end) |

#[path = "support/rules.rs"]
#[allow(unreachable_pub, reason = "a module of a test")]
mod rules;

use ftpgate::addr::{Addresses, ByOwn, External, OriginalDst};
use ftpgate::policy::Fxp;
use ftpgate::policy::bypass::{BypassEntry, NamePattern};
use ftpgate::report::{DataOutcome, PinholeOutcome, Report, TlsFault};
use ftpgate::session::{
    Action, Certificate, Event, Leg, ModeChoice, Parties, PathChoice, ServerCcc, Session, Settings,
    Source, TlsMode, TlsStart, TransferPlan,
};
use ftpgate::terms::{FlowId, ProtectionLevel, Side};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn every_transcript_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "ftp"));
    files.sort();
    assert!(files.len() >= 20, "only {} transcripts found", files.len());
    let mut failures = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        if let Err(reason) = Stage::default().play(&text) {
            failures.push(format!("{}:{reason}", file.display()));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

struct Stage {
    settings: Settings,
    client: SocketAddr,
    dialled: SocketAddr,
    dials_gateway: bool,
    external_client: ByOwn,
    external_server: ByOwn,
    introduced_at: Option<IpAddr>,
    session: Option<Session>,
    now: Instant,
    next_port: u16,
    plan: Option<TransferPlan>,
    in_use: bool,
    range_fails: bool,
    wants_certificate: bool,
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            client: SocketAddr::from(([192, 0, 2, 2], 40000)),
            dialled: SocketAddr::from(([203, 0, 113, 7], 21)),
            dials_gateway: true,
            external_client: ByOwn::default(),
            external_server: ByOwn::default(),
            introduced_at: None,
            session: None,
            now: Instant::now(),
            next_port: 50000,
            plan: None,
            in_use: false,
            range_fails: false,
            wants_certificate: false,
        }
    }
}

impl Stage {
    fn play(mut self, text: &str) -> Result<(), String> {
        let lines: Vec<(usize, &str)> = text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
            .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
            .collect();
        let mut at = 0;
        while let Some((number, line)) = lines.get(at) {
            at += 1;
            if !self.input(line).map_err(|reason| format!("{number}: {reason}"))? {
                return Err(format!("{number}: this is no input: {line}"));
            }
            let done = self.drain();
            for done in done {
                let expected = lines.get(at);
                at += 1;
                match expected {
                    Some((_, wanted)) if normal(wanted) == done => {}
                    Some((number, wanted)) => {
                        return Err(format!(
                            "{number}: expected {wanted:?}, the session did {done:?}"
                        ));
                    }
                    None => return Err(format!("{number}: at the end the session did {done:?}")),
                }
            }
        }
        Ok(())
    }

    fn input(&mut self, line: &str) -> Result<bool, String> {
        let (who, what) = line.split_at(2);
        let what = what.trim_start_matches(' ');
        match who {
            "@ " => self.set(what)?,
            "C>" => self.say(Side::Client, what),
            "S>" => self.say(Side::Server, what),
            "! " => return self.happen(what),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn set(&mut self, what: &str) -> Result<(), String> {
        if let Some(rule) = what.strip_prefix("rule ") {
            let rules = &mut self.settings.policy.rules;
            let name = (rules.len() + 1).to_string();
            rules.push(rules::read_rule(&name, rule).ok_or_else(|| format!("no rule: {rule}"))?);
            return Ok(());
        }
        let words: Vec<&str> = what.split_whitespace().collect();
        let address = |text: &str| text.parse().map_err(|_| format!("no address: {text}"));
        match words.as_slice() {
            ["client", client] => self.client = address(client)?,
            ["dialled", dialled, whom] => {
                self.dialled = address(dialled)?;
                self.dials_gateway = *whom == "gateway";
            }
            ["introduced-at", at] => self.introduced_at = at.parse().ok(),
            ["in-use"] => self.in_use = true,
            ["kernel"] => self.settings.kernel = true,
            ["strict"] => self.settings.policy.strict = true,
            ["low-ports"] => self.settings.policy.low_ports = true,
            ["fxp", "same-net"] => self.settings.policy.fxp = Fxp::SameNet,
            ["fxp", networks @ ..] => {
                let networks: Option<_> =
                    networks.iter().map(|text| rules::network(text)).collect();
                self.settings.policy.fxp = Fxp::Listed(networks.ok_or("no network")?);
            }
            ["server-name", name] => self.settings.server_name = Some((*name).to_owned()),
            ["tls-required"] => self.settings.tls_required = true,
            ["tls-start", start] => {
                let start = start_of(start)?;
                (self.settings.client_start, self.settings.server_start) = (start, start);
            }
            ["client-start", start] => self.settings.client_start = start_of(start)?,
            ["server-start", start] => self.settings.server_start = start_of(start)?,
            ["tls", "refuse"] => self.settings.tls = TlsMode::Refuse,
            ["tls", "intercept"] => self.settings.tls = TlsMode::Intercept,
            ["tls", "offload"] => self.settings.tls = TlsMode::Offload,
            ["tls", "originate"] => self.settings.tls = TlsMode::Originate,
            ["server-ccc", "never"] => self.settings.server_ccc = ServerCcc::Never,
            ["server-ccc", "always"] => self.settings.server_ccc = ServerCcc::Always,
            ["bypass", name] => {
                self.settings.bypass.push(BypassEntry::Name(NamePattern::exact(name)));
            }
            ["wants-certificate"] => self.wants_certificate = true,
            ["blind-ports"] => self.settings.blind_ports = true,
            ["send-data-header"] => self.settings.send_data_header = true,
            ["source", "client"] => self.settings.source = Source::Client,
            ["path", "kernel"] => self.settings.path = PathChoice::Kernel,
            ["path", "relay"] => self.settings.path = PathChoice::Relay,
            ["mode", "passive"] => self.settings.mode = ModeChoice::Passive,
            ["mode", "active"] => self.settings.mode = ModeChoice::Active,
            ["advertise", side, ip] => self.external(side)?.others = external(ip)?,
            ["advertise", side, ip, "for", own] => {
                let own = own.parse().map_err(|_| format!("no address: {own}"))?;
                self.external(side)?.of.insert(own, external(ip)?);
            }
            ["server", server, "seen-as", seen_as] => {
                let parties = Parties {
                    client: self.client,
                    original_dst: OriginalDst(self.dialled),
                    dials_gateway: self.dials_gateway,
                    external_client: self.external_client.clone(),
                    external_server: self.external_server.clone(),
                    introduced_at: self.introduced_at,
                };
                let settings = Arc::new(self.settings.clone());
                let mut session = Session::new(settings, parties, self.now);
                let server = address(server)?;
                session.handle_event(Event::ServerFound { server }, self.now);
                let event = Event::ServerConnected {
                    server,
                    seen_as: address(seen_as)?,
                    wants_certificate: self.wants_certificate,
                };
                session.handle_event(event, self.now);
                self.session = Some(session);
            }
            ["logged-in"] => {
                for (side, line) in [
                    (Side::Server, "220 ready"),
                    (Side::Client, "USER a"),
                    (Side::Server, "230 in"),
                ] {
                    self.say(side, line);
                }
                self.drain();
            }
            other => return Err(format!("unknown setting {other:?}")),
        }
        Ok(())
    }

    fn external(&mut self, side: &str) -> Result<&mut ByOwn, String> {
        Ok(match side_of(side)? {
            Side::Client => &mut self.external_client,
            Side::Server => &mut self.external_server,
        })
    }

    fn say(&mut self, from: Side, what: &str) {
        let bytes = unescape(what);
        self.tell(Event::BytesReceived { from, bytes: &bytes });
    }

    fn tell(&mut self, event: Event<'_>) {
        let now = self.now;
        self.session.as_mut().expect("`@ server` comes first").handle_event(event, now);
    }

    fn happen(&mut self, what: &str) -> Result<bool, String> {
        let words: Vec<&str> = what.split_whitespace().collect();
        let plan = self.plan;
        let id = || plan.map(|plan| plan.id).ok_or("there is no transfer");
        match words.as_slice() {
            ["opened"] => {
                let plan = self.plan.ok_or("nothing is being opened")?;
                let client_entry = self.entry(&plan.client);
                let server_entry = self.entry(&plan.server);
                self.tell(Event::TransferOpened { id: plan.id, client_entry, server_entry });
            }
            ["failed"] => self.tell(Event::TransferFailed { id: id()? }),
            ["used", side] => self.tell(Event::PinholeUsed { id: id()?, side: side_of(side)? }),
            ["joined"] => self.tell(Event::DataConnectionJoined { id: id()? }),
            ["ended", outcome] => {
                let outcome = outcome_of(outcome)?;
                self.tell(Event::DataConnectionEnded { id: id()?, outcome, bytes: None });
            }
            ["wait", seconds] => {
                self.now += Duration::from_secs(seconds.parse().map_err(|_| "no number")?);
                let now = self.now;
                let session = self.session.as_mut().ok_or("no session")?;
                if session.poll_timeout().is_some_and(|deadline| deadline <= now) {
                    session.handle_timeout(now);
                }
            }
            ["hello"] => self.tell(Event::HelloReceived { name: None }),
            ["hello", name] => self.tell(Event::HelloReceived { name: Some(name) }),
            ["secured", side] => {
                self.tell(Event::TlsEstablished { side: side_of(side)?, trusted: true });
            }
            ["secured", "server", "untrusted"] => {
                self.tell(Event::TlsEstablished { side: Side::Server, trusted: false });
            }
            ["tls-fails", side, fault] => {
                self.tell(Event::TlsFailed { side: side_of(side)?, fault: fault_of(fault)? });
            }
            ["data-tls-fails", side, fault] => {
                let (id, side, outcome) = (id()?, side_of(side)?, Err(fault_of(fault)?));
                self.tell(Event::DataHandshakeEnded { id, side, outcome });
            }
            ["range-fails"] => self.range_fails = true,
            ["blind", name, "starts"] => {
                self.tell(Event::BlindConnectionStarted { flow: flow_of(name)? });
            }
            ["blind", name, "ends", outcome] => {
                let (flow, outcome) = (flow_of(name)?, outcome_of(outcome)?);
                self.tell(Event::BlindConnectionEnded { flow, outcome, bytes: None });
            }
            ["owner-closes"] => self.tell(Event::CloseRequested),
            ["drain"] => self.tell(Event::DrainRequested),
            ["shutdown"] => self.tell(Event::ShutdownRequested),
            [side, "closes"] => {
                self.tell(Event::ConnectionClosed { side: side_of(side)?, orderly: true });
            }
            [side, "resets"] => {
                self.tell(Event::ConnectionClosed { side: side_of(side)?, orderly: false });
            }
            [side, "loses"] => self.tell(Event::BytesLost { from: side_of(side)? }),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn entry(&mut self, leg: &Leg) -> Option<SocketAddr> {
        let Leg::Await(expected) = leg else { return None };
        let port = expected.port.unwrap_or_else(|| {
            self.next_port += 1;
            self.next_port - 1
        });
        Some(SocketAddr::new(expected.address, port))
    }

    fn drain(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        let Some(session) = &mut self.session else { return done };
        while let Some(action) = session.poll_action() {
            match action {
                Action::SendBytes { to, bytes } => {
                    let who = if to == Side::Client { "c>" } else { "s>" };
                    let pieces = pieces(&bytes);
                    done.extend(pieces.iter().map(|piece| format!("{who} {}", escape(piece))));
                }
                Action::SendUrgent { .. } => done.push("! urgent".to_owned()),
                Action::OpenTransfer(plan) => {
                    done.push(format!(
                        "! open {}: client {}{}; server {}{}",
                        plan.path.label(),
                        describe(&plan.client),
                        protected(&plan, Side::Client),
                        describe(&plan.server),
                        protected(&plan, Side::Server),
                    ));
                    self.plan = Some(plan);
                }
                Action::DialData { side, .. } => done.push(format!("! dial {}", side.label())),
                Action::TakeUpload { .. } => done.push("! take-upload".to_owned()),
                Action::WithdrawTransfer { id } => {
                    done.push("! withdraw".to_owned());
                    let in_use = std::mem::take(&mut self.in_use);
                    session.handle_event(Event::TransferWithdrawn { id, in_use }, self.now);
                }
                Action::OpenBlindRange(range) => {
                    done.push(format!(
                        "! open-range {} -> {} => {} from {}",
                        range.client, range.entry, range.server, range.source
                    ));
                    let event = if std::mem::take(&mut self.range_fails) {
                        Event::BlindRangeFailed { range }
                    } else {
                        Event::BlindRangeOpened { range }
                    };
                    session.handle_event(event, self.now);
                }
                Action::AcceptTls => done.push("! accept-tls".to_owned()),
                Action::ConnectTls => done.push("! connect-tls".to_owned()),
                Action::PresentCertificate(certificate) => {
                    let which = match certificate {
                        Certificate::Mirrored { trusted: true } => "mirrored",
                        Certificate::Mirrored { trusted: false } => "untrusted",
                        Certificate::Own => "own",
                        Certificate::Refusal => "refusal",
                    };
                    done.push(format!("! present {which}"));
                }
                Action::CarryTls => done.push("! carry-tls".to_owned()),
                Action::EndTls { side } => done.push(format!("! end-tls {}", side.label())),
                Action::CloseBlindRange => done.push("! close-range".to_owned()),
                Action::CloseSession => {}
                Action::Report(Report::CccObserved { outcome, passed }) => {
                    let passed = passed.map_or(String::new(), |n| format!(", {n} passed"));
                    done.push(format!("! ccc {}{passed}", outcome.label()));
                }
                Action::Report(Report::ProtectionChanged { state }) => {
                    done.push(format!("! control {}", state.label()));
                }
                Action::Report(Report::DataConnectionEnded { protection, .. })
                    if protection != ProtectionLevel::Clear =>
                {
                    done.push(format!("! data {}", protection.label()));
                }
                Action::Report(Report::Refused { reason, rule, .. }) => {
                    let rule = rule.map_or(String::new(), |rule| format!(" by {rule}"));
                    done.push(format!("! refused {}{rule}", reason.label()));
                }
                Action::Report(Report::LineDistrusted { reason, .. }) => {
                    done.push(format!("! distrusted {}", reason.label()));
                }
                Action::Report(Report::SessionEnded { cause, .. }) => {
                    done.push(format!("! close {}", cause.label()));
                }
                Action::Report(Report::PinholeClosed { outcome, .. })
                    if outcome != PinholeOutcome::Failed =>
                {
                    done.push(format!("! closed {}", outcome.label()));
                }
                Action::Report(_) => {}
            }
        }
        done
    }
}

fn describe(leg: &Leg) -> String {
    match leg {
        Leg::Await(expected) => {
            let port = expected.port.map_or("*".to_owned(), |port| port.to_string());
            let entry = match expected.address {
                std::net::IpAddr::V4(address) => format!("{address}:{port}"),
                std::net::IpAddr::V6(address) => format!("[{address}]:{port}"),
            };
            let captured = if expected.foreign { " (foreign)" } else { "" };
            format!("{} -> {entry}{captured}", expected.peer)
        }
        Leg::Dial(dial) => format!("=> {} from {}", dial.to, dial.from),
    }
}

fn protected(plan: &TransferPlan, side: Side) -> &'static str {
    if plan.is_protected(side) { " in TLS" } else { "" }
}

fn start_of(word: &str) -> Result<TlsStart, String> {
    match word {
        "explicit" => Ok(TlsStart::Explicit),
        "implicit" => Ok(TlsStart::Implicit),
        "implicit-after-greeting" => Ok(TlsStart::ImplicitAfterGreeting),
        other => Err(format!("no start: {other}")),
    }
}

fn external(ip: &str) -> Result<External, String> {
    match ip {
        "unknown" => Ok(External::Found(Addresses::default())),
        ip => ip.parse().map(External::Address).map_err(|_| format!("no address: {ip}")),
    }
}

fn side_of(word: &str) -> Result<Side, String> {
    match word {
        "client" => Ok(Side::Client),
        "server" => Ok(Side::Server),
        other => Err(format!("no side: {other}")),
    }
}

fn outcome_of(word: &str) -> Result<DataOutcome, String> {
    let outcome = DataOutcome::ALL.iter().find(|outcome| outcome.label() == word);
    outcome.copied().ok_or_else(|| format!("no outcome: {word}"))
}

fn fault_of(word: &str) -> Result<TlsFault, String> {
    let fault = TlsFault::ALL.iter().find(|fault| fault.label() == word);
    fault.copied().ok_or_else(|| format!("no fault: {word}"))
}

fn flow_of(word: &str) -> Result<FlowId, String> {
    word.parse().map(FlowId).map_err(|_| format!("no name of a connection: {word}"))
}

/// One blank between the columns; what is said may begin with blanks of its own.
fn normal(line: &str) -> String {
    let (who, what) = line.split_at(2);
    let who = who.trim_end();
    let what = if who == "!" { what.trim_start() } else { what.strip_prefix(' ').unwrap_or(what) };
    format!("{who} {what}")
}

/// The records by the names that a transcript has for them.
const RECORDS: &[(&str, &[u8])] = &[
    ("{handshake}", b"\x16\x03\x01\x00\x04abcd"),
    ("{change}", b"\x14\x03\x03\x00\x01\x01"),
    ("{data}", b"\x17\x03\x03\x00\x04efgh"),
    ("{alert}", b"\x15\x03\x03\x00\x02\x01\x00"),
];

/// Records and lines.
fn pieces(bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let record = RECORDS.iter().find(|(_, record)| rest.starts_with(record));
        let line = || rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |at| at + 1);
        let (piece, after) = rest.split_at(record.map_or_else(line, |(_, record)| record.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn escape(line: &[u8]) -> String {
    if let Some((name, _)) = RECORDS.iter().find(|(_, record)| *record == line) {
        return format!("\\{name}\\");
    }
    let (body, end) = match line.strip_suffix(b"\r\n") {
        Some(body) => (body, ""),
        None => (line, "\\"),
    };
    let body = body.iter().map(|byte| match byte {
        b'\r' => "\\r".to_owned(),
        b'\n' => "\\n".to_owned(),
        0x20..=0x7e => char::from(*byte).to_string(),
        other => format!("\\x{other:02x}"),
    });
    body.collect::<String>() + end
}

fn unescape(text: &str) -> Vec<u8> {
    let (text, end): (_, &[u8]) = match text.strip_suffix('\\') {
        Some(text) => (text, b""),
        None => (text, b"\r\n"),
    };
    let mut bytes = Vec::new();
    let mut text = text.to_owned();
    for (name, record) in RECORDS {
        let escaped: String = record.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        text = text.replace(&format!("\\{name}"), &escaped);
    }
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b'0') => 0,
            Some(b'x') => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).expect("two hexadecimal digits")
            }
            other => other.expect("an escape"),
        });
    }
    bytes.extend_from_slice(end);
    bytes
}
