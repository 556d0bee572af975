//! Degraded mode: what is not urgent is turned away, by order and by what is seen of the engines.

use crate::{
    answers::chat,
    client::{self, Answer},
    engine::Engine,
    gateway::Gateway,
    until,
};
use http::StatusCode;
use proto::inference::v1::{
    DegradedReason, DrainEngineRequest, GetModeRequest, Mode, ServingMode, SetModeRequest,
    mode_service_client::ModeServiceClient,
};
use serde_json::Value;
use shared::{channel::Channel, status::reason};
use std::time::Duration;
use tonic::Code;

/// What callers may say; what the installation does for itself is of the class system.
const CLASSES: [&str; 3] = ["interactive", "default", "batch"];

fn operator(gateway: &Gateway) -> ModeServiceClient<Channel> {
    ModeServiceClient::new(gateway.channel())
}

async fn mode(gateway: &Gateway) -> Mode {
    operator(gateway).get_mode(GetModeRequest {}).await.unwrap().into_inner().mode.unwrap()
}

/// Asks for a chat of a class.
async fn ask(gateway: &Gateway, class: &str) -> Answer {
    let mut body = chat(2);
    body["model"] = Value::from(gateway.model.as_str());
    let mut request = client::post("/v1/chat/completions", &body);
    request.headers_mut().insert("x-tollgate-priority", class.parse().unwrap());
    gateway.send(request).await
}

/// What becomes of a request of each class.
async fn statuses(gateway: &Gateway) -> Vec<StatusCode> {
    let mut statuses = Vec::new();
    for class in CLASSES {
        statuses.push(ask(gateway, class).await.status);
    }
    statuses
}

fn order(mode: ServingMode, seconds: i64) -> SetModeRequest {
    let ttl = Some(prost_types::Duration { seconds, nanos: 0 });
    SetModeRequest { mode: mode.into(), ttl, reason: "a test".into(), ..SetModeRequest::default() }
}

const SERVED: StatusCode = StatusCode::OK;
const AWAY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

#[tokio::test]
async fn an_operator_orders_that_only_what_is_urgent_is_served() {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::open(&[&engine]).await;
    let before = mode(&gateway).await;
    assert_eq!((before.mode(), before.reasons.len(), before.order), (ServingMode::Normal, 0, None));
    let set = operator(&gateway).set_mode(order(ServingMode::Degraded, 600)).await.unwrap().into_inner();
    let (said, unreached) = (set.mode.unwrap(), set.unreached);
    assert_eq!((said.mode(), unreached.len()), (ServingMode::Degraded, 0));
    assert_eq!(said.reasons().collect::<Vec<_>>(), [DegradedReason::Operator]);
    let ordered = said.order.unwrap();
    assert_eq!(ordered.reason, "a test");
    assert_eq!(ordered.expire_time.unwrap().seconds - ordered.start_time.unwrap().seconds, 600);

    assert_eq!(statuses(&gateway).await, [SERVED, AWAY, AWAY]);
    let refused = ask(&gateway, "batch").await;
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((500..=602).contains(&wait), "until the order ends: {wait}");
    let text = refused.text().await;
    assert!(text.contains("system and interactive"), "{text}");
    assert_eq!(mode(&gateway).await.turned_away, 3);

    let back = operator(&gateway).set_mode(SetModeRequest::default()).await.unwrap().into_inner();
    assert_eq!(back.mode.unwrap().mode(), ServingMode::Normal);
    assert_eq!(statuses(&gateway).await, [SERVED; 3]);
    for bad in [order(ServingMode::Degraded, 0), order(ServingMode::Degraded, 90_000)] {
        let refused = operator(&gateway).set_mode(bad).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_FIELD"));
    }
    gateway.close().await;
}

