//! What a conversation on paper does not show: what is held of a peer, timers, and the end.

use super::*;
use crate::addr::{ByOwn, OriginalDst};
use crate::report::{DataOutcome, TlsFault, TlsVersion};
use crate::terms::FlowId;
use std::net::SocketAddr;
use std::time::Duration;

mod first_line;
mod named;
mod policy;

const LOGIN: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(900);
const OPEN: Duration = Duration::from_secs(30);

/// A session and the time since its start.
struct Bench {
    session: Session,
    start: Instant,
    now: Instant,
    plan: Option<TransferPlan>,
}

impl Bench {
    fn connecting() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            kernel: true,
            login_timeout: LOGIN,
            idle_timeout: IDLE,
            open_timeout: OPEN,
            ..Settings::default()
        };
        change(&mut settings);
        let parties = Parties {
            client: at("192.0.2.2:40000"),
            original_dst: OriginalDst(at("203.0.113.7:21")),
            dials_gateway: true,
            external_client: ByOwn::default(),
            external_server: ByOwn::default(),
            introduced_at: None,
        };
        let start = Instant::now();
        let session = Session::new(Arc::new(settings), parties, start);
        Self { session, start, now: start, plan: None }
    }

    fn logged_in() -> Self {
        Self::connecting().log_in()
    }

    fn log_in(mut self) -> Self {
        let bench = &mut self;
        let (server, seen_as) = (at("10.0.0.5:21"), at("10.0.0.1:33000"));
        bench.tell(Event::ServerConnected { server, seen_as, wants_certificate: false });
        bench.say(Side::Server, "220 ready\r\n");
        bench.say(Side::Client, "USER a\r\n");
        bench.say(Side::Server, "230 in\r\n");
        self
    }

    /// Whatever the session does besides `OpenTransfer`, as text.
    fn tell(&mut self, event: Event<'_>) -> String {
        self.session.handle_event(event, self.now);
        self.drain()
    }

    fn say(&mut self, from: Side, text: &str) -> String {
        self.tell(Event::BytesReceived { from, bytes: text.as_bytes() })
    }

    fn drain(&mut self) -> String {
        let mut done = String::new();
        while let Some(action) = self.session.poll_action() {
            if let Action::OpenTransfer(plan) = action {
                self.plan = Some(plan);
            }
            done += &format!("{action:?}\n");
            if let Action::WithdrawTransfer { id } = action {
                let withdrawn = Event::TransferWithdrawn { id, in_use: false };
                self.session.handle_event(withdrawn, self.now);
            }
        }
        done
    }

    /// Goes on to `since_start`, calling the timer if it is due.
    fn go_to(&mut self, since_start: Duration) -> String {
        self.now = self.start + since_start;
        if self.timeout().is_some_and(|due| due <= since_start) {
            self.session.handle_timeout(self.now);
        }
        self.drain()
    }

    fn timeout(&self) -> Option<Duration> {
        self.session.poll_timeout().map(|deadline| deadline - self.start)
    }

    fn id(&self) -> TransferId {
        self.plan.expect("a transfer was asked for").id
    }

    fn opened(&mut self) -> String {
        let event = Event::TransferOpened {
            id: self.id(),
            client_entry: Some(at("203.0.113.7:50000")),
            server_entry: None,
        };
        self.tell(event)
    }

    /// A transfer that is offered to the client.
    fn offer(&mut self) {
        self.say(Side::Client, "EPSV\r\n");
        self.say(Side::Server, "229 ok (|||6446|)\r\n");
        let told = self.opened();
        assert!(told.contains("|||50000|"), "{told}");
    }
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn a_hello_ahead_of_the_server_is_left_for_tls() {
    let implicit = |tls| {
        let mut bench = Bench::with(|settings| {
            (settings.tls, settings.client_start) = (tls, TlsStart::Implicit);
        });
        let early = bench.session.wants_bytes(Side::Client);
        let (server, seen_as) = (at("10.0.0.5:21"), at("10.0.0.1:33000"));
        bench.tell(Event::ServerConnected { server, seen_as, wants_certificate: false });
        assert!(bench.session.wants_bytes(Side::Client));
        early
    };
    assert!(!implicit(TlsMode::Intercept) && !implicit(TlsMode::Offload));
    // It goes on to the server as it came.
    assert!(implicit(TlsMode::Passthrough));
}

