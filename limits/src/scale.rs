//! What a limit comes to here and now: by the caller's tier, the hour of the day, and the load.
//!
//! The hour is that of a time zone, so a day of 23 or 25 hours is what its inhabitants live through. It is looked up once
//! for a quarter of an hour: no zone of today changes within one.

use crate::{
    action::Importance,
    settings::{Hours, Settings},
};
use jiff::{Timestamp, tz::TimeZone};
use serde::Deserialize;

/// What a caller has paid for, or is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Everybody.
    #[default]
    Free,
    /// Whom the configuration names.
    Premium,
    /// Owners and admins, and whom the configuration names.
    Admin,
}

impl Tier {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Premium => "premium",
            Self::Admin => "admin",
        }
    }
}

/// How busy the machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// As usual.
    #[default]
    Calm,
    /// Above a threshold of warning.
    Warning,
    /// Above a critical threshold.
    Critical,
}

impl Level {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Seconds for which an hour is looked up once.
const QUARTER: i64 = 900;

/// The factors of now.
#[derive(Debug, Clone)]
pub struct Scale {
    zone: TimeZone,
    hours: Vec<Hours>,
    tiers: [f64; 3],
    loads: [f64; 3],
    level: Level,
    quarter: i64,
    hour: f64,
}

impl Scale {
    /// As configured; a zone that is not known is UTC, which [`Settings::validate`] has complained of before.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let tiers = &settings.tiers;
        let mut scale = Self {
            zone: TimeZone::get(&settings.time_zone).unwrap_or(TimeZone::UTC),
            hours: settings.hours.clone(),
            tiers: [tiers.free, tiers.premium, tiers.admin],
            loads: [1.0, settings.load.warning_factor, settings.load.critical_factor],
            level: Level::Calm,
            quarter: i64::MIN,
            hour: 1.0,
        };
        scale.at(0);
        scale
    }

    /// How busy it is from now on.
    pub fn load(&mut self, level: Level) {
        self.level = level;
    }

    /// How busy it is said to be.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// It is this second since 1970, UTC.
    pub fn at(&mut self, second: i64) {
        let quarter = second.div_euclid(QUARTER);
        if quarter != self.quarter {
            self.quarter = quarter;
            self.hour = self.hour_of(second);
        }
    }

    /// What the hour makes of a limit.
    #[must_use]
    pub const fn hour(&self) -> f64 {
        self.hour
    }

    fn hour_of(&self, second: i64) -> f64 {
        let hour = Timestamp::from_second(second).map(|at| self.zone.to_datetime(at).hour()).unwrap_or(0);
        self.hours.iter().find(|hours| hours.has(hour)).map_or(1.0, |hours| hours.factor)
    }

    /// What a limit of `most` comes to.
    #[must_use]
    pub fn of(&self, most: u64, tier: Tier, importance: Importance) -> u64 {
        if most == 0 {
            return 0;
        }
        let load = self.loads[self.level as usize];
        let moved = match importance {
            Importance::Low => self.hour * load * load,
            Importance::Normal => self.hour * load,
            Importance::High => self.hour.max(1.0) * load.max(1.0),
        };
        let most = most as f64 * self.tiers[tier as usize] * moved;
        // What should be a whole number and is a hair below it is that number; nobody is shut out altogether.
        ((most + 1e-6) as u64).max(1)
    }
}
