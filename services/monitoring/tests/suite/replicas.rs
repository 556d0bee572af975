//! Policies, what gateways say, recommendations, and what KEDA is told.

use crate::{
    instances::{agent, new, until_ready},
    ledger::Ledger,
};
use policy::Role;
use proto::{
    externalscaler::{GetMetricsRequest, ScaledObjectRef, external_scaler_client::ExternalScalerClient},
    monitoring::v1::{
        GetScalingPolicyRequest, GetScalingRecommendationRequest, HeartbeatRequest, InstanceStatus,
        ListScalingPoliciesRequest, ModelLoad, PutScalingPolicyRequest, ReportLoadRequest, ScalingPace,
        ScalingPolicy, ScalingRecommendation, ScalingThresholds, ScalingVerdict,
        scaling_service_client::ScalingServiceClient,
    },
};
use shared::{
    channel::{self, Channel},
    on,
    server::Tasks,
    status, time,
};
use tonic::{Code, Status};

type Client = ScalingServiceClient<Channel>;

on_both_engines!(
    a_pool_that_nobody_speaks_of_has_no_recommendation,
    what_gateways_and_agents_say_is_brought_together,
    a_queue_that_stays_long_asks_for_more,
    policies_are_put_read_and_guarded_by_their_etag,
    policies_that_cannot_be_are_named,
    keda_is_told_the_same_and_never_a_guess,
    two_replicas_look_once,
);

fn service(ledger: &Ledger) -> Client {
    Client::new(ledger.as_service())
}

fn operator(ledger: &Ledger) -> Client {
    Client::new(ledger.as_person(Role::Operator))
}

fn load(model: &str, queue_length: u32, millis: i32) -> ModelLoad {
    let first_token_p95 = Some(prost_types::Duration { seconds: 0, nanos: millis * 1_000_000 });
    ModelLoad { model: model.into(), queue_length, first_token_p95 }
}

async fn say(ledger: &Ledger, gateway: &str, models: Vec<ModelLoad>) {
    service(ledger).report_load(ReportLoadRequest { gateway: gateway.into(), models }).await.unwrap();
}

async fn recommended(ledger: &Ledger, pool: &str) -> Result<ScalingRecommendation, Status> {
    let request = GetScalingRecommendationRequest { pool: pool.into() };
    let answer = operator(ledger).get_scaling_recommendation(request).await?;
    Ok(answer.into_inner().recommendation.unwrap())
}

/// As if the pools had been looked at long ago: the next round looks again.
async fn long_ago(ledger: &Ledger) {
    let back = shared::db::Time(policy::Time(time::now().0 - 60_000_000));
    let update = "UPDATE scaling_states SET look_time = $1";
    on!(&ledger.db, |pool| sqlx::query(update).bind(back).execute(pool).await.map(drop)).unwrap();
}

/// Waits for a recommendation that fits, while time is made to pass.
async fn until(
    ledger: &Ledger,
    pool: &str,
    fits: impl Fn(&ScalingRecommendation) -> bool,
) -> ScalingRecommendation {
    tests::until("the recommendation", async || {
        long_ago(ledger).await;
        recommended(ledger, pool).await.ok().filter(&fits)
    })
    .await
}

async fn put(ledger: &Ledger, pool: &str, policy: ScalingPolicy) -> Result<ScalingPolicy, Status> {
    let request = PutScalingPolicyRequest { pool: pool.into(), policy: Some(policy) };
    Ok(operator(ledger).put_scaling_policy(request).await?.into_inner().policy.unwrap())
}

/// Limits that take effect at once.
fn hasty() -> ScalingPolicy {
    let at_once = ScalingPace {
        sustained: Some(prost_types::Duration::default()),
        stabilisation: Some(prost_types::Duration::default()),
        step: 2,
        step_part: 0.0,
    };
    ScalingPolicy { scale_out_pace: Some(at_once), scale_in_pace: Some(at_once), ..Default::default() }
}

async fn a_pool_that_nobody_speaks_of_has_no_recommendation(ledger: &Ledger) {
    let status = recommended(ledger, "chat").await.unwrap_err();
    assert_eq!((status.code(), status::reason(&status)), (Code::Unavailable, "SCALING_STALE".to_owned()));
    // An instance alone says nothing of the queue.
    agent(ledger).register_instance(new("i-1", "chat")).await.unwrap();
    let named = tests::until("a look at the pool", async || {
        let status = recommended(ledger, "chat").await.unwrap_err();
        status.message().contains("no gateway says").then_some(status)
    });
    assert_eq!(named.await.code(), Code::Unavailable);
}

