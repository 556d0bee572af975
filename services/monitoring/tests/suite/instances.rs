//! The life of an instance as its agent reports it and operators see it.

use crate::ledger::Ledger;
use policy::Role;
use proto::monitoring::v1::{
    DrainInstanceRequest, HeartbeatRequest, Instance, InstanceEvent, InstanceSpec, InstanceState,
    InstanceStatus, ListInstanceEventsRequest, ListInstancesRequest, ListPreemptionsRequest, MoveCause,
    Preemption, RegisterInstanceRequest, ReportMoveRequest, ReportPreemptionRequest, WatchInstancesRequest,
    instance_service_client::InstanceServiceClient,
};
use shared::{channel::Channel, on, status, time};
use tonic::Code;

type Client = InstanceServiceClient<Channel>;

on_both_engines!(
    a_life_is_kept_with_every_move,
    moves_that_do_not_follow_are_refused_and_repeated_ones_are_not,
    a_second_agent_takes_over_and_the_first_is_told,
    of_two_moves_at_once_one_counts,
    operators_ask_for_a_drain_and_the_next_heartbeat_says_so,
    the_same_notice_is_kept_once_and_completed,
    pages_of_any_size_are_complete,
    a_watcher_sees_each_move,
    who_is_silent_is_suspect_and_then_gone,
    malformed_words_are_named,
);

pub(crate) fn agent(ledger: &Ledger) -> Client {
    Client::new(ledger.as_service())
}

fn operator(ledger: &Ledger) -> Client {
    Client::new(ledger.as_person(Role::Operator))
}

pub(crate) fn new(id: &str, pool: &str) -> RegisterInstanceRequest {
    let spec = InstanceSpec {
        pool: pool.into(),
        node: "node-1".into(),
        engine_url: "http://10.0.0.1:8000".into(),
        provider: "aws".into(),
        spot: true,
        gpus: vec!["NVIDIA L4".into(), "NVIDIA L4".into()],
    };
    RegisterInstanceRequest { instance_id: id.into(), spec: Some(spec), detail: String::new() }
}

pub(crate) fn step(
    id: &str,
    epoch: u64,
    version: u64,
    to: InstanceState,
    cause: MoveCause,
) -> ReportMoveRequest {
    ReportMoveRequest {
        instance_id: id.into(),
        epoch,
        version,
        to: to.into(),
        cause: cause.into(),
        detail: format!("move {version}"),
        time: Some(time::to_proto(time::now())),
    }
}

async fn register(client: &mut Client, id: &str) -> Instance {
    client.register_instance(new(id, "chat")).await.unwrap().into_inner().instance.unwrap()
}

pub(crate) async fn until_ready(client: &mut Client, id: &str, epoch: u64) {
    for (version, to, cause) in
        [(1, InstanceState::Warming, MoveCause::EngineUp), (2, InstanceState::Ready, MoveCause::WarmedUp)]
    {
        client.report_move(step(id, epoch, version, to, cause)).await.unwrap();
    }
}

async fn events(client: &mut Client, id: &str) -> Vec<InstanceEvent> {
    let request = ListInstanceEventsRequest { instance_id: id.into(), ..Default::default() };
    let mut events = client.list_instance_events(request).await.unwrap().into_inner().events;
    events.reverse();
    events
}

