//! The instants at which something begins or ends by itself: pure, it is told the changes and asked for instants.

use policy::{Change, Grant, GrantId, Grantee, GroupId, Key, KeyId, Member, Membership, Target, Time};
use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
};
use uuid::Uuid;

/// A fact that has a beginning or an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Timed {
    Grant(GrantId),
    Membership(GroupId, Member),
    Key(KeyId),
}

impl Timed {
    /// The kind, as events say it.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Grant(_) => "grant",
            Self::Membership(..) => "membership",
            Self::Key(_) => "key",
        }
    }
}

/// A fact begins or ends. In this order they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Expiry {
    pub(crate) at: Time,
    pub(crate) began: bool,
    pub(crate) what: Timed,
}

/// From when to when a fact counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: Option<Time>,
    end: Option<Time>,
}

impl Span {
    /// The instants of this span for a fact.
    pub(super) fn instants(self, what: Timed) -> impl Iterator<Item = Expiry> {
        let start = self.start.map(|at| Expiry { at, began: true, what });
        // What ends before it begins never counts.
        let start = start.filter(|start| self.end.is_none_or(|end| start.at < end));
        let end = self.end.map(|at| Expiry { at, began: false, what });
        let end = end.filter(|end| self.start.is_none_or(|start| start < end.at));
        start.into_iter().chain(end)
    }
}

/// What a fact goes with, when that is removed.
type Ties = [Option<Uuid>; 2];

/// All facts with a beginning or an end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schedule {
    spans: HashMap<Timed, (Span, Ties)>,
    instants: BTreeSet<Expiry>,
}

impl Schedule {
    pub(crate) fn new(facts: impl IntoIterator<Item = Change>) -> Self {
        let mut schedule = Self::default();
        facts.into_iter().for_each(|fact| schedule.apply(&fact, |_, _| ()));
        schedule
    }

    /// Takes a change in, and tells of each fact that it touches which span it had before.
    pub(super) fn apply(&mut self, change: &Change, mut touched: impl FnMut(Timed, Span)) {
        match change {
            Change::PutGrant(grant) => self.put_grant(grant, &mut touched),
            Change::PutMembership(membership) => self.put_membership(membership, &mut touched),
            Change::PutKey(key) => self.put_key(key, &mut touched),
            Change::RemoveGrant(id) => self.remove(Timed::Grant(*id), &mut touched),
            Change::RemoveKey(id) => self.remove(Timed::Key(*id), &mut touched),
            Change::RemoveMembership { group, member } => {
                self.remove(Timed::Membership(*group, *member), &mut touched);
            }
            Change::RemoveUser(id) => self.remove_all(id.uuid(), &mut touched),
            Change::RemoveGroup(id) => self.remove_all(id.uuid(), &mut touched),
            Change::RemoveModel(id) => self.remove_all(id.uuid(), &mut touched),
            Change::RemoveModelSet(id) => self.remove_all(id.uuid(), &mut touched),
            _ => {}
        }
    }

    /// What begins or ends after one instant and up to and including another, in order.
    pub(crate) fn between(&self, after: Time, until: Time) -> impl Iterator<Item = Expiry> {
        let later = self.after(after);
        later.take_while(move |expiry| expiry.at <= until).copied()
    }

    /// The next instant at which something begins or ends.
    pub(crate) fn next_after(&self, time: Time) -> Option<Time> {
        self.after(time).next().map(|expiry| expiry.at)
    }

    /// The span of a fact, an empty one when it is not here.
    pub(super) fn span(&self, what: Timed) -> Span {
        self.spans.get(&what).map(|(span, _)| *span).unwrap_or_default()
    }

    fn after(&self, time: Time) -> impl Iterator<Item = &Expiry> {
        // The last that there can be at this instant.
        let bound = Expiry { at: time, began: true, what: Timed::Key(KeyId(Uuid::max())) };
        self.instants.range((Bound::Excluded(bound), Bound::Unbounded))
    }

    fn put_grant(&mut self, grant: &Grant, touched: &mut impl FnMut(Timed, Span)) {
        let grantee = match grant.grantee {
            Grantee::User(id) => Some(id.uuid()),
            Grantee::Group(id) => Some(id.uuid()),
            Grantee::Everyone => None,
        };
        let target = match grant.target {
            Target::Model(id) => id.uuid(),
            Target::Set(id) => id.uuid(),
        };
        let span = Span { start: grant.starts_at, end: grant.expires_at };
        self.put(Timed::Grant(grant.id), span, [grantee, Some(target)], touched);
    }

    fn put_membership(&mut self, membership: &Membership, touched: &mut impl FnMut(Timed, Span)) {
        let Membership { group, member, expires_at } = *membership;
        let tie = match member {
            Member::User(id) => id.uuid(),
            Member::Group(id) => id.uuid(),
        };
        let span = Span { start: None, end: expires_at };
        self.put(Timed::Membership(group, member), span, [Some(group.uuid()), Some(tie)], touched);
    }

    /// A revoked key does not end any more.
    fn put_key(&mut self, key: &Key, touched: &mut impl FnMut(Timed, Span)) {
        let span = Span { start: None, end: key.expires_at.filter(|_| !key.disabled) };
        self.put(Timed::Key(key.id), span, [Some(key.owner.uuid()), None], touched);
    }

    fn put(&mut self, what: Timed, span: Span, ties: Ties, touched: &mut impl FnMut(Timed, Span)) {
        self.remove(what, touched);
        if span != Span::default() {
            self.instants.extend(span.instants(what));
            self.spans.insert(what, (span, ties));
        }
    }

    fn remove(&mut self, what: Timed, touched: &mut impl FnMut(Timed, Span)) {
        let span = self.spans.remove(&what).map(|(span, _)| span).unwrap_or_default();
        for expiry in span.instants(what) {
            self.instants.remove(&expiry);
        }
        touched(what, span);
    }

    fn remove_all(&mut self, tie: Uuid, touched: &mut impl FnMut(Timed, Span)) {
        let tied = self.spans.iter().filter(|(_, (_, ties))| ties.contains(&Some(tie)));
        let tied: Vec<Timed> = tied.map(|(what, _)| *what).collect();
        tied.into_iter().for_each(|what| self.remove(what, touched));
    }
}