async fn what_gateways_and_agents_say_is_brought_together(ledger: &Ledger) {
    let mut agent = agent(ledger);
    for (id, gpu_usage) in [("i-1", 0.2), ("i-2", 0.6)] {
        agent.register_instance(new(id, "chat")).await.unwrap();
        until_ready(&mut agent, id, 1).await;
        let status = Some(InstanceStatus { gpu_usage: Some(gpu_usage), ..Default::default() });
        agent.heartbeat(HeartbeatRequest { instance_id: id.into(), epoch: 1, status }).await.unwrap();
    }
    agent.register_instance(new("i-3", "chat")).await.unwrap();
    put(ledger, "chat", ScalingPolicy { models: vec!["a".into(), "b".into()], ..Default::default() })
        .await
        .unwrap();
    say(ledger, "gateway-1", vec![load("a", 30, 400), load("b", 4, 900), load("c", 999, 999)]).await;
    say(ledger, "gateway-2", vec![load("a", 8, 700)]).await;
    let seen = until(ledger, "chat", |seen| seen.queue_length == 42 && seen.ready == 2).await;
    assert_eq!((seen.warming, seen.ready, seen.draining), (1, 2, 0));
    assert_eq!(seen.first_token_p95.unwrap().nanos, 900_000_000);
    assert!((seen.gpu_usage.unwrap() - 0.4).abs() < 1e-6);
    assert_eq!(seen.verdict(), ScalingVerdict::Hold);
    assert!(seen.reason.contains("between their limits"), "{}", seen.reason);
    // The agent hears what waits for its pool.
    let beat = HeartbeatRequest { instance_id: "i-1".into(), epoch: 1, status: None };
    assert_eq!(agent.heartbeat(beat).await.unwrap().into_inner().pool_queue_length, Some(42));
}

async fn a_queue_that_stays_long_asks_for_more(ledger: &Ledger) {
    put(ledger, "chat", hasty()).await.unwrap();
    say(ledger, "gateway-1", vec![load("chat", 250, 400)]).await;
    let seen = until(ledger, "chat", |seen| seen.replicas > 1).await;
    assert!(seen.change_time.is_some() && seen.replicas <= 20);
    let most = until(ledger, "chat", |seen| seen.replicas == 20 || seen.reason.contains("should do")).await;
    assert!(most.reason.contains("the queue"), "{}", most.reason);
    say(ledger, "gateway-1", vec![load("chat", 0, 100)]).await;
    // Nobody tells how busy the GPUs are, so fewer cannot be advised.
    let seen = until(ledger, "chat", |seen| seen.queue_length == 0).await;
    assert!(seen.reason.contains("nobody tells the use of the GPUs"), "{}", seen.reason);
}

async fn policies_are_put_read_and_guarded_by_their_etag(ledger: &Ledger) {
    let get = async |pool: &str| {
        let request = GetScalingPolicyRequest { pool: pool.into() };
        operator(ledger).get_scaling_policy(request).await.unwrap().into_inner().policy.unwrap()
    };
    let default = get("chat").await;
    assert_eq!((default.min_replicas, default.max_replicas, default.etag.as_str()), (1, 20, ""));
    let out = default.scale_out.unwrap();
    assert_eq!((out.queue_length, out.gpu_usage), (Some(100), Some(0.8)));
    let first = put(ledger, "chat", ScalingPolicy { max_replicas: 8, ..Default::default() }).await.unwrap();
    assert_eq!(get("chat").await, first);
    let second = put(ledger, "chat", ScalingPolicy { max_replicas: 9, ..first.clone() }).await.unwrap();
    assert_ne!(first.etag, second.etag);
    let status = put(ledger, "chat", ScalingPolicy { max_replicas: 7, ..first }).await.unwrap_err();
    assert_eq!(status::reason(&status), "ETAG_MISMATCH");
    put(ledger, "code", ScalingPolicy::default()).await.unwrap();
    let request = ListScalingPoliciesRequest { page_size: 1, ..Default::default() };
    let page = operator(ledger).list_scaling_policies(request).await.unwrap().into_inner();
    assert_eq!((page.policies[0].pool.as_str(), page.policies[0].max_replicas), ("chat", 9));
    let request = ListScalingPoliciesRequest { page_size: 1, page_token: page.next_page_token };
    let page = operator(ledger).list_scaling_policies(request).await.unwrap().into_inner();
    assert_eq!((page.policies[0].pool.as_str(), page.next_page_token.as_str()), ("code", ""));
}

