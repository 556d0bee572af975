//! No statement of jobs, batches and files reads a table from end to end, and each method runs as few as is said here
//! (P10, P11).
//!
//! Tables are filled, every method and the workers run, what is asked of the database meanwhile is recorded, and the
//! database is asked how it would run each statement for values that it does not know.

use super::{sealed::Place, *};
use futures_util::StreamExt;
use proto::inference::v1::file_service_client::FileServiceClient;
use shared::{channel::Channel, db::Db, on};
use sqlx::AssertSqlSafe;
use tests::statements::Recorder;

/// The tables that are large.
const TABLES: [&str; 5] = ["claims", "files", "file_pieces", "batches", "batch_lines"];

/// How many statements a method runs at most, transactions included.
const BOUNDS: [(&str, usize); 15] = [
    ("JobService/SubmitJob", 5),
    ("JobService/GetJob", 1),
    ("JobService/ListJobs", 1),
    ("JobService/CancelJob", 5),
    ("JobService/GetJobStatistics", 2),
    ("InferenceBatchService/CreateBatch", 8),
    ("InferenceBatchService/GetBatch", 1),
    ("InferenceBatchService/ListBatches", 1),
    ("InferenceBatchService/CancelBatch", 7),
    ("FileService/UploadFile", 6),
    ("FileService/GetFile", 1),
    ("FileService/ListFiles", 1),
    ("FileService/DeleteFile", 1),
    // The file, its one piece, and that there is no further one.
    ("FileService/DownloadFile", 3),
    ("JobService/WatchJob", 1),
];

fn has_plan(statement: &str) -> bool {
    ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].iter().any(|verb| statement.starts_with(verb))
}

/// A year of jobs and batches that are over, of a thousand people. None of them is due, none of them is old.
async fn fill(db: &Db, count: i64) {
    let (numbers, id, time, bytes) = match db {
        Db::Postgres(_) => (
            format!("numbers (n) AS (SELECT generate_series(1, {count}))"),
            (|number: &str| format!("CAST(lpad(to_hex({number}), 32, '0') AS UUID)")) as fn(&str) -> String,
            "now() + n * interval '1 minute'",
            "'x'::bytea",
        ),
        Db::Sqlite(_) => (
            format!(
                "RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})"
            ),
            (|number: &str| format!("unhex(printf('%032x', {number}))")) as fn(&str) -> String,
            "(unixepoch() + n * 60) * 1000000",
            "X'78'",
        ),
    };
    let (row, owner) = (id("n"), id("1000000 + n % 1000"));
    let current = format!("(SELECT seal FROM {} LIMIT 1)", "files");
    let statements = [
        format!(
            "WITH {numbers} INSERT INTO claims (id, queue, kind, owner, payload, state, percent, attempt, attempts, \
             fence, cancel, due, created, ended, expires, seal, worker) SELECT {row}, CASE n % 2 WHEN 0 THEN 'ai_tasks' \
             ELSE 'bulk_tasks' END, 'completion', {owner}, {bytes}, CASE WHEN n % 50 = 0 THEN 1 ELSE 3 + n % 3 END, 0, 1, \
             5, 1, FALSE, {time}, {time}, {time}, {time}, {current}, 'worker-' || (n % 9) FROM numbers"
        ),
        format!(
            "WITH {numbers} INSERT INTO files (id, owner, purpose, name, bytes, ready, created, expires, seal) \
             SELECT {row}, {owner}, 'batch', {bytes}, 1, TRUE, {time}, {time}, {current} FROM numbers"
        ),
        format!(
            "WITH {numbers} INSERT INTO file_pieces (file, number, body, seal) SELECT {row}, 0, {bytes}, {current} \
             FROM numbers"
        ),
        format!(
            "WITH {numbers} INSERT INTO batches (id, owner, input, endpoint, completion_window, metadata, status, total, \
             completed, failed, created, expires, ended, seal) SELECT {row}, {owner}, {row}, '/v1/completions', '24h', \
             {bytes}, 5, 1, 1, 0, {time}, {time}, {time}, {current} FROM numbers"
        ),
        format!(
            "WITH {numbers} INSERT INTO batch_lines (batch, line, failed, body, seal) SELECT {}, n, FALSE, {bytes}, \
             {current} FROM numbers",
            id("1 + n % 100")
        ),
        "ANALYZE".to_owned(),
    ];
    for statement in statements {
        on!(db, |pool| sqlx::query(AssertSqlSafe(statement)).execute(pool).await.map(drop)).unwrap();
    }
}

