//! What is true on a server that answers in order: who its client is and where.

use super::rules::split;

/// What is true of the client when the server works off its next line.
#[derive(Debug, Clone, Default)]
pub(super) struct Truth {
    /// Whom it calls itself, and the server has not refused.
    pub(super) user: Vec<u8>,
    asked: bool,
    pub(super) logged_in: bool,
    /// Absolute, without `.` and `..`.
    pub(super) directory: Vec<u8>,
}

/// Commands that need a login. `link` leads to `/secret`, as some private commands do.
const FOR_USERS: &[&str] = &[
    "CWD", "XCWD", "CDUP", "XCUP", "SMNT", "SITE", "XYZZY", "PWD", "XPWD", "RETR", "STOR", "STOU",
    "APPE", "DELE", "RNFR", "RNTO", "MDTM", "MFMT", "MKD", "XMKD", "RMD", "XRMD", "LIST", "NLST",
    "PASV", "EPSV", "PORT", "EPRT",
];

impl Truth {
    /// The code of the reply to a line, if it depends on what is true. `second`: of two replies that say
    /// yes the less usual one.
    pub(super) fn code(&self, line: &[u8], second: bool) -> Option<u16> {
        let (verb, argument) = split(line);
        match (verb.as_str(), argument) {
            ("USER", b"nobody") => Some(530),
            ("USER", _) => Some(if second { 331 } else { 230 }),
            ("PASS", _) => Some(if self.asked { 230 } else { 503 }),
            (verb, _) if FOR_USERS.contains(&verb) && !self.logged_in => Some(530),
            ("CWD" | "XCWD", b"nowhere") => Some(550),
            ("CWD" | "XCWD" | "CDUP" | "XCUP" | "SMNT" | "XYZZY", _) => Some(250),
            ("PWD" | "XPWD", _) => Some(257),
            _ => None,
        }
    }

    /// The words of 257.
    pub(super) fn words(&self) -> String {
        let path = if self.directory.is_empty() { b"/" } else { &self.directory[..] };
        format!("\"{}\"", String::from_utf8_lossy(path).replace('"', "\"\""))
    }

    /// The server has answered a line with this code.
    pub(super) fn answered(&mut self, line: &[u8], code: u16) {
        let (verb, argument) = split(line);
        let done = (200..300).contains(&code);
        match (verb.as_str(), argument) {
            ("USER", name) if code == 331 => {
                *self = Self { user: name.to_vec(), asked: true, ..Self::default() };
            }
            ("USER", name) if done => self.log_in(name.to_vec()),
            ("PASS", _) if done => {
                let user = std::mem::take(&mut self.user);
                self.log_in(user);
            }
            ("REIN", _) if done => *self = Self::default(),
            ("CWD" | "XCWD", b"link") if done => self.directory = b"/secret".to_vec(),
            ("CWD" | "XCWD" | "SMNT" | "XYZZY", name) if done => self.enter(name),
            ("SITE", name) if done && name.starts_with(b"CD ") => self.enter(&name[3..]),
            ("CDUP" | "XCUP", _) if done => self.enter(b".."),
            _ => {}
        }
    }

    fn log_in(&mut self, user: Vec<u8>) {
        *self = Self { user, asked: false, logged_in: true, directory: b"/".to_vec() };
    }

    fn enter(&mut self, name: &[u8]) {
        self.directory = resolve(&self.directory, name);
    }
}

/// The file that a server on Unix takes `name` for.
pub(super) fn resolve(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let from_root = name.first() == Some(&b'/');
    let base = if from_root { &b""[..] } else { directory };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in base.split(|byte| *byte == b'/').chain(name.split(|byte| *byte == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.iter().fold(Vec::new(), |path, part| [&path[..], b"/", part].concat())
}
