//! What operators say of engines: cordon, drain, and putting them back.

use crate::{
    answers::{chat, check_whole, stream},
    death::some,
    engine::Engine,
    gateway::Gateway,
    until,
};
use http::StatusCode;
use proto::inference::v1::{
    CordonEngineRequest, DrainEngineRequest, EngineState, GetEngineRequest, UncordonEngineRequest,
};
use tonic::Code;
use tonic_types::StatusExt;

async fn id(gateway: &Gateway, engine: &Engine) -> String {
    gateway.find(engine).await.unwrap().engine_id
}

#[tokio::test]
async fn a_cordoned_engine_gets_nothing_new_until_it_is_put_back() {
    let first = Engine::simulated("tiny", &[]).await;
    let second = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::open(&[&first, &second]).await;
    let engine_id = id(&gateway, &first).await;
    let asked = CordonEngineRequest { engine_id: engine_id.clone(), reason: "a new disk".into() };
    let cordoned =
        gateway.operator().cordon_engine(asked.clone()).await.unwrap().into_inner().engine.unwrap();
    assert_eq!((cordoned.state(), cordoned.state_reason.as_str()), (EngineState::Cordoned, "a new disk"));
    let said = cordoned.cordon.unwrap();
    assert!(uuid::Uuid::parse_str(&said.actor).is_ok() && said.time.is_some(), "{said:?}");
    assert_eq!(said.drain_deadline, None);
    for _ in 0..3 {
        assert_eq!(gateway.chat(&chat(2)).await.status, StatusCode::OK);
    }
    let (records, folder) = gateway.end().await;
    assert!(records.iter().all(|record| record.engine == second.url && record.attempt == 1), "{records:#?}");

    // It holds after a start.
    let gateway = Gateway::within(folder, &[&first, &second], |_| {}).await;
    let got = gateway.operator().get_engine(GetEngineRequest { engine_id: engine_id.clone() }).await.unwrap();
    assert_eq!(got.into_inner().engine.unwrap().cordon.unwrap().reason, "a new disk");
    let back = UncordonEngineRequest { engine_id, reason: "done".into() };
    for _ in 0..2 {
        let back =
            gateway.operator().uncordon_engine(back.clone()).await.unwrap().into_inner().engine.unwrap();
        assert_eq!((back.state(), back.cordon), (EngineState::Healthy, None));
    }
    assert_eq!(gateway.chat(&chat(2)).await.status, StatusCode::OK);
    let (records, folder) = gateway.end().await;
    assert_eq!(records[0].engine, first.url);
    let gateway = Gateway::within(folder, &[&first, &second], |_| {}).await;
    assert_eq!(gateway.find(&first).await.unwrap().state(), EngineState::Healthy);
    gateway.close().await;
}

#[tokio::test]
async fn a_drained_engine_finishes_what_it_has() {
    let first = Engine::simulated("tiny", &["--time-scale", "1"]).await;
    let second = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::open(&[&first, &second]).await;
    let mut running = gateway.chat(&stream(60)).await;
    let mut events = some(&mut running, 2).await;
    let engine_id = id(&gateway, &first).await;
    let limit = Some(prost_types::Duration { seconds: 0, nanos: 0 });
    let reason = "upgrade".into();
    let asked = DrainEngineRequest { engine_id: engine_id.clone(), limit, preempted: false, reason };
    let draining = gateway.operator().drain_engine(asked).await.unwrap().into_inner().engine.unwrap();
    assert_eq!((draining.state(), draining.requests_in_flight), (EngineState::Draining, 1));
    assert!(draining.cordon.unwrap().drain_deadline.is_some());
    until("the limit to be over", async || {
        let reason = gateway.find(&first).await?.state_reason;
        (reason == "upgrade (the time to drain is over, and 1 requests still run)").then_some(())
    })
    .await;
    assert_eq!(gateway.chat(&chat(2)).await.status, StatusCode::OK);
    while let Some(event) = running.event().await {
        events.push(event);
    }
    check_whole(events, 1);
    let drained = gateway.until(&first, EngineState::Drained).await;
    assert_eq!(drained.state_reason, "upgrade");
    gateway
        .operator()
        .uncordon_engine(UncordonEngineRequest { engine_id, ..Default::default() })
        .await
        .unwrap();
    assert_eq!(gateway.find(&first).await.unwrap().state(), EngineState::Healthy);
    let records = gateway.close().await;
    let short = records.iter().find(|record| record.completion_tokens == 2).unwrap();
    assert_eq!(short.engine, second.url);
}

#[tokio::test]
async fn what_cannot_be_said_of_an_engine_is_refused() {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::open(&[&engine]).await;
    let mut operator = gateway.operator();
    let unknown = GetEngineRequest { engine_id: "nobody".into() };
    let refused = operator.get_engine(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "ENGINE_NOT_FOUND");
    let engine_id = id(&gateway, &engine).await;
    for reason in ["x".repeat(501), "two\nlines".into()] {
        let asked = CordonEngineRequest { engine_id: engine_id.clone(), reason };
        let refused = operator.cordon_engine(asked).await.unwrap_err();
        assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "reason");
    }
    for seconds in [-1, 25 * 60 * 60] {
        let limit = Some(prost_types::Duration { seconds, nanos: 0 });
        let asked = DrainEngineRequest { engine_id: engine_id.clone(), limit, ..Default::default() };
        let refused = operator.drain_engine(asked).await.unwrap_err();
        assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "limit");
    }
    assert_eq!(gateway.find(&engine).await.unwrap().state(), EngineState::Healthy, "nothing was changed");
    gateway.close().await;
}
