//! What GPUs cost and for whom: of every hour of a pool, what it costs is what was allocated to requests and what was idle,
//! exactly (OpenCost's identity: asset cost = workload cost + idle cost). Idle time is a line of its own and is never spread
//! over those who used the rest.

use crate::Money;

/// Microseconds of an hour.
pub const HOUR: u128 = 3_600_000_000;

/// How much of a GPU's time a token takes beside others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// A token that is read and not cached.
    pub prefill: u64,
    /// A token that is made.
    pub decode: u64,
}

/// What a pool's GPUs cost and can do, in one version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GpuPrice {
    /// Of a GPU for an hour; `None` is not known.
    pub hour: Option<Money>,
    /// The same of spot instances; `None` is not known.
    pub spot_hour: Option<Money>,
    /// Weighted tokens that a GPU does in an hour when it is full; `None` is not known.
    pub capacity: Option<u64>,
}

/// GPU time of a pool: GPUs times microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GpuTime {
    /// Of instances that nobody takes away.
    pub on_demand: u128,
    /// Of spot instances.
    pub spot: u128,
}

/// An amount of pico-dollars in parts that add up to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Of each that used any, in their order.
    pub shares: Vec<i128>,
    /// What nobody used.
    pub idle: i128,
}

impl Default for Weights {
    /// A token that is made takes as much as four that are read: what list prices say (0.15 and 0.60 dollars for a million).
    fn default() -> Self {
        Self { prefill: 1, decode: 4 }
    }
}

impl Weights {
    /// Weighted tokens of requests. What was cached takes nothing.
    #[must_use]
    pub fn of(self, prompt: u64, cached: u64, completion: u64) -> u128 {
        u128::from(prompt.saturating_sub(cached)) * u128::from(self.prefill)
            + u128::from(completion) * u128::from(self.decode)
    }
}

impl GpuTime {
    /// All of it.
    #[must_use]
    pub const fn total(self) -> u128 {
        self.on_demand + self.spot
    }
}

impl GpuPrice {
    /// What GPU time costs, in pico-dollars, rounded once, half a pico-dollar up; `None` when there is time of a kind whose
    /// price is not known.
    #[must_use]
    pub fn cost(&self, time: GpuTime) -> Option<i128> {
        let kinds = [(time.on_demand, self.hour), (time.spot, self.spot_hour)];
        let product =
            kinds.into_iter().filter(|(time, _)| *time > 0).try_fold(0u128, |sum, (time, price)| {
                sum.checked_add(time.checked_mul(u128::try_from(price?.0).ok()?)?)
            })?;
        i128::try_from((product + HOUR / 2) / HOUR).ok()
    }
}

/// Splits what an hour cost by the weighted tokens of each, of `capacity` that there could have been. Where more was done than
/// that, nothing was idle. Parts of a pico-dollar go to the largest remainders, the first of them first.
#[must_use]
pub fn split(cost: i128, capacity: u128, work: &[u128]) -> Split {
    let total: u128 = work.iter().sum();
    let whole = cost.max(0).unsigned_abs();
    if total == 0 {
        return Split { shares: vec![0; work.len()], idle: cost };
    }
    let used = if total >= capacity { whole } else { part(whole, total, capacity).0 };
    let floors: Vec<(u128, u128)> = work.iter().map(|one| part(used, *one, total)).collect();
    let mut shares: Vec<u128> = floors.iter().map(|(floor, _)| *floor).collect();
    let left = used - shares.iter().sum::<u128>();
    let mut order: Vec<usize> = (0..work.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(floors[*at].1));
    for at in order.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
        shares[at] += 1;
    }
    let shares: Vec<i128> = shares.into_iter().map(u128::cast_signed).collect();
    let idle = cost - shares.iter().sum::<i128>();
    Split { shares, idle }
}

/// `amount` × `part` ÷ `of`, rounded down, and the remainder. What is beyond 128 bits is left to idle time.
const fn part(amount: u128, part: u128, of: u128) -> (u128, u128) {
    let product = amount.saturating_mul(part);
    (product / of, product % of)
}
