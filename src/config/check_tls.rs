//! What keys mean together with the mode of TLS: a key that would have no effect is a contradiction
//! too, since whoever writes it relies on it.

use super::file::ListenerFile;
use super::file_tls::{ListenerTlsFile, PairFile, TlsFile, TlsServerFile};
use super::section::{Found, Notes};
use super::tls::{
    ClientCertificates, Roots, TlsMode, TlsStart, UnmetCertificateRequest, Untrusted, Verify,
};
use super::types::PathChoice;

/// Notes every problem of one listener.
pub(super) fn check_listener(tls: &ListenerTlsFile, file: &TlsFile, notes: &Notes) {
    let Some(mode) = tls.mode.good().copied() else { return };
    check_start(mode, tls, notes);
    check_required(mode, &tls.required, notes);
    if !mode.serves_clients() {
        let advice = "clients have no TLS with the gateway itself here: leave it out, or write mode: intercept \
                      or offload";
        no_effect(mode, &tls.client_reuse, advice, notes);
        no_effect(mode, &tls.client_certificates, advice, notes);
    } else if tls.client_certificates.good() == Some(&ClientCertificates::Require)
        && file.client_roots.good() == Some(&None)
    {
        notes.problem_with(
            &tls.client_certificates,
            "nothing says who signs the clients' certificates: write tls: { client: { roots: FILE \
             } }, or client_certificates: none",
        );
    }
    if !mode.dials_servers() {
        let advice = "the gateway has no TLS of its own with servers here: leave it out, or write \
                      mode: intercept or originate";
        no_effect(mode, &tls.verify, advice, notes);
        no_effect(mode, &tls.server_ccc, advice, notes);
    }
    check_bypass(mode, tls, notes);
}

/// Complains about a value that is not the default.
fn no_effect<T: Default + PartialEq>(mode: TlsMode, found: &Found<T>, advice: &str, notes: &Notes) {
    if found.good().is_some_and(|value| *value != T::default()) {
        let mode = mode.label();
        notes.problem_with(found, format!("with mode {mode} it has no effect, {advice}"));
    }
}

fn check_start(mode: TlsMode, tls: &ListenerTlsFile, notes: &Notes) {
    let (client, server) = (&tls.client_start, &tls.server_start);
    let none = |start: &Found<TlsStart>, whose: &str, instead: &str| {
        if start.good().is_some_and(|start| *start != TlsStart::Explicit) {
            let mode = mode.label();
            let message =
                format!("with mode {mode} {whose} no TLS to start: write explicit, or {instead}");
            notes.problem_with(start, message);
        }
    };
    match mode {
        TlsMode::Passthrough => {
            let (Some(of_client), Some(of_server)) = (client.good(), server.good()) else { return };
            if of_client != of_server {
                notes.problem_with(
                    server,
                    format!(
                        "with mode passthrough TLS runs from the client to the server, and starts \
                         on both sides alike: write {}, as for client_start, or change that, or \
                         write mode: intercept",
                        of_client.label()
                    ),
                );
            }
        }
        TlsMode::Intercept => {}
        TlsMode::Offload => none(server, "servers have", "mode: intercept"),
        TlsMode::Originate => none(client, "clients have", "mode: intercept"),
        TlsMode::Refuse => {
            none(client, "there is", "mode: passthrough");
            none(server, "there is", "mode: passthrough");
        }
    }
}

fn check_required(mode: TlsMode, required: &Found<bool>, notes: &Notes) {
    if required.good() != Some(&true) {
        return;
    }
    match mode {
        TlsMode::Originate => notes.problem_with(
            required,
            "with mode originate clients have no TLS, so nobody could log in: write false (towards \
             servers there is no login without TLS in any case), or mode: intercept",
        ),
        TlsMode::Refuse => notes.problem_with(
            required,
            "with mode refuse nobody could log in: write false, or mode: passthrough",
        ),
        TlsMode::Passthrough | TlsMode::Intercept | TlsMode::Offload => {}
    }
}

fn check_bypass(mode: TlsMode, tls: &ListenerTlsFile, notes: &Notes) {
    if tls.bypass.good().is_none_or(Vec::is_empty) {
        return;
    }
    if mode != TlsMode::Intercept {
        let advice = "nothing is intercepted here: leave it out, or write mode: intercept";
        no_effect(mode, &tls.bypass, advice, notes);
        return;
    }
    let (Some(client), Some(server)) = (tls.client_start.good(), tls.server_start.good()) else {
        return;
    };
    if client != server {
        notes.problem_with(
            &tls.bypass,
            format!(
                "what is carried unread starts on both sides alike, and here it is {} and {}: \
                 leave it out, or write the same for client_start and server_start",
                client.label(),
                server.label()
            ),
        );
    }
}

