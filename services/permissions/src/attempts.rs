//! Tries to sign in, counted in memory: the more of them fail, the longer the next one has to wait.
//!
//! A try counts from its beginning and is taken back when it succeeds, so many at once gain nothing. Counted are the
//! tries of one address on one account, of one address on all of them, and of all addresses on one account; the last
//! has the shortest waits, so that nobody can lock somebody else out. A process counts for itself.

use moka::sync::Cache;
use policy::Time;
use shared::auth::secret::Digest;
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// After this time nothing of a try is known any more.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Counters kept at once.
const COUNTERS: u64 = 100_000;

/// How many tries are free, and how long the wait becomes after them: it starts at a second and doubles.
#[derive(Debug, Clone, Copy)]
struct Limit {
    free: u32,
    longest: Duration,
}

const BOTH: Limit = Limit { free: 5, longest: Duration::from_secs(300) };
const ADDRESS: Limit = Limit { free: 50, longest: Duration::from_secs(300) };
const ACCOUNT: Limit = Limit { free: 50, longest: Duration::from_secs(30) };

#[derive(Debug, Default)]
struct Counter {
    tries: u32,
    blocked_until: Option<Time>,
}

type Counters = Cache<[u8; 32], Arc<Mutex<Counter>>>;

/// The counters of this process.
#[derive(Debug, Clone)]
pub(crate) struct Attempts(Counters);

/// A try under way.
#[derive(Debug)]
pub(crate) struct Attempt(Vec<([u8; 32], Limit)>);

/// Too many failed: the next try has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait(pub(crate) Duration);

impl Default for Attempts {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(COUNTERS).time_to_live(WINDOW).build())
    }
}

impl Attempts {
    /// Counts a try on an account from an address.
    pub(crate) fn begin(&self, account: &str, peer: Option<IpAddr>, now: Time) -> Result<Attempt, Wait> {
        let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
        let name = |kind: &str, account: &str, peer: &str| {
            *Digest::of(&format!("{kind}\n{account}\n{peer}")).as_bytes()
        };
        let mut counted = vec![(name("both", account, &peer), BOTH), (name("account", account, ""), ACCOUNT)];
        if !peer.is_empty() {
            counted.push((name("address", "", &peer), ADDRESS));
        }
        let wait = counted.iter().filter_map(|(name, _)| self.wait(name, now)).max();
        if let Some(wait) = wait {
            return Err(Wait(wait));
        }
        for (name, limit) in &counted {
            self.count(name, *limit, now);
        }
        Ok(Attempt(counted))
    }

    /// The try succeeded: what it counted is taken back, and what failed before it from there is forgiven.
    pub(crate) fn succeeded(&self, attempt: Attempt) {
        for (place, (name, limit)) in attempt.0.into_iter().enumerate() {
            if place == 0 {
                self.0.invalidate(&name);
            } else if let Some(counter) = self.0.get(&name) {
                let mut counter = counter.lock().unwrap_or_else(PoisonError::into_inner);
                counter.tries = counter.tries.saturating_sub(1);
                if counter.tries < limit.free {
                    counter.blocked_until = None;
                }
            }
        }
    }

    fn wait(&self, name: &[u8; 32], now: Time) -> Option<Duration> {
        let counter = self.0.get(name)?;
        let until = counter.lock().unwrap_or_else(PoisonError::into_inner).blocked_until?;
        Some(until.since(now)).filter(|wait| !wait.is_zero())
    }

    fn count(&self, name: &[u8; 32], limit: Limit, now: Time) {
        let counter = self.0.get_with(*name, Arc::default);
        let mut counter = counter.lock().unwrap_or_else(PoisonError::into_inner);
        counter.tries = counter.tries.saturating_add(1);
        if let Some(over) = counter.tries.checked_sub(limit.free) {
            let wait = Duration::from_secs(1 << over.min(16)).min(limit.longest);
            counter.blocked_until = Some(now.plus(wait));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Time = Time(1_700_000_000_000_000);

    fn after(seconds: u64) -> Time {
        T0.plus(Duration::from_secs(seconds))
    }

    fn from(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn five_tries_are_free_then_the_wait_doubles_up_to_its_limit() {
        let attempts = Attempts::default();
        for _ in 0..5 {
            attempts.begin("ana", from(1), T0).unwrap();
        }
        let mut at = 0;
        for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let Err(Wait(wait)) = attempts.begin("ana", from(1), after(at)) else { panic!("not yet") };
            assert_eq!(wait, Duration::from_secs(expected));
            let just_before = Time(after(at + expected).0 - 1);
            assert!(attempts.begin("ana", from(1), just_before).is_err());
            at += expected;
            attempts.begin("ana", from(1), after(at)).unwrap();
        }
        assert!(attempts.begin("ana", from(2), after(at)).is_ok(), "other addresses are counted apart");
        assert!(attempts.begin("ben", from(1), after(at)).is_ok(), "and so are other accounts");
    }

    #[test]
    fn success_forgives_and_many_at_once_gain_nothing() {
        let attempts = Attempts::default();
        for _ in 0..100 {
            let attempt = attempts.begin("ana", from(1), T0).unwrap();
            attempts.succeeded(attempt);
        }
        let under_way: Vec<_> = (0..100).map(|_| attempts.begin("ana", from(1), T0)).collect();
        assert_eq!(under_way.iter().flatten().count(), 5);
    }

    #[test]
    fn one_address_and_one_account_have_limits_of_their_own() {
        let attempts = Attempts::default();
        let tried = (0..100).filter(|n| attempts.begin(&format!("user{n}"), from(1), T0).is_ok()).count();
        assert_eq!(tried, 50, "one address on many accounts");
        let attempts = Attempts::default();
        let tried = (0..100).filter(|n| attempts.begin("ana", from(*n), T0).is_ok()).count();
        assert_eq!(tried, 50, "many addresses on one account");
        let Err(Wait(wait)) = attempts.begin("ana", from(200), T0) else { panic!("limited") };
        assert!(wait <= Duration::from_secs(30));
    }
}
