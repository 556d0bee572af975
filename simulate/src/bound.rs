//! What no policy can pass: engines as a fluid that serves the cheapest requests first, knowing everything.

use crate::{Setting, workload::Workload};
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
    let shared_by = setting.profile.limits.max_num_seqs.max(1) as f64;
    let mut costs: Vec<(f64, f64)> = workload
        .offered
        .iter()
        .filter(|offered| workload.counts(offered))
        .map(|offered| {
            let speed = &setting.profile.speed;
            let step = speed.duration(&Work::default()).as_secs_f64();
            let prompt = speed.duration(&Work::prefill(offered.prompt, 0)).as_secs_f64() - step;
            let middle = offered.prompt + offered.output / 2;
            let token = speed.duration(&Work::decode(middle)).as_secs_f64() - step + step / shared_by;
            let tokens = f64::from(offered.prompt) + f64::from(offered.output);
            (f64::from(offered.output.saturating_sub(1)).mul_add(token, prompt), tokens)
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
