//! Groups, their members and the circles that must not be (P2).

use crate::world::{
    World, assert_invalid, assert_missing, assert_refused, grant, in_seconds, on_both_engines, uuid,
};
use proto::{
    common::v1::Role,
    permissions::v1::{self as pb, membership::Member},
};
use tonic::Code;

fn add(group: &str, member: Member) -> pb::AddMemberRequest {
    pb::AddMemberRequest {
        group_id: group.to_owned(),
        membership: Some(pb::Membership { member: Some(member), expire_time: None }),
        ..Default::default()
    }
}

fn user(id: &str) -> Member {
    Member::UserId(id.to_owned())
}

fn group(id: &str) -> Member {
    Member::MemberGroupId(id.to_owned())
}

fn remove(group: &str, user: &str) -> pb::RemoveMemberRequest {
    let member = Some(pb::remove_member_request::Member::UserId(user.to_owned()));
    pb::RemoveMemberRequest { group_id: group.to_owned(), member, ..Default::default() }
}

fn members(group: &str) -> pb::ListMembersRequest {
    pb::ListMembersRequest { group_id: group.to_owned(), ..Default::default() }
}

async fn allow_group(world: &World, group: &str, model: &str) {
    let grantee = pb::grant::Grantee::GroupId(group.to_owned());
    let grant = Some(grant(model, grantee, pb::Action::Use, pb::Effect::Allow));
    world.owner.grants().create_grant(pb::CreateGrantRequest { grant, ..Default::default() }).await.unwrap();
}

on_both_engines! {
    async fn a_group_is_created_listed_and_its_name_is_its_own(world: World) {
        let id = world.group("team").await;
        let again = pb::CreateGroupRequest { name: "team".to_owned(), ..Default::default() };
        assert_refused(world.owner.groups().create_group(again).await, Code::AlreadyExists, "ALREADY_EXISTS");
        world.group("Team").await;
        let page = pb::ListGroupsRequest { page_size: 1, ..Default::default() };
        let first = world.owner.groups().list_groups(page.clone()).await.unwrap().into_inner();
        assert_eq!((first.groups.len(), first.groups[0].group_id.as_str()), (1, id.as_str()));
        let next = pb::ListGroupsRequest { page_token: first.next_page_token, ..page };
        let second = world.owner.groups().list_groups(next).await.unwrap().into_inner();
        assert_eq!((second.groups[0].name.as_str(), second.next_page_token.as_str()), ("Team", ""));
    }

    async fn members_come_go_and_are_listed(world: World) {
        let (outer, inner) = (world.group("outer").await, world.group("inner").await);
        let one = world.user(Role::Member).await;
        world.owner.groups().add_member(add(&outer, user(&one.id))).await.unwrap();
        world.owner.groups().add_member(add(&outer, group(&inner))).await.unwrap();
        let page = pb::ListMembersRequest { page_size: 1, ..members(&outer) };
        let first = world.owner.groups().list_members(page.clone()).await.unwrap().into_inner();
        assert_eq!(first.memberships[0].member, Some(group(&inner)));
        let next = pb::ListMembersRequest { page_token: first.next_page_token, ..page };
        let second = world.owner.groups().list_members(next).await.unwrap().into_inner();
        assert_eq!(second.memberships[0].member, Some(user(&one.id)));
        assert_eq!(second.next_page_token, "");
        world.owner.groups().remove_member(remove(&outer, &one.id)).await.unwrap();
        assert_missing(world.owner.groups().remove_member(remove(&outer, &one.id)).await, "member", &one.id);
        let left = world.owner.groups().list_members(members(&outer)).await.unwrap().into_inner();
        assert_eq!(left.memberships.len(), 1);
    }

    async fn adding_again_changes_when_it_ends(world: World) {
        let (team, one) = (world.group("team").await, world.user(Role::Member).await);
        world.owner.groups().add_member(add(&team, user(&one.id))).await.unwrap();
        let end = in_seconds(3_600);
        let mut request = add(&team, user(&one.id));
        request.membership.as_mut().unwrap().expire_time = Some(end);
        let answer = world.owner.groups().add_member(request).await.unwrap().into_inner();
        assert_eq!(answer.membership.unwrap().expire_time, Some(end));
        let listed = world.owner.groups().list_members(members(&team)).await.unwrap().into_inner();
        assert_eq!(listed.memberships.len(), 1);
        assert_eq!(listed.memberships[0].expire_time, Some(end));
    }

    async fn a_group_is_never_in_itself(world: World) {
        let (a, b, c) = (world.group("a").await, world.group("b").await, world.group("c").await);
        let refused = world.owner.groups().add_member(add(&a, group(&a))).await;
        assert_refused(refused, Code::FailedPrecondition, "GROUP_CYCLE");
        world.owner.groups().add_member(add(&a, group(&b))).await.unwrap();
        world.owner.groups().add_member(add(&b, group(&c))).await.unwrap();
        for (outer, inner) in [(&b, &a), (&c, &a), (&c, &b)] {
            let refused = world.owner.groups().add_member(add(outer, group(inner))).await;
            assert_refused(refused, Code::FailedPrecondition, "GROUP_CYCLE");
        }
        // Two ways to the same group are no circle.
        world.owner.groups().add_member(add(&a, group(&c))).await.unwrap();
    }

    async fn two_that_would_close_a_circle_together_do_not(world: World) {
        for n in 0..5 {
            let (a, b) = (world.group(&format!("a{n}")).await, world.group(&format!("b{n}")).await);
            let (mut one, mut other) = (world.owner.groups(), world.owner.groups());
            let results = tokio::join!(one.add_member(add(&a, group(&b))), other.add_member(add(&b, group(&a))));
            assert_eq!(u8::from(results.0.is_ok()) + u8::from(results.1.is_ok()), 1);
        }
    }

    async fn a_grant_reaches_members_of_members_and_ends_with_the_membership(world: World) {
        let (outer, inner, model) = (world.group("outer").await, world.group("inner").await, world.model("m").await);
        let one = world.user(Role::Member).await;
        allow_group(world, &outer, &model).await;
        world.owner.groups().add_member(add(&outer, group(&inner))).await.unwrap();
        world.owner.groups().add_member(add(&inner, user(&one.id))).await.unwrap();
        assert_eq!(one.may("", &model, pb::Action::Use).await.0, pb::Verdict::Allowed);
        world.owner.groups().remove_member(remove(&inner, &one.id)).await.unwrap();
        assert_eq!(one.may("", &model, pb::Action::Use).await.0, pb::Verdict::Denied);
    }

    async fn a_deleted_group_takes_memberships_grants_and_ownership_along(world: World) {
        let (team, model, one) = (world.group("team").await, world.model("m").await, world.user(Role::Member).await);
        allow_group(world, &team, &model).await;
        world.owner.groups().add_member(add(&team, user(&one.id))).await.unwrap();
        let owner = Some(pb::ModelOwner { owner: Some(pb::model_owner::Owner::GroupId(team.clone())) });
        let owned = pb::UpdateModelRequest { model_id: model.clone(), owner, ..Default::default() };
        world.owner.models().update_model(owned).await.unwrap();
        assert_eq!(one.may("", &model, pb::Action::Manage).await.0, pb::Verdict::Allowed);
        let delete = pb::DeleteGroupRequest { group_id: team.clone(), ..Default::default() };
        world.owner.groups().delete_group(delete.clone()).await.unwrap();
        assert_eq!(one.may("", &model, pb::Action::Use).await, (pb::Verdict::Denied, "NO_GRANT".to_owned()));
        let grants = world.owner.grants().list_grants(pb::ListGrantsRequest::default()).await.unwrap().into_inner();
        assert_eq!(grants.grants, []);
        let get = pb::GetModelRequest { model_id: model };
        assert_eq!(one.models().get_model(get).await.unwrap().into_inner().model.unwrap().owner, None);
        assert_missing(world.owner.groups().delete_group(delete).await, "group", &team);
        assert_missing(world.owner.groups().list_members(members(&team)).await, "group", &team);
    }

    async fn what_a_membership_names_must_exist(world: World) {
        let (team, nobody) = (world.group("team").await, uuid());
        assert_missing(world.owner.groups().add_member(add(&nobody, user(&world.owner.id))).await, "group", &nobody);
        assert_missing(world.owner.groups().add_member(add(&team, user(&nobody))).await, "user", &nobody);
        assert_missing(world.owner.groups().add_member(add(&team, group(&nobody))).await, "group", &nobody);
        assert_missing(world.owner.groups().remove_member(remove(&nobody, &world.owner.id)).await, "group", &nobody);
    }
}

