//! Calls every method about instances and replicas with every filter that it has; see [`crate::exercise`].

use crate::{ledger::Ledger, load::BEGIN, sample::time};
use policy::Role;
use proto::monitoring::v1::{
    DrainInstanceRequest, GetScalingPolicyRequest, GetScalingRecommendationRequest, HeartbeatRequest,
    InstanceSpec, InstanceState, ListInstanceEventsRequest, ListInstancesRequest, ListPreemptionsRequest,
    ListScalingPoliciesRequest, ModelLoad, MoveCause, Preemption, PutScalingPolicyRequest,
    RegisterInstanceRequest, ReportLoadRequest, ReportMoveRequest, ReportPreemptionRequest, ScalingPolicy,
    WatchInstancesRequest, instance_service_client::InstanceServiceClient,
    scaling_service_client::ScalingServiceClient,
};

pub(crate) async fn every_method(ledger: &Ledger) {
    instances(ledger).await;
    scaling(ledger).await;
}

/// An instance's life, and every list with every filter.
async fn instances(ledger: &Ledger) {
    let mut agent = InstanceServiceClient::new(ledger.as_service());
    for id in ["i-1", "i-2"] {
        let spec = Some(InstanceSpec { pool: "chat".into(), ..Default::default() });
        for _ in 0..2 {
            let request =
                RegisterInstanceRequest { instance_id: id.into(), spec: spec.clone(), ..Default::default() };
            agent.register_instance(request).await.unwrap();
        }
        let beat = HeartbeatRequest { instance_id: id.into(), epoch: 2, status: None };
        agent.heartbeat(beat).await.unwrap();
        let step = ReportMoveRequest {
            instance_id: id.into(),
            epoch: 2,
            version: 1,
            to: InstanceState::Warming.into(),
            cause: MoveCause::EngineUp.into(),
            time: Some(time(BEGIN)),
            ..Default::default()
        };
        agent.report_move(step).await.unwrap();
        let preemption =
            Some(Preemption { event_id: id.into(), notice_time: Some(time(BEGIN)), ..Default::default() });
        let told = ReportPreemptionRequest { instance_id: id.into(), preemption };
        agent.report_preemption(told).await.unwrap();
    }
    let mut operator = InstanceServiceClient::new(ledger.as_person(Role::Operator));
    let drain = DrainInstanceRequest { instance_id: "i-1".into(), ..Default::default() };
    operator.drain_instance(drain).await.unwrap();
    for (pool, state) in [("", 0), ("chat", 0), ("", 2), ("chat", 2)] {
        let first = ListInstancesRequest { pool: pool.into(), state, page_size: 1, ..Default::default() };
        let page = operator.list_instances(first.clone()).await.unwrap().into_inner();
        let next = ListInstancesRequest { page_token: page.next_page_token, ..first };
        operator.list_instances(next).await.unwrap();
    }
    for id in ["", "i-1"] {
        let first = ListInstanceEventsRequest { instance_id: id.into(), page_size: 1, ..Default::default() };
        let page = operator.list_instance_events(first.clone()).await.unwrap().into_inner();
        let next = ListInstanceEventsRequest { page_token: page.next_page_token, ..first };
        operator.list_instance_events(next).await.unwrap();
        let first = ListPreemptionsRequest { instance_id: id.into(), page_size: 1, ..Default::default() };
        let page = operator.list_preemptions(first.clone()).await.unwrap().into_inner();
        let next = ListPreemptionsRequest { page_token: page.next_page_token, ..first };
        operator.list_preemptions(next).await.unwrap();
    }
    let watch = operator.watch_instances(WatchInstancesRequest::default()).await.unwrap();
    assert!(watch.into_inner().message().await.unwrap().is_some());
}

async fn scaling(ledger: &Ledger) {
    let mut gateway = ScalingServiceClient::new(ledger.as_service());
    let models = vec![ModelLoad { model: "chat".into(), queue_length: 3, first_token_p95: None }];
    for _ in 0..2 {
        let told = ReportLoadRequest { gateway: "gateway-1".into(), models: models.clone() };
        gateway.report_load(told).await.unwrap();
    }
    let mut operator = ScalingServiceClient::new(ledger.as_person(Role::Operator));
    for pool in ["chat", "code"] {
        let put = PutScalingPolicyRequest { pool: pool.into(), policy: Some(ScalingPolicy::default()) };
        operator.put_scaling_policy(put).await.unwrap();
        operator.get_scaling_policy(GetScalingPolicyRequest { pool: pool.into() }).await.unwrap();
    }
    let first = ListScalingPoliciesRequest { page_size: 1, ..Default::default() };
    let page = operator.list_scaling_policies(first).await.unwrap().into_inner();
    let next = ListScalingPoliciesRequest { page_size: 1, page_token: page.next_page_token };
    operator.list_scaling_policies(next).await.unwrap();
    // Whether the pool was looked at by now does not matter here.
    let asked = GetScalingRecommendationRequest { pool: "chat".into() };
    let _ = operator.get_scaling_recommendation(asked).await;
}
