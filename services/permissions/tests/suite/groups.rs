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
        membership: Some(pb::Membership { member: Some(member), ..Default::default() }),
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

    async fn a_deletion_is_taken_back_with_all_it_took_along(world: World) {
        let (outer, team, inner) = (world.group("outer").await, world.group("team").await, world.group("inner").await);
        let (model, owned, one) = (world.model("m").await, world.model("owned").await, world.user(Role::Member).await);
        allow_group(world, &outer, &model).await;
        world.owner.groups().add_member(add(&outer, group(&team))).await.unwrap();
        world.owner.groups().add_member(add(&team, group(&inner))).await.unwrap();
        world.owner.groups().add_member(add(&inner, user(&one.id))).await.unwrap();
        let owner = Some(pb::ModelOwner { owner: Some(pb::model_owner::Owner::GroupId(team.clone())) });
        let update = pb::UpdateModelRequest { model_id: owned.clone(), owner, ..Default::default() };
        world.owner.models().update_model(update).await.unwrap();
        let before = world.policy().await;
        let delete = |id: &str| pb::DeleteGroupRequest { group_id: id.to_owned(), ..Default::default() };
        let undelete = |id: &str| pb::UndeleteGroupRequest { group_id: id.to_owned(), ..Default::default() };
        world.owner.groups().delete_group(delete(&team)).await.unwrap();
        assert_eq!(one.may("", &model, pb::Action::Use).await.0, pb::Verdict::Denied);
        assert_eq!(one.may("", &owned, pb::Action::Manage).await.0, pb::Verdict::Denied);
        // A change meanwhile leaves the hidden owner where it is.
        let update = pb::UpdateModelRequest { model_id: owned.clone(), description: Some("x".to_owned()), ..Default::default() };
        world.owner.models().update_model(update).await.unwrap();
        let back = world.owner.groups().undelete_group(undelete(&team)).await.unwrap().into_inner().group.unwrap();
        assert_eq!((back.group_id.as_str(), back.name.as_str(), back.delete_time), (team.as_str(), "team", None));
        assert_eq!(world.policy().await, before);
        assert_eq!(one.may("", &model, pb::Action::Use).await.0, pb::Verdict::Allowed);
        assert_eq!(one.may("", &owned, pb::Action::Manage).await.0, pb::Verdict::Allowed);
        // What two deletions hide comes back with the second.
        world.owner.groups().delete_group(delete(&team)).await.unwrap();
        world.owner.groups().delete_group(delete(&inner)).await.unwrap();
        world.owner.groups().undelete_group(undelete(&team)).await.unwrap();
        let members = world.owner.groups().list_members(members(&team)).await.unwrap().into_inner();
        assert_eq!(members.memberships, []);
        world.owner.groups().undelete_group(undelete(&inner)).await.unwrap();
        assert_eq!(world.policy().await, before);
        assert_missing(world.owner.groups().undelete_group(undelete(&team)).await, "group", &team);
    }

    async fn a_name_of_the_deleted_is_free_and_then_bars_the_way_back(world: World) {
        let first = world.group("team").await;
        let delete = pb::DeleteGroupRequest { group_id: first.clone(), ..Default::default() };
        world.owner.groups().delete_group(delete).await.unwrap();
        let second = world.group("team").await;
        let undelete = pb::UndeleteGroupRequest { group_id: first.clone(), ..Default::default() };
        assert_refused(world.owner.groups().undelete_group(undelete.clone()).await, Code::AlreadyExists, "ALREADY_EXISTS");
        let list = pb::ListGroupsRequest { show_deleted: true, ..Default::default() };
        let shown = world.owner.groups().list_groups(list.clone()).await.unwrap().into_inner().groups;
        assert!(shown.iter().any(|group| group.group_id == first && group.delete_time.is_some()));
        let operator = world.user(Role::Operator).await;
        assert_refused(operator.groups().list_groups(list).await, Code::PermissionDenied, "ADMIN_REQUIRED");
        let rename = pb::UpdateGroupRequest { group_id: second, name: Some("other".to_owned()), ..Default::default() };
        world.owner.groups().update_group(rename).await.unwrap();
        world.owner.groups().undelete_group(undelete).await.unwrap();
    }

    async fn a_way_back_that_would_close_a_circle_is_barred(world: World) {
        let (a, b, c) = (world.group("a").await, world.group("b").await, world.group("c").await);
        world.owner.groups().add_member(add(&b, group(&a))).await.unwrap();
        world.owner.groups().add_member(add(&c, group(&b))).await.unwrap();
        let delete = pb::DeleteGroupRequest { group_id: b.clone(), ..Default::default() };
        world.owner.groups().delete_group(delete).await.unwrap();
        world.owner.groups().add_member(add(&a, group(&c))).await.unwrap();
        let undelete = pb::UndeleteGroupRequest { group_id: b, ..Default::default() };
        let refused = world.owner.groups().undelete_group(undelete).await;
        assert_refused(refused, Code::FailedPrecondition, "GROUP_CYCLE");
    }

    async fn after_thirty_days_a_deletion_is_final(world: World) {
        let (team, inner, one) = (world.group("team").await, world.group("inner").await, world.user(Role::Member).await);
        world.owner.groups().add_member(add(&team, group(&inner))).await.unwrap();
        world.owner.groups().add_member(add(&team, user(&one.id))).await.unwrap();
        allow_group(world, &team, &world.model("m").await).await;
        let delete = pb::DeleteGroupRequest { group_id: team.clone(), ..Default::default() };
        world.owner.groups().delete_group(delete).await.unwrap();
        world.age("UPDATE groups SET deleted_at = $1 WHERE deleted_at IS NOT NULL").await;
        // A process that starts purges what is due.
        let other = world.another().await;
        let list = || pb::ListGroupsRequest { show_deleted: true, ..Default::default() };
        let purged = async {
            while other.owner.groups().list_groups(list()).await.unwrap().into_inner().groups.len() > 1 {}
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), purged).await.expect("the group is purged");
        let undelete = pb::UndeleteGroupRequest { group_id: team.clone(), ..Default::default() };
        assert_missing(world.owner.groups().undelete_group(undelete).await, "group", &team);
        let left: i64 = shared::on!(&world.db, |pool| {
            sqlx::query_scalar("SELECT (SELECT count(*) FROM memberships) + (SELECT count(*) FROM grants)").fetch_one(pool).await
        })
        .unwrap();
        assert_eq!(left, 0);
        other.end().await;
    }

    async fn a_disabled_group_counts_for_nothing_until_it_is_enabled(world: World) {
        let (team, model, one) = (world.group("team").await, world.model("m").await, world.user(Role::Member).await);
        allow_group(world, &team, &model).await;
        world.owner.groups().add_member(add(&team, user(&one.id))).await.unwrap();
        for (disabled, verdict) in [(true, pb::Verdict::Denied), (false, pb::Verdict::Allowed)] {
            let update = pb::UpdateGroupRequest { group_id: team.clone(), disabled: Some(disabled), ..Default::default() };
            let changed = world.owner.groups().update_group(update).await.unwrap().into_inner().group.unwrap();
            assert_eq!(changed.disabled, disabled);
            assert_eq!(one.may("", &model, pb::Action::Use).await.0, verdict);
            let other = world.another().await;
            assert_eq!(other.owner.may(&one.id, &model, pb::Action::Use).await.0, verdict, "as loaded from the tables");
            other.end().await;
        }
    }

    async fn a_group_is_changed_only_as_it_was_read(world: World) {
        let team = world.group("team").await;
        let get = || pb::GetGroupRequest { group_id: team.clone() };
        let read = world.owner.groups().get_group(get()).await.unwrap().into_inner().group.unwrap();
        let update = |etag: &str, text: &str| pb::UpdateGroupRequest {
            group_id: team.clone(), description: Some(text.to_owned()), etag: etag.to_owned(), ..Default::default()
        };
        let changed = world.owner.groups().update_group(update(&read.etag, "one")).await.unwrap().into_inner().group.unwrap();
        assert_ne!(changed.etag, read.etag);
        assert_refused(world.owner.groups().update_group(update(&read.etag, "two")).await, Code::Aborted, "ETAG_MISMATCH");
        let delete = |etag: &str| pb::DeleteGroupRequest { group_id: team.clone(), etag: etag.to_owned(), ..Default::default() };
        assert_refused(world.owner.groups().delete_group(delete(&read.etag)).await, Code::Aborted, "ETAG_MISMATCH");
        assert_eq!(world.owner.groups().get_group(get()).await.unwrap().into_inner().group.unwrap(), changed);
        world.owner.groups().delete_group(delete(&changed.etag)).await.unwrap();
        assert_missing(world.owner.groups().get_group(get()).await, "group", &team);
    }

    async fn groups_are_searched_by_a_part_of_their_name(world: World) {
        for name in ["Blue team", "red_team", "ÉQUIPE"] {
            world.group(name).await;
        }
        for (search, expected) in [("TEAM", vec!["Blue team", "red_team"]), ("_", vec!["red_team"]), ("équi", vec!["ÉQUIPE"]), ("%", vec![])] {
            let list = pb::ListGroupsRequest { search: search.to_owned(), ..Default::default() };
            let found = world.owner.groups().list_groups(list).await.unwrap().into_inner().groups;
            assert_eq!(found.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), expected, "{search}");
        }
    }

    async fn members_of_members_are_listed_with_their_way(world: World) {
        let (outer, middle, inner) = (world.group("outer").await, world.group("middle").await, world.group("inner").await);
        let (one, two, three) = (world.user(Role::Member).await, world.user(Role::Member).await, world.user(Role::Member).await);
        let end = in_seconds(3_600);
        world.owner.groups().add_member(add(&outer, group(&middle))).await.unwrap();
        world.owner.groups().add_member(add(&middle, group(&inner))).await.unwrap();
        let mut short = add(&inner, user(&one.id));
        short.membership.as_mut().unwrap().expire_time = Some(end);
        world.owner.groups().add_member(short).await.unwrap();
        world.owner.groups().add_member(add(&outer, user(&two.id))).await.unwrap();
        world.owner.groups().add_member(add(&inner, user(&two.id))).await.unwrap();
        world.owner.groups().add_member(add(&inner, user(&three.id))).await.unwrap();
        world.sql_expire(&three.id).await;
        let mut found = Vec::new();
        let mut request = pb::ListMembersRequest { transitive: true, page_size: 1, ..members(&outer) };
        loop {
            let page = world.owner.groups().list_members(request.clone()).await.unwrap().into_inner();
            found.extend(page.memberships);
            if page.next_page_token.is_empty() { break }
            request.page_token = page.next_page_token;
        }
        let listed = |member: Member, depth, path: &[&String], expire_time| pb::Membership {
            member: Some(member), expire_time, group_id: outer.clone(), depth,
            path: path.iter().map(|id| (*id).clone()).collect(),
        };
        let mut expected = vec![
            listed(group(&middle), 1, &[], None),
            listed(group(&inner), 2, &[&middle], None),
            listed(user(&one.id), 3, &[&inner, &middle], Some(end)),
            listed(user(&two.id), 1, &[], None),
        ];
        expected[..2].sort_by_key(|row| format!("{:?}", row.member));
        expected[2..].sort_by_key(|row| format!("{:?}", row.member));
        assert_eq!(found, expected);
        // The other way round, which everybody may ask of oneself.
        let mine = pb::ListMembershipsRequest { transitive: true, ..Default::default() };
        let mine = one.groups().list_memberships(mine).await.unwrap().into_inner().memberships;
        let way = |row: &pb::Membership| (row.group_id.clone(), row.depth, row.path.clone(), row.expire_time);
        let mut ways: Vec<_> = mine.iter().map(way).collect();
        ways.sort_by_key(|way| way.1);
        assert_eq!(ways, [
            (inner.clone(), 1, vec![], Some(end)),
            (middle.clone(), 2, vec![inner.clone()], Some(end)),
            (outer.clone(), 3, vec![inner.clone(), middle.clone()], Some(end)),
        ]);
        let direct = pb::ListMembershipsRequest { user_id: two.id.clone(), ..Default::default() };
        let direct = world.owner.groups().list_memberships(direct).await.unwrap().into_inner().memberships;
        assert_eq!(direct.len(), 2);
        let others = pb::ListMembershipsRequest { user_id: two.id.clone(), ..Default::default() };
        assert_refused(one.groups().list_memberships(others).await, Code::PermissionDenied, "NOT_YOURSELF");
        let groups = pb::ListMembershipsRequest { group_id: inner, transitive: true, ..Default::default() };
        let above = world.owner.groups().list_memberships(groups).await.unwrap().into_inner().memberships;
        assert_eq!(above.len(), 2);
    }

    async fn many_members_come_and_go_at_once_or_not_at_all(world: World) {
        let (team, inner, one, two) =
            (world.group("team").await, world.group("inner").await, world.user(Role::Member).await, world.user(Role::Member).await);
        let membership = |member| pb::Membership { member: Some(member), ..Default::default() };
        let add_all = |members: Vec<Member>| pb::BatchAddMembersRequest {
            group_id: team.clone(), memberships: members.into_iter().map(membership).collect(), ..Default::default()
        };
        let nobody = uuid();
        let refused = world.owner.groups().batch_add_members(add_all(vec![user(&one.id), user(&nobody)])).await;
        assert_missing(refused, "user", &nobody);
        let refused = world.owner.groups().batch_add_members(add_all(vec![user(&one.id), group(&team)])).await;
        assert_refused(refused, Code::FailedPrecondition, "GROUP_CYCLE");
        let refused = world.owner.groups().batch_add_members(add_all(vec![user(&one.id), user(&one.id)])).await;
        assert_invalid(refused, "memberships[1]");
        let refused = world.owner.groups().batch_add_members(add_all(vec![user(&one.id), user("x")])).await;
        assert_invalid(refused, "memberships[1].user_id");
        assert_invalid(world.owner.groups().batch_add_members(add_all(vec![])).await, "memberships");
        let list = || world.owner.groups();
        assert_eq!(list().list_members(members(&team)).await.unwrap().into_inner().memberships, []);
        let all = vec![user(&one.id), user(&two.id), group(&inner)];
        let answer = world.owner.groups().batch_add_members(add_all(all)).await.unwrap().into_inner();
        assert_eq!(answer.memberships.len(), 3);
        assert_eq!(list().list_members(members(&team)).await.unwrap().into_inner().memberships.len(), 3);
        let remove = |users: &[&String], groups: &[&String]| pb::BatchRemoveMembersRequest {
            group_id: team.clone(),
            user_ids: users.iter().map(|id| (*id).clone()).collect(),
            member_group_ids: groups.iter().map(|id| (*id).clone()).collect(),
            ..Default::default()
        };
        assert_missing(list().batch_remove_members(remove(&[&one.id, &nobody], &[])).await, "member", &nobody);
        assert_invalid(list().batch_remove_members(remove(&[&one.id], &[&"x".to_owned()])).await, "member_group_ids[0]");
        list().batch_remove_members(remove(&[&one.id], &[&inner])).await.unwrap();
        let left = list().list_members(members(&team)).await.unwrap().into_inner().memberships;
        assert_eq!(left.iter().map(|row| row.member.clone().unwrap()).collect::<Vec<_>>(), [user(&two.id)]);
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
