//! What TLS itself brings into a transfer: keys that are used up, and tickets.

use super::*;

/// A download by TLS 1.2 whose keys are almost used up.
async fn with_few_records(count: u64) -> Joined {
    let party = Party::new(ONLY_12);
    let (client, mut client_leg) = client_side(&party, Legs::Offload).await;
    let (server, server_leg) = server_side(&party, Legs::Offload).await;
    client_leg.leave_records(count);
    Joined::by((client, client_leg), (server, server_leg), COMES_WITHIN)
}

/// Else rustls would end in order in the middle of the file.
#[tokio::test]
async fn keys_of_tls_12_that_are_used_up_are_no_clean_end() {
    let Joined { mut client, mut server, pump } = with_few_records(3).await;
    let most = file(3 * 16_384);
    server.send(&most).await;
    assert!(client.receive(most.len()).await == most);
    let _ = server.try_send(&file(16_384)).await;
    assert_eq!(client.receive_all().await, (vec![], End::Reset));
    assert_eq!(pump.await.unwrap().0, DataOutcome::Aborted);
}

#[tokio::test]
async fn small_pieces_do_not_use_up_the_keys_of_tls_12() {
    let Joined { mut client, mut server, pump } = with_few_records(3).await;
    let sent = file(40 * 1000);
    for piece in sent.chunks(1000) {
        server.send(piece).await;
        // So that it is read by itself.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    server.end().await;
    let (received, end) = client.receive_all().await;
    assert!(received == sent && end == End::Orderly, "{} bytes, {end:?}", received.len());
    client.end().await;
    assert_eq!(pump.await.unwrap(), (DataOutcome::Completed, counts(Side::Server, sent.len())));
}

/// Tickets of TLS 1.3 come behind the handshake, also where nothing else comes from there.
#[tokio::test]
async fn case_38_tickets_are_taken_while_a_file_goes_up() {
    let party = Party::new(BOTH);
    for resumed in [false, true, true] {
        let (mut client, client_leg) = client_side(&party, Legs::Originate).await;
        let (mut server, server_leg) = server_side(&party, Legs::Originate).await;
        assert_eq!(server.has_resumed(), resumed);
        let pump = tokio::spawn(join(
            client_leg,
            server_leg,
            std::future::ready(()),
            COMES_WITHIN,
            Arc::default(),
        ));
        client.send(b"up").await;
        client.end().await;
        assert_eq!(server.receive_all().await, (b"up".to_vec(), End::Orderly));
        server.end().await;
        assert_eq!(pump.await.unwrap().0, DataOutcome::Completed);
    }
}
