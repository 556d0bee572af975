//! Whose an engine's time is: at each moment it is divided equally among the requests that this gateway has there.
//!
//! That is the virtual time of processor sharing (Kleinrock, "Queueing Systems" II, 4.4): an engine keeps one number, what a
//! request would have got that had been there from the beginning. What a request gets is by how much that grows while it is
//! there, so that coming and going cost the same however many others there are.

use super::Engine;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How an engine's time is divided.
#[derive(Debug, Default)]
pub(super) struct Division(Mutex<Divided>);

#[derive(Debug, Default)]
struct Divided {
    /// What a request got that was there from the beginning.
    each: Duration,
    present: u32,
    /// When somebody came or went last.
    at: Option<Instant>,
}

impl Divided {
    fn until(&mut self, now: Instant) {
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.each += passed.checked_div(self.present).unwrap_or_default();
        self.at = self.at.max(Some(now));
    }

    fn come(&mut self, now: Instant) -> Duration {
        self.until(now);
        self.present += 1;
        self.each
    }

    fn go(&mut self, came: Duration, now: Instant) -> Duration {
        self.until(now);
        self.present = self.present.saturating_sub(1);
        self.each.saturating_sub(came)
    }
}

impl Division {
    fn lock(&self) -> MutexGuard<'_, Divided> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's share of an engine's time, which grows until it is taken or dropped.
#[derive(Debug)]
pub struct Share {
    engine: Arc<Engine>,
    /// What the engine's number was when it came; nothing once it has gone.
    came: Option<Duration>,
}

impl Share {
    /// A request comes to an engine.
    #[must_use]
    pub fn new(engine: Arc<Engine>) -> Self {
        let came = engine.division.lock().come(Instant::now());
        Self { engine, came: Some(came) }
    }

    /// It goes, and has got this.
    #[must_use]
    pub fn take(mut self) -> Duration {
        self.end()
    }

    fn end(&mut self) -> Duration {
        let Some(came) = self.came.take() else { return Duration::ZERO };
        self.engine.division.lock().go(came, Instant::now())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_with_several_is_divided_and_the_shares_add_up_to_the_time_with_any() {
        let (mut divided, start) = (Divided::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let first = divided.come(at(0));
        let second = divided.come(at(4));
        let third = divided.come(at(6));
        let shares = [divided.go(first, at(12)), divided.go(third, at(14)), divided.go(second, at(20))];
        // The first: 4 alone, 2 of two, 6 of three. The third: 6 of three, 2 of two.
        assert_eq!(shares.map(|share| share.as_secs()), [4 + 1 + 2, 2 + 1, 1 + 2 + 1 + 6]);
        assert_eq!(shares.iter().sum::<Duration>(), Duration::from_secs(20));
        let later = divided.come(at(100));
        assert_eq!(divided.go(later, at(103)), Duration::from_secs(3), "time with nobody is nobody's");
    }
}
