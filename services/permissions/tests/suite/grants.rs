//! Grants: from nothing to allowed to nothing again, and everything that is refused on the way (P3).

use crate::world::{
    World, assert_invalid, assert_missing, assert_refused, grant, in_seconds, on_both_engines, uuid,
};
use pb::{Action, Effect, Verdict, grant::Grantee};
use proto::{common::v1::Role, permissions::v1 as pb};
use tonic::Code;

fn create(grant: pb::Grant) -> pb::CreateGrantRequest {
    pb::CreateGrantRequest { grant: Some(grant), ..Default::default() }
}

fn revoke(grant: &str) -> pb::RevokeGrantRequest {
    pb::RevokeGrantRequest { grant_id: grant.to_owned(), ..Default::default() }
}

fn user(id: &str) -> Grantee {
    Grantee::UserId(id.to_owned())
}

on_both_engines! {
    async fn a_grant_allows_and_its_revocation_denies(world: World) {
        let (member, model) = (world.user(Role::Member).await, world.model("m").await);
        assert_eq!(member.may("", &model, Action::Use).await, (Verdict::Denied, "NO_GRANT".to_owned()));
        let (id, token) = world.allow(&member.id, &model).await;
        let ask = pb::CheckRequest {
            model: Some(pb::check_request::Model::ModelName("m".to_owned())),
            action: Action::Use.into(),
            consistency: crate::freshness::fresh(token),
            ..Default::default()
        };
        let answer = member.authorization().check(ask).await.unwrap().into_inner();
        assert_eq!((answer.verdict(), answer.reason.as_str()), (Verdict::Allowed, "GRANTED"));
        assert_eq!((answer.grant_id.as_str(), answer.stale), (id.as_str(), false));
        world.owner.grants().revoke_grant(revoke(&id)).await.unwrap();
        assert_eq!(member.may("", &model, Action::Use).await, (Verdict::Denied, "NO_GRANT".to_owned()));
        assert_missing(world.owner.grants().revoke_grant(revoke(&id)).await, "grant", &id);
    }

    async fn a_second_grant_of_the_same_kind_exists_already(world: World) {
        let (member, team, model) = (world.user(Role::Member).await, world.group("g").await, world.model("m").await);
        for grantee in [user(&member.id), Grantee::GroupId(team), Grantee::Everyone(true)] {
            let one = grant(&model, grantee, Action::Use, Effect::Allow);
            world.owner.grants().create_grant(create(one.clone())).await.unwrap();
            let again = pb::Grant { expire_time: Some(in_seconds(60)), ..one.clone() };
            let refused = world.owner.grants().create_grant(create(again)).await;
            assert_refused(refused, Code::AlreadyExists, "ALREADY_EXISTS");
            let other = pb::Grant { effect: Effect::Deny.into(), ..one.clone() };
            world.owner.grants().create_grant(create(other)).await.unwrap();
            let other = pb::Grant { action: Action::Manage.into(), ..one };
            world.owner.grants().create_grant(create(other)).await.unwrap();
        }
    }

    async fn a_deny_wins_over_every_allow(world: World) {
        let (member, model) = (world.user(Role::Member).await, world.model("m").await);
        world.allow(&member.id, &model).await;
        let deny = grant(&model, Grantee::Everyone(true), Action::Use, Effect::Deny);
        world.owner.grants().create_grant(create(deny)).await.unwrap();
        assert_eq!(member.may("", &model, Action::Use).await, (Verdict::Denied, "DENIED".to_owned()));
    }

    async fn grants_are_listed_by_what_they_are_about(world: World) {
        let (member, team) = (world.user(Role::Member).await, world.group("g").await);
        let (one, other) = (world.model("one").await, world.model("other").await);
        for (model, grantee) in [
            (&one, user(&member.id)),
            (&one, Grantee::GroupId(team.clone())),
            (&one, Grantee::Everyone(true)),
            (&other, user(&member.id)),
        ] {
            let (start, end) = (Some(in_seconds(-60)), Some(in_seconds(60)));
            let new = pb::Grant {
                start_time: start,
                expire_time: end,
                ..grant(model, grantee, Action::Use, Effect::Allow)
            };
            let made = world.owner.grants().create_grant(create(new.clone())).await.unwrap().into_inner().grant.unwrap();
            assert_eq!((made.start_time, made.expire_time, &made.grantee), (start, end, &new.grantee));
            assert_eq!(made.granted_by, world.owner.id);
        }
        let list = pb::ListGrantsRequest::default;
        let filters = [
            (list(), 4),
            (pb::ListGrantsRequest { model_id: one.clone(), ..list() }, 3),
            (pb::ListGrantsRequest { user_id: member.id.clone(), ..list() }, 2),
            (pb::ListGrantsRequest { group_id: team.clone(), ..list() }, 1),
            (pb::ListGrantsRequest { model_id: other.clone(), user_id: member.id.clone(), ..list() }, 1),
            (pb::ListGrantsRequest { model_id: other, group_id: team, ..list() }, 0),
        ];
        for (filter, count) in filters {
            let (mut found, mut page) = (0, pb::ListGrantsRequest { page_size: 2, ..filter });
            loop {
                let answer = world.owner.grants().list_grants(page.clone()).await.unwrap().into_inner();
                found += answer.grants.len();
                if answer.next_page_token.is_empty() {
                    break;
                }
                page.page_token = answer.next_page_token;
            }
            assert_eq!(found, count);
        }
    }

    async fn model_and_grantee_must_exist(world: World) {
        let (id, model) = (uuid(), world.model("m").await);
        let cases = [
            (grant(&id, user(&world.owner.id), Action::Use, Effect::Allow), "model"),
            (grant(&model, user(&id), Action::Use, Effect::Allow), "user"),
            (grant(&model, Grantee::GroupId(id.clone()), Action::Use, Effect::Allow), "group"),
        ];
        for (new, kind) in cases {
            assert_missing(world.owner.grants().create_grant(create(new)).await, kind, &id);
        }
        assert_missing(world.owner.grants().revoke_grant(revoke(&id)).await, "grant", &id);
    }

    async fn only_who_manages_the_model_grants_and_revokes(world: World) {
        let (manager, member) = (world.user(Role::Member).await, world.user(Role::Operator).await);
        let (mine, other) = (world.model("mine").await, world.model("other").await);
        let manage = grant(&mine, user(&manager.id), Action::Manage, Effect::Allow);
        world.owner.grants().create_grant(create(manage)).await.unwrap();
        let new = |model: &str| create(grant(model, user(&member.id), Action::Use, Effect::Allow));
        let made = manager.grants().create_grant(new(&mine)).await.unwrap().into_inner().grant.unwrap();
        assert_eq!(made.granted_by, manager.id);
        let refused = manager.grants().create_grant(new(&other)).await;
        assert_refused(refused, Code::PermissionDenied, "MANAGE_REQUIRED");
        // To use a model is not to manage it, and an operator's office does not help.
        let refused = member.grants().create_grant(new(&mine)).await;
        assert_refused(refused, Code::PermissionDenied, "MANAGE_REQUIRED");
        let refused = member.grants().revoke_grant(revoke(&made.grant_id)).await;
        assert_refused(refused, Code::PermissionDenied, "MANAGE_REQUIRED");
        manager.grants().revoke_grant(revoke(&made.grant_id)).await.unwrap();
    }
}

