//! `ftpgate close ID`: ends one session of a running gateway.

use super::control::Gateway;
use super::{SocketArguments, show};
use std::process::ExitCode;

pub(super) fn execute(socket: &SocketArguments, id: u64) -> anyhow::Result<ExitCode> {
    let gateway = match Gateway::of(socket) {
        Ok(gateway) => gateway,
        Err(code) => return Ok(code),
    };
    gateway.ask("POST", &format!("/sessions/{id}/close"))?.text()?;
    show(&format!("session {id} is closed\n"))?;
    Ok(ExitCode::SUCCESS)
}
