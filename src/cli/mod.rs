//! The command line: one file a command.
//!
//! Exit codes: 0 well, 1 failed at run time, 2 usage or configuration.

pub mod ca;
pub mod check;
pub mod close;
pub mod completions;
mod control;
pub mod doctor;
pub mod drain;
pub mod man;
pub mod observe;
pub mod reload;
pub mod rules;
pub mod run;
pub mod sessions;
mod table;
pub mod top;

use crate::config::{self, Problems};
use clap::{Args, Parser, Subcommand};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// FTP and FTPS through NAT and firewalls.
#[derive(Debug, Parser)]
#[command(name = "ftpgate", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway, from a configuration file or in front of one server.
    Run(RunArguments),
    /// Read a configuration file and tell what it means, or everything that is wrong with it.
    Check(check::CheckArguments),
    /// Print the nftables rules that a configuration leads to, and those that its owner adds.
    Rules(ConfigArguments),
    /// The local CA, which signs what clients see where TLS is terminated.
    Ca {
        /// What to do with it.
        #[command(subcommand)]
        command: ca::CaCommand,
    },
    /// Show a gateway at work: client, gateway and server in network namespaces of their own.
    Demo {
        /// Keep it up, and print how to try a client of one's own in it.
        #[arg(long)]
        hold: bool,
    },
    /// Tell what this host has and lacks.
    Doctor {
        /// A configuration file: also what it needs of the process, and what a gateway that runs with
        /// it has given up.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Look at FTP from aside, on an interface or in a capture file: what a gateway would do for it,
    /// and what fails without. Nothing is sent or changed.
    Observe(observe::ObserveArguments),
    /// List the sessions of a running gateway.
    Sessions {
        /// Where the gateway is asked.
        #[command(flatten)]
        socket: SocketArguments,
        /// All that the gateway tells, as JSON (docs/control.md).
        #[arg(long)]
        json: bool,
    },
    /// Watch the sessions of a running gateway.
    Top(SocketArguments),
    /// End one session of a running gateway, with the data connections that the relay carries.
    Close {
        /// Where the gateway is asked.
        #[command(flatten)]
        socket: SocketArguments,
        /// Its number, as `ftpgate sessions` and the log have it.
        id: u64,
    },
    /// Let a running gateway take no more sessions, finish its transfers, and end.
    Drain(SocketArguments),
    /// Let a running gateway read its configuration file again.
    Reload(SocketArguments),
    /// Print what completes these commands in a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one for each command.
    Man {
        /// The folder; made if it is missing.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
}

/// Which gateway is asked: the one at the usual socket, unless something else is said.
#[derive(Debug, Default, Args)]
pub struct SocketArguments {
    /// Its control socket.
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    pub socket: Option<PathBuf>,
    /// Its configuration file, which says where the control socket is (admin.socket).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Where the configuration comes from.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct RunArguments {
    /// The configuration file (YAML).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["listen", "server"])]
    pub config: Option<PathBuf>,
    /// Listen here, for the one server of --server; needs neither a file nor a privilege.
    #[arg(long, value_name = "ADDR", requires = "server")]
    pub listen: Option<SocketAddr>,
    /// The FTP server, by name or address; IPv6 addresses in brackets.
    #[arg(long, value_name = "HOST:PORT", requires = "listen")]
    pub server: Option<String>,
}

/// A command about a configuration file.
#[derive(Debug, Args)]
pub struct ConfigArguments {
    /// The configuration file (YAML).
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Exit code for a configuration that cannot be used.
pub(crate) const EXIT_CONFIG: u8 = 2;

/// Prints what is wrong with a configuration.
pub(crate) fn complain(problems: &Problems) -> ExitCode {
    eprintln!("{problems}");
    ExitCode::from(EXIT_CONFIG)
}

/// Writes a command's answer. Whoever reads may have seen enough, which is no failure.
fn show(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn success_if(well: bool) -> ExitCode {
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Does what the command line says.
///
/// # Errors
/// What failed at run time.
pub fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Run(arguments) => run::execute(&arguments),
        Command::Check(arguments) => check::execute(&arguments),
        Command::Rules(arguments) => rules::execute(&arguments),
        Command::Ca { command } => ca::execute(&command),
        Command::Demo { hold } => crate::demo::run(crate::demo::Options { hold }).map(success_if),
        Command::Observe(arguments) => observe::execute(&arguments),
        Command::Doctor { config } => Ok(match config {
            None => success_if(doctor::run(None)),
            Some(file) => match config::load(&file) {
                Ok(config) => success_if(doctor::run(Some((&config, &file)))),
                Err(problems) => complain(&problems),
            },
        }),
        Command::Sessions { socket, json } => sessions::execute(&socket, json),
        Command::Top(socket) => top::execute(&socket),
        Command::Close { socket, id } => close::execute(&socket, id),
        Command::Drain(socket) => drain::execute(&socket),
        Command::Reload(socket) => reload::execute(&socket),
        Command::Completions { shell } => Ok(completions::execute(shell)),
        Command::Man { dir } => man::execute(&dir),
    }
}
