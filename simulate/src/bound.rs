//! What no policy can pass: engines as a fluid that serves the cheapest requests first, knowing everything.

use crate::{
    Setting,
    workload::{Recorded, Workload},
};
use simulator::batching::Work;

/// Requests and tokens a second that met their objectives at the very best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// Requests a second.
    pub requests: f64,
    /// Tokens a second.
    pub tokens: f64,
}

/// The bound for a workload: steps are never less than full, so that an answer pays the smallest part of each.
#[must_use]
pub fn bound(setting: &Setting, workload: &Workload) -> Bound {
    let counted = workload.offered.iter().filter(|offered| workload.counts(offered));
    let mut costs: Vec<(f64, f64)> = counted
        .map(|offered| {
            let tokens = f64::from(offered.prompt) + f64::from(offered.output);
            (cost(setting, offered.prompt, offered.output), tokens)
        })
        .collect();
    costs.sort_by(|left, right| left.0.total_cmp(&right.0));
    let mut room = workload.seconds() * setting.engines as f64;
    let (mut requests, mut tokens) = (0.0, 0.0);
    for (cost, size) in costs {
        room -= cost;
        if room < 0.0 {
            break;
        }
        (requests, tokens) = (requests + 1.0, tokens + size);
    }
    Bound { requests: requests / workload.seconds(), tokens: tokens / workload.seconds() }
}

/// Requests a second of a recording that engines could serve if all their steps were full.
pub(crate) fn most(setting: &Setting, trace: &[Recorded]) -> f64 {
    let all: f64 = trace.iter().map(|row| cost(setting, row.prompt, row.output)).sum();
    setting.engines as f64 * trace.len() as f64 / all.max(1e-9)
}

/// Seconds of an engine that a request takes in full steps.
fn cost(setting: &Setting, prompt: u32, output: u32) -> f64 {
    let (speed, shared_by) = (&setting.profile.speed, setting.profile.limits.max_num_seqs.max(1) as f64);
    let step = speed.duration(&Work::default()).as_secs_f64();
    let alone = speed.duration(&Work::prefill(prompt, 0)).as_secs_f64() - step;
    let middle = prompt + output / 2;
    let token = speed.duration(&Work::decode(middle)).as_secs_f64() - step + step / shared_by;
    f64::from(output.saturating_sub(1)).mul_add(token, alone)
}
