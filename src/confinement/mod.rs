//! What `run` gives up before it hears its first peer: the rights of root, capabilities that the
//! configuration does not need, new privileges, most system calls, and files that are none of its
//! business.
//!
//! | file | what it holds |
//! |---|---|
//! | `user` | the user that root becomes |
//! | `rights` | capabilities: which are kept, and how the others go for good |
//! | `files` | what a user may read and write, asked of the kernel |
//! | `advice` | what to do about files that are out of reach |
//! | `places` | Landlock: the folders that stay open |
//! | `system_calls` | seccomp: the system calls that stay |
//! | `state` | what is in force in a process, as the kernel tells it |
//!
//! All of it belongs to a thread and is handed to the threads that it starts. So it is done while
//! there is one only, ahead of every socket and task.
//!
//! Not here: what a configuration needs (the application knows), and namespaces, which are the
//! business of whoever starts the process.

mod advice;
mod files;
mod places;
mod rights;
mod state;
mod system_calls;
mod user;

pub use advice::how_to_make;
pub use places::{Places, has_landlock};
pub use rights::{Right, names};
pub use state::{Capabilities, State};
pub use user::{User, UserError};

use rustix::process::geteuid;
use rustix::thread::set_no_new_privs;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What is given up; the default is everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What becomes of root.
    pub user: UserChoice,
    /// Capabilities that are not needed go.
    pub drop_capabilities: bool,
    /// No program that is started could gain a right. Landlock and seccomp need it.
    pub no_new_privileges: bool,
    /// Only the system calls that a gateway makes.
    pub seccomp: bool,
    /// Only the files that the configuration names, and those of the system.
    pub landlock: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            user: UserChoice::Auto,
            drop_capabilities: true,
            no_new_privileges: true,
            seccomp: true,
            landlock: true,
        }
    }
}

/// What becomes of a process that root has started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserChoice {
    /// The user `ftpgate` if there is one, else a number that is nobody's; root where neither can
    /// be had.
    Auto,
    /// Root it stays.
    Stay,
    /// This one: a name, `UID` or `UID:GID`.
    Named(String),
}

/// What has to go on working.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// The rights that the configuration cannot do without.
    pub rights: Vec<Right>,
    /// Files that are read again, at a reload.
    pub reads: Vec<PathBuf>,
    /// Files that are made, removed or opened anew, each in its folder.
    pub writes: Vec<PathBuf>,
    /// Sockets of others that are spoken to.
    pub connects: Vec<PathBuf>,
}

/// Why a process is not confined as it should be.
#[derive(Debug, Error)]
pub enum ConfinementError {
    /// There is no such user.
    #[error("confinement.user: {0}")]
    User(#[from] UserError),
    /// The user cannot be had.
    #[error(
        "confinement.user: root cannot become {user} here: {reason}; give the process CAP_SETUID \
         and CAP_SETGID, start it as that user, or write `user: null`"
    )]
    Become {
        /// Which user.
        user: String,
        /// What the kernel said.
        reason: std::io::Error,
    },
    /// Capabilities cannot be given up.
    #[error(
        "confinement.capabilities: they cannot be dropped ({0}), and all stay in force: allow the \
         system call capset (systemd: SystemCallFilter=capset)"
    )]
    Rights(#[source] std::io::Error),
    /// Rights may still be gained.
    #[error(
        "confinement.no_new_privs: the kernel does not set it ({0}): allow the system call prctl, or write false"
    )]
    NoNewPrivileges(#[source] std::io::Error),
    /// Some thread would keep what it has.
    #[error("this process has several threads already: it cannot be confined as a whole")]
    Threads,
}

/// What is in force.
#[derive(Debug)]
pub struct Confined {
    /// The rights that are left, and those that were needed at the start and never there: sockets
    /// that were handed over take none.
    rights: Vec<Right>,
    /// The folders that are open, where Landlock holds.
    places: Option<Places>,
    /// In a few words.
    pub summary: String,
    /// What is not in force, and what is lost with it; a sentence each.
    pub warnings: Vec<String>,
}

