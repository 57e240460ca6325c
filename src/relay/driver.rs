//! Drives one session: the only place where actions are executed.
//!
//! One task per session. It waits for whatever comes first — bytes, room to send, news of a data
//! connection, the clock — tells the session, and executes what the session wants done, in order.
//! The task outlives the control connections until the last data connection has ended, so that its
//! bytes are told.

mod connecting;
mod counted;
mod tls;

use super::admission::Permit;
use super::control::{Control, READ_SIZE, Received};
use super::course::{Course, CourseReceiver, Notice, Present};
use super::introduction::DataHeaders;
use super::openings::Openings;
use super::shared::{Closing, OwnEnd, Shared};
use super::termination::SessionTls;
use crate::limits::ClientKey;
use crate::report::{CloseCause, DataOutcome};
use crate::session::{Action, Event, Session, TransferPlan};
use crate::telemetry::SessionTelemetry;
use crate::terms::Side;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How long a closed session goes on sending its last words and draining what the client still
/// sends: closing at once would reset the connection and destroy a farewell on its way.
const LINGER: Duration = Duration::from_secs(2);

/// Between the 200 to a client's CCC and our close_notify, unless the client ends TLS first: lftp
/// takes one that comes with the 200 for the end of the connection, curl waits for it.
const CCC_PAUSE: Duration = Duration::from_millis(30);

/// Drives one session from its accepted client to its last data connection.
pub(super) struct Driver {
    session: Session,
    /// `None` when it is hung up.
    client: Option<Control>,
    /// `None` until it is dialled, and when it is hung up.
    server: Option<Control>,
    openings: Openings,
    /// Where TLS ends here.
    tls: Option<SessionTls>,
    /// When the client's TLS ends at the latest.
    tls_ends_at: Option<Instant>,
    /// Tells how far the gateway is on its way to its end.
    notice: Notice,
    present: Present,
    telemetry: SessionTelemetry,
    timer: Pin<Box<Sleep>>,
    armed_for: Option<Instant>,
    /// Set by [`Action::CloseSession`]: when the control connections are given up at the latest.
    closing_until: Option<Instant>,
    /// The control connections are given up.
    given_up: bool,
    permit: Option<Permit>,
    /// Kept until the server speaks, so that a connection from this end is known as the gateway's own.
    own_end: Option<OwnEnd>,
    /// The owner's word that this session is to end.
    closing: Option<Closing>,
    /// What the relay carries for it is to be cut.
    cuts: bool,
}

impl Driver {
    pub(super) fn new(
        session: Session,
        client: TcpStream,
        shared: Arc<Shared>,
        tls: Option<SessionTls>,
        telemetry: SessionTelemetry,
        permit: Permit,
        course: CourseReceiver,
    ) -> Self {
        let client_key = ClientKey::from(session.client().ip());
        let (notice, present) = course.for_session();
        Self {
            session,
            client: Some(Control::new(client)),
            server: None,
            openings: Openings::new(shared, client_key),
            tls,
            tls_ends_at: None,
            notice,
            present,
            telemetry,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed_for: None,
            closing_until: None,
            given_up: false,
            permit: Some(permit),
            own_end: None,
            closing: None,
            cuts: false,
        }
    }

    /// The session ends when the owner says so.
    pub(super) fn obeying(self, closing: Closing) -> Self {
        Self { closing: Some(closing), ..self }
    }

    /// What PROXY headers mean for its data connections.
    pub(super) fn introduced(mut self, headers: DataHeaders) -> Self {
        self.openings.set_headers(headers);
        self
    }

    /// Tells the session of something that happened before [`run`](Self::run).
    pub(super) fn tell(&mut self, event: Event<'_>) {
        self.session.handle_event(event, Instant::now());
    }

    /// Runs until the session is over.
    pub(super) async fn run(mut self: Box<Self>) {
        loop {
            self.perform().await;
            if self.closing_until.is_some() && self.is_closed() {
                // Data connections may run for days; their session holds no others meanwhile.
                (self.client, self.server) = (None, None);
                self.release_permit();
                self.present.hang_up();
                if self.session.is_over() && self.openings.has_told_all() {
                    return;
                }
            }
            poll_fn(|cx| self.poll_news(cx)).await;
        }
    }

