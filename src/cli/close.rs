//! `ftpgate close ID`: ends one session of a running gateway.

use super::SocketArguments;
use super::control::Gateway;
use std::process::ExitCode;

pub(super) fn execute(socket: &SocketArguments, id: u64) -> anyhow::Result<ExitCode> {
    let gateway = match Gateway::of(socket) {
        Ok(gateway) => gateway,
        Err(code) => return Ok(code),
    };
    gateway.ask("POST", &format!("/sessions/{id}/close"))?.text()?;
    println!("session {id} is closed");
    Ok(ExitCode::SUCCESS)
}
