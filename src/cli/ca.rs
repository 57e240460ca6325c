//! `ftpgate ca`: makes the local CA, and shows it with what its owner does next.
//!
//! Exit codes as everywhere: 1 if a CA cannot be written or used, 2 for the configuration.

use super::complain;
use crate::config;
use crate::tls::ca::description::{Description, fingerprint};
use crate::tls::ca::{self, Authority, LONGEST_NAME, Plan, Serial, files};
use anyhow::Context;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;
use time::OffsetDateTime;

/// The commands about the local CA.
#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Make a CA: ca.crt for the clients, ca.key for nobody else. Never overwrites one.
    Init(InitArguments),
    /// Tell what the CA is, for how long, and how clients come to trust it.
    Show(ShowArguments),
}

/// How a CA is made.
#[derive(Debug, Args)]
pub struct InitArguments {
    /// The directory to write it to; made if there is none.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// How many days it is valid.
    #[arg(
        long,
        value_name = "N",
        default_value_t = TEN_YEARS,
        value_parser = clap::value_parser!(u32).range(1..=100 * 365)
    )]
    pub days: u32,
    /// Its name, which clients show; if not given, it has the host's name and the date in it.
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
}

/// Which CA is shown.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct ShowArguments {
    /// The directory of ca.crt and ca.key; the current one if nothing is given.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The configuration file that names it (tls.ca).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The life of a CA unless its owner wants another: as long as gateways live, since every client has
/// to be visited when it ends.
const TEN_YEARS: u32 = 3650;

pub(super) fn execute(command: &CaCommand) -> anyhow::Result<ExitCode> {
    match command {
        CaCommand::Init(arguments) => init(arguments, SystemTime::now()),
        CaCommand::Show(arguments) => show(arguments, SystemTime::now()),
    }
}

fn init(arguments: &InitArguments, now: SystemTime) -> anyhow::Result<ExitCode> {
    files::refuse_existing(&arguments.dir)?;
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => default_name(&host_name(), now),
    };
    let plan = Plan { name, days: arguments.days };
    let created = match ca::create(&plan, now, Serial::random()?) {
        Ok(created) => created,
        Err(fault @ ca::fault::Fault::Name) => {
            eprintln!("--name: {fault}");
            return Ok(ExitCode::from(super::EXIT_CONFIG));
        }
        Err(fault) => return Err(fault.into()),
    };
    let written = files::write(&arguments.dir, &created)?;
    // What was written is what will be read.
    let authority = Authority::load(&written.certificate, &written.key, SystemTime::now())?;
    print!(
        "certificate  {}   give it to the clients\n\
         key          {}   mode 0600: whoever has it can pose as any server to them\n\
         SHA-256      {}\n\
         \n\
         Next: `ftpgate ca show --dir {}` tells how clients come to trust it. Keep the key readable\n\
         to the user that runs ftpgate and to nobody else; leave it out of backups that others read.\n\
         A listener with tls.mode intercept or offload uses it, where tls.ca names it.\n",
        written.certificate.display(),
        written.key.display(),
        fingerprint(authority.certificate()),
        arguments.dir.display(),
    );
    Ok(ExitCode::SUCCESS)
}

/// The host's name, if it has one.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.chars().filter(|c| !c.is_control()).collect()
}

/// `local CA of HOST, DATE`: tells a CA from its predecessor, which clients may have as well.
fn default_name(host: &str, now: SystemTime) -> String {
    let date = OffsetDateTime::from(now).date().to_string();
    let without_host = "local CA of , ".len() + date.len();
    let host: String = host.chars().take(LONGEST_NAME.saturating_sub(without_host)).collect();
    match host.as_str() {
        "" => format!("local CA, {date}"),
        host => format!("local CA of {host}, {date}"),
    }
}

fn show(arguments: &ShowArguments, now: SystemTime) -> anyhow::Result<ExitCode> {
    let in_directory =
        |directory: &Path| (directory.join(files::CERTIFICATE), directory.join(files::KEY));
    let (certificate, key) = match (&arguments.dir, &arguments.config) {
        (Some(directory), _) => in_directory(directory),
        (None, Some(file)) => match config::load(file) {
            Ok(config) => (config.tls.ca.certificate, config.tls.ca.key),
            Err(problems) => return Ok(complain(&problems)),
        },
        (None, None) => in_directory(Path::new(".")),
    };
    let authority = Authority::load(&certificate, &key, now)?;
    let description = authority.describe(now).context("the certificate cannot be read again")?;
    print!("{}", tell(&description, &certificate, &key));
    Ok(ExitCode::SUCCESS)
}

fn tell(ca: &Description, certificate: &Path, key: &Path) -> String {
    let file = certificate.display();
    let signed_by = match &ca.issuer {
        Some(issuer) => format!("signed by     {issuer}\n"),
        None => String::new(),
    };
    format!(
        "\
subject       {}
{signed_by}SHA-256       {}
serial        {}
valid         {}
key           {}
constraints   {}
certificate   {file}
private key   {}, the certificate's own, readable to its owner only

On each client, compare the SHA-256 above with what the client shows. Copy the certificate, never the key.

  Debian, Ubuntu    cp ca.crt /usr/local/share/ca-certificates/ftpgate.crt && update-ca-certificates
  RHEL, Fedora      cp ca.crt /etc/pki/ca-trust/source/anchors/ftpgate.crt && update-ca-trust
  curl              curl --cacert {file} --ssl-reqd ftp://…
  lftp              set ssl:ca-file \"{file}\"
  Windows           certutil -addstore Root ca.crt
  FileZilla, WinSCP install it in the system where your version uses the system's trust store; else trust
                    the certificate at the first connection, when the chain shown ends in this
                    fingerprint, and again whenever it was issued anew (weekly, and at each restart
                    or reload)
  z/OS              add it as CERTAUTH to the key ring of the FTP client: RACDCERT CERTAUTH ADD and
                    RACDCERT CONNECT, or import it into the key database with gskkyman
",
        ca.subject,
        ca.fingerprint,
        ca.serial,
        ca.validity,
        ca.key,
        ca.constraints,
        key.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_default_name_has_host_and_date_and_fits() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        assert_eq!(default_name("gw1", now), "local CA of gw1, 2026-11-18");
        assert_eq!(default_name("", now), "local CA, 2026-11-18");
        let long = default_name(&"ü".repeat(300), now);
        assert_eq!(long.chars().count(), LONGEST_NAME);
        assert!(long.ends_with("ü, 2026-11-18"), "{long}");
    }
}
