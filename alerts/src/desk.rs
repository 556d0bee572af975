//! Who is told what, and when: groups, what is held back, and whether anything is worth a message.

use crate::{
    labels::{Fingerprint, Labels},
    route::{Limits, Routing},
    signals::Time,
    silence::Silence,
    state::{Alert, State},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Which group, of which route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupKey {
    /// Who is told.
    pub receiver: String,
    /// By which route.
    pub route: String,
    /// The labels that its alerts share.
    pub labels: Labels,
}

/// What a receiver was last told of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// When.
    pub at: Time,
    /// What fired then.
    pub firing: BTreeSet<Fingerprint>,
    /// What was said to be over then.
    pub resolved: BTreeSet<Fingerprint>,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// When it is looked at next.
    pub next: Time,
    /// What its receiver was last told.
    pub sent: Option<Sent>,
}

/// Why there is a message, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nothing was said of the group yet.
    First,
    /// Something fires that was not told of.
    NewAlerts,
    /// Something that was told of is over.
    Resolved,
    /// It was long ago.
    Repeat,
}

/// Whether there is a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// There is, because of this.
    Tell(Reason),
    /// There is not.
    Skip,
}

/// Why nobody is told of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "by", content = "which", rename_all = "snake_case")]
pub enum Suppression {
    /// A silence holds it back.
    Silenced(String),
    /// Another alert does.
    Inhibited(Fingerprint),
    /// Somebody has said that they know.
    Acknowledged,
    /// It was told of not long ago, and may be told of again from then on.
    Cooldown(Time),
}

/// An alert as it stands, with what is known of it beside.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// Its number.
    pub fingerprint: Fingerprint,
    /// The alert.
    pub alert: &'a Alert,
    /// Whether somebody has said that they know.
    pub acknowledged: bool,
    /// For how long nobody is told of it anew after it was told of.
    pub cooldown: Duration,
    /// When it was last told of as firing, before it last resolved.
    pub told: Option<Time>,
}

/// A message that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// About which group, and to whom.
    pub group: GroupKey,
    /// Why.
    pub reason: Reason,
    /// What fires.
    pub firing: BTreeSet<Fingerprint>,
    /// What is over since the last message.
    pub resolved: BTreeSet<Fingerprint>,
}

/// The groups, and who holds what back.
#[derive(Debug, Clone, Default)]
pub struct Desk {
    /// The tree.
    pub routing: Routing,
    /// The silences.
    pub silences: Vec<Silence>,
    /// The groups that there are.
    pub groups: BTreeMap<GroupKey, Group>,
}

/// Whether a receiver is told, of what was last said and what is so now.
#[must_use]
pub fn decide(
    sent: Option<&Sent>,
    firing: &BTreeSet<Fingerprint>,
    over: &BTreeSet<Fingerprint>,
    now: Time,
    repeat: Duration,
) -> Decision {
    match sent {
        None if firing.is_empty() => Decision::Skip,
        None => Decision::Tell(Reason::First),
        Some(sent) if !firing.is_subset(&sent.firing) => Decision::Tell(Reason::NewAlerts),
        Some(sent) if over.iter().any(|gone| sent.firing.contains(gone)) => Decision::Tell(Reason::Resolved),
        Some(sent) if !firing.is_empty() && now.since(sent.at) >= repeat => Decision::Tell(Reason::Repeat),
        Some(_) => Decision::Skip,
    }
}

