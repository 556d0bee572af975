//! Random changes over a handful of ids, so that they meet: nesting with cycles, denies, expiry, disabled things.

use std::net::{IpAddr, Ipv4Addr};

use policy::{
    Action, Alias, Change, Effect, Grant, GrantId, Grantee, Group, GroupId, Key, KeyHash, KeyId, Member,
    Membership, Model, ModelId, ModelSet, ModelSetId, ModelState, OldSecret, Policy, Role, Scope, Scopes,
    SessionId, SigningKey, Target, Time, User, UserId,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use uuid::Uuid;

use crate::oracle::Book;

pub(crate) const USERS: u8 = 4;
pub(crate) const MODELS: u8 = 3;
pub(crate) const SETS: u8 = 4;
pub(crate) const SESSIONS: u8 = 4;
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

pub(crate) fn set_id(n: u8) -> ModelSetId {
    ModelSetId(Uuid::from_u128(0x600 + u128::from(n)))
}

pub(crate) fn session_id(n: u8) -> SessionId {
    SessionId(Uuid::from_u128(0x700 + u128::from(n)))
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

pub(crate) fn set(n: u8) -> ModelSet {
    ModelSet { id: set_id(n), disabled: false }
}

pub(crate) fn key(n: u8, owner: u8) -> Key {
    let (id, hash, owner) = (key_id(n), KeyHash::new([n; 32]), user_id(owner));
    let (models, expires_at, disabled) = (None, None, false);
    let (scopes, networks, previous) = (Scopes::ALL, Vec::new(), Vec::new());
    Key { id, hash, owner, models, expires_at, disabled, scopes, networks, previous }
}

/// From nowhere known, and from inside and outside of the networks that keys are bound to.
pub(crate) fn peers() -> [Option<IpAddr>; 3] {
    let address = |a| Some(IpAddr::V4(Ipv4Addr::new(a, 0, 0, 1)));
    [None, address(10), address(192)]
}

/// A world in which everything has been put once, and then up to `changes` things happened.
pub(crate) fn history(changes: usize) -> impl Strategy<Value = Vec<Change>> {
    let users = (0..USERS).map(|n| Change::PutUser(user(n)));
    let groups = (0..GROUPS).map(|n| Change::PutGroup(group(n)));
    let models = (0..MODELS).map(|n| Change::PutModel(model(n)));
    let sets = (0..SETS).map(|n| Change::PutModelSet(set(n)));
    let everything: Vec<Change> = users.chain(groups).chain(models).chain(sets).collect();
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

/// Every name that a model may have, and one that none has.
pub(crate) fn names() -> impl Iterator<Item = String> {
    (0..=MODELS).map(|n| format!("model-{n}")).chain((0..3).map(|n| format!("alias-{n}")))
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
        8 => set_item().prop_map(|(set, item)| Change::PutSetItem { set, item }),
        3 => set_item().prop_map(|(set, item)| Change::RemoveSetItem { set, item }),
        2 => (0..SETS, any::<bool>()).prop_map(|(n, disabled)| {
            Change::PutModelSet(ModelSet { disabled, ..set(n) })
        }),
        2 => (alias(), (0..MODELS).prop_map(model_id)).prop_map(|(name, model)| {
            Change::PutAlias(Alias { name, model })
        }),
        1 => any_credential(),
        1 => removal(),
    ]
}

fn any_credential() -> impl Strategy<Value = Change> {
    let kid = || (0_u8..3).prop_map(|n| format!("kid-{n}"));
    let signing = (kid(), any::<[u8; 32]>(), instant());
    let ended = ((0..SESSIONS).prop_map(session_id), 0..=INSTANTS, 0..=INSTANTS);
    prop_oneof![
        signing.prop_map(|(id, public, until)| Change::PutSigningKey(SigningKey { id, public, until })),
        kid().prop_map(Change::RemoveSigningKey),
        ended.prop_map(|(session, at, wait)| {
            Change::EndSession { session, at: Time(at * 10), until: Time((at + wait) * 10) }
        }),
    ]
}

fn set_item() -> impl Strategy<Value = (ModelSetId, Target)> {
    ((0..SETS).prop_map(set_id), target())
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        (0..MODELS).prop_map(|n| Target::Model(model_id(n))),
        (0..SETS).prop_map(|n| Target::Set(set_id(n))),
    ]
}

/// Some of them collide with the names of models.
fn alias() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (0_u8..3).prop_map(|n| format!("alias-{n}")),
        1 => (0..=MODELS).prop_map(|n| format!("model-{n}")),
    ]
}

fn removal() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0..USERS).prop_map(|n| Change::RemoveUser(user_id(n))),
        (0..GROUPS).prop_map(|n| Change::RemoveGroup(group_id(n))),
        (0..MODELS).prop_map(|n| Change::RemoveModel(model_id(n))),
        (0_u8..4).prop_map(|n| Change::RemoveKey(key_id(n))),
        (0..SETS).prop_map(|n| Change::RemoveModelSet(set_id(n))),
        alias().prop_map(Change::RemoveAlias),
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
    let parts = (id, grantee, target(), action, effect, instant(), instant());
    parts.prop_map(|(id, grantee, target, action, effect, starts_at, expires_at)| Grant {
        id,
        grantee,
        target,
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
    let name = prop_oneof![
        8 => (0..=MODELS).prop_map(|n| format!("model-{n}")),
        1 => (0_u8..3).prop_map(|n| format!("alias-{n}")),
    ];
    let parts = ((0..MODELS).prop_map(model_id), name, option::of(member()), state);
    parts.prop_map(|(id, name, owner, state)| Model { id, name, owner, state })
}

fn any_key() -> impl Strategy<Value = Key> {
    let models = option::of(vec((0..MODELS).prop_map(model_id), 0..3));
    let who = (0_u8..4, 0_u8..5, 0..USERS, models, instant(), rarely());
    let networks = select(vec!["", "", "10.0.0.0/8", "::ffff:10.0.0.0/104", "2001:db8::/32"]);
    let old = (0_u8..5, 0..=INSTANTS)
        .prop_map(|(hash, n)| OldSecret { hash: KeyHash::new([hash; 32]), until: Time(n * 10) });
    let limits = (vec(select(Scope::ALL), 0..3), networks, vec(old, 0..3));
    (who, limits).prop_map(|((n, hash, owner, models, expires_at, disabled), (scopes, network, previous))| {
        Key {
            hash: KeyHash::new([hash; 32]),
            models,
            expires_at,
            disabled,
            scopes: scopes.into_iter().collect(),
            networks: network.parse().into_iter().collect(),
            previous,
            ..key(n, owner)
        }
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
