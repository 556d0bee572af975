//! One look at everything: what was told, what is measured and what agents say, judged.

use super::{Component, Condition, FORGOTTEN, STALE, Told, age, calls};
use crate::{
    config,
    instances::Instance,
    signals::{
        MINUTE, Signals,
        system::{Reading, readings},
    },
};
use policy::Time;
use series::{Across, Matcher, Over, Query, Selector};
use shared::{db::Figures, health::report, limits::Thresholds};
use std::time::Duration;
use vitals::{Bounds, Kind, Overall, Status, overall};

/// How everything is.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    pub(crate) overall: Overall,
    /// The worst first.
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) at: Time,
}

/// Something that something depends on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) status: Status,
    pub(crate) reason: String,
    pub(crate) critical: bool,
    pub(crate) latency: Option<Duration>,
    pub(crate) last_success: Option<Time>,
    pub(crate) failures: u32,
    pub(crate) service: String,
    pub(crate) instance: String,
    pub(crate) seen: Time,
    pub(crate) used: Option<f64>,
    pub(crate) hit_share: Option<f64>,
    pub(crate) database: Option<Figures>,
}

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) told: Vec<Told>,
    pub(super) instances: Vec<Instance>,
}

/// What was measured of late.
#[derive(Debug, Default)]
pub(super) struct Measured {
    hit_share: Option<f64>,
    calls: calls::Calls,
    machines: Vec<Reading>,
}

impl Measured {
    /// As it is known now.
    pub(super) fn of(signals: &Signals, thresholds: &Thresholds, now: Time) -> Self {
        Self {
            hit_share: hit_share(signals, now),
            calls: calls::of_the_last_minute(signals, now),
            machines: readings(signals, thresholds, now),
        }
    }
}

/// What it looks like.
pub(super) fn picture(
    seen: &Seen,
    measured: &Measured,
    bounds: &config::Health,
    thresholds: &Thresholds,
    now: Time,
) -> Picture {
    let (hits, calls) = (measured.hit_share, &measured.calls);
    let mut all = Vec::new();
    for told in seen.told.iter().filter(|told| !is_over(told, now)) {
        let apis = told.apis.iter().map(|api| self::api(told, api, calls, thresholds, now));
        all.extend(apis);
        let own = told.components.iter().map(|component| self::component(told, component, bounds, now));
        all.extend(own.map(|own| match own.kind {
            Kind::Redis => Dependency { hit_share: hits, ..own },
            _ => own,
        }));
    }
    all.extend(measured.machines.iter().flat_map(|reading| machine(reading, bounds, now)));
    all.extend(seen.instances.iter().filter_map(|instance| gpu(instance, now)));
    all.sort_by(|one, other| {
        let key = |one: &Dependency| (one.kind, one.name.clone(), one.instance.clone());
        other.status.cmp(&one.status).then_with(|| key(one).cmp(&key(other)))
    });
    let groups: Vec<(String, String)> = all.iter().map(|one| (group(one), called(one))).collect();
    let judged = all.iter().zip(&groups).map(|(one, (group, name))| vitals::Dependency {
        group,
        name,
        critical: one.critical,
        status: one.status,
        reason: &one.reason,
    });
    let overall = overall(&judged.collect::<Vec<_>>());
    Picture { overall, dependencies: all, at: now }
}

/// A process that has stopped as it said is missed by nobody.
fn is_over(told: &Told, now: Time) -> bool {
    age(told.at, now) > if told.stopping { 2 * report::EVERY } else { FORGOTTEN }
}

/// What stands in for each other.
fn group(one: &Dependency) -> String {
    match one.kind {
        Kind::Engine => "engine".to_owned(),
        Kind::Api => format!("api {}", one.name),
        kind @ (Kind::Cpu | Kind::Memory | Kind::Disk | Kind::Gpu) => format!("{kind:?} {}", one.instance),
        Kind::Database | Kind::Redis | Kind::Part => format!("{} {}", one.service, one.name),
    }
}

/// What people call it, told apart from others of its kind.
fn called(one: &Dependency) -> String {
    match one.kind {
        Kind::Engine => format!("engine {}", one.name),
        _ => format!("{} of {}", one.name, one.instance),
    }
}

