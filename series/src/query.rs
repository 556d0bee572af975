//! What is computed of series: over time first, then across series.

use crate::{At, Buckets, Kind, Labels, Series, Value};
use std::collections::BTreeMap;

/// What is made of the stretches of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Over {
    /// Of a gauge: what it said last.
    Last,
    /// Of a gauge: the least it said.
    Min,
    /// Of a gauge: the most it said.
    Max,
    /// Of a gauge: the mean of what it said. Of a histogram: the mean of what was observed.
    Mean,
    /// Of a counter: by how much it rose. Of a histogram: how many observations there were.
    Increase,
    /// The same by second. Time before a series was first seen in the window does not count.
    Rate,
    /// Of a histogram: the value below which this share of the observations lies, from 0 to 1.
    Quantile(f64),
    /// Of a histogram: the share of the observations that were at most this large, as far as its bounds say so.
    Within(f64),
}

/// How several series of a group become one number. Histograms are added before anything is made of them, because
/// quantiles and means cannot be averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Across {
    /// Added up.
    Sum,
    /// The mean.
    Mean,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

/// What is to be computed.
#[derive(Debug, Clone)]
pub struct Query {
    /// Over time.
    pub over: Over,
    /// Across the series of a group.
    pub across: Across,
    /// The labels that make a group; without any, all series are one.
    pub by: Vec<Box<str>>,
    /// How far back each answer looks, in seconds.
    pub window: i64,
}

/// A kind of series of which this cannot be computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unfit {
    /// What was asked for.
    pub over: Over,
    /// Of what.
    pub kind: Kind,
}

/// The answer for one group.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The labels of the group.
    pub labels: Labels,
    /// A number for each time; `None` where nothing was measured.
    pub values: Vec<Option<f64>>,
}

impl Over {
    /// What is asked of a series of this kind when nothing else is said: what a gauge says, how fast a counter rises,
    /// and below which value 95 of 100 observations lie.
    #[must_use]
    pub const fn usual(kind: Kind) -> Self {
        match kind {
            Kind::Gauge => Self::Last,
            Kind::Counter => Self::Rate,
            Kind::Histogram => Self::Quantile(0.95),
        }
    }

    /// Whether it can be made of a series of this kind.
    ///
    /// # Errors
    /// When it cannot.
    pub const fn fits(self, kind: Kind) -> Result<(), Unfit> {
        let fits = match self {
            Self::Last | Self::Min | Self::Max => matches!(kind, Kind::Gauge),
            Self::Mean => matches!(kind, Kind::Gauge | Kind::Histogram),
            Self::Increase | Self::Rate => matches!(kind, Kind::Counter | Kind::Histogram),
            Self::Quantile(_) | Self::Within(_) => matches!(kind, Kind::Histogram),
        };
        if fits { Ok(()) } else { Err(Unfit { over: self, kind }) }
    }
}

impl Query {
    /// At one time: over the stretches that begin in the window before it. For a time that is now, that is the
    /// beginning of the next stretch.
    ///
    /// # Errors
    /// When it cannot be computed of these series.
    pub fn at(&self, series: &[Series], at: At) -> Result<Vec<(Labels, Option<f64>)>, Unfit> {
        let answers = self.range(series, at, at, 1)?;
        Ok(answers
            .into_iter()
            .map(|answer| (answer.labels, answer.values.first().copied().flatten()))
            .collect())
    }

    /// At `start`, every `step` seconds after it, and `end` at the latest.
    ///
    /// # Errors
    /// When it cannot be computed of these series.
    pub fn range(&self, series: &[Series], start: At, end: At, step: i64) -> Result<Vec<Answer>, Unfit> {
        for series in series {
            self.over.fits(series.kind)?;
        }
        let mut groups: BTreeMap<Labels, Vec<&Series>> = BTreeMap::new();
        for series in series {
            groups.entry(series.labels.only(&self.by)).or_default().push(series);
        }
        let step = step.max(1);
        let times = (end.0 - start.0).max(-1).div_euclid(step) + 1;
        let answer = |(labels, group): (Labels, Vec<&Series>)| Answer {
            labels,
            values: (0..times).map(|number| self.group(&group, start.plus(number * step))).collect(),
        };
        Ok(groups.into_iter().map(answer).collect())
    }

    fn group(&self, group: &[&Series], at: At) -> Option<f64> {
        if matches!(self.over, Over::Quantile(_) | Over::Within(_))
            || (self.over == Over::Mean && group.iter().any(|series| series.kind == Kind::Histogram))
        {
            return self.of_buckets(&self.buckets(group, at)?);
        }
        let values = group.iter().filter_map(|series| self.one(series, at));
        let (mut count, mut folded) = (0.0, None);
        for value in values {
            count += 1.0;
            folded = Some(match (folded, self.across) {
                (None, _) => value,
                (Some(sum), Across::Sum | Across::Mean) => sum + value,
                (Some(least), Across::Min) => f64::min(least, value),
                (Some(most), Across::Max) => f64::max(most, value),
            });
        }
        folded.map(|folded| if self.across == Across::Mean { folded / count } else { folded })
    }

    /// All that was observed in the window.
    fn buckets(&self, group: &[&Series], at: At) -> Option<Buckets> {
        let points = group.iter().flat_map(|series| series.between(at.plus(-self.window), at));
        let mut all: Option<Buckets> = None;
        for point in points {
            if let Value::Histogram(buckets) = &point.value {
                match &mut all {
                    Some(all) => all.add(buckets),
                    None => all = Some(Buckets::clone(buckets)),
                }
            }
        }
        all
    }

    fn of_buckets(&self, buckets: &Buckets) -> Option<f64> {
        match self.over {
            Over::Quantile(share) => buckets.quantile(share),
            Over::Within(limit) => buckets.share_within(limit),
            _ => buckets.mean(),
        }
    }

    fn one(&self, series: &Series, at: At) -> Option<f64> {
        let points = series.between(at.plus(-self.window), at);
        let first = points.first()?;
        let mut all = first.value.clone();
        points.iter().skip(1).for_each(|point| all.extend(&point.value));
        let rose = match &all {
            Value::Gauge(gauge) => {
                return match self.over {
                    Over::Min => Some(gauge.min),
                    Over::Max => Some(gauge.max),
                    Over::Mean => Some(gauge.mean()),
                    _ => Some(gauge.last),
                };
            }
            Value::Counter(increase) => *increase,
            Value::Histogram(buckets) => buckets.count(),
        };
        if self.over == Over::Rate {
            let seconds = (at.0 - first.at.0).max(1);
            #[expect(clippy::cast_precision_loss, reason = "a window is far below 2^52 seconds")]
            return Some(rose / seconds as f64);
        }
        Some(rose)
    }
}
