//! Everything about the caller in one answer (N1).

use crate::{
    sessions::signed_in,
    world::{Caller, World, assert_refused, on_both_engines},
};
use proto::{
    common::v1::{Role, Scope},
    permissions::v1::{self as pb, my_credential::Credential},
};
use tonic::Code;

async fn me(caller: &Caller) -> pb::GetMeResponse {
    caller.me().get_me(pb::GetMeRequest {}).await.unwrap().into_inner()
}

async fn join(world: &World, group: &str, member: pb::membership::Member) {
    let membership = Some(pb::Membership { member: Some(member), ..Default::default() });
    let request = pb::AddMemberRequest { group_id: group.to_owned(), membership, ..Default::default() };
    world.owner.groups().add_member(request).await.unwrap();
}

on_both_engines! {
    async fn a_caller_sees_who_it_is_and_what_it_may_use(world: World) {
        use pb::membership::Member;
        let member = world.user(Role::Developer).await;
        let (inner, outer, foreign) = (world.group("inner").await, world.group("outer").await, world.group("foreign").await);
        join(world, &inner, Member::UserId(member.id.clone())).await;
        join(world, &outer, Member::MemberGroupId(inner.clone())).await;
        assert_ne!(foreign, outer);
        let (used, other) = (world.model("b-model").await, world.model("a-model").await);
        world.model("c-model").await;
        world.allow(&member.id, &used).await;
        let (_, token) = world.allow(&member.id, &other).await;
        let me = me(&member).await;
        let user = me.user.unwrap();
        assert_eq!((user.user_id.as_str(), user.role()), (member.id.as_str(), Role::Developer));
        let group = |group_id: &str, name: &str, direct| pb::MyGroup { group_id: group_id.to_owned(), name: name.to_owned(), direct };
        assert_eq!(me.groups, [group(&inner, "inner", true), group(&outer, "outer", false)]);
        assert_eq!(me.models, ["a-model", "b-model"]);
        assert!(!me.more_groups && !me.more_models);
        assert_eq!(me.token, token);
        let credential = me.credential.unwrap();
        assert!(matches!(credential.credential, Some(Credential::KeyId(_))) && credential.expire_time.is_some());
        let scopes = [Scope::Inference, Scope::Read, Scope::Write].map(i32::from);
        assert_eq!(credential.scopes, scopes);
    }

    async fn in_a_session_the_credential_is_the_session(world: World) {
        let (caller, tokens) = signed_in(world, Role::Member).await;
        let me = me(&caller).await;
        let credential = me.credential.unwrap();
        assert_eq!(credential.credential, Some(Credential::SessionId(tokens.session_id)));
        assert_eq!(credential.expire_time, tokens.refresh_expire_time);
        assert!(me.groups.is_empty() && me.models.is_empty());
    }

    async fn a_key_for_some_models_sees_those(world: World) {
        let member = world.user(Role::Member).await;
        let (one, other) = (world.model("one").await, world.model("other").await);
        world.allow(&member.id, &one).await;
        world.allow(&member.id, &other).await;
        let request = pb::CreateKeyRequest { name: "narrow".to_owned(), model_ids: vec![one], ..Default::default() };
        let secret = member.keys().create_key(request).await.unwrap().into_inner().secret;
        assert_eq!(me(&world.with_secret(&secret)).await.models, ["one"]);
        assert_eq!(me(&member).await.models, ["one", "other"]);
    }
}

#[tokio::test]
async fn a_service_is_nobody_to_ask_about() {
    let world = World::sqlite().await;
    let refused = world.service().me().get_me(pb::GetMeRequest {}).await;
    assert_refused(refused, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
}
