//! Who holds the policy and how far, and urgent changes that wait for all of them (P8).

use crate::world::{World, assert_invalid, grant, on_both_engines, uuid};
use pb::{Action, Effect, ReplicaKind, grant::Grantee};
use proto::{common::v1::Role, permissions::v1 as pb};
use tonic::Request;

async fn replicas(world: &World) -> Vec<pb::Replica> {
    let answer = world.owner.replicas().list_replicas(pb::ListReplicasRequest {}).await.unwrap();
    answer.into_inner().replicas
}

/// What a gateway would say of itself.
fn gateway(name: &str, epoch: &str, revision: u64) -> pb::ReportReplicaRequest {
    pb::ReportReplicaRequest {
        replica_id: uuid(),
        kind: ReplicaKind::Inference.into(),
        name: name.to_owned(),
        epoch: epoch.to_owned(),
        revision,
        ..Default::default()
    }
}

/// The same as one of several gateways.
fn one_of_several(name: &str, epoch: &str, sequence: u64, held: u32) -> pb::ReportReplicaRequest {
    let claim = pb::EngineClaim { engine_id: "5b0f".into(), claimed: held + 1, held };
    let said = pb::Gateway {
        address: format!("http://{name}:7002"),
        weight: 1.0,
        sequence,
        claims: vec![claim],
        ..Default::default()
    };
    pb::ReportReplicaRequest { gateway: Some(said), ..gateway(name, epoch, 1) }
}

async fn report(world: &World, request: &pb::ReportReplicaRequest) -> Vec<pb::Replica> {
    let answer = world.service().replicas().report_replica(request.clone()).await.unwrap();
    answer.into_inner().gateways
}

fn held(replicas: &[pb::Replica]) -> Vec<(&str, u32, bool)> {
    let held = |one: &pb::Replica| one.gateway.as_ref().unwrap().claims[0].held;
    replicas.iter().map(|one| (one.name.as_str(), held(one), one.live)).collect()
}

fn urgent(grant: &str) -> pb::RevokeGrantRequest {
    pb::RevokeGrantRequest { grant_id: grant.to_owned(), urgent: true, ..Default::default() }
}

async fn place(world: &World) -> pb::GetRevisionResponse {
    world.owner.replicas().get_revision(pb::GetRevisionRequest {}).await.unwrap().into_inner()
}

