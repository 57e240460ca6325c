//! What a gateway gives up on this host, and what one that runs has given up.

use super::{Finding, State as Weight};
use crate::app;
use crate::config::Config;
use crate::confinement::{self, Right, State};
use rustix::net::sockopt::socket_peercred;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Findings about this host, about `config` with the file that it is from, and about the gateway that
/// answers at its control socket.
pub(super) fn findings(config: Option<(&Config, &Path)>) -> Vec<Finding> {
    let mut findings = vec![filter(), folders()];
    if let Some((config, file)) = config {
        findings.extend(becomes(config, file));
        findings.push(needed(config, file, State::of(std::process::id())));
        findings.extend(running(config));
    }
    findings
}

fn filter() -> Finding {
    const PURPOSE: &str = "confinement.seccomp: only the system calls of a gateway";
    if Path::new("/proc/sys/kernel/seccomp/actions_avail").exists() {
        Finding::ok("seccomp", PURPOSE)
    } else {
        Finding::note("no seccomp", PURPOSE, "a kernel with CONFIG_SECCOMP_FILTER")
    }
}

fn folders() -> Finding {
    const PURPOSE: &str = "confinement.landlock: only the folders of the configuration";
    if confinement::has_landlock() {
        Finding::ok("Landlock", PURPOSE)
    } else {
        Finding::note(
            "no Landlock",
            PURPOSE,
            "Linux 5.13 or newer with landlock in lsm= of the kernel's command line",
        )
    }
}

/// Whom root becomes, and what is out of reach then.
fn becomes(config: &Config, file: &Path) -> Vec<Finding> {
    const PURPOSE: &str = "confinement.user: not root";
    let user = match confinement::user(&config.confinement) {
        Ok(Some(user)) => user,
        Ok(None) => return Vec::new(),
        Err(error) => {
            return vec![Finding::missing("the user is missing", PURPOSE, error.to_string())];
        }
    };
    match confinement::unreachable(Some(&user), &app::needs(config, Some(file))) {
        Ok(denied) if denied.is_empty() => {
            vec![Finding::ok(format!("root becomes user {user}"), PURPOSE)]
        }
        Ok(denied) => {
            let note = |told| Finding::note("files that this user cannot reach", PURPOSE, told);
            denied.into_iter().map(note).collect()
        }
        Err(error) => vec![Finding::note(
            format!("root cannot become user {user} here"),
            PURPOSE,
            error.to_string(),
        )],
    }
}

/// What the configuration keeps, and whether whoever asks could give it that.
fn needed(config: &Config, file: &Path, held: Option<State>) -> Finding {
    const PURPOSE: &str = "what this configuration needs; everything else is dropped";
    let rights = app::needs(config, Some(file)).rights;
    let held = held.map(|state| state.effective).unwrap_or_default();
    let missing: Vec<Right> =
        rights.iter().filter(|right| !held.contains(right)).copied().collect();
    let what = match rights.as_slice() {
        [] => "keeps no capability".to_owned(),
        some => format!("keeps {}", names(some)),
    };
    match missing.as_slice() {
        [] => Finding::ok(what, PURPOSE),
        some => {
            let purposes: Vec<_> = some.iter().map(|right| right.purpose()).collect();
            Finding {
                state: Weight::Missing,
                what: format!("{what}; you have no {}", names(some)),
                purpose: PURPOSE,
                remedy: format!("run as root, or give it ({})", purposes.join("; ")),
            }
        }
    }
}

/// What a gateway that runs has given up; nothing if none answers.
fn running(config: &Config) -> Option<Finding> {
    const PURPOSE: &str = "the gateway that runs with this configuration";
    let socket = UnixStream::connect(config.admin.socket.as_ref()?).ok()?;
    let pid = socket_peercred(&socket).ok()?.pid.as_raw_nonzero().get().cast_unsigned();
    let state = State::of(pid)?;
    let on = |on: bool| if on { "on" } else { "OFF" };
    let more = if state.more > 0 { format!(" and {} more", state.more) } else { String::new() };
    Some(Finding {
        state: if state.filtered && state.no_new_privileges { Weight::Ok } else { Weight::Note },
        what: format!(
            "process {pid}: user {}, in effect: {}{more}, ambient: {}, no_new_privs {}, seccomp {}",
            state.uid,
            names(&state.effective),
            state.ambient,
            on(state.no_new_privileges),
            on(state.filtered),
        ),
        purpose: PURPOSE,
        remedy: String::new(),
    })
}

fn names(rights: &[Right]) -> String {
    match rights {
        [] => "none".to_owned(),
        some => some.iter().map(|right| right.name()).collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn a_right_that_is_needed_and_not_there_is_missing() {
        let config = parse("/x.yaml", "listeners: [{ server: 'h:21' }]").unwrap();
        let of = |effective: Vec<Right>| {
            needed(&config, Path::new("/x.yaml"), Some(State { effective, ..State::default() }))
        };
        assert_eq!(of(vec![Right::NetAdmin]).state, Weight::Ok);
        let missing = of(vec![Right::NetRaw]);
        assert_eq!(missing.state, Weight::Missing);
        assert!(missing.what.contains("you have no CAP_NET_ADMIN"), "{}", missing.what);
    }
}
