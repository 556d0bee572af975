//! How the machines are on which services run.

use crate::signals::{STANDING, Signals};
use policy::Time;
use series::{Across, Labels, Over, Query, Selector};
use shared::limits::{Threshold, Thresholds};
use std::collections::BTreeMap;

/// How a figure stands by its thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Normal,
    Warning,
    Critical,
}

impl Level {
    /// How a share from 0 to 1 stands, by thresholds in percent.
    pub(crate) fn of(share: f64, threshold: Threshold) -> Self {
        let percent = share * 100.0;
        if percent > threshold.critical {
            Self::Critical
        } else if percent > threshold.warning {
            Self::Warning
        } else {
            Self::Normal
        }
    }
}

/// How the machine of one process is. What cannot be read there is `None`.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) instance: String,
    pub(crate) service: String,
    pub(crate) cpu: Option<f64>,
    pub(crate) memory: Option<f64>,
    pub(crate) memory_bytes: Option<f64>,
    pub(crate) disk: Option<f64>,
    pub(crate) received: Option<f64>,
    pub(crate) sent: Option<f64>,
    pub(crate) connections: Option<f64>,
    pub(crate) load: Option<f64>,
    pub(crate) level: Level,
}

/// What every process said of its machine last, by instance.
pub(crate) fn readings(signals: &Signals, thresholds: &Thresholds, now: Time) -> Vec<Reading> {
    let figure = |name: &str, over: Over, across: Across| -> BTreeMap<Labels, f64> {
        let series = signals.recent(&Selector::named(name), now, STANDING);
        let by = vec!["instance".into(), "service".into()];
        let query = Query { over, across, by, window: STANDING };
        let answers = query.at(&series, signals.until(now)).unwrap_or_default();
        answers.into_iter().filter_map(|(labels, value)| Some((labels, value?))).collect()
    };
    let last = |name: &str| figure(name, Over::Last, Across::Max);
    let rate = |name: &str| figure(name, Over::Rate, Across::Sum);
    let (cpu, memory) = (last("tollgate_system_cpu_ratio"), last("tollgate_system_memory_ratio"));
    let (disk, memory_bytes) = (last("tollgate_system_disk_ratio"), last("tollgate_system_memory_bytes"));
    let received = rate("tollgate_system_network_received_bytes_total");
    let sent = rate("tollgate_system_network_sent_bytes_total");
    let (connections, load) = (last("tollgate_system_connections"), last("tollgate_system_load1"));
    let reading = |labels: &Labels| {
        let of = |figure: &BTreeMap<Labels, f64>| figure.get(labels).copied();
        let (cpu, memory, disk) = (of(&cpu), of(&memory), of(&disk));
        let levels = [
            cpu.map(|cpu| Level::of(cpu, thresholds.cpu)),
            memory.map(|memory| Level::of(memory, thresholds.memory)),
            disk.map(|disk| Level::of(disk, thresholds.disk)),
        ];
        Reading {
            instance: labels.get("instance").unwrap_or_default().to_owned(),
            service: labels.get("service").unwrap_or_default().to_owned(),
            cpu,
            memory,
            memory_bytes: of(&memory_bytes),
            disk,
            received: of(&received),
            sent: of(&sent),
            connections: of(&connections),
            load: of(&load),
            level: levels.into_iter().flatten().max().unwrap_or(Level::Normal),
        }
    };
    memory.keys().map(reading).collect()
}