#[tokio::test]
async fn a_field_that_breaks_its_rules_is_named() {
    let world = World::sqlite().await;
    let (team, owner) = (world.group("team").await, world.owner.id.clone());
    for (name, description, field) in [("", "", "name"), (" a", "", "name"), ("a", "\u{0}", "description")] {
        let request = pb::CreateGroupRequest {
            name: name.to_owned(),
            description: description.to_owned(),
            ..Default::default()
        };
        assert_invalid(world.owner.groups().create_group(request).await, field);
    }
    let mut late = add(&team, user(&owner));
    late.membership.as_mut().unwrap().expire_time = Some(in_seconds(-1));
    let mut beyond = add(&team, user(&owner));
    beyond.membership.as_mut().unwrap().expire_time =
        Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
    let nothing =
        pb::AddMemberRequest { membership: Some(pb::Membership::default()), ..add(&team, user(&owner)) };
    let cases = [
        (add("x", user(&owner)), "group_id"),
        (add(&team, user("x")), "membership.user_id"),
        (add(&team, group("")), "membership.member_group_id"),
        (pb::AddMemberRequest { membership: None, ..add(&team, user(&owner)) }, "membership"),
        (nothing, "membership.member"),
        (late, "membership.expire_time"),
        (beyond, "membership.expire_time"),
    ];
    for (request, field) in cases {
        assert_invalid(world.owner.groups().add_member(request).await, field);
    }
    let nobody = pb::RemoveMemberRequest { group_id: team.clone(), ..Default::default() };
    assert_invalid(world.owner.groups().remove_member(nobody).await, "member");
    let token = shared::page::token("members of another", "user 1");
    let page = pb::ListMembersRequest { page_token: token, ..members(&team) };
    assert_invalid(world.owner.groups().list_members(page).await, "page_token");
}
