//! What was measured, as rules look at it: running totals of what memory has as the increase of each stretch.
//!
//! A total that begins with nothing where the window does rises by the same amounts. What is older than what is
//! remembered comes from a [`Past`], which whoever asks has read before.

use crate::{
    labels::Labels,
    rule::Rule,
    signals::{Sample, Selector, Signals, Time},
};
use series::{At, Buckets, Kind, Series, Value, roll};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

/// A minute, in seconds.
const MINUTE: i64 = 60;

/// A name, and how far back it is looked at, in seconds.
pub type Window = (String, i64);

/// What was measured before what is remembered, for windows that begin there.
#[derive(Debug, Default)]
pub struct Past {
    /// Where what is remembered begins.
    pub until: At,
    /// What was before, from where each window begins. A window is here also when there was nothing.
    pub series: HashMap<Window, Vec<Series>>,
}

/// The windows of a rule that are longer than `remembered` seconds. A name that may be part of a histogram stands for it, too.
#[must_use]
pub fn long_windows(rule: &Rule, remembered: i64) -> BTreeSet<Window> {
    let mut all = Vec::new();
    rule.expression.windows(&mut all);
    let long = all.into_iter().filter_map(|(selector, window)| {
        let seconds = i64::try_from(window.as_secs()).unwrap_or(i64::MAX);
        (seconds > remembered).then_some((selector, seconds))
    });
    let names = long.flat_map(|(selector, seconds)| {
        let names = PARTS.iter().filter_map(|(suffix, _)| selector.name.strip_suffix(suffix));
        names.map(move |name| (name.to_owned(), seconds))
    });
    names.collect()
}

/// Who remembers: the series of this selector from the stretch that the first time lies in on, and before the second.
pub type Remembered<'a> = &'a dyn Fn(&series::Selector, At, At) -> Vec<Series>;

/// Series of a name, and their labels as rules know them.
type Selected = Rc<Vec<(Labels, Series)>>;

/// What was measured, for one moment after another. What was selected for one rule is there for the next one.
pub struct Measured<'a> {
    remembered: Remembered<'a>,
    step: i64,
    past: &'a Past,
    /// At the last time, by name and window.
    selected: RefCell<(At, HashMap<Window, Selected>)>,
}

impl std::fmt::Debug for Measured<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Measured").finish_non_exhaustive()
    }
}

impl<'a> Measured<'a> {
    /// Over what is remembered in stretches of `step` seconds, and what was before.
    #[must_use]
    pub fn new(remembered: Remembered<'a>, step: i64, past: &'a Past) -> Self {
        Self { remembered, step, past, selected: RefCell::default() }
    }

    /// Whether all of these can be looked at.
    #[must_use]
    pub fn covers(&self, windows: &BTreeSet<Window>) -> bool {
        windows.iter().all(|window| self.past.series.contains_key(window))
    }

    fn series(&self, name: &str, from: At, to: At) -> Selected {
        let mut selected = self.selected.borrow_mut();
        if selected.0 != to {
            *selected = (to, HashMap::new());
        }
        let window = (name.to_owned(), to.0 - from.0);
        let select = || {
            let selector = series::Selector::named(name);
            let found = match self.past.series.get(&window) {
                Some(past) => {
                    let recent = (self.remembered)(&selector, from.max(self.past.until), to.plus(1));
                    together(past, from, recent)
                }
                None => (self.remembered)(&selector, from, to.plus(1)),
            };
            Rc::new(found.into_iter().map(|series| (series.labels.iter().collect(), series)).collect())
        };
        Rc::clone(selected.1.entry(window.clone()).or_insert_with(select))
    }
}

/// What was before and what is remembered. Gauges have a reading a minute throughout, so that none weighs more than another.
fn together(past: &[Series], from: At, recent: Vec<Series>) -> Vec<Series> {
    let before = past.iter().map(|series| {
        let points = series.between(from, At(i64::MAX)).to_vec();
        (series.labels.clone(), Series { points, ..series.clone() })
    });
    let mut all: BTreeMap<series::Labels, Series> = before.collect();
    for mut series in recent {
        if series.kind == Kind::Gauge {
            series.points = roll(&series.points, MINUTE);
        }
        match all.get_mut(&series.labels) {
            Some(known) if known.kind == series.kind => known.points.extend(series.points),
            _ => drop(all.insert(series.labels.clone(), series)),
        }
    }
    all.into_values().filter(|series| !series.points.is_empty()).collect()
}