async fn a_life_is_kept_with_every_move(ledger: &Ledger) {
    let mut client = agent(ledger);
    let registered = register(&mut client, "i-1").await;
    assert_eq!((registered.epoch, registered.version, registered.state()), (1, 0, InstanceState::Init));
    until_ready(&mut client, "i-1", 1).await;
    for (version, to, cause) in [
        (3, InstanceState::Draining, MoveCause::Preemption),
        (4, InstanceState::Terminated, MoveCause::Drained),
    ] {
        client.report_move(step("i-1", 1, version, to, cause)).await.unwrap();
    }
    let told: Vec<_> = events(&mut operator(ledger), "i-1").await;
    let moves: Vec<_> = told.iter().map(|event| (event.from(), event.to(), event.cause())).collect();
    use InstanceState::{Draining, Init, Ready, Terminated, Unspecified, Warming};
    assert_eq!(
        moves,
        [
            (Unspecified, Init, MoveCause::Registered),
            (Init, Warming, MoveCause::EngineUp),
            (Warming, Ready, MoveCause::WarmedUp),
            (Ready, Draining, MoveCause::Preemption),
            (Draining, Terminated, MoveCause::Drained),
        ]
    );
    assert_eq!(told[3].detail, "move 3");
    assert!(told.iter().all(|event| event.pool == "chat" && event.time.is_some()));
    // What is over is listed only where it is asked for.
    let mut operator = operator(ledger);
    let all = operator.list_instances(ListInstancesRequest::default()).await.unwrap().into_inner();
    assert!(all.instances.is_empty());
    let over = ListInstancesRequest { state: Terminated.into(), ..Default::default() };
    assert_eq!(operator.list_instances(over).await.unwrap().into_inner().instances.len(), 1);
}

async fn moves_that_do_not_follow_are_refused_and_repeated_ones_are_not(ledger: &Ledger) {
    let mut client = agent(ledger);
    register(&mut client, "i-1").await;
    until_ready(&mut client, "i-1", 1).await;
    let again = step("i-1", 1, 2, InstanceState::Ready, MoveCause::WarmedUp);
    assert_eq!(client.report_move(again).await.unwrap().into_inner().instance.unwrap().version, 2);
    let refused = [
        (step("i-1", 1, 3, InstanceState::Init, MoveCause::Registered), "ILLEGAL_MOVE"),
        (step("i-1", 1, 5, InstanceState::Draining, MoveCause::Idle), "MOVE_OUT_OF_TURN"),
        (step("i-1", 1, 2, InstanceState::Warming, MoveCause::EngineLost), "MOVE_OUT_OF_TURN"),
        (step("i-1", 2, 1, InstanceState::Warming, MoveCause::EngineUp), "INSTANCE_REPLACED"),
        (step("i-9", 1, 1, InstanceState::Warming, MoveCause::EngineUp), "INSTANCE_NOT_FOUND"),
    ];
    for (request, reason) in refused {
        let status = client.report_move(request).await.unwrap_err();
        assert_eq!(status::reason(&status), reason);
    }
    assert_eq!(events(&mut client, "i-1").await.len(), 3);
}

async fn a_second_agent_takes_over_and_the_first_is_told(ledger: &Ledger) {
    let mut client = agent(ledger);
    register(&mut client, "i-1").await;
    until_ready(&mut client, "i-1", 1).await;
    let again = register(&mut client, "i-1").await;
    assert_eq!((again.epoch, again.version, again.state()), (2, 0, InstanceState::Init));
    let beat = |epoch| HeartbeatRequest { instance_id: "i-1".into(), epoch, status: None };
    let status = client.heartbeat(beat(1)).await.unwrap_err();
    assert_eq!((status.code(), status::reason(&status)), (Code::Aborted, "INSTANCE_REPLACED".to_owned()));
    client.heartbeat(beat(2)).await.unwrap();
    let told = events(&mut client, "i-1").await;
    assert_eq!((told[3].from(), told[3].to(), told[3].epoch), (InstanceState::Ready, InstanceState::Init, 2));
}

async fn of_two_moves_at_once_one_counts(ledger: &Ledger) {
    let mut client = agent(ledger);
    register(&mut client, "i-1").await;
    until_ready(&mut client, "i-1", 1).await;
    let (mut one, mut other) = (client.clone(), client.clone());
    let (one, other) = tokio::join!(
        one.report_move(step("i-1", 1, 3, InstanceState::Draining, MoveCause::Idle)),
        other.report_move(step("i-1", 1, 3, InstanceState::Warming, MoveCause::EngineLost)),
    );
    assert_eq!(usize::from(one.is_ok()) + usize::from(other.is_ok()), 1, "{one:?} {other:?}");
    assert_eq!(events(&mut client, "i-1").await.len(), 4);
}

