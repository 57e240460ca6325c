//! How the state of `top` is drawn. What does not fit is left out, from the bottom up.

use super::state::State;
use crate::cli::table::{age, bytes, data};
use crate::telemetry::snapshot::{RefusalSnapshot, SessionSnapshot, SessionState, Snapshot};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table, Wrap};
use std::net::SocketAddr;

/// Pinholes and refusals that are shown, and their headings.
const BELOW: u16 = 6;

/// A terminal that is narrower shows addresses without ports.
const ROOM_FOR_PORTS: u16 = 110;

/// A terminal that is lower has room for sessions only.
const ROOM_FOR_ALL: u16 = 16;

pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let below = if frame.area().height < ROOM_FOR_ALL { 0 } else { BELOW };
    let parts = [
        Constraint::Length(2),
        Constraint::Min(1),
        Constraint::Length(below),
        Constraint::Length(1),
    ];
    let [head, sessions, lists, foot] = Layout::vertical(parts).areas(frame.area());
    if let Some(snapshot) = &state.snapshot {
        draw_head(frame, head, snapshot, state);
        draw_sessions(frame, sessions, state);
        let halves = [Constraint::Percentage(50), Constraint::Percentage(50)];
        let [left, right] = Layout::horizontal(halves).spacing(2).areas(lists);
        draw_list(frame, left, "OPEN PINHOLES", pinholes(snapshot));
        draw_list(frame, right, "LAST REFUSALS", refusals(snapshot));
    }
    draw_foot(frame, foot, state);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, state: &State) {
    let transferring = |session: &&_| is_transferring(session);
    let running = snapshot.sessions.iter().filter(transferring).count();
    let refused: u64 = snapshot.refusals.total.values().sum();
    let first = format!(
        "ftpgate {}  up {}  sessions: {}, transferring: {running}  {}/s",
        snapshot.version,
        age(snapshot.uptime),
        snapshot.sessions.len(),
        rate(state.rate_of_all()),
    );
    let second = format!(
        "pinholes: {}  ports free: {} of {}  refusals: {refused}",
        snapshot.sessions.iter().map(|session| session.pinholes.len()).sum::<usize>(),
        snapshot.ports.free,
        snapshot.ports.total,
    );
    frame.render_widget(Paragraph::new(vec![Line::from(first).bold(), Line::from(second)]), area);
}

fn is_transferring(session: &SessionSnapshot) -> bool {
    session.state == SessionState::Transferring
}

fn draw_sessions(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let wide = area.width >= ROOM_FOR_PORTS;
    let heads = ["ID", "STATE", "CLIENT", "SERVER", "AGE", "RATE/S", "DATA", "USER"];
    let shares = if wide { [3, 3, 3, 2] } else { [1, 1, 1, 0] };
    let [client, server, data_share, user] = shares.map(Constraint::Fill);
    let [id, word, age_width, rate_width] = [5, 12, 6, 10].map(Constraint::Length);
    let widths = [id, word, client, server, age_width, rate_width, data_share, user];
    // In a narrow terminal without ports and users.
    let columns = if wide { heads.len() } else { heads.len() - 1 };
    let shown = |address: SocketAddr| {
        if wide { address.to_string() } else { address.ip().to_string() }
    };
    let sessions = state.sessions();
    let rows = sessions.iter().take(usize::from(area.height)).map(|session| {
        let cells = [
            session.id.to_string(),
            session.state.label().to_owned(),
            shown(session.client),
            session.server.map_or_else(none, shown),
            age(session.seconds),
            state.rate(session).map_or_else(none, rate),
            data(session),
            session.user.clone().unwrap_or_else(none),
        ];
        let row = Row::new(cells.into_iter().take(columns));
        if is_transferring(session) { row.bold() } else { row }
    });
    let heads = Row::new(heads.into_iter().take(columns));
    let heads = heads.style(Style::new().add_modifier(Modifier::REVERSED));
    let table = Table::new(rows, widths.into_iter().take(columns)).header(heads);
    frame.render_widget(table, area);
}

fn draw_list(frame: &mut Frame<'_>, area: Rect, head: &str, lines: Vec<String>) {
    let head = Line::from(format!("{head:<width$}", width = usize::from(area.width))).reversed();
    let lines: Vec<_> = std::iter::once(head).chain(lines.into_iter().map(Line::from)).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn pinholes(snapshot: &Snapshot) -> Vec<String> {
    let of = |session: &SessionSnapshot| {
        let id = session.id;
        session
            .pinholes
            .iter()
            .map(move |pinhole| {
                let (peer, entry) = (pinhole.peer, pinhole.entry);
                format!("{id} {peer} -> {entry} {}", age(pinhole.seconds))
            })
            .collect::<Vec<_>>()
    };
    snapshot.sessions.iter().flat_map(of).take(usize::from(BELOW)).collect()
}

fn refusals(snapshot: &Snapshot) -> Vec<String> {
    let ago = |time: u64| age(snapshot.time.saturating_sub(time) as f64);
    let line = |refusal: &RefusalSnapshot| {
        let client = refusal.client.map_or_else(none, |client| client.ip().to_string());
        format!("{} ago {client} {}", ago(refusal.time), refusal.reason)
    };
    snapshot.refusals.recent.iter().map(line).take(usize::from(BELOW)).collect()
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let text = match &state.trouble {
        Some(reason) => Paragraph::new(format!("not up to date: {reason}")).reversed(),
        None => {
            let sort = state.sort.label();
            Paragraph::new(format!("q quit   ↑ ↓ scroll   ← → sort, now by {sort}"))
        }
    };
    frame.render_widget(text.wrap(Wrap { trim: true }), area);
}

fn none() -> String {
    "–".to_owned()
}

fn rate(per_second: f64) -> String {
    // Saturates, and a fraction of a byte is of no interest.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
    bytes(per_second as u64)
}

#[cfg(test)]
mod tests;
