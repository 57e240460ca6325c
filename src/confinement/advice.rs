//! What to do about files that a user cannot reach, and about folders that are not there.
//!
//! Folders that others use are never given away: what would let ftpgate in there would let others out,
//! or in the place of root.

use super::files::{Barrier, Denied, Use};
use super::folder_of;
use super::user::{User, group_of};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Where a folder for files that are written may be made, if there is no better place.
const LIB: &str = "/var/lib";

/// A folder for files that are read.
const SETTINGS: &str = "/etc/ftpgate";

/// Folders right below the root whose own folders belong to the system, or to people.
const SHARED: [&str; 3] = ["home", "usr", "var"];

/// Those below which nothing is anybody's.
const SYSTEM: [&str; 9] = ["bin", "boot", "dev", "lib", "lib64", "proc", "sbin", "sys", "usr"];

/// What to do about `denied`, a sentence for each barrier; `kept`: a capability makes up for it.
/// `reads`: the files whose folders are not ftpgate's to write in.
pub(super) fn told(
    denied: &[Denied],
    user: Option<&User>,
    kept: bool,
    reads: &[PathBuf],
) -> Vec<String> {
    let mut groups: Vec<(Use, &Barrier, Vec<&Path>)> = Vec::new();
    for Denied { path, purpose, by } in denied {
        let same = groups.iter_mut().find(|(other, barrier, _)| other == purpose && *barrier == by);
        match same {
            Some((_, _, paths)) => paths.push(path),
            None => groups.push((*purpose, by, vec![path])),
        }
    }
    let whom = Whom::of(user);
    let sentence = |(purpose, by, paths): (Use, &Barrier, Vec<&Path>)| {
        let (does, right) = match purpose {
            Use::Read => ("read", "CAP_DAC_READ_SEARCH"),
            Use::Write | Use::Connect => ("write", "CAP_DAC_OVERRIDE"),
        };
        let so = match kept {
            true => format!("so {right} is kept, which {does}s every file; better: "),
            false => "and there is no capability that would make up for it: ".to_owned(),
        };
        let paths_told = list(&paths);
        let advice = whom.advice(purpose, by, &paths, reads);
        format!("{} may not {does} {paths_told}, {so}{advice}", whom.called)
    };
    groups.into_iter().map(sentence).collect()
}

/// How to make `folder` for `user`, or for who this process is.
pub fn how_to_make(folder: &Path, user: Option<&User>) -> String {
    Whom::of(user).made(folder)
}

/// The user, as commands take it.
struct Whom {
    /// In a sentence.
    called: String,
    user: String,
    group: String,
}

impl Whom {
    fn of(user: Option<&User>) -> Self {
        let uid = rustix::process::geteuid();
        match user {
            Some(user) => {
                Self { called: format!("user {user}"), user: user.name(), group: user.group() }
            }
            None => Self {
                called: match uid.is_root() {
                    true => "ftpgate without root's capabilities".to_owned(),
                    false => format!("user {}", uid.as_raw()),
                },
                user: uid.as_raw().to_string(),
                group: group_of(rustix::process::getegid().as_raw()),
            },
        }
    }

    fn made(&self, folder: &Path) -> String {
        let Self { user, group, .. } = self;
        format!("install -d -o {user} -g {group} -m 0750 {}", folder.display())
    }

    fn advice(&self, purpose: Use, by: &Barrier, paths: &[&Path], reads: &[PathBuf]) -> String {
        let (files, Self { user, group, .. }) = (list(paths), self);
        match (by, purpose) {
            (_, Use::Connect) => {
                "it is somebody else's socket, whose mode or folder has to let that user in"
                    .to_owned()
            }
            (Barrier::Above(folder) | Barrier::Folder(folder), Use::Read) => {
                match (shared_group(folder, 0o010), is_shared(folder)) {
                    (Some(other), _) => self.joins(&other, folder),
                    (None, true) => format!(
                        "{} is closed to everybody but its owner, so put the files elsewhere, for example into \
                     {SETTINGS}",
                        folder.display()
                    ),
                    (None, false) => {
                        format!("chgrp {group} {0} && chmod g+x {0}", folder.display())
                    }
                }
            }
            (Barrier::Itself, Use::Read) => match paths {
                [only] if shared_group(only, 0o040).is_some() => {
                    self.joins(&shared_group(only, 0o040).unwrap_or_default(), only)
                }
                _ => format!("chgrp {group} {files} && chmod g+r {files}"),
            },
            (Barrier::Itself, Use::Write) => format!("chown {user}:{group} {files}"),
            (Barrier::Folder(folder), Use::Write) if is_own(folder, paths, reads) => {
                format!("chown {user}:{group} {}", folder.display())
            }
            (Barrier::Above(folder) | Barrier::Folder(folder), Use::Write) => {
                let own = own_folder(folder);
                let name = paths.first().and_then(|path| path.file_name()).unwrap_or_default();
                format!(
                    "a folder of its own: write {}, and make that folder: {}",
                    own.join(name).display(),
                    self.made(&own)
                )
            }
        }
    }

    /// How this user gets what a group has.
    fn joins(&self, group: &str, path: &Path) -> String {
        let how = match self.user.parse::<u32>() {
            Err(_) => format!("usermod -a -G {group} {}", self.user),
            // Who has no name is in no group.
            Ok(_) => format!(
                "let root become a user with a name: useradd --system --no-create-home -G {group} ftpgate"
            ),
        };
        format!("{how} ({} is for that group)", path.display())
    }
}

/// The group that may use `path` as `mode` says, if it is one that somebody may be put into.
fn shared_group(path: &Path, mode: u32) -> Option<String> {
    let there = fs::metadata(path).ok()?;
    (there.gid() != 0 && there.mode() & mode == mode).then(|| group_of(there.gid()))
}

