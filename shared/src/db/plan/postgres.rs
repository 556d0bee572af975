//! The plan that PostgreSQL has for a prepared statement of any values.

use super::{Explain, Plan, Scan, named};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, Postgres, types::Json};

/// Nothing is changed, and nobody is held up for long.
const SETTINGS: &str = "SET LOCAL statement_timeout = '2s'; SET LOCAL plan_cache_mode = force_generic_plan";
const FORGET: &str = "DEALLOCATE tollgate_plan";
const PARAMETERS: &str =
    "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'tollgate_plan'";
const COLUMNS: &str = "SELECT attname::text FROM pg_attribute \
    WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";

impl Explain for Postgres {
    async fn explain(pool: &PgPool, sql: &str) -> Result<Plan, sqlx::Error> {
        let mut connection = pool.acquire().await?;
        // What is prepared outlives its transaction, and whoever asked before may have been cut short. Mostly there
        // is nothing of that name.
        let _ = sqlx::raw_sql(FORGET).execute(&mut *connection).await;
        let plan = explain(&mut connection, sql).await;
        let _ = sqlx::raw_sql(FORGET).execute(&mut *connection).await;
        plan
    }
}

async fn explain(connection: &mut PgConnection, sql: &str) -> Result<Plan, sqlx::Error> {
    let mut tx = connection.begin_with("BEGIN READ ONLY").await?;
    sqlx::raw_sql(SETTINGS).execute(&mut *tx).await?;
    // The text was run as it is a moment ago.
    sqlx::raw_sql(AssertSqlSafe(format!("PREPARE tollgate_plan AS {sql}"))).execute(&mut *tx).await?;
    let parameters: i32 = sqlx::query_scalar(PARAMETERS).fetch_one(&mut *tx).await?;
    let nulls = vec!["NULL"; usize::try_from(parameters).unwrap_or(0)].join(", ");
    let values = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    let execute = format!("EXPLAIN (FORMAT JSON) EXECUTE tollgate_plan{values}");
    let row = sqlx::raw_sql(AssertSqlSafe(execute)).fetch_one(&mut *tx).await?;
    let Json(told) = sqlx::Row::try_get::<Json<Value>, _>(&row, 0)?;
    let mut plan = Plan::default();
    let mut filters = Vec::new();
    read(&told[0]["Plan"], 0, &mut plan, &mut filters);
    for (table, filter) in filters {
        let columns: Vec<String> = sqlx::query_scalar(COLUMNS).bind(&table).fetch_all(&mut *tx).await?;
        plan.scans.push(Scan { columns: named(&filter, &columns), table });
    }
    tx.rollback().await?;
    Ok(plan)
}

/// Notes a node and those below it; of sequential scans also the table and its filter.
fn read(node: &Value, depth: usize, plan: &mut Plan, scans: &mut Vec<(String, String)>) {
    let text = |name: &str| node[name].as_str().unwrap_or_default();
    let (kind, table) = (text("Node Type"), text("Relation Name"));
    let mut step = format!("{:1$}{kind}", "", depth * 2);
    for (before, value) in [(" using ", text("Index Name")), (" on ", table)] {
        if !value.is_empty() {
            step.push_str(before);
            step.push_str(value);
        }
    }
    for condition in ["Index Cond", "Recheck Cond", "Hash Cond", "Filter"] {
        if !text(condition).is_empty() {
            step.push_str(&format!(", {}: {}", condition.to_lowercase(), text(condition)));
        }
    }
    plan.steps.push(step);
    if kind.ends_with("Seq Scan") {
        scans.push((table.to_owned(), text("Filter").to_owned()));
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        read(child, depth + 1, plan, scans);
    }
}
