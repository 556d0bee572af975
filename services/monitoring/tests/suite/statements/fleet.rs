//! The same of instances and replicas.

use crate::{
    instances::{new, until_ready},
    ledger::Ledger,
};
use policy::Role;
use proto::monitoring::v1::{
    DrainInstanceRequest, GetScalingPolicyRequest, GetScalingRecommendationRequest, HeartbeatRequest,
    ListInstanceEventsRequest, ListInstancesRequest, ListPreemptionsRequest, ListScalingPoliciesRequest,
    ModelLoad, Preemption, PutScalingPolicyRequest, ReportLoadRequest, ReportPreemptionRequest,
    ScalingPolicy, WatchInstancesRequest, instance_service_client::InstanceServiceClient,
    scaling_service_client::ScalingServiceClient,
};
use tests::statements::Recorder;

pub(super) async fn counts(ledger: &Ledger, many: u64, recorder: &Recorder, count: &mut impl FnMut()) {
    instances(ledger, many, recorder, count).await;
    scaling(ledger, many, recorder, count).await;
}

async fn instances(ledger: &Ledger, many: u64, recorder: &Recorder, count: &mut impl FnMut()) {
    let mut agent = InstanceServiceClient::new(ledger.as_service());
    let (id, pool) = (format!("i-{many}-1"), format!("pool-{many}"));
    for number in 2..=many {
        agent.register_instance(new(&format!("i-{many}-{number}"), &pool)).await.unwrap();
    }
    recorder.clear();
    agent.register_instance(new(&id, &pool)).await.unwrap();
    count();
    until_ready(&mut agent, &id, 1).await;
    count();
    agent.heartbeat(HeartbeatRequest { instance_id: id.clone(), epoch: 1, status: None }).await.unwrap();
    count();
    let notice_time = Some(crate::sample::time(1));
    let preemption = Some(Preemption { event_id: "e".into(), notice_time, ..Default::default() });
    agent.report_preemption(ReportPreemptionRequest { instance_id: id.clone(), preemption }).await.unwrap();
    count();
    let mut operator = InstanceServiceClient::new(ledger.as_person(Role::Operator));
    operator.drain_instance(DrainInstanceRequest { instance_id: id, ..Default::default() }).await.unwrap();
    count();
    let list = ListInstancesRequest { pool: pool.clone(), ..Default::default() };
    let page = operator.list_instances(list).await.unwrap().into_inner();
    assert_eq!(page.instances.len() as u64, many);
    count();
    let list = ListInstanceEventsRequest { page_size: i32::try_from(many).unwrap(), ..Default::default() };
    operator.list_instance_events(list).await.unwrap();
    count();
    operator.list_preemptions(ListPreemptionsRequest::default()).await.unwrap();
    count();
    operator.watch_instances(WatchInstancesRequest { pool }).await.unwrap();
    count();
}

async fn scaling(ledger: &Ledger, many: u64, recorder: &Recorder, count: &mut impl FnMut()) {
    let mut gateway = ScalingServiceClient::new(ledger.as_service());
    let model = |number| ModelLoad { model: format!("model-{number}"), ..Default::default() };
    let models = (0..many).map(model).collect();
    gateway.report_load(ReportLoadRequest { gateway: "gateway-1".into(), models }).await.unwrap();
    count();
    let mut operator = ScalingServiceClient::new(ledger.as_person(Role::Operator));
    let put = |number| PutScalingPolicyRequest {
        pool: format!("pool-{many}-{number}"),
        policy: Some(ScalingPolicy::default()),
    };
    operator.put_scaling_policy(put(0)).await.unwrap();
    count();
    for number in 1..many {
        operator.put_scaling_policy(put(number)).await.unwrap();
    }
    recorder.clear();
    let pool = format!("pool-{many}-0");
    operator.get_scaling_policy(GetScalingPolicyRequest { pool: pool.clone() }).await.unwrap();
    count();
    operator.list_scaling_policies(ListScalingPoliciesRequest::default()).await.unwrap();
    count();
    // Refused when nobody has looked at the pool yet, and asked all the same.
    let _ = operator.get_scaling_recommendation(GetScalingRecommendationRequest { pool }).await;
    count();
}