impl Confined {
    /// What `needs` has that was given up at the start, a sentence each.
    pub fn refuses(&self, needs: &Needs) -> Vec<String> {
        let right = |right: &Right| {
            format!(
                "{} is needed now ({}), and was given up at the start: restart the gateway",
                right.name(),
                right.purpose()
            )
        };
        let outside = |path: &PathBuf| {
            let places = self.places.as_ref()?;
            (!places.hold(path)).then(|| {
                format!(
                    "{} is outside of the folders that were open at the start \
                     (confinement.landlock): restart the gateway, or put the file into one of them",
                    path.display()
                )
            })
        };
        let rights = needs.rights.iter().filter(|right| !self.rights.contains(right)).map(right);
        rights.chain(needs.reads.iter().filter_map(outside)).collect()
    }
}

/// The user that root becomes; `None` if this process stays who it is.
///
/// # Errors
/// There is no such user.
pub fn user(settings: &Settings) -> Result<Option<User>, UserError> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    match &settings.user {
        UserChoice::Auto => Ok(Some(User::usual())),
        UserChoice::Stay => Ok(None),
        UserChoice::Named(name) => User::find(name).map(Some),
    }
}

/// What a user cannot reach.
#[derive(Debug, Default)]
pub struct Unreachable {
    /// A sentence each, with what to do.
    pub told: Vec<String>,
    /// The rights that are kept for it; none if it cannot be made up for.
    pub kept: Vec<Right>,
}

/// The files among `needs` that this process could not reach as `user`, or as itself without the
/// rights of root.
///
/// # Errors
/// The user cannot be had.
pub fn unreachable(user: Option<&User>, needs: &Needs) -> std::io::Result<Unreachable> {
    let denied = files::denied(user, needs)?;
    let made_up = rights::make_up_for(&denied);
    let kept = if made_up { rights::making_up_for(&denied) } else { Vec::new() };
    Ok(Unreachable { told: advice::told(&denied, user, made_up, &needs.reads), kept })
}

/// Gives up what `settings` say, except what `needs` has. `user` is the one that [`user`] tells.
/// Call it before the process starts a thread; what it leaves undone is a warning.
///
/// # Errors
/// What the owner has asked for by name and cannot have.
pub fn confine(
    settings: &Settings,
    user: Option<User>,
    needs: &Needs,
) -> Result<Confined, ConfinementError> {
    if state::threads().is_some_and(|threads| threads > 1) {
        return Err(ConfinementError::Threads);
    }
    ask_once();
    let mut warnings = Vec::new();
    let (user, denied) = obtain(settings, user, needs, &mut warnings)?;
    if geteuid().is_root() && user.is_none() {
        let (why, better) = match settings.user {
            UserChoice::Stay => ("confinement.user is null: ", "write auto"),
            UserChoice::Auto | UserChoice::Named(_) => ("", "start it as another user"),
        };
        warnings.push(format!(
            "{why}ftpgate stays root, whose files it may change wherever Landlock does not hold; \
             better: {better}"
        ));
    }
    let made_up = rights::make_up_for(&denied);
    warnings.extend(advice::told(&denied, user.as_ref(), made_up, &needs.reads));
    let kept = rights::Kept::for_needs(needs, &denied, settings.drop_capabilities);
    // Opened by whoever may: later the folders may be out of reach.
    let places = settings.landlock.then(|| Places::open(needs));
    match rights::give_up(user.as_ref(), kept) {
        // Whoever started the process has forbidden it: an older unit of systemd, for example.
        Err(error @ ConfinementError::Rights(_)) if user.is_none() => {
            warnings.push(error.to_string());
        }
        given_up => given_up?,
    }
    if !settings.drop_capabilities {
        warnings.push(
            "confinement.capabilities is keep: every capability of the start stays in force, unless you write drop"
                .to_owned(),
        );
    }
    if settings.no_new_privileges {
        set_no_new_privs(true).map_err(|e| ConfinementError::NoNewPrivileges(e.into()))?;
    } else {
        warnings.push(
            "confinement.no_new_privs is false: programs with set-user-ID would give this process \
             their rights, unless you write true"
                .to_owned(),
        );
    }
    let places = hold_places(places, &mut warnings);
    let seccomp = filter_calls(settings.seccomp, &mut warnings);
    let rights = rights::held();
    let summary = summary(user.as_ref(), &rights, settings, places.as_ref(), seccomp);
    let rights = rights.into_iter().chain(needs.rights.iter().copied()).collect();
    Ok(Confined { rights, places, summary, warnings })
}

