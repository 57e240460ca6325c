//! `limits`: its types, its keys, and how they are written.

use super::section::Section;
use super::value;
use crate::limits::{Rate, Share};
use std::fmt::Display;
use std::time::Duration;

/// No gateway carries more at one time than it has ports towards one server.
const MOST_SESSIONS: usize = 1_000_000;

/// What a session can have at a time is bounded by its data path in any case.
const MOST_PINHOLES: usize = 1024;

/// RFC 959 sets no limit; a command with a name of 255 bytes and a path have to fit.
const SHORTEST_LINE: usize = 512;

/// More than any peer sends in one line; the bound is memory per session.
const LONGEST_LINE: usize = 65_536;

/// Bounds on what peers may use up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at one time.
    pub sessions: usize,
    /// Sessions at one time from one client.
    pub sessions_per_client: usize,
    /// Sessions at one time to one server; `None`: any number.
    pub sessions_per_server: Option<usize>,
    /// New sessions from one client; `None`: any number.
    pub new_sessions_per_client: Option<Rate>,
    /// Logins of one client that a server refuses, until it has to wait; `None`: any number.
    pub failed_logins_per_client: Option<Rate>,
    /// Data connections of one session at one time.
    pub pinholes_per_session: usize,
    /// The part of the ports that nobody else holds that one client may hold.
    pub ports_per_client: Share,
    /// From the connection to the server's greeting, and from there to the client's first line.
    pub first_line_timeout: Duration,
    /// From accept to login.
    pub login_timeout: Duration,
    /// Without command, reply or data.
    pub idle_timeout: Duration,
    /// From the wish to drain to the end of what still runs.
    pub drain_timeout: Duration,
    /// The longest line in bytes, its end included.
    pub line: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            sessions_per_client: 100,
            sessions_per_server: None,
            new_sessions_per_client: None,
            failed_logins_per_client: Some(Rate::per_minute(20)),
            pinholes_per_session: MOST_PINHOLES,
            ports_per_client: Share::default(),
            first_line_timeout: Duration::from_secs(30),
            login_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(15 * 60),
            drain_timeout: Duration::from_secs(30),
            line: 4160,
        }
    }
}

/// The section.
pub(super) fn limits(mut section: Section<'_>) -> Limits {
    let default = Limits::default();
    let sessions = || value::count(1, MOST_SESSIONS, "sessions");
    let pinholes = value::count(1, MOST_PINHOLES, "data connections");
    let line = value::count(SHORTEST_LINE, LONGEST_LINE, "bytes");
    let limits = Limits {
        sessions: section.read("sessions", sessions(), default.sessions).value,
        sessions_per_client: section
            .read("sessions_per_client", sessions(), default.sessions_per_client)
            .value,
        sessions_per_server: section
            .read("sessions_per_server", value::or_none(sessions()), default.sessions_per_server)
            .value,
        new_sessions_per_client: section
            .read("new_sessions_per_client", value::or_none(rate), default.new_sessions_per_client)
            .value,
        failed_logins_per_client: section
            .read(
                "failed_logins_per_client",
                value::or_none(rate),
                default.failed_logins_per_client,
            )
            .value,
        pinholes_per_session: section
            .read("pinholes_per_session", pinholes, default.pinholes_per_session)
            .value,
        ports_per_client: section
            .read(
                "ports_per_client",
                |node| value::parsed(node, "1% to 100%"),
                default.ports_per_client,
            )
            .value,
        first_line_timeout: section
            .read("first_line_timeout", value::duration, default.first_line_timeout)
            .value,
        login_timeout: section.read("login_timeout", value::duration, default.login_timeout).value,
        idle_timeout: section.read("idle_timeout", value::duration, default.idle_timeout).value,
        drain_timeout: section.read("drain_timeout", value::duration, default.drain_timeout).value,
        line: section.read("line", line, default.line).value,
    };
    section.finish();
    limits
}

fn rate(node: &super::tree::Node) -> Result<Rate, String> {
    value::parsed(node, "none, or a rate such as 20/s, 600/m or 1000/h")
}

/// Each key with its value as it is compared.
pub(super) fn keys(limits: &Limits) -> [(&'static str, String); 12] {
    let time = |time: Duration| format!("{time:?}");
    [
        ("limits.sessions", limits.sessions.to_string()),
        ("limits.sessions_per_client", limits.sessions_per_client.to_string()),
        ("limits.sessions_per_server", or_none(limits.sessions_per_server)),
        ("limits.new_sessions_per_client", or_none(limits.new_sessions_per_client)),
        ("limits.failed_logins_per_client", or_none(limits.failed_logins_per_client)),
        ("limits.pinholes_per_session", limits.pinholes_per_session.to_string()),
        ("limits.ports_per_client", limits.ports_per_client.to_string()),
        ("limits.first_line_timeout", time(limits.first_line_timeout)),
        ("limits.login_timeout", time(limits.login_timeout)),
        ("limits.idle_timeout", time(limits.idle_timeout)),
        ("limits.drain_timeout", time(limits.drain_timeout)),
        ("limits.line", limits.line.to_string()),
    ]
}

fn or_none(value: Option<impl Display>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}
