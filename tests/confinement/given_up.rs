//! Which user, which capabilities and which filters are left, in every thread.

use crate::gateway::{BETWEEN, Gateway, HIGH, PATIENCE, as_nobody, field_of};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_ADMIN: u64 = 1 << 12;

pub(crate) fn root_becomes_another_user_in_every_thread() {
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

pub(crate) fn what_the_firewall_takes_is_kept() {
    let firewall = "firewall: { backend: nftables }\ndata: { path: auto }\n";
    let gateway = Gateway::start(0o755, "0.0.0.0:21", &(as_nobody("") + firewall));
    gateway.has_only(NET_ADMIN | NET_BIND_SERVICE);
    let gateway = Gateway::start(0o755, HIGH, &(as_nobody("") + firewall));
    gateway.has_only(NET_ADMIN);
    assert!(gateway.end().success());
}

pub(crate) fn ambient_capabilities_go_as_well() {
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

pub(crate) fn each_part_can_be_switched_off_with_a_warning() {
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

pub(crate) fn observe_keeps_what_is_open() {
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
