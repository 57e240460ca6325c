//! What keys mean together: every contradiction of the file, each told at the key that is easiest
//! to change.

use super::file::{File, ListenerFile};
use super::policy::{self, PolicyFile};
use super::section::{Found, Notes};
use super::types::{
    Backend, Capture, DEFAULT_POLICY, ModeChoice, PathChoice, Server, Slice, Source,
};
use super::value;
use super::{check_tls, proxy_protocol};
use crate::pinhole::PortRange;
use std::net::SocketAddr;

/// Notes every problem between values that are each readable by themselves.
pub(super) fn check(file: &File, notes: &Notes) {
    let listeners = match &file.listeners {
        Some(listeners) => listeners.as_slice(),
        None => &[],
    };
    if listeners.is_empty() && !notes.complained_about("listeners") && !notes.complained_about("") {
        notes.problem(
            file.listeners_at,
            "listeners",
            "no listener: write at least one, for example\n      listeners:\n        - name: main\n          \
             listen: \"0.0.0.0:2121\"\n          server: \"192.0.2.10:21\"",
        );
    }
    for (index, listener) in listeners.iter().enumerate() {
        let earlier = &listeners[..index];
        check_names(listener, earlier, notes);
        check_addresses(listener, earlier, file, notes);
        check_capture(listener, notes);
        check_server(listener, notes);
        check_steered_ports(listener, earlier, notes);
        check_tls::check_listener(&listener.tls, &file.tls, notes);
        proxy_protocol::check(listener, file, notes);
        check_policy(listener, file, notes);
        check_backend(listener, file, notes);
    }
    check_tls::check_tls(&file.tls, listeners, notes);
    for policy in &file.policies {
        policy::check(policy, listeners, notes);
    }
    check_data(file, listeners, notes);
    file.confinement.check(notes);
}

fn check_names(listener: &ListenerFile, earlier: &[ListenerFile], notes: &Notes) {
    let Some(name) = listener.name.good() else { return };
    if earlier.iter().any(|other| other.name.good() == Some(name)) {
        notes.problem_with(
            &listener.name,
            format!("another listener is called `{name}` already: write another name"),
        );
    }
}

fn check_addresses(listener: &ListenerFile, earlier: &[ListenerFile], file: &File, notes: &Notes) {
    let Some(listen) = listener.listen.good() else { return };
    let same = |other: &&ListenerFile| other.listen.good().is_some_and(|o| collide(*listen, *o));
    if let Some(other) = earlier.iter().find(same) {
        notes.problem_with(
            &listener.listen,
            format!(
                "`{listen}` is taken by listener `{}` already: write another port or address",
                other.name.value
            ),
        );
    }
    if let Some(Some(metrics)) = file.telemetry_listen.good()
        && collide(*listen, *metrics)
    {
        notes.problem_with(
            &file.telemetry_listen,
            format!(
                "`{metrics}` is taken by listener `{}`: write another port",
                listener.name.value
            ),
        );
    }
}

/// True if the two addresses cannot both be listened on.
pub fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_host = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && same_host
}

fn check_capture(listener: &ListenerFile, notes: &Notes) {
    let Some(capture) = listener.capture.good() else { return };
    let ports = listener.capture_ports.good().and_then(Option::as_ref);
    match (capture, ports) {
        (Capture::Direct, Some(ports)) if !ports.is_empty() => notes.problem_with(
            &listener.capture_ports,
            "`direct` steers no ports here, clients dial `listen` itself: leave capture_ports out, \
             or write capture: redirect or tproxy",
        ),
        (Capture::Redirect | Capture::Tproxy, Some(ports)) if ports.is_empty() => notes
            .problem_with(
                &listener.capture_ports,
                format!(
                    "`{}` without a port would steer nothing here: write for example [21]",
                    capture.label()
                ),
            ),
        (Capture::Direct | Capture::Redirect | Capture::Tproxy, _) => {}
    }
    let Some(listen) = listener.listen.good() else { return };
    if *capture != Capture::Direct && listen.ip().is_loopback() {
        let any = if listen.is_ipv4() { "0.0.0.0" } else { "[::]" };
        notes.problem_with(
            &listener.listen,
            format!(
                "packets that `{}` steers here come from other hosts, which a loopback address \
                 cannot serve: write \"{any}:{}\"",
                capture.label(),
                listen.port()
            ),
        );
    }
}

fn check_server(listener: &ListenerFile, notes: &Notes) {
    let (Some(capture), Some(server)) = (listener.capture.good(), listener.server.good()) else {
        return;
    };
    match server {
        Server::Original if *capture == Capture::Direct => notes.problem_with(
            &listener.server,
            "clients of a `direct` listener dial the gateway, so there is no original server: \
             write server: \"HOST:PORT\", or capture: redirect or tproxy",
        ),
        Server::Original => {}
        Server::Address { host, port } => {
            let itself = host
                .parse()
                .is_ok_and(|host| listener.listen.good() == Some(&SocketAddr::new(host, *port)));
            if itself {
                notes.problem_with(
                    &listener.server,
                    "this is the listener itself, sessions would run in a circle: write the \
                     address of the FTP server",
                );
            }
        }
    }
}