fn component(told: &Told, component: &Component, bounds: &config::Health, now: Time) -> Dependency {
    let silent = age(told.at, now) >= STALE;
    let slow = match component.kind {
        Kind::Database => Some(bounds.database_slow),
        Kind::Redis => Some(bounds.redis_slow),
        _ => None,
    };
    let is_slow = slow.filter(|slow| component.latency.is_some_and(|latency| latency >= *slow));
    let (status, reason) = match (component.condition, is_slow) {
        _ if silent => (Status::Unknown, "its process says nothing".to_owned()),
        (Condition::Starting, _) => (Status::Unknown, "is starting".to_owned()),
        (Condition::Up, None) => (Status::Healthy, String::new()),
        (Condition::Up, Some(slow)) => (Status::Degraded, format!("answers only after {slow:?} or longer")),
        (Condition::Degraded, _) => (Status::Degraded, component.reason.clone()),
        (Condition::Down, _) => (Status::Unhealthy, component.reason.clone()),
    };
    Dependency {
        name: component.name.clone(),
        kind: component.kind,
        status,
        reason,
        critical: component.critical,
        latency: component.latency,
        last_success: component.last_success,
        failures: component.failures,
        service: told.service.clone(),
        instance: told.instance.clone(),
        seen: told.at,
        used: None,
        hit_share: None,
        database: component.database,
    }
}

fn api(told: &Told, name: &str, calls: &calls::Calls, thresholds: &Thresholds, now: Time) -> Dependency {
    let age = age(told.at, now);
    // Engines are not a part of it.
    let own = || told.components.iter().filter(|one| one.critical && one.kind != Kind::Engine);
    let down = own().find(|one| one.condition == Condition::Down);
    let starting = own().any(|one| one.condition == Condition::Starting);
    let calls = calls.of(&told.instance, name);
    let (status, reason) = if age >= STALE && !told.stopping {
        (Status::Unknown, "says nothing".to_owned())
    } else if told.stopping {
        (Status::Unhealthy, "is stopping".to_owned())
    } else if let Some(down) = down {
        (Status::Unhealthy, format!("not ready: {} is down", down.name))
    } else if starting {
        (Status::Unhealthy, "is starting".to_owned())
    } else {
        calls.map_or((Status::Healthy, String::new()), |calls| calls.judged(thresholds))
    };
    let failures = u32::try_from(age.as_secs() / report::EVERY.as_secs()).unwrap_or(u32::MAX);
    Dependency {
        name: name.to_owned(),
        kind: Kind::Api,
        status,
        reason,
        critical: true,
        latency: calls.map(|calls| Duration::from_secs_f64(calls.mean)),
        last_success: Some(told.at),
        failures: if told.stopping { 0 } else { failures },
        service: told.service.clone(),
        instance: told.instance.clone(),
        seen: told.at,
        used: None,
        hit_share: None,
        database: None,
    }
}

fn machine(reading: &Reading, bounds: &config::Health, now: Time) -> Vec<Dependency> {
    let figures = [
        (Kind::Cpu, "cpu", reading.cpu, bounds.cpu),
        (Kind::Memory, "memory", reading.memory, bounds.memory),
        (Kind::Disk, "disk", reading.disk, bounds.disk),
    ];
    let one = |(kind, name, used, bounds): (Kind, &str, Option<f64>, Bounds)| {
        let used = used?;
        let status = bounds.judge(used);
        let reason = match status {
            Status::Critical => format!("{} % or more are used", bounds.critical),
            Status::Degraded => format!("{} % or more are used", bounds.degraded),
            _ => String::new(),
        };
        Some(Dependency {
            name: name.to_owned(),
            kind,
            status,
            reason,
            critical: false,
            latency: None,
            last_success: Some(now),
            failures: 0,
            service: reading.service.clone(),
            instance: reading.instance.clone(),
            seen: now,
            used: Some(used),
            hit_share: None,
            database: None,
        })
    };
    figures.into_iter().filter_map(one).collect()
}

/// Of an instance whose agent reads its GPUs.
fn gpu(instance: &Instance, now: Time) -> Option<Dependency> {
    let used = instance.status.gpu_usage?;
    let silent = age(instance.seen_time, now) >= STALE;
    let (status, reason) =
        if silent { (Status::Unknown, "its agent says nothing") } else { (Status::Healthy, "") };
    Some(Dependency {
        name: "gpu".to_owned(),
        kind: Kind::Gpu,
        status,
        reason: reason.to_owned(),
        critical: false,
        latency: None,
        last_success: Some(instance.seen_time),
        failures: 0,
        service: "agent".to_owned(),
        instance: instance.id.clone(),
        seen: instance.seen_time,
        used: Some(used),
        hit_share: None,
        database: None,
    })
}

