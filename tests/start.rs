//! How a process starts: what comes meanwhile is not lost, and what cannot become right is said once.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has to stop")]

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::OpenOptions;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Bounds the wait for the process to open its configuration: 10 s.
const TRIES: usize = 1000;
const BETWEEN: Duration = Duration::from_millis(10);

#[test]
fn a_signal_during_the_start_ends_it_in_order() {
    // The configuration is a pipe: the process waits at its start for as long as nothing is in it.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ftpgate.yaml");
    mknodat(CWD, &file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut ftpgate = Command::new(env!("CARGO_BIN_EXE_ftpgate"))
        .args(["run", "--config"])
        .arg(&file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Without a reader this open fails at once, instead of waiting for one.
    let nonblocking = libc::O_NONBLOCK;
    let open = || {
        sleep(BETWEEN);
        OpenOptions::new().write(true).custom_flags(nonblocking).open(&file).ok()
    };
    let pipe = (0..TRIES).find_map(|_| open());
    let signalled = kill_process(Pid::from_child(&ftpgate), Signal::TERM);
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let text = format!(
        "listeners: [{{ listen: \"{free}\", server: \"127.0.0.1:9\" }}]\n\
         firewall: {{ backend: none }}\n\
         data: {{ path: relay }}\n\
         telemetry: {{ listen: null }}\n\
         admin: {{ socket: null }}\n"
    );
    // A process that the signal has killed does not read any more.
    let written = pipe.expect("the configuration is read").write_all(text.as_bytes());
    let end = ftpgate.wait().unwrap();
    signalled.unwrap();
    assert_eq!(end.code(), Some(0), "{end}; the configuration was written: {written:?}");
}

#[test]
fn a_file_that_another_start_would_refuse_as_well_ends_as_a_wrong_configuration_does() {
    // systemd does not start it again for that (RestartPreventExitStatus=2).
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ftpgate.yaml");
    std::fs::write(
        &file,
        "listeners: [{ listen: \"127.0.0.1:2121\", server: \"127.0.0.1:9\", tls: { mode: intercept } }]\n\
         firewall: { backend: none }\n\
         tls: { ca: { certificate: nosuch.crt, key: nosuch.key } }\n",
    )
    .unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_ftpgate"))
        .args(["run", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let told = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(2), "{told}");
    assert!(told.contains("tls.ca: ") && told.contains("nosuch.crt: does not exist"), "{told}");
}
