//! How many requests this gateway may hold at each engine, so that all gateways together never hold more than it takes.
//!
//! Pure and told the time. Each gateway writes down what it claims of each engine before it uses it, and learns with the
//! answer what the others have claimed. Of two that claim at once, the one that wrote last sees both, so whatever
//! is lost or late, no two of them use the same place. Only the engine's owner claims more than it holds; who no longer owns
//! an engine claims what still runs there, and the new owner has the difference.
//!
//! A gateway whose last word is older than the lease is asked directly. One that is gone no longer counts; one that
//! gives no answer counts for a while longer. A gateway that cannot reach permissions keeps what it had claimed. Only where
//! the owner is away as well, everyone takes a fixed [share](Claims::share) of its engines.

mod said;

pub use said::{GatewayId, Listed, Part, Reach, Times, Word};

use super::owner::{self, Candidate};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What this gateway has claimed, and what it knows of the others.
#[derive(Debug)]
pub struct Claims {
    me: GatewayId,
    own: Word,
    times: Times,
    others: BTreeMap<GatewayId, Other>,
    engines: BTreeMap<String, Engine>,
    /// When the last word was sent that is not answered.
    sent: Option<Duration>,
    /// When the last word was sent that was answered.
    heard: Option<Duration>,
}

#[derive(Debug)]
struct Other {
    word: Word,
    live: bool,
    contact: Contact,
}

impl Other {
    /// The same after what was known of it.
    fn after(self, known: Self) -> Self {
        if known.word.sequence >= self.word.sequence {
            return Self { live: self.live, ..known };
        }
        // It has written since.
        let contact =
            if matches!(known.contact, Contact::Silent { .. }) { Contact::Unasked } else { known.contact };
        Self { contact, ..self }
    }
}

/// What is known of a gateway from having asked it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contact {
    Unasked,
    Here { knows: bool },
    Gone,
    Silent { since: Duration },
}

#[derive(Debug, Default)]
struct Engine {
    limit: u32,
    /// What the others have left to this gateway.
    granted: u32,
    /// Who owns it, of those who are there.
    owner: Option<GatewayId>,
    /// Who would own it if all who were there still were.
    former: Option<GatewayId>,
}

impl Claims {
    /// Claims of a gateway that has claimed nothing and knows nobody.
    #[must_use]
    pub fn new(me: GatewayId, address: &str, weight: f64, times: Times) -> Self {
        let own = Word { address: address.to_owned(), weight, ..Word::default() };
        Self { me, own, times, others: BTreeMap::new(), engines: BTreeMap::new(), sent: None, heard: None }
    }

    /// Says which engines there are, and how many requests each takes.
    pub fn engines(&mut self, engines: impl IntoIterator<Item = (String, u32)>) {
        let mut last = std::mem::take(&mut self.engines);
        for (name, limit) in engines {
            let granted = last.remove(&name).map_or(0, |engine| engine.granted.min(limit));
            self.engines.insert(name, Engine { limit, granted, ..Engine::default() });
        }
        self.assign();
    }

    /// It is about to end: others take its engines over.
    pub fn drain(&mut self) {
        self.own.draining = true;
        self.assign();
    }

    /// Whether it has not heard of the others for longer than a word counts.
    #[must_use]
    pub fn is_stale(&self, now: Duration) -> bool {
        self.heard.is_none_or(|heard| now.saturating_sub(heard) > self.times.lease)
    }

    /// What it says of itself to whoever asks it.
    #[must_use]
    pub fn word(&self, now: Duration) -> Word {
        let mut word = self.own.clone();
        for (name, claim) in &mut word.claims {
            *claim = self.part(name, now).most.max(*claim);
        }
        word
    }

    /// The others that are known.
    pub fn others(&self) -> impl Iterator<Item = (GatewayId, &Word)> {
        self.others.iter().map(|(&id, other)| (id, &other.word))
    }

    /// The other gateway that an engine belongs to, when it does and is there.
    #[must_use]
    pub fn elsewhere(&self, engine: &str) -> Option<GatewayId> {
        self.engines.get(engine)?.owner.filter(|&owner| owner != self.me)
    }

    /// The engines that this gateway owns.
    #[must_use]
    pub fn owned(&self) -> usize {
        self.engines.values().filter(|engine| self.owns(engine)).count()
    }

