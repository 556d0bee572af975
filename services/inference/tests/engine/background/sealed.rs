//! What a dump of the database does not tell of jobs, batches and files, and how its keys are changed (A7).

use super::*;
use inference::{MIGRATIONS, SCHEMA};
use shared::{
    config::SecretString,
    db::Db,
    on,
    seal::{
        Sealer,
        rows::{self, Vault},
    },
};
use sqlx::{Connection, PgConnection, QueryBuilder};
use std::path::Path;
use tempfile::TempDir;

/// What nobody is to find: of a prompt, an answer, the names of a file and of a line, of metadata, and of a refusal.
const SECRETS: [&str; 6] =
    ["confidential", "chat.completion", "payroll.jsonl", "employee-7", "project-omega", "nonsense-8"];

/// A database of a test's own, and the settings to reach it.
pub(super) struct Place {
    url: SecretString,
    name: Option<String>,
}

impl Place {
    /// A file in the folder of the gateway.
    pub(super) fn sqlite(folder: &Path) -> Self {
        Self { url: format!("sqlite:{}", folder.join("inference.db").display()).into(), name: None }
    }

    pub(super) async fn postgres() -> Self {
        let (server, name) = (server().await, format!("sealed_{}", uuid::Uuid::now_v7().simple()));
        run(server, "CREATE DATABASE ", &name).await;
        let (address, parameters) = server.split_once('?').unwrap_or((server, ""));
        let (host, _) = address.rsplit_once('/').unwrap();
        Self { url: format!("{host}/{name}?{parameters}").into(), name: Some(name) }
    }

    pub(super) async fn open(&self) -> Db {
        Db::open(&self.url, SCHEMA, &MIGRATIONS).await.unwrap()
    }

    pub(super) fn set(&self, config: &mut Config) {
        quick(config);
        config.database = self.url.clone();
    }

    pub(super) async fn end(self) {
        if let Some(name) = self.name {
            run(server().await, "DROP DATABASE ", &name).await;
        }
    }
}

async fn server() -> &'static str {
    tokio::task::spawn_blocking(tests::postgres::url).await.unwrap()
}

async fn run(url: &str, command: &str, name: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    QueryBuilder::new(command).push(name).build().execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Every row of every table as PostgreSQL writes it out, with what its bytes hold; the whole file of SQLite.
async fn dump(db: &Db, folder: &Path) -> Vec<u8> {
    let Db::Postgres(pool) = db else {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files =
            files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("inference.db"));
        return files.flat_map(|path| std::fs::read(path).unwrap()).collect();
    };
    let mut dump = Vec::new();
    for table in ["claims", "files", "file_pieces", "batches", "batch_lines", "seals"] {
        let mut rows = QueryBuilder::new("SELECT encode(convert_to(t::text, 'UTF8'), 'escape') FROM ");
        let rows: Vec<String> =
            rows.push(table).push(" t").build_query_scalar().fetch_all(pool).await.unwrap();
        for row in rows {
            dump.extend_from_slice(row.as_bytes());
            // Bytes are written in hex; what they hold is looked for as it is.
            for hex in row.split("x").filter_map(|part| part.split([',', '"', ')']).next()) {
                dump.extend(hex::decode(hex).unwrap_or_default());
            }
        }
    }
    dump
}

fn holds(dump: &[u8], text: &str) -> bool {
    memchr::memmem::find(&dump.to_ascii_lowercase(), text.to_ascii_lowercase().as_bytes()).is_some()
}

/// A form with a file of this name.
fn named_form(content: &str) -> Request<String> {
    form("batch", content).map(|body| body.replace("lines.jsonl", "payroll.jsonl"))
}

async fn upload(gateway: &Gateway, content: &str) -> String {
    gateway.send(named_form(content)).await.json().await["id"].as_str().unwrap().to_owned()
}

async fn batch(gateway: &Gateway, file: &str) -> Value {
    let asked = json!({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h",
                       "metadata": {"project": "project-omega"}});
    let batch = gateway.send(client::post("/v1/batches", &asked)).await.json().await;
    gateway.ended(&batch).await
}

/// Jobs and batches that succeeded, failed and wait; what shows that they can still be read.
struct Kept {
    batch: Value,
    failed: Value,
    done: String,
    waits: String,
}

impl Kept {
    async fn make(gateway: &Gateway) -> Self {
        let good = lines(&[line("tiny", "confidential employee-7"), line("nobody", "employee-7")]);
        let batch_made = batch(gateway, &upload(gateway, &good).await).await;
        let odd = json!({"custom_id": "employee-7", "method": "GET", "url": "nonsense-8", "body": {}});
        let failed = batch(gateway, &upload(gateway, &lines(&[odd])).await).await;
        let body = json!({"model": "tiny", "prompt": "w1 confidential", "max_tokens": 2});
        let mut jobs = gateway.jobs();
        let done = jobs.submit_job(completion(&body)).await.unwrap().into_inner().job.unwrap().job_id;
        gateway.job_over(&done).await;
        let unserved = json!({"model": UNSERVED, "prompt": "w1 confidential", "max_tokens": 2});
        let refused = pb::SubmitJobRequest { max_attempts: 1, ..completion(&unserved) };
        let refused = jobs.submit_job(refused).await.unwrap().into_inner().job.unwrap().job_id;
        gateway.job_over(&refused).await;
        let later = shared::time::to_proto(shared::time::now().plus(Duration::from_secs(3_600)));
        let waits = pb::SubmitJobRequest { due_time: Some(later), ..completion(&body) };
        let waits = jobs.submit_job(waits).await.unwrap().into_inner().job.unwrap().job_id;
        Self { batch: batch_made, failed, done, waits }
    }

