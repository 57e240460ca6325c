//! `listeners[].proxy_protocol`: its types, its keys, and what they contradict.

use super::file::{File, ListenerFile};
use super::section::{Found, Notes, Section};
use super::types::{Capture, PathChoice};
use super::{Network, value, value_tls};

/// Who introduces the clients of a listener by a PROXY header, and how they are introduced to its
/// servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxyProtocol {
    /// Load balancers: every connection of theirs begins with a header. Nobody else's is believed.
    pub accept_from: Vec<Network>,
    /// What the control connection to the server begins with.
    pub send: SendHeader,
    /// The data connections that are dialled to the server begin with it too.
    pub send_data: bool,
}

/// The header that a server is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SendHeader {
    /// There is none.
    #[default]
    None,
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The section as it stands in the file.
pub(super) struct ProxyProtocolFile {
    accept_from: Found<Vec<Network>>,
    send: Found<SendHeader>,
    send_data: Found<bool>,
}

impl ProxyProtocolFile {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        const SEND: &[(&str, SendHeader)] =
            &[("none", SendHeader::None), ("v1", SendHeader::V1), ("v2", SendHeader::V2)];
        let default = ProxyProtocol::default();
        let read = Self {
            accept_from: section.read("accept_from", value_tls::networks, default.accept_from),
            send: section.read("send", value::choice(SEND), default.send),
            send_data: section.read("send_data", value::boolean, default.send_data),
        };
        section.finish();
        read
    }

    pub(super) fn into_settings(self) -> ProxyProtocol {
        let Self { accept_from, send, send_data } = self;
        ProxyProtocol {
            accept_from: accept_from.value,
            send: send.value,
            send_data: send_data.value,
        }
    }
}

/// Notes what the section contradicts.
pub(super) fn check(listener: &ListenerFile, file: &File, notes: &Notes) {
    let ProxyProtocolFile { accept_from, send, send_data } = &listener.proxy_protocol;
    let kernel = file.data.path.good() == Some(&PathChoice::Kernel);
    if accept_from.good().is_some_and(|networks| !networks.is_empty()) {
        let capture = listener.capture.good();
        if let Some(capture) = capture.filter(|capture| **capture != Capture::Direct) {
            notes.problem_with(
                accept_from,
                format!(
                    "clients of a `{}` listener dial the server, so that no load balancer stands in \
                     front of this gateway: write capture: direct, or accept_from: []",
                    capture.label()
                ),
            );
        }
        if kernel {
            notes.problem_with(
                accept_from,
                "data connections come through the balancer with a header of their own, which the \
                 kernel cannot take off: write data.path: auto or relay, or accept_from: []",
            );
        }
    }
    if send_data.good() == Some(&true) {
        if send.good() == Some(&SendHeader::None) {
            notes.problem_with(
                send_data,
                "there is no header to send: write send: v1 or v2, or send_data: false",
            );
        }
        if kernel {
            notes.problem_with(
                send_data,
                "the kernel cannot send a header ahead of the data: write data.path: auto or relay, \
                 or send_data: false",
            );
        }
    }
}
