//! The chain of digests, worked out again event by event. It only calculates; who reads the events is told what is
//! wrong with the first one that does not fit.

use crate::store::events::{Place, Stored};
use policy::Revision;
use shared::event::Link;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Nothing is where an event should be.
    Missing,
    /// The event does not belong here; the one after it follows the one before it.
    Inserted,
    /// The event is not what was recorded, or the events right before it are gone.
    Changed,
    /// The event is what was recorded, its link is not.
    LinkChanged,
    /// The event has no link, though the chain had begun.
    LinkMissing,
    /// The head does not have the link of the last event.
    HeadChanged,
}

/// The first place where the chain does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) place: Place,
    pub(crate) problem: Problem,
}

/// The chain up to some event.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    /// Events that fit.
    pub(crate) checked: u64,
    /// Events of before the chain began.
    pub(crate) unchained: u64,
    /// The last event that fits.
    pub(crate) last: Place,
    link: Link,
    /// The link before the last one.
    before: Option<Link>,
    begun: bool,
    /// An event that does not fit, and the link that it should have; what comes next says what is wrong with it.
    doubt: Option<(Place, Link)>,
}

impl Chain {
    /// The chain after a revision, whose last link it was; none when the chain had not begun.
    pub(crate) fn after(revision: Revision, link: Option<Link>) -> Self {
        let begun = link.is_some_and(|link| link != Link::FIRST);
        Self {
            checked: 0,
            unchained: 0,
            last: Place::after(revision),
            link: link.unwrap_or(Link::FIRST),
            before: None,
            begun,
            doubt: None,
        }
    }

    /// Whether the next event is needed to say what is wrong, even if it is not to be checked itself.
    pub(crate) const fn in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// Adds the next event.
    pub(crate) fn add(&mut self, stored: &Stored) -> Result<(), Fault> {
        if let Some((place, link)) = self.doubt {
            return Err(Fault { place, problem: self.judge(link, stored) });
        }
        self.follows(stored.place())?;
        let Some(recorded) = stored.link else {
            if self.begun {
                return Err(Fault { place: stored.place(), problem: Problem::LinkMissing });
            }
            (self.unchained, self.last) = (self.unchained + 1, stored.place());
            return Ok(());
        };
        self.begun = true;
        let link = self.link.then(&stored.event);
        if link == recorded {
            self.before = Some(std::mem::replace(&mut self.link, link));
            (self.checked, self.last) = (self.checked + 1, stored.place());
        } else if self.before.is_some_and(|before| before.then(&stored.event) == recorded) {
            return Err(Fault { place: self.last, problem: Problem::Inserted });
        } else {
            self.doubt = Some((stored.place(), link));
        }
        Ok(())
    }

    /// Ends the chain at a revision, with the head's link when that is where the log ends.
    pub(crate) fn end(&self, until: Revision, head: Option<Link>) -> Result<(), Fault> {
        if let Some((place, link)) = self.doubt {
            let problem = if head == Some(link) { Problem::LinkChanged } else { Problem::Changed };
            return Err(Fault { place, problem });
        }
        if self.last.revision < until {
            return Err(missing(self.last.revision.next(), 0));
        }
        match head {
            Some(head) if head != self.link => Err(Fault { place: self.last, problem: Problem::HeadChanged }),
            _ => Ok(()),
        }
    }

    /// What is wrong with an event that should have had this link, from the one after it.
    fn judge(&self, link: Link, next: &Stored) -> Problem {
        match next.link {
            Some(recorded) if link.then(&next.event) == recorded => Problem::LinkChanged,
            Some(recorded) if self.link.then(&next.event) == recorded => Problem::Inserted,
            _ => Problem::Changed,
        }
    }

    /// Places follow each other without a gap.
    fn follows(&self, place: Place) -> Result<(), Fault> {
        let Place { revision, ordinal } = self.last;
        let whole = ordinal == u32::MAX;
        if place.revision == revision && !whole {
            let expected = ordinal.saturating_add(1);
            return if place.ordinal == expected { Ok(()) } else { Err(missing(revision, expected)) };
        }
        let next = Place { revision: revision.next(), ordinal: 0 };
        if place == next { Ok(()) } else { Err(missing(next.revision, 0)) }
    }
}

const fn missing(revision: Revision, ordinal: u32) -> Fault {
    Fault { place: Place { revision, ordinal }, problem: Problem::Missing }
}
