//! Permissions may be killed, stopped, replaced and away: no inference is refused for it, and every one is counted.

use crate::chat::{CHAT, chat, until_usable};
use proto::inference::v1::{InferRequest, Prompt, inference_service_client::InferenceServiceClient};
use std::{net::SocketAddr, time::Duration};
use tests::{
    apart::{Apart, Role},
    engine::Engine,
    http::Client,
    people,
    postgres::Server,
    process::{Process, free_address},
    relay::Relay,
    rpc,
    steady::{Steady, doors, holders},
    suite::MODEL,
    until,
};
use tonic::Code;
use tonic_types::StatusExt;

/// Answers for each caller between two blows: every way in, and once more.
const SOME: usize = 5;
/// Access tokens live so short that they run out while permissions is away.
const SHORT: (&str, &str) = ("TOLLGATE_PERMISSIONS__ACCESS_TOKEN_LIFETIME", "3s");

/// All services, with further settings, and a load on them: two callers with keys, two who are signed in.
async fn start(settings: &[(&str, &str)]) -> (Apart, Engine, Steady) {
    let engine = Engine::start("--time-scale 0").await;
    let settings: Vec<_> =
        [("TOLLGATE_ENGINES", engine.url.as_str())].iter().chain(settings).copied().collect();
    let apart = Apart::start(&settings).await;
    let load = load(&apart).await;
    (apart, engine, load)
}

async fn load(apart: &Apart) -> Steady {
    let holders = holders(apart, 2).await;
    for holder in &holders {
        until_usable(&apart.owner().with_key(holder.credential())).await;
    }
    Steady::start(doors(apart), holders, Duration::from_millis(20)).await
}

/// Nothing was refused, everything is in the ledger.
async fn settle(apart: &Apart, load: Steady) {
    load.more(SOME).await;
    let seen = load.end().await;
    seen.assert_none_refused();
    seen.assert_recorded(&apart.owner()).await;
    eprintln!(
        "{} answered {:?}, {} of them to tokens past their end; tokens renewed and not: {:?}",
        seen.answered(),
        seen.by_way(),
        seen.overdue(),
        seen.renewals()
    );
}

#[tokio::test]
async fn it_is_killed_and_stopped_and_comes_back_and_no_inference_is_refused() {
    let (mut apart, _engine, load) = start(&[SHORT]).await;
    for killed in [true, false, true, false] {
        load.more(SOME).await;
        load.while_none_renews(async || {
            if killed {
                apart.process(Role::Permissions).kill();
            } else {
                assert!(apart.process(Role::Permissions).stop().await.success());
            }
        })
        .await;
        load.more(SOME).await;
        load.more_overdue(SOME).await;
        apart.run(Role::Permissions).await;
    }
    settle(&apart, load).await;
}

#[tokio::test]
async fn it_is_replaced_by_another_process_and_no_inference_is_refused() {
    let (database, first) = (Server::start(), free_address());
    let relay = Relay::start(first).await;
    let before = format!("http://{}", relay.address);
    let engine = Engine::start("--time-scale 0").await;
    let mut apart = Apart::prepare(&[
        ("TOLLGATE_ENGINES", &engine.url),
        ("TOLLGATE_PERMISSIONS__DATABASE", database.url()),
        ("TOLLGATE_UPSTREAM__PERMISSIONS", &before),
        SHORT,
    ]);
    let mut running = another(&apart, first).await;
    for role in [Role::Monitoring, Role::Inference, Role::Edge] {
        apart.run(role).await;
    }
    let load = load(&apart).await;
    for _ in 0..3 {
        load.more(SOME).await;
        let next = free_address();
        let successor = another(&apart, next).await;
        relay.point(next);
        load.more(SOME).await;
        assert!(running.stop().await.success(), "it drains");
        running = successor;
        load.more(SOME).await;
    }
    settle(&apart, load).await;
}

/// One more permissions process on the same database, once it is ready.
async fn another(apart: &Apart, address: SocketAddr) -> Process {
    let admin = free_address();
    let mut process = apart.spawn(
        Role::Permissions,
        &[
            ("TOLLGATE_PORTS__PERMISSIONS", &address.to_string()),
            ("TOLLGATE_PORTS__PERMISSIONS_ADMIN", &admin.to_string()),
        ],
    );
    process.until_ok(admin, "/health/ready").await;
    process
}

#[tokio::test]
async fn a_gateway_that_has_never_heard_of_it_says_so_and_when_to_come_back() {
    let engine = Engine::start("--time-scale 0").await;
    let mut apart = Apart::prepare(&[("TOLLGATE_ENGINES", &engine.url)]);
    apart.run(Role::Permissions).await;
    let key = apart.first_run().api_key;
    apart.process(Role::Permissions).kill();
    apart.run(Role::Edge).await;
    let _gateway = apart.spawn(Role::Inference, &[]);
    let admin = Client::new(apart.admin(Role::Inference), None);
    until("its admin port", async || admin.try_send(admin.request("GET", "/health/live")).await.ok()).await;
    assert_eq!(admin.get("/health/ready").await.status, 503, "nobody is to be sent here");

    let client = Client::new(apart.address(Role::Edge), Some(&key));
    let answer = client.post(CHAT, &chat(1, 1)).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{}", answer.text());
    assert_eq!(answer.openai_error().1, "authentication_unavailable");
    let prompt = Prompt { model: MODEL.into(), text: "w1".into(), ..Prompt::default() };
    let channel = rpc::channel(apart.address(Role::Inference), &key).await;
    let refused = InferenceServiceClient::new(channel)
        .infer(InferRequest { prompt: Some(prompt), ..InferRequest::default() })
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "AUTHENTICATION_UNAVAILABLE");
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());

    apart.run(Role::Permissions).await;
    people::register(&client, MODEL).await;
    until_usable(&client).await;
}
