//! Why a request was refused, slow or dear, as its caller and others are told.

use crate::{
    ledger::{Ledger, person},
    sample::{record, time, usage_id},
};
use policy::Role;
use prost_types::Duration;
use proto::monitoring::v1::{
    EngineAttempt, Outcome, Price, PutPriceRequest, RecordRefusalsRequest, Refusal, RequestCourse,
    RequestStory, UsageRecord, WhyRequestRequest, request_service_client::RequestServiceClient,
};
use shared::status::reason;
use std::sync::LazyLock;
use tonic::{Code, Status};

on_both_engines!(
    a_slow_request_says_where_its_time_went,
    a_refusal_is_told_by_the_id_of_its_answer,
    what_failed_and_what_its_caller_was_told_are_one_story,
    others_are_told_nothing,
    what_is_malformed_is_refused_and_nothing_is_kept,
    what_is_over_is_forgotten,
);

/// What was refused longer ago than a day is forgotten.
static NOW: LazyLock<i64> = LazyLock::new(|| jiff::Timestamp::now().as_second());

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

pub(crate) fn refusal(number: u64, request_id: &str) -> Refusal {
    Refusal {
        refusal_id: usage_id(number),
        request_id: request_id.into(),
        user_id: person(Role::Owner).user.to_string(),
        key_id: String::new(),
        route: "/v1/chat/completions".into(),
        model: "llama".into(),
        priority: "interactive".into(),
        waiting: 7,
        reason: "QUEUE_FULL".into(),
        message: "the queue of `llama` is full; try again in 3 s".into(),
        start_time: Some(time(*NOW)),
        duration: Some(millis(4)),
        trace_id: TRACE.into(),
    }
}

pub(crate) async fn refuse(ledger: &Ledger, refusals: Vec<Refusal>) -> u32 {
    record_refusals(ledger, refusals).await.unwrap()
}

async fn record_refusals(ledger: &Ledger, refusals: Vec<Refusal>) -> Result<u32, Status> {
    let mut client = RequestServiceClient::new(ledger.as_service());
    Ok(client.record_refusals(RecordRefusalsRequest { refusals }).await?.into_inner().recorded)
}

pub(crate) async fn ask(ledger: &Ledger, role: Role, request_id: &str) -> Result<Vec<RequestStory>, Status> {
    let request = WhyRequestRequest { request_id: request_id.into() };
    Ok(ledger.requests(role).why_request(request).await?.into_inner().stories)
}

fn millis(millis: i64) -> Duration {
    Duration { seconds: millis / 1_000, nanos: i32::try_from(millis % 1_000 * 1_000_000).unwrap() }
}

/// It waited for 2 s behind 40 others, was refused by one engine, and another took 1.5 s.
fn slow() -> UsageRecord {
    let failed = EngineAttempt {
        engine: "http://10.0.0.9:8000".into(),
        ended: "engine busy".into(),
        asked_after: Some(millis(2_000)),
        duration: Some(millis(300)),
    };
    UsageRecord {
        attempt: 2,
        queue_duration: Some(millis(2_000)),
        time_to_first_token: Some(millis(2_900)),
        duration: Some(millis(4_000)),
        course: Some(RequestCourse {
            trace_id: TRACE.into(),
            priority: "interactive".into(),
            waiting: 40,
            failed: vec![failed],
            asked_after: Some(millis(2_500)),
            ..RequestCourse::default()
        }),
        ..record(1)
    }
}

