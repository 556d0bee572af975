//! Tries to sign in, counted in memory: the more of them fail, the longer the next one has to wait.
//!
//! A try counts from its beginning and is taken back when it succeeds, so many at once gain nothing. Counted are the
//! tries of one address on one account, of one address on all of them, and of all addresses on one account; the last
//! has the shortest waits, so that nobody can lock somebody else out. Sign-ins with a provider outside are counted from
//! where they begin to where they are completed, by address and all together. A process counts for itself.

use moka::sync::Cache;
use policy::Time;
use shared::auth::secret::Digest;
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// What an IPv6 address shares with everything else of one subscriber.
const SUBSCRIBER: u32 = 64;
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
/// Whole offices share an address, and many leave the provider's page again.
const VISITOR: Limit = Limit { free: 50, longest: Duration::from_secs(300) };
const VISITORS: Limit = Limit { free: 1_000, longest: Duration::from_secs(5) };

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
        let peer = peer.map(subscriber).unwrap_or_default();
        let mut counted = vec![(name("both", account, &peer), BOTH), (name("account", account, ""), ACCOUNT)];
        if !peer.is_empty() {
            counted.push((name("address", "", &peer), ADDRESS));
        }
        self.count_all(&counted, now)?;
        Ok(Attempt(counted))
    }

    /// Counts somebody who sets out to sign in with a provider outside.
    pub(crate) fn set_out(&self, provider: &str, peer: Option<IpAddr>, now: Time) -> Result<(), Wait> {
        self.count_all(&visit(provider, peer), now)
    }

    /// Somebody who set out has signed in. Where that was in another process, one of its other visitors is forgiven.
    pub(crate) fn arrived(&self, provider: &str, peer: Option<IpAddr>) {
        for (name, limit) in visit(provider, peer) {
            self.take_back(&name, limit);
        }
    }

    /// Counts a try, unless something of it has to wait.
    fn count_all(&self, counted: &[([u8; 32], Limit)], now: Time) -> Result<(), Wait> {
        let wait = counted.iter().filter_map(|(name, _)| self.wait(name, now)).max();
        if let Some(wait) = wait {
            return Err(Wait(wait));
        }
        for (name, limit) in counted {
            self.count(name, *limit, now);
        }
        Ok(())
    }

    /// The try succeeded: what it counted is taken back, and what failed before it from there is forgiven.
    pub(crate) fn succeeded(&self, attempt: Attempt) {
        for (place, (name, limit)) in attempt.0.into_iter().enumerate() {
            if place == 0 {
                self.0.invalidate(&name);
            } else {
                self.take_back(&name, limit);
            }
        }
    }

    fn take_back(&self, name: &[u8; 32], limit: Limit) {
        let Some(counter) = self.0.get(name) else { return };
        let mut counter = counter.lock().unwrap_or_else(PoisonError::into_inner);
        counter.tries = counter.tries.saturating_sub(1);
        if counter.tries < limit.free {
            counter.blocked_until = None;
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

fn name(kind: &str, account: &str, peer: &str) -> [u8; 32] {
    *Digest::of(&format!("{kind}\n{account}\n{peer}")).as_bytes()
}

/// Tries of one address on one account, as the limits of all processes count them.
pub(crate) fn subject(account: &str, peer: Option<IpAddr>) -> u128 {
    let digest = name("both", account, &peer.map(subscriber).unwrap_or_default());
    digest.iter().take(16).fold(0, |subject, byte| subject << 8 | u128::from(*byte))
}

/// What counts somebody on the way to a provider.
fn visit(provider: &str, peer: Option<IpAddr>) -> Vec<([u8; 32], Limit)> {
    let mut counted = vec![(name("visitors", provider, ""), VISITORS)];
    counted.extend(peer.map(|peer| (name("visitor", provider, &subscriber(peer)), VISITOR)));
    counted
}

/// Whom an address stands for: of IPv6 everybody has more addresses than could be counted.
fn subscriber(peer: IpAddr) -> String {
    match peer.to_canonical() {
        IpAddr::V4(peer) => peer.to_string(),
        IpAddr::V6(peer) => (peer.to_bits() >> SUBSCRIBER).to_string(),
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

    #[test]
    fn whoever_sets_out_and_does_not_arrive_has_to_wait_and_nobody_else_for_long() {
        let attempts = Attempts::default();
        for _ in 0..200 {
            attempts.set_out("corp", from(1), T0).unwrap();
            attempts.arrived("corp", from(1));
        }
        let gone = (0..200).filter(|_| attempts.set_out("corp", from(1), T0).is_ok()).count();
        assert_eq!(gone, 50, "one address");
        assert!(
            attempts.set_out("corp", from(2), T0).is_ok() && attempts.set_out("hub", from(1), T0).is_ok()
        );
        attempts.arrived("corp", from(1));
        assert!(attempts.set_out("corp", from(1), T0).is_ok(), "one of them did arrive");
        let elsewhere = |n: u16| Some(IpAddr::from([10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]]));
        let gone = (0..2_000).filter(|n| attempts.set_out("corp", elsewhere(*n), T0).is_ok()).count();
        assert_eq!(gone, 1_000 - 51, "all addresses together");
        let mut at = 0;
        for _ in 0..20 {
            let Err(Wait(wait)) = attempts.set_out("corp", elsewhere(3_000), after(at)) else {
                panic!("limited")
            };
            assert!(wait <= Duration::from_secs(5));
            at += wait.as_secs();
            attempts.set_out("corp", elsewhere(3_000), after(at)).unwrap();
        }
    }

    #[test]
    fn addresses_of_one_subscriber_are_one() {
        let attempts = Attempts::default();
        let address = |text: &str| Some(text.parse().unwrap());
        for n in 0..5 {
            attempts.begin("ana", address(&format!("2001:db8::{n}")), T0).unwrap();
        }
        assert!(attempts.begin("ana", address("2001:db8::ffff:1"), T0).is_err());
        assert!(attempts.begin("ana", address("2001:db8:0:1::1"), T0).is_ok(), "the next subscriber");
        for _ in 0..5 {
            attempts.begin("ben", from(1), T0).unwrap();
        }
        assert!(
            attempts.begin("ben", address("::ffff:192.0.2.1"), T0).is_err(),
            "the same, written otherwise"
        );
    }
}
