//! Several gateways over the same engines: each engine belongs to one of them, in whose queue everyone waits for it.
//!
//! [`owner`] says to whom, [`claims`] how much each may hold, both pure. This file brings to [`claims`] what happens and
//! from it to the queue what follows. What the others say comes with the reports to permissions, or from [`ask`]ing;
//! [`place`] chooses where a call goes, [`forward`] sends it to another gateway, and [`relay`] is its answer; [`everyone`]
//! is asked who waits.

pub mod ask;
pub mod claims;
pub mod everyone;
pub mod forward;
pub mod relay;
pub mod word;

mod count;
mod owner;
mod place;

pub use claims::{GatewayId, Part};
pub use place::Place;

use crate::{config, engines::Fleet, queue::Queue};
use claims::{Claims, Times};
use proto::permissions::v1 as pb;
use rand::seq::IndexedRandom;
use shared::{
    channel::{self, Channel},
    config::SecretString,
    health::Health,
    server::Tasks,
    tls::Dialer,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

/// How long permissions counts a report as fresh.
const LEASE: Duration = Duration::from_secs(3);
/// Between two looks at what time alone has changed.
const TICK: Duration = Duration::from_millis(250);
/// Between two questions to gateways that are doubtful.
const ASK: Duration = Duration::from_secs(1);
/// A gateway that was not reached gets no calls for so long, while there are others.
const AVOIDED: Duration = Duration::from_secs(1);
/// Connections to each of the others: one carries no more than a thousand calls at once.
const CONNECTIONS: usize = 4;

/// How other gateways are reached, and what this one proves itself with.
#[derive(Clone)]
pub struct Peers {
    /// Makes connections.
    pub dialer: Dialer,
    /// The token of all services.
    pub token: SecretString,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Peers")
    }
}

/// This gateway among the others.
#[derive(Debug, Clone)]
pub struct Gateways(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: GatewayId,
    /// Where the others reach it.
    address: String,
    /// The time of the claims counts from here.
    origin: Instant,
    state: Mutex<State>,
    fleet: Fleet,
    queue: Queue,
    health: Health,
    peers: Peers,
    channels: Mutex<HashMap<String, Vec<Channel>>>,
    avoided: Mutex<HashMap<GatewayId, Instant>>,
    /// Changes whenever an engine has another owner.
    moves: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    claims: Claims,
    parts: BTreeMap<String, Part>,
    owners: BTreeMap<String, Option<GatewayId>>,
}

impl Gateways {
    /// One of several, of which it knows nothing yet.
    #[must_use]
    pub fn new(
        config: &config::Gateways,
        peers: Peers,
        fleet: &Fleet,
        queue: &Queue,
        health: &Health,
    ) -> Self {
        let id = Uuid::new_v4();
        let times = Times { lease: LEASE, grace: config.grace };
        let claims = Claims::new(id, &config.advertise, config.weight, times);
        let state = State { claims, parts: BTreeMap::new(), owners: BTreeMap::new() };
        Self(Arc::new(Inner {
            id,
            address: config.advertise.clone(),
            origin: Instant::now(),
            state: Mutex::new(state),
            fleet: fleet.clone(),
            queue: queue.clone(),
            health: health.clone(),
            peers,
            channels: Mutex::default(),
            avoided: Mutex::default(),
            moves: watch::Sender::default(),
        }))
    }

    /// Does what time alone asks for, until the process ends.
    pub fn watch(&self, tasks: &Tasks) {
        let looking = self.clone();
        tasks.repeat(TICK, move || {
            looking.apply(&mut looking.state());
            std::future::ready(())
        });
        let asking = self.clone();
        tasks.repeat(ASK, move || {
            let gateways = asking.clone();
            async move { gateways.ask_all().await }
        });
    }

    /// The id of this process.
    #[must_use]
    pub fn id(&self) -> GatewayId {
        self.0.id
    }

    /// What it says to the others, to be written down.
    #[must_use]
    pub fn say(&self) -> pb::Gateway {
        let mut state = self.state();
        if self.0.health.is_stopping() {
            state.claims.drain();
        }
        state.claims.give_up();
        // What is given up has to be in force before it is counted what is held.
        self.apply(&mut state);
        let held = self.held();
        let mut word = state.claims.say(&held, self.now());
        word.waits = self.waits();
        state.claims.wait(&word.waits);
        word::to_proto(&word, &held)
    }

    /// The answer to what it said.
    pub fn answered(&self, sequence: u64, listed: &[pb::Replica]) {
        let listed = listed.iter().filter_map(word::listed).collect();
        let mut state = self.state();
        state.claims.answered(sequence, listed);
        self.apply(&mut state);
    }

    /// Whether saying more would change nothing for now.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.state().claims.is_settled(&self.held())
    }

    /// Resolves when an engine has another owner than when `moves` was last looked at.
    fn moves(&self) -> watch::Receiver<u64> {
        self.0.moves.subscribe()
    }

    /// Brings to the queue what the claims say now.
    fn apply(&self, state: &mut State) {
        let engines = self.0.fleet.all();
        let limit = self.0.fleet.settings().max_in_flight;
        state.claims.engines(engines.iter().map(|engine| (engine.name.clone(), limit)));
        let parts = state.claims.parts(self.now());
        for engine in engines {
            engine.assign(parts.get(&engine.name).copied().unwrap_or_default());
        }
        let owner = |name: &String| (name.clone(), state.claims.elsewhere(name));
        let owners: BTreeMap<String, Option<GatewayId>> = parts.keys().map(owner).collect();
        let mine = |parts: &BTreeMap<String, Part>| {
            parts.iter().filter(|(_, part)| part.mine).map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        let moved = owners != state.owners || mine(&parts) != mine(&state.parts);
        count::owned(mine(&parts).len(), mine(&state.parts).len());
        (state.parts, state.owners) = (parts, owners);
        if moved {
            self.0.moves.send_modify(|moves| *moves += 1);
        }
    }

    /// What this gateway holds at each engine.
    fn held(&self) -> BTreeMap<String, u32> {
        let engines = self.0.fleet.all();
        engines.into_iter().map(|engine| (engine.name.clone(), self.0.queue.load(engine.id).0)).collect()
    }

    /// How long requests would wait here, by model, where it is worth saying.
    fn waits(&self) -> BTreeMap<String, Duration> {
        let engines = self.0.fleet.all();
        let models = engines.iter().flat_map(|engine| engine.sight().models.into_keys());
        let wait = |model: String| {
            let wait = self.0.queue.backlog(&model).filter(|wait| !wait.is_zero())?;
            Some((model, wait))
        };
        models.filter_map(wait).collect()
    }

    /// A connection to another gateway.
    fn channel(&self, address: &str) -> Option<Channel> {
        let mut channels = self.0.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if !channels.contains_key(address) {
            let Peers { dialer, token } = &self.0.peers;
            let one = || Some(channel::with_service_token(channel::remote(address, dialer).ok()?, token));
            let several: Option<Vec<Channel>> = (0..CONNECTIONS).map(|_| one()).collect();
            channels.insert(address.to_owned(), several?);
        }
        channels.get(address)?.choose(&mut rand::rng()).cloned()
    }

    fn now(&self) -> Duration {
        self.0.origin.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
