//! `ftpgate top`: a live view of a running gateway in a terminal.
//!
//! | file | what it holds |
//! |---|---|
//! | `state` | what is known, in which order it is shown, and what a key does |
//! | `view` | how it is drawn |
//!
//! One thread asks the gateway, so that a gateway that hangs does not hold up the keys. The terminal is
//! put back in order at every end: by a key, by a signal, by a panic.

mod state;
mod view;

use super::SocketArguments;
use super::control::Gateway;
use crate::telemetry::snapshot::Snapshot;
use anyhow::{Context, bail};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use state::State;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Between two looks at the gateway: what a person can follow.
const INTERVAL: Duration = Duration::from_secs(1);

/// Between two looks at what else has happened: news of the gateway, and signals.
const GLANCE: Duration = Duration::from_millis(100);

pub(super) fn execute(socket: &SocketArguments) -> anyhow::Result<ExitCode> {
    let gateway = match Gateway::of(socket) {
        Ok(gateway) => gateway,
        Err(code) => return Ok(code),
    };
    // A gateway that cannot be asked is told as an error, not drawn.
    let mut state = State::default();
    state.take(Ok(gateway.snapshot()?));
    if !std::io::stdout().is_terminal() {
        bail!("top draws in a terminal; `ftpgate sessions` writes to a file or a pipe");
    }
    let ended = end_by_signal()?;
    let news = watch(gateway);
    let mut terminal = ratatui::try_init().context("the terminal cannot be drawn in")?;
    let ran = run(&mut terminal, &mut state, &news, &ended);
    ratatui::restore();
    ran.map(|()| ExitCode::SUCCESS)
}

fn run(
    terminal: &mut DefaultTerminal,
    state: &mut State,
    news: &Receiver<Result<Snapshot, String>>,
    ended: &AtomicBool,
) -> anyhow::Result<()> {
    terminal.draw(|frame| view::draw(frame, state))?;
    while !ended.load(Ordering::Relaxed) {
        let mut changed = false;
        while let Ok(news) = news.try_recv() {
            state.take(news);
            changed = true;
        }
        if event::poll(GLANCE)? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    if state.press(key) {
                        return Ok(());
                    }
                    changed = true;
                }
                // Drawn anew in its new size.
                Event::Resize(..) => changed = true,
                _ => {}
            }
        }
        if changed {
            terminal.draw(|frame| view::draw(frame, state))?;
        }
    }
    Ok(())
}

/// Asks the gateway again and again, for as long as somebody listens.
fn watch(gateway: Gateway) -> Receiver<Result<Snapshot, String>> {
    let (news, received) = sync_channel(1);
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(INTERVAL);
            if news.send(gateway.snapshot().map_err(|error| format!("{error:#}"))).is_err() {
                return;
            }
        }
    });
    received
}

/// True once a signal has come that ends the program.
fn end_by_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut interrupt, mut hang_up) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        )
    };
    let ended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ended);
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hang_up.recv() => {}
            }
        });
        told.store(true, Ordering::Relaxed);
    });
    Ok(ended)
}
