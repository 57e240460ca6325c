//! What is told of connections through a range, and through a pinhole that lies inside one.

use crate::hello::{COMES_WITHIN, listen};
use crate::netns::{Lab, at, privileged};
use crate::range::{PORT, connect, for_each_range, settings, through_nat};
use crate::table::{counted, download, next, policy};
use ftpgate::firewall::{Closed, Firewall, FlowEvent, Opening};
use ftpgate::pinhole::Pinhole;
use ftpgate::terms::FlowId;
use socket2::Socket;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;

/// Longer than used pinholes are left to be swept.
const SWEPT_WITHIN: Duration = Duration::from_millis(500);

async fn next_started(events: &mut mpsc::UnboundedReceiver<FlowEvent>) -> FlowId {
    match next(events).await {
        FlowEvent::StartedInRange(flow) => flow,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pinhole_inside_the_range_goes_before_and_is_watched_alone() {
    privileged("flows::a_pinhole_inside_the_range_goes_before_and_is_watched_alone", || {
        let lab = Lab::build();
        let _policy = policy(&lab);
        for plan in [at::v4(), at::v6()] {
            let range = through_nat(&plan);
            let pinhole = Pinhole { peer: plan.client, entry: SocketAddr::new(range.entry, PORT) };
            // Elsewhere than the range leads, so that the two are told apart.
            let target = SocketAddr::new(plan.server, 5001);
            let opening = Opening::Forward { pinhole, target, source: plan.client };
            let by_range = listen(&lab.server, pinhole.entry);
            let beside = listen(&lab.server, SocketAddr::new(range.entry, PORT + 1));
            let by_pinhole = listen(&lab.server, target);
            lab.gateway.block_on(async || {
                let firewall = Firewall::start(&settings()).unwrap();
                let (holder, mut by_range_events) = mpsc::unbounded_channel();
                let (sender, mut events) = mpsc::unbounded_channel();
                firewall.open_range(range, holder.clone()).await.unwrap();
                // At a port of its own: the late news of a connection at the pinhole's would be taken
                // for the pinhole's.
                let _before = connect(&lab, range.entry, PORT + 1, &beside);
                firewall.open(opening, Duration::from_secs(10), sender).await.unwrap();
                let (stream, accepted, from) = connect(&lab, range.entry, PORT, &by_pinhole);
                assert_eq!(from.ip(), plan.client);
                assert_eq!(firewall.close(opening).await, Ok(Closed::Gone), "it is used up");
                firewall.clear_away(opening);
                tokio::time::sleep(SWEPT_WITHIN).await;
                let (_, _, from) = connect(&lab, range.entry, PORT, &by_range);
                assert_eq!(from.ip(), plan.gateway_server);
                drop((stream, accepted));
                let mut told = Vec::new();
                // The sender is gone with the end of the one connection that is watched.
                while let Some(event) =
                    tokio::time::timeout(COMES_WITHIN, events.recv()).await.unwrap()
                {
                    told.push(event);
                }
                let [FlowEvent::Started(started), FlowEvent::Ended { pinhole: ended, .. }] =
                    told[..]
                else {
                    panic!("{told:?}");
                };
                assert_eq!([started, ended], [pinhole; 2]);
                // The one before the pinhole, and the one after it.
                let first = next_started(&mut by_range_events).await;
                assert_ne!(next_started(&mut by_range_events).await, first);
            });
        }
    });
}

#[test]
fn connections_are_told_with_their_bytes_when_they_start_and_end() {
    privileged("flows::connections_are_told_with_their_bytes_when_they_start_and_end", || {
        let lab = Lab::build();
        let _policy = policy(&lab);
        for_each_range(&lab, async |firewall, range, listener| {
            let (holder, mut events) = mpsc::unbounded_channel();
            firewall.open_range(range, holder.clone()).await.unwrap();
            let (stream, accepted, _) = connect(&lab, range.entry, PORT, listener);
            let first = next_started(&mut events).await;
            let (reset, _accepted, _) = connect(&lab, range.entry, PORT, listener);
            let second = next_started(&mut events).await;
            assert_ne!(first, second, "both run");
            // What runs is told to its end, also after the range is closed.
            firewall.close_range(range, &holder).await.unwrap();
            drop(holder);
            let reset = Socket::from(reset);
            reset.set_linger(Some(Duration::ZERO)).unwrap();
            drop(reset);
            let FlowEvent::EndedInRange { flow, orderly, bytes } = next(&mut events).await else {
                panic!("started twice");
            };
            assert_eq!((flow, orderly), (second, false));
            assert!(bytes.is_some_and(|bytes| bytes.original > 5 && bytes.reply > 0));
            download(&lab, stream, accepted);
            let FlowEvent::EndedInRange { flow, orderly, bytes } = next(&mut events).await else {
                panic!("started twice");
            };
            assert_eq!((flow, orderly), (first, true));
            counted(bytes);
            // The holder is forgotten a little while after the range was closed.
            let rest = tokio::time::timeout(COMES_WITHIN, events.recv()).await;
            assert_eq!(rest, Ok(None), "nothing more is told");
        });
    });
}
