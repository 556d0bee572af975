//! A simulation tells what really happens when the same is done, and refuses what would be refused (P4).

use crate::world::{
    World, assert_invalid, assert_missing, assert_refused, grant, on_both_engines, refusal, uuid,
};
use pb::{Action, Effect, Verdict, hypothetical_change::Change, hypothetical_item::Item};
use proto::{common::v1::Role, permissions::v1 as pb};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use std::collections::BTreeSet;
use tonic::Code;

/// Things of each kind in a world.
const SIZE: usize = 4;

struct Things {
    users: Vec<String>,
    groups: Vec<String>,
    models: Vec<String>,
    sets: Vec<String>,
    grants: Vec<String>,
}

async fn set(world: &World, name: &str) -> String {
    let request = pb::CreateModelSetRequest { name: name.to_owned(), ..Default::default() };
    world.owner.sets().create_model_set(request).await.unwrap().into_inner().model_set.unwrap().model_set_id
}

fn item(model_set_id: &str, item: Item) -> pb::HypotheticalItem {
    pb::HypotheticalItem { model_set_id: model_set_id.to_owned(), item: Some(item) }
}

impl Things {
    async fn new(world: &World) -> Self {
        let mut things = Self {
            users: Vec::new(),
            groups: Vec::new(),
            models: Vec::new(),
            sets: Vec::new(),
            grants: Vec::new(),
        };
        for n in 0..SIZE {
            things.users.push(world.user(Role::Member).await.id);
            things.groups.push(world.group(&format!("group-{n}")).await);
            things.models.push(world.model(&format!("model-{n}")).await);
            things.sets.push(set(world, &format!("set-{n}")).await);
        }
        things
    }

    fn change(&self, random: &mut StdRng) -> Change {
        let one = |all: &[String], random: &mut StdRng| all.choose(random).unwrap().clone();
        match random.random_range(0..10) {
            0..3 => {
                let thing = if random.random_bool(0.6) {
                    Item::ModelId(one(&self.models, random))
                } else {
                    Item::ItemSetId(one(&self.sets, random))
                };
                let item = item(&one(&self.sets, random), thing);
                if random.random_bool(0.7) { Change::AddItem(item) } else { Change::RemoveItem(item) }
            }
            3..6 => {
                use pb::hypothetical_member::Member;
                let member = if random.random_bool(0.6) {
                    Member::UserId(one(&self.users, random))
                } else {
                    Member::MemberGroupId(one(&self.groups, random))
                };
                let group_id = one(&self.groups, random);
                let member = pb::HypotheticalMember { group_id, member: Some(member), expire_time: None };
                if random.random_bool(0.7) { Change::AddMember(member) } else { Change::RemoveMember(member) }
            }
            6 if !self.grants.is_empty() => Change::RevokeGrantId(one(&self.grants, random)),
            _ => Change::CreateGrant(self.grant(random)),
        }
    }

    fn grant(&self, random: &mut StdRng) -> pb::Grant {
        use pb::grant::Grantee;
        let n = random.random_range(0..SIZE);
        let grantee = match random.random_range(0..5) {
            0 => Grantee::Everyone(true),
            1 | 2 => Grantee::UserId(self.users[n].clone()),
            _ => Grantee::GroupId(self.groups[n].clone()),
        };
        let effect = if random.random_bool(0.3) { Effect::Deny } else { Effect::Allow };
        let action = if random.random_bool(0.3) { Action::Manage } else { Action::Use };
        let mut new = grant("", grantee, action, effect);
        let n = random.random_range(0..SIZE);
        if random.random_bool(0.4) {
            new.model_id.clone_from(&self.models[n]);
        } else {
            new.model_set_id.clone_from(&self.sets[n]);
        }
        new
    }

