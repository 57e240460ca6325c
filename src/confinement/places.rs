//! Landlock (landlock(7)): the folders that stay open, whatever the modes of files say.
//!
//! Folders and not files: who renews a certificate or edits a configuration puts a new file in the
//! place of the old one.

use super::{Needs, folder_of};
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The rights that are known here and asked about: later ones, that a newer kernel has, stay with
/// everybody. What this one has more than older kernels is taken as far as it goes.
const KNOWN: ABI = ABI::V6;

/// What name resolution, its modules and the host's CAs take: everybody may read it, but for a few
/// files whose modes say no. `/proc` as a whole, since a rule for `/proc/self` would end with its
/// entry in the kernel's cache; of other processes Landlock itself keeps the secrets.
const OF_THE_SYSTEM: &[&str] = &[
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/proc",
    "/run/systemd/resolve",
    // How many processors there are for threads.
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
];

/// Files that are links to somewhere else on many hosts, who rewrites them.
const LINKED: &[&str] =
    &["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl/certs", "/etc/pki"];

/// Where the host's CAs are instead, if these say so.
const OF_CERTIFICATES: &[&str] = &["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// The folders that stay open.
#[derive(Debug)]
pub struct Places {
    read: Vec<(PathBuf, PathFd)>,
    write: Vec<(PathBuf, PathFd)>,
}

impl Places {
    /// No folder at all.
    pub(super) fn none() -> Self {
        Self { read: Vec::new(), write: Vec::new() }
    }

    /// Opens the folders of `needs` and of the system, as far as they are there.
    pub(super) fn open(needs: &Needs) -> Self {
        let open = |folders: BTreeSet<PathBuf>| {
            let open = |folder: PathBuf| {
                let fd = PathFd::new(&folder).ok()?;
                Some((folder, fd))
            };
            folders.into_iter().filter_map(open).collect()
        };
        let mut read: BTreeSet<PathBuf> = OF_THE_SYSTEM.iter().map(PathBuf::from).collect();
        // For the names in a backtrace.
        read.extend(std::env::current_exe().ok());
        for linked in LINKED.iter().map(Path::new).filter(|path| path.exists()) {
            read.extend(folders_of(linked));
        }
        for certificates in OF_CERTIFICATES.iter().filter_map(std::env::var_os) {
            read.insert(certificates.into());
        }
        read.extend(needs.reads.iter().flat_map(|path| folders_of(path)));
        let write = needs.writes.iter().flat_map(|path| folders_of(path)).collect();
        Self { read: open(read), write: open(write) }
    }

    /// Holds this thread, and those that it starts, to these folders; for good.
    ///
    /// # Errors
    /// Why the kernel does not.
    pub(super) fn hold_from_now_on(self) -> Result<Self, String> {
        match self.restrict() {
            Ok(RulesetStatus::NotEnforced) => Err("the kernel knows none of it".to_owned()),
            Ok(RulesetStatus::PartiallyEnforced | RulesetStatus::FullyEnforced) => Ok(self),
            Err(error) => Err(error.to_string()),
        }
    }

    fn restrict(&self) -> Result<RulesetStatus, RulesetError> {
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(KNOWN))?
            .scope(Scope::Signal)?
            .create()?
            // The owner's decision, which was taken already.
            .no_new_privs(false);
        for (folders, rights) in [(&self.read, reading()), (&self.write, writing())] {
            for (_, fd) in folders {
                rules = rules.add_rule(PathBeneath::new(fd, rights))?;
            }
        }
        Ok(rules.restrict_self()?.ruleset)
    }

    /// True if `path` may be read here, as far as Landlock is concerned.
    pub(super) fn hold(&self, path: &Path) -> bool {
        let in_them = |folder: &Path| {
            let mut all = self.read.iter().chain(&self.write).map(|(open, _)| open);
            let real = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
            all.any(|open| {
                let open = std::fs::canonicalize(open).unwrap_or_else(|_| open.clone());
                folder.starts_with(&open) || real.starts_with(&open)
            })
        };
        folders_of(path).iter().all(|folder| in_them(folder))
    }

    /// For the line about what is in force.
    pub(super) fn told(&self) -> String {
        let written: Vec<_> =
            self.write.iter().map(|(path, _)| path.display().to_string()).collect();
        match written.as_slice() {
            [] => "Landlock (no file is written)".to_owned(),
            written => format!("Landlock (files are written in {})", written.join(", ")),
        }
    }
}

/// True if this kernel holds a thread to folders: tried on a thread that ends with it.
pub fn has_landlock() -> bool {
    let tried = || {
        let rules = Ruleset::default().handle_access(AccessFs::Execute)?.create()?;
        rules.restrict_self().map(|status| status.ruleset)
    };
    let tried = std::thread::Builder::new().spawn(tried).map(std::thread::JoinHandle::join);
    matches!(tried, Ok(Ok(Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced))))
}

/// The folder that `path` is in, and the one of the file that it leads to through links: Kubernetes
/// and certbot change where their links lead within these.
fn folders_of(path: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::from([folder_of(path).to_owned()]);
    if let Ok(real) = std::fs::canonicalize(path) {
        folders.insert(folder_of(&real).to_owned());
    }
    folders
}

fn reading() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

/// The audit is appended to and opened anew; the control socket is made beside its place, renamed
/// and removed.
fn writing() -> BitFlags<AccessFs> {
    reading() | AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::MakeSock | AccessFs::RemoveFile
}