async fn a_slow_request_says_where_its_time_went(ledger: &Ledger) {
    let slow = slow();
    ledger.keep(&[slow.clone(), record(2)]).await;
    for id in ["request-1".to_owned(), usage_id(1)] {
        let stories = ask(ledger, Role::Auditor, &id).await.unwrap();
        let [story] = stories.as_slice() else { panic!("{stories:?}") };
        assert_eq!(story.record, Some(slow.clone()), "{id}");
        let engines =
            story.attempts.iter().map(|one| (one.engine.as_str(), one.ended.as_str(), one.duration));
        assert_eq!(
            engines.collect::<Vec<_>>(),
            [
                ("http://10.0.0.9:8000", "engine busy", Some(millis(300))),
                ("http://10.0.0.1:8000", "answered", Some(millis(1_500))),
            ]
        );
        assert_eq!(
            story.summary,
            [
                "It was answered in 4.000 s.",
                "It was 2.000 s in the gateway until an engine had room; 40 others waited.",
                "http://10.0.0.9:8000 gave no answer after 0.300 s (engine busy).",
                "http://10.0.0.1:8000 took 1.500 s, 0.400 s of it until the first token.",
                "What it cost is not known, because `llama` had no price when the request began: 100 tokens read (60 of \
                 them known to the engine) and 20 made.",
            ]
        );
        assert_eq!((story.price.clone(), story.refusal.clone()), (None, None));
    }

    let price = Price {
        model: "llama".into(),
        input_usd: Some("1".into()),
        cache_read_usd: Some("0.5".into()),
        output_usd: Some("2".into()),
        effective_from: Some(time(0)),
        ..Price::default()
    };
    let put = PutPriceRequest { price: Some(price), ..PutPriceRequest::default() };
    let price = ledger.prices(Role::Owner).put_price(put).await.unwrap().into_inner().price;
    ledger.keep(&[record(3)]).await;
    let stories = ask(ledger, Role::Owner, "request-3").await.unwrap();
    assert_eq!((stories[0].price.clone(), stories[0].cost_unknown.as_str()), (price, ""));
    // 40 tokens of 1 $, 60 of 0.5 $ and 20 of 2 $, each for a million.
    let cost = "It cost $0.00011: 100 tokens read (60 of them known to the engine) and 20 made.";
    assert_eq!(stories[0].summary.last().map(String::as_str), Some(cost));
}

async fn a_refusal_is_told_by_the_id_of_its_answer(ledger: &Ledger) {
    let refused = refusal(1, "refused");
    assert_eq!(refuse(ledger, vec![refused.clone(), refusal(2, "another")]).await, 2);
    assert_eq!(refuse(ledger, vec![refused.clone()]).await, 0, "it is known already");
    let stories = ask(ledger, Role::Owner, "refused").await.unwrap();
    let [story] = stories.as_slice() else { panic!("{stories:?}") };
    assert_eq!((&story.record, &story.refusal), (&None, &Some(refused)));
    assert_eq!(
        story.summary,
        [
            "It was refused after 0.004 s (QUEUE_FULL): the queue of `llama` is full; try again in 3 s",
            "7 requests waited for `llama` then.",
        ]
    );
}

async fn what_failed_and_what_its_caller_was_told_are_one_story(ledger: &Ledger) {
    let course = RequestCourse {
        reason: "ENGINE_FAILED".into(),
        asked_after: Some(millis(1)),
        ..RequestCourse::default()
    };
    let failed = UsageRecord {
        outcome: Outcome::Failed.into(),
        request_id: "failed".into(),
        start_time: Some(time(*NOW + 1)),
        course: Some(course),
        ..record(1)
    };
    ledger.keep(std::slice::from_ref(&failed)).await;
    let told = Refusal {
        reason: "ENGINE_FAILED".into(),
        message: "the engines failed to answer".into(),
        duration: Some(millis(2_000)),
        ..refusal(1, "failed")
    };
    // Under the same id something else was refused later.
    let later = Refusal { start_time: Some(time(*NOW + 60)), ..refusal(2, "failed") };
    refuse(ledger, vec![told.clone(), later.clone()]).await;
    let stories = ask(ledger, Role::Owner, "failed").await.unwrap();
    let told_of: Vec<_> = stories.iter().map(|story| (story.record.clone(), story.refusal.clone())).collect();
    assert_eq!(told_of, [(None, Some(later)), (Some(failed), Some(told))]);
    assert_eq!(
        stories[1].summary[0],
        "It was refused after 2.000 s (ENGINE_FAILED): the engines failed to answer"
    );
    assert_eq!(stories[1].attempts[0].ended, "ENGINE_FAILED");
}

