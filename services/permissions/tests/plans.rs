//! No statement of this service reads a large table from end to end (P10).
//!
//! A realistic data set is loaded, every RPC of the contract is called against it, what is asked of the database
//! meanwhile is recorded, and the database is asked how it would run each statement for values it does not know.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "providers/browser.rs"]
mod browser;
#[path = "plans/directory.rs"]
mod directory;
#[path = "plans/exercise.rs"]
mod exercise;
#[path = "plans/load.rs"]
mod load;
#[expect(dead_code, reason = "the tests of providers use all of it")]
#[path = "providers/octocat.rs"]
mod octocat;
#[path = "plans/oversight.rs"]
mod oversight;
#[path = "suite/world.rs"]
#[expect(dead_code, unused_macros, unused_imports, reason = "the suite uses all of it")]
mod world;

use load::Size;
use octocat::Octocat;
use permissions::{Config, MIGRATIONS};
use secrecy::SecretString;
use shared::db::{Db, Plan};
use std::collections::BTreeSet;
use tests::statements::Recorder;
use uuid::Uuid;
use world::World;

/// Tables that are small whatever happens, so that reading all of one is the best plan.
const SMALL: [&str; 5] = ["checkpoints", "head", "models", "replicas", "signing_keys"];

/// What operators ask by hand, and what indexes are there for.
const BY_HAND: [&str; 6] = [
    "SELECT * FROM model_permissions_detailed WHERE model_name = $1",
    "SELECT * FROM model_permissions_detailed WHERE grantee_kind = 'user' AND grantee_id = $1",
    "SELECT * FROM model_permissions_detailed WHERE grant_id = $1",
    "SELECT id FROM grants WHERE expires_at > $1 AND expires_at <= $2 ORDER BY expires_at LIMIT 100",
    "SELECT group_id, member_id FROM memberships WHERE expires_at > $1 AND expires_at <= $2 ORDER BY expires_at LIMIT 100",
    "SELECT id FROM keys WHERE revoked_at IS NULL AND expires_at > $1 AND expires_at <= $2 ORDER BY expires_at LIMIT 100",
];

/// Beginnings of statements that may read a large table from end to end, each with the reason.
const EXCEPTIONS: [(&str, &str); 5] = [
    (
        "DELETE FROM key_uses WHERE NOT EXISTS",
        "the sweep compares two tables, now and then and beside the requests",
    ),
    ("SELECT count(*) FROM answers WHERE length(", RESEALED),
    ("SELECT count(*) FROM incidents WHERE length(", RESEALED),
    ("SELECT count(*) FROM sessions WHERE length(", RESEALED),
    ("SELECT count(*) FROM users WHERE erased_at IS NULL AND coalesce(", RESEALED),
];
const RESEALED: &str = "an admin asks, while an encryption key is replaced, what is still sealed by another";

/// What reads whole tables: the snapshot that a process starts from, of which nothing that counts is left out. It is no
/// RPC.
fn is_snapshot(statement: &str) -> bool {
    const LIVING: [&str; 5] = [
        " WHERE deleted_at IS NULL",
        " WHERE dead_ends = 0",
        " WHERE dead_ends = 0 AND member_kind = 'group'",
        " WHERE dead_ends = 0 AND member_kind = 'user'",
        " WHERE id IS NOT NULL AND EXISTS (SELECT 1 FROM users u WHERE u.id = user_id AND u.deleted_at IS NULL)",
    ];
    let whole = LIVING.iter().find_map(|living| statement.strip_suffix(living)).unwrap_or(statement);
    !whole.contains(" WHERE ") && whole.starts_with("SELECT ")
}

fn excepted(statement: &str, methods: &BTreeSet<String>) -> bool {
    let background = methods.iter().all(String::is_empty);
    (background && is_snapshot(statement))
        || EXCEPTIONS.iter().any(|(beginning, _)| statement.starts_with(beginning))
}

/// Statements whose plan can be asked for: all but those that begin, end or mark transactions, and one that joins to its
/// values, whose types are not known without them; it finds users by their primary key.
fn has_plan(statement: &str) -> bool {
    let joins_values = statement.starts_with("UPDATE users SET email = v.column2");
    !joins_values
        && ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].iter().any(|verb| statement.starts_with(verb))
}

/// The tables that a plan walks through although they may be large.
fn walked(plan: &Plan) -> Vec<&str> {
    let tables = plan.scans.iter().map(|scan| scan.table.as_str());
    tables.filter(|table| !SMALL.contains(table)).collect()
}

/// A walk is seen where there is one, and the hint says what would help.
async fn a_walk_is_seen(db: &Db) {
    let plan = db.explain("SELECT id FROM grants WHERE granted_by = $1 AND action = 'use'").await.unwrap();
    assert_eq!(walked(&plan), ["grants"], "{plan}");
    let mut columns = plan.scans[0].columns.clone();
    columns.sort();
    assert_eq!(columns, ["action", "granted_by"]);
    assert!(plan.hint().unwrap().starts_with("sequential scan on grants filtered by ("));
}

