//! `ftpgate sessions`: what runs in a gateway, as a table or as JSON.

use super::control::Gateway;
use super::table::{age, bytes, data, table};
use super::{SocketArguments, show};
use crate::telemetry::snapshot::Snapshot;
use std::fmt::Write as _;
use std::process::ExitCode;

/// What fits beside something else on a screen, and in a message.
const WIDTH: usize = 100;

pub(super) fn execute(socket: &SocketArguments, json: bool) -> anyhow::Result<ExitCode> {
    let gateway = match Gateway::of(socket) {
        Ok(gateway) => gateway,
        Err(code) => return Ok(code),
    };
    if json {
        show(&format!("{}\n", gateway.ask("GET", "/sessions")?.text()?))?;
    } else {
        show(&report(&gateway.snapshot()?))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The table of the sessions, and a line about the gateway.
fn report(snapshot: &Snapshot) -> String {
    const HEADS: [&str; 9] =
        ["ID", "STATE", "CLIENT", "SERVER", "CONTROL", "AGE", "LAST", "DATA", "USER"];
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let rows: Vec<_> = snapshot
        .sessions
        .iter()
        .map(|session| {
            [
                session.id.to_string(),
                session.state.label().to_owned(),
                session.client.to_string(),
                or_none(session.server.map(|server| server.to_string())),
                session.control.to_string(),
                age(session.seconds),
                or_none(session.last_verb.as_ref().map(ToString::to_string)),
                data(session),
                or_none(session.user.clone()),
            ]
        })
        .collect();
    let mut text = String::new();
    if rows.is_empty() {
        text.push_str("no sessions\n");
    } else {
        for line in table(HEADS, &rows, WIDTH) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{line}");
        }
    }
    let pinholes: usize = snapshot.sessions.iter().map(|session| session.pinholes.len()).sum();
    let refused: u64 = snapshot.refusals.total.values().sum();
    let moved = snapshot.sessions.iter().map(|session| super::table::total(session.moved));
    let _ = writeln!(
        text,
        "\nup {}; sessions: {}, bytes moved: {}, pinholes: {pinholes}, refusals: {refused}, ports free: {} of {}",
        age(snapshot.uptime),
        snapshot.sessions.len(),
        bytes(moved.fold(0, u64::saturating_add)),
        snapshot.ports.free,
        snapshot.ports.total,
    );
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A gateway with three sessions, as it answers.
    pub(in crate::cli) fn snapshot() -> Snapshot {
        serde_json::from_str(include_str!("sessions/sample.json")).unwrap()
    }

    #[test]
    fn the_table_fits_and_tells_what_runs() {
        let text = report(&snapshot());
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        let expected = include_str!("sessions/sample.txt");
        assert_eq!(text, expected, "\n{text}");
    }

    #[test]
    fn a_gateway_without_sessions_says_so() {
        let text = report(&Snapshot { sessions: Vec::new(), ..snapshot() });
        assert!(text.starts_with("no sessions\n\nup 2h05m; sessions: 0, "), "{text}");
    }
}
