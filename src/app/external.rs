//! The external addresses that `advertise` names: followed for as long as a listener names them.

use crate::addr::{Addresses, ByOwn, External};
use crate::config::{Advertise as Advertised, AdvertiseChoice, Config, Listener};
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

    /// A sentence for each interface or name that has not now what its keys need.
    pub(super) fn unknown(&self, config: &Config) -> Vec<String> {
        let notices = sources(config).into_iter().filter_map(|(source, keys)| {
            let found = self.0.get(&source).map(|follower| *follower.addresses().borrow());
            let (keys, what) = lacking(found.unwrap_or_default(), &keys)?;
            Some(format!(
                "{keys}: {source} has no {what} yet: until it has, new sessions whose peer would have \
                 to be told it are refused their data connections (425)"
            ))
        });
        notices.collect()
    }
}

/// The keys for which these addresses are not enough, and what is missing.
fn lacking(found: Addresses, keys: &[Key]) -> Option<(String, &'static str)> {
    if found.is_empty() {
        return Some((listed(keys), "address"));
    }
    let lacking: Vec<&Key> = keys.iter().filter(|key| key.needs_v4 && found.v4.is_none()).collect();
    (!lacking.is_empty()).then(|| (listed(lacking), "IPv4 address"))
}

/// What each interface and name of `advertise` stands for on this host now: the keys that name it, and
/// the answer. Blocks for as long as resolvers take.
pub fn look_up_external(config: &Config) -> Vec<(String, Source, io::Result<Addresses>)> {
    let sources = sources(config).into_iter();
    let found = sources.map(|(source, keys)| {
        let answer = source.look_up();
        (listed(&keys), source, answer)
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

/// A key that names an interface or a name.
struct Key {
    name: String,
    /// Peers of IPv4 are told it, as far as the configuration says.
    needs_v4: bool,
}

fn listed<'a>(keys: impl IntoIterator<Item = &'a Key>) -> String {
    keys.into_iter().map(|key| key.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Every interface and name of a configuration, with the keys that name it.
fn sources(config: &Config) -> BTreeMap<Source, Vec<Key>> {
    let mut sources: BTreeMap<Source, Vec<Key>> = BTreeMap::new();
    for listener in &config.listeners {
        let clients_v4 = listener.listen.is_ipv4() || config.is_dual(listener);
        let Advertised { client, server } = &listener.advertise;
        for (side, choices, others_v4) in
            [("client", client, clients_v4), ("server", server, false)]
        {
            let key = format!("listeners[{}].advertise.{side}", listener.name);
            let each = choices.of.iter();
            let each = each.map(|(own, choice)| (format!("{key}.{own}"), own.is_ipv4(), choice));
            for (name, needs_v4, choice) in each.chain([(key.clone(), others_v4, &choices.others)])
            {
                if let Err(source) = source(choice) {
                    sources.entry(source).or_default().push(Key { name, needs_v4 });
                }
            }
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn config(client: &str) -> Config {
        let text =
            format!("listeners: [{{ server: 'h:21', advertise: {{ client: {client} }} }}]\n");
        config::parse("x.yaml", &text).unwrap()
    }

    fn cell(followed: &Followed, begun: &Followed, config: &Config) -> watch::Receiver<Addresses> {
        let advertise = followed.advertise(begun, &config.listeners[0]);
        let Front::Followed(cell) = &advertise.client.others else { panic!("{advertise:?}") };
        cell.clone()
    }

    #[test]
    fn a_follower_lives_as_long_as_a_listener_names_its_source() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (lo, other) = (config("lo"), config("nosuch0"));
            let mut followed = Followed::default().begin_more(&lo).await;
            let old = cell(&followed, &Followed::default(), &lo);
            assert!(followed.begin_more(&lo).await.0.is_empty(), "it is followed already");
            assert!(followed.unknown(&lo).is_empty());

            // A reload that comes to nothing.
            let begun = followed.begin_more(&other).await;
            let mut abandoned = cell(&followed, &begun, &other);
            drop(begun);
            abandoned.borrow_and_update();
            assert!(abandoned.changed().await.is_err());

            let begun = followed.begin_more(&other).await;
            let new = cell(&followed, &begun, &other);
            followed.change(begun, &other);
            assert!(new.same_channel(&cell(&followed, &Followed::default(), &other)));
            let [told] = followed.unknown(&other).try_into().unwrap();
            assert!(told.starts_with("listeners[main].advertise.client: interface nosuch0 has no"));
            let mut ended = old;
            ended.borrow_and_update();
            assert!(ended.changed().await.is_err(), "nobody names it any more");
        });
    }

    #[test]
    fn a_source_is_told_with_every_key_that_names_it() {
        let config = config("{ 10.0.0.5: lo, 10.0.0.6: 203.0.113.7, 10.0.0.7: lo }");
        let sources = sources(&config);
        let keys = listed(&sources[&Source::Interface("lo".to_owned())]);
        let key = "listeners[main].advertise.client";
        assert_eq!((sources.len(), keys), (1, format!("{key}.10.0.0.5, {key}.10.0.0.7")));
    }

    #[test]
    fn an_address_of_ipv6_alone_is_not_enough_for_clients_of_ipv4() {
        let found = Addresses::default().keep_or_take(&["2001:db8::1".parse().unwrap()]);
        let lacks = |text: &str| {
            let sources = sources(&config::parse("x.yaml", text).unwrap());
            lacking(found, &sources[&Source::Interface("lo".to_owned())])
        };
        let listener = |listen: &str, advertise: &str| {
            format!(
                "listeners: [{{ listen: '{listen}', server: 'h:21', advertise: {{ {advertise} }} }}]\n"
            )
        };
        let lacking = Some(("listeners[main].advertise.client".to_owned(), "IPv4 address"));
        assert_eq!(lacks(&listener("0.0.0.0:2121", "client: lo, server: lo")), lacking);
        assert_eq!(lacks(&listener("[::]:2121", "client: lo")), lacking, "it takes IPv4 as well");
        assert_eq!(lacks(&listener("[2001:db8::9]:2121", "client: lo")), None);
        assert_eq!(lacks(&listener("0.0.0.0:2121", "client: { '2001:db8::5': lo }")), None);
    }
}
