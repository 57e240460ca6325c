//! Which files a confined gateway reaches, which it does not, and what is said of it.

use crate::gateway::{Gateway, HIGH, as_nobody, configuration, folder};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;

const DAC_OVERRIDE: u64 = 1 << 1;
const DAC_READ_SEARCH: u64 = 1 << 2;

pub(crate) fn files_of_root_are_reached_all_the_same() {
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

pub(crate) fn a_user_that_is_not_there_is_said() {
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

pub(crate) fn a_reload_cannot_reach_further() {
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

pub(crate) fn check_and_doctor_tell_what_is_kept() {
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
