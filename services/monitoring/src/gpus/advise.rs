//! What should be done about GPUs and models, from what was used of them: the arithmetic is [`advice`]'s.

use super::{
    GpuPrices,
    cost::{Work, best_hours, capacity, price},
    fleet::{Fleet, Seen},
};
use crate::{
    error::Error,
    store::{self, gpus, gpus::Preempted, rollup},
    usage::{
        charge::Prices,
        report::{Bucket, Dimensions, Query, Row},
        zone::Zone,
    },
};
use advice::{Advice, Hour, Kind, ModelUse, Offer, Pool, Told, Withheld};
use policy::Time;
use pricing::{Tokens, gpu::Weights};
use shared::db::Db;
use std::collections::BTreeMap;

/// Microseconds of an hour.
const HOUR: f64 = 3_600_000_000.0;
/// Pico-dollars of a dollar.
const DOLLAR: f64 = 1e12;
/// Rows that are worked on at once.
const MOST: u32 = 200_000;
/// Models, with their endpoints, that are held against each other: those that come first.
const MODELS: u32 = 200;

/// What is advised, what saves most first; and what is not, and why.
#[derive(Debug)]
pub(crate) struct Advised {
    pub(crate) advice: Vec<Advice>,
    pub(crate) withheld: Vec<Withheld>,
}

/// What was seen.
struct Facts {
    fleet: Fleet,
    prices: GpuPrices,
    work: Vec<Work>,
    preempted: Vec<Preempted>,
    models: Vec<Row>,
}

/// Advises from what was used between two full hours.
///
/// # Errors
/// [`Error::TooMuch`], or when the store is away.
pub(crate) async fn advise(db: &Db, start: Time, end: Time, weights: Weights) -> Result<Advised, Error> {
    let by_model = Dimensions { served_model: true, endpoint: true, ..Dimensions::default() };
    let query = Query {
        start,
        end,
        group_by: by_model,
        bucket: Bucket::Whole,
        zone: Zone::utc(),
        user: None,
        api_key: None,
        group: None,
        model: None,
    };
    let read = async {
        let mut tx = db.begin_read().await?;
        let fleet = gpus::fleet(&mut tx, start, end).await?;
        let prices = gpus::prices(&mut tx).await?;
        let work = gpus::work(&mut tx, start, end, by_model, MOST + 1).await?;
        let preempted = gpus::preempted(&mut tx, start, end).await?;
        drop(tx);
        let models = rollup::sums(db, &query, None, MODELS).await?;
        Ok(Facts { fleet, prices, work, preempted, models })
    };
    let facts = store::timed(db, "get_advice", read).await?;
    if facts.work.len() > MOST as usize {
        return Err(Error::TooMuch);
    }
    let pools = pools(&facts, end, weights);
    let mut told: Vec<Told> =
        pools.iter().flat_map(|pool| [advice::idle(pool), advice::spot(pool)]).collect();
    if pools.is_empty() {
        let because = "no agent reports instances in this time".to_owned();
        told.push(Err(Withheld { kind: Kind::Idle, subject: String::new(), because }));
    }
    for (at, one) in pools.iter().enumerate() {
        for other in &pools[at + 1..] {
            let both = one.models.keys().filter(|model| other.models.contains_key(*model));
            told.extend(both.map(|model| advice::fit(model, one, other)));
        }
    }
    told.extend(models(db, &facts.models, start, end).await?);
    let mut advised = Advised { advice: Vec::new(), withheld: Vec::new() };
    for told in told {
        match told {
            Ok(advice) => advised.advice.push(advice),
            Err(withheld) => advised.withheld.push(withheld),
        }
    }
    advised.advice.sort_by(|one, other| other.saving.total_cmp(&one.saving));
    Ok(advised)
}

fn pools(facts: &Facts, end: Time, weights: Weights) -> Vec<Pool> {
    let best = best_hours(&facts.fleet, &facts.work, weights);
    let mut done: BTreeMap<(&str, i64), f64> = BTreeMap::new();
    let mut pools: BTreeMap<&str, Pool> = BTreeMap::new();
    for work in &facts.work {
        let name = facts.fleet.pool_of(&work.engine);
        let weighed = work.tokens.weigh(weights) as f64;
        *done.entry((name, work.hour.0)).or_default() += weighed;
        let pool = pools.entry(name).or_default();
        *pool.models.entry(work.who.model.clone()).or_default() += weighed;
        pool.requests += work.requests;
    }
    let pool = |(name, hours): (&String, &BTreeMap<i64, Seen>)| {
        let sum = |of: fn(&Seen) -> u128| hours.values().map(of).sum::<u128>() as f64;
        let (gpus, instances) = (sum(|seen| seen.gpus.total()), sum(|seen| seen.instances.total()));
        let version = price(&facts.prices, name, end.0);
        let capacity = capacity(version, best.get(name));
        let dollars = |money: Option<pricing::Money>| money.map(|money| money.0 as f64 / DOLLAR);
        let taken = facts.preempted.iter().find(|taken| taken.pool == *name);
        let hour = |(at, seen): (&i64, &Seen)| Hour {
            instances: seen.instances.total() as f64 / HOUR,
            spot: seen.instances.spot as f64 / HOUR,
            work: done.get(&(name.as_str(), *at)).copied().unwrap_or(0.0),
        };
        Pool {
            name: name.clone(),
            gpus: if instances > 0.0 { gpus / instances } else { 0.0 },
            price: version.and_then(|version| dollars(version.hour)),
            spot_price: version.and_then(|version| dollars(version.spot_hour)),
            capacity: capacity.tokens,
            capacity_said: capacity.said,
            hours: hours.iter().map(hour).collect(),
            preemptions: taken.map_or(0, |taken| taken.preemptions.unsigned_abs()),
            cut_off: taken.map_or(0, |taken| taken.cut_off.unsigned_abs()),
            ..pools.get(name.as_str()).cloned().unwrap_or_default()
        }
    };
    facts.fleet.pools.iter().map(pool).collect()
}

/// Each model against those that were used on the same endpoint.
async fn models(db: &Db, rows: &[Row], start: Time, end: Time) -> Result<Vec<Told>, Error> {
    let mut tx = db.begin_read().await?;
    let names = rows.iter().map(|row| row.group.served_model.as_str());
    let prices = Prices::of_models(&mut tx, names).await?;
    drop(tx);
    let used = |row: &Row| ModelUse {
        model: row.group.served_model.clone(),
        endpoint: row.group.endpoint.clone(),
        hours: (end.0 - start.0) as f64 / HOUR,
        requests: (row.sums.requests() - row.sums.cached).unsigned_abs(),
        finished: (row.sums.finished - row.sums.cached).max(0).unsigned_abs(),
        cost: (row.sums.unpriced == 0).then(|| row.sums.cost.total() as f64 / DOLLAR),
    };
    let told = rows.iter().map(|row| {
        let [prompt, cached, completion] =
            [row.sums.prompt_tokens, row.sums.cached_prompt_tokens, row.sums.completion_tokens]
                .map(i64::unsigned_abs);
        let tokens = Tokens::of_openai(prompt, cached, completion);
        let others = rows.iter().filter(|other| other.group.endpoint == row.group.endpoint);
        let others = others.filter(|other| other.group.served_model != row.group.served_model);
        let offer = |other: &Row| {
            let cost = prices.cost(&other.group.served_model, tokens, end).cost;
            Offer { used: used(other), cost: cost.map(|cost| cost.0 as f64 / DOLLAR) }
        };
        advice::model(&used(row), &others.map(offer).collect::<Vec<_>>())
    });
    Ok(told.collect())
}
