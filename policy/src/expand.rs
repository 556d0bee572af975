//! Who is meant by what is granted on a model, as a tree for people: owner and grants, below each whom it is for,
//! below each group its members.
//!
//! The tree is laid out flat, level by level, each branch with the number of the one it hangs from: it may be deep
//! and is bounded, and where it was cut it says so.

use std::collections::VecDeque;

use ahash::AHashSet;

use crate::{
    explain::Standing,
    fact::{Action, Effect},
    id::{GrantId, GroupId, ModelId, ModelSetId, UserId},
    policy::{ModelEntry, Node, Place, Policy, Rule, Ruleset},
    time::Time,
    ways::Steps,
};

/// The tree of one model and action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expansion {
    /// The branches, every one after the one it hangs from.
    pub branches: Vec<Branch>,
    /// Whether owner or grants were left out at the root.
    pub more: bool,
}

/// One branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// The number of the branch this one hangs from; none hangs from the model.
    pub parent: Option<usize>,
    /// What it stands for.
    pub leaf: Leaf,
    /// Whether it counts now: in force, not disabled, not expired.
    pub counts: bool,
    /// The instant from which it does not; for a member that of the membership, for a grant its own.
    pub expires_at: Option<Time>,
    /// Whether something below it was left out.
    pub more: bool,
}

/// What a branch stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    /// The model's ownership.
    Owner,
    /// A grant that speaks to the action, and the sets from the one it is on to the model, outermost first.
    Grant {
        /// The grant.
        id: GrantId,
        /// What it is about.
        action: Action,
        /// Which way it decides.
        effect: Effect,
        /// Whether it is in force; cut off when a set on the way is disabled.
        standing: Standing,
        /// The sets on the way.
        through: Vec<ModelSetId>,
    },
    /// Every known user.
    Everyone,
    /// One user.
    User(UserId),
    /// A group, whose members hang from it; from its first branch only, when it is met several times.
    Group(GroupId),
}

struct Expander<'a> {
    policy: &'a Policy,
    now: Time,
    limit: usize,
    branches: Vec<Branch>,
    /// Branches of groups whose members are still to come.
    open: VecDeque<(usize, u32)>,
    seen: AHashSet<u32>,
}

impl Policy {
    /// Owner and grants of a model that speak to `action` at `now`, and everyone they mean, in at most `limit` branches.
    #[must_use]
    pub fn expand(&self, model: ModelId, action: Action, now: Time, limit: usize) -> Expansion {
        let (open, seen) = (VecDeque::new(), AHashSet::new());
        let mut expander = Expander { policy: self, now, limit, branches: Vec::new(), open, seen };
        let more = self.models.get(&model).is_some_and(|model| !expander.roots(model, action));
        expander.members();
        Expansion { branches: expander.branches, more }
    }
}

impl Expander<'_> {
    /// Returns whether all of it had room.
    fn roots(&mut self, model: &ModelEntry, action: Action) -> bool {
        let (open, all) =
            (self.policy.ways_from_model(model, true), self.policy.ways_from_model(model, false));
        let sets = all.places().filter_map(|set| self.policy.sets.at(set)).map(|set| &set.rules);
        let rulesets: Vec<&Ruleset> = sets.chain([&model.rules]).collect();
        let chains = rulesets.iter().flat_map(|rules| rules.chains());
        let rules = chains.flat_map(|first| self.policy.grants.chain(first));
        let mut rules: Vec<Rule> =
            rules.filter(|rule| rule.action == action || rule.action == Action::Manage).copied().collect();
        rules.sort_unstable_by_key(|rule| rule.id);
        if let Some(owner) = model.owner {
            let Some(root) = self.push(None, Leaf::Owner, true, Time::NEVER) else { return false };
            self.node(root, owner, Time::NEVER);
        }
        rules.iter().all(|rule| self.grant(rule, &open, &all))
    }

    fn grant(&mut self, rule: &Rule, open: &Steps, all: &Steps) -> bool {
        let through = |ways| match rule.place {
            Place::Set(set) => self.policy.sets_from(ways, set),
            Place::Model(_) => Some(Vec::new()),
        };
        let (through, standing) = match through(open) {
            Some(path) => (path, Standing::of(rule, self.now)),
            None => (through(all).unwrap_or_default(), Standing::CutOff),
        };
        let leaf = Leaf::Grant { id: rule.id, action: rule.action, effect: rule.effect, standing, through };
        let Some(root) = self.push(None, leaf, standing == Standing::InForce, rule.end) else { return false };
        match rule.grantee {
            Some(node) => self.node(root, node, Time::NEVER),
            None => drop(self.push(Some(root), Leaf::Everyone, true, Time::NEVER)),
        }
        true
    }

    fn node(&mut self, parent: usize, node: Node, until: i64) {
        let (leaf, disabled) = match node {
            Node::User(index) => {
                let Some(user) = self.policy.users.at(index) else { return };
                (Leaf::User(user.fact.id), user.fact.disabled)
            }
            Node::Group(index) => {
                let Some(group) = self.policy.groups.at(index) else { return };
                (Leaf::Group(group.fact.id), group.fact.disabled)
            }
        };
        let Some(branch) = self.push(Some(parent), leaf, !disabled && self.now.0 < until, until) else {
            return;
        };
        if let Node::Group(group) = node {
            self.open.push_back((branch, group));
        }
    }

    /// Level by level, so that what is cut off is what lies deepest.
    fn members(&mut self) {
        while let Some((branch, index)) = self.open.pop_front() {
            let Some(group) = self.policy.groups.at(index).filter(|_| self.seen.insert(index)) else {
                continue;
            };
            let users = group.users.iter().copied().map(Node::User);
            let nodes = users.chain(group.groups.iter().copied().map(Node::Group));
            let mut members: Vec<_> = nodes
                .filter_map(|node| Some((self.policy.member(node)?, node, self.until(node, index)?)))
                .collect();
            members.sort_unstable_by_key(|(member, ..)| *member);
            for (_, node, until) in members {
                self.node(branch, node, until);
                if self.branches.get(branch).is_some_and(|branch| branch.more) {
                    break;
                }
            }
        }
    }

    /// How long the node is a member of the group.
    fn until(&self, node: Node, group: u32) -> Option<i64> {
        let up = match node {
            Node::User(index) => &self.policy.users.at(index)?.links.up,
            Node::Group(index) => &self.policy.groups.at(index)?.links.up,
        };
        up.iter().find(|edge| edge.group == group).map(|edge| edge.until)
    }

    /// Adds a branch if there is room; else the one it would hang from says that it is not whole.
    fn push(&mut self, parent: Option<usize>, leaf: Leaf, counts: bool, until: i64) -> Option<usize> {
        if self.branches.len() < self.limit {
            let expires_at = Time::known(until);
            self.branches.push(Branch { parent, leaf, counts, expires_at, more: false });
            return Some(self.branches.len() - 1);
        }
        if let Some(cut) = parent.and_then(|parent| self.branches.get_mut(parent)) {
            cut.more = true;
        }
        None
    }
}
