//! Answers that are given again instead of made again.
//!
//! Whoever asks has been found to be allowed to before anything here is asked. An answer is kept under a [`Key`] of all
//! that decides what it is; equal requests that are on their way at once share one [`flight`]; a request with an
//! `Idempotency-Key` is one [`flight`] for as long as its key is remembered. [`crate::infer`] puts them together.

mod canonical;
mod chosen;
mod control;
pub mod flight;
mod hit;
mod kept;
mod key;
mod memory;
mod once;
mod pump;
mod replay;
mod second;
mod statistics;
mod texts;

pub use chosen::Chosen;
pub use control::{HEADER, Wish};
pub use flight::{Begun, Flight, Seat};
pub use hit::Hit;
pub use kept::{Kept, Origin};
pub use key::Key;
pub use once::Once;
pub use pump::Pump;
pub use replay::Replay;
pub use statistics::{Found, Statistics, Total};
pub use texts::{Made, Texts, together};

use crate::{admit::Admitted, config, prompt::Repeats, queue::Class};
use chosen::Gone;
use futures_util::future::join_all;
use memory::{Memory, Slot};
use once::Names;
use policy::UserId;
use second::Second;
use shared::{limits::Ticket, redis::shelf::Shelf, server::Tasks, time};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

/// What an answer had to do with the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cached {
    /// It was not asked.
    Bypass,
    /// It did not have it.
    Miss,
    /// It had it, this old.
    Hit(Duration),
}

impl Cached {
    /// The word in `x-tollgate-cache`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Miss => "miss",
            Self::Hit(_) => "hit",
        }
    }
}

/// Vectors that are looked up in the second tier for one call.
const MOST_LOOKED_UP: usize = 256;

/// Who may share a call: equal requests in one form. Who is more urgent does not wait for the turn of who is less.
type Course = (Key, bool, Class);

/// The answers that are kept, and those on their way.
#[derive(Debug, Clone)]
pub struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: RwLock<config::Cache>,
    memory: Memory,
    names: Names,
    flights: Mutex<HashMap<Course, Arc<Flight>>>,
    statistics: Statistics,
    second: Option<Second>,
    gone: Gone,
    tasks: Tasks,
}

