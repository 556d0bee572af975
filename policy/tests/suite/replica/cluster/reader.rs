//! People who read what they, or others before them, have written, and somebody who should not get in.

use policy::{
    Action, Change, Effect, Epoch, Freshness, Grant, GrantId, Grantee, GroupId, Member, Membership, Model,
    Question, Replica, Revision, Target, Time, User,
};
use uuid::Uuid;

use super::database::Database;
use crate::world::{MODELS, USERS, group, group_id, model, model_id, user, user_id};

/// How often each thing was met that the simulation is for.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Seen {
    fresh: u32,
    stale: u32,
    expired: u32,
    served: u32,
    refused: u32,
    kept_outside: u32,
    pub(super) restored: u32,
    pub(super) restarted: u32,
}

impl Seen {
    pub(super) fn note(&mut self, freshness: Freshness) {
        match freshness {
            Freshness::Fresh => self.fresh += 1,
            Freshness::Stale { .. } => self.stale += 1,
            Freshness::Expired => self.expired += 1,
        }
    }

    pub(super) fn everything(&self) -> bool {
        let states = [self.fresh, self.stale, self.expired];
        let reads = [self.served, self.refused, self.kept_outside];
        states.iter().chain(&reads).chain(&[self.restored, self.restarted]).all(|count| *count > 20)
    }
}

/// A session: it carries the token of the newest state it has seen or made.
#[derive(Debug, Default, Clone)]
pub(super) struct Reader {
    token: Option<(Epoch, Revision)>,
    /// Database and revision of the last answer.
    last: (usize, Revision),
}

impl Reader {
    pub(super) fn wrote(&mut self, token: (Epoch, Revision)) {
        self.token = Some(token);
    }

    pub(super) fn read(&mut self, replica: &Replica, database: &Database, now: Time, seen: &mut Seen) {
        let (epoch, revision) = (replica.epoch().unwrap(), replica.revision());
        if self.token.is_some_and(|(of, _)| of != database.current().epoch) {
            // The database that gave the token is gone; whoever is told so starts anew with what is there now.
            self.token = Some((database.current().epoch, Revision(0)));
        }
        if self.token.is_some_and(|(of, at_least)| of != epoch || revision < at_least) {
            seen.refused += 1;
            return;
        }
        if self.token.is_none() && epoch != database.current().epoch {
            return;
        }
        let answered = (database.number(epoch), revision);
        assert!(answered >= self.last, "went back from {:?} to {answered:?}", self.last);
        let state = database.log(epoch).state(revision);
        for question in questions() {
            assert_eq!(replica.policy().answer(&question, now), state.answer(&question, now));
        }
        (self.last, self.token) = (answered, Some((epoch, revision)));
        seen.served += 1;
    }
}

fn questions() -> impl Iterator<Item = Question> {
    let pairs = (0..USERS).flat_map(|user| (0..MODELS).map(move |model| (user_id(user), model_id(model))));
    pairs.map(|(user, model)| Question { user, model, action: Action::Use })
}

/// Somebody who is shut out of a group before the model is opened to the group, or denied before it is opened to all.
#[derive(Debug, Clone)]
pub(super) struct Enemy {
    number: u8,
    token: Option<(Epoch, Revision)>,
}

impl Enemy {
    pub(super) fn new(number: usize) -> Self {
        Self { number: 100 + u8::try_from(number % 100).unwrap(), token: None }
    }

    pub(super) fn known_from(self, token: (Epoch, Revision)) -> Self {
        Self { token: Some(token), ..self }
    }

    fn group(&self) -> GroupId {
        group_id(self.number)
    }

    fn grant(&self, kind: u128, grantee: Grantee, effect: Effect) -> Change {
        Change::PutGrant(Grant {
            id: GrantId(Uuid::from_u128(kind << 64 | u128::from(self.number))),
            grantee,
            target: Target::Model(model_id(self.number)),
            action: Action::Use,
            effect,
            starts_at: None,
            expires_at: None,
        })
    }

    /// As it is at first: in the group, and the model open to nobody.
    pub(super) fn world(&self) -> Vec<Change> {
        let (group_id, member) = (self.group(), Member::User(user_id(self.number)));
        vec![
            Change::PutUser(User { ..user(self.number) }),
            Change::PutGroup(group(self.number)),
            Change::PutMembership(Membership { group: group_id, member, expires_at: None }),
            Change::PutModel(Model { ..model(self.number) }),
        ]
    }

    pub(super) fn exclusion(&self) -> Vec<Change> {
        let member = Member::User(user_id(self.number));
        match self.number % 2 {
            0 => vec![Change::RemoveMembership { group: self.group(), member }],
            _ => vec![self.grant(8, Grantee::User(user_id(self.number)), Effect::Deny)],
        }
    }

    pub(super) fn opening(&self) -> Vec<Change> {
        match self.number % 2 {
            0 => vec![self.grant(9, Grantee::Group(self.group()), Effect::Allow)],
            _ => vec![self.grant(9, Grantee::Everyone, Effect::Allow)],
        }
    }

    /// A check at the token of the opening is denied wherever it is answered.
    pub(super) fn stays_outside(&self, replica: &Replica, now: Time, seen: &mut Seen) {
        let reached = |(epoch, at_least)| replica.epoch() == Some(epoch) && replica.revision() >= at_least;
        if self.token.is_some_and(reached) {
            let decision =
                replica.policy().check(user_id(self.number), model_id(self.number), Action::Use, now);
            assert!(!decision.allowed, "{self:?} got in by {decision:?}");
            seen.kept_outside += 1;
        }
    }
}

#[test]
fn the_opening_without_the_exclusion_before_it_would_let_the_enemy_in() {
    for number in [0, 1] {
        let enemy = Enemy::new(number);
        let facts = [enemy.world(), enemy.opening()].concat();
        let policy = policy::Policy::from_facts(&facts).unwrap();
        assert!(policy.check(user_id(enemy.number), model_id(enemy.number), Action::Use, Time(0)).allowed);
    }
}
