//! What is kept, for how long, and in how many bytes.

use super::*;
use crate::tls::tests::*;
use rustls::HandshakeKind;
use std::sync::Arc;

fn key(number: usize) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn has(sessions: &ClientSessions, number: usize) -> bool {
    sessions.get(&key(number)).is_some()
}

#[test]
fn a_ticket_can_be_taken_again_and_again() {
    let sessions = ClientSessions::default();
    assert!(sessions.put(key(0), vec![7; 100]));
    for _ in 0..200 {
        assert_eq!(sessions.take(&key(0)), Some(vec![7; 100]));
    }
    assert_eq!(sessions.take(&key(1)), None);
}

#[test]
fn the_first_ones_stay_and_of_the_later_ones_the_newest() {
    let sessions = ClientSessions::default();
    for number in 0..200 {
        assert!(sessions.put(key(number), vec![0; 150]));
    }
    let kept: Vec<_> = (0..200).filter(|number| has(&sessions, *number)).collect();
    assert_eq!(kept, [0, 1, 192, 193, 194, 195, 196, 197, 198, 199]);
}

#[test]
fn bytes_are_bounded_whatever_a_client_shows() {
    let sessions = ClientSessions::default();
    assert!(!sessions.put(key(0), vec![0; MOST_BYTES]), "longer than all of them may be");
    for number in 1..50 {
        let _ = sessions.put(key(number), vec![0; 5000]);
        let bytes: usize = sessions.sessions().iter().map(ClientSession::length).sum();
        assert!(bytes <= MOST_BYTES, "{number}: {bytes}");
    }
    assert!(has(&sessions, 1) && has(&sessions, 2) && has(&sessions, 49));
    assert!(!has(&sessions, 3));
    // Beside the lasting ones there is no room for it, and the others stay.
    assert!(!sessions.put(key(50), vec![0; 20_000]));
    assert!(has(&sessions, 49));
}

#[test]
fn nothing_secret_is_shown() {
    let sessions = ClientSessions::default();
    let _ = sessions.put(key(0), vec![77; 100]);
    assert_eq!(format!("{sessions:?}"), "ClientSessions(1)");
    let shown = format!("{:?}", ServerSessions::default());
    assert_eq!(shown, "ServerSessions { tls12: false, tickets: 0 }");
}

/// How many tickets are kept of a server that gives four with each of many connections, with a chain
/// of about so many bytes.
fn kept_of_a_generous_server(chain: usize) -> usize {
    let mut params = params("ftp.example");
    let oid = [1, 3, 6, 1, 4, 1, 99999, 2];
    let padding = rcgen::CustomExtension::from_oid_content(&oid, vec![0; chain]);
    params.custom_extensions = vec![padding];
    let mut server = server(&Party::self_signed(params), VERSIONS[1]);
    server.session_storage = rustls::server::ServerSessionMemoryCache::new(1024);
    server.send_tls13_tickets = 4;
    let (server, sessions) = (Arc::new(server), Arc::new(ServerSessions::default()));
    let client = Arc::new(keeping(VERSIONS[1], &sessions));
    for number in 0..5 {
        let pair = Pair::new(&client, name("ftp.example"), &server).run().unwrap();
        let is_resumed = pair.client.handshake_kind() == Some(HandshakeKind::Resumed);
        assert_eq!(is_resumed, number > 0);
    }
    sessions.tickets()
}

#[test]
fn tickets_are_bounded_by_the_chain_that_each_has_with_it() {
    assert_eq!(kept_of_a_generous_server(10), MOST_TICKETS);
    assert_eq!(kept_of_a_generous_server(7000), 3);
    assert_eq!(kept_of_a_generous_server(30_000), 1);
}
