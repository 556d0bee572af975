//! What is kept no longer is deleted, with all that belongs to it, and what still counts stays.

use super::{sealed::Place, *};
use shared::{
    db::{Db, Time},
    on,
};
use sqlx::QueryBuilder;
use tempfile::TempDir;

/// Rows of a table.
async fn rows(db: &Db, table: &'static str) -> i64 {
    on!(db, |pool| {
        QueryBuilder::new("SELECT COUNT(*) FROM ").push(table).build_query_scalar().fetch_one(pool).await
    })
    .unwrap()
}

/// Moves the ends of what is over into the past.
async fn let_time_pass(db: &Db) {
    let then = Time(policy::Time(1));
    for column in ["UPDATE claims SET expires", "UPDATE files SET expires", "UPDATE batches SET ended"] {
        let end = column.rsplit(' ').next().unwrap();
        on!(db, |pool| {
            let mut update = QueryBuilder::new(column);
            update.push(" = ").push_bind(then).push(" WHERE ").push(end).push(" IS NOT NULL");
            update.build().execute(pool).await.map(drop)
        })
        .unwrap();
    }
}

async fn what_is_kept_no_longer_is_deleted(place: Place, folder: TempDir) {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::within(folder, &[&engine], |config| place.set(config)).await;
    let batch = gateway.batch(&lines(&[line("tiny", "a"), line("nobody", "b")])).await;
    assert_eq!(gateway.ended(&batch).await["status"], "completed");
    let later = Some(shared::time::to_proto(shared::time::now().plus(Duration::from_secs(3_600))));
    let body = json!({"model": "tiny", "prompt": "w1", "max_tokens": 2});
    let waits = pb::SubmitJobRequest { due_time: later, ..completion(&body) };
    let waits = gateway.jobs().submit_job(waits).await.unwrap().into_inner().job.unwrap();
    let (_, folder) = gateway.end().await;
    let db = place.open().await;
    let all = ["claims", "batches", "files", "file_pieces"];
    let mut counts = Vec::new();
    for table in all {
        counts.push(rows(&db, table).await);
    }
    assert_eq!(counts, [2, 1, 3, 3], "the batch and its three files, and a job that waits");
    let_time_pass(&db).await;

    let gateway = Gateway::within(folder, &[&engine], |config| place.set(config)).await;
    until("all but what waits to be deleted", async || {
        for (table, left) in all.into_iter().zip([1, 0, 0, 0]) {
            if rows(&db, table).await != left {
                return None;
            }
        }
        Some(())
    })
    .await;
    let asked = pb::GetJobRequest { job_id: waits.job_id };
    let waits = gateway.jobs().get_job(asked).await.unwrap().into_inner().job.unwrap();
    assert_eq!(waits.state(), JobState::Pending);
    gateway.close().await;
    db.close().await;
    place.end().await;
}

#[tokio::test]
async fn on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    what_is_kept_no_longer_is_deleted(Place::sqlite(folder.path()), folder).await;
}

#[tokio::test]
async fn on_postgres() {
    let folder = tempfile::tempdir().unwrap();
    what_is_kept_no_longer_is_deleted(Place::postgres().await, folder).await;
}
