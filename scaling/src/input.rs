//! What is seen of a pool, brought together from those who see a part. What nobody said is missing, which is not zero.

use std::time::Duration;

/// What one gateway says of the models of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// When it said so.
    pub at: Duration,
    /// Requests that wait there.
    pub queue: u32,
    /// Time to the first token that 95 of 100 requests of the last minute did not exceed; none when there were none.
    pub first_token: Option<Duration>,
}

/// Everything that counts at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Inputs {
    /// When the oldest part of it was seen.
    pub at: Duration,
    /// Requests that wait, in all gateways.
    pub queue: u32,
    /// The 95th percentile of the time to the first token, of the gateway where it is longest: that of all together lies
    /// at or below. None when nobody was answered.
    pub first_token: Option<Duration>,
    /// Part of the time in which the GPUs work, on the mean, 0 to 1; none when nobody says.
    pub gpu: Option<f64>,
}

/// Nobody has said anything of late, so there is nothing to recommend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    /// When somebody last did.
    pub since: Option<Duration>,
}

impl Inputs {
    /// Brings together what is fresh: `loads` of the gateways, and use of the GPUs with when it was seen.
    ///
    /// # Errors
    /// [`Stale`] when no gateway has spoken within `fresh`.
    pub fn gather(
        loads: &[Load],
        gpus: &[(Duration, f64)],
        now: Duration,
        fresh: Duration,
    ) -> Result<Self, Stale> {
        let is_fresh = |at: Duration| now.saturating_sub(at) <= fresh;
        let heard = loads.iter().filter(|load| is_fresh(load.at));
        let Some(at) = heard.clone().map(|load| load.at).min() else {
            return Err(Stale { since: loads.iter().map(|load| load.at).max() });
        };
        let used: Vec<f64> = gpus.iter().filter(|(at, _)| is_fresh(*at)).map(|(_, used)| *used).collect();
        Ok(Self {
            at,
            queue: heard.clone().fold(0, |sum: u32, load| sum.saturating_add(load.queue)),
            first_token: heard.filter_map(|load| load.first_token).max(),
            gpu: (!used.is_empty()).then(|| used.iter().sum::<f64>() / used.len() as f64),
        })
    }
}
