//! What is in force, and what the host lacks, as far as it can be told without further rights; the
//! rest is told by `ftpgate doctor`.

use crate::config::{Backend, Config, PathChoice, PolicyConfig};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Long enough to bring another CA to every client.
const EXPIRES_SOON: Duration = Duration::from_secs(30 * DAY.as_secs());

/// Who carries data connections, and why.
pub(super) fn data_path(config: &Config, kernel: bool) -> &'static str {
    let path = config.data.path;
    if path == PathChoice::Relay {
        "the relay carries everything (data.path: relay)"
    } else if config.firewall.backend == Backend::None {
        "the relay carries everything, since there is no firewall"
    } else if !kernel {
        "the relay carries everything, since there are no conntrack events"
    } else if path == PathChoice::Kernel {
        "the kernel carries everything"
    } else {
        "the kernel carries what it can, the relay what it must"
    }
}

/// What is missing where the kernel carries data connections (`kernel`), and a local CA that ends
/// soon.
pub(super) fn missing(
    kernel: bool,
    ca_expires: Option<SystemTime>,
    now: SystemTime,
) -> Vec<String> {
    let mut notices = Vec::new();
    if kernel && is_off("net/ipv4/ip_forward") {
        notices.push(
            "net.ipv4.ip_forward is off, without which the kernel carries no IPv4 data connection: \
             sysctl -w net.ipv4.ip_forward=1"
                .to_owned(),
        );
    }
    if kernel && is_off("net/netfilter/nf_conntrack_acct") {
        notices.push(
            "net.netfilter.nf_conntrack_acct is off: bytes on the kernel path are not counted: \
             sysctl -w net.netfilter.nf_conntrack_acct=1"
                .to_owned(),
        );
    }
    notices.extend(ca_expires.and_then(|end| expiry(end, now)));
    notices
}

fn expiry(end: SystemTime, now: SystemTime) -> Option<String> {
    let left = end.duration_since(now).unwrap_or_default();
    (left < EXPIRES_SOON).then(|| {
        let days = left.as_secs() / DAY.as_secs();
        format!("the local CA (tls.ca) ends in {days} days: make another one, see docs/local-ca.md")
    })
}

/// Verbs in the policies that look like slips.
pub(super) fn doubtful_commands(config: &Config) -> Vec<String> {
    let told = |(name, policy): (&String, &PolicyConfig)| {
        let told = policy.doubtful_commands().into_iter();
        told.map(|told| format!("policy {name}: {told}")).collect::<Vec<_>>()
    };
    config.policies.iter().flat_map(told).collect()
}

/// Where the descriptors of this process are too few for `sessions`; `fits`: for how many they are
/// enough.
pub(super) fn descriptors(sessions: usize, fits: Option<u64>) -> Option<String> {
    let fits =
        fits.filter(|fits| u64::try_from(sessions).is_ok_and(|sessions| sessions > *fits))?;
    Some(format!(
        "limits.sessions is {sessions}, and the descriptors of this process are enough for {fits}: \
         raise its limit of open files (LimitNOFILE= in the systemd unit, ulimit -n), or lower \
         limits.sessions"
    ))
}

/// False also where the kernel does not have it.
fn is_off(key: &str) -> bool {
    let value = fs::read_to_string(Path::new("/proc/sys").join(key));
    value.is_ok_and(|value| value.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_is_told_of_a_month_before_its_end() {
        let now = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        assert_eq!(expiry(now + 31 * DAY, now), None);
        let told = expiry(now + 12 * DAY, now).unwrap();
        assert!(told.contains("in 12 days"), "{told}");
        assert!(expiry(now - DAY, now).unwrap().contains("in 0 days"));
    }

    #[test]
    fn sessions_that_do_not_fit_are_told_of() {
        assert_eq!(descriptors(500, Some(500)), None);
        assert_eq!(descriptors(500, None), None);
        let told = descriptors(10_000, Some(448)).unwrap();
        assert!(told.contains("10000") && told.contains("448"), "{told}");
    }

    #[test]
    fn the_data_path_is_what_is_had_and_not_what_is_wished() {
        let mut config = Config::for_server(([127, 0, 0, 1], 2121).into(), "h:21").unwrap();
        config.data.path = PathChoice::Auto;
        assert!(data_path(&config, false).contains("no firewall"));
        config.firewall = crate::config::FirewallConfig::default();
        assert!(data_path(&config, false).contains("conntrack"));
        assert!(data_path(&config, true).contains("the kernel carries"));
    }
}
