//! Engines that do far worse than their peers are ejected for a while, longer each time.
//!
//! Pure: told what each engine did in a window of time. Peers are engines that serve the same models. At most a share
//! of a group is out at once, the worst first: when all do badly, it is not an engine's fault.

use super::EngineId;
use crate::config;
use std::time::{Duration, Instant};

/// Longest list of first tokens kept of a window; more would not move their median.
const TOKENS: usize = 512;
/// Engines that can be compared, the odd one included.
const COMPARED: usize = 3;
/// A part of failed requests below this is no reason by itself.
const FAILING: f64 = 0.3;
/// How many times as many failures as the peers'.
const TIMES_FAILING: f64 = 3.0;
/// How many times as slow as the peers.
const TIMES_SLOW: u32 = 4;
/// And slower by at least this, or the difference matters to nobody.
const SLOWER_BY: Duration = Duration::from_millis(250);

/// What an engine did since the last look.
#[derive(Debug, Clone, Default)]
pub struct Window {
    requests: u32,
    failures: u32,
    first_tokens: Vec<Duration>,
}

/// An engine among its peers.
#[derive(Debug)]
pub struct Sample {
    /// Which.
    pub engine: EngineId,
    /// Whether it is out already.
    pub ejected: bool,
    /// What it did.
    pub window: Window,
}

/// How often and how long an engine was ejected.
#[derive(Debug, Clone, Default)]
pub struct Ejection {
    until: Option<Instant>,
    ended: Option<Instant>,
    times: u32,
    reason: String,
}

impl Window {
    /// A request ended, well or not.
    pub fn ended(&mut self, well: bool) {
        self.requests += 1;
        self.failures += u32::from(!well);
    }

    /// A first token came after this time.
    pub fn first_token(&mut self, after: Duration) {
        if self.first_tokens.len() < TOKENS {
            self.first_tokens.push(after);
        }
    }

    fn median(&self, least: u32) -> Option<Duration> {
        let mut all = self.first_tokens.clone();
        all.sort_unstable();
        (all.len() >= least as usize).then(|| all.get(all.len() / 2).copied()).flatten()
    }
}

impl Ejection {
    /// Puts an engine out, for longer each time unless it did well in between.
    pub fn eject(&mut self, reason: String, now: Instant, config: &config::Ejection) -> Duration {
        let forgiven =
            self.ended.is_some_and(|ended| now.saturating_duration_since(ended) >= config.max_time);
        self.times = if forgiven { 1 } else { self.times + 1 };
        let lasts = (config.time * self.times).min(config.max_time);
        (self.until, self.reason) = (Some(now + lasts), reason);
        lasts
    }

    /// Takes it back when its time is over.
    pub fn tick(&mut self, now: Instant) {
        if self.until.is_some_and(|until| until <= now) {
            (self.until, self.ended) = (None, Some(now));
        }
    }

    /// Until when it is out.
    #[must_use]
    pub const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Why it is out.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// The engines to eject of a group of peers, and why.
#[must_use]
pub fn outliers(peers: &[Sample], config: &config::Ejection) -> Vec<(EngineId, String)> {
    let out = peers.iter().filter(|sample| sample.ejected).count();
    let room = ((peers.len() as f64 * config.share) as usize).saturating_sub(out);
    let compared: Vec<&Sample> = peers.iter().filter(|sample| !sample.ejected).collect();
    let mut odd: Vec<(f64, EngineId, String)> =
        compared.iter().filter_map(|one| failing(one, &compared, config)).collect();
    let slow = compared.iter().filter(|one| odd.iter().all(|(_, odd, _)| *odd != one.engine));
    odd.extend(slow.filter_map(|one| slow_one(one, &compared, config)).collect::<Vec<_>>());
    odd.sort_by(|(one, ..), (other, ..)| other.total_cmp(one));
    odd.into_iter().take(room).map(|(_, engine, reason)| (engine, reason)).collect()
}

/// How bad it is, which, and why: failures come before slowness.
fn failing(one: &Sample, all: &[&Sample], config: &config::Ejection) -> Option<(f64, EngineId, String)> {
    let enough = |sample: &&&Sample| sample.window.requests >= config.requests;
    let others: Vec<_> = all.iter().filter(enough).filter(|sample| sample.engine != one.engine).collect();
    if one.window.requests < config.requests || others.len() + 1 < COMPARED {
        return None;
    }
    let rate = |requests: u32, failures: u32| f64::from(failures) / f64::from(requests);
    let own = rate(one.window.requests, one.window.failures);
    let theirs = rate(
        others.iter().map(|sample| sample.window.requests).sum(),
        others.iter().map(|sample| sample.window.failures).sum(),
    );
    (own >= FAILING && own >= theirs * TIMES_FAILING).then(|| {
        let percent = |part: f64| (part * 100.0).round();
        let reason =
            format!("{} % of its requests failed, {} % of its peers'", percent(own), percent(theirs));
        (1.0 + own, one.engine, reason)
    })
}

fn slow_one(one: &Sample, all: &[&Sample], config: &config::Ejection) -> Option<(f64, EngineId, String)> {
    let own = one.window.median(config.requests)?;
    let others = all.iter().filter(|sample| sample.engine != one.engine);
    let mut others: Vec<Duration> =
        others.filter_map(|sample| sample.window.median(config.requests)).collect();
    if others.len() + 1 < COMPARED {
        return None;
    }
    others.sort_unstable();
    let theirs = others[others.len() / 2];
    (own >= theirs * TIMES_SLOW && own >= theirs + SLOWER_BY).then(|| {
        let millis = |time: Duration| time.as_millis();
        let reason =
            format!("its first tokens take {} ms, those of its peers {} ms", millis(own), millis(theirs));
        (1.0 - theirs.as_secs_f64() / own.as_secs_f64(), one.engine, reason)
    })
}

#[cfg(test)]
mod tests;
