//! What a configuration needs of the process that runs it, and the start without the rest.

use super::RunningGateway;
use super::settings::needs_transparency;
use crate::admin;
use crate::config::{ADMIN_SOCKET, Backend, Config, PathChoice};
use crate::confinement::{self, Confined, ConfinementError, Needs, Right, User};
use crate::telemetry::JOURNAL_SOCKET;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The first port that everybody may listen on, where the host says nothing else.
const FIRST_FREE_PORT: u16 = 1024;

/// What `config` needs: its rights, the files that a reload reads again (`file` is the
/// configuration's own), and those that are written.
pub fn needs(config: &Config, file: Option<&Path>) -> Needs {
    let mut rights = Vec::new();
    if config.firewall.backend == Backend::Nftables || needs_transparency(config) {
        rights.push(Right::NetAdmin);
    }
    let telemetry = config.telemetry.listen.map(|address| address.port());
    let data = (config.data.path != PathChoice::Kernel).then(|| config.data.ports.first());
    let listeners = config.listeners.iter().map(|listener| listener.listen.port());
    // 0 stands for any port that is free.
    let is_low = |port: u16| port != 0 && port < first_free_port();
    if listeners.chain(telemetry).chain(data).any(is_low) {
        rights.push(Right::NetBindService);
    }
    let files = config.tls_files().into_iter().chain(file);
    let written = config.telemetry.audit.path.iter().chain(&config.admin.socket);
    Needs {
        rights,
        reads: files.map(Path::to_owned).collect(),
        writes: written.cloned().collect(),
        connects: told(config),
    }
}

/// The folders that have to be there for what is written, and are not, a sentence each with what to do
/// for the gateway to run as `user`.
pub fn missing_folders(config: &Config, user: Option<&User>) -> Vec<String> {
    let audit = config.telemetry.audit.path.as_deref().and_then(Path::parent);
    // The socket's own folder is made.
    let socket = config.admin.socket.as_deref().and_then(Path::parent);
    let above = socket.filter(|folder| !folder.exists()).and_then(Path::parent);
    let of = |key: &str, needed: Option<&Path>, made: Option<&Path>| {
        let needed = needed.filter(|folder| !folder.as_os_str().is_empty())?;
        // One that may not be looked at is told as such.
        let missing = |folder: &&Path| matches!(folder.try_exists(), Ok(false));
        let topmost = needed.ancestors().take_while(missing).last()?;
        let how = confinement::how_to_make(made?, user);
        Some(format!("{key}: there is no folder {}: {how}", topmost.display()))
    };
    let audit = of("telemetry.audit.path", audit, audit);
    let socket = of("admin.socket", above, socket);
    audit.into_iter().chain(socket).collect()
}

/// The sockets of those who are told: a service manager, and the journal.
fn told(config: &Config) -> Vec<PathBuf> {
    // Others than a path are no files (sd_notify(3)).
    let manager = std::env::var_os("NOTIFY_SOCKET").map(PathBuf::from);
    let manager = manager.filter(|path| path.is_absolute());
    let journal = config.telemetry.audit.journald.then(|| PathBuf::from(JOURNAL_SOCKET));
    manager.into_iter().chain(journal).collect()
}

fn first_free_port() -> u16 {
    let read = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    read.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(FIRST_FREE_PORT)
}

/// Gives up what `config` does not need (`confinement`). Call it with the configuration and its
/// files read, ahead of [`super::open_control`] and [`super::start`], while the process has one thread.
///
/// # Errors
/// What the owner has asked for and cannot have.
pub fn confine(config: &Config, file: Option<&Path>) -> Result<Confined, ConfinementError> {
    let settings = &config.confinement;
    let user = confinement::user(settings)?;
    if let (Some(user), Some(socket)) = (&user, &config.admin.socket)
        && let Err(error) = prepare_folder(socket, user)
    {
        // Whether that matters is seen when the socket is made.
        tracing::debug!(%error, "the folder of the control socket");
    }
    confinement::confine(settings, user, &needs(config, file))
}

