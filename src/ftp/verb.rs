//! The verbs of FTP commands: a closed set, so that each may become a metric label.
//!
//! Not here: the argument (see [`super::Command`]).

/// Declares the verbs with their spelling; the last one stands for every unknown word.
macro_rules! verbs {
    ($($(#[$doc:meta])* $variant:ident => $label:literal),+ $(,)?) => {
        /// The verb of a command.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Verb {
            $($(#[$doc])* $variant,)+
            /// Any other word.
            Other,
        }

        impl Verb {
            /// Every verb, `Other` last.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+ Self::Other];

            /// The verb in capitals, `OTHER` for unknown ones: the word of logs and metric labels.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)+
                    Self::Other => "OTHER",
                }
            }

            fn from_capitals(word: &str) -> Self {
                match word {
                    $($label => Self::$variant,)+
                    _ => Self::Other,
                }
            }
        }
    };
}

verbs! {
    /// User name (RFC 959).
    User => "USER",
    /// Password (RFC 959).
    Pass => "PASS",
    /// Account (RFC 959).
    Acct => "ACCT",
    /// Change working directory (RFC 959).
    Cwd => "CWD",
    /// CWD of RFC 775.
    Xcwd => "XCWD",
    /// Change to parent directory (RFC 959).
    Cdup => "CDUP",
    /// CDUP of RFC 775.
    Xcup => "XCUP",
    /// Structure mount (RFC 959).
    Smnt => "SMNT",
    /// Log out (RFC 959).
    Quit => "QUIT",
    /// Reinitialize (RFC 959).
    Rein => "REIN",
    /// Data port of the client (RFC 959).
    Port => "PORT",
    /// Ask the server to listen (RFC 959).
    Pasv => "PASV",
    /// Representation type (RFC 959).
    Type => "TYPE",
    /// File structure (RFC 959).
    Stru => "STRU",
    /// Transfer mode (RFC 959).
    Mode => "MODE",
    /// Retrieve (RFC 959).
    Retr => "RETR",
    /// Store (RFC 959).
    Stor => "STOR",
    /// Store unique (RFC 959).
    Stou => "STOU",
    /// Append (RFC 959).
    Appe => "APPE",
    /// Allocate (RFC 959).
    Allo => "ALLO",
    /// Restart (RFC 959, RFC 3659 §5).
    Rest => "REST",
    /// Rename from (RFC 959).
    Rnfr => "RNFR",
    /// Rename to (RFC 959).
    Rnto => "RNTO",
    /// Abort (RFC 959).
    Abor => "ABOR",
    /// Delete (RFC 959).
    Dele => "DELE",
    /// Remove directory (RFC 959).
    Rmd => "RMD",
    /// RMD of RFC 775.
    Xrmd => "XRMD",
    /// Make directory (RFC 959).
    Mkd => "MKD",
    /// MKD of RFC 775.
    Xmkd => "XMKD",
    /// Print working directory (RFC 959).
    Pwd => "PWD",
    /// PWD of RFC 775.
    Xpwd => "XPWD",
    /// List (RFC 959).
    List => "LIST",
    /// Name list (RFC 959).
    Nlst => "NLST",
    /// Site parameters (RFC 959).
    Site => "SITE",
    /// System (RFC 959).
    Syst => "SYST",
    /// Status, also in mid-transfer (RFC 959).
    Stat => "STAT",
    /// Help (RFC 959).
    Help => "HELP",
    /// No operation (RFC 959).
    Noop => "NOOP",
    /// Features (RFC 2389).
    Feat => "FEAT",
    /// Options (RFC 2389).
    Opts => "OPTS",
    /// Authentication mechanism (RFC 2228, RFC 4217).
    Auth => "AUTH",
    /// Authentication data (RFC 2228).
    Adat => "ADAT",
    /// Protection buffer size (RFC 2228).
    Pbsz => "PBSZ",
    /// Data protection level (RFC 2228).
    Prot => "PROT",
    /// Clear command channel (RFC 2228).
    Ccc => "CCC",
    /// Integrity-protected command (RFC 2228).
    Mic => "MIC",
    /// Confidentiality-protected command (RFC 2228).
    Conf => "CONF",
    /// Privacy-protected command (RFC 2228).
    Enc => "ENC",
    /// Extended PORT (RFC 2428).
    Eprt => "EPRT",
    /// Extended PASV (RFC 2428).
    Epsv => "EPSV",
    /// Long PORT (RFC 1639).
    Lprt => "LPRT",
    /// Long PASV (RFC 1639).
    Lpsv => "LPSV",
    /// Language (RFC 2640).
    Lang => "LANG",
    /// Modification time (RFC 3659).
    Mdtm => "MDTM",
    /// Set the modification time (draft-somers-ftp-mfxx).
    Mfmt => "MFMT",
    /// Set the creation time (draft-somers-ftp-mfxx).
    Mfct => "MFCT",
    /// Set facts (draft-somers-ftp-mfxx).
    Mff => "MFF",
    /// Facts of one file, on the control connection (RFC 3659).
    Mlst => "MLST",
    /// Facts of a directory's files (RFC 3659).
    Mlsd => "MLSD",
    /// Size (RFC 3659).
    Size => "SIZE",
    /// Virtual host (RFC 7151).
    Host => "HOST",
    /// Secured server-to-server transfer: who is the TLS client.
    Sscn => "SSCN",
    /// PASV with the server as TLS client.
    Cpsv => "CPSV",
    /// Name of the client program.
    Clnt => "CLNT",
    /// Client and server identification.
    Csid => "CSID",
    /// Available space.
    Avbl => "AVBL",
    /// Size of a directory.
    Dsiz => "DSIZ",
    /// Combine segments.
    Comb => "COMB",
    /// Byte range (draft-bryan-ftp-range).
    Rang => "RANG",
    /// Hash (draft-bryan-ftpext-hash).
    Hash => "HASH",
    /// MD5.
    Md5 => "MD5",
    /// MD5 of several files.
    Mmd5 => "MMD5",
    /// CRC-32.
    Xcrc => "XCRC",
    /// MD5.
    Xmd5 => "XMD5",
    /// SHA-1.
    Xsha => "XSHA",
    /// SHA-1.
    Xsha1 => "XSHA1",
    /// SHA-256.
    Xsha256 => "XSHA256",
    /// SHA-512.
    Xsha512 => "XSHA512",
}

/// Bytes of the longest known verb.
const LONGEST: usize = 7;

impl Verb {
    /// The verb that `word` spells, in capitals or not (RFC 959 §5.3).
    pub fn parse(word: &[u8]) -> Self {
        let mut capitals = [0; LONGEST];
        let Some(capitals) = capitals.get_mut(..word.len()) else { return Self::Other };
        capitals.copy_from_slice(word);
        capitals.make_ascii_uppercase();
        std::str::from_utf8(capitals).map_or(Self::Other, Self::from_capitals)
    }

    /// True for the commands that use a data connection.
    pub fn transfers_data(self) -> bool {
        matches!(
            self,
            Self::Retr
                | Self::Stor
                | Self::Stou
                | Self::Appe
                | Self::List
                | Self::Nlst
                | Self::Mlsd
        )
    }

    /// True for the commands that say where a data connection goes: PORT, PASV, EPRT, EPSV.
    pub fn negotiates_data(self) -> bool {
        matches!(self, Self::Port | Self::Pasv | Self::Eprt | Self::Epsv)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_read_from_its_label_in_any_case() {
        for &verb in Verb::ALL {
            let label = verb.label();
            assert_eq!(Verb::parse(label.as_bytes()), verb);
            assert_eq!(Verb::parse(label.to_ascii_lowercase().as_bytes()), verb);
            assert!(verb == Verb::Other || label.len() <= LONGEST, "{label}");
        }
        assert_eq!(Verb::parse(b"rEtR"), Verb::Retr);
    }

    #[test]
    fn other_words_are_other() {
        for word in [&b""[..], b"RET", b"RETRX", b"RETR ", b"\xffRETR", b"GET", b"XXXXXXXXXXXX"] {
            assert_eq!(Verb::parse(word), Verb::Other, "{word:?}");
        }
    }

    #[test]
    fn the_verbs_about_data_connections() {
        let transfers: Vec<_> = Verb::ALL.iter().filter(|v| v.transfers_data()).collect();
        use Verb::*;
        assert_eq!(transfers, [&Retr, &Stor, &Stou, &Appe, &List, &Nlst, &Mlsd]);
        let negotiates: Vec<_> = Verb::ALL.iter().filter(|v| v.negotiates_data()).collect();
        assert_eq!(negotiates, [&Port, &Pasv, &Eprt, &Epsv]);
    }
}
