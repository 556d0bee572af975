//! What the evaluator knows: rules and their alerts, groups and what they were told. All of it in memory, so that it goes
//! on while the database is away; what of it is to be written is noted.

use super::{
    kept::{Event, EventKind, Kept, KeptRule, at},
    letter::Letter,
    past::LONGEST,
};
use alerts::{
    Alert, Change, Desk, Due, Fingerprint, Group, GroupKey, Measured, Rule, Standing, State, Suppression,
    Track, Window, evaluate, long_windows,
};
use policy::Time;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use uuid::Uuid;

/// Of what happened so much is remembered until it can be written.
const REMEMBERED: usize = 10_000;

/// What is known of an alert beside what its rule says.
#[derive(Debug, Clone, Default)]
struct Beside {
    rule: Uuid,
    held: Option<Suppression>,
    told: Option<Time>,
    acknowledged: bool,
}

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The version of what people wrote that this is of.
    pub(super) version: i64,
    /// Silences, routes and groups.
    pub(super) desk: Desk,
    rules: BTreeMap<Uuid, Rule>,
    /// The windows of each rule that begin before what is remembered.
    long: BTreeMap<Uuid, BTreeSet<Window>>,
    tracks: BTreeMap<Uuid, Track>,
    beside: BTreeMap<Fingerprint, Beside>,
    /// Alerts that are not as they were written.
    pub(super) unsaved: BTreeSet<Fingerprint>,
    /// Groups as they were written.
    pub(super) saved_groups: BTreeMap<GroupKey, Group>,
    /// What happened and is not written.
    pub(super) events: Vec<Event>,
}

impl Known {
    /// Takes over rules; those of which this version cannot make sense are left out.
    pub(super) fn set_rules(&mut self, rules: Vec<KeptRule>) {
        self.rules = rules
            .into_iter()
            .filter(|rule| rule.enabled)
            .filter_map(|kept| {
                let rule = Rule::try_from(&kept.text);
                let rule = rule.inspect_err(
                    |fault| tracing::warn!(name = kept.text.alert, %fault, "a rule is left out"),
                );
                Some((kept.id, Rule { id: kept.id.to_string(), ..rule.ok()? }))
            })
            .collect();
        let long = self.rules.iter().map(|(id, rule)| (*id, long_windows(rule, LONGEST)));
        self.long = long.filter(|(_, windows)| !windows.is_empty()).collect();
    }

    /// What has to be read for the rules beside what is remembered.
    pub(super) fn windows(&self) -> BTreeSet<Window> {
        self.long.values().flatten().cloned().collect()
    }

    /// Takes over alerts as they were written. Nobody looked since, so what fires counts as seen now.
    pub(super) fn set_alerts(&mut self, all: Vec<Kept>, now: Time) {
        for kept in all {
            let mut alert = kept.alert;
            if alert.state == State::Firing {
                alert.last = at(now);
            }
            self.tracks.entry(kept.rule).or_default().alerts.insert(kept.fingerprint, alert);
            let beside = Beside {
                rule: kept.rule,
                held: kept.held,
                told: kept.told,
                acknowledged: kept.acknowledgement.is_some(),
            };
            self.beside.insert(kept.fingerprint, beside);
        }
    }

    /// Takes over who knows of what.
    pub(super) fn set_acknowledged(&mut self, all: &[Kept]) {
        for kept in all {
            if let Some(beside) = self.beside.get_mut(&kept.fingerprint) {
                beside.acknowledged = kept.acknowledgement.is_some();
            }
        }
    }

    /// An alert as it is to be written; nothing when it is to be forgotten.
    pub(super) fn kept(&self, fingerprint: Fingerprint) -> Option<Kept> {
        let beside = self.beside.get(&fingerprint)?;
        let alert = self.tracks.get(&beside.rule)?.alerts.get(&fingerprint)?.clone();
        let Beside { rule, held, told, .. } = beside.clone();
        Some(Kept { fingerprint, rule, alert, held, told, acknowledgement: None })
    }

    /// Looks at everything once. Returns the letters that are due.
    pub(super) fn round(&mut self, measured: &Measured<'_>, now: Time, external_url: &str) -> Vec<Letter> {
        self.evaluate(measured, now);
        let (due, mut held) = {
            let standings: Vec<Standing<'_>> = standings(&self.rules, &self.tracks, &self.beside);
            self.desk.look(&standings, at(now))
        };
        for (fingerprint, beside) in &mut self.beside {
            let now_held = held.remove(fingerprint);
            if beside.held == now_held {
                continue;
            }
            self.unsaved.insert(*fingerprint);
            if let Some(suppression) = &now_held
                && let Some(alert) = find(&self.tracks, beside.rule, *fingerprint)
            {
                let detail = said(suppression);
                self.events.push(Event::of(EventKind::Suppressed, *fingerprint, &alert.labels, now, detail));
            }
            beside.held = now_held;
        }
        let excess = self.events.len().saturating_sub(REMEMBERED);
        self.events.drain(..excess);
        due.iter().map(|due| self.tell(due, now, external_url)).collect()
    }

