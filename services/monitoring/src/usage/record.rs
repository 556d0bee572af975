//! Recording: what is new goes into the ledger and its hour's sums in one transaction, what is known changes nothing.
//!
//! The first record under a key wins, whatever a later one says. One that says something else is a fault of its
//! sender: it counts as a duplicate, and is logged and counted as a conflict.

use crate::{
    budgets::{
        gauge,
        spend::{Change, Spent, spend},
    },
    error::Error,
    store::{self, records, rollup},
    usage::charge::Prices,
    usage::{Charge, Entry, HourKey, Record, RecordKey, Sums},
};
use opentelemetry::{KeyValue, metrics::Counter};
use shared::{db::Db, telemetry, time};
use std::{collections::BTreeMap, sync::LazyLock};

static RECORDS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = telemetry::meter();
    let records = meter.u64_counter("tollgate.usage.records").with_unit("{record}");
    records.with_description("Usage records received, by what became of them").build()
});

static COST: LazyLock<Counter<f64>> = LazyLock::new(|| {
    let meter = telemetry::meter();
    let cost = meter.f64_counter("llm.cost.usd");
    cost.with_description("Cost of requests whose models have a price, in dollars").build()
});

static UNPRICED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = telemetry::meter();
    let unpriced = meter.u64_counter("tollgate.usage.unpriced").with_unit("{record}");
    unpriced
        .with_description("Usage records whose cost is not known, because their model has no price")
        .build()
});

/// What became of the records of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) new: usize,
    pub(crate) known: usize,
}

/// Keeps what is new among `entries`.
///
/// # Errors
/// When the store is away; then none of the entries is kept.
pub(crate) async fn record(db: &Db, entries: Vec<Entry>) -> Result<Recorded, Error> {
    let sent = entries.len();
    let batch = Batch::of(entries);
    let (new, mut conflicts) = store::timed(db, "record_usage", keep(db, &batch.entries)).await?;
    conflicts.extend(batch.conflicts);
    let known = sent - new;
    count(new, known - conflicts.len(), &conflicts);
    Ok(Recorded { new, known })
}

async fn keep(db: &Db, entries: &[Entry]) -> Result<(usize, Vec<RecordKey>), sqlx::Error> {
    let mut tx = db.begin().await?;
    let prices = Prices::of(&mut tx, entries.iter().map(|entry| &entry.record)).await?;
    let charges: Vec<Charge> = entries.iter().map(|entry| prices.charge(&entry.record)).collect();
    let new = records::insert(&mut tx, entries, &charges).await?;
    let known: Vec<&Entry> = entries.iter().filter(|entry| !new.contains(&entry.record.key)).collect();
    let kept = records::hashes(&mut tx, &known).await?;
    // Last, because every caller adds to the same few hours, and waits there for whoever came before.
    let added = entries.iter().zip(&charges).filter(|(entry, _)| new.contains(&entry.record.key));
    let added: Vec<(&Record, Charge)> = added.map(|(entry, charge)| (&entry.record, *charge)).collect();
    rollup::add(&mut tx, &hourly(&added, &prices)).await?;
    let changes: Vec<Change<'_>> = entries
        .iter()
        .zip(&charges)
        .filter(|(entry, _)| new.contains(&entry.record.key))
        .map(|(entry, charge)| Change {
            record: &entry.record,
            spent: Spent::by(&entry.record, *charge),
            leased: entry.leased.as_ref(),
        })
        .collect();
    let reached = spend(&mut tx, &changes, time::now()).await?;
    tx.commit().await?;
    if reached {
        gauge::look();
    }
    charged(&added);
    let differs = |entry: &&&Entry| kept.get(&entry.record.key) != Some(&entry.body_hash);
    Ok((new.len(), known.iter().filter(differs).map(|entry| entry.record.key).collect()))
}

/// The entries of one call, each key once and in order: two calls that share keys take their locks in the same
/// order, so neither can wait for the other in a circle.
#[derive(Debug)]
struct Batch {
    entries: Vec<Entry>,
    /// Keys that came again within the call, with other content.
    conflicts: Vec<RecordKey>,
}

impl Batch {
    fn of(mut entries: Vec<Entry>) -> Self {
        let mut conflicts = Vec::new();
        // A stable sort: of the same key, the one sent first stays.
        entries.sort_by_key(|entry| entry.record.key);
        entries.dedup_by(|later, first| {
            let same = later.record.key == first.record.key;
            if same && later.body_hash != first.body_hash {
                conflicts.push(later.record.key);
            }
            same
        });
        Self { entries, conflicts }
    }
}

/// What new records add to each hour, in the order of the hours' keys.
fn hourly(added: &[(&Record, Charge)], prices: &Prices) -> Vec<(HourKey, Sums)> {
    let mut hours: BTreeMap<HourKey, Sums> = BTreeMap::new();
    for (record, charge) in added {
        hours.entry(record.hour_key()).or_default().count(record, prices.parts(record, *charge));
    }
    hours.into_iter().collect()
}

/// Tells what new records cost, by the names of their models, which are few.
fn charged(added: &[(&Record, Charge)]) {
    for (record, charge) in added {
        let labels = [KeyValue::new("model", record.priced_as().to_owned())];
        match charge.cost {
            // A counter is no account: the ledger is exact.
            Some(cost) => COST.add(cost.0 as f64 / 1e12, &labels),
            None => UNPRICED.add(1, &labels),
        }
    }
}

fn count(new: usize, duplicates: usize, conflicts: &[RecordKey]) {
    for (result, number) in [("recorded", new), ("duplicate", duplicates), ("conflict", conflicts.len())] {
        RECORDS.add(number as u64, &[KeyValue::new("result", result)]);
    }
    for key in conflicts {
        tracing::warn!(
            usage_id = %key.usage_id,
            attempt = key.attempt,
            "a usage record came again with other content; the first one stays"
        );
    }
}