    async fn can_be_read(&self, gateway: &Gateway) {
        let path = |batch: &Value| format!("/v1/batches/{}", batch["id"].as_str().unwrap());
        assert_eq!(gateway.get_json(&path(&self.batch)).await, self.batch);
        assert_eq!(gateway.get_json(&path(&self.failed)).await, self.failed);
        assert_eq!(self.batch["metadata"]["project"], "project-omega");
        assert_eq!(self.failed["errors"]["data"].as_array().unwrap().len(), 1);
        let output = gateway.content(&self.batch, "output_file_id").await;
        assert_eq!(output[0]["custom_id"], "confidential employee-7");
        assert_eq!(gateway.content(&self.batch, "error_file_id").await.len(), 1);
        let input = gateway.content(&self.batch, "input_file_id").await;
        assert_eq!(input[0]["custom_id"], "confidential employee-7");
        let file = format!("/v1/files/{}", self.batch["input_file_id"].as_str().unwrap());
        assert_eq!(gateway.get_json(&file).await["filename"], "payroll.jsonl");
        let done = gateway.job_over(&self.done).await;
        assert!(done.result.unwrap().fields.contains_key("choices"));
        let waits = pb::GetJobRequest { job_id: self.waits.clone() };
        let waits = gateway.jobs().get_job(waits).await.unwrap().into_inner().job.unwrap();
        assert_eq!(waits.state(), JobState::Pending);
    }
}

async fn a_dump_tells_nothing_and_keys_can_be_changed(place: Place, folder: TempDir) {
    let engine = Engine::simulated("tiny", &[]).await;
    let (old, new) = (Sealer::generate(), Sealer::generate());
    let with = |keys: Vec<SecretString>| {
        let place = &place;
        move |config: &mut Config| {
            place.set(config);
            config.encryption_keys = keys;
        }
    };
    let gateway = Gateway::within(folder, &[&engine], with(vec![old.clone()])).await;
    let kept = Kept::make(&gateway).await;
    kept.can_be_read(&gateway).await;
    let (_, folder) = gateway.end().await;
    let db = place.open().await;
    let said = dump(&db, folder.path()).await;
    let current = Sealer::new(std::slice::from_ref(&old)).unwrap().current();
    assert!(holds(&said, "ai_tasks") && holds(&said, &current), "the dump is one");
    for secret in SECRETS {
        assert!(!holds(&said, secret), "{secret} is in the dump");
    }

    // The new key takes over, and the old one may go.
    let gateway = Gateway::within(folder, &[&engine], with(vec![new.clone(), old.clone()])).await;
    let alone = Vault { db: db.clone(), sealer: Sealer::new(std::slice::from_ref(&new)).unwrap() };
    until("a database that needs the new key alone", async || rows::prove(&alone).await.ok()).await;
    kept.can_be_read(&gateway).await;
    let (_, folder) = gateway.end().await;
    let of_before: i64 = on!(&db, |pool| {
        let mut count = QueryBuilder::new("SELECT COUNT(*) FROM (SELECT seal FROM claims UNION ALL ");
        count.push("SELECT seal FROM files UNION ALL SELECT seal FROM file_pieces UNION ALL ");
        count.push("SELECT seal FROM batches) AS kept WHERE seal <> ").push_bind(alone.sealer.current());
        count.build_query_scalar().fetch_one(pool).await.unwrap()
    });
    assert_eq!(of_before, 0);

    let gateway = Gateway::within(folder, &[&engine], with(vec![new])).await;
    kept.can_be_read(&gateway).await;
    let (_, folder) = gateway.end().await;

    // Without the key that is needed models are served, and nothing is read or sealed wrongly.
    let gateway = Gateway::within(folder, &[&engine], with(vec![old])).await;
    let body = json!({"model": "tiny", "prompt": "w1", "max_tokens": 2});
    assert_eq!(gateway.send(client::post("/v1/completions", &body)).await.status, StatusCode::OK);
    assert_eq!(gateway.send(client::get("/v1/files")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    gateway.close().await;
    db.close().await;
    place.end().await;
}

#[tokio::test]
async fn on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    Box::pin(a_dump_tells_nothing_and_keys_can_be_changed(Place::sqlite(folder.path()), folder)).await;
}

#[tokio::test]
async fn on_postgres() {
    let folder = tempfile::tempdir().unwrap();
    Box::pin(a_dump_tells_nothing_and_keys_can_be_changed(Place::postgres().await, folder)).await;
}