    fn evaluate(&mut self, measured: &Measured<'_>, now: Time) {
        for (id, rule) in &self.rules {
            // What is not known yet says neither that something is wrong nor that it is not.
            if self.long.get(id).is_some_and(|windows| !measured.covers(windows)) {
                continue;
            }
            let found = evaluate(&rule.expression, measured, at(now));
            let track = self.tracks.entry(*id).or_default();
            let changes = track.step(rule, &found, at(now));
            note(&mut self.beside, &mut self.unsaved, &mut self.events, (*id, track), changes, now);
        }
        for (id, track) in self.tracks.iter_mut().filter(|(id, _)| !self.rules.contains_key(*id)) {
            let changes = track.close(at(now));
            note(&mut self.beside, &mut self.unsaved, &mut self.events, (*id, track), changes, now);
        }
        self.tracks.retain(|id, track| self.rules.contains_key(id) || !track.alerts.is_empty());
    }

    fn tell(&mut self, due: &Due, now: Time, external_url: &str) -> Letter {
        self.desk.sent(due, at(now));
        for fingerprint in &due.firing {
            if let Some(beside) = self.beside.get_mut(fingerprint) {
                beside.told = Some(now);
                self.unsaved.insert(*fingerprint);
            }
        }
        let of =
            |fingerprint: Fingerprint| find(&self.tracks, self.beside.get(&fingerprint)?.rule, fingerprint);
        Letter::about(due, of, external_url)
    }
}

fn find(tracks: &BTreeMap<Uuid, Track>, rule: Uuid, fingerprint: Fingerprint) -> Option<&Alert> {
    tracks.get(&rule)?.alerts.get(&fingerprint)
}

fn standings<'a>(
    rules: &BTreeMap<Uuid, Rule>,
    tracks: &'a BTreeMap<Uuid, Track>,
    beside: &BTreeMap<Fingerprint, Beside>,
) -> Vec<Standing<'a>> {
    let all = tracks
        .iter()
        .flat_map(|(id, track)| track.alerts.iter().map(move |(number, alert)| (id, number, alert)));
    let all = all.map(|(id, fingerprint, alert)| {
        let beside = beside.get(fingerprint);
        Standing {
            fingerprint: *fingerprint,
            alert,
            acknowledged: beside.is_some_and(|beside| beside.acknowledged),
            cooldown: rules.get(id).map_or(Duration::ZERO, |rule| rule.cooldown),
            told: beside.and_then(|beside| beside.told).map(at),
        }
    });
    all.collect()
}

/// Notes what changed of a rule's alerts.
fn note(
    beside: &mut BTreeMap<Fingerprint, Beside>,
    unsaved: &mut BTreeSet<Fingerprint>,
    events: &mut Vec<Event>,
    (rule, track): (Uuid, &Track),
    changes: Vec<(Fingerprint, Change)>,
    now: Time,
) {
    for (fingerprint, change) in changes {
        unsaved.insert(fingerprint);
        let kind = match change {
            Change::Dropped | Change::Forgotten => {
                beside.remove(&fingerprint);
                continue;
            }
            Change::Pending => None,
            Change::Firing => Some(EventKind::Firing),
            Change::Resolved => Some(EventKind::Resolved),
        };
        let known = beside.entry(fingerprint).or_default();
        known.rule = rule;
        // Whoever knew of it knew of the time before.
        known.acknowledged &= change == Change::Resolved;
        if let (Some(kind), Some(alert)) = (kind, track.alerts.get(&fingerprint)) {
            let detail = alert.annotations.get("summary").to_owned();
            events.push(Event::of(kind, fingerprint, &alert.labels, now, detail));
        }
    }
}

/// What holds an alert back, for its history.
fn said(suppression: &Suppression) -> String {
    match suppression {
        Suppression::Silenced(id) => format!("silence {id}"),
        Suppression::Inhibited(by) => format!("alert {by} fires"),
        Suppression::Acknowledged => "acknowledged".to_owned(),
        Suppression::Cooldown(until) => {
            let until = jiff::Timestamp::from_microsecond(until.0).map(|until| until.to_string());
            format!("cooldown until {}", until.unwrap_or_default())
        }
    }
}
