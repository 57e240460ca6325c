//! `ftpgate completions SHELL`: what completes the commands in a shell.

use super::Cli;
use clap::CommandFactory;
use clap_complete::Shell;
use std::process::ExitCode;

pub(super) fn execute(shell: Shell) -> ExitCode {
    clap_complete::generate(shell, &mut Cli::command(), "ftpgate", &mut std::io::stdout());
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_completed_in_every_shell() {
        let names: Vec<String> =
            Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        assert!(names.len() > 10, "{names:?}");
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ftpgate", &mut text);
            let text = String::from_utf8(text).unwrap();
            for name in &names {
                assert!(text.contains(name.as_str()), "{name} in {shell}");
            }
        }
    }

    #[test]
    fn bash_takes_it() {
        let mut text = Vec::new();
        clap_complete::generate(Shell::Bash, &mut Cli::command(), "ftpgate", &mut text);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        // What bash itself offers behind `ftpgate re`.
        let script = "source \"$1\" && complete -p ftpgate && COMP_WORDS=(ftpgate re) COMP_CWORD=1 \
                      && _ftpgate ftpgate re ftpgate && echo \"${COMPREPLY[@]}\"";
        let arguments = ["--norc", "-c", script, "bash"];
        let ran = std::process::Command::new("bash").args(arguments).arg(file.path()).output();
        let ran = ran.expect("bash is there");
        let (said, complained) =
            (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{said}{complained}");
        assert!(said.contains("-F _ftpgate") && said.contains("\nreload\n"), "{said}");
    }
}
