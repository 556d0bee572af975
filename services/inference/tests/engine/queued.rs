//! Who waits at the gateway as operators see it, how their word ends a wait, and how well promises were kept.

use crate::{
    answers::{chat, stream, whole_stream, with},
    client::{self, Answer},
    engine::Engine,
    gateway::{Gateway, named},
    refusals::error,
    until,
};
use futures_util::future::{Either, join_all, select};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use proto::inference::v1::{
    self as pb, CancelQueuedRequest, GetGoodputRequest, Goodput, ListQueuedRequest, ListQueuesRequest,
    PriorityClass, WaitReason,
};
use serde_json::{Value, json};
use simulator::Faults;
use std::{pin::pin, time::Duration};
use tonic::Code;

const PRIORITY: &str = "x-tollgate-priority";
const ID: &str = "x-request-id";

/// Longer than any case takes.
const LONG: u32 = 3_000;

/// A chat with headers.
fn request(engine: &Engine, body: &Value, headers: &[(&'static str, &str)]) -> Request<String> {
    let mut request = client::post("/v1/chat/completions", &named(body, &engine.model));
    for (name, value) in headers {
        request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    request
}

/// A gateway that sends one request at a time and promises so much that nobody is late.
async fn one_at_a_time(engine: &Engine) -> Gateway {
    Gateway::with(&[engine], |config| {
        config.engine.max_in_flight = 1;
        let promises = &mut config.queue.promises;
        let hour = Duration::from_secs(3_600);
        (promises.default_first_token, promises.interactive_first_token) = (hour, hour);
    })
    .await
}

/// Everyone who waits, so many at a time.
async fn queued(gateway: &Gateway, page_size: i32) -> Vec<pb::QueuedRequest> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let asked = ListQueuedRequest { page_size, page_token, ..ListQueuedRequest::default() };
        let answer = gateway.queue().list_queued(asked).await.unwrap().into_inner();
        assert!(answer.requests.len() <= page_size as usize);
        all.extend(answer.requests);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

/// The requests of a model and class, in the last hour.
async fn goodput(gateway: &Gateway, class: PriorityClass) -> Goodput {
    let window = Some(prost_types::Duration { seconds: 3_600, nanos: 0 });
    let answer = gateway.queue().get_goodput(GetGoodputRequest { window, ..Default::default() }).await;
    let rows = answer.unwrap().into_inner().goodput;
    rows.into_iter().find(|row| row.priority_class() == class).unwrap_or_default()
}

#[tokio::test]
async fn operators_see_who_waits_and_take_out_whom_they_name() {
    let engine = Engine::any().await;
    let gateway = one_at_a_time(&engine).await;
    let mut running = gateway.chat(&stream(LONG)).await;
    running.event().await.unwrap();
    let ids = ["one", "two", "three", "four"];
    let asked = ids.map(|id| {
        let class = if id == "one" { "batch" } else { "default" };
        gateway.send(request(&engine, &chat(2), &[(ID, id), (PRIORITY, class)]))
    });
    let operator = async {
        let waiting = until("four to wait", async || {
            Some(queued(&gateway, 3).await).filter(|waiting| waiting.len() == 4)
        })
        .await;
        let named =
            |rows: &[pb::QueuedRequest]| rows.iter().map(|row| row.usage_id.clone()).collect::<Vec<_>>();
        assert_eq!(named(&waiting), named(&queued(&gateway, 100).await), "pages show the same");
        let said: Vec<&str> = waiting.iter().map(|row| row.request_id.as_str()).collect();
        assert_eq!(said.last(), Some(&"one"), "batch goes last: {said:?}");
        assert_eq!(waiting[0].wait_reason(), WaitReason::EnginesFull);
        assert_eq!(waiting[1].wait_reason(), WaitReason::Turn);
        assert_eq!(
            (waiting[3].wait_reason(), waiting[3].priority_class()),
            (WaitReason::Class, PriorityClass::Batch)
        );
        let seconds = |time: &Option<prost_types::Timestamp>| time.as_ref().unwrap().seconds;
        for row in &waiting {
            assert!(!row.user_id.is_empty() && !row.key_id.is_empty() && row.prompt_tokens > 0, "{row:?}");
            assert!(seconds(&row.since_time) <= seconds(&row.predicted_start_time), "{row:?}");
            assert!(seconds(&row.predicted_start_time) <= seconds(&row.predicted_finish_time), "{row:?}");
            assert!(seconds(&row.predicted_finish_time) < seconds(&row.expire_time) + 3_600, "{row:?}");
        }
        let user_id = waiting[0].user_id.clone();
        let only = |user_id| ListQueuedRequest { user_id, ..ListQueuedRequest::default() };
        let hers = gateway.queue().list_queued(only(user_id)).await.unwrap().into_inner().requests;
        assert_eq!(hers.len(), 4);
        let nobody = uuid::Uuid::nil().to_string();
        assert!(gateway.queue().list_queued(only(nobody)).await.unwrap().into_inner().requests.is_empty());
        let wrong = gateway.queue().list_queued(only("ana".into())).await.unwrap_err();
        assert_eq!(wrong.code(), Code::InvalidArgument);

        let summed = gateway
            .queue()
            .list_queues(ListQueuesRequest { model: engine.model.clone(), ..ListQueuesRequest::default() })
            .await;
        let queue = summed.unwrap().into_inner().queues.remove(0);
        assert_eq!((queue.waiting_default, queue.waiting_batch), (3, 1));
        assert_eq!(queue.wait_reason(), WaitReason::EnginesFull);
        assert!(queue.oldest_wait.is_some());
        let held = &queue.engines[0];
        assert_eq!((held.requests, held.requests_limit), (1, 1));

        let usage_id = waiting.iter().find(|row| row.request_id == "three").unwrap().usage_id.clone();
        let cancel =
            CancelQueuedRequest { usage_id, reason: "a deploy".into(), ..CancelQueuedRequest::default() };
        gateway.queue().cancel_queued(cancel.clone()).await.unwrap();
        let gone = gateway.queue().cancel_queued(cancel).await.unwrap_err();
        assert_eq!(gone.code(), Code::NotFound);
        drop(running);
    };
    let (answers, ()) = tokio::join!(join_all(asked), operator);
    for (id, answer) in ids.into_iter().zip(answers) {
        if id == "three" {
            assert_eq!(answer.header("x-should-retry"), "false");
            let error = error(answer, StatusCode::CONFLICT).await;
            assert_eq!(error["code"], "request_withdrawn");
            assert!(error["message"].as_str().unwrap().contains("a deploy"), "{error}");
        } else {
            assert_eq!(answer.status, StatusCode::OK, "{id}");
            answer.text().await;
        }
    }
    assert!(queued(&gateway, 100).await.is_empty());
    let defaults = goodput(&gateway, PriorityClass::Default).await;
    assert_eq!((defaults.offered, defaults.met, defaults.left), (3, 2, 1), "{defaults:?}");
    assert_eq!(defaults.missed.unwrap().withdrawn, 1);
    assert_eq!(goodput(&gateway, PriorityClass::Batch).await.attainment, Some(1.0));
    gateway.close().await;
}

async fn hang_up(gateway: &Gateway, engine: &Engine, asking: impl Future<Output = Answer>) {
    let asking = pin!(asking);
    let runs = pin!(engine.until("the engine to run it", |counts| counts.running == 1));
    let Either::Right(_) = select(asking, runs).await else { panic!("it was answered") };
    let _ = gateway;
}

#[tokio::test]
async fn every_request_is_judged_once_by_what_it_was_promised() {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::with(&[&engine], |config| {
        config.engine.attempts = 1;
        config.queue.promises.interactive_per_token = Duration::ZERO;
    })
    .await;
    whole_stream(gateway.chat(&stream(20)).await, 1).await;
    gateway.chat(&chat(20)).await.text().await;
    // Nobody is as fast as they were told to be.
    let interactive = [(PRIORITY, "interactive")];
    let hasty = with(stream(800), "max_tokens", 800);
    whole_stream(gateway.send(request(&engine, &hasty, &interactive)).await, 1).await;
    // A caller who leaves when nothing is late, one that the engine refuses, and one that it fails.
    hang_up(&gateway, &engine, gateway.chat(&chat(LONG))).await;
    engine.idle().await;
    let refused = gateway.chat(&with(chat(1), "temperature", -1)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let fault = |json| serde_json::from_value::<Faults>(json).unwrap();
    engine.fail(fault(json!({"in_band_error": {"after_events": 4, "status": 500, "times": 1}})));
    gateway.chat(&stream(20)).await.text().await;
    engine.fail(fault(json!({"in_band_error": {"after_events": 0, "status": 500, "times": 1}})));
    let failed = gateway.chat(&stream(20)).await;
    assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE);

    let row = until("all to be judged", async || {
        let row = goodput(&gateway, PriorityClass::Default).await;
        (row.offered + row.left + row.invalid == 6).then_some(row)
    })
    .await;
    assert_eq!((row.offered, row.met, row.left, row.invalid), (4, 2, 1, 1), "{row:?}");
    let missed = row.missed.unwrap();
    assert_eq!((missed.cut, missed.engine_failed), (1, 1), "{missed:?}");
    assert_eq!(row.attainment, Some(0.5));
    assert!(row.decode_tokens_per_second > 0.0 && row.prefill_tokens_per_second > 0.0, "{row:?}");
    assert!(row.first_token.is_some() && row.per_token.is_some() && row.end_to_end.is_some(), "{row:?}");
    let row = goodput(&gateway, PriorityClass::Interactive).await;
    assert_eq!((row.offered, row.met), (1, 0), "{row:?}");
    assert_eq!(row.missed.unwrap().slow_tokens, 1, "{row:?}");
    let wrong = Some(prost_types::Duration { seconds: 61, nanos: 0 });
    let asked = GetGoodputRequest { window: wrong, ..Default::default() };
    assert_eq!(gateway.queue().get_goodput(asked).await.unwrap_err().code(), Code::InvalidArgument);
    gateway.close().await;
}

#[tokio::test]
async fn an_engine_that_orders_by_priority_is_told_it_and_callers_cannot_say_it() {
    let engine = Engine::own(&["--max-num-seqs", "1", "--scheduling-policy", "priority"]).await;
    let gateway = Gateway::with(&[&engine], |config| config.engine.tell_priority = true).await;
    let mut running = gateway.chat(&stream(LONG)).await;
    running.event().await.unwrap();
    let cheeky = with(chat(2), "priority", -1_000);
    let mut asking = tokio::task::JoinSet::new();
    let gateway = std::sync::Arc::new(gateway);
    for (number, class) in ["batch", "default", "interactive"].into_iter().enumerate() {
        let body = if class == "batch" { &cheeky } else { &chat(2) };
        let request = request(&engine, body, &[(PRIORITY, class), (ID, class)]);
        let gateway = std::sync::Arc::clone(&gateway);
        asking.spawn(async move { gateway.send(request).await.text().await });
        let waiting = number as u64 + 1;
        engine.until("the engine to have it in its queue", |counts| counts.waiting == waiting).await;
    }
    drop(running);
    while asking.join_next().await.is_some() {}
    let gateway = std::sync::Arc::into_inner(gateway).unwrap();
    let records = gateway.close().await;
    let mut ended: Vec<_> = records.iter().filter(|record| !record.request_id.is_empty()).collect();
    ended.retain(|record| ["batch", "default", "interactive"].contains(&record.request_id.as_str()));
    let order: Vec<&str> = ended.iter().map(|record| record.request_id.as_str()).collect();
    assert_eq!(order, ["interactive", "default", "batch"]);
}
