//! How much goes to one engine in one call, by what it took of late.
//!
//! Whoever comes while a call is under way waits for it, so a call is to take no longer than the span that is configured.
//! One that was at least half full and took less than half the span lets twice as much go next time; one that took longer
//! than the span, half as much. The engine's other work is in that time too: where it is busy, calls are smaller.

use crate::config;
use std::time::{Duration, Instant};

/// Bytes of texts at first: some 4,000 tokens, half of what vLLM computes in one step unless told otherwise.
const FIRST: usize = 16 * 1024;
/// And at least, some 1,000 tokens: a step with fewer takes no less time.
const LEAST: usize = 4 * 1024;
/// And at most, some 64,000 tokens: eight such steps.
const MOST: usize = 256 * 1024;
/// An engine that did not say how many tokens a text has is asked again after this.
const SILENT: Duration = Duration::from_secs(60);
/// After so many counts that were wrong no texts go together any more: once, its model may just have been replaced.
const WRONG: u8 = 3;

/// What fits into one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) bytes: usize,
    pub(super) texts: usize,
}

/// How much goes to one engine at once.
#[derive(Debug)]
pub(super) struct Pace {
    room: Room,
    /// Texts at most, as configured.
    texts: usize,
    span: Duration,
    /// It is not asked for tokens until then.
    silent_until: Option<Instant>,
    /// How often it counted otherwise than it had said before.
    wrong: u8,
}

impl Pace {
    pub(super) fn new(settings: &config::Joint) -> Self {
        let room = Room { bytes: FIRST, texts: settings.texts };
        Self { room, texts: settings.texts, span: settings.span, silent_until: None, wrong: 0 }
    }

    /// What fits into one call now; nothing when its callers could not be billed.
    pub(super) const fn room(&self) -> Room {
        if self.wrong < WRONG { self.room } else { Room { bytes: 0, texts: 0 } }
    }

    /// A call of so many bytes took so long.
    pub(super) fn took(&mut self, bytes: usize, time: Duration) {
        // One more each time, until it refuses again.
        self.room.texts = (self.room.texts + 1).min(self.texts);
        if time > self.span {
            self.room.bytes = (self.room.bytes / 2).max(LEAST);
        } else if bytes * 2 >= self.room.bytes && time * 2 < self.span {
            self.room.bytes = (self.room.bytes * 2).min(MOST);
        }
    }

    /// A call of so many texts was refused: perhaps because of their number.
    pub(super) fn refused(&mut self, texts: usize) {
        self.room.texts = (texts / 2).max(1);
    }

    /// Its own count was not what it had said before.
    pub(super) const fn miscounted(&mut self) {
        self.wrong = self.wrong.saturating_add(1);
    }

    /// It does not say how many tokens a text has.
    pub(super) fn cannot_count(&mut self) {
        self.silent_until = Some(Instant::now() + SILENT);
    }

    pub(super) fn may_count(&self) -> bool {
        self.wrong < WRONG && self.silent_until.is_none_or(|until| Instant::now() >= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_grow_while_they_are_quick_and_shrink_when_they_are_slow() {
        let mut pace = Pace::new(&config::Joint::default());
        let millis = Duration::from_millis;
        let bytes = |pace: &Pace| pace.room().bytes;
        pace.took(100, millis(1));
        assert_eq!(bytes(&pace), FIRST, "a small one proves nothing");
        pace.took(FIRST / 2, millis(49));
        assert_eq!(bytes(&pace), FIRST * 2);
        pace.took(FIRST * 2, millis(60));
        assert_eq!(bytes(&pace), FIRST * 2, "long enough");
        (0..9).for_each(|_| pace.took(1, millis(101)));
        assert_eq!(bytes(&pace), LEAST);
        (0..19).for_each(|_| pace.took(MOST, millis(1)));
        assert_eq!(bytes(&pace), MOST);
    }

    #[test]
    fn whoever_refuses_many_texts_gets_fewer_and_whoever_miscounts_none() {
        let mut pace = Pace::new(&config::Joint { texts: 40, ..config::Joint::default() });
        pace.refused(40);
        assert_eq!(pace.room().texts, 20);
        pace.took(1, Duration::ZERO);
        assert_eq!(pace.room().texts, 21);
        (0..50).for_each(|_| pace.took(1, Duration::ZERO));
        assert_eq!(pace.room().texts, 40);
        pace.cannot_count();
        assert!(!pace.may_count() && pace.room().texts == 40);
        (0..WRONG).for_each(|_| pace.miscounted());
        assert_eq!(pace.room(), Room { bytes: 0, texts: 0 });
    }
}
