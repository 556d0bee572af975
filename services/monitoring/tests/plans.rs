//! No statement of this service reads the ledger or its sums from end to end (P10, P11).
//!
//! A year of usage is loaded, every method of the contract is called against it with every filter it has, what is asked
//! of the database meanwhile is recorded, and the database is asked how it would run each statement for values it does
//! not know.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "plans/costs.rs"]
mod costs;
#[path = "plans/exercise.rs"]
mod exercise;
#[path = "plans/fleet.rs"]
mod fleet;
#[expect(dead_code, reason = "the suite uses all of it")]
#[path = "suite/ledger.rs"]
mod ledger;
#[path = "plans/load.rs"]
mod load;
#[path = "suite/postgres.rs"]
mod postgres;
#[expect(dead_code, reason = "the suite uses all of it")]
#[path = "suite/sample.rs"]
mod sample;

use ledger::{FROM_MEMORY, Ledger};
use shared::db::{Db, Plan};
use tests::statements::Recorder;

/// Statements whose plan can be asked for: all but those that begin, end or mark transactions.
fn has_plan(statement: &str) -> bool {
    ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].iter().any(|verb| statement.starts_with(verb))
}

/// The statement with the types that its values bring along: without them PostgreSQL takes rows of values for text.
fn typed(db: &Db, statement: &str) -> String {
    match db {
        Db::Postgres(_) => {
            let second = if statement.contains("window_start") { "TIMESTAMPTZ" } else { "BIGINT" };
            let values = format!("IN (VALUES (CAST($1 AS UUID), CAST($2 AS {second}))");
            statement.replace("IN (VALUES ($1, $2)", &values)
        }
        Db::Sqlite(_) => statement.to_owned(),
    }
}

/// The tables of the service that a plan walks through; both are large.
fn walked(plan: &Plan) -> Vec<&str> {
    let tables = plan.scans.iter().map(|scan| scan.table.as_str());
    tables.filter(|table| load::TABLES.contains(table)).collect()
}

/// A walk is seen where there is one, and the hint says what would help.
async fn a_walk_is_seen(db: &Db) {
    let plan = db.explain("SELECT usage_id FROM usage_records WHERE engine = $1").await.unwrap();
    assert_eq!(walked(&plan), ["usage_records"], "{plan}");
    assert!(plan.hint().unwrap().starts_with("sequential scan on usage_records filtered by (engine)"));
}

/// Calls every method, then holds the plan of each statement against the rule.
async fn no_statement_walks(ledger: &Ledger) {
    a_walk_is_seen(&ledger.db).await;
    let recorder = Recorder::start();
    exercise::every_method(ledger).await;
    let methods = proto::ACCESS.iter().map(|row| row.path);
    let ours: Vec<_> = methods.filter(|path| path.starts_with("/tollgate.monitoring.v1.")).collect();
    let asks = |path: &&&str| !FROM_MEMORY.contains(path);
    let missing: Vec<_> = ours.iter().filter(asks).filter(|path| recorder.of(path).is_empty()).collect();
    assert!(missing.is_empty(), "add a line to tests/plans/exercise.rs for {missing:#?}");

    let all = recorder.all();
    drop(recorder);
    let (mut faults, mut explained) = (Vec::new(), 0);
    for (statement, methods) in all.into_iter().filter(|(statement, _)| has_plan(statement)) {
        explained += 1;
        let plan = ledger.db.explain(&typed(&ledger.db, &statement)).await;
        let plan = plan.unwrap_or_else(|error| panic!("{statement}\nhas no plan: {error}"));
        let walked = walked(&plan);
        if !walked.is_empty() {
            faults.push(format!("{methods:?} walk through {walked:?}:\n{statement}\n{plan}\n"));
        }
    }
    eprintln!("{explained} statements of {} methods explained", ours.len());
    assert!(explained > 20, "the statements of the service were heard: {explained}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What is heard on one thread depends on who listens on others, so the engines take turns.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn no_statement_walks_through_a_large_table_on_postgresql() {
    let _turn = TURN.lock().await;
    let ledger = Ledger::postgres_with(serde_json::from_str(exercise::NOWHERE).unwrap()).await;
    load::year(&ledger.db, 200_000).await;
    no_statement_walks(&ledger).await;
    ledger.end().await;
}

#[tokio::test]
async fn no_statement_walks_through_a_large_table_on_sqlite() {
    let _turn = TURN.lock().await;
    let ledger = Ledger::sqlite_with(serde_json::from_str(exercise::NOWHERE).unwrap()).await;
    load::year(&ledger.db, 50_000).await;
    no_statement_walks(&ledger).await;
    ledger.end().await;
}
