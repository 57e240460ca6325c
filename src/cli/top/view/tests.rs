//! What stands on the screen.

use super::*;
use crate::cli::sessions::tests::snapshot;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

fn screen(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state)).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| format!("{}\n", row(y).trim_end())).collect()
}

fn state() -> State {
    let mut state = State::default();
    state.take(Ok(snapshot()));
    let mut new = snapshot();
    new.uptime += 1.0;
    new.sessions[0].moved.download += 3 * 1024 * 1024;
    state.take(Ok(new));
    state
}

#[test]
fn a_usual_terminal_shows_everything() {
    let seen = screen(&state(), 80, 24);
    assert_eq!(seen, include_str!("sample.txt"), "\n{seen}");
}

#[test]
fn a_wide_terminal_shows_ports_and_users() {
    let seen = screen(&state(), 120, 24);
    assert!(seen.contains("192.0.2.2:40000") && seen.contains(r"b\x1b[2J"), "\n{seen}");
}

#[test]
fn sessions_come_first_where_there_is_little_room() {
    let seen = screen(&state(), 60, 10);
    assert!(seen.contains("transferring") && !seen.contains("PINHOLES"), "\n{seen}");
    for (width, height) in [(1, 1), (3, 2), (20, 5), (300, 100)] {
        screen(&state(), width, height);
    }
}

#[test]
fn a_gateway_that_is_gone_is_told() {
    let mut state = state();
    state.take(Err("no gateway answers at /run/ftpgate/admin.sock".to_owned()));
    let seen = screen(&state, 80, 24);
    assert!(seen.contains("not up to date: no gateway answers at /run/ftpgate"), "\n{seen}");
    assert!(seen.contains("192.0.2.2 "), "what was known stays\n{seen}");
}
