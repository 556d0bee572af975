//! The sums by the hour, and reports from them.

use super::{group_or_nil, id_or_nil, join, split};
use crate::{
    usage::report::{Bucket, Group, Query, Row},
    usage::{HourKey, Sums, zone::Zone},
};
use pricing::Cost;
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

const KEYS: &str = "hour, user_id, key_id, group_id, model, endpoint, served_model, engine";

/// What is summed.
const SUMS: [&str; 20] = [
    "finished",
    "cancelled",
    "failed",
    "crashed",
    "prompt_tokens",
    "cached_prompt_tokens",
    "completion_tokens",
    "estimated_tokens",
    "cached",
    "saved_prompt_tokens",
    "saved_completion_tokens",
    "unpriced",
    "engine_micros",
    "gpu_micros",
    "input_micros",
    "input_rest",
    "cache_read_micros",
    "cache_read_rest",
    "output_micros",
    "output_rest",
];

#[derive(sqlx::FromRow)]
struct SumRow {
    bucket: Time,
    user_id: Uuid,
    key_id: Uuid,
    group_id: Uuid,
    model: String,
    endpoint: String,
    served_model: String,
    engine: String,
    finished: i64,
    cancelled: i64,
    failed: i64,
    crashed: i64,
    prompt_tokens: i64,
    cached_prompt_tokens: i64,
    completion_tokens: i64,
    estimated_tokens: i64,
    cached: i64,
    saved_prompt_tokens: i64,
    saved_completion_tokens: i64,
    unpriced: i64,
    engine_micros: i64,
    gpu_micros: i64,
    input_micros: i64,
    input_rest: i64,
    cache_read_micros: i64,
    cache_read_rest: i64,
    output_micros: i64,
    output_rest: i64,
}

/// Adds sums to hours whose keys differ from each other and come in order.
pub(crate) async fn add(tx: &mut Tx, hours: &[(HourKey, Sums)]) -> Result<(), sqlx::Error> {
    if hours.is_empty() {
        return Ok(());
    }
    on_tx!(tx, |connection| {
        let mut query = QueryBuilder::new("INSERT INTO usage_hourly (");
        query.push(KEYS).push(", ").push(SUMS.join(", ")).push(") ");
        query.push_values(hours, |mut row, (key, sums)| {
            row.push_bind(Time(key.hour))
                .push_bind(key.user.uuid())
                .push_bind(id_or_nil(key.api_key))
                .push_bind(group_or_nil(key.group))
                .push_bind(key.model.as_str())
                .push_bind(key.endpoint.as_str())
                .push_bind(key.served_model.as_str())
                .push_bind(key.engine.as_str());
            for sum in numbers(sums) {
                row.push_bind(sum);
            }
        });
        query.push(" ON CONFLICT (").push(KEYS).push(") DO UPDATE SET ");
        let mut sets = query.separated(", ");
        for sum in SUMS {
            sets.push(format!("{sum} = usage_hourly.{sum} + excluded.{sum}"));
        }
        query.build().persistent(false).execute(connection).await.map(drop)
    })
}

/// In the order of their columns.
fn numbers(sums: &Sums) -> [i64; 20] {
    let (input, input_rest) = split(sums.cost.input);
    let (cache_read, cache_read_rest) = split(sums.cost.cache_read);
    let (output, output_rest) = split(sums.cost.output);
    [
        sums.finished,
        sums.cancelled,
        sums.failed,
        sums.crashed,
        sums.prompt_tokens,
        sums.cached_prompt_tokens,
        sums.completion_tokens,
        sums.estimated_tokens,
        sums.cached,
        sums.saved_prompt_tokens,
        sums.saved_completion_tokens,
        sums.unpriced,
        sums.engine_micros,
        sums.gpu_micros,
        input,
        input_rest,
        cache_read,
        cache_read_rest,
        output,
        output_rest,
    ]
}

