//! Calls that do not come to their end leave all of themselves or nothing.

use crate::{
    ledger::Ledger,
    sample::{assorted, record},
};
use proto::monitoring::v1::{RecordUsageRequest, UsageRecord};
use shared::db::Db;
use sqlx::PgPool;
use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

on_both_engines!(a_call_that_is_given_up_at_any_moment_is_kept_whole_or_not_at_all);

async fn a_call_that_is_given_up_at_any_moment_is_kept_whole_or_not_at_all(ledger: &Ledger) {
    let records = assorted(2_000);
    let (mut kept, mut lost) = (0, 0);
    for (polls, batch) in records.chunks(50).enumerate() {
        let mut client = ledger.service();
        let call = client.record_usage(RecordUsageRequest { records: batch.to_vec() });
        let answered = polled(polls, call).await.is_some();
        // The caller does not know what became of it and sends it again, which also waits for its transaction.
        let again = ledger.record(batch).await.unwrap();
        match (again.recorded, again.duplicates) {
            (0, 50) => kept += 1,
            (50, 0) if !answered => lost += 1,
            (new, known) => panic!("after {polls} polls {new} were new and {known} known"),
        }
        assert_eq!(ledger.audited().await.len(), 50 * (polls + 1));
    }
    assert!(kept > 0 && lost > 0, "{kept} calls came to their end, {lost} did not: nothing was shown");
}

/// What `future` gives within so many polls; after that it is dropped.
async fn polled<F: Future>(mut polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // The next poll comes when it has something to do, or there is none left.
            Poll::Pending if polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_killed_between_ledger_and_sums_leaves_neither() {
    let ledger = Ledger::postgres().await;
    let Db::Postgres(pool) = &ledger.db else { panic!("this is PostgreSQL") };
    let pool = pool.unwatched();
    let records: Vec<UsageRecord> = (0..10).map(record).collect();

    // Whoever holds the sums stops a call after it has written its rows of the ledger.
    let mut hold = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE usage_hourly IN ACCESS EXCLUSIVE MODE").execute(&mut *hold).await.unwrap();
    let mut client = ledger.service();
    let request = RecordUsageRequest { records: records.clone() };
    let call = tokio::task::JoinSet::from_iter([async move { client.record_usage(request).await }]);
    let writer = waiting(pool).await;
    sqlx::query("SELECT pg_terminate_backend($1)").bind(writer).execute(pool).await.unwrap();
    let status = call.join_all().await.remove(0).unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert_eq!(shared::status::reason(&status), "STORE_UNAVAILABLE");
    assert!(!status.message().contains("terminat"), "the driver's words are not for callers");
    hold.rollback().await.unwrap();

    assert_eq!(ledger.audited().await, []);
    ledger.keep(&records).await;
    assert_eq!(ledger.audited().await.len(), 10);
    ledger.end().await;
}

/// The process of the server that waits for the sums.
async fn waiting(pool: &PgPool) -> i32 {
    const WAITING: &str =
        "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'usage_hourly'::regclass";
    loop {
        if let Some(pid) = sqlx::query_scalar::<_, i32>(WAITING).fetch_optional(pool).await.unwrap() {
            return pid;
        }
        tokio::task::yield_now().await;
    }
}
