//! Everything one user has: per model and action the check's decision, and how the user came to it.

use ahash::AHashSet;

use crate::{
    check::{Decision, Reason},
    fact::Action,
    id::{GroupId, ModelId, ModelSetId, UserId},
    list::{Page, page},
    policy::{ModelEntry, Node, Place, Policy},
    time::Time,
    ways::Steps,
};

/// One action on one model that a user is allowed, or that a grant denies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The model.
    pub model: ModelId,
    /// What is done to it.
    pub action: Action,
    /// The check's answer, with the grant that decided.
    pub decision: Decision,
    /// The groups from the user to the one that the grant is for or that owns, innermost first.
    pub by: Vec<GroupId>,
    /// The sets from the one that the grant is on to the model, outermost first.
    pub through: Vec<ModelSetId>,
}

impl Policy {
    /// What a user is allowed and what it is expressly denied, model by model in the order of ids: at most `limit`
    /// models of those after `after`. What merely nobody allows is not in the list.
    #[must_use]
    pub fn effective(&self, user: UserId, now: Time, after: Option<ModelId>, limit: usize) -> Page<Holding> {
        let found = self.users.find(&user).and_then(|index| Some((index, self.users.at(index)?)));
        let Some((index, entry)) = found else { return Page { items: Vec::new(), more: false } };
        let models: AHashSet<u32> = self.models_for(index, None);
        let ids = models.iter().filter_map(|model| self.models.at(*model)).map(|model| model.fact.id);
        let held =
            |model: &ModelId| Action::ALL.iter().any(|action| tells(&self.check(user, *model, *action, now)));
        let page = page(ids, after, limit, held);
        let ways = self.ways_from_user(entry, Some(now));
        let holdings = page.items.iter().filter_map(|model| self.models.get(model)).flat_map(|model| {
            Action::ALL.iter().filter_map(|action| {
                let decision = self.check(user, model.fact.id, *action, now);
                tells(&decision).then(|| self.holding(model, *action, decision, &ways))
            })
        });
        Page { items: holdings.collect(), more: page.more }
    }

    fn holding(&self, model: &ModelEntry, action: Action, decision: Decision, ways: &Steps) -> Holding {
        let rule = decision.grant.and_then(|grant| self.grants.get(&grant));
        let node =
            if decision.reason == Reason::Owner { model.owner } else { rule.and_then(|rule| rule.grantee) };
        let by = match node {
            Some(Node::Group(group)) => self.groups_to(ways, group),
            Some(Node::User(_)) | None => None,
        };
        let through = match rule.map(|rule| rule.place) {
            Some(Place::Set(set)) => self.sets_from(&self.ways_from_model(model, true), set),
            Some(Place::Model(_)) | None => None,
        };
        let (by, through) = (by.unwrap_or_default(), through.unwrap_or_default());
        Holding { model: model.fact.id, action, decision, by, through }
    }
}

fn tells(decision: &Decision) -> bool {
    decision.allowed || decision.reason == Reason::Denied
}
