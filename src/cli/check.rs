//! `ftpgate check`: what a configuration file means, or everything that is wrong with it.
//!
//! Not here: anything that needs the host (see `doctor`), but for a word on files that it has not, and
//! on what `advertise` and `data.slice` stand for here, and on whom root becomes: a configuration may be checked where it is written.

mod confinement;
mod explain;
mod external;
mod policy;
mod tls;

use super::{complain, show};
use crate::app;
use crate::config::{self, Config, Listener, Network, Problems, ProxyProtocol, SendHeader, Server};
use clap::Args;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// What is checked.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The configuration file (YAML).
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Tell which rule of the policy decides a question, and why: client=ADDRESS, and any of server,
    /// listener, user, tls, login, data, directory and command (docs/policy.md).
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    pub explain: Vec<String>,
}

pub(super) fn execute(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    Ok(match config::load(&arguments.config) {
        Ok(config) if !arguments.explain.is_empty() => {
            match explain::told(&config, &arguments.explain) {
                Ok(text) => {
                    show(&text)?;
                    ExitCode::SUCCESS
                }
                Err(problems) => {
                    eprint!("{problems}");
                    ExitCode::from(super::EXIT_CONFIG)
                }
            }
        }
        Ok(config) => {
            let mut text = describe(&arguments.config.display().to_string(), &config);
            let missing = tls::missing(&config);
            let missing_files = missing.iter().map(|missing| ("missing", missing.clone()));
            let no_slice = app::own_ports(&config).err();
            let no_slice = no_slice.map(|error| ("missing", error.to_string()));
            let confined = match confinement::here(&config, &arguments.config) {
                Ok(lines) => lines,
                Err(error) => {
                    eprintln!("{}: confinement.user: {error}", arguments.config.display());
                    return Ok(ExitCode::from(super::EXIT_CONFIG));
                }
            };
            let here = external::found(&config).into_iter().chain(no_slice).chain(confined);
            for (what, meaning) in here.chain(missing_files) {
                text += &format!("  {what:<9} {meaning}\n");
            }
            show(&text)?;
            // Where all are here, they are what will be used.
            match app::try_tls_files(&config) {
                Err(error) if missing.is_empty() => {
                    eprintln!("{}: {error:#}", arguments.config.display());
                    ExitCode::from(super::EXIT_CONFIG)
                }
                Ok(()) | Err(_) => ExitCode::SUCCESS,
            }
        }
        Err(problems) => complain(&problems),
    })
}

/// The report on a file without problems: one line per listener, then what holds for all.
///
/// `name` is how the file is called; nothing is read but `text`.
///
/// # Errors
/// Every problem of the text; print it as it is.
pub fn report(name: &str, text: &str) -> Result<String, Problems> {
    Ok(describe(name, &config::parse(name, text)?))
}

fn describe(name: &str, config: &Config) -> String {
    let mut report = format!("{name}: no problems\n");
    for (what, meaning) in lines(config) {
        // Writing to a String cannot fail.
        let _ = writeln!(report, "  {what:<9} {meaning}");
    }
    report
}

/// What a configuration means: the part and its meaning. A part without a name belongs to the one
/// above it.
pub(super) fn lines(config: &Config) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for listener in &config.listeners {
        lines.push(("listener", describe_listener(listener)));
        let sides = tls::sides(listener, &config.tls);
        lines.extend(sides.into_iter().map(|(side, meaning)| ("", format!("{side}: {meaning}"))));
        lines.extend(external::sides(listener).into_iter().map(|told| ("", told)));
        lines.extend(describe_headers(&listener.proxy_protocol).map(|meaning| ("", meaning)));
    }
    lines.extend(policy::lines(config));
    let data = &config.data;
    let blind = match data.blind_ports {
        Some(range) => format!(", blind ports {range}"),
        None => String::new(),
    };
    lines.push(("data", format!("path {}, {}{blind}", data.path.label(), own_ports(config))));
    lines.push(("firewall", describe_firewall(config)));
    if config.needs_ca() {
        lines.push(("local CA", config.tls.ca.certificate.display().to_string()));
    }
    let metrics = match config.telemetry.listen {
        Some(address) if config.telemetry.page => {
            format!("http://{address}/metrics; status page http://{address}/")
        }
        Some(address) => format!("http://{address}/metrics"),
        None => "not served".to_owned(),
    };
    lines.push(("metrics", metrics));
    if config.telemetry.listen.is_some() && !config.telemetry.page {
        lines.push(("status page", "not served".to_owned()));
    }
    let audit = &config.telemetry.audit;
    let file = audit.path.as_ref().map(|path| path.display().to_string());
    let journal = audit.journald.then(|| "the journal".to_owned());
    match [file, journal].into_iter().flatten().collect::<Vec<_>>() {
        places if places.is_empty() => {}
        places => lines.push(("audit", places.join(", and "))),
    }
    lines
}

/// The gateway's own data ports.
fn own_ports(config: &Config) -> String {
    let data = &config.data;
    let Ok((ports, number)) = app::own_ports(config) else {
        return format!("slice by the host's name, of {} of {}", data.slices, data.ports);
    };
    let slice = match data.slices {
        1 => String::new(),
        slices => format!(", slice {number} of {slices} of {}", data.ports),
    };
    format!("{} ports in {ports}{slice}", ports.len())
}

