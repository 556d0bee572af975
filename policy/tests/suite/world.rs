//! Random changes over a handful of ids, so that they meet: nesting with cycles, denies, expiry, disabled things.

use policy::{
    Action, Change, Effect, Grant, GrantId, Grantee, Group, GroupId, Key, KeyHash, KeyId, Member, Membership,
    Model, ModelId, ModelState, Policy, Role, Time, User, UserId,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use uuid::Uuid;

use crate::oracle::Book;

pub(crate) const USERS: u8 = 4;
pub(crate) const MODELS: u8 = 3;
const GROUPS: u8 = 5;
/// Instants are multiples of ten, so that the ones just before and after lie between two of them.
const INSTANTS: i64 = 8;

pub(crate) fn user_id(n: u8) -> UserId {
    UserId(Uuid::from_u128(0x100 + u128::from(n)))
}

pub(crate) fn group_id(n: u8) -> GroupId {
    GroupId(Uuid::from_u128(0x200 + u128::from(n)))
}

pub(crate) fn model_id(n: u8) -> ModelId {
    ModelId(Uuid::from_u128(0x300 + u128::from(n)))
}

pub(crate) fn grant_id(n: u8) -> GrantId {
    GrantId(Uuid::from_u128(0x400 + u128::from(n)))
}

pub(crate) fn key_id(n: u8) -> KeyId {
    KeyId(Uuid::from_u128(0x500 + u128::from(n)))
}

pub(crate) fn user(n: u8) -> User {
    User { id: user_id(n), role: Role::Member, disabled: false }
}

pub(crate) fn group(n: u8) -> Group {
    Group { id: group_id(n), disabled: false }
}

pub(crate) fn model(n: u8) -> Model {
    Model { id: model_id(n), name: format!("model-{n}"), owner: None, state: ModelState::Active }
}

pub(crate) fn key(n: u8, owner: u8) -> Key {
    let (id, hash, owner) = (key_id(n), KeyHash::new([n; 32]), user_id(owner));
    Key { id, hash, owner, models: None, expires_at: None, disabled: false }
}

/// A world in which everything has been put once, and then up to `changes` things happened.
pub(crate) fn history(changes: usize) -> impl Strategy<Value = Vec<Change>> {
    let users = (0..USERS).map(|n| Change::PutUser(user(n)));
    let groups = (0..GROUPS).map(|n| Change::PutGroup(group(n)));
    let models = (0..MODELS).map(|n| Change::PutModel(model(n)));
    let everything: Vec<Change> = users.chain(groups).chain(models).collect();
    vec(change(), 0..changes).prop_map(move |changes| [everything.clone(), changes].concat())
}

/// Both implementations after the same history, having agreed on which changes fit.
pub(crate) fn worlds(history: &[Change]) -> (Policy, Book) {
    let (mut policy, mut book) = (Policy::new(), Book::default());
    for change in history {
        assert_eq!(policy.apply(change).is_ok(), book.apply(change), "{change:?}");
    }
    (policy, book)
}

/// The instants at which something can change, and those just before and after.
pub(crate) fn times() -> impl Iterator<Item = Time> + Clone {
    (0..=INSTANTS).flat_map(|n| [n * 10 - 1, n * 10, n * 10 + 1]).map(Time)
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => any_membership().prop_map(Change::PutMembership),
        10 => any_grant().prop_map(Change::PutGrant),
        4 => any_model().prop_map(Change::PutModel),
        2 => any_key().prop_map(Change::PutKey),
        1 => (0..USERS, rarely()).prop_map(|(n, disabled)| Change::PutUser(User { disabled, ..user(n) })),
        2 => (0..GROUPS, any::<bool>()).prop_map(|(n, disabled)| Change::PutGroup(Group { disabled, ..group(n) })),
        3 => any_membership().prop_map(|known| {
            Change::RemoveMembership { group: known.group, member: known.member }
        }),
        3 => (0_u8..12).prop_map(|n| Change::RemoveGrant(grant_id(n))),
        1 => removal(),
    ]
}

fn removal() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0..USERS).prop_map(|n| Change::RemoveUser(user_id(n))),
        (0..GROUPS).prop_map(|n| Change::RemoveGroup(group_id(n))),
        (0..MODELS).prop_map(|n| Change::RemoveModel(model_id(n))),
        (0_u8..4).prop_map(|n| Change::RemoveKey(key_id(n))),
    ]
}

fn any_membership() -> impl Strategy<Value = Membership> {
    let group = (0..GROUPS).prop_map(group_id);
    (group, member(), instant()).prop_map(|(group, member, expires_at)| Membership {
        group,
        member,
        expires_at,
    })
}

fn any_grant() -> impl Strategy<Value = Grant> {
    let grantee = prop_oneof![
        1 => Just(Grantee::Everyone),
        4 => member().prop_map(|member| match member {
            Member::User(id) => Grantee::User(id),
            Member::Group(id) => Grantee::Group(id),
        }),
    ];
    let id = (0_u8..12).prop_map(grant_id);
    let effect = prop_oneof![3 => Just(Effect::Allow), 1 => Just(Effect::Deny)];
    let action = select(vec![Action::Use, Action::Manage]);
    let parts = (id, grantee, (0..MODELS).prop_map(model_id), action, effect, instant(), instant());
    parts.prop_map(|(id, grantee, model, action, effect, starts_at, expires_at)| Grant {
        id,
        grantee,
        model,
        action,
        effect,
        starts_at,
        expires_at,
    })
}

fn any_model() -> impl Strategy<Value = Model> {
    let state = prop_oneof![
        6 => Just(ModelState::Active),
        1 => Just(ModelState::Deprecated),
        1 => Just(ModelState::Disabled),
    ];
    // One more name than ids: names move between models, and sometimes are taken.
    let name = (0..=MODELS).prop_map(|n| format!("model-{n}"));
    let parts = ((0..MODELS).prop_map(model_id), name, option::of(member()), state);
    parts.prop_map(|(id, name, owner, state)| Model { id, name, owner, state })
}

fn any_key() -> impl Strategy<Value = Key> {
    let models = option::of(vec((0..MODELS).prop_map(model_id), 0..3));
    let parts = (0_u8..4, 0_u8..5, 0..USERS, models, instant(), rarely());
    parts.prop_map(|(n, hash, owner, models, expires_at, disabled)| Key {
        hash: KeyHash::new([hash; 32]),
        models,
        expires_at,
        disabled,
        ..key(n, owner)
    })
}

fn member() -> impl Strategy<Value = Member> {
    prop_oneof![
        (0..USERS).prop_map(|n| Member::User(user_id(n))),
        (0..GROUPS).prop_map(|n| Member::Group(group_id(n))),
    ]
}

fn instant() -> impl Strategy<Value = Option<Time>> {
    option::weighted(0.4, (0..=INSTANTS).prop_map(|n| Time(n * 10)))
}

fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.2)
}