/// Gives up everything but what is open already: for a program that from here on only reads and writes
/// that. Root becomes the usual user; no capability, no file and few system calls are left. What this
/// host does not let be given up comes back, a sentence each. Call it before the process starts a thread.
///
/// # Errors
/// The process has several threads.
pub fn confine_to_what_is_open() -> Result<Vec<String>, ConfinementError> {
    if state::threads().is_some_and(|threads| threads > 1) {
        return Err(ConfinementError::Threads);
    }
    ask_once();
    let mut warnings = Vec::new();
    let none = Needs::default();
    let kept = || rights::Kept::for_needs(&none, &[], true);
    let user = geteuid().is_root().then(User::usual);
    if let Err(error) = rights::give_up(user.as_ref(), kept()) {
        warnings.push(error.to_string());
        // Where root cannot become anybody, its capabilities go all the same.
        warnings.extend(rights::give_up(None, kept()).err().map(|error| error.to_string()));
    }
    match set_no_new_privs(true) {
        Ok(()) => {
            hold_places(Some(Places::none()), &mut warnings);
            filter_calls(true, &mut warnings);
        }
        Err(error) => warnings.push(ConfinementError::NoNewPrivileges(error.into()).to_string()),
    }
    Ok(warnings)
}

/// Asked of the kernel once and kept: as another user /proc/self/auxv is out of reach, where it stands
/// before Linux 6.4, and rustix cannot do without it.
fn ask_once() {
    let _ = (rustix::param::page_size(), rustix::param::clock_ticks_per_second());
}

/// The user that can be had, and what it cannot reach. With `auto` that may be nobody else.
fn obtain(
    settings: &Settings,
    user: Option<User>,
    needs: &Needs,
    warnings: &mut Vec<String>,
) -> Result<(Option<User>, Vec<files::Denied>), ConfinementError> {
    let auto = matches!(settings.user, UserChoice::Auto);
    match (files::denied(user.as_ref(), needs), user) {
        (Ok(denied), Some(user)) if auto && !rights::make_up_for(&denied) => {
            warnings.extend(advice::told(&denied, Some(&user), false, &needs.reads));
            Ok((None, files::denied(None, needs).unwrap_or_default()))
        }
        (Ok(denied), user) => Ok((user, denied)),
        // Nobody to become: what can be reached without further rights is not known then.
        (Err(_), None) => Ok((None, Vec::new())),
        (Err(reason), Some(user)) if auto => {
            warnings.push(format!(
                "confinement.user: root cannot become {user} here ({reason}): give the process \
                 CAP_SETUID and CAP_SETGID, or start it as another user"
            ));
            Ok((None, files::denied(None, needs).unwrap_or_default()))
        }
        (Err(reason), Some(user)) => {
            Err(ConfinementError::Become { user: user.to_string(), reason })
        }
    }
}

fn hold_places(places: Option<Places>, warnings: &mut Vec<String>) -> Option<Places> {
    const LOST: &str = "ftpgate may reach every file that its user may";
    let Some(places) = places else {
        warnings.push(format!("confinement.landlock is false: {LOST}, unless you write true"));
        return None;
    };
    match places.hold_from_now_on() {
        Ok(places) => Some(places),
        Err(reason) => {
            warnings.push(format!(
                "confinement.landlock: this host has none ({reason}): {LOST}; it takes Linux 5.13 \
                 with `landlock` among its security modules, or write false"
            ));
            None
        }
    }
}

fn filter_calls(wanted: bool, warnings: &mut Vec<String>) -> bool {
    const LOST: &str = "ftpgate may make every system call";
    if !wanted {
        warnings.push(format!("confinement.seccomp is false: {LOST}, unless you write true"));
        return false;
    }
    match system_calls::filter() {
        Ok(()) => true,
        Err(reason) => {
            warnings.push(format!(
                "confinement.seccomp: it cannot be had ({reason}): {LOST}; whoever starts ftpgate \
                 has to allow seccomp(2), or write false"
            ));
            false
        }
    }
}

fn summary(
    user: Option<&User>,
    rights: &[Right],
    settings: &Settings,
    places: Option<&Places>,
    seccomp: bool,
) -> String {
    let who = match user {
        Some(user) => format!("user {user}"),
        None => format!("user {}", geteuid().as_raw()),
    };
    let rights = names(rights);
    let nnp = settings.no_new_privileges.then(|| "no_new_privs".to_owned());
    let seccomp = seccomp.then(|| "seccomp".to_owned());
    let landlock = places.map(Places::told);
    let parts = [Some(who), Some(rights), nnp, seccomp, landlock];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The folder that a file is in; the working directory for a bare name.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) => Path::new("."),
        None => path,
    }
}
