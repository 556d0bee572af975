//! The time that GPUs were there, by pool and hour, as the moves of their instances tell.
//!
//! An instance costs from its registration to its end, whatever it does meanwhile. What it is, its last registration said.

use crate::usage::hour_floor;
use policy::Time;
use pricing::gpu::GpuTime;
use std::collections::{BTreeMap, HashMap};

/// Microseconds of an hour.
const HOUR: i64 = 3_600_000_000;

/// An instance that was up at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) id: String,
    pub(crate) pool: String,
    pub(crate) engine: String,
    pub(crate) gpus: u32,
    pub(crate) spot: bool,
    pub(crate) over: bool,
}

/// A move of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) instance: String,
    /// Whether it was up before.
    pub(crate) was_up: bool,
    pub(crate) is_up: bool,
    pub(crate) at: Time,
}

/// A pool in one hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// GPUs times microseconds.
    pub(crate) gpus: GpuTime,
    /// Instances times microseconds.
    pub(crate) instances: GpuTime,
}

/// All pools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fleet {
    /// By pool and hour.
    pub(crate) pools: BTreeMap<String, BTreeMap<i64, Seen>>,
    /// Pools by the addresses of their engines.
    engines: HashMap<String, String>,
}

impl Fleet {
    /// What was up between two times. Steps come in the order in which each instance took them.
    pub(crate) fn of(machines: &[Machine], steps: &[Step], start: Time, end: Time) -> Self {
        let mut taken: HashMap<&str, Vec<&Step>> = HashMap::new();
        for step in steps {
            taken.entry(&step.instance).or_default().push(step);
        }
        let mut fleet = Self::default();
        for machine in machines {
            fleet.engines.insert(address(&machine.engine).to_owned(), machine.pool.clone());
            let steps = taken.get(machine.id.as_str()).map(Vec::as_slice).unwrap_or_default();
            for (from, until) in spans(machine, steps, start, end) {
                fleet.add(machine, from.max(start.0), until.min(end.0));
            }
        }
        fleet
    }

    /// The pool of an engine; none where no agent reported it.
    pub(crate) fn pool_of(&self, engine: &str) -> &str {
        self.engines.get(address(engine)).map(String::as_str).unwrap_or_default()
    }

    fn add(&mut self, machine: &Machine, mut from: i64, until: i64) {
        let pool = self.pools.entry(machine.pool.clone()).or_default();
        while from < until {
            let hour = hour_floor(Time(from)).0;
            let next = until.min(hour + HOUR);
            let (seen, micros) = (pool.entry(hour).or_default(), u128::from((next - from).unsigned_abs()));
            let (gpus, instances) = match machine.spot {
                true => (&mut seen.gpus.spot, &mut seen.instances.spot),
                false => (&mut seen.gpus.on_demand, &mut seen.instances.on_demand),
            };
            *gpus += micros * u128::from(machine.gpus);
            *instances += micros;
            from = next;
        }
    }
}

/// From when to when an instance was up.
fn spans(machine: &Machine, steps: &[&Step], start: Time, end: Time) -> Vec<(i64, i64)> {
    let Some(first) = steps.first() else {
        // Its moves were forgotten: it is up since long before.
        return if machine.over { Vec::new() } else { vec![(start.0, end.0)] };
    };
    let (mut spans, mut since) = (Vec::new(), first.was_up.then_some(start.0));
    for step in steps {
        match (since, step.is_up) {
            (None, true) => since = Some(step.at.0),
            (Some(from), false) => {
                spans.push((from, step.at.0));
                since = None;
            }
            _ => {}
        }
    }
    spans.extend(since.map(|from| (from, end.0)));
    spans
}

/// An address as both sides write it.
fn address(engine: &str) -> &str {
    engine.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(id: &str, spot: bool, over: bool) -> Machine {
        let (id, pool) = (id.to_owned(), "a100".to_owned());
        let engine = format!("http://{id}:8000/");
        Machine { id, pool, engine, gpus: 2, spot, over }
    }

    fn step(instance: &str, was_up: bool, is_up: bool, hours: f64) -> Step {
        Step { instance: instance.into(), was_up, is_up, at: Time((hours * HOUR as f64) as i64) }
    }

    #[test]
    fn time_counts_from_registration_to_the_end_hour_by_hour() {
        let machines = [machine("one", false, true), machine("two", true, false)];
        let steps = [
            step("one", false, true, 10.5),
            step("one", true, true, 10.6),
            step("one", true, false, 12.25),
            // It came again, and went again.
            step("one", false, true, 12.5),
            step("one", true, false, 12.75),
            step("two", false, true, 11.0),
        ];
        let fleet = Fleet::of(&machines, &steps, Time(10 * HOUR), Time(13 * HOUR));
        let hours: Vec<(i64, u128, u128)> = fleet.pools["a100"]
            .iter()
            .map(|(hour, seen)| (hour / HOUR, seen.gpus.on_demand, seen.gpus.spot))
            .collect();
        let part = |hours: f64| (2.0 * hours * HOUR as f64) as u128;
        assert_eq!(hours, [(10, part(0.5), 0), (11, part(1.0), part(1.0)), (12, part(0.5), part(1.0))]);
        assert_eq!(fleet.pools["a100"][&(12 * HOUR)].instances.on_demand, part(0.25));
        assert_eq!((fleet.pool_of("http://one:8000"), fleet.pool_of("http://other:8000")), ("a100", ""));
    }

    #[test]
    fn what_began_before_and_what_was_forgotten_counts_from_the_start() {
        let machines =
            [machine("long", false, false), machine("gone", false, true), machine("ends", false, true)];
        let fleet =
            Fleet::of(&machines, &[step("ends", true, false, 10.5)], Time(10 * HOUR), Time(11 * HOUR));
        // Two GPUs for the hour, and two for half of it.
        assert_eq!(fleet.pools["a100"][&(10 * HOUR)].gpus.total(), 3 * HOUR.unsigned_abs() as u128);
    }
}