/// Makes the folder of the control socket, which `user` may not, and gives it to that user if it was
/// not there or is the usual one.
fn prepare_folder(socket: &Path, user: &User) -> io::Result<()> {
    let Some(folder) = socket.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    let is_new = !folder.try_exists()?;
    admin::make_folder(folder)?;
    let there = fs::symlink_metadata(folder)?;
    let is_roots = there.is_dir() && there.uid() == 0;
    if is_roots && (is_new || socket == Path::new(ADMIN_SOCKET)) {
        std::os::unix::fs::lchown(folder, Some(user.uid()), Some(user.gid()))?;
    }
    Ok(())
}

impl RunningGateway {
    /// Lets a reload know what was given up.
    pub fn set_confined(&mut self, confined: Confined) {
        self.confined = Some(confined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn of(text: &str) -> Needs {
        needs(&parse("/etc/ftpgate/x.yaml", text).unwrap(), Some(Path::new("/etc/ftpgate/x.yaml")))
    }

    #[test]
    fn rights_are_those_that_the_configuration_takes() {
        let relay = "data: { path: relay }\nfirewall: { backend: none }\n";
        for (listener, more, rights) in [
            ("{ server: 'h:21' }", relay, &[][..]),
            ("{ server: 'h:21' }", "", &[Right::NetAdmin]),
            ("{ server: 'h:21', source: client }", "", &[Right::NetAdmin]),
            ("{ server: 'h:21', listen: '0.0.0.0:21' }", relay, &[Right::NetBindService]),
            ("{ capture: tproxy, listen: '[::]:2121' }", "", &[Right::NetAdmin]),
        ] {
            let needs = of(&format!("listeners: [{listener}]\n{more}"));
            assert_eq!(needs.rights, rights, "{listener} {more}");
        }
        let low = "data: { path: relay, ports: 900-1100 }\nfirewall: { backend: none }\n";
        let needs = of(&format!("listeners: [{{ server: 'h:21' }}]\n{low}"));
        assert_eq!(needs.rights, [Right::NetBindService]);
    }

    #[test]
    fn folders_that_are_missing_are_told_however_deep() {
        let there = tempfile::tempdir().unwrap();
        let told = |audit: &str, socket: &str| {
            let path = |under: &str| there.path().join(under).display().to_string();
            let (audit, socket) = (path(audit), path(socket));
            let text = format!(
                "listeners: [{{ server: 'h:21' }}]\nadmin: {{ socket: {socket} }}\n\
                 telemetry: {{ audit: {{ path: {audit} }} }}\n"
            );
            missing_folders(&parse("x.yaml", &text).unwrap(), None)
        };
        // The folder of the socket is made.
        assert_eq!(told("a", "x/s"), Vec::<String>::new());
        let (audit, socket) = (there.path().join("a/b"), there.path().join("x/y"));
        let told = told("a/b/c", "x/y/s");
        let first = there.path().join("a").display().to_string();
        assert!(
            told[0].starts_with(&format!("telemetry.audit.path: there is no folder {first}: "))
        );
        assert!(told[0].ends_with(&format!(" -m 0750 {}", audit.display())), "{told:?}");
        assert!(told[1].ends_with(&format!(" -m 0750 {}", socket.display())), "{told:?}");
    }

    #[test]
    fn files_are_those_that_are_used() {
        let needs = of("listeners: [{ capture: tproxy, tls: { mode: intercept } }]\n\
             tls: { ca: { key: keys/ca.key } }\ntelemetry: { audit: { path: /var/log/a } }\n");
        let shown = |paths: &[PathBuf]| {
            paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        let reads = ["/etc/ftpgate/ca.crt", "/etc/ftpgate/keys/ca.key", "/etc/ftpgate/x.yaml"];
        assert_eq!(shown(&needs.reads), reads);
        assert_eq!(shown(&needs.writes), ["/var/log/a", ADMIN_SOCKET]);
        let clear = of("listeners: [{ server: 'h:21' }]\nadmin: { socket: null }\n");
        assert_eq!((clear.reads.len(), clear.writes.len()), (1, 0));
    }
}
