//! News in any order, told to whom they are for.

use super::*;

fn flow(id: u32, state: State) -> Flow {
    Flow {
        id,
        from: "192.0.2.2:4000".parse().unwrap(),
        to: "203.0.113.7:50000".parse().unwrap(),
        state: Some(state),
        bytes: Some(FlowBytes { original: u64::from(id), reply: 7 }),
        expires: None,
    }
}

fn watched(flows: &mut Flows) -> (Pinhole, mpsc::UnboundedReceiver<FlowEvent>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let pinhole = flow(0, State::Alive).pinhole();
    flows.watch(pinhole, sender);
    (pinhole, receiver)
}

#[test]
fn successive_connections_through_one_pinhole_are_told_apart() {
    let mut flows = Flows::default();
    let (pinhole, mut first) = watched(&mut flows);
    flows.on_began(&flow(1, State::Alive));
    assert_eq!(first.try_recv(), Ok(FlowEvent::Started(pinhole)));
    let (_, mut second) = watched(&mut flows);
    flows.on_began(&flow(2, State::Alive));
    assert_eq!(second.try_recv(), Ok(FlowEvent::Started(pinhole)));
    let bytes = flow(1, State::Alive).bytes;
    flows.on_ended(&flow(1, State::Finished), State::Finished, bytes);
    assert_eq!(first.try_recv(), Ok(FlowEvent::Ended { pinhole, orderly: true, bytes }));
    flows.on_gone(&flow(1, State::Finished));
    assert!(first.try_recv().is_err(), "told twice");
    flows.on_gone(&flow(2, State::Alive));
    let bytes = flow(2, State::Alive).bytes;
    assert_eq!(second.try_recv(), Ok(FlowEvent::Ended { pinhole, orderly: false, bytes }));
}

