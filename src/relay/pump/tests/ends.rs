//! How transfers end: cut off, by a bare FIN, by a reset, or because nothing moves; what each side sees.

use super::*;
use tokio::io::AsyncWriteExt;

#[rstest]
#[case(Legs::Tls, Side::Client)]
#[case(Legs::Tls, Side::Server)]
#[case(Legs::Offload, Side::Client)]
#[case(Legs::Originate, Side::Server)]
#[tokio::test]
async fn case_39_what_is_cut_off_is_never_a_clean_end(
    #[case] legs: Legs,
    #[case] from: Side,
    #[values(0, 1, 200_000)] size: usize,
) {
    let mut joined = Joined::with(legs).await;
    let (sender, receiver) = joined.both(from);
    sender.send(&file(size)).await;
    let received = receiver.receive(size).await;
    assert!(received == file(size));
    sender.cut().await;
    assert_eq!(receiver.receive_all().await, (vec![], End::Reset));
    assert_eq!(joined.ended().await, (DataOutcome::Truncated, counts(from, size)));
}

/// As curl of old, vsftpd and ftplib do.
#[rstest]
#[case(Legs::Tls, Side::Client)]
#[case(Legs::Tls, Side::Server)]
#[case(Legs::Originate, Side::Client)]
#[case(Legs::Offload, Side::Server)]
#[tokio::test]
async fn a_bare_fin_is_an_answer_to_the_end_of_the_file(
    #[case] legs: Legs,
    #[case] from: Side,
    #[values(0, 5)] size: usize,
) {
    let mut joined = Joined::with(legs).await;
    let (sender, receiver) = joined.both(from);
    sender.send(&file(size)).await;
    sender.end().await;
    assert_eq!(receiver.receive_all().await, (file(size), End::Orderly));
    receiver.cut().await;
    assert_eq!(sender.receive_all().await, (vec![], End::Orderly));
    assert_eq!(joined.ended().await, (DataOutcome::Completed, counts(from, size)));
}

/// A client that knows the size may be gone before it is told that there is no more.
#[rstest]
#[tokio::test]
async fn a_bare_fin_ahead_of_the_end_waits_for_it(#[values(true, false)] in_order: bool) {
    let Joined { mut client, mut server, pump } = Joined::with(Legs::Tls).await;
    server.send(b"half").await;
    assert_eq!(client.receive(4).await, b"half");
    client.cut().await;
    server.send(b" and half").await;
    assert_eq!(client.receive(9).await, b" and half");
    let outcome = if in_order {
        server.end().await;
        assert_eq!(server.receive_all().await, (vec![], End::Orderly));
        assert_eq!(client.receive_all().await, (vec![], End::Orderly));
        DataOutcome::Completed
    } else {
        server.cut().await;
        assert_eq!(client.receive_all().await, (vec![], End::Reset));
        DataOutcome::Truncated
    };
    assert_eq!(pump.await.unwrap().0, outcome);
}

#[rstest]
#[tokio::test]
async fn case_46_a_reset_is_passed_on(
    #[values(Legs::Tls, Legs::Offload, Legs::Originate)] legs: Legs,
    #[values(Side::Client, Side::Server)] from: Side,
) {
    let Joined { client, server, pump } = Joined::with(legs).await;
    let (mut sender, mut receiver) = match from {
        Side::Client => (client, server),
        Side::Server => (server, client),
    };
    sender.send(b"half").await;
    assert_eq!(receiver.receive(4).await, b"half");
    sender.reset();
    assert_eq!(receiver.receive_all().await, (vec![], End::Reset));
    assert_eq!(pump.await.unwrap(), (DataOutcome::Aborted, counts(from, 4)));
}

/// A peer that has said its last word may be gone when the other one's comes.
#[rstest]
#[tokio::test]
async fn a_sender_that_is_gone_after_its_end_is_no_abort(
    #[values(Legs::Tls, Legs::Offload)] legs: Legs,
) {
    let Joined { mut client, mut server, pump } = Joined::with(legs).await;
    client.send(b"all of it").await;
    client.end().await;
    client.reset();
    assert_eq!(server.receive_all().await, (b"all of it".to_vec(), End::Orderly));
    server.end().await;
    assert_eq!(pump.await.unwrap(), (DataOutcome::Completed, counts(Side::Client, 9)));
}

#[rstest]
#[case(Legs::Tls, Side::Client)]
#[case(Legs::Tls, Side::Server)]
#[case(Legs::Offload, Side::Client)]
#[case(Legs::Originate, Side::Server)]
#[tokio::test]
async fn what_is_not_tls_any_more_cuts_the_transfer(#[case] legs: Legs, #[case] from: Side) {
    let mut joined = Joined::with(legs).await;
    let (sender, receiver) = joined.both(from);
    sender.send(b"half").await;
    assert_eq!(receiver.receive(4).await, b"half");
    sender.socket().write_all(b"226 Transfer complete.\r\n").await.unwrap();
    sender.socket().shutdown().await.unwrap();
    assert_eq!(receiver.receive_all().await, (vec![], End::Reset));
    assert_eq!(joined.ended().await, (DataOutcome::Aborted, counts(from, 4)));
}

#[rstest]
#[tokio::test]
async fn case_45_a_transfer_that_stands_still_is_cut(
    #[values(Legs::Tls, Legs::Offload, Legs::Originate)] legs: Legs,
) {
    let idle = Duration::from_millis(200);
    let Joined { mut client, mut server, pump } = Joined::over(legs, BOTH, idle).await;
    server.send(b"half").await;
    assert_eq!(client.receive_all().await, (b"half".to_vec(), End::Reset));
    assert_eq!(server.receive_all().await, (vec![], End::Reset));
    assert_eq!(pump.await.unwrap(), (DataOutcome::IdleTimeout, counts(Side::Server, 4)));
}
