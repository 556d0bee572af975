//! What GPUs cost and for whom, by pool and time: of every hour, what it cost is what was allocated and what was idle.

use super::{GpuPrices, fleet::Fleet};
use crate::{
    error::Error,
    place::{self, Place},
    store::{self, gpus},
    usage::report::{Bucket, Dimensions},
};
use policy::Time;
use pricing::gpu::{GpuPrice, HOUR, Weights, split};
use serde::{Deserialize, Serialize};
use shared::db::Db;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Microseconds of the days that the best hour of a pool is looked for in.
const LOOK_BACK: i64 = 28 * 24 * 3_600_000_000;
/// Rows that are worked on at once.
const MOST: u32 = 200_000;

/// What a report is about. `start` and `end` are full hours; of the dimensions, user, key, group and the model's own name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Query {
    pub(crate) start: Time,
    pub(crate) end: Time,
    pub(crate) group_by: Dimensions,
    pub(crate) bucket: Bucket,
    pub(crate) pool: Option<String>,
}

/// Who used GPUs; nil and empty where the report is not grouped by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Who {
    pub(crate) user: Uuid,
    pub(crate) key: Uuid,
    pub(crate) group: Uuid,
    pub(crate) model: String,
}

/// What was done in an hour by an engine for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) hour: Time,
    pub(crate) engine: String,
    pub(crate) who: Who,
    pub(crate) tokens: Tokens,
    pub(crate) requests: u64,
}

/// Sums of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) prompt: u64,
    pub(crate) cached: u64,
    pub(crate) completion: u64,
}

/// GPU time and what it cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// GPUs times microseconds.
    pub(crate) micros: i128,
    /// Of those, the ones whose price is not known.
    pub(crate) unpriced: i128,
    /// Pico-dollars of the others.
    pub(crate) cost: i128,
}

/// One row: somebody's part, or what was idle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) bucket: Time,
    pub(crate) pool: String,
    /// `None` is nobody: idle.
    pub(crate) who: Option<Who>,
    pub(crate) tokens: Tokens,
    pub(crate) part: Part,
}

/// A pool over the whole time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Total {
    pub(crate) all: Part,
    pub(crate) idle: Part,
    /// On spot, of all.
    pub(crate) spot: i128,
    pub(crate) capacity: Capacity,
}

/// Weighted tokens that a GPU does in an hour when it is full.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Capacity {
    pub(crate) tokens: f64,
    /// Whether it was said with the price; otherwise it is the pool's best hour.
    pub(crate) said: bool,
}

/// A page of rows, the pools, and the token of the next page.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) rows: Vec<Row>,
    pub(crate) pools: BTreeMap<String, Total>,
    pub(crate) next: String,
}

/// Where a page starts.
#[derive(Serialize, Deserialize)]
struct Position(usize, Time);

impl Place for Position {
    fn is_possible(&self) -> bool {
        place::is_time(self.1)
    }
}

impl Tokens {
    fn add(&mut self, other: Self) {
        self.prompt += other.prompt;
        self.cached += other.cached;
        self.completion += other.completion;
    }

    pub(crate) fn weigh(self, weights: Weights) -> u128 {
        weights.of(self.prompt, self.cached, self.completion)
    }
}

impl Part {
    fn add(&mut self, micros: i128, cost: Option<i128>) {
        self.micros += micros;
        match cost {
            Some(cost) => self.cost += cost,
            None => self.unpriced += micros,
        }
    }
}

/// Reads one page of `size` rows. `open_ended` says that the caller named no end, and `query.end` is now.
///
/// # Errors
/// [`Error::TooMuch`], when the token belongs to another report, or the store is away.
pub(crate) async fn cost(
    db: &Db,
    mut query: Query,
    open_ended: bool,
    weights: Weights,
    now: Time,
    (size, token): (u32, &str),
) -> Result<Told, Error> {
    let end = if open_ended { Time(0) } else { query.end };
    let filter = serde_json::to_string(&("gpu_cost", Query { end, ..query.clone() }, open_ended));
    let filter = filter.unwrap_or_default();
    let position: Option<Position> = place::read(&filter, token)?;
    let from = position.as_ref().map_or(0, |position| position.0);
    let now = position.map_or(now, |position| position.1);
    if open_ended {
        query.end = crate::usage::hour_ceil(now);
    }
    let read = async {
        let mut tx = db.begin_read().await?;
        let earlier = Time(query.start.0.min((query.end.0 - LOOK_BACK).max(0)));
        let fleet = gpus::fleet(&mut tx, earlier, Time(query.end.0.min(now.0))).await?;
        let prices = gpus::prices(&mut tx).await?;
        let none = Dimensions::default();
        let past = gpus::work(&mut tx, earlier, query.end, none, MOST).await?;
        let work = gpus::work(&mut tx, query.start, query.end, query.group_by, MOST + 1).await?;
        Ok((fleet, prices, past, work))
    };
    let (fleet, prices, past, work) = store::timed(db, "get_gpu_cost", read).await?;
    if work.len() > MOST as usize {
        return Err(Error::TooMuch);
    }
    let best = best_hours(&fleet, &past, weights);
    let (mut rows, pools) = shares(&query, &fleet, &prices, &best, &work, weights);
    let more = rows.len() > from.saturating_add(size as usize);
    let next = if more { place::token(&filter, &Position(from + size as usize, now)) } else { String::new() };
    rows.drain(..from.min(rows.len()));
    rows.truncate(size as usize);
    Ok(Told { rows, pools, next })
}