/// How a request goes through the cache.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What its answer is kept under.
    pub key: Key,
    /// How long its answer is kept.
    pub ttl: Duration,
    /// Whether it streams.
    pub stream: bool,
    /// The texts whose vectors are asked for.
    pub texts: Option<Texts>,
    course: Course,
    origin: Origin,
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new(config: &config::Cache, shelf: Option<Shelf>, tasks: &Tasks) -> Self {
        Self(Arc::new(Inner {
            settings: RwLock::new(config.clone()),
            memory: Memory::new(config.memory_bytes),
            names: Names::new(config),
            flights: Mutex::default(),
            statistics: Statistics::default(),
            second: shelf.map(Second::new),
            gone: Gone::default(),
            tasks: tasks.clone(),
        }))
    }

    /// As configured from now on.
    pub fn configure(&self, config: &config::Cache) {
        self.0.settings.write().unwrap_or_else(PoisonError::into_inner).clone_from(config);
    }

    /// The requests that are to be done once.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.0.names
    }

    /// What was counted.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.0.statistics
    }

    /// Runs what several callers may wait for. What it uses counts against the limits of whoever asked first, who is billed
    /// for it too.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match Ticket::current() {
            Some(ticket) => self.0.tasks.spawn(ticket.around(task)),
            None => self.0.tasks.spawn(task),
        }
    }

    /// How a request goes through the cache, when it does.
    #[must_use]
    pub fn plan(&self, admitted: &Admitted) -> Option<Plan> {
        let prompt = &admitted.prompt;
        match prompt.repeats {
            _ if prompt.wish.no_store => return None,
            Repeats::Exactly => {}
            Repeats::Otherwise if prompt.wish.store => {}
            Repeats::Otherwise | Repeats::Never => return None,
        }
        let (model, endpoint) = (prompt.served(), prompt.endpoint.name());
        let settings = self.0.settings.read().unwrap_or_else(PoisonError::into_inner);
        let ttl = settings.ttl_of(endpoint, model);
        if !settings.enabled || ttl.is_zero() {
            return None;
        }
        let revision = settings.models.get(model).map_or("", |model| model.revision.as_str());
        let (key, texts) = Key::of(admitted, revision)?;
        drop(settings);
        let origin = origin(admitted);
        let course = (key, prompt.stream, prompt.class);
        Some(Plan { key, ttl, stream: prompt.stream, texts, course, origin })
    }

    /// An answer that is kept and young enough.
    #[must_use]
    pub fn get(&self, plan: &Plan, wish: &Wish) -> Option<Arc<Kept>> {
        self.find((plan.key, plan.stream), wish)
    }

    fn find(&self, slot: Slot, wish: &Wish) -> Option<Arc<Kept>> {
        if wish.no_cache {
            return None;
        }
        let kept = self.0.memory.get(&slot)?;
        let young = || kept.age(time::now()) <= wish.max_age.unwrap_or(Duration::MAX);
        young().then_some(kept)
    }

    /// The vectors of texts that are known, in the order of the texts.
    #[must_use]
    pub fn vectors(&self, texts: &Texts, wish: &Wish) -> Vec<Option<Arc<Kept>>> {
        texts.keys().map(|key| self.find((key, false), wish)).collect()
    }

    /// Keeps vectors that were made.
    pub fn keep(&self, plan: &Plan, made: &Made) {
        for (key, bytes, tokens) in &made.vectors {
            let vector = Kept::vector(bytes.clone(), *tokens, plan.origin.clone());
            self.put((*key, false), Kept { ttl: plan.ttl, ..vector });
        }
    }

    fn put(&self, slot: Slot, kept: Kept) {
        if self.0.gone.has(&slot.0, &kept) {
            return;
        }
        if let Some(second) = &self.0.second {
            second.put(second::name(slot.0, slot.1), &kept);
        }
        self.0.memory.put(slot, Arc::new(kept));
    }

    /// What the second tier has of an answer, for a request that would be sent to an engine otherwise.
    pub async fn second(&self, plan: &Plan, wish: &Wish) -> Option<Arc<Kept>> {
        self.fetch((plan.key, plan.stream), plan, wish).await
    }

    /// The same for the vectors that are not known yet.
    pub async fn second_vectors(
        &self,
        plan: &Plan,
        texts: &Texts,
        wish: &Wish,
        known: &mut [Option<Arc<Kept>>],
    ) {
        let unknown = texts.unknown(known);
        if self.0.second.is_none() || unknown.len() > MOST_LOOKED_UP {
            return;
        }
        let keys: Vec<Key> = texts.keys().collect();
        let found = join_all(unknown.iter().map(|place| self.fetch((keys[*place], false), plan, wish))).await;
        let found: HashMap<Key, Arc<Kept>> =
            unknown.iter().zip(found).filter_map(|(place, kept)| Some((keys[*place], kept?))).collect();
        for (key, known) in keys.iter().zip(known) {
            if known.is_none() {
                *known = found.get(key).cloned();
            }
        }
    }

    async fn fetch(&self, slot: Slot, plan: &Plan, wish: &Wish) -> Option<Arc<Kept>> {
        let within = self.0.settings.read().unwrap_or_else(PoisonError::into_inner).redis_wait;
        let second = self.0.second.as_ref().filter(|_| !wish.no_cache && !within.is_zero())?;
        let kept = second.get(&second::name(slot.0, slot.1), &plan.origin, within).await?;
        if self.0.gone.has(&slot.0, &kept) {
            return None;
        }
        let kept = Arc::new(kept);
        self.0.memory.put(slot, Arc::clone(&kept));
        Some(kept).filter(|kept| kept.age(time::now()) <= wish.max_age.unwrap_or(Duration::MAX))
    }

    /// A seat in the call that makes the answer, and the call itself when this is the first.
    #[must_use]
    pub fn join(&self, plan: &Plan, wish: &Wish) -> (Seat, Option<Arc<Flight>>) {
        if wish.no_cache {
            let (flight, seat) = Flight::new(false);
            return (seat, Some(flight));
        }
        let mut flights = self.flights();
        match flights.entry(plan.course) {
            Entry::Occupied(mut under_way) => {
                if let Some(seat) = under_way.get().seat() {
                    return (seat, None);
                }
                let (flight, seat) = Flight::new(false);
                under_way.insert(Arc::clone(&flight));
                (seat, Some(flight))
            }
            Entry::Vacant(vacant) => {
                let (flight, seat) = Flight::new(false);
                vacant.insert(Arc::clone(&flight));
                (seat, Some(flight))
            }
        }
    }

    /// A call has ended; its answer is kept when all of it came.
    pub fn landed(&self, plan: &Plan, flight: &Arc<Flight>, kept: Option<Kept>) {
        let largest = self.0.settings.read().unwrap_or_else(PoisonError::into_inner).largest_bytes;
        // First, so that whoever no longer finds the call finds the answer.
        // Vectors were kept one by one.
        let kept = kept.filter(|kept| plan.texts.is_none() && kept.bytes.len() <= largest);
        if let Some(kept) = kept {
            self.put((plan.key, plan.stream), kept);
        }
        let mut flights = self.flights();
        // Another may have begun since everybody left this one.
        if flights.get(&plan.course).is_some_and(|under_way| Arc::ptr_eq(under_way, flight)) {
            flights.remove(&plan.course);
        }
    }

    /// What a caller asked under a name at another gateway, and the answer.
    pub async fn remembered(&self, user: UserId, key: &str, admitted: &Admitted) -> Option<(Key, Kept)> {
        let within = self.0.settings.read().unwrap_or_else(PoisonError::into_inner).redis_wait;
        let second = self.0.second.as_ref().filter(|_| !within.is_zero())?;
        second.named(&once::remote(user, key), &origin(admitted), within).await
    }

    /// Lets other gateways know what a caller asked under a name, and the answer.
    pub fn remember(&self, (user, key): (UserId, &str), fingerprint: Key, admitted: &Admitted, pump: Pump) {
        let settings = self.0.settings.read().unwrap_or_else(PoisonError::into_inner);
        let (ttl, largest) = (settings.idempotency_ttl, settings.largest_bytes);
        drop(settings);
        let kept = pump.kept(origin(admitted), ttl, admitted.accepted.elapsed());
        if let (Some(second), Some(kept)) = (&self.0.second, kept.filter(|kept| kept.bytes.len() <= largest))
        {
            second.name(once::remote(user, key), fingerprint, &kept);
        }
    }

    /// Drops the answers that are chosen, wherever they are kept. Returns how many of them were in memory.
    pub fn drop_those(&self, chosen: &Chosen) -> u64 {
        // First, so that none comes back from the second tier.
        self.0.gone.add(chosen.clone(), time::now());
        self.0.memory.drop_those(|key, kept| chosen.matches(key, kept))
    }

    /// What is kept in memory and chosen, with its keys, the most used first.
    #[must_use]
    pub fn list(&self, chosen: &Chosen, most: usize) -> Vec<(Key, Arc<Kept>)> {
        let mut listed = self.0.memory.list(|key, kept| chosen.matches(key, kept));
        listed.sort_by_key(|(key, kept)| (std::cmp::Reverse(kept.uses()), *key));
        listed.truncate(most);
        listed
    }

    /// What the tokens that a model was saved would have cost, in micro-dollars.
    #[must_use]
    pub fn price(&self, model: &str, total: &Total) -> u64 {
        let settings = self.0.settings.read().unwrap_or_else(PoisonError::into_inner);
        let Some(model) = settings.models.get(model) else { return 0 };
        let part = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
        let sum = part(total.prompt_tokens, model.prompt_price)
            + part(total.completion_tokens, model.completion_price);
        u64::try_from(sum / 1_000_000).unwrap_or(u64::MAX)
    }

    /// Answers in memory, and bytes that they take.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        self.0.memory.size()
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Course, Arc<Flight>>> {
        self.0.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request's answer is of.
fn origin(admitted: &Admitted) -> Origin {
    let prompt = &admitted.prompt;
    let (model, tags) = (prompt.served().into(), Arc::clone(&prompt.wish.tags));
    Origin { model, endpoint: prompt.endpoint.name(), tags }
}

impl Plan {
    /// What its answer is of.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// An answer as it is kept under this plan.
    #[must_use]
    pub fn kept(&self, pump: Pump, took: Duration) -> Option<Kept> {
        pump.kept(self.origin.clone(), self.ttl, took)
    }
}
