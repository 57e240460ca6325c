//! The configuration: one YAML file, parsed once into plain validated types, every problem told at
//! once with file, line, column and key.
//!
//! | file | what it holds |
//! |---|---|
//! | `types`, `tls` | [`Config`] and its parts: what the rest of the program sees |
//! | `tree` | YAML text to a tree of values, each with its place |
//! | `section` | reading keys from the tree; unknown keys and their nearest neighbours |
//! | `file`, `file_tls` | the schema: every key with its default, walked over the tree |
//! | `advertise` | what stands in front of the gateway: its types, and how it is written |
//! | `confinement` | the section of that name, and what it contradicts |
//! | `limits` | the section of that name: its types and its keys |
//! | `check`, `check_tls` | what keys mean together: duplicates, contradictions, overlaps |
//! | `policy` | the section `policies`: its types, its keys, what they contradict, and the rules they come to |
//! | `proxy_protocol` | the section of that name: its types, its keys, and what they contradict |
//! | `value`, `value_tls` | single values: durations, ports, addresses, marks, paths, fingerprints |
//! | `reload` | what changes from one configuration to the next, and what needs a restart |
//! | `problem` | [`Problem`], [`Problems`] and how they print |
//!
//! The tree stands between YAML and the types because deserializing straight into the types ends at
//! the first mistake, and an operator should see them all.
//!
//! Not here: the parts' own settings (the application translates), and anything that needs the
//! host, such as whether an interface exists or a port can be bound.

mod advertise;
mod check;
mod check_tls;
mod confinement;
mod file;
mod file_tls;
mod limits;
mod policy;
mod problem;
mod proxy_protocol;
mod reload;
mod section;
#[cfg(test)]
mod tests;
mod tls;
mod tree;
mod types;
mod value;
mod value_tls;

pub use crate::policy::bypass::{BypassEntry, NamePattern, Network};
pub use advertise::{Advertise, AdvertiseChoice, shown as show_advertised};
pub use check::collide;
pub use limits::Limits;
pub use policy::{
    CccChoice, DataProtection, FxpChoice, PathLists, Permission, PolicyConfig, Profile, RuleConfig,
    command_meant,
};
pub use problem::{Problem, Problems};
pub use proxy_protocol::{ProxyProtocol, SendHeader};
pub use reload::{changes, fixed_changes};
pub use tls::{
    CaFiles, CertificateFiles, ClientCertificates, ListenerTls, Reuse, Roots, ServerCcc, Tls,
    TlsMode, TlsServer, TlsStart, UnmetCertificateRequest, Untrusted, Verify,
};
pub use types::{
    ADMIN_SOCKET, Admin, AuditConfig, Backend, Capture, Config, Data, FirewallConfig, Listener,
    LogConfig, ModeChoice, PathChoice, Server, Slice, Source, TelemetryConfig,
};
pub use value::parse_duration;

use std::collections::BTreeSet;
use std::path::Path;

/// Reads and checks the file at `path`.
///
/// # Errors
/// Every problem of the file together; a file that cannot be read is one problem without a line.
pub fn load(path: &Path) -> Result<Config, Problems> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&name, &text),
        Err(error) => {
            let message = format!("the file cannot be read: {error}");
            Err(Problems::new(&name, "", vec![Problem::of_file(message)]))
        }
    }
}

/// Checks `text`; `name` is how problems call the file, and the paths in it are relative to the
/// folder of that name.
///
/// # Errors
/// Every problem of the text together, in the order of the text.
pub fn parse(name: &str, text: &str) -> Result<Config, Problems> {
    let tree::Parsed { root, complaint } = tree::parse(text);
    let mut problems = Vec::new();
    if let Some(root) = root {
        let notes = section::Notes::default();
        let file = file::File::read(section::Section::root(&root, &notes));
        check::check(&file, &notes);
        problems = notes.into_problems();
        if problems.is_empty() && complaint.is_none() {
            return Ok(file.into_config(Path::new(name).parent().unwrap_or(Path::new(""))));
        }
    }
    // The walk tells of duplicate keys too, and with their names.
    problems.extend(complaint.filter(|c| !problems.iter().any(|problem| problem.at == c.at)));
    Err(Problems::new(name, text, problems))
}

/// Every key of the file that takes a value, dotted, with `[]` for the items of a list and `*` for a name of
/// the owner's choice: `listeners[].capture`, `policies.*.strict`. The reference is held against it.
pub fn keys() -> BTreeSet<String> {
    let notes = section::Notes::default();
    if let Some(root) = tree::parse("listeners: [{}]\npolicies: { x: { rules: [{}] } }\n").root {
        let _ = file::File::read(section::Section::root(&root, &notes));
    }
    notes.into_keys()
}