fn describe_listener(listener: &Listener) -> String {
    let ports: Vec<String> = listener.capture_ports.iter().map(u16::to_string).collect();
    let steered = match ports.as_slice() {
        [] => String::new(),
        ports => format!(", takes port {}", ports.join(", ")),
    };
    let server = match &listener.server {
        Server::Original => "wherever the client dialled".to_owned(),
        address @ Server::Address { .. } => address.to_string(),
    };
    format!(
        "{}: {} on {}{steered}; to {server}, which sees the {}'s address; {}; policy {}",
        listener.name,
        listener.capture.label(),
        listener.listen,
        listener.source.label(),
        tls::summary(&listener.tls),
        listener.policy,
    )
}

/// Whose PROXY headers are believed, and which are sent.
fn describe_headers(section: &ProxyProtocol) -> impl Iterator<Item = String> {
    let ProxyProtocol { accept_from, send, send_data } = section;
    let balancers: Vec<String> = accept_from.iter().map(Network::to_string).collect();
    let accepted = (!balancers.is_empty())
        .then(|| format!("connections from {} begin with a PROXY header", balancers.join(", ")));
    let version = match send {
        SendHeader::None => None,
        SendHeader::V1 => Some(1),
        SendHeader::V2 => Some(2),
    };
    let data = if *send_data { ", on data connections too" } else { "" };
    let sent = version.map(|v| format!("the server is sent PROXY headers, version {v}{data}"));
    [accepted, sent].into_iter().flatten()
}

fn describe_firewall(config: &Config) -> String {
    let firewall = &config.firewall;
    match firewall.backend {
        config::Backend::Nftables => {
            format!("nftables, table inet {}, mark {:#x}", firewall.table, firewall.mark)
        }
        config::Backend::None => "none: every data connection takes the relay path".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_file_is_told_in_plain_words() {
        let text = "listeners:\n  - name: out\n    capture: tproxy\n  - name: in\n    listen: \
                    \"[::]:21\"\n    server: \"[2001:db8::1]:2100\"\n";
        let report = report("x.yaml", text).unwrap();
        for expected in [
            "x.yaml: no problems",
            "out: tproxy on 0.0.0.0:2121, takes port 21; to wherever the client dialled",
            "in: direct on [::]:21; to [2001:db8::1]:2100, which sees the gateway's address",
            "path auto, 1000 ports in 50000-50999\n",
            "nftables, table inet ftpgate, mark 0x2100",
            "http://127.0.0.1:9121/metrics; status page http://127.0.0.1:9121/\n",
        ] {
            assert!(report.contains(expected), "{expected}\n{report}");
        }
    }

    #[test]
    fn proxy_headers_are_told_where_there_are_any() {
        let text = "listeners: [{ server: 'h:21', proxy_protocol: { accept_from: [10.0.0.0/8], \
                    send: v2, send_data: true } }]\n";
        let report = report("x.yaml", text).unwrap();
        for expected in [
            "connections from 10.0.0.0/8 begin with a PROXY header\n",
            "the server is sent PROXY headers, version 2, on data connections too\n",
        ] {
            assert!(report.contains(expected), "{expected}\n{report}");
        }
    }

    #[test]
    fn blind_ports_are_told_where_there_are_any() {
        let text = "listeners: [{ server: 'h:21' }]\ndata: { blind_ports: 60000-60100 }\n";
        let report = report("x.yaml", text).unwrap();
        assert!(report.contains("in 50000-50999, blind ports 60000-60100\n"), "{report}");
    }

    #[test]
    fn rules_are_told_with_what_they_do_not_see() {
        let text = "listeners: [{ server: 'h:21', policy: p }]\npolicies: { p: { deny: [DELE], \
                    profile: read_only } }\n";
        let report = report("x.yaml", text).unwrap();
        for expected in [
            "  policy    p: deny, profile, enclosed\n",
            "listener main: commands inside TLS from end to end are not seen",
        ] {
            assert!(report.contains(expected), "{expected}\n{report}");
        }
        let plain = super::report("x.yaml", "listeners: [{ server: 'h:21' }]\n").unwrap();
        assert!(!plain.contains("not seen") && !plain.contains("  policy "), "{plain}");
    }

    #[test]
    fn names_that_no_session_has_are_told() {
        let text = |server: &str| {
            format!(
                "listeners: [{{ {server}, policy: p }}]\npolicies: {{ p: {{ servers: [192.0.2.0/24, \
                 '*.bank.example'] }} }}\n"
            )
        };
        let report = super::report("x.yaml", &text("capture: tproxy")).unwrap();
        let expected =
            "listener main: sessions to *.bank.example are closed unless their addresses";
        assert!(report.contains(expected), "{report}");
        let named = super::report("x.yaml", &text("server: 'ftp.bank.example:21'")).unwrap();
        assert!(!named.contains("are closed"), "{named}");
    }

    #[test]
    fn the_slice_of_a_replica_is_told() {
        let text = "listeners: [{ server: 'h:21' }]\ndata: { slices: 4, slice: 1 }\n";
        let report = report("x.yaml", text).unwrap();
        let expected = "250 ports in 50250-50499, slice 1 of 4 of 50000-50999\n";
        assert!(report.contains(expected), "{report}");
    }

    #[test]
    fn a_bad_file_is_all_its_problems() {
        let text = "listener: []\ndata: { ports: 600-500 }\n";
        let problems = report("x.yaml", text).unwrap_err().to_string();
        assert!(problems.contains("did you mean `listeners`?"), "{problems}");
        assert!(problems.contains("x.yaml:2:16: data.ports:"), "{problems}");
        assert!(problems.contains("write 500-600"), "{problems}");
    }
}
