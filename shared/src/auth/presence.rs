//! Who called of late: sessions and keys with a call in the last five minutes, counted in each process.

use super::Person;
use crate::telemetry;
use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Whoever called within this time is there.
const LATELY: Duration = Duration::from_secs(300);
/// So many are remembered. More are not counted: whoever asks how busy it is knows by then.
const MOST: usize = 100_000;

static PRESENT: LazyLock<Mutex<Present>> = LazyLock::new(|| {
    let meter = telemetry::meter();
    let gauge = meter.u64_observable_gauge("tollgate.sessions.active");
    let _ = gauge
        .with_description("Sessions and keys with a call in the last five minutes")
        .with_callback(|observer| {
            let mut present = PRESENT.lock().unwrap_or_else(PoisonError::into_inner);
            observer.observe(present.count(Instant::now()) as u64, &[]);
        })
        .build();
    Mutex::default()
});

/// Notes a call.
pub(super) fn note(person: &Person) {
    let session = person.session.map(|session| session.0);
    let id = session.or_else(|| person.key.map(|key| key.0)).unwrap_or(person.user.0);
    PRESENT.lock().unwrap_or_else(PoisonError::into_inner).note(id, Instant::now());
}

/// When each was here last.
#[derive(Debug, Default)]
struct Present(HashMap<Uuid, Instant>);

impl Present {
    fn note(&mut self, id: Uuid, now: Instant) {
        if self.0.len() < MOST || self.0.contains_key(&id) {
            self.0.insert(id, now);
        }
    }

    /// How many are here. Those that went are forgotten.
    fn count(&mut self, now: Instant) -> usize {
        self.0.retain(|_, last| now.duration_since(*last) < LATELY);
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_called_within_five_minutes_is_there_once() {
        let (mut present, start) = (Present::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let [one, other] = [1, 2].map(Uuid::from_u128);
        present.note(one, at(0));
        present.note(one, at(100));
        present.note(other, at(0));
        assert_eq!(present.count(at(299)), 2);
        assert_eq!(present.count(at(300)), 1, "the second is gone");
        assert_eq!(present.count(at(400)), 0);
    }

    #[test]
    fn so_many_are_remembered_and_no_more() {
        let (mut present, now) = (Present::default(), Instant::now());
        (0..=MOST).for_each(|id| present.note(Uuid::from_u128(id as u128), now));
        assert_eq!(present.count(now), MOST);
        let later = now + LATELY;
        assert_eq!(present.count(later), 0);
        present.note(Uuid::from_u128(0), later);
        assert_eq!(present.count(later), 1);
    }
}
