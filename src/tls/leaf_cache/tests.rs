//! One issue for however many wait, and bounds that hold.

use super::*;
use crate::tls::ca::tests::now;
use crate::tls::leaf::tests::{factory, server};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

static FACTORY: LazyLock<LeafFactory> = LazyLock::new(factory);

type Certificate = CertificateDer<'static>;

fn issue(wanted: &Wanted, now: SystemTime) -> Result<Leaf, LeafError> {
    match wanted {
        Wanted::InPlaceOf(server, by) => FACTORY.issue(server, *by, now),
        Wanted::Own(name) => FACTORY.issue_own(name, now),
    }
}

/// A cache that counts what it issues.
fn counting() -> (LeafCache, Arc<AtomicUsize>) {
    let issued = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&issued);
    let cache = LeafCache::issuing(Arc::new(move |wanted: &Wanted, now| {
        counter.fetch_add(1, Ordering::SeqCst);
        issue(wanted, now)
    }));
    (cache, issued)
}

/// A cache whose every issue waits for a word, or for the end of the sender.
fn waiting() -> (LeafCache, mpsc::Sender<()>, Arc<AtomicUsize>) {
    let issued = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&issued);
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let cache = LeafCache::issuing(Arc::new(move |wanted: &Wanted, now| {
        counter.fetch_add(1, Ordering::SeqCst);
        let _ = wait.lock().unwrap().recv();
        issue(wanted, now)
    }));
    (cache, go, issued)
}

/// Lets the others run until `condition` holds.
async fn until(condition: impl Fn() -> bool) {
    let held = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), held).await.expect("it comes true");
}

async fn source(cache: &LeafCache, server: &Certificate, now: SystemTime) -> Source {
    cache.get(server, SignedBy::LocalCa, now).await.unwrap().1
}

#[tokio::test]
async fn the_second_to_ask_is_given_the_same_leaf() {
    let cache = LeafCache::new(factory());
    let first = cache.get(&server(1), SignedBy::LocalCa, now()).await.unwrap();
    let second = cache.get(&server(1), SignedBy::LocalCa, now()).await.unwrap();
    assert_eq!((first.1, second.1), (Source::Issued, Source::Cache));
    assert!(Arc::ptr_eq(&first.0.certified, &second.0.certified));
    let untrusted = cache.get(&server(1), SignedBy::Untrusted, now()).await.unwrap();
    assert_eq!(untrusted.1, Source::Issued);
    assert_ne!(untrusted.0.certified.cert, first.0.certified.cert);
    assert_eq!(source(&cache, &server(2), now()).await, Source::Issued);
    assert_eq!(cache.len(), 3);
    assert_eq!([Source::Issued, Source::Cache].map(Source::label), ["issued", "cache"]);
}

#[tokio::test]
async fn many_wait_for_one_issue() {
    let (cache, go, issued) = waiting();
    let one = server(1);
    let ask = || {
        let (cache, one) = (cache.clone(), one.clone());
        tokio::spawn(async move { source(&cache, &one, now()).await })
    };
    let waiting: Vec<_> = (0..100).map(|_| ask()).collect();
    // This handle, those of a hundred tasks, and that of the thread which issues.
    until(|| Arc::strong_count(&cache.in_place) == 102).await;
    go.send(()).unwrap();
    let mut sources = Vec::new();
    for asked in waiting {
        sources.push(asked.await.unwrap());
    }
    assert_eq!(issued.load(Ordering::SeqCst), 1);
    assert_eq!(sources.iter().filter(|source| **source == Source::Issued).count(), 1);
}

