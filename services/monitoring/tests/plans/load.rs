//! The data set: a year of requests by a thousand people with two keys each, and its sums by the hour. The databases make
//! it themselves.

use shared::{db::Db, on};
use sqlx::AssertSqlSafe;

/// The tables that are large.
pub(crate) const TABLES: [&str; 3] = ["usage_records", "usage_hourly", "events"];

/// The beginning, in seconds since 1970, and the seconds between two requests.
pub(crate) const BEGIN: i64 = 1_748_736_000;
const STEP: i64 = 150;

/// What differs between the engines: how to count, and how to write ids, hashes and times.
struct Words {
    numbers: String,
    id: fn(&str) -> String,
    hash: &'static str,
    time: String,
    hour: &'static str,
}

fn words(db: &Db, count: i64) -> Words {
    match db {
        Db::Postgres(_) => Words {
            numbers: format!("numbers (n) AS (SELECT generate_series(1, {count}))"),
            id: |number| format!("CAST(lpad(to_hex({number}), 32, '0') AS UUID)"),
            hash: "decode(repeat('00', 32), 'hex')",
            time: format!("to_timestamp({BEGIN} + n * {STEP})"),
            hour: "date_trunc('hour', start_time, 'UTC')",
        },
        Db::Sqlite(_) => Words {
            numbers: format!(
                "RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})"
            ),
            id: |number| format!("unhex(printf('%032x', {number}))"),
            hash: "zeroblob(32)",
            time: format!("({BEGIN} + n * {STEP}) * 1000000"),
            hour: "start_time - start_time % 3600000000",
        },
    }
}

/// Loads so many records and their sums, and lets the database look at them.
pub(crate) async fn year(db: &Db, count: i64) {
    let Words { numbers, id, hash, time, hour } = words(db, count);
    let [usage, user, key, model] =
        ["n", "1000000 + n % 1000", "2000000 + n % 2000", "3000000 + n % 20"].map(id);
    let records = format!(
        "WITH {numbers} INSERT INTO usage_records (usage_id, attempt, request_id, user_id, key_id, model_id, \
         model, engine, endpoint, stream, outcome, estimated, prompt_tokens, cached_prompt_tokens, completion_tokens, \
         start_time, queue_micros, first_token_micros, duration_micros, body_hash, cached, saved_prompt_tokens, \
         saved_completion_tokens, group_id, served_model, cost, price_id) SELECT {usage}, 1, 'request-' || n, {user}, {key}, {model}, \
         'model-' || (n % 20), 'http://10.0.0.' || (n % 50) || ':8000', 'chat/completions', n % 2 = 0, 1 + n % 4, \
         n % 5 = 0, 100, 60, 20, {time}, 250, 40000, 2500000, {hash}, \
         n % 7 = 0, 0, 0, {user}, 'model-' || (n % 20), 21000000, NULL FROM numbers"
    );
    let sums = format!(
        "INSERT INTO usage_hourly (hour, user_id, key_id, model, endpoint, finished, cancelled, failed, crashed, \
         prompt_tokens, cached_prompt_tokens, completion_tokens, estimated_tokens, cached, saved_prompt_tokens, \
         saved_completion_tokens, group_id, served_model, engine, input_micros, unpriced) SELECT {hour}, user_id, key_id, model, endpoint, count(*), 0, 0, 0, \
         CAST(sum(prompt_tokens) AS BIGINT), 0, CAST(sum(completion_tokens) AS BIGINT), 0, 0, 0, 0, group_id, served_model, engine, CAST(sum(cost) / 1000000 AS BIGINT), 0 \
         FROM usage_records GROUP BY 1, 2, 3, 4, 5, group_id, served_model, engine"
    );
    let events = format!(
        "WITH {numbers} INSERT INTO events SELECT n, 0, {time}, 'actor-' || (n % 50), NULL, 'request-' || n, '', \
         CASE WHEN n % 2 = 0 THEN 'silence' ELSE 'budget' END, CAST(n % 1000 AS TEXT), 'updated', NULL, '{{}}', {hash} \
         FROM numbers"
    );
    let head = format!("UPDATE event_head SET revision = {count}");
    for statement in [records, sums, events, head, "ANALYZE".to_owned()] {
        on!(db, |pool| sqlx::query(AssertSqlSafe(statement)).execute(pool).await.map(drop)).unwrap();
    }
}

/// The id with this number, as the loaded rows have it.
fn id(number: u128) -> String {
    uuid::Uuid::from_u128(number).to_string()
}

pub(crate) fn usage(number: u128) -> String {
    id(number)
}

pub(crate) fn user(number: u128) -> String {
    id(1_000_000 + number % 1_000)
}

pub(crate) fn key(number: u128) -> String {
    id(2_000_000 + number % 2_000)
}
