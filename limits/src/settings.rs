//! What configuration says of limits.

use crate::{
    action::{self, Action, INFERENCE, LOGIN, MANAGEMENT},
    at_once::AtOnce,
    route,
    scale::Tier,
    table,
};
use jiff::tz::TimeZone;
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

/// Settings under `limits`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether anything is limited at all.
    pub enabled: bool,
    /// The zone whose hours count, such as `Europe/Berlin`.
    pub time_zone: String,
    /// What hours make of limits; the first that has an hour counts.
    pub hours: Vec<Hours>,
    /// What tiers make of limits, and who is in which.
    pub tiers: Tiers,
    /// What load makes of limits.
    pub load: Load,
    /// Actions by name, in the place of those that there are anyway or beside them.
    pub actions: BTreeMap<String, Action>,
    /// Actions by method (`/package.Service/Method`) or route (`/v1/embeddings`, `POST /v1/files`); `*` at the end stands
    /// for anything. The longest that fits counts.
    pub routes: BTreeMap<String, String>,
    /// How many calls of the management API may be under way in this process.
    pub at_once: AtOnce,
    /// API keys that nothing limits, beside the one of the first run.
    pub unlimited_keys: Vec<Uuid>,
    /// How replicas share through Redis.
    pub sharing: Sharing,
}

/// Hours of the day and what they make of limits.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// From this hour on, 0 to 23.
    pub from: i8,
    /// Up to this hour and not in it, 0 to 24; at or below `from`: of the next day.
    pub to: i8,
    /// What a limit is multiplied by.
    pub factor: f64,
}

impl Hours {
    pub(crate) const fn has(&self, hour: i8) -> bool {
        if self.from < self.to {
            self.from <= hour && hour < self.to
        } else {
            hour >= self.from || hour < self.to
        }
    }
}

/// What tiers make of limits, and who is in which. Owners and admins are of tier admin; the best that fits counts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tiers {
    /// Factor of everybody.
    pub free: f64,
    /// Factor of premium.
    pub premium: f64,
    /// Factor of admin.
    pub admin: f64,
    /// Users by id.
    pub users: BTreeMap<Uuid, Tier>,
    /// API keys by id.
    pub keys: BTreeMap<Uuid, Tier>,
}

impl Default for Tiers {
    fn default() -> Self {
        Self { free: 1.0, premium: 2.0, admin: 10.0, users: BTreeMap::new(), keys: BTreeMap::new() }
    }
}

impl Tiers {
    /// The tier of a user with a key; `admin` says whether their role makes them one.
    #[must_use]
    pub fn of(&self, user: Option<Uuid>, key: Option<Uuid>, admin: bool) -> Tier {
        let by_role = if admin { Tier::Admin } else { Tier::Free };
        let user = user.and_then(|user| self.users.get(&user)).copied().unwrap_or_default();
        let key = key.and_then(|key| self.keys.get(&key)).copied().unwrap_or_default();
        by_role.max(user).max(key)
    }
}

/// Where warning and critical begin.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Above this: warning.
    pub warning: f64,
    /// Above this: critical.
    pub critical: f64,
}

/// What load makes of limits. What is unknown counts as calm.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    /// Factor above a threshold of warning.
    pub warning_factor: f64,
    /// Factor above a critical threshold.
    pub critical_factor: f64,
    /// Where they begin.
    pub thresholds: Thresholds,
}

/// Thresholds of what is measured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// Busy processors, in percent.
    pub cpu: Threshold,
    /// Used memory, in percent.
    pub memory: Threshold,
    /// Used part of the disk that is fullest, in percent. It makes no limit smaller.
    pub disk: Threshold,
    /// Answers of management calls that failed by our fault, in percent of those of the last minute.
    pub errors: Threshold,
    /// Mean time of management calls of the last minute, in seconds.
    pub response: Threshold,
}

const fn threshold(warning: f64, critical: f64) -> Threshold {
    Threshold { warning, critical }
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            cpu: threshold(70.0, 85.0),
            memory: threshold(75.0, 90.0),
            disk: threshold(80.0, 95.0),
            errors: threshold(5.0, 10.0),
            response: threshold(2.0, 5.0),
        }
    }
}

impl Default for Load {
    fn default() -> Self {
        Self { warning_factor: 0.75, critical_factor: 0.5, thresholds: Thresholds::default() }
    }
}

/// How replicas share through Redis.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sharing {
    /// Begins the names of what is kept in Redis; installations that share a Redis differ in it.
    pub prefix: String,
    /// Part of a limit that a replica may give before Redis has heard of it, 0 to 1.
    pub lease: f64,
    /// The smallest such part, in calls.
    pub least: u64,
}

