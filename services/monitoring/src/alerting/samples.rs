//! What rules look at: what was measured in the last hours, as running totals.
//!
//! Memory has the increase of each stretch; rules are written for counters that only rise. A total that begins with
//! nothing where the window does rises by the same amounts.

use crate::signals::Signals;
use ::alerts::{Labels, Sample, Selector, Time};
use series::{At, Buckets, Series, Value};

impl ::alerts::Signals for Signals {
    fn select(&self, selector: &Selector, from: Time, to: Time, visit: &mut dyn FnMut(&Labels, &[Sample])) {
        let stretch = Stretch { from: seconds(from), to: seconds(to), length: self.step() };
        for (suffix, part) in PARTS {
            let Some(name) = selector.name.strip_suffix(suffix) else { continue };
            for series in self.between(&series::Selector::named(name), stretch.from, stretch.to.plus(1)) {
                let mut show = |labels: &Labels, samples: &[Sample]| {
                    if labels.matched_by(&selector.matchers) {
                        visit(labels, samples);
                    }
                };
                stretch.show(&series, part, &mut show);
            }
        }
    }
}

/// Which of a series' numbers are meant by a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A gauge or a counter itself.
    Itself,
    /// How many observations were at most as large as each bound.
    Buckets,
    /// How large all observations were together.
    Sum,
    /// How many observations there were.
    Count,
}

const PARTS: [(&str, Part); 4] =
    [("", Part::Itself), ("_bucket", Part::Buckets), ("_sum", Part::Sum), ("_count", Part::Count)];

/// The time that is looked at, and how long a stretch is.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: At,
    to: At,
    length: i64,
}

impl Stretch {
    fn show(self, series: &Series, part: Part, show: &mut dyn FnMut(&Labels, &[Sample])) {
        let labels: Labels = series.labels.iter().collect();
        match (series.points.first().map(|point| &point.value), part) {
            (Some(Value::Gauge(_)), Part::Itself) => {
                let said = |value: &Value| if let Value::Gauge(gauge) = value { gauge.last } else { 0.0 };
                let read =
                    |point: &series::Point| Sample { at: self.end(point.at), value: said(&point.value) };
                show(&labels, &series.points.iter().map(read).collect::<Vec<_>>());
            }
            (Some(Value::Counter(_)), Part::Itself) => {
                let rose = |value: &Value| if let Value::Counter(rose) = value { *rose } else { 0.0 };
                show(&labels, &self.totals(series, rose));
            }
            (Some(Value::Histogram(_)), Part::Sum) => {
                show(&labels, &self.totals(series, |value| histogram(value).map_or(0.0, Buckets::sum)));
            }
            (Some(Value::Histogram(_)), Part::Count) => {
                show(&labels, &self.totals(series, |value| histogram(value).map_or(0.0, Buckets::count)));
            }
            (Some(Value::Histogram(first)), Part::Buckets) => {
                let bounds = first.bounds().iter().copied().chain([f64::INFINITY]);
                for (place, bound) in bounds.enumerate() {
                    let mut labels = labels.clone();
                    labels.set("le", if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() });
                    let within = |value: &Value| {
                        histogram(value).map_or(0.0, |buckets| buckets.counts().iter().take(place + 1).sum())
                    };
                    show(&labels, &self.totals(series, within));
                }
            }
            _ => {}
        }
    }

    /// Nothing where the first stretch begins, and from there what each one adds.
    fn totals(self, series: &Series, rose: impl Fn(&Value) -> f64) -> Vec<Sample> {
        let begin = series.points.first().map(|point| Sample { at: time(point.at), value: 0.0 });
        let mut total = 0.0;
        let risen = series.points.iter().map(|point| {
            total += rose(&point.value);
            Sample { at: self.end(point.at), value: total }
        });
        begin.into_iter().chain(risen).collect()
    }

    /// When a stretch was over, which for the one that goes on is now.
    fn end(self, at: At) -> Time {
        time(at.plus(self.length).min(self.to))
    }
}

fn histogram(value: &Value) -> Option<&Buckets> {
    if let Value::Histogram(buckets) = value { Some(buckets) } else { None }
}

const fn seconds(time: Time) -> At {
    At(time.0.div_euclid(1_000_000))
}

const fn time(at: At) -> Time {
    Time(at.0.saturating_mul(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use series::Point;
    use std::sync::Arc;

    const STRETCH: Stretch = Stretch { from: At(100), to: At(125), length: 10 };

    fn shown(values: Vec<(i64, Value)>, part: Part) -> Vec<(String, Vec<(i64, f64)>)> {
        let kind = values[0].1.kind();
        let points = values.into_iter().map(|(at, value)| Point { at: At(at), value }).collect();
        let labels = [("job", "a")].into_iter().collect();
        let series = Series { name: "x".into(), labels, kind, points };
        let mut all = Vec::new();
        STRETCH.show(&series, part, &mut |labels, samples| {
            let samples = samples.iter().map(|sample| (sample.at.0 / 1_000_000, sample.value)).collect();
            all.push((labels.get("le").to_owned(), samples));
        });
        all
    }

    #[test]
    fn increases_become_a_total_that_begins_with_nothing() {
        let counter = vec![(100, Value::Counter(3.0)), (120, Value::Counter(2.0))];
        assert_eq!(shown(counter, Part::Itself), [(String::new(), vec![(100, 0.0), (110, 3.0), (125, 5.0)])]);
    }

    #[test]
    fn a_gauge_is_what_it_said_and_no_part_of_a_histogram() {
        let gauge = || vec![(100, Value::gauge(7.0).unwrap())];
        assert_eq!(shown(gauge(), Part::Itself), [(String::new(), vec![(110, 7.0)])]);
        assert!(shown(gauge(), Part::Count).is_empty());
    }

    #[test]
    fn a_histogram_is_its_buckets_one_within_the_other() {
        let buckets = Buckets::new(Arc::from([0.5, 1.0]), vec![1.0, 2.0, 4.0], 9.0).unwrap();
        let value = || vec![(100, Value::Histogram(Arc::new(buckets.clone())))];
        let expected = [("0.5", 1.0), ("1", 3.0), ("+Inf", 7.0)];
        let expected = expected.map(|(le, count)| (le.to_owned(), vec![(100, 0.0), (110, count)]));
        assert_eq!(shown(value(), Part::Buckets), expected);
        assert_eq!(shown(value(), Part::Sum), [(String::new(), vec![(100, 0.0), (110, 9.0)])]);
    }
}
