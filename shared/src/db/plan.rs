//! How a database would find the rows of a statement, whatever its values are.
//!
//! PostgreSQL and SQLite say it in their own ways ([`postgres`], [`sqlite`]); what matters of it is which tables are
//! read from end to end, and by which of their columns rows are then kept or dropped.

mod postgres;
mod sqlite;

use sqlx::{Database, Pool};
use std::fmt;

/// A plan, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps, indented below the step that they are for.
    pub steps: Vec<String>,
    /// Tables that are read from end to end.
    pub scans: Vec<Scan>,
}

/// A table that is read from end to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// Its name.
    pub table: String,
    /// Its columns that the rows are kept or dropped by.
    pub columns: Vec<String>,
}

impl Plan {
    /// Which index may help, or `None` when none would.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let scan = self.scans.iter().find(|scan| !scan.columns.is_empty())?;
        let (table, columns) = (&scan.table, scan.columns.join(", "));
        Some(format!(
            "sequential scan on {table} filtered by ({columns}): consider an index on {table} ({columns})"
        ))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.steps.join("\n"))
    }
}

/// A database that tells its plans.
pub trait Explain: Database {
    /// The plan of a statement, without running it.
    fn explain(pool: &Pool<Self>, sql: &str) -> impl Future<Output = Result<Plan, sqlx::Error>> + Send;
}

/// The words of an expression that are not in quotes.
fn words(expression: &str) -> impl Iterator<Item = &str> {
    let unquoted = expression.split('\'').step_by(2);
    unquoted.flat_map(|part| part.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')))
}

/// The columns that occur in an expression, in its order.
fn named(expression: &str, columns: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for word in words(expression) {
        if !found.iter().any(|known| known == word) && columns.iter().any(|column| column == word) {
            found.push(word.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_of_a_filter_are_found_among_literals_types_and_operators() {
        let columns = ["model_id", "grantee_kind", "action"].map(str::to_owned);
        let filter = "((model_id = $1) AND ((grantee_kind)::text = 'action'::text) AND (g.model_id > $2))";
        assert_eq!(named(filter, &columns), ["model_id", "grantee_kind"]);
    }

    #[test]
    fn the_hint_names_table_and_columns_and_a_plain_walk_has_none() {
        let scan = |columns: &[&str]| Scan {
            table: "grants".to_owned(),
            columns: columns.iter().map(ToString::to_string).collect(),
        };
        let plan = |scans| Plan { steps: Vec::new(), scans };
        assert_eq!(plan(vec![scan(&[])]).hint(), None);
        assert_eq!(
            plan(vec![scan(&[]), scan(&["model_id", "action"])]).hint().unwrap(),
            "sequential scan on grants filtered by (model_id, action): consider an index on grants (model_id, action)"
        );
    }
}