impl Default for Sharing {
    fn default() -> Self {
        Self { prefix: "tollgate:limits".to_owned(), lease: 0.2, least: 2 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            time_zone: "UTC".to_owned(),
            hours: vec![Hours { from: 9, to: 18, factor: 0.8 }, Hours { from: 23, to: 6, factor: 1.5 }],
            tiers: Tiers::default(),
            load: Load::default(),
            actions: BTreeMap::new(),
            routes: BTreeMap::new(),
            at_once: AtOnce::default(),
            unlimited_keys: Vec::new(),
            sharing: Sharing::default(),
        }
    }
}

impl Settings {
    /// Nothing is limited.
    #[must_use]
    pub fn unlimited() -> Self {
        Self { enabled: false, ..Self::default() }
    }

    /// Every action: those that there are anyway, and what configuration says.
    #[must_use]
    pub fn all_actions(&self) -> BTreeMap<String, Action> {
        let mut all: BTreeMap<_, _> =
            action::defaults().map(|(name, action)| (name.to_owned(), action)).collect();
        all.extend(self.actions.clone());
        all
    }

    /// Every route: those that there are anyway, and what configuration says.
    #[must_use]
    pub fn all_routes(&self) -> BTreeMap<String, String> {
        let mut all: BTreeMap<_, _> =
            table::ROUTES.iter().map(|(route, action)| ((*route).to_owned(), (*action).to_owned())).collect();
        all.extend(self.routes.clone());
        all
    }

    /// Adds one sentence per fault.
    pub fn validate(&self, faults: &mut Vec<String>) {
        if TimeZone::get(&self.time_zone).is_err() {
            let zone = &self.time_zone;
            faults.push(format!("limits.time_zone: `{zone}` is not known; write a name like Europe/Berlin"));
        }
        if self.hours.iter().any(|hours| !(0..24).contains(&hours.from) || !(0..=24).contains(&hours.to)) {
            faults
                .push("limits.hours: `from` must be an hour from 0 to 23, and `to` one up to 24".to_owned());
        }
        let tiers = [self.tiers.free, self.tiers.premium, self.tiers.admin];
        let loads = [self.load.warning_factor, self.load.critical_factor];
        let factors = self.hours.iter().map(|hours| hours.factor).chain(tiers).chain(loads);
        if factors.into_iter().any(|factor| !(0.0..=1_000.0).contains(&factor)) {
            faults.push("limits: a factor must be from 0 to 1000".to_owned());
        }
        if !(0.0..=1.0).contains(&self.sharing.lease) || self.sharing.least == 0 {
            faults.push(
                "limits.sharing: `lease` must be from 0 to 1, and `least` must be at least 1".to_owned(),
            );
        }
        if self.sharing.prefix.is_empty() || self.sharing.prefix.contains(['{', '}']) {
            faults.push("limits.sharing.prefix: must not be empty, and must have no braces".to_owned());
        }
        self.at_once.validate(faults);
        self.validate_actions(faults);
    }

    fn validate_actions(&self, faults: &mut Vec<String>) {
        for (name, action) in &self.actions {
            let word = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
            if name.is_empty() || !name.chars().all(word) {
                faults.push(format!("limits.actions.{name}: a name has small letters, digits and `_`"));
            }
            for (at, limit) in action.limits.iter().enumerate() {
                if limit.measure().is_none() {
                    faults.push(format!(
                        "limits.actions.{name}.limits[{at}]: must have one of `requests`, `tokens` and `concurrent`"
                    ));
                }
                if !(Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&limit.window()) {
                    faults
                        .push(format!("limits.actions.{name}.limits[{at}].window: must be from 1s to 1day"));
                }
                if (limit.per.is_of_prompts() || limit.tokens.is_some()) && name != INFERENCE {
                    faults.push(format!(
                        "limits.actions.{name}.limits[{at}]: groups, models and tokens are counted of `inference` alone"
                    ));
                }
            }
        }
        let actions = self.all_actions();
        for (route, action) in self.routes.iter().filter(|(_, action)| !actions.contains_key(*action)) {
            faults.push(format!("limits.routes.\"{route}\": there is no action `{action}`"));
        }
        for route in self.routes.keys().filter(|route| !route::is_one(route)) {
            faults.push(format!("limits.routes.\"{route}\": must begin with `/`, or `POST /` and so on"));
        }
        debug_assert!(actions.contains_key(MANAGEMENT) && actions.contains_key(LOGIN));
    }
}
