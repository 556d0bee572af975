//! The plan that SQLite has for a statement of any values.

use super::{Explain, Plan, Scan, named, words};
use sqlx::{AssertSqlSafe, Row as _, Sqlite, SqlitePool};
use std::collections::HashMap;

const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table'";
const COLUMNS: &str = "SELECT name FROM pragma_table_info($1)";

impl Explain for Sqlite {
    async fn explain(pool: &SqlitePool, sql: &str) -> Result<Plan, sqlx::Error> {
        let mut connection = pool.acquire().await?;
        // The text was run as it is a moment ago. Values that are not bound are NULL.
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let rows = sqlx::raw_sql(explain).fetch_all(&mut *connection).await?;
        let mut depths = HashMap::from([(0_i64, 0_usize)]);
        let (mut plan, mut scanned) = (Plan::default(), Vec::new());
        for row in rows {
            let (id, parent, detail): (i64, i64, String) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(3)?);
            let depth = depths.get(&parent).copied().unwrap_or_default();
            depths.insert(id, depth + 1);
            scanned.extend(scan(&detail).map(str::to_owned));
            plan.steps.push(format!("{:1$}{detail}", "", depth * 2));
        }
        let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&mut *connection).await?;
        for name in scanned {
            // What is no table is the result of a subquery.
            let Some(table) = table(&name, &tables, sql) else { continue };
            let columns: Vec<String> =
                sqlx::query_scalar(COLUMNS).bind(&table).fetch_all(&mut *connection).await?;
            let filter = sql.split_once(" WHERE ").map_or("", |(_, rest)| rest);
            let filter = filter.split(" ORDER BY ").next().unwrap_or_default();
            plan.scans.push(Scan { columns: named(filter, &columns), table });
        }
        Ok(plan)
    }
}

/// What a step reads from end to end without the help of an index.
fn scan(detail: &str) -> Option<&str> {
    let name = detail.strip_prefix("SCAN ")?;
    (!name.contains(" USING ") && name != "CONSTANT ROW").then_some(name)
}

/// The table that a statement calls so.
fn table(name: &str, tables: &[String], sql: &str) -> Option<String> {
    if tables.iter().any(|table| table == name) {
        return Some(name.to_owned());
    }
    let mut before = "";
    for word in words(sql).filter(|word| !word.is_empty() && !word.eq_ignore_ascii_case("as")) {
        if word == name && tables.iter().any(|table| table == before) {
            return Some(before.to_owned());
        }
        before = word;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_known_by_its_name_and_by_what_a_statement_calls_it() {
        let tables = ["grants", "models"].map(str::to_owned);
        let sql = "SELECT 1 FROM grants AS g JOIN models m ON m.id = g.model_id";
        let known = ["grants", "g", "m", "(subquery-1)", "x"].map(|name| table(name, &tables, sql));
        let known = known.each_ref().map(|table| table.as_deref().unwrap_or("none"));
        assert_eq!(known, ["grants", "grants", "models", "none", "none"]);
    }

    #[test]
    fn only_walks_without_an_index_are_scans() {
        let details =
            ["SCAN g", "SCAN g USING COVERING INDEX i", "SEARCH g USING INDEX i (a=?)", "SCAN CONSTANT ROW"];
        assert_eq!(details.map(scan), [Some("g"), None, None, None]);
    }
}
