//! What a rule would have said of the past.

use crate::{
    evaluate::evaluate,
    labels::Labels,
    rule::Rule,
    signals::{Signals, Time},
    state::{State, Track},
};
use std::{collections::BTreeMap, time::Duration};

/// An alert that would have been.
#[derive(Debug, Clone, PartialEq)]
pub struct Fired {
    /// Its labels.
    pub labels: Labels,
    /// Since when it would have been so.
    pub since: Time,
    /// When it would have fired; nothing when it was not so for long enough.
    pub fired: Option<Time>,
    /// When it would have been over; nothing when it still is.
    pub ended: Option<Time>,
    /// The highest value that was found.
    pub highest: f64,
}

/// Evaluates a rule every `step` from `from` to `to`, both included, and says which alerts there would have been, in the
/// order in which they began.
pub fn replay<S: Signals + ?Sized>(
    rule: &Rule,
    signals: &S,
    (from, to): (Time, Time),
    step: Duration,
) -> Vec<Fired> {
    let (mut track, mut open, mut all) = (Track::default(), BTreeMap::new(), Vec::new());
    let step = step.max(Duration::from_secs(1));
    let mut now = from;
    while now <= to {
        track.step(rule, &evaluate(&rule.expression, signals, now), now);
        open.retain(|fingerprint, fired: &mut Fired| {
            let alert = track.alerts.get(fingerprint);
            let alert = alert.filter(|alert| alert.state != State::Resolved && alert.since == fired.since);
            if alert.is_none() {
                all.push(Fired { ended: Some(now), ..fired.clone() });
            }
            alert.is_some()
        });
        for (fingerprint, alert) in track.alerts.iter().filter(|(_, alert)| alert.state != State::Resolved) {
            let fired = open.entry(*fingerprint).or_insert_with(|| Fired {
                labels: alert.labels.clone(),
                since: alert.since,
                fired: None,
                ended: None,
                highest: alert.value,
            });
            (fired.fired, fired.highest) = (alert.fired, fired.highest.max(alert.value));
        }
        now = now.plus(step);
    }
    all.extend(open.into_values());
    all.sort_by(|one, other| (one.since, &one.labels).cmp(&(other.since, &other.labels)));
    all
}