async fn operators_ask_for_a_drain_and_the_next_heartbeat_says_so(ledger: &Ledger) {
    let mut client = agent(ledger);
    register(&mut client, "i-1").await;
    let status = InstanceStatus {
        requests_running: Some(3.0),
        kv_cache_usage: Some(0.25),
        gpu_usage: Some(0.5),
        gpu_memory_used_bytes: Some(7),
        ..Default::default()
    };
    let beat = HeartbeatRequest { instance_id: "i-1".into(), epoch: 1, status: Some(status) };
    assert_eq!(client.heartbeat(beat.clone()).await.unwrap().into_inner().drain, None);
    let limit = Some(prost_types::Duration { seconds: 30, nanos: 0 });
    let asked = DrainInstanceRequest { instance_id: "i-1".into(), limit, reason: "new driver".into() };
    let drained = operator(ledger).drain_instance(asked.clone()).await.unwrap().into_inner();
    let shown = drained.instance.unwrap();
    assert_eq!((shown.drain_reason.as_str(), shown.status), ("new driver", Some(status)));
    // Who asks again changes nothing.
    let later = DrainInstanceRequest { reason: "another".into(), limit: None, ..asked.clone() };
    operator(ledger).drain_instance(later).await.unwrap();
    let wish = client.heartbeat(beat).await.unwrap().into_inner().drain.unwrap();
    assert_eq!((wish.reason.as_str(), wish.limit), ("new driver", limit));
    let developer = Client::new(ledger.as_person(Role::Developer)).drain_instance(asked).await.unwrap_err();
    assert_eq!(developer.code(), Code::PermissionDenied);
}

async fn the_same_notice_is_kept_once_and_completed(ledger: &Ledger) {
    let mut client = agent(ledger);
    register(&mut client, "i-1").await;
    let notice = Preemption {
        event_id: "e-1".into(),
        action: "terminate".into(),
        notice_time: Some(crate::sample::time(100)),
        deadline: Some(crate::sample::time(220)),
        requests_in_flight: Some(4),
        ..Default::default()
    };
    let report = |preemption: &Preemption| ReportPreemptionRequest {
        instance_id: "i-1".into(),
        preemption: Some(preemption.clone()),
    };
    client.report_preemption(report(&notice)).await.unwrap();
    let end = Preemption {
        notice_time: Some(crate::sample::time(101)),
        end_time: Some(crate::sample::time(130)),
        requests_in_flight: Some(0),
        requests_finished: Some(3),
        requests_unfinished: Some(1),
        ..notice.clone()
    };
    client.report_preemption(report(&end)).await.unwrap();
    client.report_preemption(report(&end)).await.unwrap();
    let request = ListPreemptionsRequest { instance_id: "i-1".into(), ..Default::default() };
    let kept = operator(ledger).list_preemptions(request).await.unwrap().into_inner().preemptions;
    let expected = Preemption {
        notice_time: notice.notice_time,
        requests_in_flight: Some(4),
        instance_id: "i-1".into(),
        ..end
    };
    assert_eq!(kept, [expected]);
}

async fn pages_of_any_size_are_complete(ledger: &Ledger) {
    let mut client = agent(ledger);
    let ids: Vec<String> = (0..7).map(|number| format!("i-{number}")).collect();
    for (number, id) in ids.iter().enumerate() {
        let pool = if number % 2 == 0 { "chat" } else { "code" };
        client.register_instance(new(id, pool)).await.unwrap();
    }
    for size in [1, 2, 7, 50] {
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let request = ListInstancesRequest { page_size: size, page_token: token, ..Default::default() };
            let page = client.list_instances(request).await.unwrap().into_inner();
            seen.extend(page.instances.into_iter().map(|instance| instance.instance_id));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, ids, "pages of {size}");
    }
    let code = ListInstancesRequest { pool: "code".into(), ..Default::default() };
    assert_eq!(client.list_instances(code).await.unwrap().into_inner().instances.len(), 3);
    let (mut times, mut token) = (0, String::new());
    loop {
        let request = ListInstanceEventsRequest { page_size: 3, page_token: token, ..Default::default() };
        let page = client.list_instance_events(request).await.unwrap().into_inner();
        times += page.events.len();
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(times, 7);
}