/// The first rows of a report, those after `after` when there is one.
pub(crate) async fn sums(
    db: &Db,
    query: &Query,
    after: Option<&Group>,
    limit: u32,
) -> Result<Vec<Row>, sqlx::Error> {
    let bucket = bucket(db, query);
    let by = query.group_by;
    let ids = [(by.user, "user_id"), (by.key, "key_id"), (by.group, "group_id")];
    let texts = [
        (by.model, "model"),
        (by.endpoint, "endpoint"),
        (by.served_model, "served_model"),
        (by.engine, "engine"),
    ];
    let asked = ids.iter().chain(&texts).filter(|(asked, _)| *asked);
    let grouped: String = asked.map(|(_, column)| format!(", {column}")).collect();
    let rows = on!(db, |pool| {
        let mut select = QueryBuilder::new("SELECT bucket");
        for (asked, column) in ids {
            match asked {
                true => select.push(", ").push(column),
                false => select.push(", ").push_bind(Uuid::nil()).push(" AS ").push(column),
            };
        }
        for (asked, column) in texts {
            match asked {
                true => select.push(", ").push(column),
                false => select.push(", ").push_bind("").push(" AS ").push(column),
            };
        }
        for sum in SUMS {
            // PostgreSQL makes a NUMERIC of a sum of BIGINTs.
            select.push(format!(", CAST(SUM({sum}) AS BIGINT) AS {sum}"));
        }
        select.push(" FROM (SELECT ");
        match &bucket {
            Some((expression, Some(zone))) => select.push(expression).push_bind(zone).push(")"),
            Some((expression, None)) => select.push(expression),
            None => select.push_bind(Time(query.start)),
        };
        select.push(" AS bucket").push(&grouped).push(", ").push(SUMS.join(", "));
        select.push(" FROM usage_hourly WHERE hour >= ").push_bind(Time(query.start));
        select.push(" AND hour < ").push_bind(Time(query.end));
        if let Some(user) = query.user {
            select.push(" AND user_id = ").push_bind(user.uuid());
        }
        if let Some(key) = query.api_key {
            select.push(" AND key_id = ").push_bind(key.uuid());
        }
        if let Some(group) = query.group {
            select.push(" AND group_id = ").push_bind(group.uuid());
        }
        if let Some(model) = &query.model {
            select.push(" AND model = ").push_bind(model);
        }
        select.push(") AS hours");
        if let Some(after) = after {
            select.push(" WHERE (bucket").push(&grouped).push(") > (");
            select.push_bind(Time(shown(db, query, after.bucket)));
            for ((asked, _), id) in ids.iter().zip([after.user, after.key, after.group]) {
                if *asked {
                    select.push(", ").push_bind(id);
                }
            }
            let places = [&after.model, &after.endpoint, &after.served_model, &after.engine];
            for ((asked, _), text) in texts.iter().zip(places) {
                if *asked {
                    select.push(", ").push_bind(text);
                }
            }
            select.push(")");
        }
        select.push(" GROUP BY bucket").push(&grouped).push(" ORDER BY bucket").push(&grouped);
        select.push(" LIMIT ").push_bind(i64::from(limit));
        select.build_query_as::<SumRow>().fetch_all(pool).await
    })?;
    let begun = |row: Row| {
        let bucket = begun(db, query, row.group.bucket);
        Row { group: Group { bucket, ..row.group }, ..row }
    };
    Ok(rows.into_iter().map(Row::from).map(begun).collect())
}

/// The start of an hour's bucket as SQL, up to the name of a zone where it ends with one; `None` when all hours share one. An hour counts to the day that it begins in.
///
/// Arithmetic on times is where the engines differ: SQLite has microseconds since 1970, no time of this ledger is before
/// that, and it knows no time zones, so there a bucket is named by what the clocks of the zone show.
fn bucket(db: &Db, query: &Query) -> Option<(String, Option<String>)> {
    let unit = match query.bucket {
        Bucket::Whole => return None,
        Bucket::Hour => return Some(("hour".into(), None)),
        Bucket::Day => "day",
        Bucket::Month => "month",
    };
    Some(match db {
        Db::Postgres(_) => (format!("date_trunc('{unit}', hour, "), Some(query.zone.name().to_owned())),
        Db::Sqlite(_) => {
            let shown = clocks(&query.zone, query.start, query.end);
            let expression = match query.bucket {
                Bucket::Month => format!(
                    "CAST(strftime('%s', ({shown}) / 1000000, 'unixepoch', 'start of month') AS INTEGER) * 1000000"
                ),
                _ => format!("{shown} - (({shown}) % 86400000000 + 86400000000) % 86400000000"),
            };
            (expression, None)
        }
    })
}

/// What the clocks of a zone show in an hour, as SQL.
fn clocks(zone: &Zone, start: policy::Time, end: policy::Time) -> String {
    let (until, last) = zone.offsets(start, end);
    if until.is_empty() {
        return format!("hour + {last}");
    }
    let cases = until.iter().map(|(time, ahead)| format!(" WHEN hour < {} THEN {ahead}", time.0));
    format!("hour + CASE{} ELSE {last} END", cases.collect::<String>())
}

/// The time of a bucket as the engine names it.
fn shown(db: &Db, query: &Query, bucket: policy::Time) -> policy::Time {
    match (db, query.bucket) {
        (Db::Sqlite(_), Bucket::Day | Bucket::Month) => {
            let shown = query.zone.shown(bucket);
            policy::Time(shown - shown.rem_euclid(86_400_000_000))
        }
        _ => bucket,
    }
}

/// The same, back.
fn begun(db: &Db, query: &Query, bucket: policy::Time) -> policy::Time {
    match (db, query.bucket) {
        (Db::Sqlite(_), Bucket::Day | Bucket::Month) => query.zone.begins(bucket.0),
        _ => bucket,
    }
}

impl From<SumRow> for Row {
    fn from(row: SumRow) -> Self {
        Self {
            group: Group {
                bucket: row.bucket.0,
                user: row.user_id,
                key: row.key_id,
                group: row.group_id,
                model: row.model,
                endpoint: row.endpoint,
                served_model: row.served_model,
                engine: row.engine,
            },
            sums: Sums {
                finished: row.finished,
                cancelled: row.cancelled,
                failed: row.failed,
                crashed: row.crashed,
                prompt_tokens: row.prompt_tokens,
                cached_prompt_tokens: row.cached_prompt_tokens,
                completion_tokens: row.completion_tokens,
                estimated_tokens: row.estimated_tokens,
                cached: row.cached,
                saved_prompt_tokens: row.saved_prompt_tokens,
                saved_completion_tokens: row.saved_completion_tokens,
                cost: Cost {
                    input: join(row.input_micros, row.input_rest),
                    cache_read: join(row.cache_read_micros, row.cache_read_rest),
                    output: join(row.output_micros, row.output_rest),
                },
                unpriced: row.unpriced,
                engine_micros: row.engine_micros,
                gpu_micros: row.gpu_micros,
            },
        }
    }
}