#[tokio::test]
async fn engines_that_their_cloud_takes_away_are_no_capacity() {
    let engines = [
        Engine::simulated("tiny", &[]).await,
        Engine::simulated("tiny", &[]).await,
        Engine::simulated("tiny", &[]).await,
    ];
    let gateway = Gateway::open(&engines.iter().collect::<Vec<_>>()).await;
    for (taken, engine) in (1..).zip(&engines[..2]) {
        let engine_id = gateway.find(engine).await.unwrap().engine_id;
        let asked = DrainEngineRequest { engine_id, preempted: true, ..DrainEngineRequest::default() };
        let drained = gateway.operator().drain_engine(asked).await.unwrap().into_inner().engine.unwrap();
        assert!(drained.cordon.unwrap().preempted);
        if taken == 1 {
            assert_eq!(mode(&gateway).await.mode(), ServingMode::Normal, "a third is less than half");
        }
    }
    until("the gateway to be degraded", async || {
        (mode(&gateway).await.mode() == ServingMode::Degraded).then_some(())
    })
    .await;
    let said = mode(&gateway).await;
    assert_eq!(said.reasons().collect::<Vec<_>>(), [DegradedReason::Preemption]);
    assert!(said.enter_time.is_some() && said.retry_after.unwrap().seconds >= 1);
    assert_eq!(statuses(&gateway).await, [SERVED, AWAY, AWAY]);
    let normal = operator(&gateway).set_mode(order(ServingMode::Normal, 60)).await.unwrap().into_inner();
    assert_eq!(normal.mode.unwrap().mode(), ServingMode::Normal, "an order overrules what is seen");
    assert_eq!(statuses(&gateway).await, [SERVED; 3]);
    gateway.close().await;
}

#[tokio::test]
async fn fewer_than_half_of_the_engines_begin_it_until_enough_are_back() {
    let (stays, mut one, mut other) = (
        Engine::simulated("tiny", &[]).await,
        Engine::simulated("tiny", &[]).await,
        Engine::simulated("tiny", &[]).await,
    );
    let gateway = Gateway::with(&[&stays, &one, &other], |config| {
        config.degraded.dwell = Duration::from_millis(1);
        config.engine.check_interval = Duration::from_millis(50);
    })
    .await;
    assert_eq!(statuses(&gateway).await, [SERVED; 3]);
    one.kill().await;
    other.kill().await;
    until("the gateway to be degraded", async || {
        (mode(&gateway).await.mode() == ServingMode::Degraded).then_some(())
    })
    .await;
    assert_eq!(mode(&gateway).await.reasons().collect::<Vec<_>>(), [DegradedReason::Engines]);
    assert_eq!(statuses(&gateway).await, [SERVED, AWAY, AWAY]);
    one.start_again().await;
    until("everything to be served", async || {
        (mode(&gateway).await.mode() == ServingMode::Normal).then_some(())
    })
    .await;
    assert_eq!(statuses(&gateway).await, [SERVED; 3]);
    gateway.close().await;
}

#[tokio::test]
async fn usage_that_does_not_reach_the_ledger_begins_it_and_it_ends_after_its_least_time() {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::with(&[&engine], |config| {
        config.degraded.journal_behind = Duration::ZERO;
        config.degraded.dwell = Duration::from_millis(1);
    })
    .await;
    gateway.set_ledger_away(true);
    assert_eq!(ask(&gateway, "default").await.status, SERVED);
    until("the gateway to be degraded", async || {
        (mode(&gateway).await.mode() == ServingMode::Degraded).then_some(())
    })
    .await;
    assert_eq!(mode(&gateway).await.reasons().collect::<Vec<_>>(), [DegradedReason::Journal]);
    assert_eq!(statuses(&gateway).await, [SERVED, AWAY, AWAY]);
    gateway.set_ledger_away(false);
    until("everything to be served", async || {
        (mode(&gateway).await.mode() == ServingMode::Normal).then_some(())
    })
    .await;
    assert_eq!(statuses(&gateway).await, [SERVED; 3]);
    gateway.close().await;
}