    /// Really does it, through the methods that are there for it.
    async fn really(&mut self, world: &World, change: Change) -> Result<(), (Code, String)> {
        let owner = &world.owner;
        match change {
            Change::CreateGrant(new) => {
                let request = pb::CreateGrantRequest { grant: Some(new), ..Default::default() };
                let made = owner.grants().create_grant(request).await;
                let Ok(made) = made else { return Err(refusal(made)) };
                self.grants.push(made.into_inner().grant.unwrap().grant_id);
                Ok(())
            }
            Change::RevokeGrantId(grant_id) => {
                let request = pb::RevokeGrantRequest { grant_id, ..Default::default() };
                done(owner.grants().revoke_grant(request).await)
            }
            Change::AddMember(new) => {
                let membership = Some(pb::Membership { member: Some(member(&new)), ..Default::default() });
                let request =
                    pb::AddMemberRequest { group_id: new.group_id, membership, ..Default::default() };
                done(owner.groups().add_member(request).await)
            }
            Change::RemoveMember(old) => {
                use pb::{hypothetical_member::Member as From, remove_member_request::Member as To};
                let member = match old.member.unwrap() {
                    From::UserId(id) => To::UserId(id),
                    From::MemberGroupId(id) => To::MemberGroupId(id),
                };
                let (group_id, member) = (old.group_id, Some(member));
                let request = pb::RemoveMemberRequest { group_id, member, ..Default::default() };
                done(owner.groups().remove_member(request).await)
            }
            Change::AddItem(pb::HypotheticalItem { model_set_id, item }) => {
                let items = vec![set_item(item.unwrap())];
                let request = pb::AddSetItemsRequest { model_set_id, items, ..Default::default() };
                done(owner.sets().add_set_items(request).await)
            }
            Change::RemoveItem(pb::HypotheticalItem { model_set_id, item }) => {
                let items = vec![set_item(item.unwrap())];
                let request = pb::RemoveSetItemsRequest { model_set_id, items, ..Default::default() };
                done(owner.sets().remove_set_items(request).await)
            }
        }
    }

    /// Who may do what.
    async fn allowed(&self, world: &World) -> BTreeSet<(String, String, i32)> {
        let pairs = self.users.iter().flat_map(|user| self.models.iter().map(move |model| (user, model)));
        let asked: Vec<_> = pairs
            .flat_map(|(user, model)| [Action::Use, Action::Manage].map(|action| (user, model, action)))
            .collect();
        let item = |(user, model, action): &(&String, &String, Action)| pb::CheckItem {
            user_id: (*user).clone(),
            model: Some(pb::check_item::Model::ModelId((*model).clone())),
            action: (*action).into(),
            ..Default::default()
        };
        let request = pb::BatchCheckRequest { items: asked.iter().map(item).collect(), consistency: None };
        let results = world.owner.authorization().batch_check(request).await.unwrap().into_inner().results;
        let answered = asked.into_iter().zip(results).filter(|(_, result)| {
            use pb::batch_check_response::result::Outcome;
            matches!(&result.outcome, Some(Outcome::Answer(answer)) if answer.verdict() == Verdict::Allowed)
        });
        answered.map(|((user, model, action), _)| (user.clone(), model.clone(), action.into())).collect()
    }
}

fn set_item(item: Item) -> pb::SetItem {
    use pb::set_item::Item as To;
    let item = match item {
        Item::ModelId(id) => To::ModelId(id),
        Item::ItemSetId(id) => To::ItemSetId(id),
    };
    pb::SetItem { item: Some(item) }
}

fn done<T>(result: Result<tonic::Response<T>, tonic::Status>) -> Result<(), (Code, String)> {
    if result.is_ok() { Ok(()) } else { Err(refusal(result)) }
}

fn member(new: &pb::HypotheticalMember) -> pb::membership::Member {
    use pb::{hypothetical_member::Member as From, membership::Member as To};
    match new.member.clone().unwrap() {
        From::UserId(id) => To::UserId(id),
        From::MemberGroupId(id) => To::MemberGroupId(id),
    }
}

