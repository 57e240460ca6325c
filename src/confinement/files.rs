//! What a user may read and write, asked of the kernel: a thread of its own becomes that user, asks,
//! and ends.
//!
//! Not here: what to do about it (see `advice`).

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

/// A file that is out of reach.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) path: PathBuf,
    pub(super) purpose: Use,
    pub(super) by: Barrier,
}

/// What has the mode that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Barrier {
    /// A folder above it, which the user may not enter.
    Above(PathBuf),
    /// The folder that it is in, where the user may make nothing.
    Folder(PathBuf),
    /// The file.
    Itself,
}

/// The files among `needs` that `user` cannot reach; without one this process itself, without its
/// capabilities.
///
/// # Errors
/// This process cannot become that user, or cannot start a thread.
pub(super) fn denied(user: Option<&User>, needs: &Needs) -> io::Result<Vec<Denied>> {
    let all =
        [(Use::Read, &needs.reads), (Use::Write, &needs.writes), (Use::Connect, &needs.connects)];
    let all =
        all.into_iter().flat_map(|(purpose, paths)| paths.iter().map(move |path| (path, purpose)));
    // Where links lead is asked while this process may still see it.
    let all: Vec<_> = all.map(|(path, purpose)| (path, purpose, folders_to(path))).collect();
    let ask = || -> io::Result<Vec<Denied>> {
        match user {
            // With it go the capabilities in effect.
            Some(user) => user.become_in_this_thread()?,
            None => rights::none_in_effect()?,
        }
        let denied = all.into_iter().filter_map(|(path, purpose, folders)| {
            let by = barrier(path, purpose, folders)?;
            Some(Denied { path: path.clone(), purpose, by })
        });
        Ok(denied.collect())
    };
    std::thread::scope(|scope| {
        let asked = std::thread::Builder::new().spawn_scoped(scope, ask)?;
        asked.join().unwrap_or_else(|_| Err(io::Error::other("the question cannot be asked")))
    })
}

/// The folders on the way to `path`, from the root down, as it is written and, behind links, as it is.
fn folders_to(path: &Path) -> Vec<PathBuf> {
    let written = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real =
        written.canonicalize().or_else(|_| folder_of(&written).canonicalize().map(|f| f.join("x")));
    let above = |path: PathBuf| {
        let mut folders: Vec<PathBuf> = path.ancestors().skip(1).map(Path::to_owned).collect();
        folders.reverse();
        folders
    };
    above(written).into_iter().chain(real.into_iter().flat_map(above)).collect()
}

/// What keeps this thread from `path`, if anything.
fn barrier(path: &Path, purpose: Use, folders: Vec<PathBuf>) -> Option<Barrier> {
    let folder = folder_of(path);
    let makes = || may(folder, Access::WRITE_OK | Access::EXEC_OK);
    let reached = match purpose {
        Use::Read => may(path, Access::READ_OK),
        Use::Write => makes() && may(path, Access::WRITE_OK),
        Use::Connect => may(path, Access::WRITE_OK),
    };
    if reached {
        return None;
    }
    let above = folders.into_iter().find(|folder| !may(folder, Access::EXEC_OK));
    Some(match (above, purpose) {
        (Some(above), _) => Barrier::Above(above),
        (None, Use::Write) if !makes() => Barrier::Folder(folder.to_owned()),
        (None, Use::Read | Use::Write | Use::Connect) => Barrier::Itself,
    })
}

/// False only if the kernel says no: what is not there is somebody else's complaint.
fn may(path: &Path, access: Access) -> bool {
    !matches!(
        accessat(CWD, path, access, AtFlags::EACCESS),
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM)
    )
}
