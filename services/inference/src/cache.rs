//! Answers that are given again instead of made again.
//!
//! Whoever asks has been found to be allowed to before anything here is asked. An answer is kept under a [`Key`] of all
//! that decides what it is; equal requests that are on their way at once share one [`flight`]; a request with an
//! `Idempotency-Key` is one [`flight`] for as long as its key is remembered. [`crate::infer`] puts them together.

mod canonical;
mod choose;
mod chosen;
mod control;
pub mod flight;
mod gone;
mod hit;
mod kept;
mod key;
mod memory;
mod once;
mod plan;
mod pump;
mod replay;
mod second;
mod statistics;
mod texts;

pub use chosen::Chosen;
pub(crate) use control::is_tag;
pub use control::{HEADER, Wish};
pub use flight::{Begun, Flight, Seat};
pub use gone::Mark;
pub use hit::Hit;
pub use kept::{Asked, Kept, Origin};
pub use key::Key;
pub use once::{Once, Turn};
pub use plan::Plan;
pub use pump::{Bounds, Pump};
pub use replay::Replay;
pub use statistics::{Found, Statistics, Total};
pub use texts::{Made, Texts, together};

use crate::{config, queue::Class};
use futures_util::future::join_all;
use gone::Gone;
use memory::{Memory, Slot};
use once::Names;
use second::Second;
use shared::{
    limits::Ticket,
    redis::{locks::Locks, shelf::Shelf},
    server::Tasks,
    time,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
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

/// Who may share a call: equal requests in one form. Who is more urgent does not wait for the turn of who is less, such as
/// spare work.
type Course = (Key, bool, Class, bool);

/// The answers that are kept, and those on their way.
#[derive(Debug, Clone)]
pub struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: RwLock<config::Cache>,
    memory: Memory,
    names: Names,
    flights: Mutex<HashMap<Course, UnderWay>>,
    statistics: Statistics,
    second: Option<Second>,
    locks: Locks,
    gone: Gone,
    tasks: Tasks,
}

/// A call that others may join.
#[derive(Debug)]
struct UnderWay {
    flight: Arc<Flight>,
    of: Origin,
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new(config: &config::Cache, shelf: Option<Shelf>, locks: Locks, tasks: &Tasks) -> Self {
        Self(Arc::new(Inner {
            settings: RwLock::new(config.clone()),
            memory: Memory::new(config.memory_bytes),
            names: Names::new(config),
            flights: Mutex::default(),
            statistics: Statistics::default(),
            second: shelf.map(Second::new),
            locks,
            gone: Gone::default(),
            tasks: tasks.clone(),
        }))
    }

    /// As configured from now on.
    pub fn configure(&self, config: &config::Cache) {
        self.0.settings.write().unwrap_or_else(PoisonError::into_inner).clone_from(config);
    }

    fn settings(&self) -> RwLockReadGuard<'_, config::Cache> {
        self.0.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes up to which an answer is kept.
    #[must_use]
    pub fn largest(&self) -> usize {
        self.settings().largest_bytes
    }

    /// The longest time for which any answer is kept.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.settings().longest()
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
            self.put((*key, false), Kept { ttl: plan.ttl, mark: plan.mark, ..vector });
        }
    }

    fn put(&self, slot: Slot, kept: Kept) {
        let kept = Arc::new(kept);
        if self.lay_down(slot, &kept)
            && let Some(second) = &self.0.second
        {
            second.put(second::name(slot.0, slot.1), &kept);
        }
    }

    /// Has an answer in memory, unless it is to go. Returns whether it is there.
    fn lay_down(&self, slot: Slot, kept: &Arc<Kept>) -> bool {
        let gone = || self.0.gone.has(&slot.0, &kept.of, kept.mark);
        if gone() {
            return false;
        }
        self.0.memory.put(slot, Arc::clone(kept));
        // It may have been said meanwhile, and memory searched before this was in it.
        let gone = gone();
        if gone {
            self.0.memory.forget(&slot);
        }
        !gone
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
        let within = self.settings().redis_wait;
        // Before the invalidations were read, nobody can say what of it is still good.
        let heard = !self.0.gone.mark().epoch.is_nil();
        let second = self.0.second.as_ref().filter(|_| heard && !wish.no_cache && !within.is_zero())?;
        let kept = second.get(&second::name(slot.0, slot.1), &plan.origin, within).await?;
        // Its making was counted where it was made.
        let asked = plan.asked.clone().map(|asked| Asked { in_time: false, ..asked });
        let kept = Arc::new(Kept { asked, ..kept });
        self.lay_down(slot, &kept)
            .then_some(kept)
            .filter(|kept| kept.age(time::now()) <= wish.max_age.unwrap_or(Duration::MAX))
    }

    /// A seat in the call that makes the answer, and the call itself when this is the first.
    #[must_use]
    pub fn join(&self, plan: &Plan, wish: &Wish) -> (Seat, Option<Arc<Flight>>) {
        if wish.no_cache {
            let (flight, seat) = Flight::new(false);
            return (seat, Some(flight));
        }
        let mut flights = self.flights();
        let seat = flights.get(&plan.course).and_then(|under_way| under_way.flight.seat());
        if let Some(seat) = seat {
            return (seat, None);
        }
        let (flight, seat) = Flight::new(false);
        let under_way = UnderWay { flight: Arc::clone(&flight), of: plan.origin.clone() };
        flights.insert(plan.course, under_way);
        (seat, Some(flight))
    }

    /// A call has ended; its answer is kept when all of it came.
    pub fn landed(&self, plan: &Plan, flight: &Arc<Flight>, kept: Option<Kept>) {
        let largest = self.settings().largest_bytes;
        // First, so that whoever no longer finds the call finds the answer.
        // Vectors were kept one by one.
        let kept = kept.filter(|kept| plan.texts.is_none() && kept.bytes.len() <= largest);
        if let Some(kept) = kept {
            self.put((plan.key, plan.stream), kept);
        }
        let mut flights = self.flights();
        // Another may have begun since everybody left this one.
        if flights.get(&plan.course).is_some_and(|under_way| Arc::ptr_eq(&under_way.flight, flight)) {
            flights.remove(&plan.course);
        }
    }

    /// What the tokens that a model was saved would have cost, in micro-dollars.
    #[must_use]
    pub fn price(&self, model: &str, total: &Total) -> u64 {
        let settings = self.settings();
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

    fn flights(&self) -> MutexGuard<'_, HashMap<Course, UnderWay>> {
        self.0.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
