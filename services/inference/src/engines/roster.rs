//! Who is in the fleet: what the sources say, and the engines that follow from it.
//!
//! An engine that no source names any more leaves: it gets nothing new, finishes what it has, and is forgotten once
//! that is done. Ids count up and are never given twice.

use super::{EngineId, Fleet, cordon::Cordons, engine::Engine, source::Source};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// What a source says: base URLs in its order, and of those that are on their way out, why.
pub(super) type Found = Vec<(String, Option<String>)>;

/// Everybody who is in the fleet.
#[derive(Debug, Default)]
pub(super) struct Roster {
    engines: BTreeMap<EngineId, Arc<Engine>>,
    next: EngineId,
    found: BTreeMap<String, Found>,
    /// Entries that are looked at again and again, each until its token is cancelled.
    followed: BTreeMap<String, CancellationToken>,
}

/// The entry under which base URLs of the configuration are found.
const CONFIGURED: &str = "";
/// Why an engine leaves that is simply not named any more.
const GONE: &str = "it is no longer where engines are looked for; it finishes what it has";

impl Roster {
    pub(super) fn get(&self, engine: EngineId) -> Option<Arc<Engine>> {
        self.engines.get(&engine).cloned()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Engine>> {
        self.engines.values()
    }

    /// Whether every source that is followed has said something.
    pub(super) fn complete(&self) -> bool {
        self.followed.keys().all(|entry| self.found.contains_key(entry))
    }

    /// What all sources say together, each engine once.
    fn wanted(&self) -> Found {
        let mut wanted = Found::new();
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for (url, leaving) in self.found.values().flatten() {
            match places.get(url.as_str()) {
                // One source that keeps it is enough.
                Some(&place) if leaving.is_none() => wanted[place].1 = None,
                Some(_) => {}
                None => {
                    places.insert(url, wanted.len());
                    wanted.push((url.clone(), leaving.clone()));
                }
            }
        }
        wanted
    }
}

impl Fleet {
    /// Follows the entries of the configuration from now on, and no others.
    pub(super) fn follow(&self, entries: &[String]) {
        let read = |entry: &String| Some((entry.clone(), entry.parse::<Source>().ok()?));
        let (mut configured, mut followed) = (Found::new(), BTreeMap::new());
        for (entry, source) in entries.iter().filter_map(read) {
            match source {
                Source::Url(url) => configured.push((url, None)),
                source => drop(followed.insert(entry, source)),
            }
        }
        let mut roster = self.roster();
        roster.followed.retain(|entry, task| {
            let stays = followed.contains_key(entry);
            if !stays {
                task.cancel();
            }
            stays
        });
        let kept: BTreeSet<String> = roster.followed.keys().cloned().collect();
        roster.found.retain(|entry, _| kept.contains(entry));
        for (entry, source) in followed {
            if !kept.contains(&entry) {
                let stop = self.0.settings.tasks.stopping().child_token();
                roster.followed.insert(entry.clone(), stop.clone());
                self.begin(entry, source, stop);
            }
        }
        drop(roster);
        self.found(CONFIGURED, configured);
    }

    fn begin(&self, entry: String, source: Source, stop: CancellationToken) {
        let fleet = self.clone();
        self.0.settings.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = fleet.look(&entry, source) => {}
            }
        });
    }

    async fn look(&self, entry: &str, source: Source) {
        match source {
            Source::Url(_) => {}
            Source::Dns { scheme, host, port } => self.resolve(entry, scheme, &host, port).await,
            Source::Kubernetes { .. } => self.0.api_server.follow(self, entry, &source).await,
        }
    }

    /// A source says which engines there are.
    pub(super) fn found(&self, entry: &str, found: Found) {
        let mut roster = self.roster();
        if entry != CONFIGURED && !roster.followed.contains_key(entry) {
            return;
        }
        roster.found.insert(entry.to_owned(), found);
        let wanted = roster.wanted();
        let mut new: BTreeSet<&str> = wanted.iter().map(|(url, _)| url.as_str()).collect();
        for engine in roster.engines.values() {
            new.remove(engine.url.as_str());
            let named = wanted.iter().find(|(url, _)| *url == engine.url);
            let leaving = named.map_or_else(|| Some(GONE.to_owned()), |(_, leaving)| leaving.clone());
            engine.update(|state, _| state.leaving = leaving);
        }
        let staying = wanted.iter().filter(|(url, leaving)| leaving.is_none() && new.contains(url.as_str()));
        for (url, _) in staying {
            let id = roster.next;
            let Some(engine) = Engine::new(id, url, &self.0.settings, Instant::now()) else { continue };
            roster.next += 1;
            tracing::info!(engine = url, id = engine.name, "engine found");
            engine.update(|state, _| state.cordon = self.0.cordons.of(url));
            roster.engines.insert(id, Arc::new(engine));
        }
        drop(roster);
        self.0.news.notify_one();
    }

    /// Forgets the engines that have left.
    pub(super) fn dismiss(&self) {
        let mut roster = self.roster();
        let mut gone = Vec::new();
        roster.engines.retain(|_, engine| {
            let left = engine.state().leaving.is_some() && engine.is_empty();
            if left {
                tracing::info!(engine = engine.url, "engine has left");
                gone.push(engine.url.clone());
            }
            !left
        });
        drop(roster);
        Cordons::forget(&self.0.cordons, &gone);
    }
}
