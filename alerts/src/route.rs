//! Who is told of what: a tree of routes, and which alerts are told of together.

use crate::{
    duration::Every,
    fault::Fault,
    inhibit::Inhibition,
    labels::Labels,
    matcher::{Matcher, is_label_name},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Between two messages about a group at least: a shorter one is a storm.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(5);
/// Groups by all labels.
const ALL: &str = "...";
/// Routes of a tree, and how deep.
const MOST: (usize, usize) = (500, 10);

/// A node of the tree. What it leaves out it has from the node above.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Route {
    /// Who is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver: Option<String>,
    /// Which alerts it is for; all of these must take them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matchers: Vec<Matcher>,
    /// Alerts with the same values of these labels are told of together; `...` are all labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<Vec<String>>,
    /// How long a new group waits for more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_wait: Option<Every>,
    /// Between two messages about a group that changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_interval: Option<Every>,
    /// Between two messages about a group that did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_interval: Option<Every>,
    /// Whether alerts that it takes go on to the routes beside it.
    #[serde(rename = "continue", skip_serializing_if = "std::ops::Not::not")]
    pub go_on: bool,
    /// More particular routes; the first that takes an alert has it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
}

/// The tree, and what holds what back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Routing {
    /// The root; it takes everything.
    pub route: Route,
    /// What holds what back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inhibit: Vec<Inhibition>,
}

/// When a group is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a new one waits.
    pub wait: Duration,
    /// Between two messages when it changed.
    pub interval: Duration,
    /// Between two messages when it did not.
    pub repeat: Duration,
}

/// One way of an alert through the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Who is told.
    pub receiver: String,
    /// Which route, by the numbers of the nodes on the way there.
    pub route: String,
    /// The labels of its group.
    pub group: Labels,
    /// When its group is told of.
    pub limits: Limits,
}

impl Limits {
    /// Alertmanager's are 30 s, 5 min and 4 h; here groups wait shorter, because what is critical is to be known within
    /// seconds, and end sooner.
    pub const DEFAULT: Self = Self {
        wait: Duration::from_secs(5),
        interval: Duration::from_secs(60),
        repeat: Duration::from_secs(4 * 3_600),
    };

    fn of(route: &Route, above: Self) -> Self {
        let or = |own: Option<Every>, above| own.map_or(above, |own| own.0);
        Self {
            wait: or(route.group_wait, above.wait),
            interval: or(route.group_interval, above.interval),
            repeat: or(route.repeat_interval, above.repeat),
        }
    }
}

impl Routing {
    /// Everything to one receiver: what is critical or an error at once, and by component, so that none waits for another;
    /// all else after five seconds; and of what only follows from something worse nothing.
    #[must_use]
    pub fn to(receiver: &str) -> Self {
        let is = |text: &str| text.parse::<Matcher>().into_iter().collect::<Vec<_>>();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let urgent = Route {
            matchers: is("severity=~\"critical|error\""),
            group_by: Some(names(&["alertname", "component"])),
            group_wait: Some(Every(Duration::ZERO)),
            group_interval: Some(Every(SHORTEST_INTERVAL)),
            ..Route::default()
        };
        let route = Route {
            receiver: Some(receiver.to_owned()),
            group_by: Some(names(&["alertname"])),
            routes: vec![urgent],
            ..Route::default()
        };
        let same = Inhibition {
            source: is("severity=critical"),
            target: is("severity=~\"info|warning\""),
            equal: names(&["alertname", "model"]),
        };
        // The same thing, further gone.
        let worse = |source: &str, target: &str, equal: &str| Inhibition {
            source: is(&format!("alertname={source}")),
            target: is(&format!("alertname={target}")),
            equal: names(&[equal]),
        };
        let further = [
            worse("DiskFull", "DiskFilling", "instance"),
            worse("BudgetSpent", "BudgetNearlySpent", "budget"),
            worse("CertificateExpiresSoon", "CertificateExpires", "section"),
        ];
        let engine = Inhibition {
            source: is("alertname=EngineDown"),
            target: is("alertname=~\"EngineHung|EngineKvCacheFull|SlowFirstToken\""),
            equal: names(&["engine"]),
        };
        Self { route, inhibit: [same, engine].into_iter().chain(further).collect() }
    }