async fn policies_that_cannot_be_are_named(ledger: &Ledger) {
    use tonic_types::StatusExt;
    let cases = [
        ("policy.max_replicas", ScalingPolicy { min_replicas: 3, max_replicas: 2, ..Default::default() }),
        ("policy.gpu_usage", {
            let out =
                ScalingThresholds { queue_length: Some(100), gpu_usage: Some(80.0), ..Default::default() };
            ScalingPolicy { scale_out: Some(out), ..Default::default() }
        }),
        ("policy.scale_in", {
            let into = ScalingThresholds { queue_length: Some(500), ..Default::default() };
            ScalingPolicy { scale_in: Some(into), ..Default::default() }
        }),
        ("policy.models", ScalingPolicy { models: vec![String::new()], ..Default::default() }),
        ("policy.pool", ScalingPolicy { pool: "other".into(), ..Default::default() }),
    ];
    for (field, policy) in cases {
        let status = put(ledger, "chat", policy).await.unwrap_err();
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
}

async fn keda_is_told_the_same_and_never_a_guess(ledger: &Ledger) {
    // A replica of its own: it has heard nothing itself.
    let tasks = Tasks::default();
    let mut keda =
        ExternalScalerClient::new(channel::in_process(monitoring::keda(ledger.db.clone(), &tasks)));
    let object = |metadata: &[(&str, &str)]| ScaledObjectRef {
        name: "engines".into(),
        namespace: "llm".into(),
        scaler_metadata: metadata.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
    };
    let ask = |metadata: &[(&str, &str)]| GetMetricsRequest {
        scaled_object_ref: Some(object(metadata)),
        metric_name: String::new(),
    };
    let chat = [("pool", "chat")];
    let status = keda.get_metrics(ask(&chat)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(keda.is_active(object(&chat)).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(keda.get_metrics(ask(&[])).await.unwrap_err().code(), Code::InvalidArgument);
    let unknown = [("pool", "chat"), ("metric", "happiness")];
    assert_eq!(keda.get_metrics(ask(&unknown)).await.unwrap_err().code(), Code::InvalidArgument);

    put(ledger, "chat", ScalingPolicy { min_replicas: 3, ..Default::default() }).await.unwrap();
    say(ledger, "gateway-1", vec![load("chat", 42, 700)]).await;
    until(ledger, "chat", |seen| seen.replicas == 3).await;
    for (metric, target, value) in
        [("replicas", 1.0, 3.0), ("queue_length", 100.0, 42.0), ("p95_ttft_ms", 2_000.0, 700.0)]
    {
        let metadata = [("pool", "chat"), ("metric", metric)];
        let spec = keda.get_metric_spec(object(&metadata)).await.unwrap().into_inner();
        assert_eq!(spec.metric_specs.len(), 1, "the HPA adds up what it is given");
        assert_eq!(
            (spec.metric_specs[0].target_size_float, spec.metric_specs[0].target_size),
            (target, target as i64)
        );
        let told = keda.get_metrics(ask(&metadata)).await.unwrap().into_inner();
        let told = &told.metric_values[0];
        assert_eq!((told.metric_name.as_str(), told.metric_value_float), (metric, value));
        assert_eq!(told.metric_value, value as i64);
    }
    let gpu = [("pool", "chat"), ("metric", "gpu_usage_percent")];
    assert_eq!(keda.get_metrics(ask(&gpu)).await.unwrap_err().code(), Code::Unavailable, "nobody says it");
    let own = [("pool", "chat"), ("metric", "queue_length"), ("target", "25")];
    let spec = keda.get_metric_spec(object(&own)).await.unwrap().into_inner();
    assert_eq!(spec.metric_specs[0].target_size, 25);
    assert!(keda.is_active(object(&chat)).await.unwrap().into_inner().result);
    let mut told = keda.stream_is_active(object(&chat)).await.unwrap().into_inner();
    assert!(tests::within("a word of the stream", told.message()).await.unwrap().unwrap().result);
    drop(told);
    assert!(tasks.end(std::time::Duration::from_secs(5)).await);
}

/// Two that look at the same moment: each look counts once.
async fn two_replicas_look_once(ledger: &Ledger) {
    put(ledger, "chat", hasty()).await.unwrap();
    say(ledger, "gateway-1", vec![load("chat", 5_000, 400)]).await;
    let first = until(ledger, "chat", |seen| seen.replicas > 1).await;
    let again = recommended(ledger, "chat").await.unwrap();
    assert_eq!((first.replicas, first.time), (again.replicas, again.time));
}