    /// Executes what the session wants done, in order; and cuts its data connections where the owner
    /// has ended it, once it has said so to the client.
    async fn perform(&mut self) {
        self.execute().await;
        if std::mem::take(&mut self.cuts) {
            for (id, bytes) in Box::pin(self.openings.cut()).await {
                let (outcome, bytes) = (DataOutcome::Aborted, Some(bytes));
                self.tell(Event::DataConnectionEnded { id, outcome, bytes });
            }
            self.execute().await;
        }
    }

    /// What waits is boxed: it is rare, and would else take its room in the task of every session.
    async fn execute(&mut self) {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::SendBytes { to, bytes } => {
                    if let Some(control) = self.control(to) {
                        control.send(&bytes);
                    }
                }
                Action::SendUrgent { to, bytes } => {
                    if let Some(control) = self.control(to) {
                        control.send_urgent(&bytes);
                    }
                }
                Action::OpenTransfer(plan) => Box::pin(self.open(plan)).await,
                Action::DialData { id, side } => self.openings.dial(id, side),
                Action::TakeUpload { id } => self.openings.take_upload(id),
                Action::WithdrawTransfer { id } => {
                    let in_use = Box::pin(self.openings.withdraw(id)).await;
                    self.tell(Event::TransferWithdrawn { id, in_use });
                }
                Action::OpenBlindRange(range) => {
                    let event = match Box::pin(self.openings.open_range(range)).await {
                        Ok(()) => Event::BlindRangeOpened { range },
                        Err(error) => {
                            tracing::warn!(%error, "data.blind_ports could not be opened");
                            Event::BlindRangeFailed { range }
                        }
                    };
                    self.tell(event);
                }
                Action::CloseBlindRange => Box::pin(self.openings.close_range()).await,
                Action::AcceptTls => {
                    if let Some(client) = &mut self.client {
                        client.accept_tls();
                    }
                }
                Action::ConnectTls => self.connect_tls(),
                Action::PresentCertificate(certificate) => {
                    Box::pin(self.present(certificate)).await;
                }
                Action::CarryTls => {
                    if let Some(client) = &mut self.client {
                        let bytes = client.give_back_hello();
                        self.tell(Event::BytesReceived { from: Side::Client, bytes: &bytes });
                    }
                }
                Action::EndTls { side: Side::Server } => {
                    if let Some(server) = &mut self.server {
                        server.end_tls();
                    }
                }
                Action::EndTls { side: Side::Client } => {
                    if let Some(client) = &mut self.client {
                        client.let_tls_end();
                        self.tls_ends_at = Some(Instant::now() + CCC_PAUSE);
                    }
                }
                Action::Report(report) => self.report(&report),
                Action::CloseSession => {
                    self.closing_until = Some(Instant::now() + LINGER);
                    for control in [&mut self.client, &mut self.server].into_iter().flatten() {
                        control.end_tls();
                    }
                }
            }
        }
    }

    async fn open(&mut self, plan: TransferPlan) {
        if let (Some(tls), Some(server)) = (&self.tls, &mut self.server)
            && plan.is_protected(Side::Server)
        {
            tls.provide_ticket(server);
        }
        let event = match self.openings.open(&plan).await {
            Ok((client_entry, server_entry)) => {
                Event::TransferOpened { id: plan.id, client_entry, server_entry }
            }
            Err(error) => {
                self.telemetry.warn(format_args!("a data connection could not be opened: {error}"));
                Event::TransferFailed { id: plan.id }
            }
        };
        self.tell(event);
    }

    fn control(&mut self, side: Side) -> Option<&mut Control> {
        match side {
            Side::Client => self.client.as_mut(),
            Side::Server => self.server.as_mut(),
        }
    }

    /// Both control connections are through: the last words are sent, and the client has seen them.
    fn is_closed(&self) -> bool {
        let through = |client: &Control| client.has_ended() && client.is_flushed();
        self.given_up || self.client.as_ref().is_none_or(through)
    }

    /// Ready when the session has been told something.
    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let mut news = self.poll_data(cx, now);
        for side in [Side::Client, Side::Server] {
            news |= self.poll_flush(side, cx, now);
        }
        for side in [Side::Server, Side::Client] {
            let heard = self.poll_read(side, cx, now);
            if heard && side == Side::Server {
                // It does not lead back here.
                self.own_end = None;
            }
            news |= heard;
            // What was read may have been part of a handshake, which goes on without the session.
            news |= self.poll_flush(side, cx, now);
        }
        news |= self.poll_closing(cx, now);
        news |= self.poll_course(cx, now);
        news |= self.poll_timer(cx, now);
        if news { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut news = false;
        while let Poll::Ready(event) = self.openings.poll_news(cx) {
            if let Some(event) = event {
                self.session.handle_event(event, now);
            }
            news = true;
        }
        news
    }

    fn poll_flush(&mut self, side: Side, cx: &mut Context<'_>, now: Instant) -> bool {
        let closing = self.closing_until.is_some();
        let Some(control) = self.control(side) else { return false };
        match control.poll_flush(cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => {
                if closing && !control.has_finished() {
                    control.finish();
                }
                false
            }
            Poll::Ready(Err(_)) => {
                let event = Event::ConnectionClosed { side, orderly: false };
                self.session.handle_event(event, now);
                true
            }
        }
    }

    fn poll_read(&mut self, side: Side, cx: &mut Context<'_>, now: Instant) -> bool {
        let closing = self.closing_until.is_some();
        if self.given_up {
            return false;
        }
        let other = match side {
            Side::Client => &self.server,
            Side::Server => &self.client,
        };
        let full = other.as_ref().is_some_and(Control::is_backlogged);
        let wanted = closing || (!full && self.session.wants_bytes(side));
        let Some(control) = self.control(side) else { return false };
        // Answers to Telnet negotiation go back to the peer that asks: one that does not read them
        // is not read either.
        if !wanted || control.has_ended() || (control.is_backlogged() && !closing) {
            return false;
        }
        let mut buffer = [0; READ_SIZE];
        let event = match control.poll_read(cx, &mut buffer) {
            Poll::Pending => return false,
            Poll::Ready(Ok(Received::News(news))) => {
                self.on_news(side, &news, now);
                return true;
            }
            Poll::Ready(Ok(Received::Bytes(0)) | Err(_))
                if control.is_in_handshake() && !closing =>
            {
                self.on_end_in_handshake(side);
                return true;
            }
            Poll::Ready(Ok(Received::Bytes(0))) => Event::ConnectionClosed { side, orderly: true },
            Poll::Ready(Ok(Received::Bytes(count))) => {
                Event::BytesReceived { from: side, bytes: buffer.get(..count).unwrap_or_default() }
            }
            Poll::Ready(Err(_)) => Event::ConnectionClosed { side, orderly: false },
        };
        self.session.handle_event(event, now);
        true
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let asked = self.closing.as_mut().and_then(|closing| closing.poll(cx));
        let event = match asked {
            None => return false,
            Some(CloseCause::AuditFailed) => Event::AuditFailed,
            Some(_) => Event::CloseRequested,
        };
        self.cuts = true;
        self.session.handle_event(event, now);
        true
    }

    fn poll_course(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut news = false;
        while let Poll::Ready(course) = self.notice.poll_step(cx) {
            let event = match course {
                Course::Serving => continue,
                Course::Draining => Event::DrainRequested,
                Course::Ending => Event::ShutdownRequested,
            };
            self.session.handle_event(event, now);
            news = true;
        }
        news
    }

    /// The timer is armed for the earliest deadline only; a deadline that has moved away is found
    /// out when it fires. Most deadlines do: every line moves the idle one.
    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        loop {
            let linger = self.closing_until.filter(|_| !self.given_up);
            let wanted = [linger, self.tls_ends_at, self.session.poll_timeout()];
            let Some(deadline) = wanted.into_iter().flatten().min() else { return false };
            if deadline <= now {
                if self.tls_ends_at.take_if(|at| *at <= now).is_some()
                    && let Some(client) = &mut self.client
                {
                    client.end_tls();
                }
                self.given_up |= linger.is_some_and(|until| until <= now);
                self.session.handle_timeout(now);
                return true;
            }
            if self.armed_for.is_none_or(|armed| deadline < armed) {
                self.timer.as_mut().reset(deadline.into());
                self.armed_for = Some(deadline);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.armed_for = None;
        }
    }
}
