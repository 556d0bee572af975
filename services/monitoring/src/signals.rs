//! What was measured, over time: heard from every service, remembered for two hours and kept by the minute.
//!
//! Reports go to whichever replica takes them. [`keep`] writes what this one heard in each minute and reads what the
//! others wrote, so every replica has everything within a minute; [`ask`] answers from memory as far as that reaches, and
//! from the database before.

mod ask;
mod before;
pub(crate) mod calls;
mod keep;
pub(crate) mod llm;
pub(crate) mod scalability;
pub(crate) mod score;
pub(crate) mod system;
mod turned;
pub(crate) mod watch;

pub(crate) use ask::{Asked, Found, Span};

use crate::{error::Error, store::series as store};
use opentelemetry::{KeyValue, metrics::Counter};
use policy::Time;
use series::{At, Labels, Limits, Memory, Refused, Sample, Selector, Series, Value};
use shared::{db::Db, server::Tasks, telemetry};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
};
use tokio::sync::watch::Sender;
use uuid::Uuid;

static REFUSED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = telemetry::meter();
    let refused = meter.u64_counter("tollgate.series.refused").with_unit("{sample}");
    refused.with_description("Samples that were not kept, by why").build()
});

/// A minute, in seconds.
pub(crate) const MINUTE: i64 = 60;
/// So far back is looked for how something stands now, in seconds: what other replicas heard comes by the minute, up to
/// 70 s after that.
pub(crate) const STANDING: i64 = 3 * MINUTE;
/// An hour, in seconds.
pub(crate) const HOUR: i64 = 3_600;

/// What was measured. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    state: Arc<Mutex<State>>,
    db: Db,
    /// This replica, until it ends.
    writer: Uuid,
    /// Heard when something turned.
    turned: Sender<()>,
    /// Whether rules are looked at here.
    looking: Arc<AtomicBool>,
    /// What other replicas heard turn.
    known: turned::Read,
}

#[derive(Debug)]
struct State {
    memory: Memory,
    /// What this replica heard and has not written yet, by minute.
    unwritten: BTreeMap<At, Minute>,
    /// Minutes of other replicas, and of this one before it was started anew, that are in memory.
    read: HashSet<(At, Uuid)>,
    /// Series that the database knows of, and the hour in which it was told last.
    described: HashMap<Uuid, At>,
}

/// What each series was in one minute.
type Minute = HashMap<(Box<str>, Labels), Value>;

/// What became of the samples of a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) taken: u32,
    pub(crate) refused: u32,
}

impl Signals {
    /// Remembers from now on, and keeps it in the database until the process ends.
    pub(crate) fn start(db: &Db, tasks: &Tasks) -> Self {
        let signals = Self::new(db);
        keep::start(&signals, tasks);
        signals
    }

    /// Of which nothing is known yet.
    fn new(db: &Db) -> Self {
        let state = State {
            memory: Memory::new(Limits::default()),
            unwritten: BTreeMap::new(),
            read: HashSet::new(),
            described: HashMap::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            db: db.clone(),
            writer: Uuid::new_v4(),
            turned: Sender::new(()),
            looking: Arc::default(),
            known: turned::Read::default(),
        }
    }

    /// Takes what was measured until now.
    pub(crate) fn take(&self, now: Time, samples: &[Sample]) -> Taken {
        let (at, mut taken) = (at(now), Taken::default());
        let mut state = self.state();
        for sample in samples {
            if let Err(why) = state.memory.take(at, sample) {
                taken.refused += 1;
                let why = match why {
                    Refused::Full => "full",
                    Refused::Kind => "kind",
                    Refused::Old => "old",
                };
                REFUSED.add(1, &[KeyValue::new("why", why)]);
                continue;
            }
            taken.taken += 1;
            let minute = state.unwritten.entry(at.floor(MINUTE)).or_default();
            match minute.get_mut(&(sample.name.clone(), sample.labels.clone())) {
                Some(value) => value.extend(&sample.value),
                None => {
                    drop(minute.insert((sample.name.clone(), sample.labels.clone()), sample.value.clone()))
                }
            }
        }
        taken
    }

    /// What is known of the series that are meant in the last `seconds`, two hours at most.
    pub(crate) fn recent(&self, selector: &Selector, now: Time, seconds: i64) -> Vec<Series> {
        let until = self.until(now);
        self.state().memory.select(selector, until.plus(-seconds), until)
    }

    /// What is known of the series that are meant, from the stretch that `from` lies in on and before `until`, two hours at
    /// most.
    pub(crate) fn between(&self, selector: &Selector, from: At, until: At) -> Vec<Series> {
        self.state().memory.select(selector, from, until)
    }

    /// The same, as rules look at it.
    pub(crate) fn remembering(&self) -> impl Fn(&Selector, At, At) -> Vec<Series> {
        move |selector, from, until| self.between(selector, from, until)
    }

    /// Length of a stretch in memory, in seconds.
    pub(crate) fn step(&self) -> i64 {
        self.state().memory.step()
    }

    /// The end of the stretch that is going on: what looks back from there sees what was measured last.
    pub(crate) fn until(&self, now: Time) -> At {
        at(now).next(self.state().memory.step())
    }

    /// Names, kinds and numbers of series, from after `name` on, and the labels that they have.
    pub(crate) fn names(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<Named> {
        let state = self.state();
        let names = state
            .memory
            .names()
            .filter(|(name, ..)| name.starts_with(prefix) && after.is_none_or(|after| ***name > *after));
        let named = |(name, kind, series): (&Arc<str>, series::Kind, usize)| {
            let selector = Selector::named(&**name);
            let labels =
                state.memory.labels(&selector).flat_map(Labels::iter).map(|(label, _)| label.to_owned());
            Named { name: name.to_string(), kind, series, labels: labels.collect() }
        };
        names.take(limit).map(named).collect()
    }

    /// What kind the series of this name are of.
    pub(crate) fn kind(&self, name: &str) -> Option<series::Kind> {
        self.state().memory.kind(name)
    }

    /// Takes a sample that somebody recorded by hand.
    ///
    /// # Errors
    /// When services measure something of this name, it is of another kind, or there is no room for it.
    pub(crate) fn record(&self, now: Time, sample: &Sample) -> Result<(), Error> {
        {
            let state = self.state();
            let reported = Selector::named(&*sample.name);
            let measured = state.memory.labels(&reported).any(|labels| labels.get("service").is_some());
            let kind = state.memory.kind(&sample.name);
            if measured || kind.is_some_and(|kind| kind != sample.value.kind()) {
                return Err(Error::Measured);
            }
        }
        if self.take(now, std::slice::from_ref(sample)).taken == 1 { Ok(()) } else { Err(Error::Full) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that is measured.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) kind: series::Kind,
    pub(crate) series: usize,
    pub(crate) labels: std::collections::BTreeSet<String>,
}

/// The second that a time lies in.
pub(crate) const fn at(time: Time) -> At {
    At(time.0.div_euclid(1_000_000))
}

/// The time at which a second begins.
pub(crate) const fn time(at: At) -> Time {
    Time(at.0.saturating_mul(1_000_000))
}
