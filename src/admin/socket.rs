//! The control socket in the file system: who may reach it, and whose it is.
//!
//! It is made under a name of its own, given its mode, listened on, and only then renamed to where it
//! is looked for: nobody finds it before only its owner may open it.

use super::bounded::Accept;
use rustix::process::geteuid;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};

/// The owner reads and writes, which is what it takes to connect; nobody else.
const MODE: u32 = 0o600;

/// Of the folder, where there is none: everybody may look, only its owner puts something there.
const FOLDER_MODE: u32 = 0o755;

/// Connections that wait: the commands of a person, and a script or two.
const BACKLOG: i32 = 16;

/// Why there is no control socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// A gateway answers there.
    #[error(
        "{} belongs to another ftpgate that runs: stop that one, or give this one another path",
        .0.display()
    )]
    InUse(PathBuf),
    /// Something else is there.
    #[error("{} is there and is no socket: remove it, or write another path", .0.display())]
    NoSocket(PathBuf),
    /// It could not be made.
    #[error("cannot make the socket {}: {reason}{}", path.display(), way_out(reason))]
    Io {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        reason: io::Error,
    },
}

/// What whoever starts the gateway may do about it.
fn way_out(reason: &io::Error) -> &'static str {
    match reason.kind() {
        // The socket's own folder is made, and no other.
        ErrorKind::NotFound => "; make the folders above its own, or write another admin.socket",
        ErrorKind::PermissionDenied => {
            "; let the user that ftpgate runs as write in its folder, or write another admin.socket"
        }
        _ => "; write another admin.socket, or null",
    }
}

/// The control socket; its name is removed with it.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode, so that the name of another one is left alone.
    made: (u64, u64),
}

impl ControlSocket {
    /// Makes it, and the folder that it is in if that is missing. A socket that nobody listens on any
    /// more is replaced. Call it within a runtime.
    ///
    /// # Errors
    /// Somebody listens there, something else is there, or the kernel does not let us.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |reason| SocketError::Io { path: path.to_owned(), reason };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            make_folder(folder).map_err(failed)?;
        }
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(SocketError::NoSocket(path.to_owned()));
            }
            Ok(_) if is_alive(path).map_err(failed)? => {
                return Err(SocketError::InUse(path.to_owned()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        Self::make(path).map_err(failed)
    }

    fn make(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
        let mut fresh = std::ffi::OsString::from(".");
        fresh.push(name);
        fresh.push(format!(".{}", std::process::id()));
        let fresh = path.with_file_name(fresh);
        // Left by a process of the same number that died between two lines of this function.
        let _ = fs::remove_file(&fresh);
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        socket.bind(&socket2::SockAddr::unix(&fresh)?)?;
        let made = || -> io::Result<UnixListener> {
            fs::set_permissions(&fresh, Permissions::from_mode(MODE))?;
            socket.set_nonblocking(true)?;
            socket.listen(BACKLOG)?;
            fs::rename(&fresh, path)?;
            UnixListener::from_std(std::os::fd::OwnedFd::from(socket).into())
        };
        let listener = made().inspect_err(|_| {
            let _ = fs::remove_file(&fresh);
        })?;
        let there = fs::symlink_metadata(path)?;
        Ok(Self { listener, path: path.to_owned(), made: (there.dev(), there.ino()) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let same = |there: fs::Metadata| (there.dev(), there.ino()) == self.made;
        if fs::symlink_metadata(&self.path).is_ok_and(same) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Accept for ControlSocket {
    type Stream = UnixStream;
    type Address = ();

    /// Only root and the user that the gateway runs as are served, whatever became of the mode.
    async fn accept(&self) -> io::Result<(UnixStream, ())> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let uid = stream.peer_cred()?.uid();
            if uid == 0 || uid == geteuid().as_raw() {
                return Ok((stream, ()));
            }
            tracing::warn!(uid, "somebody else is turned away at the control socket");
        }
    }

    fn address(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes the folder of a control socket, if it is missing.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        // As it is to be, whatever the umask.
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// True if somebody listens there. Does not wait: one whose queue is full is alive.
fn is_alive(path: &Path) -> io::Result<bool> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&socket2::SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock => Ok(true),
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => Ok(false),
            _ => Err(error),
        },
    }
}
