//! What a program that was taken over would do, and what has to go on: deeds of this program, each in a
//! process of its own that confines itself as the gateway does.

use crate::gateway::{NOBODY, folder};
use ftpgate::confinement::{self, Needs, Settings, UserChoice};
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

/// This program, confined for a configuration in `folder`, doing one deed.
fn confined(deed: &str, folder: &Path) -> (ExitStatus, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--confined", deed]).arg(folder).env("RUST_BACKTRACE", "1");
    let told = command.output().unwrap();
    (told.status, String::from_utf8_lossy(&told.stderr).into_owned())
}

pub(crate) fn what_is_forbidden_fails() {
    let folder = folder(0o755);
    for deed in
        ["read", "write", "packets", "fork", "execute-memory", "terminal", "work", "only-open"]
    {
        let (status, told) = confined(deed, folder.path());
        assert_eq!(status.code(), Some(0), "{deed}: {status} {told}");
    }
}

pub(crate) fn what_is_hostile_ends_the_process() {
    let folder = folder(0o755);
    for deed in ["execve", "ptrace", "unshare", "mount", "setuid"] {
        let (status, told) = confined(deed, folder.path());
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{deed}: {status} {told}");
    }
}

pub(crate) fn a_panic_is_told_as_ever() {
    let (status, told) = confined("panic", folder(0o755).path());
    assert_eq!(status.code(), Some(101), "{told}");
    // With the names of functions, which stand in the program's own file.
    assert!(told.contains("as ever") && told.contains("confined_deed"), "{told}");
}

/// Confines this process and does what a program that was taken over would.
pub(crate) fn confined_deed(deed: &str, folder: &Path) -> ExitCode {
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
