//! The gateway's own data ports: all of `data.ports`, or the part of one replica of several.

use crate::config::{Config, Data, Slice};
use crate::pinhole::PortRange;
use anyhow::Context;
use std::fs;

/// The ports of `data.ports` that are this gateway's, and the number of their part.
///
/// # Errors
/// `data.slice: hostname`, and the name of this host ends with no number, or with one that is none of
/// `data.slices`: the key, the name, and what to do.
pub fn own_ports(config: &Config) -> anyhow::Result<(PortRange, u16)> {
    own_ports_on(&config.data, &host_name())
}

fn own_ports_on(data: &Data, host: &str) -> anyhow::Result<(PortRange, u16)> {
    let Data { ports, slices, slice, .. } = data;
    let shown = host.escape_debug();
    let number = match slice {
        _ if *slices == 1 => 0,
        Slice::Number(number) => *number,
        Slice::Hostname => number_of(host).with_context(|| {
            format!(
                "data.slice: hostname: the name of this host, `{shown}`, does not end with `-` and a \
                 number, as `ftpgate-0` does: write the number of its slice instead"
            )
        })?,
    };
    let own = ports.slice(number, *slices).with_context(|| {
        format!(
            "data.slice: {slice}: this host, `{shown}`, would have slice {number} of {slices}, which \
             count from 0: write data.slices for as many replicas as there are"
        )
    })?;
    Ok((own, number))
}

/// The number that the name of a host ends with, its domain aside.
fn number_of(host: &str) -> Option<u16> {
    let name = host.split_once('.').map_or(host, |(name, _)| name);
    let (_, number) = name.rsplit_once('-')?;
    // A sign would be a number's, too.
    number.bytes().all(|digit| digit.is_ascii_digit()).then(|| number.parse().ok())?
}

/// The name of this host, as `hostname` tells it; empty where there is none.
fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(host: &str, slices: u16, slice: Slice) -> Result<String, String> {
        let data = Data { slices, slice, ..Data::default() };
        let own = own_ports_on(&data, host);
        own.map(|(ports, number)| format!("{number}: {ports}")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_slice_is_the_number_behind_the_hosts_name() {
        assert_eq!(on("ftpgate-2", 4, Slice::Hostname).unwrap(), "2: 50500-50749");
        assert_eq!(on("ftp-gate-0", 2, Slice::Hostname).unwrap(), "0: 50000-50499");
        assert_eq!(on("gw-1.ha-7.example", 2, Slice::Hostname).unwrap(), "1: 50500-50999");
        assert_eq!(on("anything", 4, Slice::Number(3)).unwrap(), "3: 50750-50999");
        assert_eq!(on("anything", 1, Slice::Hostname).unwrap(), "0: 50000-50999");
    }

    #[test]
    fn a_host_that_is_no_replica_is_named() {
        for host in ["gateway", "gateway-", "gateway-a1", "gateway-+1", "gateway-99999", "", "1"] {
            let told = on(host, 2, Slice::Hostname).unwrap_err();
            let expected = format!("data.slice: hostname: the name of this host, `{host}`");
            assert!(told.starts_with(&expected), "{told}");
        }
        let told = on("ftpgate-2", 2, Slice::Hostname).unwrap_err();
        assert!(told.contains("`ftpgate-2`, would have slice 2 of 2"), "{told}");
    }
}