/// Calls every RPC, then holds the plan of each statement against the rule. Tables that are not loaded here say
/// little by their plan; of those `unwilling` tells whether there is an index at all: it takes any rather than none.
async fn no_statement_walks(world: &World, size: &Size, unwilling: &Db) {
    a_walk_is_seen(&world.db).await;
    let recorder = Recorder::start();
    // A process that has read all of it.
    let provider = Octocat::start().await;
    let reader = world.another_with(&config_with(&provider)).await;
    exercise::every_method(&reader, size).await;
    reader.end().await;

    let methods = proto::ACCESS.iter().map(|row| row.path);
    let ours: Vec<_> = methods.filter(|path| path.starts_with("/tollgate.permissions.v1.")).collect();
    let missing: Vec<_> = ours.iter().filter(|path| !recorder.heard(path)).collect();
    assert!(missing.is_empty(), "add a line to tests/plans/exercise.rs for {missing:#?}");

    let all = recorder.all();
    drop(recorder);
    let (mut faults, mut explained) = (Vec::new(), 0);
    let by_hand = BY_HAND.map(|statement| (statement.to_owned(), BTreeSet::from(["an operator".to_owned()])));
    for (statement, methods) in all.into_iter().chain(by_hand).filter(|(statement, _)| has_plan(statement)) {
        explained += 1;
        for (db, only) in [(&world.db, load::TABLES.as_slice()), (unwilling, &[])] {
            let plan = db.explain(&statement).await;
            let plan = plan.unwrap_or_else(|error| panic!("{statement}\nhas no plan: {error}"));
            let walked: Vec<_> =
                walked(&plan).into_iter().filter(|table| only.is_empty() || only.contains(table)).collect();
            if !walked.is_empty() && !excepted(&statement, &methods) {
                faults.push(format!("{methods:?} walk through {walked:?}:\n{statement}\n{plan}\n"));
                break;
            }
        }
    }
    eprintln!("{explained} statements of {} methods explained", ours.len());
    assert!(explained > 30, "the statements of the service were heard");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The settings of the world, and a provider to sign in by.
fn config_with(provider: &Octocat) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tollgate.toml");
    std::fs::write(&file, provider.settings("")).unwrap();
    let loaded = shared::config::load::<Config>(Some(&file), &[], Default::default()).unwrap();
    Config { encryption_keys: world::config().encryption_keys, ..loaded.config }
}

/// Foreign keys for whose check a whole table would be read; plans of PostgreSQL do not show that.
const UNINDEXED: &str = "SELECT conrelid::regclass::text || ' (' || attname || ')' FROM pg_constraint \
    JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1] \
    WHERE contype = 'f' AND connamespace = current_schema::regnamespace AND NOT EXISTS ( \
        SELECT 1 FROM pg_index WHERE indrelid = conrelid AND indkey[0] = conkey[1] \
    ) ORDER BY 1";

async fn every_foreign_key_has_an_index(db: &Db) {
    let Db::Postgres(pool) = db else { panic!("this is PostgreSQL") };
    let without: Vec<String> = sqlx::query_scalar(UNINDEXED).fetch_all(pool).await.unwrap();
    assert!(without.is_empty(), "no index begins with {without:#?}");
}

/// What is heard on one thread depends on who listens on others, so the engines take turns.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn no_statement_walks_through_a_large_table_on_postgresql() {
    let _turn = TURN.lock().await;
    let schema: &'static str = Box::leak(format!("plans_{}", Uuid::new_v4().simple()).into_boxed_str());
    let url = tests::postgres::url();
    let db = Db::open(&SecretString::from(url), schema, &MIGRATIONS).await.unwrap();
    every_foreign_key_has_an_index(&db).await;
    let join = if url.contains('?') { '&' } else { '?' };
    let unwilling = SecretString::from(format!("{url}{join}options[enable_seqscan]=off"));
    let unwilling = Db::open(&unwilling, schema, &MIGRATIONS).await.unwrap();
    load::history(&db, &Size::POSTGRES).await;
    let world = World::on(db, Some(schema), &world::config()).await;
    load::people(&world, &Size::POSTGRES).await;
    no_statement_walks(&world, &Size::POSTGRES, &unwilling).await;
    unwilling.close().await;
    world.end().await;
}

#[tokio::test]
async fn no_statement_walks_through_a_large_table_on_sqlite() {
    let _turn = TURN.lock().await;
    let db = Db::memory(&MIGRATIONS).await.unwrap();
    load::history(&db, &Size::SQLITE).await;
    let world = World::on(db, None, &world::config()).await;
    load::people(&world, &Size::SQLITE).await;
    // Without statistics SQLite takes an index wherever there is one.
    no_statement_walks(&world, &Size::SQLITE, &world.db).await;
    world.end().await;
}
