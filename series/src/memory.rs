//! The last hours, in short stretches.

use crate::{At, Buckets, Gauge, Kind, Labels, Point, Sample, Selector, Series, Value};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Length of a stretch, in seconds.
    pub step: i64,
    /// How many stretches are kept of a series.
    pub steps: usize,
    /// Series of one name; more are refused.
    pub per_name: usize,
    /// Names; more are refused.
    pub names: usize,
}

impl Default for Limits {
    /// Two hours in stretches of ten seconds, 2,000 series of a name, as OpenTelemetry limits an instrument.
    fn default() -> Self {
        Self { step: 10, steps: 720, per_name: 2_000, names: 2_000 }
    }
}

/// Why a sample was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// There are as many series of its name, or as many names, as may be.
    Full,
    /// The name is known for another kind.
    Kind,
    /// It is older than what is kept.
    Old,
}

/// What was measured in the last hours.
#[derive(Debug)]
pub struct Memory {
    limits: Limits,
    names: BTreeMap<Arc<str>, Family>,
    /// The last stretch of which anything is known.
    latest: i64,
    overflow: u64,
}

#[derive(Debug)]
struct Family {
    kind: Kind,
    series: HashMap<Labels, Ring>,
}

/// The stretches of one series; the first of them has the number `first`.
#[derive(Debug)]
struct Ring {
    first: i64,
    slots: Slots,
}

/// A number takes eight bytes, of which NaN says that there is none.
#[derive(Debug)]
enum Slots {
    Gauge(VecDeque<f64>),
    Counter(VecDeque<f64>),
    Histogram(VecDeque<Option<Arc<Buckets>>>),
}

impl Memory {
    /// An empty memory.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, names: BTreeMap::new(), latest: i64::MIN, overflow: 0 }
    }

    /// Length of a stretch, in seconds.
    #[must_use]
    pub const fn step(&self) -> i64 {
        self.limits.step
    }

    /// How many samples were refused because there was no room for another series.
    #[must_use]
    pub const fn overflow(&self) -> u64 {
        self.overflow
    }

    /// How many series there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.values().map(|family| family.series.len()).sum()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Where the first stretch begins that may still be known at this time.
    #[must_use]
    pub fn oldest(&self, now: At) -> At {
        let steps = i64::try_from(self.limits.steps).unwrap_or(i64::MAX);
        let last = now.0.max(self.latest.saturating_mul(self.limits.step));
        At(last).floor(self.limits.step).plus(-(steps - 1).saturating_mul(self.limits.step))
    }

    /// Takes what was measured in the stretch that `at` lies in. What is known of the same stretch is added to: of a
    /// gauge the last reading holds.
    ///
    /// # Errors
    /// When there is no room for it, or it is not what it was; the rest of a report is none the worse for it.
    pub fn take(&mut self, at: At, sample: &Sample) -> Result<(), Refused> {
        let number = at.0.div_euclid(self.limits.step);
        let kind = sample.value.kind();
        if !self.names.contains_key(&*sample.name) {
            if self.names.len() >= self.limits.names {
                self.overflow += 1;
                return Err(Refused::Full);
            }
            let family = Family { kind, series: HashMap::new() };
            self.names.insert(Arc::from(&*sample.name), family);
        }
        let Some(family) = self.names.get_mut(&*sample.name) else { return Err(Refused::Full) };
        if family.kind != kind {
            return Err(Refused::Kind);
        }
        let room = family.series.len() < self.limits.per_name;
        let steps = self.limits.steps;
        let ring = match family.series.get_mut(&sample.labels) {
            Some(ring) => ring,
            None if !room => {
                self.overflow += 1;
                return Err(Refused::Full);
            }
            None => {
                let ring = Ring { first: number, slots: Slots::of(kind) };
                family.series.entry(sample.labels.clone()).or_insert(ring)
            }
        };
        if !ring.put(number, &sample.value, steps) {
            return Err(Refused::Old);
        }
        self.latest = self.latest.max(number);
        Ok(())
    }

    /// Forgets series of which nothing is known any more at this time.
    pub fn forget(&mut self, now: At) {
        let oldest = self.oldest(now).0.div_euclid(self.limits.step);
        for family in self.names.values_mut() {
            family.series.retain(|_, ring| ring.end() > oldest);
        }
        self.names.retain(|_, family| !family.series.is_empty());
    }

    /// Names and kinds, in alphabetical order, and how many series there are of each.
    pub fn names(&self) -> impl Iterator<Item = (&Arc<str>, Kind, usize)> {
        self.names.iter().map(|(name, family)| (name, family.kind, family.series.len()))
    }

    /// What kind the series of this name are of.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<Kind> {
        self.names.get(name).map(|family| family.kind)
    }

    /// What is known of the last stretch of one series.
    #[must_use]
    pub fn last(&self, name: &str, labels: &Labels) -> Option<Value> {
        let slots = &self.names.get(name)?.series.get(labels)?.slots;
        slots.get(slots.len().checked_sub(1)?)
    }

    /// The labels of every series that is meant.
    pub fn labels<'a>(&'a self, selector: &'a Selector) -> impl Iterator<Item = &'a Labels> {
        let series = self.names.get(&*selector.name).into_iter().flat_map(|family| family.series.keys());
        series.filter(|labels| selector.matches(labels))
    }

    /// What is known of the series that are meant, from the stretch that `from` lies in on, and before `until`. Series
    /// of which nothing is known in that time are left out; the others come in the order of their labels.
    #[must_use]
    pub fn select(&self, selector: &Selector, from: At, until: At) -> Vec<Series> {
        let Some((name, family)) = self.names.get_key_value(&*selector.name) else { return Vec::new() };
        let step = self.limits.step;
        let (from, until) = (from.0.div_euclid(step), until.0.saturating_add(step - 1).div_euclid(step));
        let mut found: Vec<Series> = family
            .series
            .iter()
            .filter(|(labels, _)| selector.matches(labels))
            .map(|(labels, ring)| Series {
                name: Arc::clone(name),
                labels: labels.clone(),
                kind: family.kind,
                points: ring.points(from, until, step),
            })
            .filter(|series| !series.points.is_empty())
            .collect();
        found.sort_by(|one, other| one.labels.cmp(&other.labels));
        found
    }
}