fn check_steered_ports(listener: &ListenerFile, earlier: &[ListenerFile], notes: &Notes) {
    let (Some(_), Some(_), Some(listen)) =
        (listener.capture.good(), listener.capture_ports.good(), listener.listen.good())
    else {
        return;
    };
    for port in listener.steered_ports() {
        let same = |other: &&ListenerFile| {
            other.capture_ports.good().is_some()
                && other.listen.good().is_some_and(|o| o.is_ipv4() == listen.is_ipv4())
                && other.steered_ports().contains(&port)
        };
        if let Some(other) = earlier.iter().find(same) {
            notes.problem_with(
                &listener.capture_ports,
                format!(
                    "port {port} is steered to listener `{}` already: write other capture_ports",
                    other.name.value
                ),
            );
        }
    }
}

fn check_policy(listener: &ListenerFile, file: &File, notes: &Notes) {
    let Some(policy) = listener.policy.good() else { return };
    let mut known: Vec<&str> = file.policies.iter().map(PolicyFile::name).collect();
    known.extend((!known.contains(&DEFAULT_POLICY)).then_some(DEFAULT_POLICY));
    if known.contains(&policy.as_str()) {
        return;
    }
    known.sort_unstable();
    notes.problem_with(
        &listener.policy,
        format!(
            "there is no policy `{policy}`: write {}, or add `{policy}` under policies",
            value::one_of(&known)
        ),
    );
}

fn check_backend(listener: &ListenerFile, file: &File, notes: &Notes) {
    if file.firewall.backend.good() != Some(&Backend::None) {
        return;
    }
    if let Some(capture @ (Capture::Redirect | Capture::Tproxy)) = listener.capture.good() {
        notes.problem_with(
            &listener.capture,
            format!(
                "it is ftpgate's own table that steers `{}` connections here, and \
                 firewall.backend is none: write backend: nftables, or capture: direct",
                capture.label()
            ),
        );
    }
    if listener.source.good() == Some(&Source::Client) {
        notes.problem_with(
            &listener.source,
            "it is ftpgate's own table that brings the server's answers to the client's address \
             back here, and firewall.backend is none: write backend: nftables, or source: gateway",
        );
    }
}

fn check_data(file: &File, listeners: &[ListenerFile], notes: &Notes) {
    let data = &file.data;
    if data.path.good() == Some(&PathChoice::Kernel) {
        if file.firewall.backend.good() == Some(&Backend::None) {
            notes.problem_with(
                &data.path,
                "the kernel path needs ftpgate's own table, and firewall.backend is none: write \
                 path: relay or auto, or backend: nftables",
            );
        }
        if let Some(ModeChoice::Passive | ModeChoice::Active) = data.mode.good() {
            notes.problem_with(
                &data.mode,
                "the kernel cannot convert between active and passive mode: write mode: keep, or \
                 path: auto or relay",
            );
        }
        check_tls::check_kernel_path(&data.path, listeners, notes);
    }
    check_slices(file, notes);
    if let Some(range) = data.ports.good() {
        check_range(*range, &data.ports, file, listeners, notes);
    }
    if let Some(Some(range)) = data.blind_ports.good() {
        check_blind_range(*range, file, notes);
        check_range(*range, &data.blind_ports, file, listeners, notes);
    }
}

fn check_slices(file: &File, notes: &Notes) {
    let data = &file.data;
    let Some(slices) = data.slices.good() else { return };
    if let Some(ports) = data.ports.good()
        && ports.len() < usize::from(*slices)
    {
        notes.problem_with(
            &data.slices,
            format!(
                "data.ports has {} ports, too few to cut into {slices} parts: write a wider range, or \
                 fewer slices",
                ports.len()
            ),
        );
    }
    if let Some(Slice::Number(number)) = data.slice.good()
        && number >= slices
    {
        let wanted = match slices - 1 {
            0 => "0, or more slices".to_owned(),
            last => format!("0 to {last}, or more slices"),
        };
        notes.problem_with(
            &data.slice,
            format!("there is no part {number} of {slices}, which count from 0: write {wanted}"),
        );
    }
}

fn check_blind_range(range: PortRange, file: &File, notes: &Notes) {
    let data = &file.data;
    if file.firewall.backend.good() == Some(&Backend::None) {
        notes.problem_with(
            &data.blind_ports,
            "it is ftpgate's own table that opens these ports, and firewall.backend is none: write \
             backend: nftables, or blind_ports: none",
        );
    }
    if let Some(own) = data.ports.good()
        && range.first() <= own.last()
        && own.first() <= range.last()
    {
        notes.problem_with(
            &data.blind_ports,
            format!(
                "the range {range} holds ports of data.ports, {own}, which are the gateway's own: \
                 write another range"
            ),
        );
    }
}

/// No range of data ports may hold a port that means something else already.
fn check_range<T>(
    range: PortRange,
    written: &Found<T>,
    file: &File,
    listeners: &[ListenerFile],
    notes: &Notes,
) {
    let inside = |port: u16| (range.first()..=range.last()).contains(&port);
    let complain = |port: u16, of: String| {
        notes.problem_with(
            written,
            format!("the range {range} holds port {port}, which is {of}: write another range"),
        );
    };
    for listener in listeners {
        let name = &listener.name.value;
        if let Some(listen) = listener.listen.good().filter(|listen| inside(listen.port())) {
            complain(listen.port(), format!("the port of listener `{name}`"));
        }
        if listener.capture.good().is_some() && listener.capture_ports.good().is_some() {
            for port in listener.steered_ports().into_iter().filter(|port| inside(*port)) {
                complain(port, format!("a capture port of listener `{name}`"));
            }
        }
    }
    if let Some(Some(metrics)) = file.telemetry_listen.good()
        && inside(metrics.port())
    {
        complain(metrics.port(), "the port of telemetry.listen".to_owned());
    }
}
