//! Jobs, files and batches before an engine: what their owner sees, what the ledger says, and what is refused.

mod plans;
mod sealed;
mod swept;
mod waits;

use crate::{
    client,
    engine::Engine,
    gateway::{Gateway, UNSERVED},
    until,
};
use http::{Method, Request, StatusCode, header};
use inference::Config;
use limits::{Action, Layer, Limit, Measure};
use proto::inference::v1::{
    self as pb, JobState, inference_batch_service_client::InferenceBatchServiceClient,
    job_service_client::JobServiceClient, submit_job_request::Work,
};
use serde_json::{Value, json};
use shared::limits::Gate;
use std::{collections::BTreeSet, time::Duration};
use tonic::Code;

const BOUNDARY: &str = "the-end-of-a-part";

/// Quick workers.
fn quick(config: &mut Config) {
    config.jobs.look = Duration::from_millis(20);
    config.jobs.lease = Duration::from_secs(2);
    config.jobs.back_off = Duration::from_millis(10);
    config.jobs.max_back_off = Duration::from_millis(50);
}

/// A form with a purpose and a file.
fn form(purpose: &str, content: &str) -> Request<String> {
    let part = |head: &str, body: &str| {
        format!("--{BOUNDARY}\r\ncontent-disposition: form-data; {head}\r\n\r\n{body}\r\n")
    };
    let body = part("name=\"file\"; filename=\"lines.jsonl\"", content) + &part("name=\"purpose\"", purpose);
    Request::post("/v1/files")
        .header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(body + &format!("--{BOUNDARY}--\r\n"))
        .unwrap()
}

fn request(method: Method, path: &str) -> Request<String> {
    Request::builder().method(method).uri(path).body(String::new()).unwrap()
}