async fn a_watcher_sees_each_move(ledger: &Ledger) {
    let mut client = agent(ledger);
    register(&mut client, "i-1").await;
    let request = WatchInstancesRequest { pool: "chat".into() };
    let mut watch = operator(ledger).watch_instances(request).await.unwrap().into_inner();
    let mut next = async || {
        let told = tests::within("a message of the watch", watch.message()).await.unwrap();
        told.unwrap().instance.unwrap()
    };
    assert_eq!(next().await.state(), InstanceState::Init);
    client.report_move(step("i-1", 1, 1, InstanceState::Warming, MoveCause::EngineUp)).await.unwrap();
    assert_eq!(next().await.state(), InstanceState::Warming);
    client.report_move(step("i-1", 1, 2, InstanceState::Terminated, MoveCause::Stopped)).await.unwrap();
    assert_eq!(next().await.state(), InstanceState::Terminated);
}

/// Time passes by moving what was last heard into the past.
async fn who_is_silent_is_suspect_and_then_gone(ledger: &Ledger) {
    let mut client = agent(ledger);
    register(&mut client, "i-1").await;
    until_ready(&mut client, "i-1", 1).await;
    let silent_for = async |seconds: i64| {
        let seen = shared::db::Time(policy::Time(time::now().0 - seconds * 1_000_000));
        let update = "UPDATE instances SET seen_time = $1";
        on!(&ledger.db, |pool| sqlx::query(update).bind(seen).execute(pool).await.map(drop)).unwrap();
    };
    silent_for(30).await;
    let list = async || {
        let all = operator(ledger).list_instances(ListInstancesRequest::default()).await.unwrap();
        all.into_inner().instances
    };
    let suspect = list().await;
    assert_eq!((suspect[0].suspect, suspect[0].state()), (true, InstanceState::Ready));
    silent_for(61).await;
    tests::until("its end", async || list().await.is_empty().then_some(())).await;
    let told = events(&mut client, "i-1").await;
    assert_eq!(told[3].cause(), MoveCause::LeaseLost);
    let beat = HeartbeatRequest { instance_id: "i-1".into(), epoch: 1, status: None };
    let status = client.heartbeat(beat).await.unwrap_err();
    assert_eq!(status::reason(&status), "INSTANCE_ENDED");
}

async fn malformed_words_are_named(ledger: &Ledger) {
    use tonic_types::StatusExt;
    let mut client = agent(ledger);
    let spec = new("i-1", "chat").spec.unwrap();
    let cases = [
        (new("", "chat"), "instance_id"),
        (new("a b", "chat"), "instance_id"),
        (new("i-1", ""), "spec.pool"),
        (RegisterInstanceRequest { spec: None, ..new("i-1", "chat") }, "spec"),
        (
            RegisterInstanceRequest {
                spec: Some(InstanceSpec { provider: "other".into(), ..spec }),
                ..new("i-1", "chat")
            },
            "spec.provider",
        ),
    ];
    for (request, field) in cases {
        let status = client.register_instance(request).await.unwrap_err();
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
    register(&mut client, "i-1").await;
    let status = InstanceStatus { gpu_usage: Some(80.0), ..Default::default() };
    let beat = HeartbeatRequest { instance_id: "i-1".into(), epoch: 1, status: Some(status) };
    let refused = client.heartbeat(beat).await.unwrap_err();
    assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "status.gpu_usage");
}