/// Notes every problem of what holds for all listeners.
pub(super) fn check_tls(file: &TlsFile, listeners: &[ListenerFile], notes: &Notes) {
    check_pair(&file.certificate, notes);
    check_pair(&file.server.certificate, notes);
    // A listener that cannot be read may be the one that a key is for.
    let modes: Option<Vec<TlsMode>> =
        listeners.iter().map(|listener| listener.tls.mode.good().copied()).collect();
    let Some(modes) = modes else { return };
    check_client_roots(file, listeners, notes);
    check_intercepting(&file.server, &modes, notes);
    check_verify(&file.server, listeners, notes);
}

fn check_pair(pair: &PairFile, notes: &Notes) {
    let (Some(chain), Some(key)) = (pair.chain.good(), pair.key.good()) else { return };
    if chain.is_some() && key.is_none() {
        notes.problem_with(
            &pair.chain,
            "a certificate is of no use without its key: write key as well, or leave both out",
        );
    }
    if chain.is_none() && key.is_some() {
        notes.problem_with(
            &pair.key,
            "a key is of no use without its certificate: write chain as well, or leave both out",
        );
    }
}

fn check_client_roots(file: &TlsFile, listeners: &[ListenerFile], notes: &Notes) {
    let may_require = |listener: &ListenerFile| {
        listener.tls.client_certificates.good() != Some(&ClientCertificates::None)
    };
    if let Some(Some(_)) = file.client_roots.good()
        && !listeners.iter().any(may_require)
    {
        notes.problem_with(
            &file.client_roots,
            "no listener asks clients for certificates: write client_certificates: require under \
             the tls of one, or leave it out",
        );
    }
}

/// What only a listener that intercepts can do.
fn check_intercepting(server: &TlsServerFile, modes: &[TlsMode], notes: &Notes) {
    if modes.contains(&TlsMode::Intercept) {
        return;
    }
    if server.untrusted.good() == Some(&Untrusted::Mirror) {
        notes.problem_with(
            &server.untrusted,
            "only the clients of a listener that intercepts can be shown that the server is not \
             trusted, and there is none: write refuse, or mode: intercept at a listener",
        );
    }
    if server.client_certificates.good() == Some(&UnmetCertificateRequest::Passthrough) {
        notes.problem_with(
            &server.client_certificates,
            "only a listener that intercepts can carry a server unread instead, and there is none: \
             write refuse, or mode: intercept at a listener",
        );
    }
}

/// Where no listener verifies anything, nothing that is said about verifying holds.
fn check_verify(server: &TlsServerFile, listeners: &[ListenerFile], notes: &Notes) {
    let mut verified = Vec::new();
    for ListenerFile { tls, .. } in listeners {
        if tls.mode.good().is_some_and(|mode| mode.dials_servers()) {
            let (Some(own), Some(all)) = (tls.verify.good(), server.verify.good()) else { return };
            verified.push(own.unwrap_or(*all));
        }
    }
    if verified.is_empty() || verified.iter().any(|verify| *verify != Verify::Off) {
        return;
    }
    let off = "servers are not verified, verify is off: leave it out, or write verify: full or \
               chain";
    if matches!(server.roots.good(), Some(Roots::File(_))) {
        notes.problem_with(&server.roots, off);
    }
    if server.fingerprints.good().is_some_and(|list| !list.is_empty()) {
        notes.problem_with(&server.fingerprints, off);
    }
    if server.untrusted.good() == Some(&Untrusted::Mirror) {
        notes.problem_with(&server.untrusted, off);
    }
}

/// The kernel carries bytes as they are.
pub(super) fn check_kernel_path(
    path: &Found<PathChoice>,
    listeners: &[ListenerFile],
    notes: &Notes,
) {
    let terminates =
        |listener: &&ListenerFile| listener.tls.mode.good().is_some_and(|mode| mode.terminates());
    if let Some(listener) = listeners.iter().find(terminates) {
        notes.problem_with(
            path,
            format!(
                "the kernel cannot begin or end TLS, as mode {} of listener `{}` wants it on data \
                 connections: write path: auto or relay",
                listener.tls.mode.value.label(),
                listener.name.value
            ),
        );
    }
}
