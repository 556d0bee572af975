//! The counters, so many of them at most: what was not touched for longest makes room for what is new.

use crate::window::Window;
use ahash::RandomState;
use hashbrown::HashMap;
use std::time::Duration;

/// Which counter: what it counts, and of whom.
pub(crate) type Key = (u32, u128);

/// Where a counter is, while it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    at: u32,
    generation: u32,
}

/// What other replicas have counted.
#[derive(Debug)]
struct Others {
    window: Window,
    held: u64,
    /// Until when what they hold is believed.
    until: Duration,
}

/// What one subject used.
#[derive(Debug)]
pub(crate) struct Counter {
    pub(crate) key: Key,
    generation: u32,
    own: Window,
    held: u64,
    others: Option<Box<Others>>,
    /// What was given since others were told of it.
    pub(crate) unsettled: u64,
    /// The part of it that they are being told.
    told: u64,
    /// Whether there is something to tell.
    pub(crate) news: bool,
    /// The last time that it was cleared for all replicas, as they count it.
    pub(crate) cleared: u64,
    /// When the others were told last.
    told_at: Duration,
    touched: Duration,
}

impl Place {
    pub(crate) const fn number(self) -> u32 {
        self.at
    }
}

impl Counter {
    fn new(key: Key, generation: u32, window: Duration, at: Duration) -> Self {
        let own = Window::new(window);
        Self {
            key,
            generation,
            own,
            held: 0,
            others: None,
            unsettled: 0,
            told: 0,
            news: false,
            cleared: 0,
            told_at: Duration::ZERO,
            touched: at,
        }
    }

    pub(crate) fn advance(&mut self, at: Duration) {
        self.slide(at);
        self.touched = at;
    }

    /// Goes to this time without being used.
    fn slide(&mut self, at: Duration) {
        self.own.advance(at);
        if let Some(others) = &mut self.others {
            others.window.advance(at);
            if at >= others.until {
                others.held = 0;
            }
        }
    }

    /// Everything that counts against a limit.
    pub(crate) fn used(&self) -> u64 {
        let others = self.others.as_ref().map_or(0, |others| others.window.sum() + others.held);
        self.own.sum() + self.held + others
    }

    /// What this replica has given, in the window and under way.
    pub(crate) fn own(&self) -> (&Window, u64) {
        (&self.own, self.held)
    }

    pub(crate) fn count(&mut self, many: u64) {
        self.own.add(many);
        self.unsettled += many;
    }

    pub(crate) fn hold(&mut self, many: u64) {
        self.held += many;
        self.unsettled += many;
    }

    pub(crate) fn let_go(&mut self, many: u64) {
        self.held = self.held.saturating_sub(many);
    }

    pub(crate) fn take_back(&mut self, many: u64) {
        self.own.take_back(many);
    }

    /// Until nothing is left of what the windows count.
    pub(crate) fn until_empty(&self, at: Duration) -> Duration {
        let others = self.others.as_ref().map_or(Duration::ZERO, |others| others.window.until_empty(at));
        self.own.until_empty(at).max(others)
    }

    /// Until so many are left, when that is a matter of time alone.
    pub(crate) fn until(&self, left: u64, at: Duration) -> Option<Duration> {
        let mut used = self.used();
        let mut leaving = self.own.leaving(at);
        leaving.extend(self.others.iter().flat_map(|others| others.window.leaving(at)));
        leaving.sort_unstable();
        let mut leaving = leaving.into_iter();
        let mut wait = Duration::ZERO;
        while used > left {
            let (after, count) = leaving.next()?;
            (wait, used) = (after, used - u64::from(count));
        }
        Some(wait)
    }

    /// Others are being told all of it.
    pub(crate) fn telling(&mut self, at: Duration) {
        (self.told, self.news, self.told_at) = (self.unsettled, false, at);
    }

    /// Whether what is known of the others may have changed for the better meanwhile.
    pub(crate) fn is_worth_asking(&self, at: Duration) -> bool {
        at.saturating_sub(self.told_at) >= ASK_AGAIN
    }

