//! What is measured: samples as they come, points as they are kept, and longer stretches of shorter ones.

use crate::{At, Buckets, Labels};
use std::sync::Arc;

/// What kind of thing a series counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// How much there is of something.
    Gauge,
    /// How often something happened.
    Counter,
    /// How large things were.
    Histogram,
}

/// A gauge over a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gauge {
    /// What it said at the end.
    pub last: f64,
    /// The least it said.
    pub min: f64,
    /// The most it said.
    pub max: f64,
    /// What it said, added up; the mean is this by `readings`.
    pub sum: f64,
    /// How often it was read.
    pub readings: f64,
}

impl Gauge {
    /// Read once.
    #[must_use]
    pub const fn read(value: f64) -> Self {
        Self { last: value, min: value, max: value, sum: value, readings: 1.0 }
    }

    /// The mean of what it said.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum / self.readings
    }
}

/// What a series was in a stretch of time.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// What the gauge said.
    Gauge(Gauge),
    /// By how much the counter rose.
    Counter(f64),
    /// By how much each bucket rose.
    Histogram(Arc<Buckets>),
}

impl Value {
    /// A gauge read once; `None` for what is no number.
    #[must_use]
    pub fn gauge(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self::Gauge(Gauge::read(value)))
    }

    /// A counter that rose; `None` for what is no number or negative.
    #[must_use]
    pub fn counter(increase: f64) -> Option<Self> {
        (increase.is_finite() && increase >= 0.0).then_some(Self::Counter(increase))
    }

    /// What kind it is of.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Gauge(_) => Kind::Gauge,
            Self::Counter(_) => Kind::Counter,
            Self::Histogram(_) => Kind::Histogram,
        }
    }

    /// Goes on with what the same series was in a later stretch, or at another replica in the same one. What is of
    /// another kind is not taken.
    pub fn extend(&mut self, later: &Self) {
        match (self, later) {
            (Self::Gauge(gauge), Self::Gauge(later)) => {
                *gauge = Gauge {
                    last: later.last,
                    min: gauge.min.min(later.min),
                    max: gauge.max.max(later.max),
                    sum: gauge.sum + later.sum,
                    readings: gauge.readings + later.readings,
                };
            }
            (Self::Counter(increase), Self::Counter(later)) => *increase += later,
            (Self::Histogram(buckets), Self::Histogram(later)) => Arc::make_mut(buckets).add(later),
            _ => {}
        }
    }
}

/// One series as it is reported.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its name, as Prometheus shows it.
    pub name: Box<str>,
    /// Its labels.
    pub labels: Labels,
    /// What it was since the report before.
    pub value: Value,
}

/// What a series was in the stretch of time that begins at `at`.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Where the stretch begins.
    pub at: At,
    /// What it was.
    pub value: Value,
}

/// A series and what is known of it, in order of time. Stretches that are not there were not measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: Labels,
    /// What kind it is of.
    pub kind: Kind,
    /// What it was, stretch by stretch.
    pub points: Vec<Point>,
}

impl Series {
    /// The points that begin at `from` or later and before `until`.
    #[must_use]
    pub fn between(&self, from: At, until: At) -> &[Point] {
        let first = self.points.partition_point(|point| point.at < from);
        let end = self.points.partition_point(|point| point.at < until);
        self.points.get(first..end).unwrap_or_default()
    }
}

/// Makes stretches of `seconds` of shorter ones, which come in order of time. A stretch of which nothing is known is not
/// in the answer.
#[must_use]
pub fn roll(points: &[Point], seconds: i64) -> Vec<Point> {
    let mut rolled: Vec<Point> = Vec::new();
    for point in points {
        let at = point.at.floor(seconds);
        match rolled.last_mut() {
            Some(last) if last.at == at => last.value.extend(&point.value),
            _ => rolled.push(Point { at, value: point.value.clone() }),
        }
    }
    rolled
}