async fn others_are_told_nothing(ledger: &Ledger) {
    let member = person(Role::Member).user.to_string();
    let own = UsageRecord { user_id: member.clone(), ..record(2) };
    ledger.keep(&[record(1), own]).await;
    let own = Refusal { user_id: member, ..refusal(2, "own") };
    refuse(ledger, vec![refusal(1, "refused"), own]).await;
    for role in [Role::Owner, Role::Admin, Role::Auditor] {
        for known in ["request-1", "request-2", "refused", "own"] {
            assert_eq!(ask(ledger, role, known).await.unwrap().len(), 1, "{role:?} {known}");
        }
    }
    for (known, seen) in [("request-1", false), ("request-2", true), ("refused", false), ("own", true)] {
        assert_eq!(ask(ledger, Role::Member, known).await.is_ok(), seen, "{known}");
    }
    // What is somebody else's and what is nowhere look the same.
    let mut told = Vec::new();
    for id in [&usage_id(1), "request-1", "refused", "nowhere", &usage_id(99)] {
        let refused = ask(ledger, Role::Member, id).await.unwrap_err();
        told.push((refused.code(), reason(&refused), refused.message().to_owned()));
    }
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
    assert_eq!((told[0].0, told[0].1.as_str()), (Code::NotFound, "REQUEST_NOT_FOUND"));
}

async fn what_is_malformed_is_refused_and_nothing_is_kept(ledger: &Ledger) {
    let malformed = [
        Refusal { refusal_id: "x".into(), ..refusal(1, "a") },
        Refusal { request_id: String::new(), ..refusal(1, "a") },
        Refusal { user_id: String::new(), ..refusal(1, "a") },
        Refusal { start_time: None, ..refusal(1, "a") },
        Refusal { message: "x".repeat(1_001), ..refusal(1, "a") },
    ];
    for one in malformed {
        let refused = record_refusals(ledger, vec![refusal(2, "whole"), one.clone()]).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_FIELD", "{one:?}");
        assert!(refused.message().starts_with("refusals[1]."), "{}", refused.message());
    }
    assert!(record_refusals(ledger, vec![]).await.is_err());
    assert!(ask(ledger, Role::Owner, "whole").await.is_err(), "none of the call was kept");
    assert_eq!(reason(&ask(ledger, Role::Owner, "").await.unwrap_err()), "INVALID_FIELD");
    let person = RequestServiceClient::new(ledger.as_person(Role::Owner))
        .record_refusals(RecordRefusalsRequest { refusals: vec![refusal(1, "a")] })
        .await;
    assert_eq!(person.unwrap_err().code(), Code::PermissionDenied, "only services report");
    let odd = RequestCourse { reason: "x".repeat(101), ..RequestCourse::default() };
    let refused = ledger.record(&[UsageRecord { course: Some(odd), ..record(1) }]).await.unwrap_err();
    assert!(refused.message().contains("records[0].course.reason"), "{}", refused.message());
}

async fn what_is_over_is_forgotten(ledger: &Ledger) {
    let now = jiff::Timestamp::now().as_second();
    let of = |number, hours: i64| Refusal {
        start_time: Some(time(now - hours * 3_600)),
        ..refusal(number, "old")
    };
    refuse(ledger, vec![of(1, 23), of(2, 25), of(3, 1)]).await;
    // Another replica looks once when it starts.
    let replica = ledger.replica().await;
    let left = async || {
        let stories = ask(ledger, Role::Owner, "old").await.unwrap();
        (stories.len() == 2).then_some(stories)
    };
    let left = tests::until("what is old is forgotten", left).await;
    let ids = left.iter().map(|story| story.refusal.clone().unwrap().refusal_id);
    assert_eq!(ids.collect::<Vec<_>>(), [usage_id(3), usage_id(1)]);
    replica.end().await;
}
