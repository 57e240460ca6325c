//! The user that root becomes, from `/etc/passwd` and `/etc/group`: users of services are local, and
//! read so they are found by every C library alike.

use rustix::process::{Gid, Uid};
use std::fmt;
use std::fs;
use std::path::Path;
use thiserror::Error;

/// Looked for first, and made by the package (`deploy/systemd/ftpgate.sysusers`).
const NAME: &str = "ftpgate";

/// Where there is no such user: the number that the container image has too. Neither distributions nor
/// systemd give it to anybody, so that nothing belongs to it; `nobody` is shared by many.
const NUMBER: u32 = 65_532;

/// A user that a process can become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// As the owner calls it, if by name.
    name: Option<String>,
    uid: u32,
    gid: u32,
    /// The other groups that it is in.
    groups: Vec<u32>,
}

/// There is no such user.
#[derive(Debug, Error)]
pub enum UserError {
    /// Nobody has this name.
    #[error(
        "there is no user `{}` in /etc/passwd: make one (useradd --system --no-create-home), or write \
         UID:GID, auto or null", .0.escape_debug()
    )]
    Unknown(String),
    /// It is root again.
    #[error("`{}` is root: write null if root is what you want", .0.escape_debug())]
    Root(String),
}

impl User {
    /// The user of that name, or the number that is nobody's.
    pub(super) fn usual() -> Self {
        Self::find(NAME).unwrap_or(Self {
            name: None,
            uid: NUMBER,
            gid: NUMBER,
            groups: Vec::new(),
        })
    }

    /// The user called `text`: a name, `UID` or `UID:GID`.
    ///
    /// # Errors
    /// There is none, or it is root.
    pub(super) fn find(text: &str) -> Result<Self, UserError> {
        let read =
            |file: &str| fs::read_to_string(Path::new("/etc").join(file)).unwrap_or_default();
        let user = Self::among(text, &read("passwd"), &read("group"))
            .ok_or_else(|| UserError::Unknown(text.to_owned()))?;
        if user.uid == 0 { Err(UserError::Root(text.to_owned())) } else { Ok(user) }
    }

    /// As [`find`](Self::find), in the texts of the two files.
    fn among(text: &str, passwd: &str, group: &str) -> Option<Self> {
        let mut users = passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let (uid, gid) = (number(fields.nth(1)?)?, number(fields.next()?)?);
            Some((name, uid, gid))
        });
        if let Some((uid, gid)) = text.split_once(':') {
            let (uid, gid) = (number(uid)?, number(gid)?);
            return Some(Self { name: None, uid, gid, groups: Vec::new() });
        }
        let asked = number(text);
        match users.find(|(name, uid, _)| *name == text || Some(*uid) == asked) {
            Some((name, uid, gid)) => {
                let groups = groups_of(name, group).filter(|other| *other != gid).collect();
                Some(Self { name: Some(name.to_owned()), uid, gid, groups })
            }
            None => asked.map(|uid| Self { name: None, uid, gid: uid, groups: Vec::new() }),
        }
    }

    /// Its number.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The number of its first group.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Its name, or its number.
    pub(super) fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.uid.to_string())
    }

    /// The name of its first group, or its number.
    pub(super) fn group(&self) -> String {
        group_of(self.gid)
    }

    /// Makes this thread run as this user, and gives up root's groups. Capabilities are the
    /// caller's concern.
    pub(super) fn become_in_this_thread(&self) -> rustix::io::Result<()> {
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        rustix::thread::set_thread_groups(&groups)?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.uid),
            None => write!(f, "{}", self.uid),
        }
    }
}

/// What is no number of a user or a group: to the kernel it means "as it is" (setresuid(2)), that is,
/// root.
const NOBODY: u32 = u32::MAX;

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number != NOBODY)
}

/// The name of a group, or its number if it has none.
pub(super) fn group_of(gid: u32) -> String {
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    name_of_group(gid, &groups).map_or_else(|| gid.to_string(), str::to_owned)
}

fn name_of_group(gid: u32, groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then_some(name)
    })
}

/// The groups that have `name` among their members.
fn groups_of(name: &str, group: &str) -> impl Iterator<Item = u32> {
    group.lines().filter_map(move |line| {
        let mut fields = line.split(':');
        let gid = number(fields.nth(2)?)?;
        fields.next()?.split(',').any(|member| member == name).then_some(gid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\nbroken\nftp:x:105:109::/srv:/bin/false\n";
    const GROUP: &str = "root:x:0:\nssl-cert:x:101:postgres,ftp\nftp:x:109:ftp\nodd:x\n";

    fn found(text: &str) -> Option<(String, u32, u32, Vec<u32>)> {
        let user = User::among(text, PASSWD, GROUP)?;
        Some((user.to_string(), user.uid, user.gid, user.groups))
    }

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let by_name = ("ftp (105)".to_owned(), 105, 109, vec![101]);
        assert_eq!(found("ftp"), Some(by_name.clone()));
        assert_eq!(found("105"), Some(by_name));
        assert_eq!(found("4000"), Some(("4000".to_owned(), 4000, 4000, vec![])));
        assert_eq!(found("4000:50"), Some(("4000".to_owned(), 4000, 50, vec![])));
        for nobody in ["", "ftpx", "ssl-cert", "broken", "-1", "105:", ":9", "105:x"] {
            assert_eq!(found(nobody), None, "{nobody}");
        }
    }

    #[test]
    fn groups_have_names() {
        assert_eq!(name_of_group(101, GROUP), Some("ssl-cert"));
        assert_eq!(name_of_group(102, GROUP), None);
    }

    #[test]
    fn root_is_no_other_user() {
        assert!(matches!(User::find("0"), Err(UserError::Root(_))));
        assert!(matches!(User::find("0:0"), Err(UserError::Root(_))));
    }

    #[test]
    fn the_number_that_changes_nothing_is_no_user() {
        for text in ["4294967295", "4294967295:1", "1:4294967295", "x"] {
            let passwd = "x:x:4294967295:1::/:/bin/sh\nx:x:1:4294967295::/:/bin/sh\n";
            assert_eq!(User::among(text, passwd, ""), None, "{text}");
        }
    }

    #[test]
    fn there_is_always_a_usual_user() {
        assert_ne!(User::usual().uid(), 0);
    }
}
