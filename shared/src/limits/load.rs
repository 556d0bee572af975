//! How busy this machine is, against the thresholds of warning and critical.

use super::Gate;
use crate::{
    machine::{EVERY, Machine},
    server::Tasks,
    telemetry::meter,
};
use limits::{Level, Threshold, Thresholds};
use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Looks whose answers count: those of the last minute.
const LOOKS: usize = 6;
/// Fewer answers than this say nothing of how many fail, or of how long they take.
const ENOUGH: u64 = 20;

/// Answers to management calls since the last look.
#[derive(Debug, Default)]
pub(super) struct Answers {
    count: AtomicU64,
    failed: AtomicU64,
    micros: AtomicU64,
}

/// What was seen in one look.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Seen {
    count: u64,
    failed: u64,
    micros: u64,
}

impl Answers {
    pub(super) fn note(&self, took: Duration, failed: bool) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(u64::from(failed), Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn take(&self) -> Seen {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        Seen { count: take(&self.count), failed: take(&self.failed), micros: take(&self.micros) }
    }
}

/// What is known of the machine; nothing where it does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Measured {
    cpu: Option<f64>,
    memory: Option<f64>,
    errors: Option<f64>,
    response: Option<f64>,
}

impl Measured {
    fn level(&self, thresholds: &Thresholds) -> Level {
        let over = |value: Option<f64>, threshold: Threshold| match value {
            Some(value) if value > threshold.critical => Level::Critical,
            Some(value) if value > threshold.warning => Level::Warning,
            _ => Level::Calm,
        };
        let all = [
            over(self.cpu, thresholds.cpu),
            over(self.memory, thresholds.memory),
            over(self.errors, thresholds.errors),
            over(self.response, thresholds.response),
        ];
        all.into_iter().max().unwrap_or_default()
    }
}

/// Looks again and again, until the process is to end.
pub(super) fn watch(gate: &Gate, tasks: &Tasks) {
    let gate = gate.clone();
    let (machine, mut looks) = (Machine::start(tasks), VecDeque::new());
    let meter = meter();
    let level = meter.i64_gauge("tollgate.limits.load");
    let level =
        level.with_description("Load that limits are shrunk by: 0 normal, 1 warning, 2 critical").build();
    tasks.repeat(EVERY, move || {
        looks.push_back(gate.0.answers.take());
        if looks.len() > LOOKS {
            looks.pop_front();
        }
        let mut measured = of_answers(&looks);
        let reading = machine.reading();
        measured.cpu = reading.cpu.map(|cpu| cpu * 100.0);
        measured.memory = reading.memory.map(|memory| memory * 100.0);
        let mut limiter = gate.lock();
        let found = measured.level(&limiter.settings().load.thresholds);
        limiter.load(found);
        level.record(found as i64, &[]);
        std::future::ready(())
    });
}

fn of_answers(looks: &VecDeque<Seen>) -> Measured {
    let mut all = Seen::default();
    for look in looks {
        all.count += look.count;
        all.failed += look.failed;
        all.micros += look.micros;
    }
    let enough = (all.count >= ENOUGH).then_some(all.count as f64);
    Measured {
        errors: enough.map(|count| all.failed as f64 * 100.0 / count),
        response: enough.map(|count| all.micros as f64 / 1e6 / count),
        ..Measured::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_calm() {
        assert_eq!(Measured::default().level(&Thresholds::default()), Level::Calm);
    }

    #[test]
    fn the_worst_of_what_is_measured_counts() {
        let thresholds = Thresholds::default();
        let level = |measured: Measured| measured.level(&thresholds);
        assert_eq!(level(Measured { cpu: Some(70.0), ..Measured::default() }), Level::Calm);
        assert_eq!(level(Measured { cpu: Some(70.1), ..Measured::default() }), Level::Warning);
        let both = Measured { cpu: Some(70.1), memory: Some(90.1), ..Measured::default() };
        assert_eq!(level(both), Level::Critical);
    }

    #[test]
    fn few_answers_say_nothing() {
        let looks = |count| VecDeque::from([Seen { count, failed: count, micros: count * 6_000_000 }]);
        assert_eq!(of_answers(&looks(19)), Measured::default());
        let many = of_answers(&looks(20));
        assert_eq!((many.errors, many.response), (Some(100.0), Some(6.0)));
    }
}
