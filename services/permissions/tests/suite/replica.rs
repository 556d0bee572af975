//! Whatever is written in whatever order, following the log leads to the same policy as reading the tables.

use crate::{
    watch::Follower,
    world::{World, grant, in_seconds, on_both_engines},
};
use pb::{Action, Effect, grant::Grantee, membership::Member};
use proto::{common::v1::Role, permissions::v1 as pb};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// What exists, as far as the writer knows; requests about what is gone are refused, which is fine.
pub(crate) struct Things {
    pub(crate) users: Vec<String>,
    groups: Vec<String>,
    pub(crate) models: Vec<String>,
    grants: Vec<String>,
    keys: Vec<String>,
}

impl Things {
    pub(crate) async fn new(world: &World) -> Self {
        let mut things = Self {
            users: vec![world.owner.id.clone()],
            groups: Vec::new(),
            models: Vec::new(),
            grants: Vec::new(),
            keys: Vec::new(),
        };
        for n in 0..4 {
            things.users.push(world.user(Role::Member).await.id);
            things.groups.push(world.group(&format!("group-{n}")).await);
            things.models.push(world.model(&format!("model-{n}")).await);
        }
        things
    }

    fn user(&self, random: &mut StdRng) -> String {
        self.users.choose(random).unwrap().clone()
    }

    fn group(&self, random: &mut StdRng) -> String {
        self.groups.choose(random).unwrap().clone()
    }

    fn model(&self, random: &mut StdRng) -> String {
        self.models.choose(random).unwrap().clone()
    }

    /// Makes one change. Whether it is refused does not matter.
    pub(crate) async fn change(&mut self, world: &World, random: &mut StdRng, n: u32) {
        let (user, group, model) = (self.user(random), self.group(random), self.model(random));
        let coin = random.random_bool(0.5);
        match random.random_range(0..9) {
            0 => self.groups.push(world.group(&format!("new-{n}")).await),
            1 => drop(delete_group(world, group).await),
            2 | 3 => {
                let inner = self.group(random);
                let member = if coin { Member::UserId(user) } else { Member::MemberGroupId(inner) };
                drop(add_member(world, group, member, random.random_bool(0.3)).await);
            }
            4 => drop(remove_member(world, group, user).await),
            5 => drop(change_model(world, model, group, random.random_range(1..=3)).await),
            6 => drop(change_user(world, user, coin).await),
            7 => {
                let grantee = if coin { Grantee::UserId(user) } else { Grantee::GroupId(group) };
                self.grants.extend(create_grant(world, model, grantee, random.random_bool(0.3)).await);
            }
            _ if coin => self.keys.extend(create_key(world, user, model).await),
            _ => revoke(world, self.grants.pop(), self.keys.choose(random).cloned()).await,
        }
    }
}

async fn delete_group(world: &World, group_id: String) -> Result<(), tonic::Status> {
    let request = pb::DeleteGroupRequest { group_id, ..Default::default() };
    world.owner.groups().delete_group(request).await.map(drop)
}

async fn add_member(
    world: &World,
    group_id: String,
    member: Member,
    ends: bool,
) -> Result<(), tonic::Status> {
    let expire_time = ends.then(|| in_seconds(3_600));
    let membership = Some(pb::Membership { member: Some(member), expire_time, ..Default::default() });
    let request = pb::AddMemberRequest { group_id, membership, ..Default::default() };
    world.owner.groups().add_member(request).await.map(drop)
}

async fn remove_member(world: &World, group_id: String, user: String) -> Result<(), tonic::Status> {
    let member = Some(pb::remove_member_request::Member::UserId(user));
    let request = pb::RemoveMemberRequest { group_id, member, ..Default::default() };
    world.owner.groups().remove_member(request).await.map(drop)
}

async fn change_model(
    world: &World,
    model_id: String,
    group: String,
    state: i32,
) -> Result<(), tonic::Status> {
    let owner = Some(pb::ModelOwner { owner: Some(pb::model_owner::Owner::GroupId(group)) });
    let request = pb::UpdateModelRequest { model_id, state: Some(state), owner, ..Default::default() };
    world.owner.models().update_model(request).await.map(drop)
}

async fn change_user(world: &World, user_id: String, disabled: bool) -> Result<(), tonic::Status> {
    let request = pb::UpdateUserRequest { user_id, disabled: Some(disabled), ..Default::default() };
    world.owner.users().update_user(request).await.map(drop)
}

async fn create_grant(world: &World, model: String, grantee: Grantee, deny: bool) -> Option<String> {
    let effect = if deny { Effect::Deny } else { Effect::Allow };
    let grant = Some(grant(&model, grantee, Action::Use, effect));
    let answer =
        world.owner.grants().create_grant(pb::CreateGrantRequest { grant, ..Default::default() }).await;
    answer.ok()?.into_inner().grant.map(|grant| grant.grant_id)
}

async fn create_key(world: &World, user_id: String, model: String) -> Option<String> {
    let (name, model_ids) = ("key".to_owned(), vec![model]);
    let request = pb::CreateKeyRequest { name, user_id, model_ids, ..Default::default() };
    world.owner.keys().create_key(request).await.ok()?.into_inner().key.map(|key| key.key_id)
}

async fn revoke(world: &World, grant: Option<String>, key: Option<String>) {
    if let Some(grant_id) = grant {
        let request = pb::RevokeGrantRequest { grant_id, ..Default::default() };
        drop(world.owner.grants().revoke_grant(request).await);
    }
    if let Some(key_id) = key {
        let request = pb::RevokeKeyRequest { key_id, ..Default::default() };
        drop(world.owner.keys().revoke_key(request).await);
    }
}

on_both_engines! {
    async fn following_the_log_equals_reading_the_tables(world: World) {
        let mut follower = Follower::new(&world.service()).await;
        let mut things = Things::new(world).await;
        let mut random = StdRng::seed_from_u64(17);
        for n in 0..150 {
            things.change(world, &mut random, n).await;
        }
        follower.catch_up().await;
        assert!(follower.revision > 60, "most changes were made");
        let rebuilt = world.another().await;
        let mut read = Follower::new(&rebuilt.service()).await;
        read.catch_up().await;
        assert_eq!(read.revision, follower.revision);
        assert_eq!(read.policy.canonical(), follower.policy.canonical());
        rebuilt.end().await;
    }
}