#[tokio::test]
async fn the_first_may_leave() {
    let (cache, go, issued) = waiting();
    let one = server(1);
    let first = tokio::spawn({
        let (cache, one) = (cache.clone(), one.clone());
        async move { source(&cache, &one, now()).await }
    });
    until(|| !cache.is_empty()).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    go.send(()).unwrap();
    assert_eq!(source(&cache, &one, now()).await, Source::Cache);
    assert_eq!(issued.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_error_is_told_to_all_and_not_kept() {
    let cache = LeafCache::new(factory());
    let none = Certificate::from(b"none".to_vec());
    for _ in 0..2 {
        let (one, other) = tokio::join!(
            cache.get(&none, SignedBy::LocalCa, now()),
            cache.get(&none, SignedBy::LocalCa, now())
        );
        assert_eq!(one.unwrap_err(), LeafError::Unreadable);
        assert_eq!(other.unwrap_err(), LeafError::Unreadable);
        assert!(cache.is_empty());
    }
    let huge = Certificate::from(vec![0; LONGEST_CERTIFICATE + 1]);
    let error = cache.get(&huge, SignedBy::LocalCa, now()).await.unwrap_err();
    assert_eq!(error, LeafError::TooLong);
}

#[tokio::test]
async fn a_panic_is_an_error_and_the_next_to_ask_is_served() {
    let times = AtomicUsize::new(0);
    let cache = LeafCache::issuing(Arc::new(move |wanted: &Wanted, now| {
        assert!(times.fetch_add(1, Ordering::SeqCst) > 0, "the panic of this test");
        issue(wanted, now)
    }));
    let error = cache.get(&server(1), SignedBy::LocalCa, now()).await.unwrap_err();
    assert_eq!(error, LeafError::Abandoned);
    assert_eq!(source(&cache, &server(1), now()).await, Source::Issued);
    assert_eq!(cache.len(), 1);
}

#[tokio::test]
async fn the_leaf_not_asked_for_the_longest_makes_room() {
    let (cache, issued) = counting();
    let servers: Vec<_> = (0..=MOST_LEAVES).map(server).collect();
    for server in &servers[..MOST_LEAVES] {
        assert_eq!(source(&cache, server, now()).await, Source::Issued);
    }
    assert_eq!(source(&cache, &servers[0], now()).await, Source::Cache);
    assert_eq!(source(&cache, &servers[MOST_LEAVES], now()).await, Source::Issued);
    assert_eq!(cache.len(), MOST_LEAVES);
    assert_eq!(source(&cache, &servers[0], now()).await, Source::Cache);
    assert_eq!(issued.load(Ordering::SeqCst), MOST_LEAVES + 1);
    assert_eq!(source(&cache, &servers[1], now()).await, Source::Issued);
    assert_eq!(cache.len(), MOST_LEAVES);
}

#[tokio::test]
async fn what_is_old_makes_room_first() {
    let (cache, _) = counting();
    for number in 0..MOST_LEAVES {
        source(&cache, &server(number), now()).await;
    }
    source(&cache, &server(MOST_LEAVES), now() + KEPT).await;
    assert_eq!(cache.len(), 1);
}

#[test]
fn more_than_fit_are_issued_and_not_kept() {
    // Two threads are enough to wait on; by itself tokio would start 512.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.max_blocking_threads(2).enable_all().build().unwrap();
    runtime.block_on(more_than_fit());
}

async fn more_than_fit() {
    let (cache, go, issued) = waiting();
    let servers: Vec<_> = (0..MOST_LEAVES + 10).map(server).collect();
    let asked: Vec<_> = servers
        .iter()
        .map(|server| {
            let (cache, server) = (cache.clone(), server.clone());
            tokio::spawn(async move { source(&cache, &server, now()).await })
        })
        .collect();
    until(|| Arc::strong_count(&cache.in_place) == 1 + 2 * servers.len()).await;
    assert_eq!(cache.len(), MOST_LEAVES);
    drop(go);
    for asked in asked {
        assert_eq!(asked.await.unwrap(), Source::Issued);
    }
    assert_eq!(cache.len(), MOST_LEAVES);
    assert_eq!(issued.load(Ordering::SeqCst), servers.len());
}

#[tokio::test]
async fn leaves_are_issued_again_before_they_end() {
    let (cache, _) = counting();
    let second = Duration::from_secs(1);
    assert_eq!(source(&cache, &server(1), now()).await, Source::Issued);
    assert_eq!(source(&cache, &server(1), now() + KEPT - second).await, Source::Cache);
    let (leaf, from) = cache.get(&server(1), SignedBy::LocalCa, now() + KEPT).await.unwrap();
    assert_eq!(from, Source::Issued);
    assert!(leaf.not_after >= now() + KEPT + DAY);
    // The clock is set back: by less than leaves are dated back, and by more.
    let back = now() + KEPT - BACKDATING;
    assert_eq!(source(&cache, &server(1), back + second).await, Source::Cache);
    assert_eq!(source(&cache, &server(1), back).await, Source::Issued);
}

#[tokio::test]
async fn a_leaf_ends_with_the_servers_certificate_and_is_then_issued_again() {
    let (cache, _) = counting();
    // The samples' certificates end 60 days from `now()`.
    let end = now() + 60 * DAY;
    let late = end - DAY;
    assert_eq!(source(&cache, &server(1), late).await, Source::Issued);
    assert_eq!(source(&cache, &server(1), end).await, Source::Cache);
    let after = end + DAY;
    let (leaf, from) = cache.get(&server(1), SignedBy::LocalCa, after).await.unwrap();
    assert_eq!((from, leaf.not_after), (Source::Issued, end));
    assert_eq!(source(&cache, &server(1), after + DAY).await, Source::Cache);
}

#[tokio::test]
async fn names_that_clients_ask_for_take_no_place_from_servers() {
    let (cache, issued) = counting();
    let own = |number: usize| {
        let asked = format!("host-{number}.example");
        OwnName::new(Some(&asked), "198.51.100.1".parse().unwrap())
    };
    assert_eq!(source(&cache, &server(1), now()).await, Source::Issued);
    for number in 0..MOST_OWN + 10 {
        assert_eq!(cache.get_own(&own(number), now()).await.unwrap().1, Source::Issued);
    }
    assert_eq!(cache.len(), 1 + MOST_OWN);
    assert_eq!(source(&cache, &server(1), now()).await, Source::Cache);
    let newest = own(MOST_OWN + 9);
    assert_eq!(cache.get_own(&newest, now()).await.unwrap().1, Source::Cache);
    assert_eq!(cache.get_own(&own(0), now()).await.unwrap().1, Source::Issued);
    assert_eq!(issued.load(Ordering::SeqCst), 1 + MOST_OWN + 10 + 1);
}
