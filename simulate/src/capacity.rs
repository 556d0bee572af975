//! Load 1: the largest rate at which plain FIFO still completes nearly all that is offered.

use crate::{Setting, bound, policy::Name, workload::Recorded, world::World};
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
/// How long each rate is tried at least, after the warm-up.
const TRIED: f64 = 460.0;
const WARM_UP: Duration = Duration::from_secs(240);
/// Of a longer recording, this many requests are enough.
const ENOUGH: usize = 50_000;
/// The least rate that is looked at.
const LEAST: f64 = 1e-3;

/// Finds load 1 for a recording.
#[must_use]
pub fn find(setting: &Setting, trace: &[Recorded]) -> Capacity {
    let nothing = Capacity { requests: 0.0, tokens: 0.0 };
    let mut most = bound::most(setting, trace);
    let (mut low, mut found) = (0.0, nothing);
    while low == 0.0 && most > LEAST {
        match attempt(setting, trace, most / 2.0) {
            Some(tokens) => (low, found) = (most / 2.0, Capacity { requests: most / 2.0, tokens }),
            None => most /= 2.0,
        }
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, most);
        match attempt(setting, trace, middle) {
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
///
/// The recording is tried whole, as often as there is time for it: a part of it may be all bursts or have none.
fn attempt(setting: &Setting, trace: &[Recorded], rate: f64) -> Option<f64> {
    let lap = (trace.len().min(ENOUGH) as f64 / rate).max(1.0);
    let counted =
        Duration::try_from_secs_f64(lap * (TRIED / lap).ceil().max(1.0)).unwrap_or(Duration::MAX / 4);
    let setting = &Setting { warm_up: WARM_UP, counted, settle: Duration::ZERO, ..setting.clone() };
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