/// A line that makes three tokens.
fn line(model: &str, name: &str) -> Value {
    let messages = json!([{"role": "user", "content": format!("w1 w2 {name}")}]);
    let body = json!({"model": model, "messages": messages, "max_tokens": 3, "ignore_eos": true});
    json!({"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body})
}

fn lines(all: &[Value]) -> String {
    all.iter().map(|line| format!("{line}\n")).collect()
}

impl Gateway {
    async fn upload(&self, content: &str) -> String {
        let answer = self.send(form("batch", content)).await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.json().await["id"].as_str().unwrap().to_owned()
    }

    async fn batch(&self, content: &str) -> Value {
        let asked = json!({"input_file_id": self.upload(content).await, "endpoint": "/v1/chat/completions",
                           "completion_window": "24h"});
        let answer = self.send(client::post("/v1/batches", &asked)).await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.json().await
    }

    async fn get_json(&self, path: &str) -> Value {
        self.send(client::get(path)).await.json().await
    }

    /// Waits until a batch is over.
    async fn ended(&self, batch: &Value) -> Value {
        let path = format!("/v1/batches/{}", batch["id"].as_str().unwrap());
        until("the end of a batch", async || {
            let batch = self.get_json(&path).await;
            let over = ["completed", "failed", "expired", "cancelled"];
            over.contains(&batch["status"].as_str().unwrap()).then_some(batch)
        })
        .await
    }

    /// The lines of a file of a batch; none when there is no such file.
    async fn content(&self, batch: &Value, field: &str) -> Vec<Value> {
        let Some(file) = batch[field].as_str() else { return Vec::new() };
        let answer = self.send(client::get(&format!("/v1/files/{file}/content"))).await;
        assert_eq!(answer.header("content-disposition"), "attachment");
        let text = answer.text().await;
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn jobs(&self) -> JobServiceClient<shared::channel::Channel> {
        JobServiceClient::new(self.channel())
    }

    /// Waits until a job is over.
    async fn job_over(&self, job_id: &str) -> pb::Job {
        until("the end of a job", async || {
            let asked = pb::GetJobRequest { job_id: job_id.to_owned() };
            let job = self.jobs().get_job(asked).await.unwrap().into_inner().job.unwrap();
            let open = [JobState::Pending, JobState::Progress].contains(&job.state());
            (!open).then_some(job)
        })
        .await
    }
}

fn structured(value: &Value) -> prost_types::Struct {
    let fields = value.as_object().unwrap().iter();
    prost_types::Struct { fields: fields.map(|(name, value)| (name.clone(), value_of(value))).collect() }
}

fn value_of(value: &Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap()),
        Value::String(value) => Kind::StringValue(value.clone()),
        Value::Array(all) => {
            Kind::ListValue(prost_types::ListValue { values: all.iter().map(value_of).collect() })
        }
        Value::Object(_) => Kind::StructValue(structured(value)),
    };
    prost_types::Value { kind: Some(kind) }
}

fn completion(body: &Value) -> pb::SubmitJobRequest {
    let work = pb::JobRequest { endpoint: String::new(), body: Some(structured(body)) };
    pb::SubmitJobRequest { work: Some(Work::Completion(work)), ..pb::SubmitJobRequest::default() }
}

#[tokio::test]
async fn a_batch_answers_every_line_once_and_is_metered_line_by_line() {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::with(&[&engine], quick).await;
    let mut all: Vec<Value> = (0..40).map(|number| line("tiny", &format!("line-{number}"))).collect();
    all.push(line("nobody-knows-it", "unknown"));
    all.push(json!({"custom_id": "no-messages", "method": "POST", "url": "/v1/chat/completions",
                    "body": {"model": "tiny"}}));
    let batch = gateway.ended(&gateway.batch(&lines(&all)).await).await;
    assert_eq!(batch["status"], "completed", "{batch}");
    assert_eq!(batch["request_counts"], json!({"total": 42, "completed": 40, "failed": 2}));
    assert!(batch["completed_at"].is_i64() && batch["in_progress_at"].is_i64());

    let output = gateway.content(&batch, "output_file_id").await;
    let names: BTreeSet<&str> = output.iter().map(|line| line["custom_id"].as_str().unwrap()).collect();
    assert_eq!((output.len(), names.len()), (40, 40));
    for line in &output {
        assert_eq!(line["response"]["status_code"], 200);
        assert_eq!(line["response"]["body"]["usage"]["completion_tokens"], 3);
        assert!(line["error"].is_null());
    }
    let errors = gateway.content(&batch, "error_file_id").await;
    let said: Vec<_> =
        errors.iter().map(|line| (&line["custom_id"], &line["response"]["status_code"])).collect();
    assert_eq!(said, [(&json!("unknown"), &json!(404)), (&json!("no-messages"), &json!(400))]);
    assert_eq!(errors[0]["response"]["body"]["error"]["code"], "model_not_found");

    let records = gateway.close().await;
    let ids: BTreeSet<&str> = records.iter().map(|record| record.request_id.as_str()).collect();
    assert_eq!((records.len(), ids.len()), (40, 40), "one record per answered line");
    assert!(output.iter().all(|line| ids.contains(line["response"]["request_id"].as_str().unwrap())));
}

#[tokio::test]
async fn a_file_that_cannot_be_run_says_which_lines_are_wrong() {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::with(&[&engine], quick).await;
    let mut other = line("tiny", "c");
    other["url"] = "/v1/embeddings".into();
    let content = format!(
        "{}\n{{nonsense\n\n{}\n{other}\n{}\n",
        line("tiny", "a"),
        line("tiny", "a"),
        json!({"custom_id": "d", "method": "GET"}),
    );
    let batch = gateway.ended(&gateway.batch(&content).await).await;
    assert_eq!((&batch["status"], &batch["output_file_id"]), (&json!("failed"), &Value::Null));
    let faults: Vec<(u64, &str)> = batch["errors"]["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| (fault["line"].as_u64().unwrap(), fault["code"].as_str().unwrap()))
        .collect();
    let expected = [
        (2, "invalid_json_line"),
        (4, "duplicate_custom_id"),
        (5, "mismatched_endpoint"),
        (6, "invalid_method"),
    ];
    assert_eq!(faults, expected);
    assert!(gateway.close().await.is_empty(), "nothing was asked");
}

#[tokio::test]
async fn what_is_no_such_file_is_refused_when_it_comes() {
    let engine = Engine::simulated("tiny", &[]).await;
    let set = |config: &mut Config| {
        config.files.max_bytes = 2_000;
        config.files.max_bytes_per_user = 2_500;
        config.batches.max_lines = 5;
    };
    let gateway = Gateway::with(&[&engine], set).await;
    let good = format!("{{\"a\": \"{}\"}}\n", "x".repeat(900));
    for (purpose, content, status, code) in [
        ("batch", "", 400, "file_malformed"),
        ("batch", "[1, 2]\n", 400, "file_malformed"),
        ("batch", "{}\n{}\n{}\n{}\n{}\n{}\n", 400, "file_malformed"),
        ("batch", &"{}".repeat(1_001), 413, "file_too_large"),
        ("assistants", "{}\n", 400, "invalid_field"),
    ] {
        let answer = gateway.send(form(purpose, content)).await;
        assert_eq!(answer.status.as_u16(), status, "{purpose} {content:.20}");
        assert_eq!(answer.json().await["error"]["code"], code);
    }
    for _ in 0..2 {
        gateway.upload(&good).await;
    }
    let full = gateway.send(form("batch", &good)).await;
    assert_eq!(full.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(full.json().await["error"]["code"], "files_full");
    let no_form = gateway.send(client::post("/v1/files", &json!({"purpose": "batch"}))).await;
    assert_eq!(no_form.status, StatusCode::BAD_REQUEST);

    let listed = gateway.get_json("/v1/files?limit=1").await;
    assert_eq!((listed["data"].as_array().unwrap().len(), &listed["has_more"]), (1, &json!(true)));
    let first = listed["first_id"].as_str().unwrap();
    let rest = gateway.get_json(&format!("/v1/files?after={first}")).await;
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["has_more"]), (1, &json!(false)));
    let gone = gateway.send(request(Method::DELETE, &format!("/v1/files/{first}"))).await;
    assert_eq!(gone.json().await["deleted"], true);
    let again = gateway.send(client::get(&format!("/v1/files/{first}/content"))).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    assert_eq!(again.json().await["error"]["code"], "file_not_found");
    gateway.close().await;
}

#[tokio::test]
async fn a_batch_that_cannot_be_begun_is_refused() {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::with(&[&engine], |_| {}).await;
    let file = gateway.upload("{}\n").await;
    let create = |fields: Value| {
        let mut asked =
            json!({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"});
        asked.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        client::post("/v1/batches", &asked)
    };
    for (fields, status, code) in [
        (json!({"input_file_id": "file-0190a1ff9fcad772d9834232742475a7"}), 404, "file_not_found"),
        (json!({"input_file_id": "nonsense"}), 404, "file_not_found"),
        (json!({"endpoint": "/v1/messages"}), 400, "invalid_field"),
        (json!({"completion_window": "soon"}), 400, "invalid_field"),
        (json!({"metadata": {"k".repeat(65): "v"}}), 400, "invalid_field"),
        (json!({"metadata": 5}), 400, "body_malformed"),
    ] {
        let answer = gateway.send(create(fields.clone())).await;
        assert_eq!(answer.status.as_u16(), status, "{fields}");
        assert_eq!(answer.json().await["error"]["code"], code, "{fields}");
    }
    let unknown = gateway.send(client::get("/v1/batches/batch_0190a1ff9fcad772d9834232742475a7")).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    gateway.close().await;
}

#[tokio::test]
async fn a_cancelled_batch_keeps_what_was_answered_and_asks_no_more() {
    let engine = Engine::simulated("tiny", &[]).await;
    let set = |config: &mut Config| {
        quick(config);
        config.batches.lines_waiting = 2;
    };
    let gateway = Gateway::with(&[&engine], set).await;
    let all: Vec<Value> = (0..2_000).map(|number| line("tiny", &format!("line-{number}"))).collect();
    let batch = gateway.batch(&lines(&all)).await;
    let path = format!("/v1/batches/{}", batch["id"].as_str().unwrap());
    until("some answers", async || {
        (gateway.get_json(&path).await["request_counts"]["completed"].as_u64()? >= 10).then_some(())
    })
    .await;
    let cancelling = gateway.send(client::post(&format!("{path}/cancel"), &json!({}))).await.json().await;
    assert!(["cancelling", "cancelled"].contains(&cancelling["status"].as_str().unwrap()), "{cancelling}");
    let batch = gateway.ended(&batch).await;
    assert_eq!(batch["status"], "cancelled");
    let output = gateway.content(&batch, "output_file_id").await;
    assert_eq!(batch["request_counts"]["completed"], output.len());
    assert!((10..2_000).contains(&output.len()));
    let again = gateway.send(client::post(&format!("{path}/cancel"), &json!({}))).await;
    assert_eq!(
        (again.status, again.json().await["error"]["code"].as_str()),
        (StatusCode::BAD_REQUEST, Some("job_over"))
    );
    gateway.close().await;
}

#[tokio::test]
async fn lines_count_against_limits_of_tokens_and_wait_where_a_call_would_be_refused() {
    let engine = Engine::simulated("tiny", &[]).await;
    // Of nine tokens each, so that one of them fits at a time, and two into a window.
    let window = Some(Duration::from_secs(1));
    let tokens = Limit { tokens: Some(20), window, ..Limit::default() };
    let action = Action { limits: vec![tokens], scaled: false, ..Action::default() };
    let settings =
        limits::Settings { actions: [("inference".to_owned(), action)].into(), ..Default::default() };
    let gate = Gate::new(settings);
    let set = |config: &mut Config| {
        quick(config);
        config.limits = gate.clone();
    };
    let gateway = Gateway::with(&[&engine], set).await;
    let all: Vec<Value> = (0..5).map(|number| line("tiny", &format!("line-{number}"))).collect();
    let batch = gateway.batch(&lines(&all)).await;
    let batch = gateway.ended(&batch).await;
    assert_eq!((&batch["status"], &batch["request_counts"]["completed"]), (&json!("completed"), &json!(5)));
    let seen = gate.lock().seen(Layer::User, None, gate.now());
    assert!(seen.iter().any(|seen| seen.row.measure == Measure::Tokens), "nothing was counted: {seen:?}");
    gateway.close().await;
}

#[tokio::test]
async fn a_batch_whose_time_is_over_says_which_lines_were_not_answered() {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::with(&[&engine], quick).await;
    // Nobody answers for this model, so its lines wait.
    let file = gateway.upload(&lines(&[line("tiny", "a"), line(UNSERVED, "b"), line(UNSERVED, "c")])).await;
    let asked = json!({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "2s"});
    let batch = gateway.send(client::post("/v1/batches", &asked)).await.json().await;
    let batch = gateway.ended(&batch).await;
    assert_eq!(batch["status"], "expired", "{batch}");
    assert_eq!(batch["request_counts"], json!({"total": 3, "completed": 1, "failed": 2}));
    let errors = gateway.content(&batch, "error_file_id").await;
    assert!(errors.iter().all(|line| line["error"]["code"] == "batch_expired" && line["response"].is_null()));
    assert_eq!(errors.len(), 2);
    gateway.close().await;
}

#[tokio::test]
async fn a_job_asks_a_model_and_keeps_the_answer() {
    let engine = Engine::simulated("tiny", &["--task", "both"]).await;
    let gateway = Gateway::with(&[&engine], quick).await;
    let body = json!({"model": "tiny", "prompt": "w1 w2", "max_tokens": 4, "ignore_eos": true});
    let mut jobs = gateway.jobs();
    let named = pb::SubmitJobRequest {
        request_id: "0190a1ff-9fca-7d72-9834-232742475a7a".to_owned(),
        ..completion(&body)
    };
    let job = jobs.submit_job(named.clone()).await.unwrap().into_inner().job.unwrap();
    assert_eq!((job.kind(), job.queue()), (pb::JobKind::Completion, pb::JobQueue::AiTasks));
    let watched = jobs.watch_job(pb::WatchJobRequest { job_id: job.job_id.clone() }).await.unwrap();
    let mut states = watched.into_inner();
    let mut last = None;
    while let Some(message) = states.message().await.unwrap() {
        last = message.job;
    }
    let last = last.unwrap();
    assert_eq!((last.state(), last.percent, last.attempts), (JobState::Success, 100, 1));
    let result = serde_json::to_string(&format!("{:?}", last.result.unwrap())).unwrap();
    assert!(result.contains("text_completion"), "{result}");
    let again = jobs.submit_job(named).await.unwrap().into_inner().job.unwrap();
    assert_eq!(again.job_id, job.job_id, "the same request is entered once");
    let other = pb::SubmitJobRequest {
        request_id: "0190a1ff-9fca-7d72-9834-232742475a7a".to_owned(),
        ..completion(&json!({"model": "tiny", "prompt": "w3", "max_tokens": 4}))
    };
    let reused = jobs.submit_job(other).await.unwrap_err();
    assert_eq!(
        (reused.code(), shared::status::reason(&reused).as_str()),
        (Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED")
    );

    let vectors = pb::JobRequest {
        endpoint: String::new(),
        body: Some(structured(&json!({"model": "tiny", "input": ["w1", "w2"]}))),
    };
    let vectors =
        pb::SubmitJobRequest { work: Some(Work::Embedding(vectors)), ..pb::SubmitJobRequest::default() };
    let job = jobs.submit_job(vectors).await.unwrap().into_inner().job.unwrap();
    assert_eq!(gateway.job_over(&job.job_id).await.state(), JobState::Success);

    let listed = jobs.list_jobs(pb::ListJobsRequest { page_size: 1, ..Default::default() }).await;
    let listed = listed.unwrap().into_inner();
    assert_eq!((listed.jobs.len(), listed.jobs[0].kind()), (1, pb::JobKind::Embedding));
    let rest = pb::ListJobsRequest { page_size: 1, page_token: listed.next_page_token, ..Default::default() };
    let rest = jobs.list_jobs(rest).await.unwrap().into_inner();
    assert_eq!((rest.jobs[0].kind(), rest.next_page_token.as_str()), (pb::JobKind::Completion, ""));

    let statistics = jobs.get_job_statistics(pb::GetJobStatisticsRequest {}).await.unwrap().into_inner();
    assert_eq!(statistics.queues.len(), 4);
    assert_eq!((statistics.queues[0].succeeded, statistics.queues[0].concurrency), (2, 16));
    let records = gateway.close().await;
    assert_eq!(records.len(), 2);
    assert!(records.iter().any(|record| record.request_id == last.job_id), "metered by the job's id");
}

#[tokio::test]
async fn what_is_only_validated_is_decided_and_not_entered() {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::with(&[&engine], quick).await;
    let body = json!({"model": "tiny", "prompt": "w1 w2", "max_tokens": 4});
    let (mut jobs, later) = (gateway.jobs(), shared::time::now().plus(Duration::from_secs(3600)));
    let asked = pb::SubmitJobRequest {
        validate_only: true,
        lock: "doc-1/summary".into(),
        due_time: Some(shared::time::to_proto(later)),
        ..completion(&body)
    };
    let job = jobs.submit_job(asked.clone()).await.unwrap().into_inner().job.unwrap();
    assert_eq!((job.job_id.as_str(), job.state(), job.max_attempts), ("", JobState::Pending, 5));
    let entered = pb::SubmitJobRequest { validate_only: false, ..asked.clone() };
    let entered = jobs.submit_job(entered).await.unwrap().into_inner().job.unwrap();
    let locked = jobs.submit_job(asked).await.unwrap_err();
    assert_eq!(shared::status::reason(&locked), "LOCKED", "what stands against it is found");
    let unknown = json!({"model": "nobody-knows-it", "prompt": "w1"});
    let unknown = pb::SubmitJobRequest { validate_only: true, ..completion(&unknown) };
    assert_eq!(jobs.submit_job(unknown).await.unwrap_err().code(), Code::NotFound);

    let mut batches = InferenceBatchServiceClient::new(gateway.channel());
    let asked = pb::CreateBatchRequest {
        input_file_id: gateway.upload(&lines(&[line("tiny", "a")])).await,
        endpoint: "/v1/chat/completions".to_owned(),
        request_id: "0190a1ff-9fca-7d72-9834-232742475a7b".to_owned(),
        ..pb::CreateBatchRequest::default()
    };
    let validated = pb::CreateBatchRequest { validate_only: true, ..asked.clone() };
    let would_be = batches.create_batch(validated).await.unwrap().into_inner().batch.unwrap();
    assert_eq!((would_be.batch_id.as_str(), would_be.completion_window.as_str()), ("", "24h"));
    let inside =
        pb::SubmitJobRequest { work: Some(Work::Batch(asked.clone())), ..pb::SubmitJobRequest::default() };
    assert_eq!(jobs.submit_job(inside).await.unwrap_err().code(), Code::InvalidArgument);
    let first = batches.create_batch(asked.clone()).await.unwrap().into_inner().batch.unwrap();
    let again = batches.create_batch(asked.clone()).await.unwrap().into_inner().batch.unwrap();
    assert_eq!(first.batch_id, again.batch_id);
    let other = pb::CreateBatchRequest { completion_window: "1h".to_owned(), ..asked };
    let reused = batches.create_batch(other).await.unwrap_err();
    assert_eq!(shared::status::reason(&reused), "IDEMPOTENCY_KEY_REUSED");
    gateway.ended(&json!({"id": first.batch_id})).await;

    let listed = jobs.list_jobs(pb::ListJobsRequest::default()).await.unwrap().into_inner().jobs;
    let ids: Vec<&str> = listed.iter().map(|job| job.job_id.as_str()).collect();
    assert_eq!((ids.len(), ids[1]), (2, entered.job_id.as_str()), "the two that were entered");
    gateway.close().await;
}

#[tokio::test]
async fn a_job_that_cannot_be_done_is_refused_or_says_why() {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::with(&[&engine], quick).await;
    let mut jobs = gateway.jobs();
    let refused = async |asked: pb::SubmitJobRequest| {
        let status = gateway.jobs().submit_job(asked).await.unwrap_err();
        (status.code(), shared::status::reason(&status))
    };
    let body = |model: &str| json!({"model": model, "prompt": "w1", "max_tokens": 2});
    let mut streamed = body("tiny");
    streamed["stream"] = true.into();
    let invalid = || (Code::InvalidArgument, "INVALID_FIELD".to_owned());
    assert_eq!(
        refused(completion(&body("nobody-knows-it"))).await,
        (Code::NotFound, "MODEL_NOT_FOUND".into())
    );
    assert_eq!(refused(completion(&streamed)).await, invalid());
    assert_eq!(refused(pb::SubmitJobRequest::default()).await, invalid());
    assert_eq!(
        refused(pb::SubmitJobRequest { max_attempts: 21, ..completion(&body("tiny")) }).await,
        invalid()
    );
    assert_eq!(
        refused(pb::SubmitJobRequest { lock: "no kind".into(), ..completion(&body("tiny")) }).await,
        invalid()
    );
    let unknown = pb::GetJobRequest { job_id: "0190a1ff-9fca-7d72-9834-232742475a7a".into() };
    assert_eq!(jobs.get_job(unknown).await.unwrap_err().code(), Code::NotFound);

    // No engine serves it: it is tried as often as it may be.
    let asked = pb::SubmitJobRequest { max_attempts: 2, ..completion(&body(UNSERVED)) };
    let job = jobs.submit_job(asked).await.unwrap().into_inner().job.unwrap();
    let job = gateway.job_over(&job.job_id).await;
    assert_eq!((job.state(), job.attempts), (JobState::Failure, 2));
    assert_eq!(job.error.unwrap().reason, "NO_ENGINE");
    gateway.close().await;
}

#[tokio::test]
async fn a_job_holds_its_lock_until_it_is_over() {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::with(&[&engine], quick).await;
    let body = json!({"model": "tiny", "prompt": "w1", "max_tokens": 2});
    let later = shared::time::to_proto(shared::time::now().plus(Duration::from_secs(3600)));
    let locked = pb::SubmitJobRequest { lock: "doc-1/summary".into(), ..completion(&body) };
    let waits = pb::SubmitJobRequest { due_time: Some(later), ..locked.clone() };
    let mut jobs = gateway.jobs();
    let first = jobs.submit_job(waits).await.unwrap().into_inner().job.unwrap();
    let status = jobs.submit_job(locked.clone()).await.unwrap_err();
    assert_eq!((status.code(), shared::status::reason(&status).as_str()), (Code::AlreadyExists, "LOCKED"));
    let cancelled = jobs.cancel_job(pb::CancelJobRequest { job_id: first.job_id.clone() }).await.unwrap();
    assert_eq!(cancelled.into_inner().job.unwrap().state(), JobState::Cancelled);
    let over = jobs.cancel_job(pb::CancelJobRequest { job_id: first.job_id }).await.unwrap_err();
    assert_eq!(shared::status::reason(&over), "JOB_OVER");
    let second = jobs.submit_job(locked).await.unwrap().into_inner().job.unwrap();
    assert_eq!(gateway.job_over(&second.job_id).await.state(), JobState::Success);
    gateway.close().await;
}

#[tokio::test]
async fn a_call_without_redis_runs_without_its_lock_and_says_so() {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::open(&[&engine]).await;
    let body = json!({"model": "tiny", "prompt": "w1", "max_tokens": 2});
    let mut named = client::post("/v1/completions", &body);
    named.headers_mut().insert("x-tollgate-lock", "doc-1/summary".parse().unwrap());
    let answer = gateway.send(named).await;
    assert_eq!((answer.status, answer.header("x-tollgate-lock")), (StatusCode::OK, "unavailable"));
    let mut by_field = body.clone();
    by_field["tollgate_lock"] = "doc-1/summary".into();
    let answer = gateway.send(client::post("/v1/completions", &by_field)).await;
    assert_eq!((answer.status, answer.header("x-tollgate-lock")), (StatusCode::OK, "unavailable"));
    by_field["tollgate_lock"] = "no-kind".into();
    assert_eq!(
        gateway.send(client::post("/v1/completions", &by_field)).await.status,
        StatusCode::BAD_REQUEST
    );
    let unnamed = gateway.send(client::post("/v1/completions", &body)).await;
    assert_eq!(unnamed.header("x-tollgate-lock"), "");
    gateway.close().await;
}

#[tokio::test]
async fn a_gateway_serves_models_while_its_database_is_away() {
    let engine = Engine::simulated("tiny", &[]).await;
    // Nobody listens there.
    let away = |config: &mut Config| config.database = "postgres://nobody@127.0.0.1:9/none".into();
    let gateway = Gateway::with(&[&engine], away).await;
    let body = json!({"model": "tiny", "prompt": "w1", "max_tokens": 2});
    assert_eq!(gateway.send(client::post("/v1/completions", &body)).await.status, StatusCode::OK);
    let refused = gateway.send(client::get("/v1/files")).await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    assert_eq!(refused.json().await["error"]["code"], "store_unavailable");
    let status = gateway.jobs().submit_job(completion(&body)).await.unwrap_err();
    assert_eq!(
        (status.code(), shared::status::reason(&status).as_str()),
        (Code::Unavailable, "STORE_UNAVAILABLE")
    );
    gateway.close().await;
}

#[tokio::test]
async fn a_batch_of_responses_or_of_ranks_is_run_like_any_other() {
    let engine = Engine::simulated("tiny", &["--task", "both"]).await;
    let gateway = Gateway::with(&[&engine], quick).await;
    let response = json!({"input": "w1 w2", "max_output_tokens": 3, "ignore_eos": true, "store": false});
    let ranking = json!({"query": "w1", "documents": ["w2 w3", "w1"]});
    for (endpoint, mut body, tokens) in [("/v1/responses", response, (5, 3)), ("/v1/rerank", ranking, (4, 0))]
    {
        body["model"] = "tiny".into();
        let line = json!({"custom_id": "a", "method": "POST", "url": endpoint, "body": body});
        let file = gateway.upload(&lines(&[line])).await;
        let asked = json!({"input_file_id": file, "endpoint": endpoint, "completion_window": "24h"});
        let batch = gateway.send(client::post("/v1/batches", &asked)).await.json().await;
        let ended = gateway.ended(&batch).await;
        assert_eq!(ended["request_counts"]["completed"], 1, "{ended}");
        let written = gateway.content(&ended, "output_file_id").await;
        let usage = &written[0]["response"]["body"]["usage"];
        assert_eq!(usage["total_tokens"], tokens.0 + tokens.1, "{written:?}");
        let record = until("its record", async || {
            gateway.records().into_iter().find(|record| endpoint.ends_with(&record.endpoint))
        });
        let record = record.await;
        assert_eq!((record.prompt_tokens, record.completion_tokens), tokens);
    }
    gateway.close().await;
}