#[tokio::test]
async fn a_field_that_breaks_its_rules_is_named() {
    let world = World::sqlite().await;
    let model = world.model("m").await;
    let good = || grant(&model, user(&world.owner.id), Action::Use, Effect::Allow);
    let soon = in_seconds(60);
    let cases = [
        (pb::Grant { model_id: "m".to_owned(), ..good() }, "grant.model_id"),
        (pb::Grant { model_id: String::new(), ..good() }, "grant.model_id"),
        (pb::Grant { grantee: None, ..good() }, "grant.grantee"),
        (pb::Grant { grantee: Some(user("ana")), ..good() }, "grant.user_id"),
        (pb::Grant { grantee: Some(Grantee::GroupId("x".to_owned())), ..good() }, "grant.group_id"),
        (pb::Grant { grantee: Some(Grantee::Everyone(false)), ..good() }, "grant.everyone"),
        (pb::Grant { action: 0, ..good() }, "grant.action"),
        (pb::Grant { action: 3, ..good() }, "grant.action"),
        (pb::Grant { effect: 3, ..good() }, "grant.effect"),
        (pb::Grant { expire_time: Some(in_seconds(-1)), ..good() }, "grant.expire_time"),
        (pb::Grant { start_time: Some(soon), expire_time: Some(soon), ..good() }, "grant.expire_time"),
        (
            pb::Grant { start_time: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }), ..good() },
            "grant.start_time",
        ),
    ];
    for (new, field) in cases {
        assert_invalid(world.owner.grants().create_grant(create(new)).await, field);
    }
    assert_invalid(world.owner.grants().create_grant(pb::CreateGrantRequest::default()).await, "grant");
    assert_invalid(world.owner.grants().revoke_grant(revoke("x")).await, "grant_id");
    let filter = pb::ListGrantsRequest { group_id: "x".to_owned(), ..Default::default() };
    assert_invalid(world.owner.grants().list_grants(filter).await, "group_id");
    // The effect may be left out.
    let made = world.owner.grants().create_grant(create(pb::Grant { effect: 0, ..good() })).await.unwrap();
    assert_eq!(made.into_inner().grant.unwrap().effect(), Effect::Allow);
}
