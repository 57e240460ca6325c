//! The real program with a configuration, and what `/proc` tells of it.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Far beyond what a start takes, on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const BETWEEN: Duration = Duration::from_millis(20);

/// The user of hosts without the user `ftpgate`; these tests name it, whatever the host has.
pub(crate) const NOBODY: &str = "65532:65532";

pub(crate) const HIGH: &str = "0.0.0.0:2121";

/// A field of every thread's status, all the same.
#[track_caller]
pub(crate) fn field_of(child: &Child, name: &str) -> String {
    let tasks = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let of = |status: String| {
        let mut lines = status.lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        found.unwrap_or_default().trim().replace('\t', " ")
    };
    let read = |path: std::path::PathBuf| of(fs::read_to_string(path.join("status")).unwrap());
    let mut found: Vec<String> = tasks.map(|task| read(task.unwrap().path())).collect();
    assert!(found.len() > 1, "a gateway has more threads than one");
    found.dedup();
    assert_eq!(found.len(), 1, "{name} differs between threads: {found:?}");
    found.remove(0)
}

/// A gateway that runs in a folder of its own.
pub(crate) struct Gateway {
    pub(crate) child: Child,
    pub(crate) folder: TempDir,
}

impl Gateway {
    /// Starts it with a listener and these lines of configuration; `mode` is that of the folder.
    pub(crate) fn start(mode: u32, listen: &str, text: &str) -> Self {
        Self::start_as(Command::new(env!("CARGO_BIN_EXE_ftpgate")), mode, listen, text)
    }

    pub(crate) fn start_as(mut command: Command, mode: u32, listen: &str, text: &str) -> Self {
        let folder = folder(mode);
        let file = folder.path().join("ftpgate.yaml");
        fs::write(&file, configuration(listen, text)).unwrap();
        command.args(["run", "--config"]).arg(&file).stdout(Stdio::null());
        command.stderr(File::create(folder.path().join("log")).unwrap());
        // SAFETY: a single system call between fork and exec: a network of its own, where every
        // port is free and a firewall disturbs nobody.
        unsafe {
            command.pre_exec(|| match libc::unshare(libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            });
        }
        let mut gateway = Self { child: command.spawn().unwrap(), folder };
        gateway.wait_for(" runs");
        gateway
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    #[track_caller]
    pub(crate) fn wait_for(&mut self, words: &str) {
        let begun = Instant::now();
        while !self.log().contains(words) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?} without `{words}`:\n{}", self.log());
            assert!(begun.elapsed() < PATIENCE, "no `{words}`:\n{}", self.log());
            std::thread::sleep(BETWEEN);
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> String {
        field_of(&self.child, name)
    }

    #[track_caller]
    pub(crate) fn set(&self, name: &str) -> u64 {
        u64::from_str_radix(&self.field(name), 16).unwrap()
    }

    /// That nothing but `capabilities` is left, or can come back.
    #[track_caller]
    pub(crate) fn has_only(&self, capabilities: u64) {
        for (name, expected) in
            [("CapEff", capabilities), ("CapPrm", capabilities), ("CapInh", 0), ("CapAmb", 0)]
        {
            let found = self.set(name);
            assert_eq!(found, expected, "{name}: {found:x} {expected:x}\n{}", self.log());
        }
        assert_eq!((self.field("NoNewPrivs"), self.field("Seccomp")), ("1".into(), "2".into()));
    }

    pub(crate) fn end(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.child.wait().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn folder(mode: u32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
    folder
}

pub(crate) fn configuration(listen: &str, text: &str) -> String {
    let network = if text.contains("firewall") {
        ""
    } else {
        "data: { path: relay }\nfirewall: { backend: none }\n"
    };
    let admin = if text.contains("admin") { "" } else { "admin: { socket: null }\n" };
    let telemetry = if text.contains("telemetry") { "" } else { "telemetry: { listen: null }\n" };
    format!(
        "listeners: [{{ listen: \"{listen}\", server: \"127.0.0.1:9\" }}]\n\
         {network}{admin}{telemetry}{text}"
    )
}

pub(crate) fn as_nobody(more: &str) -> String {
    format!("confinement: {{ user: \"{NOBODY}\"{more} }}\n")
}
