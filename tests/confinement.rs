//! What a gateway has given up, as `/proc` tells it of every thread of the real program; and what the
//! kernel then does with what is forbidden, by this program, which confines itself by the same function.
//!
//! Without the usual harness, since a process is confined while it has one thread. Needs root;
//! skips loudly elsewhere.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

use ftpgate::confinement::{self, Needs, Settings, UserChoice};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Far beyond what a start takes, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN: Duration = Duration::from_millis(20);

/// The user of hosts without the user `ftpgate`; these tests name it, whatever the host has.
const NOBODY: &str = "65532:65532";

const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_ADMIN: u64 = 1 << 12;
const DAC_OVERRIDE: u64 = 1 << 1;
const DAC_READ_SEARCH: u64 = 1 << 2;

const TESTS: &[(&str, fn())] = &[
    ("root_becomes_another_user_in_every_thread", root_becomes_another_user_in_every_thread),
    ("what_the_firewall_takes_is_kept", what_the_firewall_takes_is_kept),
    ("ambient_capabilities_go_as_well", ambient_capabilities_go_as_well),
    ("each_part_can_be_switched_off_with_a_warning", each_part_can_be_switched_off_with_a_warning),
    ("files_of_root_are_reached_all_the_same", files_of_root_are_reached_all_the_same),
    ("a_user_that_is_not_there_is_said", a_user_that_is_not_there_is_said),
    ("a_reload_cannot_reach_further", a_reload_cannot_reach_further),
    ("what_is_forbidden_fails", what_is_forbidden_fails),
    ("what_is_hostile_ends_the_process", what_is_hostile_ends_the_process),
    ("a_panic_is_told_as_ever", a_panic_is_told_as_ever),
    ("observe_keeps_what_is_open", observe_keeps_what_is_open),
    ("check_and_doctor_tell_what_is_kept", check_and_doctor_tell_what_is_kept),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [confined, deed, folder] = arguments.as_slice()
        && confined == "--confined"
    {
        return confined_deed(deed, Path::new(folder));
    }
    if arguments.iter().any(|argument| argument == "--list") {
        TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    let tests: Vec<_> =
        TESTS.iter().filter(|(name, _)| wanted.is_none_or(|w| name.contains(w.as_str()))).collect();
    let count = tests.len();
    println!("\nrunning {count} tests");
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED {count} tests of tests/confinement.rs: they need root");
        println!(
            "test result: ok. 0 passed; 0 failed; {count} ignored; 0 measured; 0 filtered out"
        );
        return ExitCode::SUCCESS;
    }
    let failed = tests
        .iter()
        .filter(|(name, test)| {
            let well = catch_unwind(AssertUnwindSafe(test)).is_ok();
            println!("test {name} ... {}", if well { "ok" } else { "FAILED" });
            !well
        })
        .count();
    let (passed, word) = (count - failed, if failed == 0 { "ok" } else { "FAILED" });
    println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A field of every thread's status, all the same.
#[track_caller]
fn field_of(child: &Child, name: &str) -> String {
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
struct Gateway {
    child: Child,
    folder: TempDir,
}

impl Gateway {
    /// Starts it with a listener and these lines of configuration; `mode` is that of the folder.
    fn start(mode: u32, listen: &str, text: &str) -> Self {
        Self::start_as(Command::new(env!("CARGO_BIN_EXE_ftpgate")), mode, listen, text)
    }

    fn start_as(mut command: Command, mode: u32, listen: &str, text: &str) -> Self {
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

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    #[track_caller]
    fn wait_for(&mut self, words: &str) {
        let begun = Instant::now();
        while !self.log().contains(words) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?} without `{words}`:\n{}", self.log());
            assert!(begun.elapsed() < PATIENCE, "no `{words}`:\n{}", self.log());
            std::thread::sleep(BETWEEN);
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    #[track_caller]
    fn field(&self, name: &str) -> String {
        field_of(&self.child, name)
    }
    #[track_caller]
    fn set(&self, name: &str) -> u64 {
        u64::from_str_radix(&self.field(name), 16).unwrap()
    }

    /// That nothing but `capabilities` is left, or can come back.
    #[track_caller]
    fn has_only(&self, capabilities: u64) {
        for (name, expected) in
            [("CapEff", capabilities), ("CapPrm", capabilities), ("CapInh", 0), ("CapAmb", 0)]
        {
            let found = self.set(name);
            assert_eq!(found, expected, "{name}: {found:x} {expected:x}\n{}", self.log());
        }
        assert_eq!((self.field("NoNewPrivs"), self.field("Seccomp")), ("1".into(), "2".into()));
    }

    fn end(mut self) -> ExitStatus {
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

fn folder(mode: u32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
    folder
}

fn configuration(listen: &str, text: &str) -> String {
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

const HIGH: &str = "0.0.0.0:2121";

fn as_nobody(more: &str) -> String {
    format!("confinement: {{ user: \"{NOBODY}\"{more} }}\n")
}

fn root_becomes_another_user_in_every_thread() {
    let gateway = Gateway::start(0o755, HIGH, &as_nobody(""));
    gateway.has_only(0);
    assert_eq!(gateway.set("CapBnd"), 0);
    for name in ["Uid", "Gid"] {
        assert_eq!(gateway.field(name), "65532 65532 65532 65532", "{name}");
    }
    assert_eq!(gateway.field("Groups"), "");
    let log = gateway.log();
    assert!(log.contains("no capability, no_new_privs, seccomp, Landlock"), "{log}");
    assert!(!log.contains("confinement."), "nothing to warn of:\n{log}");
    assert!(gateway.end().success());
    // Whoever it is on this host.
    let gateway = Gateway::start(0o755, HIGH, "");
    assert!(!gateway.field("Uid").split(' ').any(|uid| uid == "0"), "{}", gateway.log());
    gateway.has_only(0);
}

fn what_the_firewall_takes_is_kept() {
    let firewall = "firewall: { backend: nftables }\ndata: { path: auto }\n";
    let gateway = Gateway::start(0o755, "0.0.0.0:21", &(as_nobody("") + firewall));
    gateway.has_only(NET_ADMIN | NET_BIND_SERVICE);
    let gateway = Gateway::start(0o755, HIGH, &(as_nobody("") + firewall));
    gateway.has_only(NET_ADMIN);
    assert!(gateway.end().success());
}

fn ambient_capabilities_go_as_well() {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=4000", "--regid=4000", "--clear-groups"]);
    command.args(["--inh-caps=+net_admin,+net_raw,+net_bind_service"]);
    command.args(["--ambient-caps=+net_admin,+net_raw,+net_bind_service"]);
    command.arg(env!("CARGO_BIN_EXE_ftpgate"));
    if !reachable(env!("CARGO_BIN_EXE_ftpgate")) {
        println!("SKIPPED in part: another user cannot start a program from this folder");
        return;
    }
    let gateway = Gateway::start_as(command, 0o755, "0.0.0.0:21", "");
    gateway.has_only(NET_BIND_SERVICE);
    assert_eq!(gateway.field("Uid"), "4000 4000 4000 4000");
}

/// True if everybody may open `file`, as far as the modes of the folders above it say.
fn reachable(file: &str) -> bool {
    let mut folders = Path::new(file).ancestors().skip(1);
    folders.all(|folder| fs::metadata(folder).is_ok_and(|of| of.permissions().mode() & 1 == 1))
}

fn each_part_can_be_switched_off_with_a_warning() {
    let none = [("NoNewPrivs", "1"), ("Seccomp", "2")];
    for (off, warning, fields) in [
        (
            ", seccomp: false",
            "confinement.seccomp is false",
            [("NoNewPrivs", "1"), ("Seccomp", "0")],
        ),
        (", landlock: false", "confinement.landlock is false", none),
        (", capabilities: keep", "confinement.capabilities is keep", none),
        (
            ", no_new_privs: false, seccomp: false, landlock: false",
            "confinement.no_new_privs is false",
            [("NoNewPrivs", "0"), ("Seccomp", "0")],
        ),
    ] {
        let gateway = Gateway::start(0o755, HIGH, &as_nobody(off));
        assert!(gateway.log().contains(warning), "{off}\n{}", gateway.log());
        for (name, expected) in fields {
            assert_eq!(gateway.field(name), expected, "{off} {name}");
        }
        let kept = gateway.set("CapEff");
        assert_eq!(kept == 0, !off.contains("keep"), "{off} {kept:x}");
        assert_eq!(gateway.field("Uid"), "65532 65532 65532 65532", "{off}");
    }
    let gateway = Gateway::start(0o755, HIGH, "confinement: { user: null }\n");
    gateway.has_only(0);
    assert_eq!(gateway.field("Uid"), "0 0 0 0");
    assert!(gateway.log().contains("confinement.user is null: ftpgate stays root"));
}

fn files_of_root_are_reached_all_the_same() {
    let audit = "telemetry: { listen: null, audit: { path: audit.jsonl } }\n\
                 admin: { socket: admin.sock }\n";
    let mut gateway = Gateway::start(0o700, HIGH, &(as_nobody("") + audit));
    gateway.has_only(DAC_OVERRIDE | DAC_READ_SEARCH);
    let log = gateway.log();
    let inside = gateway.folder.path().display();
    for better in [
        format!("better: chgrp 65532 {inside} && chmod g+x {inside}"),
        "write /var/lib/ftpgate/audit.jsonl, and make that folder: install -d -o 65532".to_owned(),
    ] {
        assert!(log.contains(&better), "{better}\n{log}");
    }
    let path = |name: &str| gateway.folder.path().join(name);
    fs::rename(path("audit.jsonl"), path("audit.jsonl.1")).unwrap();
    assert!(path("admin.sock").exists());
    let (audit, socket) = (path("audit.jsonl"), path("admin.sock"));
    gateway.signal(Signal::HUP);
    gateway.wait_for("telemetry.audit.path is opened anew");
    gateway.wait_for("the configuration was read again");
    assert!(audit.exists());
    gateway.signal(Signal::TERM);
    assert!(gateway.child.wait().unwrap().success());
    assert!(!socket.exists(), "it is removed at the end");
    // What belongs to the user takes no capability at all.
    let folder = folder(0o700);
    chown(folder.path(), Some(65_532), Some(65_532)).unwrap();
    let file = folder.path().join("audit.jsonl").display().to_string();
    let audit = format!("telemetry: {{ listen: null, audit: {{ path: {file} }} }}\n");
    let gateway = Gateway::start(0o755, HIGH, &(as_nobody("") + &audit));
    gateway.has_only(0);
}

fn a_user_that_is_not_there_is_said() {
    let folder = folder(0o755);
    let file = folder.path().join("x.yaml");
    fs::write(&file, configuration(HIGH, "confinement: { user: nosuchuser }\n")).unwrap();
    for command in ["run", "check"] {
        let mut told = Command::new(env!("CARGO_BIN_EXE_ftpgate"));
        let told = told.args([command, "--config"]).arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&told.stderr).into_owned();
        assert_eq!(told.status.code(), Some(2), "{text}");
        let expected = "confinement.user: there is no user `nosuchuser` in /etc/passwd: make one";
        assert!(text.contains(expected), "{text}");
    }
}

fn a_reload_cannot_reach_further() {
    let elsewhere = folder(0o755);
    let mut gateway = Gateway::start(0o755, HIGH, &as_nobody(""));
    let roots = elsewhere.path().join("roots.pem").display().to_string();
    fs::write(&roots, "").unwrap();
    let file = gateway.folder.path().join("ftpgate.yaml");
    let change = |text: &str| fs::write(&file, configuration(HIGH, &(as_nobody("") + text)));
    let originate = format!("tls: {{ server: {{ roots: {roots} }} }}\n");
    let originate = configuration(HIGH, &(as_nobody("") + &originate));
    let ends_here = "\"127.0.0.1:9\", tls: { mode: originate } }";
    fs::write(&file, originate.replace("\"127.0.0.1:9\" }", ends_here)).unwrap();
    gateway.signal(Signal::HUP);
    gateway.wait_for("is outside of the folders that were open at the start");
    assert!(gateway.log().contains(&roots), "{}", gateway.log());
    let low = configuration("0.0.0.0:21", &as_nobody(""));
    fs::write(&file, low).unwrap();
    gateway.signal(Signal::HUP);
    gateway.wait_for("CAP_NET_BIND_SERVICE is needed now");
    change("").unwrap();
    gateway.signal(Signal::HUP);
    gateway.wait_for("nothing is different");
}

/// This program, confined for a configuration in `folder`, doing one deed.
fn confined(deed: &str, folder: &Path) -> (ExitStatus, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--confined", deed]).arg(folder).env("RUST_BACKTRACE", "1");
    let told = command.output().unwrap();
    (told.status, String::from_utf8_lossy(&told.stderr).into_owned())
}

fn what_is_forbidden_fails() {
    let folder = folder(0o755);
    for deed in
        ["read", "write", "packets", "fork", "execute-memory", "terminal", "work", "only-open"]
    {
        let (status, told) = confined(deed, folder.path());
        assert_eq!(status.code(), Some(0), "{deed}: {status} {told}");
    }
}

fn what_is_hostile_ends_the_process() {
    let folder = folder(0o755);
    for deed in ["execve", "ptrace", "unshare", "mount", "setuid"] {
        let (status, told) = confined(deed, folder.path());
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{deed}: {status} {told}");
    }
}

fn a_panic_is_told_as_ever() {
    let (status, told) = confined("panic", folder(0o755).path());
    assert_eq!(status.code(), Some(101), "{told}");
    // With the names of functions, which stand in the program's own file.
    assert!(told.contains("as ever") && told.contains("confined_deed"), "{told}");
}

fn observe_keeps_what_is_open() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ftpgate"));
    command.args(["observe", "--read", "-", "--json"]);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut observe = piped.spawn().unwrap();
    let threads = |child: &Child| {
        fs::read_dir(format!("/proc/{}/task", child.id())).map_or(0, |tasks| tasks.count())
    };
    let begun = Instant::now();
    // It is confined before it starts the second one.
    while threads(&observe) < 2 {
        assert!(begun.elapsed() < PATIENCE && observe.try_wait().unwrap().is_none());
        std::thread::sleep(BETWEEN);
    }
    for (name, expected) in [
        ("Uid", "65532 65532 65532 65532"),
        ("CapEff", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        let found = field_of(&observe, name);
        let own_user = name == "Uid" && found != "0 0 0 0";
        assert!(own_user || found == expected, "{name}: {found}");
    }
    // An empty capture: the head of the file and nothing else.
    let head = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    observe.stdin.take().unwrap().write_all(&head).unwrap();
    let told = observe.wait_with_output().unwrap();
    let (out, errors) =
        (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success() && out.contains("\"summary\""), "{out}{errors}");
    assert_eq!(errors, "", "nothing to warn of");
}

fn check_and_doctor_tell_what_is_kept() {
    let audit = "telemetry: { listen: null, audit: { path: deep/er/audit.jsonl } }\n\
                 admin: { socket: admin.sock }\n";
    let folder = folder(0o700);
    let file = folder.path().join("ftpgate.yaml");
    let shown = |command: &str, text: &str| {
        fs::write(&file, configuration(HIGH, &(as_nobody("") + text))).unwrap();
        let mut told = Command::new(env!("CARGO_BIN_EXE_ftpgate"));
        let told = told.args([command, "--config"]).arg(&file).output().unwrap();
        String::from_utf8_lossy(&told.stdout).into_owned()
    };
    let check = shown("check", audit);
    let missing =
        format!("audit.path: there is no folder {}/deep: install -d", folder.path().display());
    for expected in ["with CAP_DAC_READ_SEARCH CAP_DAC_OVERRIDE\n", &missing] {
        assert!(check.contains(expected), "{expected}\n{check}");
    }
    let doctor = shown("doctor", audit);
    for expected in [
        "you: user 0, in effect: ",
        "keeps CAP_DAC_READ_SEARCH CAP_DAC_OVERRIDE",
        "-> CAP_DAC_READ_SEARCH CAP_DAC_OVERRIDE for files that the user may not read; files",
        "Missing for this configuration: 1.",
    ] {
        assert!(doctor.contains(expected), "{expected}\n{doctor}");
    }
    let audit = audit.replace("deep/er/", "");
    let gateway = Gateway::start(0o700, HIGH, &(as_nobody("") + &audit));
    let mut told = Command::new(env!("CARGO_BIN_EXE_ftpgate"));
    let told = told.args(["doctor", "--config"]).arg(gateway.folder.path().join("ftpgate.yaml"));
    let doctor = String::from_utf8_lossy(&told.output().unwrap().stdout).into_owned();
    let running = format!(
        "process {}: user 65532, in effect: CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH, ambient: none, \
         no_new_privs on, seccomp on",
        gateway.child.id()
    );
    assert!(doctor.contains(&running), "{running}\n{doctor}");
}

/// Confines this process and does what a program that was taken over would.
fn confined_deed(deed: &str, folder: &Path) -> ExitCode {
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::set_permissions(outside.path(), Permissions::from_mode(0o666)).unwrap();
    let outside = outside.into_temp_path();
    if deed == "only-open" {
        return only_open();
    }
    fs::write(folder.join("inside"), "x").unwrap();
    chown(folder, Some(65_532), None).unwrap();
    let needs = Needs {
        rights: Vec::new(),
        reads: vec![folder.join("inside")],
        writes: vec![folder.join("audit")],
        connects: Vec::new(),
    };
    let settings = Settings { user: UserChoice::Named(NOBODY.to_owned()), ..Settings::default() };
    let user = confinement::user(&settings).unwrap();
    let confined = confinement::confine(&settings, user, &needs).unwrap();
    assert!(confined.warnings.is_empty(), "{:?}", confined.warnings);
    let failed = |result: i64, wanted: i32| {
        let error = io::Error::last_os_error().raw_os_error();
        assert_eq!((result, error), (-1, Some(wanted)));
    };
    let refused = |error: io::Error| assert_eq!(error.raw_os_error(), Some(libc::EACCES));
    // SAFETY: none of these calls is let through, or changes what this program relies on.
    unsafe {
        match deed {
            "read" => refused(fs::read(&outside).unwrap_err()),
            "write" => {
                refused(fs::write(&outside, "x").unwrap_err());
                refused(fs::write("/var/tmp/ftpgate-confined", "x").unwrap_err());
            }
            "packets" => {
                failed(libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0).into(), libc::ENOSYS)
            }
            "fork" => failed(libc::fork().into(), libc::ENOSYS),
            "execute-memory" => {
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                let rights = libc::PROT_READ | libc::PROT_WRITE;
                let map = |rights| libc::mmap(std::ptr::null_mut(), 4096, rights, flags, -1, 0);
                assert_eq!(map(rights | libc::PROT_EXEC), libc::MAP_FAILED);
                let page = map(rights);
                failed(libc::mprotect(page, 4096, libc::PROT_EXEC).into(), libc::ENOSYS);
            }
            "terminal" => failed(libc::ioctl(0, libc::TIOCSTI, c"x".as_ptr()).into(), libc::ENOSYS),
            "work" => works(folder),
            "execve" => drop(Command::new("/bin/true").exec()),
            "ptrace" => drop(libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0)),
            "unshare" => drop(libc::unshare(libc::CLONE_NEWUSER)),
            "mount" => drop(libc::umount(c"/proc".as_ptr())),
            "setuid" => drop(libc::setuid(0)),
            "panic" => panic!("as ever"),
            other => panic!("no deed {other}"),
        }
    }
    ExitCode::SUCCESS
}

/// What is left to whoever keeps what is open.
fn only_open() -> ExitCode {
    let mut passwd = File::open("/etc/passwd").unwrap();
    let warnings = confinement::confine_to_what_is_open().unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let mut text = String::new();
    assert!(passwd.read_to_string(&mut text).unwrap() > 0);
    for closed in ["/etc/passwd", "/proc/self/status", "/usr/bin/env"] {
        let error = File::open(closed).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{closed}");
    }
    assert!(std::thread::spawn(|| 7).join().is_ok());
    ExitCode::SUCCESS
}

/// What has to go on.
fn works(folder: &Path) {
    use std::net::ToSocketAddrs;
    assert_eq!(fs::read_to_string(folder.join("inside")).unwrap(), "x");
    fs::write(folder.join("audit"), "line\n").unwrap();
    fs::rename(folder.join("audit"), folder.join("audit.1")).unwrap();
    fs::remove_file(folder.join("audit.1")).unwrap();
    assert!(("localhost", 21).to_socket_addrs().unwrap().count() > 0);
    let _ = ("nosuch.invalid", 21).to_socket_addrs();
    assert!(fs::read_dir("/proc/self/fd").unwrap().count() > 2);
    let processors = std::thread::spawn(std::thread::available_parallelism).join().unwrap();
    assert!(processors.is_ok());
}
