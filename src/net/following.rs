//! Addresses that change: those of an interface, read again when the kernel tells of a change, and
//! those of a DNS name, asked for again and again.
//!
//! Not here: who is told of them.

use super::interfaces;
use crate::addr::Addresses;
use futures_util::{FutureExt, StreamExt};
use rtnetlink::MulticastGroup;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// How long a name's answer is used: the shortest time to live that services of dynamic DNS commonly
/// give. The resolver's own answer does not tell it.
const REFRESH: Duration = Duration::from_secs(30);

/// How long until the next question while nothing is known, since transfers are refused meanwhile.
const RETRY: Duration = Duration::from_secs(5);

/// How long a start waits for the first answer: a resolver that is there answers in less, and one that
/// is not lets the question wait for 5 seconds and more (resolv.conf(5), `timeout`).
const PATIENCE: Duration = Duration::from_secs(3);

/// What has an address that may change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// An interface of this host.
    Interface(String),
    /// A DNS name, as the host's resolver understands it: with its search list, unless a dot ends it.
    Name(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => write!(f, "interface {name}"),
            Self::Name(name) => write!(f, "the name {name}"),
        }
    }
}

impl Source {
    /// What it has now. Blocks for as long as the resolver takes.
    ///
    /// # Errors
    /// There is no such interface or name, it has no address that peers can be told, or the resolver
    /// does not answer.
    pub fn look_up(&self) -> io::Result<Addresses> {
        let found = match self {
            Self::Interface(name) => interfaces::addresses_of(name)?,
            Self::Name(name) => of_name((name.as_str(), 0).to_socket_addrs()?),
        };
        usable(found).map(|found| Addresses::default().keep_or_take(&found))
    }

    async fn ask(&self) -> io::Result<Vec<IpAddr>> {
        usable(match self {
            Self::Interface(name) => interfaces::addresses_of(name)?,
            Self::Name(name) => of_name(lookup_host((name.as_str(), 0)).await?),
        })
    }
}

/// What of a resolver's answer can be told: unspecified addresses are how names are blocked, and a host
/// that asks for its own name may be given its loopback (127.0.1.1 in Debian's hosts(5)) or those of its
/// links (nss-myhostname(8)).
fn of_name(answer: impl Iterator<Item = SocketAddr>) -> Vec<IpAddr> {
    let ips = answer.map(|address| address.ip().to_canonical());
    let here = |ip: &IpAddr| ip.is_loopback() || interfaces::is_link_local(*ip);
    ips.filter(|ip| !ip.is_unspecified() && !ip.is_multicast() && !here(ip)).collect()
}

fn usable(found: Vec<IpAddr>) -> io::Result<Vec<IpAddr>> {
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it has no address to tell peers"));
    }
    Ok(found)
}

/// Follows one [`Source`]; ends when dropped.
#[derive(Debug)]
pub struct Follower {
    addresses: watch::Receiver<Addresses>,
    task: AbortHandle,
}

impl Follower {
    /// Begins; call it within a runtime.
    pub fn start(source: Source) -> Self {
        let (told, addresses) = watch::channel(Addresses::default());
        let state = State { source: source.clone(), told, is_good: None };
        let task = match source {
            Source::Interface(_) => tokio::spawn(follow_interface(state)),
            Source::Name(_) => {
                let ask = move || {
                    let source = source.clone();
                    async move { source.ask().await }
                };
                tokio::spawn(follow_name(state, ask, tokio::time::sleep))
            }
        };
        Self { addresses, task: task.abort_handle() }
    }