impl Desk {
    /// What holds an alert back, if anything does. What is over is held back by nothing: whoever heard that it began is
    /// to hear that it ended.
    #[must_use]
    pub fn suppression(
        &self,
        standing: &Standing<'_>,
        all: &[Standing<'_>],
        now: Time,
    ) -> Option<Suppression> {
        if standing.alert.state != State::Firing {
            return None;
        }
        let labels = &standing.alert.labels;
        let firing = || {
            let firing = all.iter().filter(|other| other.alert.state == State::Firing);
            firing.map(|other| (other.fingerprint, &other.alert.labels))
        };
        let mut inhibitors = self.routing.inhibit.iter();
        if let Some(source) =
            inhibitors.find_map(|rule| rule.inhibitor((standing.fingerprint, labels), firing()))
        {
            return Some(Suppression::Inhibited(source));
        }
        if let Some(silence) = self.silences.iter().find(|silence| silence.mutes(labels, now)) {
            return Some(Suppression::Silenced(silence.id.clone()));
        }
        if standing.acknowledged {
            return Some(Suppression::Acknowledged);
        }
        let until = standing.told.map(|told| told.plus(standing.cooldown));
        // One that was told of since it fired is not new.
        let is_new = standing.told.is_some_and(|told| standing.alert.fired.is_some_and(|fired| told < fired));
        until.filter(|until| is_new && now < *until).map(Suppression::Cooldown)
    }

    /// The messages that are due at `now`, and what holds back each alert that nobody is told of. Each group is looked at
    /// when its time has come, and its next time is set; what is sent is noted with [`Self::sent`].
    pub fn look(
        &mut self,
        all: &[Standing<'_>],
        now: Time,
    ) -> (Vec<Due>, BTreeMap<Fingerprint, Suppression>) {
        let mut held = BTreeMap::new();
        let mut members: BTreeMap<GroupKey, Members> = BTreeMap::new();
        for standing in all.iter().filter(|standing| standing.alert.state != State::Pending) {
            let suppression = self.suppression(standing, all, now);
            for way in self.routing.ways(&standing.alert.labels) {
                let key = GroupKey { receiver: way.receiver, route: way.route, labels: way.group };
                let group = members.entry(key).or_insert_with(|| Members::new(way.limits));
                match (standing.alert.state, &suppression) {
                    (State::Resolved, _) => group.over.insert(standing.fingerprint),
                    (_, None) => group.firing.insert(standing.fingerprint),
                    // What is held back has not ended: it is only not told of.
                    (_, Some(_)) => group.held.insert(standing.fingerprint),
                };
            }
            held.extend(suppression.map(|suppression| (standing.fingerprint, suppression)));
        }
        self.groups.retain(|key, _| members.contains_key(key));
        let mut due = Vec::new();
        for (key, members) in members {
            let limits = members.limits;
            let group = match self.groups.get_mut(&key) {
                Some(group) => group,
                // A group of what is over, or only of what is held back, has nothing to wait for.
                None if members.firing.is_empty() => continue,
                None => {
                    let group = Group { next: now.plus(limits.wait), sent: None };
                    self.groups.entry(key.clone()).or_insert(group)
                }
            };
            if now < group.next {
                continue;
            }
            let decision = decide(group.sent.as_ref(), &members.firing, &members.over, now, limits.repeat);
            if let Decision::Tell(reason) = decision {
                group.next = now.plus(limits.interval);
                let told = group.sent.as_ref().map(|sent| &sent.firing);
                let resolved =
                    members.over.iter().filter(|gone| told.is_some_and(|told| told.contains(*gone)));
                let resolved = resolved.copied().collect();
                due.push(Due { group: key, reason, firing: members.firing, resolved });
            }
        }
        (due, held)
    }

    /// Notes that a message is on its way.
    pub fn sent(&mut self, due: &Due, now: Time) {
        if let Some(group) = self.groups.get_mut(&due.group) {
            group.sent = Some(Sent { at: now, firing: due.firing.clone(), resolved: due.resolved.clone() });
        }
    }
}

struct Members {
    limits: Limits,
    firing: BTreeSet<Fingerprint>,
    over: BTreeSet<Fingerprint>,
    held: BTreeSet<Fingerprint>,
}

impl Members {
    fn new(limits: Limits) -> Self {
        Self { limits, firing: BTreeSet::new(), over: BTreeSet::new(), held: BTreeSet::new() }
    }
}
