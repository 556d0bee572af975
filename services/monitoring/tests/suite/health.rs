//! How everything is: told by processes, judged when somebody asks, known to all replicas.

use crate::ledger::Ledger;
use policy::Role;
use proto::monitoring::v1::{
    CheckNowRequest, ComponentCondition, Dependency, DependencyKind, GetHealthRequest, HealthStatus,
    ListDependenciesRequest, ReportHealthRequest, ReportHealthResponse, ReportedComponent,
    WatchHealthRequest, health_service_client::HealthServiceClient,
};
use shared::{channel::Channel, status::reason};
use tests::until;
use tonic::{Code, Streaming};

on_both_engines!(
    what_processes_say_is_judged_together,
    a_word_to_one_replica_reaches_the_others,
    what_stops_as_it_said_is_missed_by_nobody,
    a_watch_shows_what_changed,
    a_check_has_those_look_who_report_here,
    words_that_make_no_sense_are_refused_by_field,
    only_services_report_and_only_officials_ask,
    how_it_is_can_be_asked_while_the_database_is_away,
);

type Client = HealthServiceClient<Channel>;

fn ask(ledger: &Ledger) -> Client {
    Client::new(ledger.as_person(Role::Operator))
}

fn component(name: &str, kind: DependencyKind, critical: bool) -> ReportedComponent {
    ReportedComponent {
        name: name.into(),
        kind: kind.into(),
        condition: ComponentCondition::Up.into(),
        critical,
        ..Default::default()
    }
}

fn down(name: &str, kind: DependencyKind, critical: bool) -> ReportedComponent {
    let (condition, reason) = (ComponentCondition::Down.into(), "does not answer".into());
    ReportedComponent { condition, reason, consecutive_failures: 3, ..component(name, kind, critical) }
}

fn told(instance: &str, components: Vec<ReportedComponent>) -> ReportHealthRequest {
    ReportHealthRequest {
        instance: instance.into(),
        service: "inference".into(),
        apis: vec!["inference".into()],
        components,
        stopping: false,
    }
}

async fn report(ledger: &Ledger, request: ReportHealthRequest) -> Streaming<ReportHealthResponse> {
    Client::new(ledger.as_service()).report_health(request).await.unwrap().into_inner()
}

async fn status(ledger: &Ledger) -> (HealthStatus, Vec<String>) {
    let health = ask(ledger).get_health(GetHealthRequest {}).await.unwrap().into_inner();
    (health.status(), health.reasons)
}

async fn list(ledger: &Ledger, kind: DependencyKind) -> Vec<Dependency> {
    let request = ListDependenciesRequest { kind: kind.into() };
    ask(ledger).list_dependencies(request).await.unwrap().into_inner().dependencies
}

async fn what_processes_say_is_judged_together(ledger: &Ledger) {
    use DependencyKind::{Api, Database, Engine, Redis};
    assert_eq!(status(ledger).await, (HealthStatus::Healthy, Vec::new()), "nobody has said anything");
    let slow = prost_types::Duration { seconds: 1, nanos: 500_000_000 };
    let slow = ReportedComponent { latency: Some(slow), ..component("database", Database, true) };
    let engines = |one| vec![one, component("http://b", Engine, true)];
    let own = [slow, component("redis", Redis, false)];
    let all = own.iter().cloned().chain(engines(component("http://a", Engine, true)));
    report(ledger, told("g:1", all.collect())).await;
    let (overall, reasons) = status(ledger).await;
    assert_eq!((overall, reasons.len()), (HealthStatus::Degraded, 1), "{reasons:?}");
    assert!(reasons[0].contains("database of g:1") && reasons[0].contains("1s"), "{reasons:?}");
    let found = list(ledger, Database).await;
    assert_eq!((found.len(), found[0].status(), found[0].critical), (1, HealthStatus::Degraded, true));
    assert_eq!(list(ledger, Redis).await[0].status(), HealthStatus::Healthy);

    let all = engines(down("http://a", Engine, true));
    report(ledger, told("g:1", all.clone())).await;
    assert_eq!(status(ledger).await.0, HealthStatus::Degraded, "the other engine works");
    let worst = &list(ledger, DependencyKind::Unspecified).await[0];
    assert_eq!((worst.name.as_str(), worst.consecutive_failures), ("http://a", 3));
    report(ledger, told("g:1", vec![down("http://a", Engine, true), down("http://b", Engine, true)])).await;
    assert_eq!(status(ledger).await.0, HealthStatus::Unhealthy, "no engine works");

    report(ledger, told("g:1", vec![down("database", Database, true)])).await;
    let (overall, reasons) = status(ledger).await;
    assert_eq!(overall, HealthStatus::Unhealthy, "{reasons:?}");
    assert_eq!(list(ledger, Api).await[0].reason, "not ready: database is down");
    report(ledger, told("g:2", vec![component("database", Database, true)])).await;
    assert_eq!(status(ledger).await.0, HealthStatus::Degraded, "another process serves");
}

