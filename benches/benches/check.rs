//! What a decision costs in process, from a thousand grants to a million: it should not depend on their number.
//!
//! The caller is at the bottom of a chain of ten groups and the grant that lets it in is at the top, so the answer is
//! the deepest one can ask for. All other grants are on the same models, to other users and groups.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use policy::{
    Action, ApplyError, Change, Effect, Grant, GrantId, Grantee, Group, GroupId, Key, KeyHash, KeyId, Member,
    Membership, Model, ModelId, ModelState, Policy, Role, Scopes, Target, Time, User, UserId,
};
use std::hint::black_box;
use uuid::Uuid;

const NOW: Time = Time(1_000_000);
const DEPTH: u32 = 10;
const MODELS: u32 = 100;
/// Grants that each of the other users holds.
const GRANTS_PER_USER: u32 = 10;
const CALLER: u32 = 0;

fn uuid(kind: u128, number: u32) -> Uuid {
    Uuid::from_u128(kind << 64 | u128::from(number))
}

fn user(number: u32) -> UserId {
    UserId(uuid(1, number))
}

fn group(number: u32) -> GroupId {
    GroupId(uuid(2, number))
}

fn model(number: u32) -> ModelId {
    ModelId(uuid(3, number))
}

fn digest(number: u32) -> KeyHash {
    let mut digest = [7; 32];
    digest[..4].copy_from_slice(&number.to_be_bytes());
    KeyHash::new(digest)
}

fn grant(number: u32, grantee: Grantee, model: ModelId) -> Change {
    let target = Target::Model(model);
    let (id, action, effect) = (GrantId(uuid(4, number)), Action::Use, Effect::Allow);
    Change::PutGrant(Grant { id, grantee, target, action, effect, starts_at: None, expires_at: None })
}

/// A caller with a key in `DEPTH` nested groups, and others who hold all but one of the grants.
fn world(grants: u32) -> Result<Policy, ApplyError> {
    let people = (0..=grants / GRANTS_PER_USER)
        .map(|number| Change::PutUser(User { id: user(number), role: Role::Member, disabled: false }));
    let groups = (0..DEPTH).map(|number| Change::PutGroup(Group { id: group(number), disabled: false }));
    let nested = (0..DEPTH).map(|number| {
        let member = match number {
            0 => Member::User(user(CALLER)),
            _ => Member::Group(group(number - 1)),
        };
        Change::PutMembership(Membership { group: group(number), member, expires_at: None })
    });
    let models = (0..MODELS).map(|number| {
        let name = format!("model-{number}");
        Change::PutModel(Model { id: model(number), name, owner: None, state: ModelState::Active })
    });
    let others = (1..grants).map(|number| {
        let other = user(1 + number / GRANTS_PER_USER);
        grant(number, Grantee::User(other), model(number % MODELS))
    });
    let ours = grant(0, Grantee::Group(group(DEPTH - 1)), model(0));
    let key = Change::PutKey(Key {
        id: KeyId(uuid(5, CALLER)),
        hash: digest(CALLER),
        owner: user(CALLER),
        models: None,
        expires_at: None,
        disabled: false,
        scopes: Scopes::ALL,
        networks: Vec::new(),
        previous: Vec::new(),
    });
    let facts = people.chain(groups).chain(nested).chain(models).chain(others).chain([ours, key]);
    let mut policy = Policy::new();
    facts.into_iter().try_for_each(|change| policy.apply(&change).map(drop))?;
    Ok(policy)
}

fn check(criterion: &mut Criterion) {
    let mut decisions = criterion.benchmark_group("check");
    for grants in [1_000, 100_000, 1_000_000] {
        let policy = match world(grants) {
            Ok(policy) => policy,
            Err(error) => unreachable!("the facts of the benchmark fit together: {error}"),
        };
        let allowed = policy.check(user(CALLER), model(0), Action::Use, NOW).allowed;
        let refused = policy.check(user(CALLER), model(1), Action::Use, NOW).allowed;
        assert!(allowed && !refused, "the benchmark asks what it says it asks");

        decisions.bench_function(BenchmarkId::new("allowed", grants), |bencher| {
            bencher.iter(|| policy.check(black_box(user(CALLER)), black_box(model(0)), Action::Use, NOW));
        });
        decisions.bench_function(BenchmarkId::new("refused", grants), |bencher| {
            bencher.iter(|| policy.check(black_box(user(CALLER)), black_box(model(1)), Action::Use, NOW));
        });
        decisions.bench_function(BenchmarkId::new("authorize", grants), |bencher| {
            bencher.iter(|| policy.authorize(black_box(&digest(CALLER)), black_box("model-0"), None, NOW));
        });
    }
    decisions.finish();
}

criterion_group!(benches, check);
criterion_main!(benches);
