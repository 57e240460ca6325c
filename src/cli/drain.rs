//! `ftpgate drain`: a running gateway takes no more sessions, finishes its transfers, and ends.

use super::control::Gateway;
use super::{SocketArguments, show};
use std::process::ExitCode;

pub(super) fn execute(socket: &SocketArguments) -> anyhow::Result<ExitCode> {
    let gateway = match Gateway::of(socket) {
        Ok(gateway) => gateway,
        Err(code) => return Ok(code),
    };
    gateway.ask("POST", "/drain")?.text()?;
    show("no more sessions are taken; `ftpgate sessions` shows what still runs\n")?;
    Ok(ExitCode::SUCCESS)
}
