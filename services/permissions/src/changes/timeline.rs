//! Events and instants in one order: what begins or ends before an event is told before it. Pure, so that what a
//! watcher missed can be told again in the same order, from any position on.
//!
//! An event may arrive after instants that lie behind it have been told. What it puts that has begun or ended by then
//! is told right after it, so nothing is lost; what it takes away had been told already.

use super::schedule::{Expiry, Schedule, Span, Timed};
use crate::{error::Error, store::events::Stored};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use policy::{Change, Epoch, Revision, Time};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use uuid::Uuid;

/// How much has been told. Positions grow along a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// All of this transaction and of those before it.
    pub(crate) revision: Revision,
    /// So many items of the next transaction.
    pub(crate) told: u32,
    /// Whatever begins or ends up to and including this instant.
    pub(crate) instant: Time,
    /// So many of those that begin or end at the next instant.
    pub(crate) group: u32,
}

impl Position {
    /// After all of a revision, and of whatever happened by an instant.
    pub(crate) const fn at(revision: Revision, instant: Time) -> Self {
        Self { revision, told: 0, instant, group: 0 }
    }
}

/// Something to tell.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    Event(Arc<Stored>),
    Expiry(Expiry),
}

/// Something to tell, and the position after it.
pub(crate) type Told = (Position, Item);

/// The schedule at a position.
#[derive(Debug, Clone)]
pub(crate) struct Timeline {
    schedule: Schedule,
    position: Position,
}

impl Timeline {
    /// The schedule is the one after the position's revision.
    pub(crate) const fn new(schedule: Schedule, position: Position) -> Self {
        Self { schedule, position }
    }

    pub(crate) const fn position(&self) -> Position {
        self.position
    }

    /// The next instant at which there is something to tell.
    pub(crate) fn next(&self) -> Option<Time> {
        self.schedule.next_after(self.position.instant)
    }

    /// Tells the rest of what begins or ends at the instant that was being told.
    pub(crate) fn finish_instant(&mut self, tell: &mut Vec<Told>) {
        if let Some(instant) = self.next().filter(|_| self.position.group > 0) {
            self.pass(instant, tell);
        }
        self.position.group = 0;
    }

    /// Lets the time pass.
    pub(crate) fn pass(&mut self, until: Time, tell: &mut Vec<Told>) {
        tell.extend(self.missed(self.position, until));
        if until > self.position.instant {
            (self.position.instant, self.position.group) = (until, 0);
        }
    }

    /// What has begun or ended between a position of the same revision and an instant.
    pub(crate) fn missed(&self, from: Position, until: Time) -> Vec<Told> {
        let mut told = Vec::new();
        let (mut position, mut skip) = (from, from.group);
        let mut instants = self.schedule.between(from.instant, until).peekable();
        position.group = 0;
        while let Some(expiry) = instants.next() {
            let last = instants.peek().is_none_or(|next| next.at != expiry.at);
            position.group += 1;
            if last {
                (position.instant, position.group) = (expiry.at, 0);
            }
            if skip > 0 && !last {
                skip -= 1;
                continue;
            }
            skip = 0;
            told.push((position, Item::Expiry(expiry)));
        }
        told
    }

    /// One transaction happens, with all of its events.
    pub(crate) fn step(&mut self, events: &[(Arc<Stored>, Option<Change>)], tell: &mut Vec<Told>) {
        let Some((first, _)) = events.first() else { return };
        let (revision, at) = (first.event.revision, first.event.at);
        self.pass(at, tell);
        let mut before: BTreeMap<Timed, Span> = BTreeMap::new();
        for change in events.iter().filter_map(|(_, change)| change.as_ref()) {
            self.schedule.apply(change, |what, span| {
                before.entry(what).or_insert(span);
            });
        }
        let late = self.late(&before, at);
        let items = events.iter().map(|(event, _)| Item::Event(Arc::clone(event)));
        let items: Vec<Item> = items.chain(late.into_iter().map(Item::Expiry)).collect();
        let skip = usize::try_from(self.position.told).unwrap_or(usize::MAX);
        let after = Position::at(revision, self.position.instant);
        let last = items.len().saturating_sub(1);
        for (number, item) in items.into_iter().enumerate().skip(skip) {
            let told = u32::try_from(number + 1).unwrap_or(u32::MAX);
            let position = if number == last { after } else { Position { told, ..self.position } };
            tell.push((position, item));
        }
        self.position = after;
    }

    /// What a transaction put that has begun or ended since it happened and before it arrived.
    fn late(&self, before: &BTreeMap<Timed, Span>, at: Time) -> BTreeSet<Expiry> {
        let mut late = BTreeSet::new();
        for (what, old) in before {
            let known: Vec<Expiry> = old.instants(*what).collect();
            let new = self.schedule.span(*what).instants(*what).filter(|expiry| !known.contains(expiry));
            late.extend(new.filter(|expiry| expiry.at > at && expiry.at <= self.position.instant));
        }
        late
    }
}

/// A position of one log. Opaque to callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResumeToken {
    pub(crate) epoch: Epoch,
    pub(crate) position: Position,
}

impl ResumeToken {
    /// The token as callers carry it.
    pub(crate) fn encode(self) -> String {
        let mut bytes = Vec::with_capacity(40);
        bytes.extend_from_slice(self.epoch.uuid().as_bytes());
        bytes.extend_from_slice(&self.position.revision.get().to_be_bytes());
        bytes.extend_from_slice(&self.position.told.to_be_bytes());
        bytes.extend_from_slice(&self.position.instant.micros().to_be_bytes());
        bytes.extend_from_slice(&self.position.group.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The token in a request, or `None` when it carries none.
    pub(crate) fn decode(text: &str) -> Result<Option<Self>, Error> {
        if text.is_empty() {
            return Ok(None);
        }
        let token = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| read(&bytes));
        let malformed =
            || Error::invalid("resume_token", "is not a resume token; send one as a message had it");
        token.map(Some).ok_or_else(malformed)
    }
}

fn read(bytes: &[u8]) -> Option<ResumeToken> {
    let (epoch, rest) = bytes.split_first_chunk::<16>()?;
    let (revision, rest) = rest.split_first_chunk::<8>()?;
    let (told, rest) = rest.split_first_chunk::<4>()?;
    let (instant, rest) = rest.split_first_chunk::<8>()?;
    let group: [u8; 4] = rest.try_into().ok()?;
    let position = Position {
        revision: Revision(u64::from_be_bytes(*revision)),
        told: u32::from_be_bytes(*told),
        instant: Time(i64::from_be_bytes(*instant)),
        group: u32::from_be_bytes(group),
    };
    Some(ResumeToken { epoch: Epoch(Uuid::from_bytes(*epoch)), position })
}