#[test]
fn a_client_that_sends_ahead_is_held_back_and_loses_nothing() {
    let mut bench = Bench::logged_in();
    bench.say(Side::Client, "EPSV\r\n");
    let mut sent = 0;
    while bench.session.wants_bytes(Side::Client) {
        assert!(sent < READ_AHEAD, "{sent} bytes are kept");
        bench.say(Side::Client, "NOOP\r\n");
        sent += "NOOP\r\n".len();
    }
    assert!(bench.session.wants_bytes(Side::Server), "the reply must get through");
    let told = bench.say(Side::Server, "500 what\r\n");
    // As many as may be outstanding; the rest as the replies come in.
    assert_eq!(told.matches(r#"to: Server, bytes: b"NOOP"#).count(), 256);
    let replies = "200 ok\r\n".repeat(sent / "NOOP\r\n".len());
    let told = bench.say(Side::Server, &replies);
    assert_eq!(256 + told.matches(r#"to: Server, bytes: b"NOOP"#).count(), sent / "NOOP\r\n".len());
    assert!(bench.session.wants_bytes(Side::Client));
}

#[test]
fn a_line_as_long_as_the_limit_allows_is_read_to_its_end() {
    let limit = 4 * READ_AHEAD;
    let mut bench = Bench::with(|settings| settings.line_limit = limit).log_in();
    let line = format!("CWD {}\r\n", "a".repeat(limit - "CWD \r\n".len()));
    for part in line.as_bytes().chunks(4096) {
        assert!(bench.session.wants_bytes(Side::Client), "the end of the line is never read");
        bench.say(Side::Client, std::str::from_utf8(part).unwrap());
    }
    let told = bench.say(Side::Server, "250 there\r\n");
    assert!(told.contains("250 there") && !told.contains("Distrusted"), "{told}");
}

/// A hostile client leaves its data connections open and asks for the next: each costs descriptors.
#[test]
fn data_connections_of_one_session_have_a_bound() {
    let mut bench = Bench::with(|settings| settings.kernel = false).log_in();
    for _ in 0..32 {
        bench.offer();
        let id = bench.id();
        bench.tell(Event::PinholeUsed { id, side: Side::Client });
    }
    bench.say(Side::Client, "EPSV\r\n");
    let told = bench.say(Side::Server, "229 ok (|||6446|)\r\n");
    assert!(told.contains("425 Too many data connections"), "{told}");
    assert!(!told.contains("OpenTransfer"), "{told}");
    let id = bench.id();
    bench.tell(Event::DataConnectionEnded { id, outcome: DataOutcome::Completed, bytes: None });
    bench.offer();
}

/// What passes beyond the bound is counted, since the kernel lets it pass.
#[test]
fn seen_data_connections_of_one_session_have_a_bound() {
    let mut bench = Bench::with(|settings| settings.blind_ports = true).log_in();
    bench.say(Side::Client, "AUTH GSSAPI\r\n");
    assert!(bench.say(Side::Server, "234 go\r\n").contains("OpenBlindRange"));
    let start =
        |bench: &mut Bench, name| bench.tell(Event::BlindConnectionStarted { flow: FlowId(name) });
    let outcome = DataOutcome::Completed;
    let end = |name| Event::BlindConnectionEnded { flow: FlowId(name), outcome, bytes: None };
    for name in 0..1024 {
        assert!(start(&mut bench, name).contains("DataConnectionStarted"), "{name}");
    }
    assert_eq!(start(&mut bench, 1024), "");
    assert_eq!(bench.tell(end(1024)), "");
    assert!(bench.tell(end(0)).contains("DataConnectionEnded"));
    assert!(start(&mut bench, 1025).contains("DataConnectionStarted"));
    let told = bench.tell(Event::ConnectionClosed { side: Side::Client, orderly: false });
    assert!(told.contains("passed: Some(1026)"), "{told}");
    for name in 1..=1025 {
        assert!(!bench.session.is_over());
        bench.tell(end(name));
    }
    assert!(bench.session.is_over());
}

#[test]
fn a_server_that_sends_ahead_is_held_back_while_a_pinhole_is_being_opened() {
    let mut bench = Bench::logged_in();
    bench.say(Side::Client, "EPSV\r\n");
    bench.say(Side::Server, "229 ok (|||6446|)\r\n");
    let mut sent = 0;
    while bench.session.wants_bytes(Side::Server) {
        assert!(sent < READ_AHEAD, "{sent} bytes are kept");
        assert_eq!(bench.say(Side::Server, "stray line\r\n"), "");
        sent += "stray line\r\n".len();
    }
    let told = bench.opened();
    assert_eq!(told.matches("SendBytes").count(), 1 + sent / "stray line\r\n".len());
    assert!(bench.session.wants_bytes(Side::Server));
}

#[test]
fn case_22_what_is_held_of_a_reply_has_a_bound() {
    let mut bench = Bench::logged_in();
    bench.say(Side::Client, "PASV\r\n");
    bench.say(Side::Server, "227-so\r\n");
    let mut held = 0;
    while bench.session.wants_bytes(Side::Server) {
        assert!(held <= 16 * 1024, "{held} bytes are held");
        let told = bench.say(Side::Server, " and on\r\n");
        held += " and on\r\n".len();
        assert_eq!(told.contains("TooMuch"), !bench.session.wants_bytes(Side::Server));
        // The client has not been sent a byte of it.
        assert_eq!(told.contains("\"421 "), told.contains("TooMuch"), "{told}");
    }
}

#[test]
fn case_22_preliminary_replies_are_not_held() {
    let mut bench = Bench::logged_in();
    bench.say(Side::Client, "PASV\r\n");
    for _ in 0..3000 {
        assert!(bench.say(Side::Server, "150 and on\r\n").contains("150 and on"));
    }
    assert!(bench.session.wants_bytes(Side::Server));
}

#[test]
fn the_timer_is_for_the_login_then_for_the_pinhole_then_for_silence() {
    assert_eq!(Bench::connecting().timeout(), Some(LOGIN));
    let mut bench = Bench::logged_in();
    assert_eq!(bench.timeout(), Some(IDLE));
    bench.offer();
    assert_eq!(bench.timeout(), Some(OPEN));
    let told = bench.go_to(OPEN);
    assert!(told.contains("WithdrawTransfer") && told.contains("Expired"), "{told}");
    assert_eq!(bench.timeout(), Some(IDLE));
    bench.go_to(Duration::from_secs(100));
    bench.say(Side::Client, "NOOP\r\n");
    assert_eq!(bench.timeout(), Some(Duration::from_secs(100) + IDLE));
}

#[test]
fn case_44_no_timer_runs_while_data_moves() {
    let mut bench = Bench::logged_in();
    bench.offer();
    let id = bench.id();
    bench.tell(Event::PinholeUsed { id, side: Side::Client });
    assert_eq!(bench.timeout(), None);
    let later = Duration::from_secs(86400);
    assert_eq!(bench.go_to(later), "");
    let outcome = DataOutcome::Completed;
    bench.tell(Event::DataConnectionEnded { id, outcome, bytes: None });
    assert_eq!(bench.timeout(), Some(later + IDLE));
}

#[test]
fn a_session_is_over_when_its_last_data_connection_is() {
    let mut bench = Bench::logged_in();
    bench.offer();
    let id = bench.id();
    bench.tell(Event::PinholeUsed { id, side: Side::Client });
    let told = bench.tell(Event::ConnectionClosed { side: Side::Client, orderly: false });
    assert!(told.contains("CloseSession") && !told.contains("WithdrawTransfer"), "{told}");
    assert!(!bench.session.is_over());
    assert_eq!(bench.timeout(), None);
    let outcome = DataOutcome::Completed;
    let told = bench.tell(Event::DataConnectionEnded { id, outcome, bytes: None });
    assert!(told.contains("DataConnectionEnded"), "{told}");
    assert!(bench.session.is_over());
}

#[test]
fn case_45_a_pinhole_that_opens_after_the_end_is_closed_again() {
    let mut bench = Bench::logged_in();
    bench.say(Side::Client, "EPSV\r\n");
    bench.say(Side::Server, "229 ok (|||6446|)\r\n");
    bench.tell(Event::ConnectionClosed { side: Side::Server, orderly: false });
    assert!(!bench.session.is_over(), "the executor has still to answer");
    let told = bench.opened();
    assert!(told.contains("PinholeOpened") && told.contains("Withdrawn"), "{told}");
    assert!(!told.contains("SendBytes"), "{told}");
    assert!(bench.session.is_over());
}

#[test]
fn a_handshake_on_a_data_connection_is_told() {
    let mut bench = Bench::logged_in();
    let id = TransferId(7);
    let stands = Ok((TlsVersion::Tls12, true));
    let told = bench.tell(Event::DataHandshakeEnded { id, side: Side::Server, outcome: stands });
    for word in ["Server", "Data", "Some(Tls12)", "resumed: true", "fault: None"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let refused = Err(TlsFault::NotResumed);
    let told = bench.tell(Event::DataHandshakeEnded { id, side: Side::Client, outcome: refused });
    for word in ["Client", "version: None", "resumed: false", "Some(NotResumed)"] {
        assert!(told.contains(word), "{word}: {told}");
    }
}