    /// Whether the tree can be followed, with these receivers.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self, receivers: &[&str]) -> Result<(), Fault> {
        if self.route.receiver.is_none() {
            return Err(Fault::invalid(
                "route",
                "must name a receiver: it is for whatever no other route takes",
            ));
        }
        if !self.route.matchers.is_empty() || self.route.go_on {
            return Err(Fault::invalid(
                "route",
                "must take everything: it has no matchers and does not continue",
            ));
        }
        if self.inhibit.len() > MOST.0 {
            return Err(Fault::invalid("inhibit", "must be at most 500"));
        }
        let mut count = 0;
        self.route.check(receivers, Limits::DEFAULT, 1, &mut count)
    }

    /// The ways of an alert with these labels; at least one.
    #[must_use]
    pub fn ways(&self, labels: &Labels) -> Vec<Way> {
        let mut ways = Vec::new();
        let above = Above { receiver: "", group_by: &[], limits: Limits::DEFAULT, route: "0".to_owned() };
        self.route.follow(labels, &above, &mut ways);
        // A way that names nobody leads nowhere: nobody need be told.
        ways.retain(|way| !way.receiver.is_empty());
        ways
    }
}

struct Above<'a> {
    receiver: &'a str,
    group_by: &'a [String],
    limits: Limits,
    route: String,
}

impl Route {
    fn check(&self, receivers: &[&str], above: Limits, depth: usize, count: &mut usize) -> Result<(), Fault> {
        *count += 1;
        if *count > MOST.0 || depth > MOST.1 {
            return Err(Fault::invalid("route", "must have at most 500 routes, ten deep"));
        }
        if let Some(receiver) = self.receiver.as_deref().filter(|receiver| !receivers.contains(receiver)) {
            return Err(Fault::invalid(
                "receiver",
                format!("must be one that is configured; `{receiver}` is not"),
            ));
        }
        let mut names = self.group_by.iter().flatten();
        if let Some(name) = names.find(|name| name.as_str() != ALL && !is_label_name(name)) {
            return Err(Fault::invalid("group_by", format!("must be names of labels; `{name}` is none")));
        }
        let limits = Limits::of(self, above);
        if limits.interval < SHORTEST_INTERVAL {
            return Err(Fault::invalid("group_interval", "must be at least 5s"));
        }
        if limits.repeat < limits.interval {
            return Err(Fault::invalid("repeat_interval", "must not be below group_interval"));
        }
        self.routes.iter().try_for_each(|route| route.check(receivers, limits, depth + 1, count))
    }

    /// Whether it, or one below it, took the alert.
    fn follow(&self, labels: &Labels, above: &Above<'_>, ways: &mut Vec<Way>) -> bool {
        if !labels.matched_by(&self.matchers) {
            return false;
        }
        let here = Above {
            receiver: self.receiver.as_deref().unwrap_or(above.receiver),
            group_by: self.group_by.as_deref().unwrap_or(above.group_by),
            limits: Limits::of(self, above.limits),
            route: above.route.clone(),
        };
        let mut taken = false;
        for (number, route) in self.routes.iter().enumerate() {
            let below = Above { route: format!("{}.{number}", here.route), ..here };
            if route.follow(labels, &below, ways) {
                taken = true;
                if !route.go_on {
                    break;
                }
            }
        }
        if !taken {
            let group = match here.group_by.iter().any(|name| name == ALL) {
                true => labels.clone(),
                false => labels.only(here.group_by),
            };
            ways.push(Way {
                receiver: here.receiver.to_owned(),
                route: here.route,
                group,
                limits: here.limits,
            });
        }
        true
    }
}
