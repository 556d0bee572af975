//! What replicas tell each other of their counters, through a place that all of them reach.
//!
//! Each replica keeps its own windows and tells what is in them, slot by slot; never what changed, so that nothing is lost
//! or counted twice when a message is, or when the place forgets everything. What the others told counts here as if it had
//! happened here. A call is decided by what is known; nobody waits.
//!
//! **The lease.** Before the others have heard of it a replica gives at most a lease: the part
//! [`Sharing::lease`](crate::Sharing) of a limit, [`Sharing::least`](crate::Sharing) at least. Every exchange fills it up
//! again. So N replicas together never give more than `limit + (N − 1) × lease` in a window, as long as they reach the
//! place: take the replica whose last exchange before its last call was the latest of all. It knew everything that the
//! others had told by then and kept the sum below the limit; each of the others can have given one lease since it told. A
//! single call that costs more than a lease (many tokens) stands for it.
//!
//! While the place is away every replica keeps the whole limit by itself, still counting what it heard of the others
//! until that is too old: `N × limit` at most.
//!
//! Ages are told relative to the moment of telling, and the place says how long ago that was, so clocks need not agree. An
//! age is that of the youngest that may be in a slot, so what others did counts for up to two slots too long, and never
//! too short.

pub use crate::counter::Place;
use crate::limiter::{Limiter, Moment};
use std::time::Duration;

/// How long what others hold is believed.
pub const BELIEVED: Duration = Duration::from_secs(10);

/// What this replica tells of one counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What all replicas call the counter.
    pub name: String,
    /// Where it is here.
    pub place: Place,
    /// How long ago, and how many.
    pub used: Vec<(Duration, u32)>,
    /// How many are under way.
    pub held: u64,
    /// After this time without news it says nothing any more.
    pub lasts: Duration,
    /// The last clearing that this replica knows.
    pub cleared: u64,
}

/// What all others told of one counter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// How long ago, and how many.
    pub used: Vec<(Duration, u64)>,
    /// How many are under way.
    pub held: u64,
    /// The last clearing; what was told before it counts no more.
    pub cleared: u64,
}

impl Limiter {
    /// Whether there is a place to share through, and whether it is quick enough for leases to bind, from now on. When it
    /// is there again everything is told anew.
    pub fn share(&mut self, sharing: bool, leasing: bool) {
        if sharing && !self.sharing {
            self.tell_all();
        }
        (self.sharing, self.leasing) = (sharing, sharing && leasing);
    }

    /// Tells of everything anew that is in use: the place has forgotten it.
    pub fn tell_all(&mut self) {
        self.counters.all_have_news(|counter| counter.own().0.sum() + counter.own().1 > 0);
    }

    /// Tells again of what is under way, before the others stop to believe it.
    pub fn remind(&mut self) {
        self.counters.all_have_news(|counter| counter.own().1 > 0);
    }

    /// Whether there is anything to tell.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.counters.news.is_empty()
    }

    /// What is to be told, so many at most.
    pub fn reports(&mut self, most: usize, now: Moment) -> Vec<Report> {
        let rest = self.counters.news.len().saturating_sub(most);
        let news = self.counters.news.split_off(rest);
        news.into_iter().filter_map(|at| self.report(at, now)).collect()
    }

    fn report(&mut self, at: u32, now: Moment) -> Option<Report> {
        let place = self.counters.place(at)?;
        let counter = self.counters.get(at)?;
        counter.advance(now.at);
        counter.telling(now.at);
        let (own, held) = counter.own();
        let (used, lasts) = (own.ages(now.at), own.slot() * 23);
        let (key, cleared) = (counter.key, counter.cleared);
        let name = self.name_of_counter(key)?;
        Some(Report { name, place, used, held, lasts: lasts.max(BELIEVED), cleared })
    }

    fn name_of_counter(&self, (kind, id): (u32, u128)) -> Option<String> {
        let (kind, _) = self.kinds.iter().find(|(_, place)| **place == kind)?;
        let window = kind.window.as_millis();
        Some(format!("{}:{}:{}:{window}:{id:032x}", kind.action, kind.layer, kind.measure))
    }

    /// The others were told, and this is what they use.
    pub fn heard(&mut self, place: Place, heard: &Heard, now: Moment) {
        let Some(counter) = self.counters.at(place) else { return };
        counter.advance(now.at);
        if heard.cleared > counter.cleared {
            counter.clear();
            counter.cleared = heard.cleared;
        }
        counter.heard(&heard.used, heard.held, now.at, now.at + BELIEVED);
    }

    /// It is not known whether the others were told.
    pub fn unheard(&mut self, place: Place) {
        if self.counters.at(place).is_some() {
            self.counters.has_news(place.number());
        }
    }

    /// Clears what a subject has used of an action, or of all. Returns what all replicas call the counters.
    pub fn clear(&mut self, layer: crate::Layer, id: u128, action: Option<&str>, now: Moment) -> Vec<String> {
        let kinds = self.kinds.iter().filter(|(kind, _)| {
            kind.layer == layer.as_str() && action.is_none_or(|action| action == &*kind.action)
        });
        let keys: Vec<_> = kinds.map(|(_, place)| (*place, id)).collect();
        for key in &keys {
            if let Some(counter) = self.counters.find_mut(*key) {
                counter.advance(now.at);
                counter.clear();
            }
        }
        keys.into_iter().filter_map(|key| self.name_of_counter(key)).collect()
    }
}
