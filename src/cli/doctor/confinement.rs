//! What a gateway gives up on this host, and what one that runs has given up.

use super::Finding;
use crate::app;
use crate::config::Config;
use crate::confinement::{self, Right, State, names};
use rustix::net::sockopt::socket_peercred;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Findings about this host, and about who asks.
pub(super) fn of_host() -> Vec<Finding> {
    let asking = State::of(std::process::id()).map(|state| asking(&state));
    asking.into_iter().chain([filter(), folders()]).collect()
}

/// Findings about `config`, which is in `file`, and about the gateway that answers at its control socket.
pub(super) fn of_config(config: &Config, file: &Path) -> Vec<Finding> {
    let (mut findings, kept) = becomes(config, file);
    findings.push(needed(config, file, &kept, State::of(std::process::id())));
    let user = confinement::user(&config.confinement).ok().flatten();
    let missing = |told| Finding::missing("a folder is missing", "files that are written", told);
    findings.extend(app::missing_folders(config, user.as_ref()).into_iter().map(missing));
    let needs = app::needs(config, Some(file));
    findings.extend(running(config).map(|(pid, state)| runs(pid, &state, &needs.rights)));
    findings
}

/// What `run` would begin with.
fn asking(state: &State) -> Finding {
    let State { uid, effective, ambient, .. } = state;
    Finding::ok(
        format!("you: user {uid}, in effect: {effective}, ambient: {ambient}"),
        "capabilities; run begins with yours, or the service's",
    )
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

/// Whom root becomes, what is out of reach then, and the rights that are kept for it.
fn becomes(config: &Config, file: &Path) -> (Vec<Finding>, Vec<Right>) {
    const PURPOSE: &str = "confinement.user: not root";
    let user = match confinement::user(&config.confinement) {
        Ok(Some(user)) => user,
        Ok(None) => return (Vec::new(), Vec::new()),
        Err(error) => {
            let missing = Finding::missing("the user is missing", PURPOSE, error.to_string());
            return (vec![missing], Vec::new());
        }
    };
    match confinement::unreachable(Some(&user), &app::needs(config, Some(file))) {
        Ok(denied) if denied.told.is_empty() => {
            (vec![Finding::ok(format!("root becomes user {user}"), PURPOSE)], Vec::new())
        }
        Ok(denied) => {
            let what = format!("root becomes user {user}, who cannot reach every file");
            let note = |told| Finding::note(what.clone(), PURPOSE, told);
            (denied.told.into_iter().map(note).collect(), denied.kept)
        }
        Err(error) => {
            let remedy = format!(
                "{error}: give the process CAP_SETUID and CAP_SETGID, or start it as another user"
            );
            let what = format!("root cannot become user {user} here");
            (vec![Finding::note(what, PURPOSE, remedy)], Vec::new())
        }
    }
}

/// What the configuration keeps, `kept` for files among it, and whether whoever asks could give it that.
fn needed(config: &Config, file: &Path, kept: &[Right], held: Option<State>) -> Finding {
    const PURPOSE: &str = "what this configuration needs; everything else is dropped";
    let rights = [&app::needs(config, Some(file)).rights, kept].concat();
    let held = held.map(|state| state.effective).unwrap_or_default();
    let missing: Vec<Right> = rights.iter().filter(|right| !held.holds(**right)).copied().collect();
    let told = match config.confinement.drop_capabilities {
        true => format!("keeps {}", names(&rights)),
        false => format!("needs {}, and keeps all (capabilities: keep)", names(&rights)),
    };
    let of = |rights: &[Right]| {
        rights.iter().map(|right| right.purpose()).collect::<Vec<_>>().join("; ")
    };
    let remedy = match (missing.as_slice(), kept) {
        ([], []) => return Finding::ok(told, PURPOSE),
        ([], kept) => {
            let remedy = format!("{} for {}, as told above", names(kept), of(kept));
            return Finding::note(told, PURPOSE, remedy);
        }
        (missing, _) => format!("run as root, or give it ({})", of(missing)),
    };
    Finding::missing(format!("{told}; you have no {}", names(&missing)), PURPOSE, remedy)
}

/// The gateway that answers, if one does.
fn running(config: &Config) -> Option<(u32, State)> {
    let socket = UnixStream::connect(config.admin.socket.as_ref()?).ok()?;
    let pid = socket_peercred(&socket).ok()?.pid.as_raw_nonzero().get().cast_unsigned();
    Some((pid, State::of(pid)?))
}

/// What it has given up, compared with the rights that its configuration needs.
fn runs(pid: u32, state: &State, needed: &[Right]) -> Finding {
    const PURPOSE: &str = "the gateway that runs with this configuration";
    let on = |on: bool| if on { "on" } else { "OFF" };
    let State { uid, effective, ambient, no_new_privileges, filtered } = state;
    let what = format!(
        "process {pid}: user {uid}, in effect: {effective}, ambient: {ambient}, no_new_privs {}, seccomp {}",
        on(*no_new_privileges),
        on(*filtered),
    );
    let mut remedies = Vec::new();
    if effective.exceeds(needed) {
        remedies.push(format!(
            "it has more than {}: for files, which its log and the lines above name, or by `capabilities: keep`",
            names(needed)
        ));
    }
    if !no_new_privileges || !filtered {
        remedies.push("its log says why, at the start: `confinement.`".to_owned());
    }
    match remedies.as_slice() {
        [] => Finding::ok(what, PURPOSE),
        some => Finding::note(what, PURPOSE, some.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State as Weight;
    use super::*;
    use crate::config::parse;

    fn state(effective: &str) -> State {
        let status =
            format!("Uid:\t0\t0\t0\t0\nCapEff:\t{effective}\nNoNewPrivs:\t1\nSeccomp:\t2\n");
        State::read(&status).unwrap()
    }

    const NET_ADMIN: &str = "1000";
    const NET_ADMIN_AND_FILES: &str = "1004";

    #[test]
    fn a_right_that_is_needed_and_not_there_is_missing() {
        let config = parse("/x.yaml", "listeners: [{ server: 'h:21' }]").unwrap();
        let of = |kept: &[Right], effective: &str| {
            needed(&config, Path::new("/x.yaml"), kept, Some(state(effective)))
        };
        assert_eq!(of(&[], NET_ADMIN).state, Weight::Ok);
        let missing = of(&[], "2000");
        assert_eq!(missing.state, Weight::Missing);
        assert!(missing.what.contains("you have no CAP_NET_ADMIN"), "{}", missing.what);
        let kept = of(&[Right::ReadFiles], NET_ADMIN_AND_FILES);
        assert_eq!(kept.state, Weight::Note);
        assert_eq!(kept.what, "keeps CAP_NET_ADMIN CAP_DAC_READ_SEARCH");
        assert!(kept.remedy.contains("files that the user may not read"), "{}", kept.remedy);
    }

    #[test]
    fn a_gateway_that_has_more_than_it_needs_is_noted() {
        let well = runs(7, &state(NET_ADMIN), &[Right::NetAdmin]);
        assert_eq!((well.state, well.remedy.as_str()), (Weight::Ok, ""));
        assert!(well.what.contains("in effect: CAP_NET_ADMIN, ambient: none, no_new_privs on"));
        let more = runs(7, &state(NET_ADMIN_AND_FILES), &[Right::NetAdmin]);
        assert_eq!(more.state, Weight::Note);
        assert!(more.remedy.contains("more than CAP_NET_ADMIN: for files"), "{}", more.remedy);
        let open = runs(7, &State { filtered: false, ..state("0") }, &[]);
        assert_eq!(open.state, Weight::Note);
        assert!(open.what.contains("seccomp OFF") && !open.remedy.is_empty());
    }
}
