//! `ftpgate drain`: a running gateway takes no more sessions, finishes its transfers, and ends.

use super::SocketArguments;
use super::control::Gateway;
use std::process::ExitCode;

pub(super) fn execute(socket: &SocketArguments) -> anyhow::Result<ExitCode> {
    let gateway = match Gateway::of(socket) {
        Ok(gateway) => gateway,
        Err(code) => return Ok(code),
    };
    gateway.ask("POST", "/drain")?.text()?;
    println!("no more sessions are taken; `ftpgate sessions` shows what still runs");
    Ok(ExitCode::SUCCESS)
}