    /// Who is to be asked whether it is still there.
    #[must_use]
    pub fn to_ask(&self, now: Duration) -> Vec<(GatewayId, String)> {
        let stale = self.is_stale(now);
        let doubtful = self.others.iter().filter(|(_, other)| stale || !other.live);
        doubtful.map(|(&id, other)| (id, other.word.address.clone())).collect()
    }

    /// What parts of the engines are this gateway's now.
    #[must_use]
    pub fn parts(&self, now: Duration) -> BTreeMap<String, Part> {
        self.engines.keys().map(|name| (name.clone(), self.part(name, now))).collect()
    }

    /// Gives up what is no longer its own. Has to be in force before [`Claims::say`] is told what is held.
    pub fn give_up(&mut self) {
        let me = self.me;
        for engine in self.engines.values_mut().filter(|engine| engine.owner != Some(me)) {
            engine.granted = 0;
        }
    }

    /// The next word to be written down, with what is held at each engine. No more than that or what it says is used
    /// until another is answered.
    pub fn say(&mut self, held: &BTreeMap<String, u32>, now: Duration) -> Word {
        // Who has heard nothing for long hears first whose it is now.
        let may_want = !self.is_stale(now);
        let claims = self.engines.iter().map(|(name, engine)| {
            let wanted = if may_want && self.owns(engine) { engine.limit } else { 0 };
            let used = self.part(name, now).most.max(held.get(name).copied().unwrap_or(0));
            (name.clone(), wanted.max(used))
        });
        self.own.claims = claims.collect();
        self.own.hears = may_want;
        self.own.sequence += 1;
        self.sent = Some(now);
        self.own.clone()
    }

    /// The answer to the word of this sequence: everyone who is known, as they were listed after it was written down.
    pub fn answered(&mut self, sequence: u64, listed: Vec<Listed>) {
        // An answer to what was given up may tell of less than is written down by now.
        let Some(sent) = self.sent.take_if(|_| sequence == self.own.sequence) else { return };
        self.heard = Some(sent);
        let mut last = std::mem::take(&mut self.others);
        for Listed { id, word, live } in listed.into_iter().filter(|listed| listed.id != self.me) {
            // Who writes and is not answered does not know of this gateway.
            let other = Other { live: live && word.hears, word, contact: Contact::Unasked };
            let other = match last.remove(&id) {
                Some(known) if !other.live => other.after(known),
                _ => other,
            };
            self.others.insert(id, other);
        }
        self.assign();
        // Who was not reached yet may believe that it is alone.
        let unknown = self.others.values().any(|other| !other.live && other.contact == Contact::Unasked);
        let granted = |name: &String, engine: &Engine| {
            let left = engine.limit.saturating_sub(self.claimed(name, sent));
            let left = if unknown { left.min(engine.granted) } else { left };
            if self.owns(engine) { left.min(self.own.claims.get(name).copied().unwrap_or(0)) } else { 0 }
        };
        let granted: Vec<u32> = self.engines.iter().map(|(name, engine)| granted(name, engine)).collect();
        for (engine, granted) in self.engines.values_mut().zip(granted) {
            engine.granted = granted;
        }
    }

    /// A gateway asked this one, which must be because it is doubtful to it.
    pub fn asked_by(&mut self, id: GatewayId, word: Word, knows: bool) {
        if id == self.me || self.others.get(&id).is_some_and(|known| known.live) && !knows {
            return;
        }
        let known = self.others.get(&id).filter(|known| known.word.sequence > word.sequence);
        let (word, live) = known.map_or((word, false), |known| (known.word.clone(), known.live));
        self.others.insert(id, Other { word, live, contact: Contact::Here { knows } });
        self.assign();
    }

    /// What came of asking a gateway that is doubtful.
    pub fn reached(&mut self, id: GatewayId, reach: Reach, now: Duration) {
        let stale = self.is_stale(now);
        let Some(other) = self.others.get_mut(&id).filter(|other| stale || !other.live) else { return };
        other.contact = match (reach, other.contact) {
            (Reach::Here { word, knows }, _) => {
                if word.sequence >= other.word.sequence {
                    other.word = word;
                }
                Contact::Here { knows }
            }
            (Reach::Gone, _) => Contact::Gone,
            (Reach::Silent, silent @ Contact::Silent { .. }) => silent,
            (Reach::Silent, _) => Contact::Silent { since: now },
        };
        self.assign();
    }

    /// Says how long requests would wait here.
    pub fn wait(&mut self, waits: &BTreeMap<String, Duration>) {
        self.own.waits.clone_from(waits);
    }