/// Calls every method, and lets the workers do what there is to do.
async fn every_method(gateway: &Gateway) {
    let (mut jobs, channel) = (gateway.jobs(), gateway.channel());
    let body = json!({"model": "tiny", "prompt": "w1", "max_tokens": 2});
    let named = pb::SubmitJobRequest {
        request_id: uuid::Uuid::now_v7().to_string(),
        lock: "report/plan".to_owned(),
        ..completion(&body)
    };
    let job = jobs.submit_job(named.clone()).await.unwrap().into_inner().job.unwrap();
    gateway.job_over(&job.job_id).await;
    // Found by its name, held up by its lock, tried again.
    jobs.submit_job(named).await.unwrap();
    let later = Some(shared::time::to_proto(shared::time::now().plus(Duration::from_secs(3_600))));
    let locked = pb::SubmitJobRequest { due_time: later, lock: "report/plan".into(), ..completion(&body) };
    let waits = jobs.submit_job(locked.clone()).await.unwrap().into_inner().job.unwrap();
    jobs.submit_job(locked).await.unwrap_err();
    let unserved = json!({"model": UNSERVED, "prompt": "w1", "max_tokens": 2});
    let again = pb::SubmitJobRequest { max_attempts: 2, ..completion(&unserved) };
    let again = jobs.submit_job(again).await.unwrap().into_inner().job.unwrap();
    gateway.job_over(&again.job_id).await;
    jobs.cancel_job(pb::CancelJobRequest { job_id: waits.job_id }).await.unwrap();
    let watched = jobs.watch_job(pb::WatchJobRequest { job_id: job.job_id.clone() }).await.unwrap();
    assert_eq!(watched.into_inner().count().await, 1);
    jobs.get_job_statistics(pb::GetJobStatisticsRequest {}).await.unwrap();
    for state in [JobState::Unspecified, JobState::Success] {
        let page = pb::ListJobsRequest { page_size: 1, state: state.into(), ..Default::default() };
        let next_page_token = jobs.list_jobs(page.clone()).await.unwrap().into_inner().next_page_token;
        jobs.list_jobs(pb::ListJobsRequest { page_token: next_page_token, ..page }).await.unwrap();
    }
    every_method_of_batches(gateway, &channel).await;
}