impl Slots {
    const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Gauge => Self::Gauge(VecDeque::new()),
            Kind::Counter => Self::Counter(VecDeque::new()),
            Kind::Histogram => Self::Histogram(VecDeque::new()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Gauge(slots) | Self::Counter(slots) => slots.len(),
            Self::Histogram(slots) => slots.len(),
        }
    }

    /// As many slots as this.
    fn grow(&mut self, len: usize) {
        match self {
            Self::Gauge(slots) | Self::Counter(slots) => slots.resize(len, f64::NAN),
            Self::Histogram(slots) => slots.resize(len, None),
        }
    }

    /// So many slots more, before the first one.
    fn grow_before(&mut self, count: usize) {
        for _ in 0..count {
            match self {
                Self::Gauge(slots) | Self::Counter(slots) => slots.push_front(f64::NAN),
                Self::Histogram(slots) => slots.push_front(None),
            }
        }
    }

    fn forget(&mut self, count: usize) {
        match self {
            Self::Gauge(slots) | Self::Counter(slots) => drop(slots.drain(..count.min(slots.len()))),
            Self::Histogram(slots) => drop(slots.drain(..count.min(slots.len()))),
        }
    }

    fn add(&mut self, at: usize, value: &Value) {
        match (self, value) {
            (Self::Gauge(slots), Value::Gauge(gauge)) => {
                if let Some(slot) = slots.get_mut(at) {
                    *slot = gauge.last;
                }
            }
            (Self::Counter(slots), Value::Counter(increase)) => {
                if let Some(slot) = slots.get_mut(at) {
                    *slot = if slot.is_nan() { *increase } else { *slot + increase };
                }
            }
            (Self::Histogram(slots), Value::Histogram(buckets)) => match slots.get_mut(at) {
                Some(Some(slot)) => Arc::make_mut(slot).add(buckets),
                Some(slot) => *slot = Some(Arc::clone(buckets)),
                None => {}
            },
            _ => {}
        }
    }

    fn get(&self, at: usize) -> Option<Value> {
        match self {
            Self::Gauge(slots) => {
                slots.get(at).filter(|slot| !slot.is_nan()).map(|slot| Value::Gauge(Gauge::read(*slot)))
            }
            Self::Counter(slots) => {
                slots.get(at).filter(|slot| !slot.is_nan()).map(|slot| Value::Counter(*slot))
            }
            Self::Histogram(slots) => slots.get(at)?.as_ref().map(|slot| Value::Histogram(Arc::clone(slot))),
        }
    }
}

impl Ring {
    /// The number after that of the last stretch.
    fn end(&self) -> i64 {
        self.first + i64::try_from(self.slots.len()).unwrap_or(i64::MAX)
    }

    /// Adds to a stretch. Whether it is not too old.
    fn put(&mut self, number: i64, value: &Value, steps: usize) -> bool {
        if number >= self.end() {
            let ahead = usize::try_from(number - self.end()).unwrap_or(usize::MAX);
            if ahead >= steps {
                // Nothing that is known is young enough any more.
                self.slots.forget(usize::MAX);
                self.first = number;
                self.slots.grow(1);
            } else {
                self.slots.grow(self.slots.len() + ahead + 1);
            }
            let surplus = self.slots.len().saturating_sub(steps);
            self.slots.forget(surplus);
            self.first += i64::try_from(surplus).unwrap_or(0);
        } else if number < self.first {
            // Another replica may have heard of it before.
            let before = usize::try_from(self.first - number).unwrap_or(usize::MAX);
            if before > steps.saturating_sub(self.slots.len()) {
                return false;
            }
            self.slots.grow_before(before);
            self.first = number;
        }
        let at = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        self.slots.add(at, value);
        true
    }

    fn points(&self, from: i64, until: i64, step: i64) -> Vec<Point> {
        let (from, until) = (from.max(self.first), until.min(self.end()));
        let known = |number: i64| {
            let value = self.slots.get(usize::try_from(number - self.first).ok()?)?;
            Some(Point { at: At(number * step), value })
        };
        (from..until).filter_map(known).collect()
    }
}