    /// Whether another word would change nothing, when so much is held.
    #[must_use]
    pub fn is_settled(&self, held: &BTreeMap<String, u32>) -> bool {
        self.heard.is_some()
            && self.engines.iter().all(|(name, engine)| {
                let said = self.own.claims.get(name).copied();
                if self.owns(engine) {
                    engine.granted == engine.limit
                } else {
                    said == Some(held.get(name).copied().unwrap_or(0))
                }
            })
    }

    fn part(&self, name: &str, now: Duration) -> Part {
        let Some(engine) = self.engines.get(name).filter(|_| self.heard.is_some()) else {
            return Part::default();
        };
        let mine = Part { mine: self.owns(engine), most: engine.granted };
        if !self.is_stale(now) {
            return mine;
        }
        let here = |knows| self.others.values().any(|other| other.contact == Contact::Here { knows });
        let silent = |other: &Other| !matches!(other.contact, Contact::Here { .. } | Contact::Gone);
        if engine.granted > 0 {
            // Alone because of a fault, or alone because the others are: they may take this gateway for gone.
            let cut_off = !here(true) && !here(false) && self.others.values().any(silent);
            let most = if cut_off { engine.granted.min(self.share(name)) } else { engine.granted };
            return Part { most, ..mine };
        }
        // By then, whoever hears of the others and not of this gateway has asked it.
        let long = self.heard.is_some_and(|heard| now > heard + self.times.lease + self.times.grace);
        let owner = engine.former.and_then(|owner| self.others.get(&owner));
        if !long || here(true) || owner.is_none_or(|owner| self.counts(owner, now)) {
            return mine;
        }
        let left = engine.limit.saturating_sub(self.claimed(name, now));
        let most = self.share(name).min(left);
        Part { mine: mine.mine || most > 0, most }
    }

    /// The part of an engine that everyone may use without asking: its limit divided by the gateways that were last
    /// known. All of them together make no more than the limit, so some may have none.
    #[must_use]
    pub fn share(&self, name: &str) -> u32 {
        let Some(engine) = self.engines.get(name) else { return 0 };
        let there = |other: &&Other| other.live || matches!(other.contact, Contact::Here { .. });
        let others = self.others.iter().filter(|(_, other)| there(other)).map(|(&id, _)| id);
        let all: BTreeSet<GatewayId> = others.chain([self.me]).collect();
        let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let before = u32::try_from(all.range(..self.me).count()).unwrap_or(u32::MAX);
        engine.limit / count + u32::from(before < engine.limit % count)
    }

    /// What the others may hold at an engine.
    fn claimed(&self, name: &str, now: Duration) -> u32 {
        let counting = self.others.values().filter(|other| self.counts(other, now));
        let claims = counting.filter_map(|other| other.word.claims.get(name));
        claims.fold(0, |sum, claim| sum.saturating_add(*claim))
    }

    /// Whether what a gateway claimed may still be in use.
    fn counts(&self, other: &Other, now: Duration) -> bool {
        match other.contact {
            Contact::Unasked | Contact::Here { .. } => true,
            Contact::Gone => false,
            Contact::Silent { since } => now.saturating_sub(since) < self.times.grace,
        }
    }

    fn owns(&self, engine: &Engine) -> bool {
        engine.owner == Some(self.me)
    }

    /// Finds the owners of all engines.
    fn assign(&mut self) {
        let mut engines = std::mem::take(&mut self.engines);
        for (name, engine) in &mut engines {
            (engine.owner, engine.former) = (self.owner(name, true), self.owner(name, false));
        }
        self.engines = engines;
    }

    /// Who owns an engine: of those who know it and stay, and are there or were.
    fn owner(&self, name: &str, there: bool) -> Option<GatewayId> {
        let away = |other: &Other| matches!(other.contact, Contact::Gone | Contact::Silent { .. });
        let fits = |other: &Other| !other.word.draining && other.word.claims.contains_key(name);
        let candidate = |who, word| {
            let Word { address, weight, .. }: &Word = word;
            Candidate { who, address, weight: *weight }
        };
        let others = self.others.iter().filter(|(_, other)| {
            // Who was at this gateway's own address has been followed by it.
            fits(other) && !(there && away(other)) && other.word.address != self.own.address
        });
        let me = (!self.own.draining && self.heard.is_some()).then(|| candidate(self.me, &self.own));
        owner::of(name, others.map(|(&id, other)| candidate(id, &other.word)).chain(me))
    }
}

#[cfg(test)]
mod tests;
