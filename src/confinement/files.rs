//! What a user may read and write, asked of the kernel: a thread of its own becomes that user, asks,
//! and ends.

use super::user::User;
use super::{Needs, folder_of, rights};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::io;
use std::path::{Path, PathBuf};

/// What would be done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// It is read again at a reload.
    Read,
    /// It is made, removed or opened anew.
    Write,
    /// It is a socket that somebody else has made.
    Connect,
}

/// A file that is out of reach by its mode or that of a folder above it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) path: PathBuf,
    pub(super) purpose: Use,
}

/// What to do about it, a sentence for each use; `kept`: a capability
/// makes up for it.
pub(super) fn told(denied: &[Denied], user: Option<&User>, kept: bool) -> Vec<String> {
    let who = match user {
        Some(user) => format!("user {user}"),
        None => "ftpgate without root's capabilities".to_owned(),
    };
    let owner = user.map_or_else(|| "root:".to_owned(), User::owner);
    let of = |purpose: Use, does: &str, right: &str| {
        let paths: Vec<&Path> =
            denied.iter().filter(|d| d.purpose == purpose).map(|d| d.path.as_path()).collect();
        // Who writes a file makes it in its folder.
        let mut owned: Vec<&Path> = match purpose {
            Use::Read | Use::Connect => paths.clone(),
            Use::Write => paths.iter().map(|path| folder_of(path)).collect(),
        };
        owned.dedup();
        let so = match kept {
            true => format!("so {right} is kept, which {does}s every file"),
            false => "and there is no capability that would make up for it".to_owned(),
        };
        (!paths.is_empty()).then(|| {
            format!(
                "{who} may not {does} {}, {so}; better: chown {owner} {}, and let that user \
                 into the folders above",
                list(&paths),
                list(&owned)
            )
        })
    };
    let read = of(Use::Read, "read", "CAP_DAC_READ_SEARCH");
    let written = of(Use::Write, "write", "CAP_DAC_OVERRIDE");
    let reached = of(Use::Connect, "write", "CAP_DAC_OVERRIDE");
    read.into_iter().chain(written).chain(reached).collect()
}

fn list(paths: &[&Path]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
}

/// The files among `needs` that `user` cannot reach; without one this process itself, without its
/// capabilities.
///
/// # Errors
/// This process cannot become that user, or cannot start a thread.
pub(super) fn denied(user: Option<&User>, needs: &Needs) -> io::Result<Vec<Denied>> {
    let ask = || -> io::Result<Vec<Denied>> {
        match user {
            // With it go the capabilities in effect.
            Some(user) => user.become_in_this_thread()?,
            None => rights::none_in_effect()?,
        }
        let reads = needs.reads.iter().filter(|path| !may_read(path));
        let reads = reads.map(|path| Denied { path: path.clone(), purpose: Use::Read });
        let writes = needs.writes.iter().filter(|path| !may_write(path));
        let writes = writes.map(|path| Denied { path: path.clone(), purpose: Use::Write });
        let connects = needs.connects.iter().filter(|path| !may(path, Access::WRITE_OK));
        let connects = connects.map(|path| Denied { path: path.clone(), purpose: Use::Connect });
        Ok(reads.chain(writes).chain(connects).collect())
    };
    std::thread::scope(|scope| {
        let asked = std::thread::Builder::new().spawn_scoped(scope, ask)?;
        asked.join().unwrap_or_else(|_| Err(io::Error::other("the question cannot be asked")))
    })
}

/// False only if the kernel says no: what is not there is somebody else's complaint.
fn may(path: &Path, access: Access) -> bool {
    !matches!(
        accessat(CWD, path, access, AtFlags::EACCESS),
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM)
    )
}

fn may_read(path: &Path) -> bool {
    may(path, Access::READ_OK)
}

fn may_write(path: &Path) -> bool {
    may(folder_of(path), Access::WRITE_OK | Access::EXEC_OK) && may(path, Access::WRITE_OK)
}