async fn a_word_to_one_replica_reaches_the_others(ledger: &Ledger) {
    let other = ledger.replica().await;
    report(ledger, told("g:1", vec![down("redis", DependencyKind::Redis, false)])).await;
    until("the other replica to know", async || {
        let known = list(&other, DependencyKind::Redis).await;
        (known.len() == 1 && known[0].status() == HealthStatus::Unhealthy).then_some(())
    })
    .await;
    assert_eq!(status(&other).await, status(ledger).await, "they agree");
    report(&other, told("g:1", vec![component("redis", DependencyKind::Redis, false)])).await;
    until("the newer word to come back", async || {
        let known = list(ledger, DependencyKind::Redis).await;
        (known[0].status() == HealthStatus::Healthy).then_some(())
    })
    .await;
    other.end().await;
}

async fn what_stops_as_it_said_is_missed_by_nobody(ledger: &Ledger) {
    let request = told("g:1", vec![component("database", DependencyKind::Database, true)]);
    report(ledger, told("g:2", request.components.clone())).await;
    report(ledger, ReportHealthRequest { stopping: true, ..request }).await;
    let (overall, reasons) = status(ledger).await;
    assert_eq!((overall, reasons), (HealthStatus::Degraded, vec!["inference of g:1: is stopping".into()]));
}

async fn a_watch_shows_what_changed(ledger: &Ledger) {
    report(ledger, told("g:1", vec![component("redis", DependencyKind::Redis, false)])).await;
    let mut watch = ask(ledger).watch_health(WatchHealthRequest {}).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!((first.status(), first.dependencies.len()), (HealthStatus::Healthy, 2));
    report(ledger, told("g:1", vec![down("redis", DependencyKind::Redis, false)])).await;
    let next = watch.message().await.unwrap().unwrap();
    assert_eq!((next.status(), next.dependencies.len()), (HealthStatus::Degraded, 1));
    assert_eq!(next.dependencies[0].name, "redis");
}

async fn a_check_has_those_look_who_report_here(ledger: &Ledger) {
    let redis = |down_now| match down_now {
        true => vec![down("redis", DependencyKind::Redis, false)],
        false => vec![component("redis", DependencyKind::Redis, false)],
    };
    let mut wishes = report(ledger, told("g:1", redis(false))).await;
    let process = async {
        assert!(wishes.message().await.unwrap().is_some(), "it is asked to look");
        report(ledger, told("g:1", redis(true))).await
    };
    let mut operator = ask(ledger);
    let (checked, _open) = tokio::join!(operator.check_now(CheckNowRequest {}), process);
    let checked = checked.unwrap().into_inner();
    assert_eq!((checked.status(), checked.processes_checked), (HealthStatus::Degraded, 1));
    assert!(checked.processes_missing.is_empty());
    let refused = ask(ledger).check_now(CheckNowRequest {}).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "CHECKED_JUST_NOW"));
}

async fn words_that_make_no_sense_are_refused_by_field(ledger: &Ledger) {
    let good = || told("g:1", vec![component("redis", DependencyKind::Redis, false)]);
    let with = |change: fn(&mut ReportHealthRequest)| {
        let mut request = good();
        change(&mut request);
        request
    };
    let bad = [
        (with(|request| request.instance.clear()), "instance:"),
        (with(|request| request.service = "a\nb".into()), "service:"),
        (with(|request| request.components[0].condition = 0), "components[0].condition:"),
        (with(|request| request.components[0].kind = 99), "components[0].kind:"),
        (with(|request| request.components[0].name.clear()), "components[0].name:"),
        (with(|request| request.components = vec![request.components[0].clone(); 501]), "components:"),
    ];
    for (request, field) in bad {
        let refused = Client::new(ledger.as_service()).report_health(request).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_FIELD", "{field}");
        assert!(refused.message().starts_with(field), "{field}: {}", refused.message());
    }
    assert!(list(ledger, DependencyKind::Redis).await.is_empty(), "nothing was taken");
}

async fn only_services_report_and_only_officials_ask(ledger: &Ledger) {
    for role in Role::ALL {
        let mut client = Client::new(ledger.as_person(*role));
        let reported = client.report_health(told("g:1", Vec::new())).await;
        assert_eq!(reported.unwrap_err().code(), Code::PermissionDenied, "{role:?}");
        let asked = client.get_health(GetHealthRequest {}).await;
        let may = !matches!(role, Role::Member | Role::Developer);
        assert_eq!(asked.is_ok(), may, "{role:?}");
    }
    assert!(list(ledger, DependencyKind::Api).await.is_empty());
}

async fn how_it_is_can_be_asked_while_the_database_is_away(ledger: &Ledger) {
    ledger.db.close().await;
    report(ledger, told("g:1", vec![down("database", DependencyKind::Database, true)])).await;
    assert_eq!(status(ledger).await.0, HealthStatus::Unhealthy);
    assert_eq!(list(ledger, DependencyKind::Database).await[0].reason, "does not answer");
}
