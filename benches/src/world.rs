//! Facts for the policy, as many as are asked for, made one by one so that nobody has to hold them all.
//!
//! The caller is at the bottom of a chain of ten groups, in a world of other users, of groups nested eight deep, of
//! models and of sets nested three deep. What lets the caller in is always at the far end: a grant to the outermost
//! group, on the model itself or on the outermost set. All other grants are on the same models and sets. The models that
//! are asked about have grants to a few dozen groups in the smallest world too, or its checks would be simpler ones.

use policy::{
    Action, Change, Effect, Grant, GrantId, Grantee, Group, GroupId, Key, KeyHash, KeyId, Member, Membership,
    Model, ModelId, ModelSet, ModelSetId, ModelState, Role, Scopes, Target, User, UserId,
};
use uuid::Uuid;

/// Groups the caller is in, one in the other.
pub const DEPTH: u32 = 10;
/// Models there are.
pub const MODELS: u32 = 500;
/// Models in one innermost set.
const SET_SIZE: u32 = 10;
/// Sets in one another.
const SET_DEPTH: u32 = 3;
/// How deep the groups of the others are nested.
const GROUP_DEPTH: u32 = 8;
/// The model that the caller's group is granted.
pub const GRANTED: u32 = 0;
/// The model that the caller is granted through sets.
pub const GRANTED_BY_SETS: u32 = SET_SIZE;
/// Grants to groups of others that each model and set asked about has at least.
const AT_LEAST: u32 = 40;
/// A model that the caller is granted in no way.
pub const REFUSED: u32 = 2 * SET_SIZE;

/// How much there is of everything.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Grants.
    pub grants: u32,
    /// Users beside the caller.
    pub users: u32,
    /// Groups beside the caller's.
    pub groups: u32,
}

impl Size {
    /// A world around this many grants.
    #[must_use]
    pub fn of(grants: u32) -> Self {
        Self { grants, users: (grants / 10).max(10), groups: (grants / 200).max(AT_LEAST) }
    }

    /// Every fact, each after what it refers to.
    pub fn facts(self) -> impl Iterator<Item = Change> {
        let models = (0..MODELS).map(|number| Change::PutModel(a_model(number)));
        let ours = [(0, Target::Model(model(GRANTED))), (1, Target::Set(set(SET_DEPTH * 2 - 1)))]
            .map(|(number, target)| grant(number, Grantee::Group(group(DEPTH - 1)), target));
        let asked = asked_about();
        let crowd = (0..asked.len() as u32 * AT_LEAST).map(move |number| {
            let to = Grantee::Group(group(DEPTH + number % AT_LEAST));
            grant(number + 2, to, asked[(number / AT_LEAST) as usize])
        });
        let others = (2 + crowd.len() as u32..self.grants).map(move |number| self.grant(number));
        let grants = ours.into_iter().chain(crowd).chain(others);
        self.people().chain(models).chain(sets()).chain(grants).chain([Change::PutKey(key())])
    }

    fn people(self) -> impl Iterator<Item = Change> {
        let users = (0..=self.users).map(|number| Change::PutUser(a_user(number)));
        let groups = (0..DEPTH + self.groups)
            .map(|number| Change::PutGroup(Group { id: group(number), disabled: false }));
        let chain = (1..DEPTH).map(|number| within(number, Member::Group(group(number - 1))));
        let nested = (DEPTH + 1..DEPTH + self.groups)
            .filter(|number| !(number - DEPTH).is_multiple_of(GROUP_DEPTH))
            .map(|number| within(number, Member::Group(group(number - 1))));
        let members = (1..=self.users).flat_map(move |number| {
            let first = number % self.groups;
            let second = (number / 7 + first + 1) % self.groups;
            [first, second].map(|at| within(DEPTH + at, Member::User(user(number))))
        });
        let caller = within(0, Member::User(user(0)));
        users.chain(groups).chain(chain).chain(nested).chain(members).chain([caller])
    }

    /// Six in ten to users, the others to groups; one in ten on a set.
    fn grant(self, number: u32) -> Change {
        let grantee = match number % 10 {
            0..6 => Grantee::User(user(1 + number % self.users)),
            _ => Grantee::Group(group(DEPTH + number % self.groups)),
        };
        let spread = number.wrapping_mul(2_654_435_761) >> 8;
        let target = match number % 11 {
            0 => Target::Set(set(spread % (MODELS / SET_SIZE * SET_DEPTH))),
            _ => Target::Model(model(spread % MODELS)),
        };
        grant(number, grantee, target)
    }
}

/// The models that are asked about and the sets over them.
fn asked_about() -> [Target; 12] {
    std::array::from_fn(|at| {
        let (index, above) = (at as u32 / 4, at as u32 % 4);
        match above {
            0 => Target::Model(model(index * SET_SIZE)),
            _ => Target::Set(set(index * SET_DEPTH + above - 1)),
        }
    })
}

/// Set `3n` holds ten models, `3n + 1` holds that set and `3n + 2` holds this one.
fn sets() -> impl Iterator<Item = Change> {
    let count = MODELS / SET_SIZE * SET_DEPTH;
    let sets = (0..count).map(|number| Change::PutModelSet(ModelSet { id: set(number), disabled: false }));
    let nested = (0..count)
        .filter(|number| !number.is_multiple_of(SET_DEPTH))
        .map(|number| Change::PutSetItem { set: set(number), item: Target::Set(set(number - 1)) });
    let items = (0..MODELS).map(|number| Change::PutSetItem {
        set: set(number / SET_SIZE * SET_DEPTH),
        item: Target::Model(model(number)),
    });
    sets.chain(nested).chain(items)
}

fn uuid(kind: u128, number: u32) -> Uuid {
    Uuid::from_u128(kind << 64 | u128::from(number))
}

/// The user of this number; the caller is number zero.
#[must_use]
pub fn user(number: u32) -> UserId {
    UserId(uuid(1, number))
}

fn group(number: u32) -> GroupId {
    GroupId(uuid(2, number))
}

/// The model of this number, called `model-` and the number.
#[must_use]
pub fn model(number: u32) -> ModelId {
    ModelId(uuid(3, number))
}

fn set(number: u32) -> ModelSetId {
    ModelSetId(uuid(6, number))
}

fn a_user(number: u32) -> User {
    User { id: user(number), role: Role::Member, disabled: false }
}

fn a_model(number: u32) -> Model {
    Model { id: model(number), name: format!("model-{number}"), owner: None, state: ModelState::Active }
}

fn within(number: u32, member: Member) -> Change {
    Change::PutMembership(Membership { group: group(number), member, expires_at: None })
}

fn grant(number: u32, grantee: Grantee, target: Target) -> Change {
    let (id, action, effect) = (GrantId(uuid(4, number)), Action::Use, Effect::Allow);
    Change::PutGrant(Grant { id, grantee, target, action, effect, starts_at: None, expires_at: None })
}

/// The caller's key.
#[must_use]
pub fn key() -> Key {
    Key {
        id: KeyId(uuid(5, 0)),
        hash: KeyHash::new([7; 32]),
        owner: user(0),
        models: None,
        expires_at: None,
        disabled: false,
        scopes: Scopes::ALL,
        networks: Vec::new(),
        previous: Vec::new(),
    }
}
