//! The commands of profiles: what a client needs that only reads, and one that only adds. What is not
//! named here is refused, so that a command nobody has thought of writes nothing.
//!
//! Not here: what a session needs in any case (see `command`).

/// The commands that read. MDTM with a time counts as MFMT and is not among them.
pub const READ_ONLY: &[&str] = &[
    // To get about and to list.
    "CDUP",
    "CWD",
    "LIST",
    "MLSD",
    "MLST",
    "NLST",
    "STAT",
    // To fetch, whole or a range (draft-bryan-ftp-range).
    "RETR",
    "RANG",
    // What is known about files: sizes, times, sums, room.
    "AVBL",
    "DSIZ",
    "HASH",
    "MD5",
    "MDTM",
    "MMD5",
    "SIZE",
    "XCRC",
    "XMD5",
    "XSHA",
    "XSHA1",
    "XSHA256",
    "XSHA512",
    // Every other SITE command may change something.
    "SITE HELP",
];

/// The commands that add files and folders, and those that show names, sizes and times. No content
/// leaves, not even a sum of it; nothing is renamed or removed.
pub const UPLOAD_ONLY: &[&str] = &[
    "CDUP",
    "CWD",
    "LIST",
    "MLSD",
    "MLST",
    "NLST",
    "STAT",
    "APPE",
    "MKD",
    "STOR",
    "STOU",
    "AVBL",
    "DSIZ",
    "MDTM",
    "SIZE",
    // Clients set the time of what they have stored.
    "MFCT",
    "MFMT",
    "SITE HELP",
];

/// Lines that hold a command which nobody but the two ends can read (RFC 2228 §4).
pub const ENCLOSED: &[&str] = &["CONF", "ENC", "MIC"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::CommandPattern;

    #[test]
    fn every_entry_is_a_command_that_no_session_needs() {
        for text in READ_ONLY.iter().chain(UPLOAD_ONLY) {
            let command = CommandPattern::parse(text).unwrap();
            assert!(!command.is_basic() && !command.logs_in(), "{text}");
            assert_eq!(command.to_string(), *text, "in its usual spelling");
        }
    }

    #[test]
    fn no_profile_removes_or_renames() {
        for verb in ["DELE", "RMD", "RNFR", "RNTO", "COMB", "SMNT", "MFF", "SITE"] {
            assert!(!READ_ONLY.contains(&verb) && !UPLOAD_ONLY.contains(&verb), "{verb}");
        }
        let writes = ["APPE", "STOR", "STOU", "MKD", "MFMT", "MFCT"];
        assert!(!READ_ONLY.iter().any(|verb| writes.contains(verb)));
        let tells = ["RETR", "RANG", "HASH", "MD5", "XCRC", "XSHA"];
        assert!(!UPLOAD_ONLY.iter().any(|verb| tells.contains(verb)));
    }
}