/// True for a folder that is there for others too: near the root, or the system's.
fn is_shared(folder: &Path) -> bool {
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let names: Vec<&str> = real
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_str().unwrap_or_default()),
            _ => None,
        })
        .collect();
    match names.as_slice() {
        [] | [_] => true,
        [first, _] if SHARED.contains(first) => true,
        [first, ..] => SYSTEM.contains(first),
    }
}

/// True for a folder that has nothing but what is written here.
fn is_own(folder: &Path, paths: &[&Path], reads: &[PathBuf]) -> bool {
    if is_shared(folder) || reads.iter().any(|read| folder_of(read) == folder) {
        return false;
    }
    let names: Vec<&[u8]> = paths
        .iter()
        .filter(|path| folder_of(path) == folder)
        .filter_map(|path| Some(path.file_name()?.as_encoded_bytes()))
        .collect();
    // Those that were rotated away begin like it.
    let is_its = |entry: fs::DirEntry| {
        names.iter().any(|name| entry.file_name().as_encoded_bytes().starts_with(name))
    };
    fs::read_dir(folder).is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(is_its)))
}

/// A folder of its own that may stand in the place of `folder`.
fn own_folder(folder: &Path) -> PathBuf {
    let in_place = folder == Path::new("/run") || folder.parent() == Some(Path::new("/var"));
    (if in_place { folder } else { Path::new(LIB) }).join("ftpgate")
}

fn list(paths: &[&Path]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    fn nobody() -> User {
        User::find("4000:4001").unwrap()
    }

    fn advice(purpose: Use, by: Barrier, path: &Path, reads: &[PathBuf]) -> String {
        let denied = [Denied { path: path.to_owned(), purpose, by }];
        let mut told = told(&denied, Some(&nobody()), true, reads);
        assert_eq!(told.len(), 1);
        told.remove(0)
    }

    #[test]
    fn a_folder_of_the_system_is_never_given_away() {
        let shared = [
            "/",
            "/run",
            "/etc",
            "/root",
            "/home/bob",
            "/var/log",
            "/var/lib",
            "/tmp",
            "/usr/local/lib/x",
            "/srv",
        ];
        for folder in shared.map(Path::new) {
            let path = folder.join("audit.jsonl");
            for by in [Barrier::Folder(folder.to_owned()), Barrier::Above(folder.to_owned())] {
                let told = advice(Use::Write, by, &path, &[]);
                assert!(!told.contains("chown") && !told.contains("chmod"), "{told}");
                assert!(told.contains("install -d -o 4000 -g 4001 -m 0750 /"), "{told}");
            }
            let told = advice(Use::Read, Barrier::Above(folder.to_owned()), &path, &[]);
            assert!(!told.contains("chown") && !told.contains("chmod"), "{told}");
        }
        for (folder, own) in [
            ("/run", "/run/ftpgate/admin.sock"),
            ("/var/log", "/var/log/ftpgate/admin.sock"),
            ("/", "/var/lib/ftpgate/admin.sock"),
        ] {
            let path = Path::new(folder).join("admin.sock");
            let told = advice(Use::Write, Barrier::Folder(folder.into()), &path, &[]);
            assert!(told.contains(&format!("write {own}, and make that folder: ")), "{told}");
        }
    }

    #[test]
    fn a_folder_with_nothing_else_in_it_may_be_given_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let told = || advice(Use::Write, Barrier::Folder(folder.path().into()), &path, &[]);
        let given = format!("better: chown 4000:4001 {}", folder.path().display());
        fs::write(folder.path().join("audit.jsonl.1"), "").unwrap();
        assert!(told().ends_with(&given), "{}", told());
        let of_config = [folder.path().join("ftpgate.yaml")];
        let beside = advice(Use::Write, Barrier::Folder(folder.path().into()), &path, &of_config);
        assert!(
            beside.contains("a folder of its own: write /var/lib/ftpgate/audit.jsonl"),
            "{beside}"
        );
        fs::write(folder.path().join("else"), "").unwrap();
        assert!(!told().contains("chown"), "{}", told());
    }

    #[test]
    fn what_is_read_stays_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key.pem");
        fs::write(&key, "").unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        let told = advice(Use::Read, Barrier::Itself, &key, &[]);
        let path = key.display();
        assert!(told.ends_with(&format!("chgrp 4001 {path} && chmod g+r {path}")), "{told}");
        assert!(told.contains("so CAP_DAC_READ_SEARCH is kept"), "{told}");
        let told = advice(Use::Read, Barrier::Above(folder.path().into()), &key, &[]);
        let path = folder.path().display();
        assert!(told.ends_with(&format!("chgrp 4001 {path} && chmod g+x {path}")), "{told}");
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&key, None, Some(4242)).unwrap();
            fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
            let told = advice(Use::Read, Barrier::Itself, &key, &[]);
            assert!(told.contains("useradd --system --no-create-home -G 4242 ftpgate"), "{told}");
        }
    }

    #[test]
    fn files_behind_one_barrier_are_told_together() {
        let one = |name: &str| Denied {
            path: Path::new("/root/keys").join(name),
            purpose: Use::Read,
            by: Barrier::Above("/root".into()),
        };
        let told = told(&[one("a"), one("b")], Some(&nobody()), false, &[]);
        assert_eq!(
            told,
            [
                "user 4000 may not read /root/keys/a /root/keys/b, and there is no capability that would \
              make up for it: /root is closed to everybody but its owner, so put the files elsewhere, \
              for example into /etc/ftpgate"
            ]
        );
    }
}