    /// They were told, and this is what they use.
    pub(crate) fn heard(&mut self, others: &[(Duration, u64)], held: u64, at: Duration, until: Duration) {
        self.unsettled -= std::mem::take(&mut self.told).min(self.unsettled);
        let mut window = self.own.clone();
        window.clear();
        for (age, many) in others {
            window.add_past(*age, at, *many);
        }
        let nothing = window.sum() == 0 && held == 0;
        self.others = (!nothing).then(|| Box::new(Others { window, held, until }));
    }

    /// Forgets what is in the windows; what is under way stays.
    pub(crate) fn clear(&mut self) {
        self.own.clear();
        self.others = None;
        (self.unsettled, self.told) = (0, 0);
    }
}

/// Between two questions what others use, while calls are refused for it.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// All counters.
#[derive(Debug)]
pub(crate) struct Counters {
    places: HashMap<Key, u32, RandomState>,
    all: Vec<Counter>,
    most: usize,
    hand: usize,
    /// Those with something to tell.
    pub(crate) news: Vec<u32>,
}

/// How many are looked at for one that may go.
const LOOK: usize = 16;

impl Counters {
    pub(crate) fn new(most: usize) -> Self {
        Self { places: HashMap::default(), all: Vec::new(), most, hand: 0, news: Vec::new() }
    }

    pub(crate) fn find_mut(&mut self, key: Key) -> Option<&mut Counter> {
        self.places.get(&key).and_then(|at| self.all.get_mut(*at as usize))
    }

    pub(crate) fn advance(&mut self, at: Duration) {
        self.all.iter_mut().for_each(|counter| counter.slide(at));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Counter> {
        self.all.iter()
    }

    pub(crate) fn place(&self, at: u32) -> Option<Place> {
        self.all.get(at as usize).map(|counter| Place { at, generation: counter.generation })
    }

    /// The counter there, when it is still the same one.
    pub(crate) fn at(&mut self, place: Place) -> Option<&mut Counter> {
        self.all.get_mut(place.at as usize).filter(|counter| counter.generation == place.generation)
    }

    pub(crate) fn get(&mut self, at: u32) -> Option<&mut Counter> {
        self.all.get_mut(at as usize)
    }

    /// Where the counter of this key is; a new one when there is none.
    pub(crate) fn find_or_make(&mut self, key: Key, window: Duration, now: Duration) -> u32 {
        if let Some(at) = self.places.get(&key) {
            return *at;
        }
        let at = match self.free(now) {
            Some(at) => {
                let gone = &mut self.all[at];
                let generation = gone.generation.wrapping_add(1);
                self.places.remove(&gone.key);
                *gone = Counter::new(key, generation, window, now);
                at
            }
            None => {
                self.all.push(Counter::new(key, 0, window, now));
                self.all.len() - 1
            }
        };
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        self.places.insert(key, at);
        at
    }

    /// A place that may be given to another; none while there is room for more.
    fn free(&mut self, now: Duration) -> Option<usize> {
        if self.all.len() < self.most {
            return None;
        }
        let looked = (0..LOOK.min(self.all.len())).map(|step| (self.hand + step) % self.all.len());
        // Nothing that is held or not yet told is forgotten, nor what the call at hand was counted in.
        let may_go = |at: &usize| {
            let counter = &self.all[*at];
            counter.held == 0 && !counter.news && counter.told == 0 && counter.touched != now
        };
        let found = looked.filter(may_go).min_by_key(|at| self.all[*at].touched);
        self.hand = (self.hand + LOOK) % self.all.len().max(1);
        found
    }

    /// There is something to tell of this one.
    pub(crate) fn has_news(&mut self, at: u32) {
        if let Some(counter) = self.all.get_mut(at as usize)
            && !std::mem::replace(&mut counter.news, true)
        {
            self.news.push(at);
        }
    }

    /// There is something to tell of all that were used.
    pub(crate) fn all_have_news(&mut self, wanted: impl Fn(&Counter) -> bool) {
        for at in 0..self.all.len() {
            if wanted(&self.all[at]) {
                self.has_news(u32::try_from(at).unwrap_or(u32::MAX));
            }
        }
    }
}
