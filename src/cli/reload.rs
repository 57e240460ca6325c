//! `ftpgate reload`: a running gateway reads its configuration file again.

use super::SocketArguments;
use super::control::Gateway;
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
    if changes.is_empty() {
        println!("nothing has changed");
    }
    for change in changes.iter().filter_map(Value::as_str) {
        println!("{change}");
    }
    Ok(ExitCode::SUCCESS)
}