    /// Waits for the first answer of each, whatever it is; not for long.
    pub async fn first_answers(followers: impl IntoIterator<Item = &Self>) {
        let answers = async {
            for follower in followers {
                let _ = follower.addresses.clone().changed().await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, answers).await;
    }

    /// What is in use, now and later; empty while it is not known.
    pub fn addresses(&self) -> watch::Receiver<Addresses> {
        self.addresses.clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is known of a source.
struct State {
    source: Source,
    told: watch::Sender<Addresses>,
    /// The last answer; `None` before the first.
    is_good: Option<bool>,
}

impl State {
    /// Takes an answer, and tells it where it is news.
    fn take(&mut self, answer: io::Result<Vec<IpAddr>>) {
        let source = &self.source;
        let before = *self.told.borrow();
        let after = match (&answer, source) {
            (Ok(found), _) => before.keep_or_take(found),
            // The kernel knows that there is none, unless it could not be asked; a resolver may only be
            // out of reach.
            (Err(error), Source::Interface(_)) if error.kind() == io::ErrorKind::NotFound => {
                Addresses::default()
            }
            (Err(_), Source::Interface(_) | Source::Name(_)) => before,
        };
        match &answer {
            Ok(_) if after != before => {
                tracing::info!("external address: {source} is {}", listed(after));
            }
            Ok(_) if self.is_good == Some(false) => {
                tracing::info!("external address: {source} is {} still", listed(after));
            }
            Ok(_) => {}
            Err(_) if self.is_good == Some(false) => {}
            Err(error) if after.is_empty() => tracing::warn!(
                %error,
                "external address: {source} has none now: new sessions whose peer would have to be \
                 told it are refused their data connections"
            ),
            Err(error) => tracing::warn!(
                %error,
                "external address: {source} is not found now; {} stays in use",
                listed(after)
            ),
        }
        let is_first = self.is_good.replace(answer.is_ok()).is_none();
        self.told.send_if_modified(|told| {
            *told = after;
            is_first || after != before
        });
    }
}

fn listed(addresses: Addresses) -> String {
    addresses.iter().map(|ip| ip.to_string()).collect::<Vec<_>>().join(", ")
}

async fn follow_name<A, W>(mut state: State, ask: impl Fn() -> A, wait: impl Fn(Duration) -> W)
where
    A: Future<Output = io::Result<Vec<IpAddr>>>,
    W: Future<Output = ()>,
{
    loop {
        state.take(ask().await);
        let pause = if state.told.borrow().is_empty() { RETRY } else { REFRESH };
        wait(pause).await;
    }
}

async fn follow_interface(mut state: State) {
    let groups = [MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    loop {
        match rtnetlink::new_multicast_connection(&groups) {
            Ok((connection, _handle, mut events)) => {
                let mut carried = JoinSet::new();
                carried.spawn(connection);
                loop {
                    // Events wait in the socket meanwhile: no change is missed.
                    state.take(state.source.ask().await);
                    // Where the kernel could not be asked, no event may follow.
                    if let Ok(None) = tokio::time::timeout(REFRESH, events.next()).await {
                        break;
                    }
                    while let Some(Some(_)) = events.next().now_or_never() {}
                }
            }
            Err(error) => {
                let source = &state.source;
                tracing::warn!(%error, "changes of {source} cannot be listened for; it is read again");
                state.take(state.source.ask().await);
            }
        }
        tokio::time::sleep(REFRESH).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};
    use tokio::sync::{Semaphore, mpsc};

    fn ips(text: &str) -> Vec<IpAddr> {
        text.split_whitespace().map(|ip| ip.parse().unwrap()).collect()
    }

    fn block_on(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    /// A follower of a name whose answers are written down: `ERR` is none.
    struct Scripted {
        follower: Follower,
        /// How long it waits after each answer.
        waits: mpsc::UnboundedReceiver<Duration>,
        go_on: Arc<Semaphore>,
    }

    impl Scripted {
        fn start(answers: &[&'static str]) -> Self {
            let (told, addresses) = watch::channel(Addresses::default());
            let state =
                State { source: Source::Name("gw.example".to_owned()), told, is_good: None };
            let answers = Mutex::new(VecDeque::from(answers.to_vec()));
            let ask = move || {
                let answer = answers.lock().unwrap().pop_front();
                async move {
                    match answer {
                        Some("ERR") => Err(io::Error::other("no answer")),
                        Some(answer) => Ok(ips(answer)),
                        None => std::future::pending().await,
                    }
                }
            };
            let (waiting, waits) = mpsc::unbounded_channel();
            let go_on = Arc::new(Semaphore::new(0));
            let permits = Arc::clone(&go_on);
            let wait = move |pause| {
                let _ = waiting.send(pause);
                let permits = Arc::clone(&permits);
                async move { permits.acquire().await.unwrap().forget() }
            };
            let task = tokio::spawn(follow_name(state, ask, wait)).abort_handle();
            Self { follower: Follower { addresses, task }, waits, go_on }
        }

        /// What is in use after the next answer, and how long until the one after it.
        async fn next(&mut self) -> (Vec<IpAddr>, Duration) {
            let pause = self.waits.recv().await.unwrap();
            self.go_on.add_permits(1);
            let in_use = self.follower.addresses().borrow().iter().collect();
            (in_use, pause)
        }
    }

    #[test]
    fn a_name_is_asked_for_again_and_the_address_in_use_stays_while_it_can() {
        block_on(async {
            let answers =
                ["192.0.2.1 192.0.2.2", "192.0.2.2 192.0.2.1", "ERR", "192.0.2.3 2001:db8::3"];
            let mut name = Scripted::start(&answers);
            Follower::first_answers([&name.follower]).await;
            for expected in ["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.3 2001:db8::3"] {
                assert_eq!(name.next().await, (ips(expected), REFRESH));
            }
        });
    }

    #[test]
    fn a_name_that_is_not_known_is_asked_for_sooner() {
        block_on(async {
            let mut name = Scripted::start(&["ERR", "ERR", "192.0.2.1", "ERR"]);
            // A start does not wait for a good one.
            Follower::first_answers([&name.follower]).await;
            assert_eq!(name.next().await, (ips(""), RETRY));
            assert_eq!(name.next().await, (ips(""), RETRY));
            assert_eq!(name.next().await, (ips("192.0.2.1"), REFRESH));
            assert_eq!(name.next().await, (ips("192.0.2.1"), REFRESH));
        });
    }

    #[test]
    fn a_follower_that_is_dropped_ends() {
        block_on(async {
            let mut name = Scripted::start(&["192.0.2.1", "192.0.2.2"]);
            name.waits.recv().await.unwrap();
            let mut addresses = name.follower.addresses();
            drop(name.follower);
            name.go_on.add_permits(1);
            addresses.borrow_and_update();
            assert!(addresses.changed().await.is_err(), "nobody tells any more");
            let last: Vec<IpAddr> = addresses.borrow().iter().collect();
            assert_eq!(last, ips("192.0.2.1"), "what was told can still be read");
        });
    }

    #[test]
    fn an_interface_is_followed_and_one_that_is_not_there_has_no_address() {
        block_on(async {
            let [there, none] =
                ["lo", "no such one"].map(|name| Source::Interface(name.to_owned()));
            assert!(there.look_up().is_ok() && none.look_up().is_err());
            let [there, none] = [there, none].map(Follower::start);
            Follower::first_answers([&there, &none]).await;
            assert_eq!(there.addresses().borrow().v4, Some([127, 0, 0, 1].into()));
            assert!(none.addresses().borrow().is_empty());
        });
    }

    #[test]
    fn an_interface_that_could_not_be_asked_for_keeps_its_address() {
        let (told, in_use) = watch::channel(Addresses::default());
        let source = Source::Interface("eth0".to_owned());
        let mut state = State { source, told, is_good: None };
        state.take(Ok(ips("192.0.2.1")));
        state.take(Err(io::Error::other("no descriptor is left")));
        assert_eq!(in_use.borrow().iter().collect::<Vec<_>>(), ips("192.0.2.1"));
        state.take(usable(Vec::new()));
        assert!(in_use.borrow().is_empty(), "it has none");
    }

    #[test]
    fn what_no_peer_can_dial_is_no_address() {
        let answer = ips("0.0.0.0 :: ::ffff:192.0.2.1 224.0.0.1 169.254.1.1 fe80::1 127.0.1.1 ::1");
        let answer = answer.into_iter().map(|ip| SocketAddr::new(ip, 0));
        assert_eq!(of_name(answer), ips("192.0.2.1"));
        assert!(usable(Vec::new()).is_err());
    }
}