/// Part of what was looked for in Redis in the last five minutes that was there.
fn hit_share(signals: &Signals, now: Time) -> Option<f64> {
    let found = |outcome: &str| {
        let matchers = vec![Matcher::is("operation", "get"), Matcher::is("outcome", outcome)];
        let selector = Selector { name: "tollgate_redis_values_total".into(), matchers };
        let series = signals.recent(&selector, now, 5 * MINUTE);
        let query = Query { over: Over::Increase, across: Across::Sum, by: Vec::new(), window: 5 * MINUTE };
        query.at(&series, signals.until(now)).ok()?.into_iter().find_map(|(_, value)| value)
    };
    let (hits, misses) = (found("found").unwrap_or(0.0), found("nothing").unwrap_or(0.0));
    (hits + misses > 0.0).then(|| hits / (hits + misses))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: i64 = 60_000_000;

    fn told(instance: &str, at: Time, condition: Condition) -> Told {
        let database = Component {
            name: "database".into(),
            kind: Kind::Database,
            condition,
            reason: String::new(),
            critical: true,
            latency: Some(Duration::from_millis(2)),
            last_success: Some(at),
            failures: 0,
            database: None,
        };
        Told {
            instance: instance.into(),
            service: "permissions".into(),
            apis: vec!["permissions".into()],
            components: vec![database],
            stopping: false,
            at,
        }
    }

    fn seen(told: Vec<Told>, measured: &Measured, now: Time) -> Picture {
        let seen = Seen { told, instances: Vec::new() };
        picture(&seen, measured, &config::Health::default(), &Thresholds::default(), now)
    }

    #[test]
    fn a_word_of_thirty_seconds_ago_is_unknown_and_one_of_ten_minutes_is_forgotten() {
        let now = Time(100 * MINUTES);
        let ago =
            |micros| seen(vec![told("a:1", Time(now.0 - micros), Condition::Up)], &Measured::default(), now);
        assert_eq!(ago(29_000_000).overall.status, Status::Healthy);
        let silent = ago(30_000_000);
        assert_eq!(silent.overall.status, Status::Critical, "nobody else is left");
        assert!(silent.dependencies.iter().all(|one| one.status == Status::Unknown));
        assert_eq!(silent.dependencies[0].failures, 3, "reports are missing");
        assert!(ago(11 * MINUTES).dependencies.is_empty());
        let fresh = told("b:1", now, Condition::Up);
        let both =
            seen(vec![told("a:1", Time(now.0 - MINUTES), Condition::Up), fresh], &Measured::default(), now);
        assert_eq!(both.overall.status, Status::Degraded, "another one serves");
    }

    #[test]
    fn a_process_that_starts_is_not_ready() {
        let now = Time(MINUTES);
        let picture = seen(vec![told("a:1", now, Condition::Starting)], &Measured::default(), now);
        let api = picture.dependencies.iter().find(|one| one.kind == Kind::Api).unwrap();
        assert_eq!((api.status, api.reason.as_str()), (Status::Unhealthy, "is starting"));
    }

    #[test]
    fn machines_are_degraded_from_80_and_critical_from_95_percent() {
        let reading = |cpu: f64, disk: f64| Reading {
            instance: "a:1".into(),
            service: "inference".into(),
            cpu: Some(cpu),
            memory: None,
            memory_bytes: None,
            disk: Some(disk),
            received: None,
            sent: None,
            connections: None,
            load: None,
            level: crate::signals::system::Level::Normal,
        };
        let status = |cpu, disk| {
            let measured = Measured { machines: vec![reading(cpu, disk)], ..Measured::default() };
            let picture = seen(Vec::new(), &measured, Time(MINUTES));
            (picture.overall.status, picture.dependencies.len())
        };
        assert_eq!(status(0.5, 0.5), (Status::Healthy, 2), "what cannot be read is not there");
        assert_eq!(status(0.8, 0.5), (Status::Degraded, 2));
        assert_eq!(status(0.8, 0.95), (Status::Critical, 2));
    }
}
