//! `ftpgate man --dir DIR`: the manual pages, one for each command.

use super::Cli;
use anyhow::Context;
use clap::CommandFactory;
use std::path::Path;
use std::process::ExitCode;

pub(super) fn execute(dir: &Path) -> anyhow::Result<ExitCode> {
    let failed = || format!("cannot write manual pages to {}", dir.display());
    std::fs::create_dir_all(dir).with_context(failed)?;
    clap_mangen::generate_to(Cli::command(), dir).with_context(failed)?;
    println!("written to {}; read one with `man -l {0}/ftpgate.1`", dir.display());
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn every_command_has_its_page_and_each_can_be_set() {
        let folder = tempfile::tempdir().unwrap();
        execute(folder.path()).unwrap();
        let formatter = ["groff", "mandoc"]
            .into_iter()
            .find(|name| Command::new(name).arg("--version").output().is_ok());
        for name in Cli::command().get_subcommands().map(clap::Command::get_name) {
            let page = folder.path().join(format!("ftpgate-{name}.1"));
            let text = std::fs::read_to_string(&page).unwrap();
            assert!(text.contains(".SH SYNOPSIS") && text.contains(name), "{name}");
            let Some(formatter) = formatter else { continue };
            let arguments: &[&str] = match formatter {
                "groff" => &["-man", "-Tutf8", "-ww"],
                _ => &["-T", "lint"],
            };
            let ran = Command::new(formatter).args(arguments).arg(&page).output().unwrap();
            assert!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
        }
    }
}