fn request(changes: &[Change]) -> pb::SimulateRequest {
    let changes = changes.iter().map(|change| pb::HypotheticalChange { change: Some(change.clone()) });
    pb::SimulateRequest { changes: changes.collect(), ..Default::default() }
}

on_both_engines! {
    async fn what_a_simulation_tells_is_what_happens(world: World) {
        let mut random = StdRng::seed_from_u64(77);
        let mut things = Things::new(world).await;
        // The owner may do everything, and is not among those asked about.
        let (mut refusals, mut differences, mut through_sets) = (0, 0, 0);
        for _ in 0..80 {
            let changes: Vec<Change> = (0..random.random_range(1..4)).map(|_| things.change(&mut random)).collect();
            let told = world.owner.authorization().simulate(request(&changes)).await;
            let before = things.allowed(world).await;
            let mut really = Ok(());
            for change in changes.clone() {
                really = things.really(world, change).await;
                if really.is_err() {
                    break;
                }
            }
            let after = things.allowed(world).await;
            if really.is_err() {
                assert_eq!(Err(refusal(told)), really, "{changes:?}");
                refusals += 1;
                continue;
            }
            let answer = told.unwrap().into_inner();
            assert!(!answer.more);
            let named = |gained: bool| -> BTreeSet<_> {
                let some = answer.differences.iter().filter(|one| one.allowed_after == gained && one.allowed_before != gained);
                let known = some.filter(|one| things.users.contains(&one.user_id));
                known.map(|one| (one.user_id.clone(), one.model_id.clone(), one.action)).collect()
            };
            assert_eq!(named(true), after.difference(&before).cloned().collect(), "{changes:?}");
            assert_eq!(named(false), before.difference(&after).cloned().collect(), "{changes:?}");
            differences += answer.differences.len();
            let of_sets = |change: &Change| matches!(change, Change::AddItem(_) | Change::RemoveItem(_));
            through_sets += usize::from(!answer.differences.is_empty() && changes.iter().all(of_sets));
        }
        assert!(refusals > 5 && differences > 50 && through_sets > 2, "{refusals} {differences} {through_sets}");
    }
}

#[tokio::test]
async fn a_change_of_a_set_that_cannot_be_names_what_is_wrong_with_it() {
    let world = World::sqlite().await;
    let (outer, inner, model) =
        (set(&world, "outer").await, set(&world, "inner").await, world.model("m").await);
    let simulate = |changes: Vec<Change>| {
        let mut client = world.owner.authorization();
        async move { client.simulate(request(&changes)).await }
    };
    let within = |one: &str, other: &str| Change::AddItem(item(one, Item::ItemSetId(other.to_owned())));
    let cycle = simulate(vec![within(&outer, &inner), within(&inner, &outer)]).await;
    assert_refused(cycle, Code::FailedPrecondition, "SET_CYCLE");
    assert_refused(simulate(vec![within(&outer, &outer)]).await, Code::FailedPrecondition, "SET_CYCLE");
    let out = Change::RemoveItem(item(&outer, Item::ModelId(model.clone())));
    assert_missing(simulate(vec![out.clone()]).await, "item", &model);
    let put = Change::AddItem(item(&outer, Item::ModelId(model.clone())));
    assert!(simulate(vec![put.clone(), out.clone(), put.clone(), out]).await.is_ok());
    assert_invalid(
        simulate(vec![put.clone(), Change::AddItem(item("x", Item::ModelId(model)))]).await,
        "changes[1].add_item.model_set_id",
    );
    let nothing = pb::HypotheticalItem { model_set_id: outer, item: None };
    assert_invalid(simulate(vec![Change::RemoveItem(nothing)]).await, "changes[0].remove_item.item");
    let mut both = grant(&uuid(), pb::grant::Grantee::Everyone(true), Action::Use, Effect::Allow);
    both.model_set_id = uuid();
    assert_invalid(simulate(vec![Change::CreateGrant(both)]).await, "changes[0].grant.model_set_id");
    assert_invalid(simulate(vec![within(&inner, &uuid())]).await, "changes");
}
