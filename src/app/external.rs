//! The external addresses that `advertise` names: followed for as long as a listener names them.

use crate::addr::{Addresses, ByOwn, External};
use crate::config::{AdvertiseChoice, Config, Listener};
use crate::net::{Follower, Source};
use crate::relay::{Advertise, Front};
use std::collections::BTreeMap;
use std::io;
use tokio::sync::watch;

/// A follower for each interface and name, however many listeners name it.
#[derive(Default)]
pub(super) struct Followed(BTreeMap<Source, Follower>);

impl Followed {
    /// Begins to follow what `config` names and `self` does not follow yet; returns when each has
    /// answered, or was given the time to. What does not answer is no failure: it may be there later.
    pub(super) async fn begin_more(&self, config: &Config) -> Self {
        let new = sources(config).into_keys().filter(|source| !self.0.contains_key(source));
        let new: BTreeMap<Source, Follower> =
            new.map(|source| (source.clone(), Follower::start(source))).collect();
        Follower::first_answers(new.values()).await;
        Self(new)
    }

    /// Takes over what has been begun, and ends what `config` names no more.
    pub(super) fn change(&mut self, begun: Self, config: &Config) {
        self.0.extend(begun.0);
        let named = sources(config);
        self.0.retain(|source, _| named.contains_key(source));
    }

    /// What the sessions of a listener are told. `begun`: what is not taken over yet.
    pub(super) fn advertise(&self, begun: &Self, listener: &Listener) -> Advertise {
        let front = |choice: &AdvertiseChoice| match source(choice) {
            Ok(fixed) => Front::Fixed(fixed),
            Err(source) => {
                let follower = begun.0.get(&source).or_else(|| self.0.get(&source));
                // Whoever is not followed is not known.
                let unknown = || watch::channel(Addresses::default()).1;
                Front::Followed(follower.map_or_else(unknown, Follower::addresses))
            }
        };
        let advertise = &listener.advertise;
        Advertise { client: advertise.client.map(front), server: advertise.server.map(front) }
    }

    /// A sentence for each key whose address is not known now.
    pub(super) fn unknown(&self, config: &Config) -> Vec<String> {
        let unknown = |source: &Source| {
            self.0.get(source).is_none_or(|follower| follower.addresses().borrow().is_empty())
        };
        let sources = sources(config).into_iter().filter(|(source, _)| unknown(source));
        let notices = sources.map(|(source, keys)| {
            format!(
                "{}: {source} has no address yet: until it has, new sessions whose peer would have to \
                 be told it are refused their data connections (425)",
                keys.join(", ")
            )
        });
        notices.collect()
    }
}

/// What each interface and name of `advertise` stands for on this host now: the keys that name it, and
/// the answer. Blocks for as long as resolvers take.
pub fn look_up_external(config: &Config) -> Vec<(String, Source, io::Result<Addresses>)> {
    let sources = sources(config).into_iter();
    let found = sources.map(|(source, keys)| {
        let answer = source.look_up();
        (keys.join(", "), source, answer)
    });
    found.collect()
}

/// What the sessions of a listener would be told now, client and server; what is not known is taken
/// for the gateway's own. Blocks for as long as resolvers take.
pub fn external_now(listener: &Listener) -> [ByOwn; 2] {
    let now = |choice: &AdvertiseChoice| match source(choice) {
        Ok(fixed) => fixed,
        Err(source) => source.look_up().map_or(External::Own, External::Found),
    };
    [listener.advertise.client.map(now), listener.advertise.server.map(now)]
}

/// What a choice says by itself, or what has to be followed for it.
fn source(choice: &AdvertiseChoice) -> Result<External, Source> {
    match choice {
        AdvertiseChoice::Auto => Ok(External::Own),
        AdvertiseChoice::Address(address) => Ok(External::Address(*address)),
        AdvertiseChoice::Interface(name) => Err(Source::Interface(name.clone())),
        AdvertiseChoice::Name(name) => Err(Source::Name(name.clone())),
    }
}

/// Every interface and name of a configuration, with the keys that name it.
fn sources(config: &Config) -> BTreeMap<Source, Vec<String>> {
    let mut sources: BTreeMap<Source, Vec<String>> = BTreeMap::new();
    for listener in &config.listeners {
        let sides =
            [("client", &listener.advertise.client), ("server", &listener.advertise.server)];
        for (side, choices) in sides {
            let key = format!("listeners[{}].advertise.{side}", listener.name);
            let each = choices.of.iter().map(|(own, choice)| (format!("{key}.{own}"), choice));
            for (key, choice) in each.chain([(key.clone(), &choices.others)]) {
                if let Err(source) = source(choice) {
                    sources.entry(source).or_default().push(key);
                }
            }
        }
    }
    sources
}