async fn every_method_of_batches(gateway: &Gateway, channel: &Channel) {
    let mut files = FileServiceClient::new(channel.clone());
    let mut batches = InferenceBatchServiceClient::new(channel.clone());
    let upload = |content: String| {
        use pb::upload_file_request::Part;
        let begin = pb::UploadBegin { filename: "f".into(), purpose: "batch".into(), expires_after: 0 };
        let parts = [Part::Begin(begin), Part::Piece(content.into())];
        futures_util::stream::iter(parts.map(|part| pb::UploadFileRequest { part: Some(part) }))
    };
    let content = lines(&[line("tiny", "a"), line("nobody", "b")]);
    let file = files.upload_file(upload(content)).await.unwrap().into_inner().file.unwrap().file_id;
    let asked = pb::CreateBatchRequest {
        input_file_id: file.clone(),
        endpoint: "/v1/chat/completions".to_owned(),
        ..pb::CreateBatchRequest::default()
    };
    let created = batches.create_batch(asked).await.unwrap().into_inner().batch.unwrap();
    gateway.ended(&json!({"id": created.batch_id})).await;
    let many: Vec<Value> = (0..500).map(|number| line("tiny", &format!("{number}"))).collect();
    let large = files.upload_file(upload(lines(&many))).await.unwrap().into_inner().file.unwrap().file_id;
    let asked = pb::CreateBatchRequest {
        input_file_id: large.clone(),
        endpoint: "/v1/chat/completions".to_owned(),
        ..pb::CreateBatchRequest::default()
    };
    let running = batches.create_batch(asked).await.unwrap().into_inner().batch.unwrap();
    batches.cancel_batch(pb::CancelBatchRequest { batch_id: running.batch_id.clone() }).await.unwrap();
    gateway.ended(&json!({"id": running.batch_id})).await;
    batches.get_batch(pb::GetBatchRequest { batch_id: created.batch_id }).await.unwrap();
    let page = pb::ListBatchesRequest { page_size: 1, ..Default::default() };
    let page_token = batches.list_batches(page.clone()).await.unwrap().into_inner().next_page_token;
    batches.list_batches(pb::ListBatchesRequest { page_token, ..page }).await.unwrap();
    files.get_file(pb::GetFileRequest { file_id: file.clone() }).await.unwrap();
    for purpose in ["", "batch"] {
        let page = pb::ListFilesRequest { page_size: 1, purpose: purpose.into(), ..Default::default() };
        let page_token = files.list_files(page.clone()).await.unwrap().into_inner().next_page_token;
        files.list_files(pb::ListFilesRequest { page_token, ..page }).await.unwrap();
    }
    let pieces = files.download_file(pb::DownloadFileRequest { file_id: file }).await.unwrap();
    assert_eq!(pieces.into_inner().count().await, 1);
    files.delete_file(pb::DeleteFileRequest { file_id: large }).await.unwrap();
}

async fn no_statement_walks_and_none_is_one_too_many(place: Place, count: i64) {
    let recorder = Recorder::start();
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::with(&[&engine], |config| place.set(config)).await;
    let db = place.open().await;
    gateway.upload("{}\n").await;
    fill(&db, count).await;
    recorder.clear();
    every_method(&gateway).await;
    gateway.close().await;
    let mut faults = Vec::new();
    for (method, most) in BOUNDS {
        let path = format!("/tollgate.inference.v1.{method}");
        let (calls, asked) = (recorder.calls(&path), recorder.of(&path));
        assert!(calls > 0 && !asked.is_empty(), "{method} was not heard");
        if asked.len() > most * calls {
            faults.push(format!("{method}: {} statements in {calls} calls\n{asked:#?}", asked.len()));
        }
    }
    let (all, mut explained) = (recorder.all(), 0);
    drop(recorder);
    for (statement, methods) in all.into_iter().filter(|(statement, _)| has_plan(statement)) {
        explained += 1;
        let plan = db.explain(&statement).await;
        let plan = plan.unwrap_or_else(|error| panic!("{statement}\nhas no plan: {error}"));
        let tables = plan.scans.iter().map(|scan| scan.table.as_str());
        let walked: Vec<_> = tables.filter(|table| TABLES.contains(table)).collect();
        if !walked.is_empty() {
            faults.push(format!("{methods:?} walk through {walked:?}:\n{statement}\n{plan}\n"));
        }
    }
    eprintln!("{explained} statements explained");
    assert!(explained > 40, "the statements of jobs were heard: {explained}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    db.close().await;
    place.end().await;
}

/// What is heard on one thread depends on who listens on others, so the engines take turns.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn on_postgres() {
    let _turn = TURN.lock().await;
    no_statement_walks_and_none_is_one_too_many(Place::postgres().await, 100_000).await;
}

#[tokio::test]
async fn on_sqlite() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().unwrap();
    no_statement_walks_and_none_is_one_too_many(Place::sqlite(folder.path()), 30_000).await;
}
