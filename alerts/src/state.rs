//! How alerts come and go: inactive → pending → firing → resolved.

use crate::{
    evaluate::Evaluation,
    labels::{Fingerprint, Labels},
    rule::{NoData, Rule},
    signals::Time,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// How long one that resolved is still spoken of, so that whoever heard of it hears that too, also after a restart.
const REMEMBERED: Duration = Duration::from_secs(15 * 60);
/// Alerts of one rule; more are one alert that says so by itself.
const MOST: usize = 1_000;

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is so, but not for long enough.
    Pending,
    /// It is so.
    Firing,
    /// It was so.
    Resolved,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its labels.
    pub labels: Labels,
    /// Sentences for people.
    pub annotations: Labels,
    /// Where it stands.
    pub state: State,
    /// What was found last.
    pub value: f64,
    /// Since when it is so.
    pub since: Time,
    /// When it was last so.
    pub last: Time,
    /// When it fired.
    pub fired: Option<Time>,
    /// When it resolved.
    pub resolved: Option<Time>,
}

/// What an alert has become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// It is so, and has to be for longer.
    Pending,
    /// It fires.
    Firing,
    /// It was so and is not any more.
    Resolved,
    /// It was not so for long enough.
    Dropped,
    /// It resolved long ago.
    Forgotten,
}

/// The alerts of one rule.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Track {
    /// By the fingerprint of their labels.
    pub alerts: BTreeMap<Fingerprint, Alert>,
}

impl Track {
    /// Takes in what was found at `now`, and says what changed.
    pub fn step(&mut self, rule: &Rule, found: &Evaluation, now: Time) -> Vec<(Fingerprint, Change)> {
        let mut changes = Vec::new();
        let nothing = Labels::from_iter([("no_data", "true")]);
        let missing = [(nothing, 0.0)];
        let series: &[(Labels, f64)] = match (found.seen, rule.no_data) {
            (false, NoData::Keep) => return changes,
            (false, NoData::Alerting) => &missing,
            _ => &found.series,
        };
        let many;
        let series = if series.len() > MOST {
            many = [(Labels::from_iter([("too_many", "true")]), series.len() as f64)];
            &many
        } else {
            series
        };
        for (labels, value) in series {
            let wrong = rule.labels(labels, *value);
            let fingerprint = wrong.fingerprint().with(&rule.id);
            let annotations = rule.annotations(labels, *value);
            let alert = self.alerts.entry(fingerprint).and_modify(|alert| {
                if alert.state == State::Resolved {
                    (alert.state, alert.since, alert.fired, alert.resolved) =
                        (State::Pending, now, None, None);
                    changes.push((fingerprint, Change::Pending));
                }
            });
            let alert = alert.or_insert_with(|| {
                changes.push((fingerprint, Change::Pending));
                Alert {
                    labels: wrong,
                    annotations: Labels::default(),
                    state: State::Pending,
                    value: *value,
                    since: now,
                    last: now,
                    fired: None,
                    resolved: None,
                }
            });
            (alert.annotations, alert.value, alert.last) = (annotations, *value, now);
            if alert.state == State::Pending && now.since(alert.since) >= rule.pending {
                (alert.state, alert.fired) = (State::Firing, Some(now));
                // At once pending and firing is firing.
                changes.retain(|change| *change != (fingerprint, Change::Pending));
                changes.push((fingerprint, Change::Firing));
            }
        }
        self.end(rule.keep_firing, now, &mut changes);
        changes
    }

    /// Ends all that is there, because its rule is not there any more.
    pub fn close(&mut self, now: Time) -> Vec<(Fingerprint, Change)> {
        let mut changes = Vec::new();
        // What was found a moment ago is not found from here on.
        self.alerts.values_mut().for_each(|alert| alert.last = alert.last.min(Time(now.0 - 1)));
        self.end(Duration::ZERO, now, &mut changes);
        changes
    }

    fn end(&mut self, keep_firing: Duration, now: Time, changes: &mut Vec<(Fingerprint, Change)>) {
        self.alerts.retain(|fingerprint, alert| {
            let change = alert.unseen(keep_firing, now);
            changes.extend(change.map(|change| (*fingerprint, change)));
            !matches!(change, Some(Change::Dropped | Change::Forgotten))
        });
    }
}

impl Alert {
    /// What becomes of it when it was not found at `now`; nothing when it was.
    fn unseen(&mut self, keep_firing: Duration, now: Time) -> Option<Change> {
        match self.state {
            State::Resolved => {
                let gone = now.since(self.resolved.unwrap_or(now)) >= REMEMBERED;
                gone.then_some(Change::Forgotten)
            }
            _ if self.last >= now => None,
            State::Pending => Some(Change::Dropped),
            State::Firing if now.since(self.last) < keep_firing => None,
            State::Firing => {
                (self.state, self.resolved) = (State::Resolved, Some(now));
                Some(Change::Resolved)
            }
        }
    }
}
