//! Load 1: the largest rate at which plain FIFO still completes nearly all that is offered.

use crate::{Setting, policy::Name, workload::Recorded, world::World};
use std::time::Duration;

/// What engines can do at most, without a policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capacity {
    /// Requests a second.
    pub requests: f64,
    /// Tokens a second, of prompts and answers.
    pub tokens: f64,
}

/// Part of the offered tokens that has to be completed.
const COMPLETED: f64 = 0.97;
/// Halvings of the interval in which the rate is sought: to a thousandth of it.
const HALVINGS: usize = 10;
/// How long each rate is tried, the warm-up included.
const TRIED: Duration = Duration::from_secs(700);
const WARM_UP: Duration = Duration::from_secs(240);

/// Finds load 1 for a recording.
#[must_use]
pub fn find(setting: &Setting, trace: &[Recorded]) -> Capacity {
    let setting = Setting { warm_up: WARM_UP, counted: TRIED - WARM_UP, ..setting.clone() };
    let mut most = 1.0;
    while attempt(&setting, trace, most).is_some() {
        most *= 2.0;
    }
    let (mut low, mut found) = (most / 2.0, Capacity { requests: 0.0, tokens: 0.0 });
    if most <= 1.0 {
        low = 0.0;
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, most);
        match attempt(&setting, trace, middle) {
            Some(tokens) => (low, found) = (middle, Capacity { requests: middle, tokens }),
            None => most = middle,
        }
    }
    found
}

/// Part of the requests that has to be in time under a load that can be sustained.
const IN_TIME: f64 = 0.95;
/// Halvings in which that load is sought, from 0 to twice load 1: to a hundredth of load 1.
const LOAD_HALVINGS: usize = 8;

/// The largest load, in times of load 1, under which 95 of a hundred requests are in time.
#[must_use]
pub fn sustained(setting: &Setting, trace: &[Recorded], policy: Name, one: Capacity) -> f64 {
    let (mut low, mut high) = (0.0, 2.0);
    for _ in 0..LOAD_HALVINGS {
        let middle = f64::midpoint(low, high);
        let report = setting.run(trace, one.requests * middle, policy);
        if report.attainment >= IN_TIME { low = middle } else { high = middle }
    }
    low
}

/// Tokens a second that are completed at a rate, when that is nearly all of them.
fn attempt(setting: &Setting, trace: &[Recorded], rate: f64) -> Option<f64> {
    let workload = setting.workload(trace, rate);
    let end = workload.counted.1;
    let ended = World::new(setting, &workload, false).run(Name::Fifo.make(setting).as_mut(), end);
    let (mut offered, mut done) = (0.0, 0.0);
    for (request, fate) in workload.offered.iter().zip(&ended.fates) {
        let tokens = f64::from(request.prompt) + f64::from(request.output);
        if workload.counts(request) {
            offered += tokens;
        }
        if fate.done && fate.last >= workload.counted.0 {
            done += tokens;
        }
    }
    (done >= COMPLETED * offered).then(|| done / workload.seconds())
}
