//! One status of many dependencies.

use crate::Status;
use std::collections::BTreeMap;

/// What is judged of one dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dependency<'a> {
    /// Those of one group stand in for each other: replicas of a service, engines.
    pub group: &'a str,
    /// What people call it.
    pub name: &'a str,
    /// Whether nothing works while all of its group are down.
    pub critical: bool,
    /// How it is.
    pub status: Status,
    /// Why it is not well.
    pub reason: &'a str,
}

/// How all of it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overall {
    /// The worst of what counts.
    pub status: Status,
    /// Why it is not better, the worst first.
    pub reasons: Vec<String>,
}

/// How all of it is, when its parts are like this.
///
/// Nothing works while every member of a critical group is unhealthy. While some of a group still work, or when it is not a
/// critical one, its unhealthy members only make the whole degraded. A critical group of which nothing is known at all is
/// critical, one of which something is missing degraded. What is degraded or critical itself counts as that.
#[must_use]
pub fn overall(dependencies: &[Dependency<'_>]) -> Overall {
    let mut groups: BTreeMap<&str, Vec<&Dependency<'_>>> = BTreeMap::new();
    for dependency in dependencies {
        groups.entry(dependency.group).or_default().push(dependency);
    }
    let mut reasons: Vec<(Status, String)> = Vec::new();
    for members in groups.values() {
        let rest = Rest::of(members);
        let counted = members.iter().map(|member| (weigh(member, rest), *member));
        let unwell = counted.filter(|(status, _)| *status > Status::Healthy);
        reasons.extend(unwell.map(|(status, member)| (status, words(member))));
    }
    reasons.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
    Overall {
        status: reasons.first().map_or(Status::Healthy, |(status, _)| *status),
        reasons: reasons.into_iter().map(|(_, reason)| reason).collect(),
    }
}

/// What a group can still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Some of it works.
    Works,
    /// Nothing of it is known to work.
    Silent,
    /// Nothing of it works.
    Gone,
}

impl Rest {
    fn of(members: &[&Dependency<'_>]) -> Self {
        let works = |status| matches!(status, Status::Healthy | Status::Degraded | Status::Critical);
        if members.iter().any(|member| works(member.status)) {
            Self::Works
        } else if members.iter().any(|member| member.status == Status::Unknown) {
            Self::Silent
        } else {
            Self::Gone
        }
    }
}

/// What a member counts for, when its group can still do so much.
fn weigh(member: &Dependency<'_>, rest: Rest) -> Status {
    match member.status {
        Status::Unhealthy if member.critical && rest == Rest::Gone => Status::Unhealthy,
        Status::Unknown if member.critical && rest == Rest::Silent => Status::Critical,
        Status::Unknown if !member.critical => Status::Healthy,
        Status::Unhealthy | Status::Unknown => Status::Degraded,
        status => status,
    }
}

fn words(member: &Dependency<'_>) -> String {
    match member.reason {
        "" => member.name.to_owned(),
        reason => format!("{}: {reason}", member.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Status::{Critical, Degraded, Healthy, Unhealthy, Unknown};

    fn of(critical: bool, statuses: &[Status]) -> Status {
        let one = |status: &Status| Dependency {
            group: "group",
            name: "one",
            critical,
            status: *status,
            reason: "so",
        };
        overall(&statuses.iter().map(one).collect::<Vec<_>>()).status
    }

    #[test]
    fn what_is_critical_and_gone_everywhere_stops_everything() {
        assert_eq!(of(true, &[]), Healthy);
        assert_eq!(of(true, &[Healthy, Healthy]), Healthy);
        assert_eq!(of(true, &[Unhealthy, Unhealthy]), Unhealthy);
        assert_eq!(of(true, &[Unhealthy, Healthy]), Degraded, "another one serves");
        assert_eq!(of(true, &[Unhealthy, Degraded]), Degraded);
        assert_eq!(of(false, &[Unhealthy, Unhealthy]), Degraded, "it can be done without");
        assert_eq!(of(false, &[Critical]), Critical);
    }

    #[test]
    fn silence_counts_where_it_matters() {
        assert_eq!(of(true, &[Unknown, Unknown]), Critical, "nobody of them says anything");
        assert_eq!(of(true, &[Unknown, Healthy]), Degraded);
        assert_eq!(of(true, &[Unknown, Degraded]), Degraded);
        assert_eq!(of(true, &[Unknown, Unhealthy]), Critical);
        assert_eq!(of(false, &[Unknown]), Healthy);
    }

    #[test]
    fn reasons_are_named_the_worst_first() {
        let told = overall(&[
            Dependency { group: "r", name: "redis", critical: false, status: Unhealthy, reason: "is away" },
            Dependency { group: "c", name: "cpu of a", critical: false, status: Critical, reason: "97 %" },
            Dependency { group: "d", name: "database", critical: true, status: Healthy, reason: "" },
        ]);
        assert_eq!(told.status, Critical);
        assert_eq!(told.reasons, ["cpu of a: 97 %", "redis: is away"]);
    }
}
