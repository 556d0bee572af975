//! What goes on in the background, of processes killed at any moment (SIGKILL): every line of a batch is answered once,
//! a job whose gateway is gone is taken up by another, and a lock holds wherever its second caller comes.

use crate::chat::{CHAT, chat, until_usable};
use http::Request;
use proto::inference::v1::{GetJobRequest, Job, JobState, job_service_client::JobServiceClient};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tests::{
    batches,
    engine::Engine,
    gateways::Gateways,
    http::{Body, Client},
    ledger, people,
    postgres::Server,
    redis::Redis,
    rpc,
    suite::{MODEL, Suite},
    until,
};
use tokio::time::{Duration, Instant};

const LINES: usize = 10_000;
/// Tokens that take an engine many seconds.
const LONG: u64 = 600;

/// Begins a batch of so many lines. Returns its path.
async fn begin(client: &Client, lines: usize) -> String {
    let line = |number: usize| {
        let line =
            json!({"custom_id": format!("line-{number}"), "method": "POST", "url": CHAT, "body": chat(2, 2)});
        format!("{line}\n")
    };
    let content: String = (0..lines).map(line).collect();
    batches::begin(client, &content).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_ten_thousand_lines_outlives_its_process_and_answers_each_once() {
    let engine = Engine::start("--time-scale 0").await;
    let mut suite = Suite::start(&[
        ("TOLLGATE_ENGINES", &engine.url),
        // How long that may take is held against the default elsewhere.
        ("TOLLGATE_INFERENCE__JOBS__LEASE", "2s"),
    ])
    .await;
    let owner = suite.owner();
    until_usable(&owner).await;
    let (begun, path) = (Instant::now(), begin(&owner, LINES).await);
    for some in [1_500, 4_000] {
        until("some answers", async || (batches::answered(&owner, &path).await >= some).then_some(())).await;
        suite.process.kill();
        suite.start_again().await;
    }
    let mut batch = Value::Null;
    while batch["status"] != "completed" {
        batch = owner.get(&path).await.ok().json();
        assert!(
            ["validating", "in_progress", "finalizing", "completed"]
                .contains(&batch["status"].as_str().unwrap()),
            "{batch}"
        );
        assert!(begun.elapsed() < Duration::from_secs(300), "{batch}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    eprintln!("{LINES} lines with two kills in {:?}", begun.elapsed());
    assert_eq!(batch["request_counts"], json!({"total": LINES, "completed": LINES, "failed": 0}));
    let file = batch["output_file_id"].as_str().unwrap();
    let output = owner.get(&format!("/v1/files/{file}/content")).await.ok().text();
    let names: BTreeSet<String> = output
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["response"]["status_code"], 200, "{line}");
            line["custom_id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!((output.lines().count(), names.len()), (LINES, LINES), "each line once");
    assert_eq!(batch["error_file_id"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_gateway_is_killed_is_taken_up_by_another_and_done_once() {
    let (postgres, engine) = (Server::start(), Engine::start("").await);
    let settings = [("TOLLGATE_INFERENCE__DATABASE", postgres.url())];
    let mut gateways = Gateways::start(&[1.0, 1.0], &[&engine.url], &settings).await;
    people::register(&gateways.apart.owner(), MODEL).await;
    for number in 0..2 {
        until_usable(&gateways.client(number)).await;
    }
    let owner = gateways.apart.owner();
    let submit = json!({"completion": {"body": chat(2, LONG)}, "lock": "report/summary"});
    let job = owner.post("/api/v1/jobs", &submit).await.data()["job"]["job_id"].as_str().unwrap().to_owned();
    engine.until_load((1, 0)).await;
    // Whoever has it says so, by the name under which other gateways reach it.
    let statistics = owner.get("/api/v1/jobs:statistics").await.data();
    let worker = statistics["workers"][0]["worker"].as_str().unwrap().to_owned();
    let holder =
        (0..2).find(|number| worker.ends_with(&gateways.running[*number].address.to_string())).unwrap();
    gateways.running[holder].process.kill();
    let killed = Instant::now();

    let key = gateways.apart.first_run().api_key;
    let mut jobs = JobServiceClient::new(rpc::channel(gateways.running[1 - holder].address, &key).await);
    let mut look = async |wanted: fn(&Job) -> bool| {
        let job = jobs.get_job(GetJobRequest { job_id: job.clone() }).await.unwrap().into_inner().job;
        job.filter(wanted)
    };
    // That this is within 30 s is by the lease, which settings bound and other tests hold against a clock of their own.
    until("another attempt", async || look(|job| job.attempts == 2).await).await;
    eprintln!("taken up after {:?}", killed.elapsed());
    let done = until("the end of the job", async || look(|job| job.state() == JobState::Success).await).await;
    assert_eq!((done.percent, done.attempts), (100, 2));
    assert!(done.result.is_some());
    let finished = async || {
        let records = ledger::records(&owner).await;
        let ours = records.iter().filter(|one| one.request_id == job && one.end() == "finished").count();
        (ours > 0).then_some(ours)
    };
    assert_eq!(until("its record", finished).await, 1, "it was answered once");
}

fn locked(client: &Client, body: &Value) -> Request<Body> {
    let mut request = client.with_json("POST", CHAT, body);
    request.headers_mut().insert("x-tollgate-lock", "doc-1/summary".parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_lets_one_caller_in_and_is_always_given_back() {
    let (mut redis, engine) = (Redis::start(), Engine::start("").await);
    let url = redis.url();
    let suite = Suite::start(&[("TOLLGATE_ENGINES", &engine.url), ("TOLLGATE_REDIS__URL", &url)]).await;
    let owner = suite.owner();
    until_usable(&owner).await;
    until("a lock", async || {
        let answer = owner.send(locked(&owner, &chat(1, 1))).await;
        // It is given back a moment after its answer.
        (answer.header("x-tollgate-lock") == "held").then_some(())
    })
    .await;
    let free = async || {
        until("a free lock", async || {
            let answer = owner.send(locked(&owner, &chat(1, 1))).await;
            (answer.status == 200).then_some(())
        })
        .await;
    };
    free().await;

    let holder = owner.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let holding = tokio::task::JoinSet::from_iter([async move {
        let call = holder.try_send(locked(&holder, &chat(2, LONG)));
        tokio::select! {
            answer = call => Some(answer.unwrap().status),
            _ = &mut stopped => None,
        }
    }]);
    engine.until_load((1, 0)).await;
    // While Redis is slow, calls go without their lock.
    let second = until("a refusal", async || {
        let answer = owner.send(locked(&owner, &chat(2, 2))).await;
        (answer.header("x-tollgate-lock") != "unavailable").then_some(answer)
    })
    .await;
    assert_eq!(second.openai_error(), (409, "locked".to_owned(), "conflict_error".to_owned()));
    assert_eq!(second.header("x-should-retry"), "false");
    let submit = json!({"completion": {"body": chat(2, 2)}, "lock": "doc-1/summary"});
    let job = owner.post("/api/v1/jobs", &submit).await;
    assert_eq!((job.status, job.json()["error_code"].as_str()), (409, Some("LOCKED")));

    // Its caller goes away: the lock does, too.
    stop.send(()).unwrap();
    assert_eq!(holding.join_all().await, [None]);
    free().await;

    redis.kill();
    until("a call without a lock", async || {
        let answer = owner.send(locked(&owner, &chat(1, 1))).await;
        (answer.status == 200 && answer.header("x-tollgate-lock") == "unavailable").then_some(())
    })
    .await;
    assert!(suite.metric("tollgate_locks_without_total", "").await >= 1.0);
    redis.start_again();
    until("locks again", async || {
        let answer = owner.send(locked(&owner, &chat(1, 1))).await;
        (answer.header("x-tollgate-lock") == "held").then_some(())
    })
    .await;
}
