//! Engines that come and go while the gateway runs: by its settings, by a name, by EndpointSlices.

use crate::{
    answers::{chat, check_whole, stream},
    death::some,
    engine::Engine,
    gateway::Gateway,
    until,
};
use http::StatusCode;
use proto::inference::v1::EngineState;
use std::time::Duration;

#[tokio::test]
async fn an_engine_that_is_taken_out_of_the_settings_finishes_what_it_has() {
    let leaving = Engine::simulated("tiny", &["--time-scale", "1"]).await;
    let (staying, coming) = (Engine::simulated("tiny", &[]).await, Engine::simulated("tiny", &[]).await);
    let mut gateway = Gateway::with(&[&leaving, &staying], |_| {}).await;
    let mut running = gateway.chat(&stream(60)).await;
    let mut events = some(&mut running, 2).await;
    gateway.configure(|config| {
        config.engines = vec![staying.url.clone(), coming.url.clone()];
        config.engine.max_in_flight = 7;
    });
    let last = gateway.until(&leaving, EngineState::Leaving).await;
    assert_eq!(last.requests_in_flight, 1);
    gateway.until(&coming, EngineState::Healthy).await;
    while let Some(event) = running.event().await {
        events.push(event);
    }
    check_whole(events, 1);
    until("the engine to be forgotten", async || gateway.find(&leaving).await.is_none().then_some(())).await;
    // One that comes back is asked anew.
    gateway.configure(|config| config.engines = vec![leaving.url.clone()]);
    gateway.until(&leaving, EngineState::Healthy).await;
    until("the others to be forgotten", async || (gateway.engines().await.len() == 1).then_some(())).await;
    assert_eq!(gateway.chat(&chat(2)).await.status, StatusCode::OK);
    let records = gateway.close().await;
    assert!(records.iter().all(|record| record.engine == leaving.url), "{records:#?}");
}

#[tokio::test]
async fn every_address_of_a_name_is_an_engine() {
    let engine = Engine::simulated("tiny", &[]).await;
    let port = engine.url.rsplit_once(':').unwrap().1.to_owned();
    let gateway = Gateway::with(&[], |config| {
        config.engines = vec![format!("dns://localhost:{port}"), "dns://nowhere.invalid:8000".into()];
        config.engine.check_timeout = Duration::from_secs(1);
    })
    .await;
    gateway.until(&engine, EngineState::Healthy).await;
    assert_eq!(gateway.chat(&chat(2)).await.status, StatusCode::OK);
    assert_eq!(gateway.close().await[0].engine, engine.url);
}
