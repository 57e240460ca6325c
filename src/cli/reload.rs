//! `ftpgate reload`: a running gateway reads its configuration file again.

use super::control::Gateway;
use super::{SocketArguments, show};
use serde_json::Value;
use std::process::ExitCode;

pub(super) fn execute(socket: &SocketArguments) -> anyhow::Result<ExitCode> {
    let gateway = match Gateway::of(socket) {
        Ok(gateway) => gateway,
        Err(code) => return Ok(code),
    };
    let answer = gateway.ask("POST", "/reload")?;
    if let Err(reason) = answer.text() {
        eprintln!("ftpgate: the gateway goes on as before: {reason}");
        return Ok(ExitCode::FAILURE);
    }
    let answer = answer.json();
    let changes = answer.get("changes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let lines = changes.iter().filter_map(Value::as_str).map(|change| format!("{change}\n"));
    show(&lines.collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}
