//! `policies`: its types, its keys, what they contradict, and the rules that they come to.
//!
//! | file | what it holds |
//! |---|---|
//! | `file` | the keys |
//! | `value` | single values: commands, patterns, replies |
//! | `check` | what contradicts, and rules that could never apply |
//! | `barred` | keys that together leave nobody anything |
//! | `compile` | the rules of one listener, in the order in which they are asked |

mod barred;
mod check;
mod compile;
mod file;
mod value;

pub use value::command_meant;

pub(super) use check::check;
pub(super) use file::PolicyFile;

use super::section::Found;
use crate::policy::bypass::{BypassEntry, Network};
use crate::policy::{Among, CommandPattern, Pattern, Rule};

/// What may pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyConfig {
    /// A 227 that names another host is refused instead of corrected (CVE-2020-8284).
    pub strict: bool,
    /// Data ports below 1024 may be named (RFC 2577 §3 advises against it).
    pub low_ports: bool,
    /// What clients may do with files.
    pub profile: Profile,
    /// Commands that are refused.
    pub deny: Vec<CommandPattern>,
    /// The only commands, besides what a session needs; empty: every one.
    pub allow_only: Vec<CommandPattern>,
    /// Which files commands may name.
    pub paths: PathLists,
    /// Logins as `anonymous` or `ftp` (RFC 1635).
    pub anonymous: Permission,
    /// The only servers; empty: every one.
    pub servers: Vec<BypassEntry>,
    /// Active mode of clients (PORT, EPRT).
    pub active: Permission,
    /// Data connections from server to server (RFC 959 §5.2).
    pub fxp: FxpChoice,
    /// Where a client may send a server besides to itself, with [`FxpChoice::Listed`].
    pub fxp_peers: Vec<Network>,
    /// How data connections have to be protected.
    pub data_protection: DataProtection,
    /// The way back to clear text.
    pub ccc: CccChoice,
    /// The owner's own rules, asked ahead of all other keys.
    pub rules: Vec<RuleConfig>,
}

/// What clients may do with files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// All that the server lets them.
    #[default]
    All,
    /// Look and fetch.
    ReadOnly,
    /// Look and add.
    UploadOnly,
}

impl Profile {
    /// The word of the file.
    pub const fn label(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::ReadOnly => "read_only",
            Self::UploadOnly => "upload_only",
        }
    }
}

/// Which files commands may name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathLists {
    /// None of these.
    pub deny: Vec<Pattern>,
    /// Only these; empty: every one.
    pub allow_only: Vec<Pattern>,
    /// Capital and small letters are the same in all patterns on paths of this policy.
    pub ignore_case: bool,
}

/// Whether something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Permission {
    /// It may.
    #[default]
    Allow,
    /// It may not.
    Refuse,
}

impl Permission {
    /// The word of the file.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Refuse => "refuse",
        }
    }
}

/// Whether a client may send a server to another host than itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FxpChoice {
    /// No.
    #[default]
    Never,
    /// To hosts in the client's own network.
    SameNet,
    /// To those of a list.
    Listed,
}

impl FxpChoice {
    /// The word of the file.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::SameNet => "same_net",
            Self::Listed => "listed",
        }
    }
}

/// How data connections have to be protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DataProtection {
    /// As the two sides agree.
    #[default]
    Any,
    /// By TLS (PROT P).
    Private,
}

impl DataProtection {
    /// The word of the file.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Private => "private",
        }
    }
}

/// Whether a client may send CCC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CccChoice {
    /// Yes.
    #[default]
    Allow,
    /// No.
    Refuse,
    /// Once it is logged in.
    AfterLogin,
}

impl CccChoice {
    /// The word of the file.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Refuse => "refuse",
            Self::AfterLogin => "after_login",
        }
    }
}

/// A rule, and the listeners whose sessions it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleConfig {
    /// Their names.
    pub listeners: Among<String>,
    /// The rule.
    pub rule: Rule,
}
