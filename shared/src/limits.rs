//! The layer that limits calls: asked for every call that [`auth`](crate::auth) let in, and for those that it did not.
//!
//! A process has one [`Gate`] for all of its services. The authentication layer asks it with what the head of a call
//! says, leaves a [`Ticket`] with the call and [dresses](headers) its answer. What becomes known later is asked through the
//! ticket: the model and tokens of a prompt, the account of a sign-in. [`limits`] decides; nothing here waits for anybody.
//! [`exchange`] shares the counters with other processes, beside the calls; [`load`] says how busy the machine is.

mod exchange;
mod headers;
mod load;
mod refused;
mod ticket;

pub use exchange::start;
pub use headers::{NAMES, dress};
pub use limits::{Threshold, Thresholds};
pub use refused::{REASON, Refused};
pub use ticket::{Prompted, Ticket};

use crate::{
    api_key,
    auth::{Caller, Person},
    telemetry::meter,
    time,
};
use limits::{Admission, Call, Limiter, Moment, Settings, Stage, Subjects, Tier, name};
use opentelemetry::{KeyValue, metrics::Counter};
use policy::Role;
use std::{
    net::IpAddr,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tokio::sync::Notify;

static DECISIONS: LazyLock<Counter<u64>> =
    LazyLock::new(|| meter().u64_counter("tollgate.limits.decisions").build());

/// The limits of a process.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The limiter's time counts from here.
    origin: Instant,
    limiter: Mutex<Limiter>,
    /// Another process should hear of something.
    news: Notify,
    answers: load::Answers,
    exchanged: exchange::Facts,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(Settings::unlimited())
    }
}

/// Routes of engines that are called the same there and here, and are not under `/v1`.
const BARE: [&str; 5] = ["/tokenize", "/detokenize", "/rerank", "/score", "/v2/rerank"];

/// Whether a path is one of OpenAI's, or of those that engines have beside them.
#[must_use]
pub fn is_openai(path: &str) -> bool {
    path.starts_with("/v1/") || BARE.contains(&path)
}

/// Who calls what, as far as the head of the call says.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who; nobody when they were turned away or need not say.
    pub caller: Option<&'a Caller>,
    /// From where.
    pub peer: Option<IpAddr>,
    /// The verb of HTTP.
    pub verb: &'a str,
    /// The method or route.
    pub path: &'a str,
}

impl Gate {
    /// Limits as configured, of this process alone so far.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Shared {
            origin: Instant::now(),
            limiter: Mutex::new(Limiter::new(settings)),
            news: Notify::new(),
            answers: load::Answers::default(),
            exchanged: exchange::Facts::default(),
        }))
    }

    /// Limits as configured from now on; what was counted goes on to count.
    pub fn configure(&self, settings: Settings) {
        let mut limiter = self.lock();
        if *limiter.settings() != settings {
            limiter.set(settings);
        }
    }

    /// Where warning and critical begin, as they are set now.
    #[must_use]
    pub fn thresholds(&self) -> Thresholds {
        self.lock().settings().load.thresholds.clone()
    }

    /// Lets a call in, or does not. Never waits.
    ///
    /// # Errors
    /// When a limit is used up.
    pub fn enter(&self, asked: Asked<'_>) -> Result<Ticket, Refused> {
        let who = Who::of(&asked);
        let mut limiter = self.lock();
        let action = limiter.action_of_call(asked.verb, asked.path);
        let prompts = action.is_some() && action == limiter.prompts();
        let (Some(action), Some(who)) = (action, who.limited(limiter.settings())) else {
            return Ok(Ticket::new(self.clone(), None, prompts, Admission::default(), None));
        };
        let place = match limiter.begin(asked.verb, asked.path) {
            Ok(place) => place,
            Err(full) => {
                return Err(self.refused(Refused::full(full, limiter.name_of(action).unwrap_or_default())));
            }
        };
        let tier = who.tier(limiter.settings());
        let subjects = Subjects { endpoint: Some(name(asked.path)), ..who.subjects() };
        let call = Call { action, tier, subjects, stage: Stage::Door, tokens: 0 };
        let entered = limiter.enter(&call, self.now());
        if let (Err(_), Some(place)) = (&entered, &place) {
            limiter.over(place);
        }
        drop(limiter);
        self.tell_if_shared();
        match entered {
            Ok(admission) => Ok(Ticket::new(self.clone(), Some(call), prompts, admission, place)),
            Err(refusal) => Err(self.refused(Refused(Box::new(refusal), None))),
        }
    }

    /// For work that no call waits for: what its prompts need is asked for like that of others.
    #[must_use]
    pub fn background(&self) -> Ticket {
        Ticket::new(self.clone(), None, true, Admission::default(), None)
    }

    /// Counts a refusal.
    fn refused(&self, refused: Refused) -> Refused {
        let refusal = refused.refusal();
        DECISIONS.add(
            1,
            &[
                KeyValue::new("action", refusal.action.to_string()),
                KeyValue::new("layer", refused.layer()),
                KeyValue::new("measure", refusal.measure.as_str()),
                KeyValue::new("outcome", "refused"),
            ],
        );
        refused
    }

    /// The limiter's time, and that of the day.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment { at: self.0.origin.elapsed(), second: time::now().0.div_euclid(1_000_000) }
    }

    /// The limiter itself, for those who show it to people.
    pub fn lock(&self) -> MutexGuard<'_, Limiter> {
        self.0.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_if_shared(&self) {
        if self.0.exchanged.is_on() {
            self.0.news.notify_one();
        }
    }
}

/// Whom a call is of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Who {
    /// A service of this installation.
    Service,
    /// A person, or nobody known.
    Someone { person: Option<Person>, address: Option<u128> },
}

impl Who {
    fn of(asked: &Asked<'_>) -> Self {
        let address = asked.peer.map(Subjects::of_address);
        match asked.caller {
            Some(Caller::Service) => Self::Service,
            Some(Caller::Person(person)) => Self::Someone { person: Some(*person), address },
            None => Self::Someone { person: None, address },
        }
    }

    /// The same, unless nothing limits them.
    fn limited(self, settings: &Settings) -> Option<Self> {
        let Self::Someone { person, .. } = self else { return None };
        (settings.enabled && !person.is_some_and(|person| is_unlimited(&person, settings))).then_some(self)
    }

    fn tier(self, settings: &Settings) -> Tier {
        match self {
            Self::Service => Tier::Admin,
            Self::Someone { person: None, .. } => Tier::Free,
            Self::Someone { person: Some(person), .. } => tier(&person, settings),
        }
    }

    fn subjects(self) -> Subjects {
        match self {
            Self::Service => Subjects::default(),
            Self::Someone { person, address } => Subjects {
                address,
                key: person.and_then(|person| person.key).map(|key| key.0.as_u128()),
                user: person.map(|person| person.user.0.as_u128()),
                ..Subjects::default()
            },
        }
    }
}

/// Whether nothing limits a person: with the key that the first run made, or with one that the configuration names.
#[must_use]
pub fn is_unlimited(person: &Person, settings: &Settings) -> bool {
    person.key.is_some_and(|key| {
        key == api_key::of_first_run(person.user) || settings.unlimited_keys.contains(&key.0)
    })
}

/// The tier of a person.
#[must_use]
pub fn tier(person: &Person, settings: &Settings) -> Tier {
    let admin = matches!(person.role, Role::Owner | Role::Admin);
    settings.tiers.of(Some(person.user.0), person.key.map(|key| key.0), admin)
}

#[cfg(test)]
mod tests;