on_both_engines! {
    async fn an_urgent_change_waits_for_every_process_and_names_who_lags(world: World) {
        let (member, model) = (world.user(Role::Member).await, world.model("m").await);
        let other = world.another().await;
        while replicas(world).await.len() < 2 {
            tokio::task::yield_now().await;
        }
        let (id, _) = world.allow(&member.id, &model).await;
        let answer = world.owner.grants().revoke_grant(urgent(&id)).await.unwrap().into_inner();
        assert_eq!(answer.laggards, Vec::<String>::new());
        assert_eq!(other.owner.may(&member.id, &model, Action::Use).await.0, pb::Verdict::Denied);

        // A gateway that never hears of it is named, and no longer once it left.
        let here = place(world).await;
        let mut silent = gateway("gateway-7", &here.epoch, here.applied);
        world.service().replicas().report_replica(silent.clone()).await.unwrap();
        let deny = grant(&model, Grantee::UserId(member.id.clone()), Action::Use, Effect::Deny);
        let request = pb::CreateGrantRequest { grant: Some(deny), urgent: true, ..Default::default() };
        let answer = world.owner.grants().create_grant(request).await.unwrap().into_inner();
        assert_eq!(answer.laggards, ["gateway-7"]);
        silent.leaving = true;
        world.service().replicas().report_replica(silent).await.unwrap();
        let id = answer.grant.unwrap().grant_id;
        let answer = world.owner.grants().revoke_grant(urgent(&id)).await.unwrap().into_inner();
        assert_eq!(answer.laggards, Vec::<String>::new());
        other.end().await;
    }

    async fn gateways_learn_of_each_other_what_each_said_last(world: World) {
        world.model("m").await;
        let epoch = place(world).await.epoch;
        assert!(report(world, &gateway("alone", &epoch, 1)).await.is_empty(), "it said nothing as a gateway");
        let mut first = one_of_several("gateway-0", &epoch, 1, 3);
        assert_eq!(held(&report(world, &first).await), [("gateway-0", 3, true)]);
        let second = one_of_several("gateway-1", &epoch, 1, 5);
        let both = report(world, &second).await;
        assert_eq!(held(&both), [("gateway-0", 3, true), ("gateway-1", 5, true)]);
        assert_eq!(both[0].gateway, first.gateway);

        // A report that was overtaken by a later one changes nothing.
        let late = first.clone();
        first.gateway = one_of_several("gateway-0", &epoch, 3, 7).gateway;
        report(world, &first).await;
        assert_eq!(held(&report(world, &late).await)[0], ("gateway-0", 7, true));
        first.leaving = true;
        assert!(report(world, &first).await.is_empty());
        assert_eq!(held(&report(world, &second).await), [("gateway-1", 5, true)]);
        let listed = replicas(world).await;
        let listed = listed.iter().find(|one| one.name == "gateway-1").unwrap();
        assert_eq!(listed.gateway, second.gateway);
    }

    async fn what_a_gateway_says_follows_rules(world: World) {
        let epoch = uuid();
        let with = |change: &dyn Fn(&mut pb::Gateway)| {
            let mut request = one_of_several("gateway-0", &epoch, 1, 3);
            change(request.gateway.as_mut().unwrap());
            request
        };
        let faults = [
            (with(&|said| said.address.clear()), "gateway.address"),
            (with(&|said| said.address = "x".repeat(201)), "gateway.address"),
            (with(&|said| said.weight = 0.0), "gateway.weight"),
            (with(&|said| said.weight = f64::NAN), "gateway.weight"),
            (with(&|said| said.sequence = u64::MAX), "gateway.sequence"),
            (with(&|said| said.claims = vec![pb::EngineClaim::default(); 10_001]), "gateway"),
        ];
        for (request, field) in faults {
            assert_invalid(world.service().replicas().report_replica(request).await, field);
        }
    }

    async fn replicas_are_listed_with_where_they_are(world: World) {
        world.model("m").await;
        let here = place(world).await;
        assert_eq!((here.head, here.applied > 0), (here.applied, true));
        world.service().replicas().report_replica(gateway("gateway-7", &here.epoch, 1)).await.unwrap();
        let listed = loop {
            let listed = replicas(world).await;
            // This process reports itself soon after it moved.
            if listed.len() == 2 && listed.iter().any(|one| one.revision == here.applied) {
                break listed;
            }
            tokio::task::yield_now().await;
        };
        let gateway = listed.iter().find(|one| one.name == "gateway-7").unwrap();
        assert_eq!((gateway.kind(), gateway.revision, gateway.live), (ReplicaKind::Inference, 1, true));
        let own = listed.iter().find(|one| one.kind() == ReplicaKind::Permissions).unwrap();
        assert_eq!((&own.epoch, own.live), (&here.epoch, true));
        assert!(own.seen_time.is_some() && !own.name.is_empty());
    }
}

#[tokio::test]
async fn an_urgent_change_waits_no_longer_than_its_caller() {
    let world = World::sqlite().await;
    let (member, model) = (world.user(Role::Member).await, world.model("m").await);
    let here = place(&world).await;
    world.service().replicas().report_replica(gateway("silent", &here.epoch, 0)).await.unwrap();
    let (id, _) = world.allow(&member.id, &model).await;
    let mut request = Request::new(urgent(&id));
    request.set_timeout(std::time::Duration::from_millis(400));
    let answer = world.owner.grants().revoke_grant(request).await.unwrap().into_inner();
    assert_eq!(answer.laggards, ["silent"], "an answer, and not a deadline that passed");
    // What was only asked about is waited for by nobody.
    let (id, _) = world.allow(&member.id, &model).await;
    let request = pb::RevokeGrantRequest { validate_only: true, ..urgent(&id) };
    let answer = world.owner.grants().revoke_grant(request).await.unwrap().into_inner();
    assert_eq!(answer.laggards, Vec::<String>::new());
}

#[tokio::test]
async fn a_process_that_ends_is_no_longer_waited_for() {
    let world = World::sqlite().await;
    let other = world.another().await;
    while replicas(&world).await.len() < 2 {
        tokio::task::yield_now().await;
    }
    other.end().await;
    assert_eq!(replicas(&world).await.len(), 1);
}

#[tokio::test]
async fn a_report_that_makes_no_sense_is_refused() {
    let world = World::sqlite().await;
    let epoch = place(&world).await.epoch;
    let good = gateway("g", &epoch, 1);
    let cases = [
        (pb::ReportReplicaRequest { replica_id: "x".to_owned(), ..good.clone() }, "replica_id"),
        (pb::ReportReplicaRequest { kind: ReplicaKind::Permissions.into(), ..good.clone() }, "kind"),
        (pb::ReportReplicaRequest { name: " ".to_owned(), ..good.clone() }, "name"),
        (pb::ReportReplicaRequest { name: "x".repeat(201), ..good.clone() }, "name"),
        (pb::ReportReplicaRequest { epoch: String::new(), ..good }, "epoch"),
    ];
    for (request, field) in cases {
        assert_invalid(world.service().replicas().report_replica(request).await, field);
    }
}