/// The most weighted tokens that a GPU of each pool did in an hour, of those in which one was up for half of it at least.
pub(crate) fn best_hours(fleet: &Fleet, work: &[Work], weights: Weights) -> BTreeMap<String, f64> {
    let mut done: BTreeMap<(&str, i64), u128> = BTreeMap::new();
    for work in work {
        *done.entry((fleet.pool_of(&work.engine), work.hour.0)).or_default() += work.tokens.weigh(weights);
    }
    let mut best = BTreeMap::new();
    for ((pool, hour), done) in done {
        let seen = fleet.pools.get(pool).and_then(|hours| hours.get(&hour)).copied().unwrap_or_default();
        if seen.gpus.total() * 2 >= HOUR {
            let each = done as f64 * HOUR as f64 / seen.gpus.total() as f64;
            let known: &mut f64 = best.entry(pool.to_owned()).or_default();
            *known = known.max(each);
        }
    }
    best
}

/// What counts as full at a time.
pub(crate) fn capacity(price: Option<&GpuPrice>, best: Option<&f64>) -> Capacity {
    match price.and_then(|price| price.capacity) {
        Some(said) => Capacity { tokens: said as f64, said: true },
        None => Capacity { tokens: best.copied().unwrap_or(0.0), said: false },
    }
}

/// The price of a pool's GPUs at a time.
pub(crate) fn price<'a>(prices: &'a GpuPrices, pool: &str, at: i64) -> Option<&'a GpuPrice> {
    prices.get(pool).and_then(|history| history.at(at)).map(|version| &version.price)
}

type Hourly<'a> = BTreeMap<(&'a str, i64), BTreeMap<&'a Who, Tokens>>;

fn shares(
    query: &Query,
    fleet: &Fleet,
    prices: &GpuPrices,
    best: &BTreeMap<String, f64>,
    work: &[Work],
    weights: Weights,
) -> (Vec<Row>, BTreeMap<String, Total>) {
    let mut hourly: Hourly<'_> = BTreeMap::new();
    for work in work {
        let hour = hourly.entry((fleet.pool_of(&work.engine), work.hour.0)).or_default();
        hour.entry(&work.who).or_default().add(work.tokens);
    }
    // Hours in which nobody did anything cost as much as others.
    for (pool, hours) in &fleet.pools {
        for (hour, _) in hours.range(query.start.0..query.end.0) {
            hourly.entry((pool.as_str(), *hour)).or_default();
        }
    }
    hourly.retain(|(pool, _), _| query.pool.as_deref().is_none_or(|asked| asked == *pool));
    let mut rows: BTreeMap<(Time, &str, Option<&Who>), (Tokens, Part)> = BTreeMap::new();
    let mut pools: BTreeMap<String, Total> = BTreeMap::new();
    for ((pool, hour), users) in &hourly {
        let seen = fleet.pools.get(*pool).and_then(|hours| hours.get(hour)).copied().unwrap_or_default();
        // One price counts for all of an hour: the last that began in it.
        let version = price(prices, pool, hour + HOUR as i64 - 1);
        let capacity = capacity(version, best.get(*pool));
        let full = (capacity.tokens * seen.gpus.total() as f64 / HOUR as f64) as u128;
        let works: Vec<u128> = users.values().map(|tokens| tokens.weigh(weights)).collect();
        let micros = seen.gpus.total().cast_signed();
        let time = split(micros, full, &works);
        let cost = match version {
            Some(version) => version.cost(seen.gpus),
            None => (micros == 0 && !pool.is_empty()).then_some(0),
        };
        let money = cost.map(|cost| split(cost, full, &works));
        let bucket = bucket(query, *hour);
        for (at, (who, tokens)) in users.iter().enumerate() {
            let (sum, part) = rows.entry((bucket, *pool, Some(*who))).or_default();
            sum.add(*tokens);
            part.add(time.shares[at], money.as_ref().map(|money| money.shares[at]));
        }
        let total = pools.entry((*pool).to_owned()).or_default();
        total.all.add(micros, cost);
        total.spot += seen.gpus.spot.cast_signed();
        total.capacity = capacity;
        let idle = money.as_ref().map(|money| money.idle);
        total.idle.add(time.idle, idle);
        if time.idle > 0 {
            rows.entry((bucket, *pool, None)).or_default().1.add(time.idle, idle);
        } else if let Some(rest) = idle.filter(|idle| *idle > 0) {
            // Less than a microsecond of time, and more than nothing of money.
            rows.entry((bucket, *pool, None)).or_default().1.cost += rest;
        }
    }
    let row = |((bucket, pool, who), (tokens, part)): ((Time, &str, Option<&Who>), (Tokens, Part))| Row {
        bucket,
        pool: pool.to_owned(),
        who: who.cloned(),
        tokens,
        part,
    };
    (rows.into_iter().map(row).collect(), pools)
}

fn bucket(query: &Query, hour: i64) -> Time {
    const DAY: i64 = 24 * 3_600_000_000;
    match query.bucket {
        Bucket::Hour => Time(hour),
        Bucket::Day => Time(hour - hour.rem_euclid(DAY)),
        Bucket::Month | Bucket::Whole => query.start,
    }
}
