//! `ftpgate run`: the gateway until SIGTERM or SIGINT.

use super::{EXIT_CONFIG, RunArguments, complain};
use crate::app::{self, Handover};
use crate::config::{self, Config};
use crate::telemetry;
use anyhow::Context;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

pub(super) fn execute(arguments: &RunArguments) -> anyhow::Result<ExitCode> {
    let config = match (&arguments.config, arguments.listen, &arguments.server) {
        (Some(file), _, _) => match config::load(file) {
            Ok(config) => config,
            Err(problems) => return Ok(complain(&problems)),
        },
        (None, Some(listen), Some(server)) => match Config::for_server(listen, server) {
            Ok(config) => config,
            Err(reason) => {
                eprintln!("--server: {reason}");
                return Ok(ExitCode::from(EXIT_CONFIG));
            }
        },
        (None, _, _) => {
            eprintln!("write --config FILE, or --listen ADDR --server HOST:PORT");
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    telemetry::init(config.telemetry.log.format, config.telemetry.log.level)?;
    let handover = Handover::take()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(&config, handover))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: &Config, handover: Handover) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let gateway = app::start_after(config, None, handover).await?;
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "shutting down");
    gateway.shutdown().await;
    Ok(())
}
