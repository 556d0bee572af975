//! What an expression amounts to at a moment.

use crate::{
    expression::{Aggregation, Expression, Grouping, LOOKBACK, Operator},
    labels::Labels,
    signals::{Selector, Signals, Time},
    window::quantile,
};
use std::{collections::BTreeMap, time::Duration};

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluation {
    /// Series and their values.
    pub series: Vec<(Labels, f64)>,
    /// Whether there was any sample to look at. That nothing was found means little without.
    pub seen: bool,
}

enum Value {
    Number(f64),
    Series(Vec<(Labels, f64)>),
}

struct Evaluator<'a, S: ?Sized> {
    signals: &'a S,
    now: Time,
    seen: bool,
}

/// Evaluates an expression over what is known at `now`. A number is shown as a series without labels.
pub fn evaluate<S: Signals + ?Sized>(expression: &Expression, signals: &S, now: Time) -> Evaluation {
    let mut evaluator = Evaluator { signals, now, seen: !needs_samples(expression) };
    let series = match evaluator.value(expression) {
        Value::Number(number) => vec![(Labels::default(), number)],
        Value::Series(series) => series,
    };
    Evaluation { series, seen: evaluator.seen }
}

fn needs_samples(expression: &Expression) -> bool {
    let mut names = Vec::new();
    expression.names(&mut names);
    !names.is_empty()
}

impl<S: Signals + ?Sized> Evaluator<'_, S> {
    fn value(&mut self, expression: &Expression) -> Value {
        match expression {
            Expression::Number(number) => Value::Number(*number),
            Expression::Time => Value::Number(self.now.0 as f64 / 1e6),
            Expression::Binary(operator, left, right) => {
                let (left, right) = (self.value(left), self.value(right));
                binary(*operator, left, right)
            }
            series => Value::Series(self.series(series)),
        }
    }

    fn series(&mut self, expression: &Expression) -> Vec<(Labels, f64)> {
        match expression {
            Expression::Latest(selector) => {
                self.over(selector, LOOKBACK, |samples| samples.last().map(|sample| sample.value))
            }
            Expression::Over(over, selector, window) => {
                self.over(selector, *window, |samples| over.of(samples, *window))
            }
            Expression::Aggregate(how, grouping, of) => aggregate(*how, grouping, self.series(of)),
            Expression::Quantile(share, of) => quantiles(*share, self.series(of)),
            Expression::Absent(of) => match self.series(of).is_empty() {
                true => vec![(Labels::default(), 1.0)],
                false => Vec::new(),
            },
            Expression::Vector(of) => match self.value(of) {
                Value::Number(number) => vec![(Labels::default(), number)],
                Value::Series(series) => series,
            },
            Expression::Number(_) | Expression::Time | Expression::Binary(..) => match self.value(expression)
            {
                Value::Number(number) => vec![(Labels::default(), number)],
                Value::Series(series) => series,
            },
        }
    }

    fn over(
        &mut self,
        selector: &Selector,
        window: Duration,
        of: impl Fn(&[crate::signals::Sample]) -> Option<f64>,
    ) -> Vec<(Labels, f64)> {
        let mut found = Vec::new();
        self.signals.select(selector, self.now.minus(window), self.now, &mut |labels, samples| {
            self.seen = true;
            found.extend(of(samples).map(|value| (labels.clone(), value)));
        });
        found
    }
}

fn binary(operator: Operator, left: Value, right: Value) -> Value {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            let held = apply(operator, left, right);
            Value::Number(if operator.is_comparison() {
                f64::from(u8::from(held.is_some()))
            } else {
                held.unwrap_or(f64::NAN)
            })
        }
        (Value::Series(left), Value::Number(right)) => {
            let kept =
                left.into_iter().filter_map(|(labels, value)| Some((labels, apply(operator, value, right)?)));
            Value::Series(kept.collect())
        }
        (Value::Number(left), Value::Series(right)) => {
            let kept = right.into_iter().filter_map(|(labels, value)| {
                let made = apply(operator, left, value)?;
                // A comparison keeps the series' value, on whichever side it is.
                Some((labels, if operator.is_comparison() { value } else { made }))
            });
            Value::Series(kept.collect())
        }
        (Value::Series(left), Value::Series(right)) => Value::Series(both(operator, left, right)),
    }
}

fn both(operator: Operator, left: Vec<(Labels, f64)>, right: Vec<(Labels, f64)>) -> Vec<(Labels, f64)> {
    let there: BTreeMap<&Labels, f64> = right.iter().map(|(labels, value)| (labels, *value)).collect();
    let kept = left.into_iter().filter_map(|(labels, value)| {
        let other = there.get(&labels).copied();
        let value = match operator {
            Operator::Or => Some(value),
            Operator::And => other.map(|_| value),
            Operator::Unless => other.is_none().then_some(value),
            _ => other.and_then(|other| apply(operator, value, other)),
        };
        value.map(|value| (labels, value))
    });
    let mut kept: Vec<_> = kept.collect();
    if operator == Operator::Or {
        let others = right.iter().filter(|(labels, _)| !kept.iter().any(|(known, _)| known == labels));
        let others: Vec<_> = others.cloned().collect();
        kept.extend(others);
    }
    kept
}

/// The value of two, or nothing where a comparison does not hold. Nothing holds for what is no number.
fn apply(operator: Operator, left: f64, right: f64) -> Option<f64> {
    let made = match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        Operator::Equal if left == right => left,
        Operator::NotEqual if left != right => left,
        Operator::AtLeast if left >= right => left,
        Operator::AtMost if left <= right => left,
        Operator::Above if left > right => left,
        Operator::Below if left < right => left,
        _ => return None,
    };
    Some(made).filter(|made| !made.is_nan())
}

fn aggregate(how: Aggregation, grouping: &Grouping, series: Vec<(Labels, f64)>) -> Vec<(Labels, f64)> {
    let mut groups: BTreeMap<Labels, (f64, u32)> = BTreeMap::new();
    for (labels, value) in series {
        let labels = match grouping {
            Grouping::By(names) => labels.only(names),
            Grouping::Without(names) => labels.without(names),
        };
        let group = groups.entry(labels).or_insert((0.0, 0));
        group.0 = match how {
            _ if group.1 == 0 => value,
            Aggregation::Sum | Aggregation::Mean | Aggregation::Count => group.0 + value,
            Aggregation::Least => group.0.min(value),
            Aggregation::Most => group.0.max(value),
        };
        group.1 += 1;
    }
    let made = groups.into_iter().map(|(labels, (value, count))| {
        let value = match how {
            Aggregation::Mean => value / f64::from(count),
            Aggregation::Count => f64::from(count),
            Aggregation::Sum | Aggregation::Least | Aggregation::Most => value,
        };
        (labels, value)
    });
    made.collect()
}

fn quantiles(share: f64, series: Vec<(Labels, f64)>) -> Vec<(Labels, f64)> {
    let bound = ["le".to_owned()];
    let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for (labels, value) in series {
        // `+Inf` is how the last bound is written.
        if let Ok(le) = labels.get("le").parse::<f64>() {
            histograms.entry(labels.without(&bound)).or_default().push((le, value));
        }
    }
    let made = histograms
        .into_iter()
        .filter_map(|(labels, mut buckets)| Some((labels, quantile(share, &mut buckets)?)));
    made.collect()
}