impl Signals for Measured<'_> {
    fn select(&self, selector: &Selector, from: Time, to: Time, visit: &mut dyn FnMut(&Labels, &[Sample])) {
        let stretch = Stretch { to: seconds(to), length: self.step };
        for (suffix, part) in PARTS {
            let Some(name) = selector.name.strip_suffix(suffix) else { continue };
            for (labels, series) in self.series(name, seconds(from), seconds(to)).iter() {
                let mut show = |labels: &Labels, samples: &[Sample]| {
                    if labels.matched_by(&selector.matchers) {
                        visit(labels, samples);
                    }
                };
                stretch.show(labels, series, part, &mut show);
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

/// The end of what is looked at, and how long a stretch is.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    to: At,
    length: i64,
}

impl Stretch {
    fn show(self, labels: &Labels, series: &Series, part: Part, show: &mut dyn FnMut(&Labels, &[Sample])) {
        match (series.points.first().map(|point| &point.value), part) {
            (Some(Value::Gauge(_)), Part::Itself) => {
                let said = |value: &Value| if let Value::Gauge(gauge) = value { gauge.last } else { 0.0 };
                let read =
                    |point: &series::Point| Sample { at: self.end(point.at), value: said(&point.value) };
                show(labels, &series.points.iter().map(read).collect::<Vec<_>>());
            }
            (Some(Value::Counter(_)), Part::Itself) => {
                let rose = |value: &Value| if let Value::Counter(rose) = value { *rose } else { 0.0 };
                show(labels, &self.totals(series, rose));
            }
            (Some(Value::Histogram(_)), Part::Sum) => {
                show(labels, &self.totals(series, |value| histogram(value).map_or(0.0, Buckets::sum)));
            }
            (Some(Value::Histogram(_)), Part::Count) => {
                show(labels, &self.totals(series, |value| histogram(value).map_or(0.0, Buckets::count)));
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
    use crate::RuleText;
    use series::Point;
    use std::sync::Arc;

    const STRETCH: Stretch = Stretch { to: At(125), length: 10 };

    fn shown(values: Vec<(i64, Value)>, part: Part) -> Vec<(String, Vec<(i64, f64)>)> {
        let kind = values[0].1.kind();
        let points = values.into_iter().map(|(at, value)| Point { at: At(at), value }).collect();
        let labels = [("job", "a")].into_iter().collect();
        let series = Series { name: "x".into(), labels, kind, points };
        let mut all = Vec::new();
        STRETCH.show(&Labels::default(), &series, part, &mut |labels, samples| {
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

    /// A counter that rose by this in each hour before what is remembered, which begins at noon.
    fn past(name: &str, window: i64, rose: &[f64]) -> Past {
        let begin = NOON.0 - 3_600 * i64::try_from(rose.len()).unwrap();
        let hours = (0..)
            .zip(rose)
            .map(|(hour, rose)| Point { at: At(begin + 3_600 * hour), value: Value::Counter(*rose) });
        let labels = [("end", "cut")].into_iter().collect();
        let series = Series { name: name.into(), labels, kind: Kind::Counter, points: hours.collect() };
        Past { until: NOON, series: [((name.to_owned(), window), vec![series])].into() }
    }

    /// Noon of a day in May 2026.
    const NOON: At = At(1_778_846_400);

    fn found(expression: &str, remembered: Remembered<'_>, past: &Past) -> Vec<f64> {
        let now = Time((NOON.0 + 7_200) * 1_000_000);
        let measured = Measured::new(remembered, 10, past);
        let expression = expression.parse().unwrap();
        let series = crate::evaluate(&expression, &measured, now).series;
        series.into_iter().map(|(_, value)| value).collect()
    }

    fn remember(points: Vec<(i64, Value)>) -> impl Fn(&series::Selector, At, At) -> Vec<Series> {
        move |selector, from, until| {
            let points = points.iter().filter(|(at, _)| (from..until).contains(&At(*at)));
            let points: Vec<Point> =
                points.map(|(at, value)| Point { at: At(*at), value: value.clone() }).collect();
            let Some(kind) = points.first().map(|point| point.value.kind()) else { return Vec::new() };
            let labels = [("end", "cut")].into_iter().collect();
            vec![Series { name: (&*selector.name).into(), labels, kind, points }]
        }
    }

    #[test]
    fn a_long_window_is_what_was_before_and_what_is_remembered() {
        // 1 to 5 in the hours before noon, where what is remembered begins, and 10 after it: at two o'clock, six hours are
        // those from eight o'clock on.
        let past = past("fails", 6 * 3_600, &[1.0, 2.0, 3.0, 4.0, 5.0]);
        let remembered = remember(vec![
            (NOON.0 - 10, Value::Counter(100.0)),
            (NOON.0, Value::Counter(3.0)),
            (NOON.0 + 7_000, Value::Counter(7.0)),
        ]);
        assert_eq!(found("increase(fails[6h])", &remembered, &past), [2.0 + 3.0 + 4.0 + 5.0 + 10.0]);
        assert_eq!(found("sum(increase(fails[2h]))", &remembered, &past), [10.0], "nothing from before");
        assert_eq!(found("increase(fails{end!=\"cut\"}[6h])", &remembered, &past), [0.0; 0]);
    }

    #[test]
    fn a_gauge_has_a_reading_a_minute() {
        let remembered =
            remember((0..12).map(|step| (NOON.0 + step * 10, Value::gauge(step as f64).unwrap())).collect());
        let past = Past { until: NOON, series: [(("load".to_owned(), 10_800), Vec::new())].into() };
        assert_eq!(found("count_over_time(load[3h])", &remembered, &past), [2.0]);
        assert_eq!(found("max_over_time(load[3h])", &remembered, &past), [11.0]);
        assert_eq!(found("count_over_time(load[2h])", &remembered, &past), [12.0]);
    }

    #[test]
    fn windows_that_were_not_read_are_not_covered() {
        let text = RuleText {
            alert: "Burn".into(),
            expr: "rate(fails_bucket[6h]) > 1 and rate(fails[30m]) > 1".into(),
            ..RuleText::default()
        };
        let windows = long_windows(&Rule::try_from(&text).unwrap(), 7_200);
        let expected = [("fails".to_owned(), 21_600), ("fails_bucket".to_owned(), 21_600)];
        assert_eq!(windows, expected.into());
        let (nothing, remembered) = (Past::default(), remember(Vec::new()));
        assert!(!Measured::new(&remembered, 10, &nothing).covers(&windows));
        let read =
            Past { until: NOON, series: windows.iter().map(|window| (window.clone(), vec![])).collect() };
        assert!(Measured::new(&remembered, 10, &read).covers(&windows));
    }
}
