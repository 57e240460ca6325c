//! The texts around the transfers: the picture of the hosts, how to try one's own client, and where
//! to look next.

use crate::demo::network::{self, Isolation, Network};
use crate::demo::story::DOWNLOAD;
use std::net::SocketAddr;

/// The three hosts, and what each is there for.
pub(super) fn picture(isolation: Isolation) -> String {
    let how = match isolation {
        Isolation::Privileged => "three network namespaces",
        Isolation::UserNamespace => {
            "three network namespaces in a user namespace, without privilege"
        }
    };
    format!(
        "
  client                  gateway: ftpgate                     server
  ┌───────────┐           ┌──────────────────────────┐           ┌──────────────┐
  │ {client} ├───────────┤ {near}   {far} ├───────────┤ {server} │
  └───────────┘           └──────────────────────────┘           └──────────────┘
  dials {server}:21   captures port 21 (tproxy),             knows no way back
  and nothing else        forward policy: drop                   to the client's network

  Hosts: {how}.
  Passive: the client dials the server's own address. The line passes unchanged, once the
  gateway has opened a pinhole for this one connection.
  Active: the server dials the gateway. PORT leaves with the gateway's address and a port
  of its pool.
",
        client = network::CLIENT,
        near = network::GATEWAY_TO_CLIENT,
        far = network::GATEWAY_TO_SERVER,
        server = network::SERVER,
    )
}

/// What is printed at the end.
pub(super) const NEXT: &str = "
Where to look next
   ftpgate demo --hold            keeps all this up for a client of your own
   ftpgate doctor                 what this host has for a gateway, and what it lacks
   README.md                      three ways to run it, and the configuration
   docs/life-of-a-session.md      one download told line by line, with file names
";

/// How to try a client of one's own while the demo is held.
pub(super) fn invitation(network: Option<&(Network, Isolation)>, dial: SocketAddr) -> String {
    let Some((network, isolation)) = network else {
        let (host, port) = (dial.ip(), dial.port());
        return format!(
            "
Try a client of your own; any login will do:
   curl -o /dev/null ftp://{host}:{port}/{DOWNLOAD}
   curl -P - -o /dev/null ftp://{host}:{port}/{DOWNLOAD}

Sessions are told below, until Ctrl-C.
"
        );
    };
    let process = std::process::id();
    let enter = |thread: i64| {
        let namespace = format!("--net=/proc/{process}/task/{thread}/ns/net");
        match isolation {
            Isolation::Privileged => format!("nsenter {namespace}"),
            Isolation::UserNamespace => {
                format!("nsenter -U --preserve-credentials -t {process} {namespace}")
            }
        }
    };
    let client = enter(network.client.thread_id.into());
    let (server, gateway) = (enter(network.server.thread_id.into()), enter(process.into()));
    let address = dial.ip();
    let v6 = match network.has_ipv6 {
        true => format!("   The server is {} as well.\n", network::SERVER_V6),
        false => String::new(),
    };
    format!(
        "
Try a client of your own; any login will do. From another terminal, on the client:
   {client} \\
      curl -o /dev/null ftp://{address}/{DOWNLOAD}
   {client} \\
      curl -P - -o /dev/null ftp://{address}/{DOWNLOAD}
   {client} \\
      lftp -e 'ls; exit' {address}
{v6}A shell on the client, the gateway, the server:
   {client} sh
   {gateway} sh
   {server} sh
On the gateway: nft list ruleset, conntrack -L, curl http://127.0.0.1:9121/metrics

Sessions are told below, until Ctrl-C.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_fits_a_terminal() {
        for isolation in [Isolation::Privileged, Isolation::UserNamespace] {
            let text = picture(isolation);
            assert!(text.lines().all(|line| line.chars().count() <= 90), "{text}");
        }
    }
}
