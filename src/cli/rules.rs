//! `ftpgate rules`: the nftables text of a configuration. Nothing is installed.

use super::{ConfigArguments, complain, show};
use crate::app;
use crate::config::{self, Backend, Capture, Config, PathChoice};
use crate::firewall;
use std::process::ExitCode;

/// Stands for the data listener's port, which the kernel chooses at start.
const SOME_PORT: u16 = 65535;

pub(super) fn execute(arguments: &ConfigArguments) -> anyhow::Result<ExitCode> {
    let config = match config::load(&arguments.config) {
        Ok(config) => config,
        Err(problems) => return Ok(complain(&problems)),
    };
    if config.firewall.backend == Backend::None {
        show("# firewall.backend is none: ftpgate installs no rules.\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let intake = app::needs_transparency(&config)
        .then_some(firewall::Intake { v4: Some(SOME_PORT), v6: Some(SOME_PORT) });
    let settings = app::firewall_settings(&config, intake);
    let mut text =
        "# What ftpgate installs by itself at start, and takes away when it ends.\n".to_owned();
    if settings.intake.is_some() {
        text += &format!("# Port {SOME_PORT} stands for a local port that is chosen at start.\n");
    }
    text += &firewall::render(&settings);
    text += "\n# What the owner of the firewall adds:\n";
    text += &firewall::owner_rules(&settings);
    text += &input_rules(&config);
    show(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What peers dial on the gateway itself, where its input policy is to drop.
fn input_rules(config: &Config) -> String {
    let mut text = String::new();
    for listener in config.listeners.iter().filter(|l| l.capture == Capture::Direct) {
        let port = listener.listen.port();
        text += &format!(
            "# Clients of the listener {}:\nadd rule inet filter input tcp dport {port} accept\n",
            listener.name
        );
    }
    if config.data.path != PathChoice::Kernel {
        // On a host that is no replica of the file's, the ports of all.
        let ports = app::own_ports(config).map_or(config.data.ports, |(own, _)| own);
        text += &format!(
            "# Data connections that the gateway carries itself (data.ports); only the awaited peer is\n\
             # served:\nadd rule inet filter input tcp dport {ports} accept\n"
        );
    }
    text
}