#[test]
fn a_closed_pinhole_is_forgotten_after_the_news_had_time() {
    let mut flows = Flows::default();
    let now = Instant::now();
    let (pinhole, mut first) = watched(&mut flows);
    flows.close(pinhole, now);
    assert_eq!(flows.forget_closed(now), Some(NEWS_TAKES));
    flows.on_began(&flow(1, State::Alive));
    assert_eq!(first.try_recv(), Ok(FlowEvent::Started(pinhole)));
    // The same key is opened anew before the old closing is forgotten.
    let (_, mut second) = watched(&mut flows);
    assert_eq!(flows.forget_closed(now + NEWS_TAKES), None);
    flows.on_began(&flow(2, State::Alive));
    assert_eq!(second.try_recv(), Ok(FlowEvent::Started(pinhole)));
    let (_, mut third) = watched(&mut flows);
    flows.close(pinhole, now);
    flows.forget_closed(now + NEWS_TAKES);
    flows.on_began(&flow(3, State::Alive));
    assert_eq!(third.try_recv(), Ok(FlowEvent::Missed(pinhole)));
    assert_eq!(third.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
}

#[test]
fn late_news_of_a_used_pinhole_are_not_taken_for_news_of_the_next() {
    let mut flows = Flows::default();
    let (pinhole, mut used) = watched(&mut flows);
    assert!(flows.close(pinhole, Instant::now()), "somebody has to ask again");
    let (_, mut next) = watched(&mut flows);
    flows.on_began(&flow(1, State::Alive));
    assert_eq!(used.try_recv(), Ok(FlowEvent::Started(pinhole)));
    assert_eq!(next.try_recv(), Err(mpsc::error::TryRecvError::Empty));
    flows.on_began(&flow(2, State::Alive));
    assert_eq!(next.try_recv(), Ok(FlowEvent::Started(pinhole)));
    assert!(flows.waiting.is_empty());
}

#[test]
fn whose_pinhole_is_opened_anew_for_another_waits_in_vain() {
    let mut flows = Flows::default();
    let (pinhole, mut older) = watched(&mut flows);
    let (_, mut newer) = watched(&mut flows);
    assert_eq!(older.try_recv(), Ok(FlowEvent::Missed(pinhole)));
    flows.on_began(&flow(1, State::Alive));
    assert_eq!(newer.try_recv(), Ok(FlowEvent::Started(pinhole)));
    let (_, mut unused) = watched(&mut flows);
    flows.abandon(pinhole);
    assert_eq!(unused.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    assert!(flows.waiting.is_empty());
}

#[test]
fn after_lost_events_a_dump_tells_what_was_missed() {
    let mut flows = Flows::default();
    let (pinhole, mut lost) = watched(&mut flows);
    flows.on_began(&flow(1, State::Alive));
    let (_, mut ended) = watched(&mut flows);
    flows.on_began(&flow(2, State::Alive));
    let (_, mut begun) = watched(&mut flows);
    flows.on_resync(&[flow(2, State::Reset), flow(3, State::Finished)]);
    let told = |receiver: &mut mpsc::UnboundedReceiver<FlowEvent>| {
        std::iter::from_fn(|| receiver.try_recv().ok()).collect::<Vec<_>>()
    };
    let end = |id: u32, orderly| {
        let bytes = (id != 0).then(|| FlowBytes { original: u64::from(id), reply: 7 });
        FlowEvent::Ended { pinhole, orderly, bytes }
    };
    let started = FlowEvent::Started(pinhole);
    assert_eq!(told(&mut lost), [started, end(0, false)]);
    assert_eq!(told(&mut ended), [started, end(2, false)]);
    assert_eq!(told(&mut begun), [started, end(3, true)]);
    // What has ended is not taken for new by the next dump.
    let (_, mut next) = watched(&mut flows);
    flows.on_resync(&[flow(2, State::Reset), flow(3, State::Finished)]);
    assert_eq!(told(&mut next), []);
}

const FINISHED: State = State::Finished;

fn told(receiver: &mut mpsc::UnboundedReceiver<FlowEvent>) -> Vec<FlowEvent> {
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

/// The range that the flows of these tests come through.
fn range() -> BlindRange {
    let Flow { from, to, .. } = flow(0, State::Alive);
    let (client, entry) = (from.ip(), to.ip());
    BlindRange { client, entry, server: entry, source: client }
}

fn held(flows: &mut Flows) -> (Watcher, mpsc::UnboundedReceiver<FlowEvent>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    flows.hold(range(), PortRange::new(50_000, 50_100).unwrap(), sender.clone());
    (sender, receiver)
}

fn started(id: u32) -> FlowEvent {
    FlowEvent::StartedInRange(FlowId(id))
}

fn ended(id: u32, orderly: bool) -> FlowEvent {
    let bytes = flow(id, State::Alive).bytes;
    FlowEvent::EndedInRange { flow: FlowId(id), orderly, bytes }
}

#[test]
fn several_connections_through_a_range_are_told_apart() {
    let mut flows = Flows::default();
    let (_holder, mut events) = held(&mut flows);
    flows.on_began(&flow(1, State::Alive));
    flows.on_began(&flow(2, State::Alive));
    flows.on_began(&flow(2, State::Alive));
    assert_eq!(told(&mut events), [started(1), started(2)], "each once");
    assert!(flows.runs(&flow(1, State::Alive)));
    flows.on_ended(&flow(2, FINISHED), FINISHED, flow(2, FINISHED).bytes);
    flows.on_gone(&flow(2, FINISHED));
    flows.on_gone(&flow(1, State::Reset));
    assert_eq!(told(&mut events), [ended(2, true), ended(1, false)]);
    assert!(flows.running.is_empty() && flows.ended.is_empty());
}

#[test]
fn what_cannot_have_come_through_a_range_is_not_told() {
    let mut flows = Flows::default();
    let (_holder, mut events) = held(&mut flows);
    let through = flow(1, State::Alive);
    for other in [
        Flow { from: "192.0.2.3:4000".parse().unwrap(), ..through },
        Flow { to: "203.0.113.8:50000".parse().unwrap(), ..through },
        Flow { to: "203.0.113.7:49999".parse().unwrap(), ..through },
        Flow { to: "203.0.113.7:50101".parse().unwrap(), ..through },
    ] {
        flows.on_began(&other);
    }
    assert_eq!(told(&mut events), []);
    assert!(flows.running.is_empty());
}

#[test]
fn who_waits_at_a_pinhole_goes_before_who_holds_the_range() {
    let mut flows = Flows::default();
    let (_holder, mut by_range) = held(&mut flows);
    let (pinhole, mut by_pinhole) = watched(&mut flows);
    flows.on_began(&flow(1, State::Alive));
    flows.on_began(&flow(2, State::Alive));
    assert_eq!(told(&mut by_pinhole), [FlowEvent::Started(pinhole)]);
    assert_eq!(told(&mut by_range), [started(2)]);
}

#[test]
fn the_newest_session_that_holds_a_range_is_told() {
    let mut flows = Flows::default();
    let now = Instant::now();
    let (older, mut older_events) = held(&mut flows);
    let (newer, mut newer_events) = held(&mut flows);
    flows.on_began(&flow(1, State::Alive));
    flows.close_range(range(), &newer, now);
    flows.on_began(&flow(2, State::Alive));
    assert_eq!(told(&mut older_events), [started(2)], "the one that still holds it");
    assert_eq!(told(&mut newer_events), [started(1)]);
    flows.on_gone(&flow(1, FINISHED));
    assert_eq!(told(&mut newer_events), [ended(1, true)], "after it has let go");
    drop(older_events);
    flows.on_began(&flow(3, State::Alive));
    assert_eq!(told(&mut newer_events), [started(3)], "the older one is over");
    flows.let_go(range(), &older);
    flows.forget_closed(now + NEWS_TAKES);
    assert!(flows.holding.is_empty());
}

#[test]
fn a_closed_range_is_forgotten_after_the_news_had_time() {
    let mut flows = Flows::default();
    let now = Instant::now();
    let (holder, mut events) = held(&mut flows);
    assert!(flows.close_range(range(), &holder, now), "somebody has to ask again");
    assert!(!flows.close_range(range(), &holder, now), "it is closed");
    flows.on_began(&flow(1, State::Alive));
    // The same session opens it anew before the old closing is forgotten.
    flows.hold(range(), PortRange::new(50_000, 50_100).unwrap(), holder.clone());
    assert_eq!(flows.forget_closed(now), Some(NEWS_TAKES));
    assert_eq!(flows.forget_closed(now + NEWS_TAKES), None);
    flows.on_began(&flow(2, State::Alive));
    assert_eq!(told(&mut events), [started(1), started(2)]);
    flows.close_range(range(), &holder, now);
    flows.forget_closed(now + NEWS_TAKES);
    flows.on_began(&flow(3, State::Alive));
    assert_eq!(told(&mut events), []);
    assert!(flows.holding.is_empty());
    for id in [1, 2] {
        flows.on_gone(&flow(id, FINISHED));
    }
    assert_eq!(told(&mut events), [ended(1, true), ended(2, true)]);
    drop(holder);
    assert_eq!(events.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
}

#[test]
fn a_range_that_could_not_be_opened_leaves_its_other_holders_alone() {
    let mut flows = Flows::default();
    let (_first, mut events) = held(&mut flows);
    let (failed, mut nothing) = held(&mut flows);
    flows.let_go(range(), &failed);
    flows.on_began(&flow(1, State::Alive));
    assert_eq!(told(&mut events), [started(1)]);
    assert_eq!(told(&mut nothing), []);
}

#[test]
fn a_session_that_ended_without_letting_go_is_forgotten_by_the_next() {
    let mut flows = Flows::default();
    drop(held(&mut flows));
    flows.on_began(&flow(1, State::Alive));
    assert!(flows.running.is_empty(), "nobody listens");
    let (_holder, _events) = held(&mut flows);
    assert_eq!(flows.holding.values().map(Vec::len).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_dump_tells_what_was_missed_of_a_range() {
    let mut flows = Flows::default();
    let (_holder, mut events) = held(&mut flows);
    flows.on_began(&flow(1, State::Alive));
    flows.on_began(&flow(2, State::Alive));
    assert_eq!(told(&mut events), [started(1), started(2)]);
    flows.on_resync(&[flow(2, State::Reset), flow(3, FINISHED), flow(4, State::Alive)]);
    let lost = FlowEvent::EndedInRange { flow: FlowId(1), orderly: false, bytes: None };
    let expected = [ended(2, false), started(3), ended(3, true), started(4), lost];
    assert_eq!(told(&mut events), expected);
    // News that the dump has overtaken, and the next dump.
    flows.on_began(&flow(3, State::Alive));
    flows.on_began(&flow(4, State::Alive));
    flows.on_resync(&[flow(2, State::Reset), flow(3, FINISHED), flow(4, State::Alive)]);
    assert_eq!(told(&mut events), []);
    flows.on_resync(&[]);
    let lost = FlowEvent::EndedInRange { flow: FlowId(4), orderly: false, bytes: None };
    assert_eq!(told(&mut events), [lost]);
    assert!(flows.running.is_empty() && flows.ended.is_empty());
}
