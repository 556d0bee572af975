//! What the tables say is what the service says: a recursive query over the tables alone, without the policy, answers
//! "may this user use this model" as Check and ListAccessibleModels do, over random worlds made through the API.

use crate::world::{Caller, World, grant, now};
use pb::{Action, Effect, Verdict, grant::Grantee, membership::Member, set_item::Item};
use proptest::{prelude::*, test_runner::TestRunner};
use proto::{common::v1::Role, permissions::v1 as pb};
use shared::{db::Time, on};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Users, groups, models and sets of one world.
const SIZE: usize = 4;

/// One call. Numbers name things by their place, and what is refused is refused.
#[derive(Debug, Clone)]
enum Step {
    Join { group: usize, user: Option<usize>, child: usize, soon: bool },
    Put { set: usize, model: Option<usize>, child: usize },
    Grant { grantee: usize, target: usize, manage: bool, deny: bool, later: bool },
    Own { model: usize, owner: usize },
    Disable { what: usize, which: usize, disabled: bool },
    Delete { what: usize, which: usize },
    Undelete { what: usize, which: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let one = || 0..SIZE;
    let maybe = || proptest::option::of(0..SIZE);
    prop_oneof![
        4 => (one(), maybe(), one(), prop::bool::weighted(0.2))
            .prop_map(|(group, user, child, soon)| Step::Join { group, user, child, soon }),
        3 => (one(), maybe(), one()).prop_map(|(set, model, child)| Step::Put { set, model, child }),
        6 => (0..2 * SIZE + 1, 0..2 * SIZE, prop::bool::weighted(0.3), prop::bool::weighted(0.3), prop::bool::weighted(0.1))
            .prop_map(|(grantee, target, manage, deny, later)| Step::Grant { grantee, target, manage, deny, later }),
        1 => (one(), 0..2 * SIZE).prop_map(|(model, owner)| Step::Own { model, owner }),
        2 => (0..4_usize, one(), any::<bool>()).prop_map(|(what, which, disabled)| Step::Disable { what, which, disabled }),
        2 => (0..4_usize, one()).prop_map(|(what, which)| Step::Delete { what, which }),
        2 => (0..4_usize, one()).prop_map(|(what, which)| Step::Undelete { what, which }),
    ]
}

struct Things {
    users: Vec<Caller>,
    groups: Vec<String>,
    models: Vec<String>,
    sets: Vec<String>,
}

impl Things {
    async fn new(world: &World) -> Self {
        let (mut users, mut groups, mut models, mut sets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for n in 0..SIZE {
            users.push(world.user(Role::Member).await);
            groups.push(world.group(&format!("group-{n}")).await);
            models.push(world.model(&format!("model-{n}")).await);
            let request = pb::CreateModelSetRequest { name: format!("set-{n}"), ..Default::default() };
            let set = world.owner.sets().create_model_set(request).await.unwrap().into_inner().model_set;
            sets.push(set.unwrap().model_set_id);
        }
        Self { users, groups, models, sets }
    }

    /// Does what can be done. What the service refuses changes nothing.
    async fn take(&self, owner: &Caller, step: &Step) -> bool {
        match step.clone() {
            Step::Join { group, user, child, soon } => {
                let member = user.map_or_else(
                    || Member::MemberGroupId(self.groups[child].clone()),
                    |user| Member::UserId(self.users[user].id.clone()),
                );
                let expire_time = soon.then(|| crate::world::in_seconds(3_600));
                let membership =
                    Some(pb::Membership { member: Some(member), expire_time, ..Default::default() });
                let group_id = self.groups[group].clone();
                let request = pb::AddMemberRequest { group_id, membership, ..Default::default() };
                owner.groups().add_member(request).await.is_ok()
            }
            Step::Put { set, model, child } => {
                let item = model.map_or_else(
                    || Item::ItemSetId(self.sets[child].clone()),
                    |model| Item::ModelId(self.models[model].clone()),
                );
                let items = vec![pb::SetItem { item: Some(item) }];
                let model_set_id = self.sets[set].clone();
                let request = pb::AddSetItemsRequest { model_set_id, items, ..Default::default() };
                owner.sets().add_set_items(request).await.is_ok()
            }
            Step::Grant { grantee, target, manage, deny, later } => {
                let grantee = match grantee {
                    n if n < SIZE => Grantee::UserId(self.users[n].id.clone()),
                    n if n < 2 * SIZE => Grantee::GroupId(self.groups[n - SIZE].clone()),
                    _ => Grantee::Everyone(true),
                };
                let action = if manage { Action::Manage } else { Action::Use };
                let effect = if deny { Effect::Deny } else { Effect::Allow };
                let mut grant = grant("", grantee, action, effect);
                match target {
                    n if n < SIZE => grant.model_id.clone_from(&self.models[n]),
                    n => grant.model_set_id.clone_from(&self.sets[n - SIZE]),
                }
                grant.start_time = later.then(|| crate::world::in_seconds(3_600));
                let request = pb::CreateGrantRequest { grant: Some(grant), ..Default::default() };
                owner.grants().create_grant(request).await.is_ok()
            }
            Step::Own { model, owner: n } => {
                let new = match n {
                    n if n < SIZE => pb::model_owner::Owner::UserId(self.users[n].id.clone()),
                    n => pb::model_owner::Owner::GroupId(self.groups[n - SIZE].clone()),
                };
                let new = Some(pb::ModelOwner { owner: Some(new) });
                let model_id = self.models[model].clone();
                let request = pb::UpdateModelRequest { model_id, owner: new, ..Default::default() };
                owner.models().update_model(request).await.is_ok()
            }
            Step::Disable { what, which, disabled } => self.disable(owner, what, which, disabled).await,
            Step::Delete { what, which } => self.delete(owner, what, which).await,
            Step::Undelete { what, which } => self.undelete(owner, what, which).await,
        }
    }

    async fn disable(&self, owner: &Caller, what: usize, which: usize, disabled: bool) -> bool {
        let switch = Some(disabled);
        match what {
            0 => {
                let user_id = self.users[which].id.clone();
                let request = pb::UpdateUserRequest { user_id, disabled: switch, ..Default::default() };
                owner.users().update_user(request).await.is_ok()
            }
            1 => {
                let group_id = self.groups[which].clone();
                let request = pb::UpdateGroupRequest { group_id, disabled: switch, ..Default::default() };
                owner.groups().update_group(request).await.is_ok()
            }
            2 => {
                let state = if disabled { pb::ModelState::Disabled } else { pb::ModelState::Active };
                let model_id = self.models[which].clone();
                let request =
                    pb::UpdateModelRequest { model_id, state: Some(state.into()), ..Default::default() };
                owner.models().update_model(request).await.is_ok()
            }
            _ => {
                let model_set_id = self.sets[which].clone();
                let request =
                    pb::UpdateModelSetRequest { model_set_id, disabled: switch, ..Default::default() };
                owner.sets().update_model_set(request).await.is_ok()
            }
        }
    }

    async fn delete(&self, owner: &Caller, what: usize, which: usize) -> bool {
        match what {
            0 => {
                let user_id = self.users[which].id.clone();
                owner
                    .users()
                    .delete_user(pb::DeleteUserRequest { user_id, ..Default::default() })
                    .await
                    .is_ok()
            }
            1 => {
                let group_id = self.groups[which].clone();
                owner
                    .groups()
                    .delete_group(pb::DeleteGroupRequest { group_id, ..Default::default() })
                    .await
                    .is_ok()
            }
            2 => {
                let model_id = self.models[which].clone();
                owner
                    .models()
                    .delete_model(pb::DeleteModelRequest { model_id, ..Default::default() })
                    .await
                    .is_ok()
            }
            _ => {
                let model_set_id = self.sets[which].clone();
                let request = pb::DeleteModelSetRequest { model_set_id, ..Default::default() };
                owner.sets().delete_model_set(request).await.is_ok()
            }
        }
    }

    async fn undelete(&self, owner: &Caller, what: usize, which: usize) -> bool {
        match what {
            0 => {
                let user_id = self.users[which].id.clone();
                owner
                    .users()
                    .undelete_user(pb::UndeleteUserRequest { user_id, ..Default::default() })
                    .await
                    .is_ok()
            }
            1 => {
                let group_id = self.groups[which].clone();
                let request = pb::UndeleteGroupRequest { group_id, ..Default::default() };
                owner.groups().undelete_group(request).await.is_ok()
            }
            2 => {
                let model_id = self.models[which].clone();
                let request = pb::UndeleteModelRequest { model_id, ..Default::default() };
                owner.models().undelete_model(request).await.is_ok()
            }
            _ => {
                let model_set_id = self.sets[which].clone();
                let request = pb::UndeleteModelSetRequest { model_set_id, ..Default::default() };
                owner.sets().undelete_model_set(request).await.is_ok()
            }
        }
    }
}

/// Every (user, model) for which the tables say "may use" at `$1`. It knows nothing of dead_ends: a row counts when
/// what it joins is there.
const MAY_USE: &str = "WITH RECURSIVE reach (user_id, group_id) AS ( \
        SELECT u.id, m.group_id FROM users u JOIN memberships m ON m.member_kind = 'user' AND m.member_id = u.id \
        JOIN groups g ON g.id = m.group_id \
        WHERE u.deleted_at IS NULL AND g.deleted_at IS NULL AND NOT g.disabled \
            AND (m.expires_at IS NULL OR m.expires_at > $1) \
        UNION \
        SELECT r.user_id, m.group_id FROM reach r \
        JOIN memberships m ON m.member_kind = 'group' AND m.member_id = r.group_id \
        JOIN groups g ON g.id = m.group_id \
        WHERE g.deleted_at IS NULL AND NOT g.disabled AND (m.expires_at IS NULL OR m.expires_at > $1) \
    ), within (model_id, set_id) AS ( \
        SELECT m.id, i.set_id FROM models m JOIN set_items i ON i.item_kind = 'model' AND i.item_id = m.id \
        JOIN model_sets s ON s.id = i.set_id \
        WHERE m.deleted_at IS NULL AND s.deleted_at IS NULL AND NOT s.disabled \
        UNION \
        SELECT w.model_id, i.set_id FROM within w JOIN set_items i ON i.item_kind = 'set' AND i.item_id = w.set_id \
        JOIN model_sets s ON s.id = i.set_id WHERE s.deleted_at IS NULL AND NOT s.disabled \
    ), rule (user_id, model_id, action, effect) AS ( \
        SELECT u.id, m.id, g.action, g.effect FROM users u JOIN models m ON TRUE JOIN grants g ON \
            (g.starts_at IS NULL OR g.starts_at <= $1) AND (g.expires_at IS NULL OR g.expires_at > $1) \
            AND (g.model_id = m.id OR g.model_set_id IN (SELECT w.set_id FROM within w WHERE w.model_id = m.id)) \
            AND (g.grantee_kind = 'everyone' OR (g.grantee_kind = 'user' AND g.grantee_id = u.id) \
                OR (g.grantee_kind = 'group' \
                    AND g.grantee_id IN (SELECT r.group_id FROM reach r WHERE r.user_id = u.id))) \
        WHERE u.deleted_at IS NULL AND NOT u.disabled AND m.deleted_at IS NULL AND m.state <> 'disabled' \
        UNION \
        SELECT u.id, m.id, 'manage', 'allow' FROM users u JOIN models m ON \
            (m.owner_kind = 'user' AND m.owner_id = u.id) OR (m.owner_kind = 'group' \
                AND m.owner_id IN (SELECT r.group_id FROM reach r WHERE r.user_id = u.id)) \
        WHERE u.deleted_at IS NULL AND NOT u.disabled AND m.deleted_at IS NULL AND m.state <> 'disabled' \
    ) SELECT DISTINCT a.user_id, a.model_id FROM rule a WHERE a.effect = 'allow' \
        AND NOT EXISTS (SELECT 1 FROM rule d WHERE d.user_id = a.user_id AND d.model_id = a.model_id \
            AND d.effect = 'deny' AND (d.action = 'use' OR (a.action = 'manage' AND d.action = 'manage')))";

async fn by_the_tables(world: &World) -> BTreeSet<(Uuid, Uuid)> {
    let rows: Vec<(Uuid, Uuid)> =
        on!(&world.db, |pool| { sqlx::query_as(MAY_USE).bind(Time(now())).fetch_all(pool).await }).unwrap();
    rows.into_iter().collect()
}

async fn holds(world: &World, steps: &[Step]) {
    let things = Things::new(world).await;
    for step in steps {
        things.take(&world.owner, step).await;
    }
    let expected = by_the_tables(world).await;
    for user in &things.users {
        let list = pb::ListAccessibleModelsRequest { user_id: user.id.clone(), ..Default::default() };
        let listed = world.owner.authorization().list_accessible_models(list).await.unwrap().into_inner();
        let listed: BTreeSet<String> = listed.models.into_iter().map(|model| model.model_id).collect();
        for model in &things.models {
            let pair = (Uuid::try_parse(&user.id).unwrap(), Uuid::try_parse(model).unwrap());
            let (verdict, reason) = world.owner.may(&user.id, model, Action::Use).await;
            let said = expected.contains(&pair);
            assert_eq!(verdict == Verdict::Allowed, said, "{reason} after {steps:#?}");
            assert_eq!(listed.contains(model), said, "listed, after {steps:#?}");
        }
    }
    world.policy().await;
}

fn random_worlds(cases: u32, postgres: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config =
        ProptestConfig { cases, max_shrink_iters: 100, failure_persistence: None, ..Default::default() };
    let steps = prop::collection::vec(step(), 10..50);
    let result = TestRunner::new(config).run(&steps, |steps| {
        let run = async {
            let world = if postgres { World::postgres().await } else { World::sqlite().await };
            holds(&world, &steps).await;
            world.end().await;
        };
        let run = std::panic::AssertUnwindSafe(|| runtime.block_on(run));
        std::panic::catch_unwind(run).map_err(|panic| {
            let words = panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".to_owned());
            TestCaseError::fail(words)
        })
    });
    assert!(result.is_ok(), "{result:?}");
}

#[test]
fn the_tables_and_the_service_agree_sqlite() {
    random_worlds(24, false);
}

#[test]
fn the_tables_and_the_service_agree_postgres() {
    random_worlds(8, true);
}
