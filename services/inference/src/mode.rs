//! Degraded mode: while too little works, only requests of the classes system and interactive are served.
//!
//! [`vitals::Mode`] decides, told once a second what is seen; a request reads one number. An operator may order a mode for a
//! time, which is kept in memory only.

use crate::{config::Degraded, engines::Fleet, error::Error, metrics, ship::Behind};
use policy::Time;
use schedule::Class;
use serde::Serialize;
use shared::{
    health::{Condition, Reporter},
    server::Tasks,
    time,
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use vitals::{Mode, Order, Sign, Signs};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// What this gateway serves. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Serving(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The mode's time counts from here.
    origin: Instant,
    /// 0 while everything is served; else when, in microseconds of the mode's time, who is turned away may come back.
    back: AtomicU64,
    turned_away: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    ordered: Option<Ordered>,
}

/// What an operator ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ordered {
    /// Whether only what is urgent is to be served, or everything in any case.
    pub degraded: bool,
    /// Who, by their id.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Time,
    /// For how long.
    pub ttl: Duration,
}

/// How this gateway serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Since when only what is urgent is served, if so.
    pub since: Option<Time>,
    /// Why.
    pub reasons: Vec<Sign>,
    /// What those who are turned away are told to wait.
    pub retry_after: Duration,
    /// What an operator ordered, as long as it holds.
    pub ordered: Option<Ordered>,
    /// Requests turned away so far.
    pub turned_away: u64,
}

impl Serving {
    /// Everything is served.
    #[must_use]
    pub fn new(config: &Degraded) -> Self {
        let state = State { mode: Mode::new(config.dwell), ordered: None };
        Self(Arc::new(Inner {
            origin: Instant::now(),
            back: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            state: Mutex::new(state),
        }))
    }

    /// Looks at the engines and at what waits in the journal, from now on until the process ends.
    pub fn watch(&self, fleet: &Fleet, behind: Behind, config: &Degraded, health: Reporter, tasks: &Tasks) {
        metrics::observe_mode(self);
        let (serving, fleet, limit) = (self.clone(), fleet.downgrade(), config.journal_behind);
        tasks.repeat(LOOK, move || {
            if let Some(fleet) = fleet.upgrade() {
                let strength = fleet.strength();
                serving.saw(Signs {
                    engines: strength.is_mostly_down(),
                    preemption: strength.is_half_taken(),
                    journal: behind.since().is_some_and(|since| since.elapsed() >= limit),
                });
                health.set(serving.condition());
            }
            std::future::ready(())
        });
    }

    fn condition(&self) -> Condition {
        let Look { since, reasons, .. } = self.look();
        if since.is_none() {
            return Condition::Up;
        }
        let reasons: Vec<&str> = reasons.into_iter().map(Sign::as_str).collect();
        let why = reasons.join(", ");
        Condition::Degraded(format!("only system and interactive requests are served: {why}"))
    }

    /// Lets a request of this class go on.
    ///
    /// # Errors
    /// [`Error::Degraded`] when only what is urgent is served, and it is not.
    pub fn admit(&self, class: Class) -> Result<(), Error> {
        if self.serves(class) {
            return Ok(());
        }
        let back = self.0.back.load(Ordering::Relaxed);
        self.0.turned_away.fetch_add(1, Ordering::Relaxed);
        Err(Error::Degraded { retry_after: Duration::from_micros(back).saturating_sub(self.now()).max(LOOK) })
    }

    /// Waits until requests of this class are served: what is done in the background need not fail first.
    pub async fn served(&self, class: Class) {
        while !self.serves(class) {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn serves(&self, class: Class) -> bool {
        self.0.back.load(Ordering::Relaxed) == 0 || matches!(class, Class::System | Class::Interactive)
    }

    /// Takes in an order, or that there is none any more. Returns how it was before.
    pub fn order(&self, ordered: Option<Ordered>) -> Look {
        let before = self.look();
        let now = self.now();
        let order = ordered.as_ref().map(|Ordered { degraded, ttl, .. }| Order {
            degraded: *degraded,
            since: now,
            until: now + *ttl,
        });
        let mut state = self.state();
        state.mode.order(order);
        state.ordered = ordered;
        self.settle(&state, now);
        before
    }

    /// How it serves now.
    #[must_use]
    pub fn look(&self) -> Look {
        let (now, clock, state) = (self.now(), time::now(), self.state());
        let ago = |span: Duration| Time(clock.0 - i64::try_from(span.as_micros()).unwrap_or(0));
        let ordered = state.mode.ordered(now).and_then(|_| state.ordered.clone());
        Look {
            since: state.mode.entered(now).map(|entered| ago(now.saturating_sub(entered))),
            reasons: state.mode.reasons(now),
            retry_after: self.left(now),
            ordered,
            turned_away: self.0.turned_away.load(Ordering::Relaxed),
        }
    }

    fn saw(&self, signs: Signs) {
        let now = self.now();
        let mut state = self.state();
        let before = state.mode.entered(now).is_some();
        state.mode.look(now, signs);
        let after = state.mode.entered(now).is_some();
        self.settle(&state, now);
        if before != after {
            let reasons: Vec<&str> = state.mode.reasons(now).into_iter().map(Sign::as_str).collect();
            tracing::warn!(degraded = after, ?reasons, "what is served has changed");
        }
    }

    fn settle(&self, state: &State, now: Duration) {
        let back = match state.mode.entered(now) {
            // The end is noticed at the next look.
            Some(_) => now + state.mode.retry_after(now) + LOOK,
            None => Duration::ZERO,
        };
        self.0.back.store(u64::try_from(back.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn left(&self, now: Duration) -> Duration {
        Duration::from_micros(self.0.back.load(Ordering::Relaxed)).saturating_sub(now)
    }

    fn now(&self) -> Duration {
        self.0.origin.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(degraded: bool) -> Option<Ordered> {
        let ttl = Duration::from_secs(600);
        Some(Ordered { degraded, actor: "a".into(), reason: "b".into(), since: Time(0), ttl })
    }

    #[test]
    fn what_is_not_urgent_is_turned_away_and_counted_while_it_is_degraded() {
        let serving = Serving::new(&Degraded::default());
        let admitted = || Class::ALL.map(|class| serving.admit(class).is_ok());
        assert_eq!(admitted(), [true; 4]);
        serving.order(order(true));
        assert_eq!(admitted(), [true, true, false, false], "system and interactive go on");
        let Err(Error::Degraded { retry_after }) = serving.admit(Class::Default) else { panic!("it is not") };
        assert!((595..=601).contains(&retry_after.as_secs()), "{retry_after:?}");
        let look = serving.look();
        assert_eq!((look.turned_away, look.reasons), (3, vec![Sign::Operator]));
        assert!(serving.order(None).since.is_some(), "it was until now");
        assert_eq!(admitted(), [true; 4]);
    }

    #[test]
    fn three_looks_begin_it_and_an_order_overrules_what_is_seen() {
        let serving = Serving::new(&Degraded::default());
        let few = Signs { engines: true, ..Signs::default() };
        for (look, admitted) in [(1, true), (2, true), (3, false)] {
            serving.saw(few);
            assert_eq!(serving.admit(Class::Default).is_ok(), admitted, "look {look}");
        }
        serving.order(order(false));
        assert!(serving.admit(Class::Batch).is_ok() && serving.look().reasons.is_empty());
        serving.order(None);
        assert!(serving.admit(Class::Batch).is_err(), "what is seen holds again");
        serving.saw(Signs::default());
        serving.saw(Signs::default());
        assert!(serving.admit(Class::Batch).is_err(), "it lasts a minute");
    }
}
