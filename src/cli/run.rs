//! `ftpgate run`: the gateway until SIGTERM or SIGINT.

use super::{EXIT_CONFIG, RunArguments, complain};
use crate::admin::Order;
use crate::app;
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(&config))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let control = app::open_control(&config.admin)?;
    let mut gateway = app::start(config, None).await?;
    let mut orders = gateway.serve_control(control);
    let reason = loop {
        let order = tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            Some(order) = orders.recv() => order,
        };
        // Whoever has asked may be gone.
        match order {
            Order::Drain => break "ftpgate drain",
            Order::Reload { answer } => {
                let _ = answer.send(Err("not available".to_owned()));
            }
            Order::CloseSession { id, answer } => {
                let _ = answer.send(gateway.close_session(id));
            }
        }
    };
    tracing::info!(reason, "shutting down");
    gateway.shutdown().await;
    Ok(())
}
