//! `ftpgate run`: the gateway until SIGTERM or SIGINT, and what it is told meanwhile.

use super::{EXIT_CONFIG, RunArguments, check, complain};
use crate::admin::{Order, Orders};
use crate::app::{self, Handover, RunningGateway};
use crate::config::{self, Config};
use crate::net;
use crate::telemetry::{self, LogHandle};
use anyhow::Context;
use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) fn execute(arguments: &RunArguments) -> anyhow::Result<ExitCode> {
    net::raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // Ahead of everything that takes its time: a signal to a process that does not listen yet would
    // kill it.
    let signals = runtime.block_on(async { Signals::new() })?;
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
    // What is wrong with these files stays wrong at the next start, like the configuration itself.
    if let Err(error) = app::try_tls_files(&config) {
        eprintln!("{error:#}");
        return Ok(ExitCode::from(EXIT_CONFIG));
    }
    let log = telemetry::init(config.telemetry.log.format, config.telemetry.log.level)?;
    let handover = Handover::take()?;
    // Ahead of whatever starts a thread or hears a peer.
    let confined = match app::confine(&config, arguments.config.as_deref()) {
        Ok(confined) => {
            // Ahead of what may fail for it.
            tracing::info!("confined: {}", confined.summary);
            for warning in &confined.warnings {
                tracing::warn!("{warning}");
            }
            confined
        }
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    let result = runtime.block_on(async {
        let control = app::open_control(&config.admin)?;
        let mut gateway = app::start_after(&config, None, handover).await?;
        announce(&gateway);
        gateway.set_confined(confined);
        let orders = gateway.serve_control(control);
        let file = arguments.config.as_deref();
        Service { gateway, file, log, signals, orders }.run().await
    });
    // A question to a resolver that does not answer is not waited for.
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}

/// What the gateway does, and what is missing.
fn announce(gateway: &RunningGateway) {
    tracing::info!("ftpgate {} runs", env!("CARGO_PKG_VERSION"));
    for (what, meaning) in check::lines(gateway.config()) {
        match what {
            "" => tracing::info!("  {meaning}"),
            _ => tracing::info!("{what}: {meaning}"),
        }
    }
    tracing::info!("data path: {}", gateway.data_path());
    for notice in gateway.notices() {
        tracing::warn!("{notice}");
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Caught {
        tokio::select! {
            _ = self.terminate.recv() => Caught::Terminate,
            _ = self.interrupt.recv() => Caught::Interrupt,
            _ = self.hangup.recv() => Caught::Hangup,
        }
    }
}

/// A signal that was caught.
#[derive(Debug, Clone, Copy)]
enum Caught {
    Terminate,
    Interrupt,
    Hangup,
}

/// A gateway with those who tell it what to do.
struct Service<'a> {
    gateway: RunningGateway,
    /// What is read again.
    file: Option<&'a Path>,
    log: LogHandle,
    signals: Signals,
    /// What is asked for at the control socket.
    orders: Orders,
}

impl Service<'_> {
    async fn run(mut self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                caught = self.signals.next() => match caught {
                    Caught::Terminate => {
                        tracing::info!(signal = "SIGTERM", "draining");
                        break;
                    }
                    Caught::Interrupt => {
                        tracing::info!(signal = "SIGINT", "shutting down");
                        self.gateway.shutdown().await;
                        return Ok(());
                    }
                    Caught::Hangup => {
                        let _ = self.reload().await;
                    }
                },
                Some(order) = self.orders.recv() => match order {
                    Order::Reload { answer } => {
                        let _ = answer.send(self.reload().await);
                    }
                    Order::Drain => {
                        tracing::info!("draining, as asked for");
                        break;
                    }
                    Order::CloseSession { id, answer } => {
                        let _ = answer.send(self.gateway.close_session(id));
                    }
                },
            }
        }
        self.drain().await;
        self.gateway.shutdown().await;
        Ok(())
    }

    /// Until nothing runs any more, the time is over, or somebody will not wait.
    async fn drain(&mut self) {
        let Self { gateway, signals, orders, .. } = self;
        let drained = gateway.drain();
        tokio::pin!(drained);
        loop {
            tokio::select! {
                () = &mut drained => return,
                caught = signals.next() => match caught {
                    Caught::Terminate | Caught::Interrupt => {
                        tracing::info!("shutting down without waiting any longer");
                        return;
                    }
                    Caught::Hangup => {
                        gateway.reopen_audit();
                        tracing::info!("the configuration is not read again while draining");
                    }
                },
                Some(order) = orders.recv() => match order {
                    Order::Reload { answer } => {
                        gateway.reopen_audit();
                        let _ = answer.send(Err("the gateway is draining".to_owned()));
                    }
                    Order::Drain => {}
                    Order::CloseSession { id, answer } => {
                        let _ = answer.send(gateway.close_session(id));
                    }
                },
            }
        }
    }

    async fn reload(&mut self) -> Result<Vec<String>, String> {
        // Whoever rotates the file asks for it in this way, whatever stands in the configuration.
        self.gateway.reopen_audit();
        let Some(file) = self.file else {
            let reason = "started without --config: there is no file to read again".to_owned();
            tracing::error!("{reason}");
            return Err(reason);
        };
        let known = self.gateway.notices().to_vec();
        self.gateway.manager().reloading();
        let result = self.gateway.reload(file).await;
        self.gateway.manager().ready();
        match &result {
            Ok(changes) => {
                let level = self.gateway.config().telemetry.log.level;
                if let Err(error) = self.log.set_level(level) {
                    tracing::warn!(%error, "telemetry.log.level");
                }
                tracing::info!(file = %file.display(), "the configuration was read again");
                for change in changes {
                    tracing::info!("{change}");
                }
                for notice in self.gateway.notices().iter().filter(|new| !known.contains(new)) {
                    tracing::warn!("{notice}");
                }
            }
            Err(problems) => {
                tracing::error!(
                    file = %file.display(),
                    "the configuration stays as it was; what is wrong with the new one:"
                );
                for line in problems.lines() {
                    tracing::error!("{line}");
                }
            }
        }
        result
    }
}
